//! What one typed value means: an address, a server, a duration, a network, a name. Shared by flags and files.
//!
//! Text goes in, and what comes out needs no second look. Each error says what was expected, and leaves it to the caller
//! to say where the value stood. Only [`Server::resolve`] asks anything of the world.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::Backend;

/// Shortest duration accepted: the loop sleeps in whole milliseconds.
pub const DURATION_MIN: Duration = Duration::from_millis(1);
/// Longest duration accepted: 365 days, far from where adding it to a clock reading overflows.
pub const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Longest name of ours in `Via`, in bytes.
pub const PSEUDONYM_BYTES_MAX: usize = 64;
/// Longest host name, in bytes (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// Why a value is refused, as the end of a sentence: what is wrong with it, what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

fn invalid(text: impl Into<String>) -> Invalid {
    Invalid(text.into())
}

/// An address to listen on: `127.0.0.1:8080`, `[::1]:8080`; `:8080` and `8080` are all IPv4 interfaces.
///
/// # Errors
/// When it is none of these. Names are refused: which of its addresses would be meant is a guess.
pub fn listen_addr(text: &str) -> Result<SocketAddr, Invalid> {
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    match text.strip_prefix(':').unwrap_or(text).parse() {
        Ok(port) => Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        Err(_) => Err(invalid(
            "expected an IP address and a port such as 127.0.0.1:8080, [::1]:8080, or :8080 for all IPv4 interfaces",
        )),
    }
}

/// A server as it was typed, `HOST:PORT`: well formed, not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    name: String,
    host: String,
    port: u16,
}

impl FromStr for Server {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const EXPECTED: &str =
            "expected HOST:PORT such as 10.0.0.1:3000, [::1]:3000 or localhost:3000";
        if text.contains("://") {
            return Err(invalid(format!(
                "a backend is a host and a port, not a URL; {EXPECTED}"
            )));
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(invalid(format!(
                "an IPv6 address stands in brackets, with a port behind; {EXPECTED}"
            )));
        }
        let Some((host, port)) = text.rsplit_once(':').filter(|_| !text.ends_with(']')) else {
            return Err(invalid(format!("the port is missing; {EXPECTED}")));
        };
        if !is_host(host) {
            return Err(invalid(EXPECTED));
        }
        let port = match port.parse() {
            Ok(0) => {
                return Err(invalid(
                    "nothing can be reached at port 0; expected a port from 1 to 65535",
                ));
            }
            Ok(port) => port,
            Err(_) => return Err(invalid("expected a port from 1 to 65535 behind the colon")),
        };
        Ok(Self {
            name: text.to_owned(),
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port,
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl From<SocketAddr> for Server {
    fn from(addr: SocketAddr) -> Self {
        Self {
            name: addr.to_string(),
            host: addr.ip().to_string(),
            port: addr.port(),
        }
    }
}

impl Server {
    /// Its address, if it was typed as one and no one has to be asked.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        let ip = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }

    /// Asks the system's resolver for all its addresses, in the order it gives them. Blocks: for the start only.
    ///
    /// # Errors
    /// When the name has no address, with what the resolver said.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, Invalid> {
        let addrs = (self.host.as_str(), self.port).to_socket_addrs();
        match addrs.map(once_each) {
            Ok(addrs) if !addrs.is_empty() => Ok(addrs),
            Ok(_) => Err(invalid("the name does not resolve: it has no address")),
            Err(error) => Err(invalid(format!("the name does not resolve: {error}"))),
        }
    }
}

impl Backend {
    /// Whether both are one server: what differs is how it was typed, or the order in which its addresses came.
    #[must_use]
    pub fn is_same_server(&self, other: &Self) -> bool {
        let addrs = |backend: &Self| backend.addrs.iter().copied().collect::<BTreeSet<_>>();
        self.name.eq_ignore_ascii_case(&other.name)
            || (!self.addrs.is_empty() && addrs(self) == addrs(other))
    }
}

/// The resolver names an address once for each kind of socket.
fn once_each(addrs: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = BTreeSet::new();
    addrs.filter(|&addr| seen.insert(addr)).collect()
}

/// An IPv4 address, an IPv6 address in brackets, or what looks like a name.
fn is_host(host: &str) -> bool {
    match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(allowed)
        }
    }
}

/// How long something may take, with its unit: `3s`, `500ms`, `1h 30m`; from [`DURATION_MIN`] to [`DURATION_MAX`].
///
/// # Errors
/// When it is no duration, has no unit, or lies outside these bounds.
pub fn duration(text: &str) -> Result<Duration, Invalid> {
    const EXPECTED: &str = "expected a duration such as 3s or 500ms";
    match humantime::parse_duration(text) {
        Ok(span) if span < DURATION_MIN => Err(invalid(format!("{EXPECTED}, at least 1ms"))),
        Ok(span) if span > DURATION_MAX => Err(invalid(format!("{EXPECTED}, at most 365days"))),
        Ok(span) => Ok(span),
        Err(_) => Err(invalid(EXPECTED)),
    }
}

/// A duration as it is typed, for [`duration`] to read.
pub fn duration_text(span: Duration) -> impl fmt::Display {
    humantime::format_duration(span)
}

/// A whole number within `range`.
///
/// # Errors
/// When it is none, or lies outside.
pub fn number<T: FromStr + PartialOrd + fmt::Display>(
    text: &str,
    range: &RangeInclusive<T>,
) -> Result<T, Invalid> {
    text.parse()
        .ok()
        .filter(|n| range.contains(n))
        .ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            invalid(format!("expected a whole number from {least} to {most}"))
        })
}

/// A network in CIDR form, or one address. IPv4 in IPv6's clothes (`::ffff:10.0.0.0/104`) is IPv4.
///
/// # Errors
/// When it is neither.
pub fn network(text: &str) -> Result<IpNet, Invalid> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net.trunc(),
        Err(_) => text.parse::<IpAddr>().map(IpNet::from).map_err(|_| {
            invalid("expected an address or a network such as 10.0.0.0/8, 192.0.2.7 or fd00::/8")
        })?,
    };
    Ok(canonical(net))
}

/// Clients are compared by their canonical address, so a mapped network must be plain IPv4 to match any.
fn canonical(net: IpNet) -> IpNet {
    let (IpAddr::V4(addr), Some(len)) =
        (net.addr().to_canonical(), net.prefix_len().checked_sub(96))
    else {
        return net;
    };
    match net {
        IpNet::V4(_) => net,
        IpNet::V6(_) => Ipv4Net::new(addr, len).map_or(net, IpNet::V4),
    }
}

/// Our name in `Via`: a token (RFC 9110 §5.6.2) of at most [`PSEUDONYM_BYTES_MAX`] bytes.
///
/// # Errors
/// When it is empty, too long, or holds anything that a token does not.
pub fn pseudonym(text: &str) -> Result<String, Invalid> {
    let is_tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if (1..=PSEUDONYM_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_tchar) {
        Ok(text.to_owned())
    } else {
        Err(invalid(
            "expected a name of letters, digits, - and _, 64 at most, such as rondel or edge-1",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: fmt::Debug>(parsed: Result<T, Invalid>, expected: &str) {
        match parsed {
            Ok(value) => assert_eq!(format!("{value:?}"), expected),
            Err(error) => assert_eq!(error.to_string(), expected),
        }
    }

    #[test]
    fn listen_addresses() {
        let check = |text, expected| check(listen_addr(text), expected);
        check("127.0.0.1:8080", "127.0.0.1:8080");
        check("[::1]:0", "[::1]:0");
        check(":8080", "0.0.0.0:8080");
        check("8080", "0.0.0.0:8080");
        let expected = "expected an IP address and a port such as 127.0.0.1:8080, [::1]:8080, or :8080 for all IPv4 interfaces";
        for text in [
            "",
            ":",
            "127.0.0.1",
            "::1",
            "::1:8080",
            "localhost:8080",
            ":65536",
            "8080 ",
            "-1",
            "::80",
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn servers() {
        let check = |text: &str, expected: &str| {
            check(text.parse::<Server>().map(|s| (s.host, s.port)), expected)
        };
        check("10.0.0.1:3000", r#"("10.0.0.1", 3000)"#);
        check("[::1]:3000", r#"("::1", 3000)"#);
        check("my_app.internal:80", r#"("my_app.internal", 80)"#);
        let expected = "expected HOST:PORT such as 10.0.0.1:3000, [::1]:3000 or localhost:3000";
        for text in [
            ":3000",
            "a b:80",
            "[x]:80",
            "a:b:80",
            "user@host:80",
            "[::1:80",
            "host/:80",
            "é:80",
        ] {
            check(text, expected);
        }
        for text in ["", "localhost", "[::1]", "10.0.0.1"] {
            check(text, &format!("the port is missing; {expected}"));
        }
        check(
            "::1:3000",
            &format!("an IPv6 address stands in brackets, with a port behind; {expected}"),
        );
        check(
            "http://a:80",
            &format!("a backend is a host and a port, not a URL; {expected}"),
        );
        check(
            "a:0",
            "nothing can be reached at port 0; expected a port from 1 to 65535",
        );
        check(
            "a:65536",
            "expected a port from 1 to 65535 behind the colon",
        );
        check("a:", "expected a port from 1 to 65535 behind the colon");
    }

    #[test]
    fn addresses_need_no_resolver_and_the_same_server_is_known() {
        let backend = |text: &str| {
            let server: Server = text.parse().unwrap();
            let addrs = server.resolve().unwrap();
            Backend::at(text, server, addrs)
        };
        assert_eq!(backend("[::1]:80").addrs, ["[::1]:80".parse().unwrap()]);
        assert!(backend("[::1]:80").is_same_server(&backend("[0:0::1]:80")));
        assert!(backend("LOCALHOST:80").is_same_server(&backend("localhost:80")));
        assert!(!backend("127.0.0.1:80").is_same_server(&backend("127.0.0.1:81")));
    }

    #[test]
    fn durations() {
        let check = |text, expected| check(duration(text), expected);
        check("3s", "3s");
        check("500ms", "500ms");
        check("1h 30m", "5400s");
        check("365days", "31536000s");
        for text in [
            "3",
            "",
            "s",
            "-3s",
            "3 parsecs",
            "3s,",
            "99999999999999999999s",
            "1e3s",
        ] {
            check(text, "expected a duration such as 3s or 500ms");
        }
        for text in ["0", "0s", "999us"] {
            check(
                text,
                "expected a duration such as 3s or 500ms, at least 1ms",
            );
        }
        check(
            "366days",
            "expected a duration such as 3s or 500ms, at most 365days",
        );
    }

    #[test]
    fn numbers() {
        let check = |text, expected| check(number(text, &(0..=10u8)), expected);
        check("0", "0");
        check("10", "10");
        for text in ["11", "-1", "", "x", "1.5", "256"] {
            check(text, "expected a whole number from 0 to 10");
        }
    }

    #[test]
    fn networks() {
        let check = |text, expected| check(network(text), expected);
        check("10.1.2.3/8", "10.0.0.0/8");
        check("192.0.2.7", "192.0.2.7/32");
        check("::1", "::1/128");
        check("fd00::/8", "fd00::/8");
        check("::ffff:10.0.0.1", "10.0.0.1/32");
        check("::ffff:10.9.0.0/104", "10.0.0.0/8");
        check("::ffff:0.0.0.0/96", "0.0.0.0/0");
        check("::/0", "::/0");
        for text in ["", "10.0.0.0/33", "10.0.0", "all", "10.0.0.0/"] {
            check(
                text,
                "expected an address or a network such as 10.0.0.0/8, 192.0.2.7 or fd00::/8",
            );
        }
    }

    #[test]
    fn pseudonyms() {
        let check = |text: &str, expected: &str| check(pseudonym(text), expected);
        check("edge-1", "\"edge-1\"");
        for text in ["", "two words", "a/b", "a,b", "é", "a\r\n", &"a".repeat(65)] {
            check(
                text,
                "expected a name of letters, digits, - and _, 64 at most, such as rondel or edge-1",
            );
        }
    }
}
