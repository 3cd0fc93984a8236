//! The PROXY protocol: a header before all else that a connection carries, in which one proxy tells the next whose
//! connection it is. Version 1 is a line of text, version 2 is binary. Bytes in, values out.
//!
//! The text is `proxy-protocol.txt` of HAProxy; `§` means its sections. A header says who the client is, so it may only be
//! read from those who are believed, and whoever is believed must send one: nothing here guesses whether a header is there.
//!
//! Architecture invariant: the first byte after which no header can come is an error at once, wherever the input is cut, so
//! nobody waits for what cannot come. An error is the same whatever stands behind that byte.

use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::config::ProxyVersion;

/// Longest header that is read, in bytes: one of version 2 with 1,024 bytes of addresses and extras. Those that proxies send
/// have a few hundred.
pub const HEADER_BYTES_MAX: usize = V2_FIXED_BYTES + V2_BODY_BYTES_MAX as usize;

/// Longest line of version 1, in bytes, with its CRLF (§2.1).
const LINE_BYTES_MAX: usize = 107;
/// Longest address in a line, in bytes: eight groups of four digits.
const ADDRESS_BYTES_MAX: usize = 39;

/// What a header of version 2 begins with (§2.2). No line of text does.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 up to and with the length: those that every header has.
const V2_FIXED_BYTES: usize = 16;
/// Most bytes of version 2 behind the length.
const V2_BODY_BYTES_MAX: u16 = 1024;
/// The version (2) and the command, in one byte: a connection of the proxy's own, such as a health check.
const V2_LOCAL: u8 = 0x20;
/// The version (2) and the command, in one byte: a connection on behalf of somebody.
const V2_PROXY: u8 = 0x21;
/// The family and the protocol, in one byte: TCP over IPv4.
const V2_TCP4: u8 = 0x11;
/// The family and the protocol, in one byte: TCP over IPv6.
const V2_TCP6: u8 = 0x21;
/// Two IPv4 addresses and two ports.
const V2_INET_BYTES: u16 = 12;
/// Two IPv6 addresses and two ports.
const V2_INET6_BYTES: u16 = 36;
/// Two paths of Unix sockets.
const V2_UNIX_BYTES: u16 = 216;
/// Bytes of an extra (a type, a length, a value) before its value.
const EXTRA_FIXED_BYTES: usize = 3;

/// No header: what was expected in place of the bytes that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where it was expected, in bytes from the start of the connection; it may be behind what has come.
    pub at: usize,
    /// What was expected.
    pub expected: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, expected } = self;
        write!(f, "no PROXY header: at byte {at}, expected {expected}")
    }
}

impl std::error::Error for Malformed {}

/// Reads the header at the start of `input`, of either version: how many bytes it has, and the client's address; an IPv4
/// address mapped to IPv6 comes as IPv4. `None` while the header is not whole, which it is after [`HEADER_BYTES_MAX`] bytes
/// at most.
///
/// There is no address where the connection speaks for itself: it is the proxy's own (`LOCAL`), or not one of TCP
/// (`UNKNOWN`, Unix sockets, datagrams, what the proxy had no words for). Extras are skipped, the checksum among them.
///
/// # Errors
/// What is no header, and cannot become one.
pub fn read(input: &[u8]) -> Result<Option<(usize, Option<SocketAddr>)>, Malformed> {
    let mut reader = Reader { input, at: 0 };
    let source = match input.first() {
        None => return Ok(None),
        Some(b'P') => line(&mut reader),
        Some(_) => binary(&mut reader),
    };
    match source {
        Ok(source) => Ok(Some((reader.at, source))),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Malformed(malformed)) => Err(malformed),
    }
}

/// Appends to `out` the header for a connection from `source` to `destination`: the client, and where it had connected to.
/// When one of them is IPv4 and the other IPv6, the one is mapped to IPv6, so that the client's address gets through.
pub fn write(
    version: ProxyVersion,
    source: SocketAddr,
    destination: SocketAddr,
    out: &mut Vec<u8>,
) {
    let ports = (source.port(), destination.port());
    match (
        source.ip().to_canonical(),
        destination.ip().to_canonical(),
        version,
    ) {
        (IpAddr::V4(source), IpAddr::V4(destination), ProxyVersion::V1) => {
            write_line("TCP4", source, destination, ports, out);
        }
        (IpAddr::V4(source), IpAddr::V4(destination), ProxyVersion::V2) => {
            let (source, destination) = (source.octets(), destination.octets());
            write_binary(V2_TCP4, V2_INET_BYTES, source, destination, ports, out);
        }
        (source, destination, ProxyVersion::V1) => {
            write_line("TCP6", Hex(source), Hex(destination), ports, out);
        }
        (source, destination, ProxyVersion::V2) => {
            let (source, destination) = (to_v6(source).octets(), to_v6(destination).octets());
            write_binary(V2_TCP6, V2_INET6_BYTES, source, destination, ports, out);
        }
    }
}

/// Why reading stops before the end of the header.
enum Stop {
    /// The rest has not come yet.
    Incomplete,
    Malformed(Malformed),
}

/// The input, and how much of it has been read.
struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// What has not been read.
    fn rest(&self) -> &[u8] {
        &self.input[self.at..]
    }

    /// One byte.
    fn byte(&mut self) -> Result<u8, Stop> {
        let byte = *self.rest().first().ok_or(Stop::Incomplete)?;
        self.at += 1;
        Ok(byte)
    }

    /// Exactly these bytes.
    fn literal(&mut self, bytes: &[u8], expected: &'static str) -> Result<(), Stop> {
        for wanted in bytes {
            if self.byte()? != *wanted {
                return Err(malformed(self.at - 1, expected));
            }
        }
        Ok(())
    }

    /// A word of this kind, and the byte that ends it.
    fn word<T>(&mut self, kind: &Kind<T>, end: u8) -> Result<T, Stop> {
        let rest = self.rest();
        let Some(len) = rest.iter().position(|byte| *byte == end) else {
            return Err(if kind.may_become(rest) {
                Stop::Incomplete
            } else {
                malformed(self.at, kind.name)
            });
        };
        let value = kind.value(&rest[..len]);
        let value = value.ok_or_else(|| malformed(self.at, kind.name))?;
        self.at += len + 1;
        Ok(value)
    }
}

/// Says that something else was expected.
fn malformed(at: usize, expected: &'static str) -> Stop {
    Stop::Malformed(Malformed { at, expected })
}

/// A kind of words in a line.
struct Kind<T> {
    /// What a user calls it.
    name: &'static str,
    /// The value of a word, if it is one of this kind.
    parse: fn(&str) -> Option<T>,
    /// Short words of this kind: whatever is the beginning of any word becomes one with the end of one of these.
    models: &'static [&'static str],
}

const IPV4: Kind<IpAddr> = Kind {
    name: "an IPv4 address",
    parse: parse_ip::<Ipv4Addr>,
    models: &["0.0.0.0"],
};
const IPV6: Kind<IpAddr> = Kind {
    name: "an IPv6 address",
    parse: parse_ip::<Ipv6Addr>,
    models: &["0:0:0:0:0:0:0:0", "0.0.0.0"],
};
const PORT: Kind<u16> = Kind {
    name: "a port from 0 to 65535",
    parse: parse_port,
    models: &["0"],
};

impl<T> Kind<T> {
    fn value(&self, word: &[u8]) -> Option<T> {
        (self.parse)(str::from_utf8(word).ok()?)
    }

    /// Whether a word of this kind may begin so.
    fn may_become(&self, start: &[u8]) -> bool {
        let ends = self
            .models
            .iter()
            .flat_map(|model| (0..=model.len()).map(|cut| &model.as_bytes()[cut..]));
        start.len() <= ADDRESS_BYTES_MAX
            && ends
                .into_iter()
                .any(|end| self.value(&[start, end].concat()).is_some())
    }
}

/// An address as the standard library reads it: no leading zeros in decimals, no scope, no brackets.
fn parse_ip<T: FromStr + Into<IpAddr>>(word: &str) -> Option<IpAddr> {
    if word.len() > ADDRESS_BYTES_MAX {
        return None;
    }
    word.parse::<T>().ok().map(Into::into)
}

/// A port: digits only, no leading zeros.
fn parse_port(word: &str) -> Option<u16> {
    let canonical = word == "0" || word.starts_with(|c: char| matches!(c, '1'..='9'));
    word.parse().ok().filter(|_| canonical)
}

/// Version 1 (§2.1): `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443` and CRLF.
fn line(reader: &mut Reader<'_>) -> Result<Option<SocketAddr>, Stop> {
    const FAMILIES: &str = "TCP4, TCP6 or UNKNOWN";
    reader.literal(b"PROXY ", "PROXY and a space")?;
    if reader.rest().first() == Some(&b'U') {
        reader.literal(b"UNKNOWN", "UNKNOWN")?;
        return rest_of_unknown(reader);
    }
    reader.literal(b"TCP", FAMILIES)?;
    let address = match reader.byte()? {
        b'4' => IPV4,
        b'6' => IPV6,
        _ => return Err(malformed(reader.at - 1, FAMILIES)),
    };
    reader.literal(b" ", "a space")?;
    let source = reader.word(&address, b' ')?;
    let _destination = reader.word(&address, b' ')?;
    let port = reader.word(&PORT, b' ')?;
    let _port = reader.word(&PORT, b'\r')?;
    reader.literal(b"\n", "CRLF")?;
    Ok(Some(SocketAddr::new(source.to_canonical(), port)))
}

/// What stands behind `UNKNOWN` is nobody's business, but there is an end to it.
fn rest_of_unknown(reader: &mut Reader<'_>) -> Result<Option<SocketAddr>, Stop> {
    if !matches!(reader.rest(), [] | [b' ' | b'\r', ..]) {
        return Err(malformed(reader.at, "a space or CRLF"));
    }
    loop {
        match reader.byte()? {
            b'\r' => break,
            b'\n' => return Err(malformed(reader.at - 1, "CRLF")),
            _ if reader.at > LINE_BYTES_MAX - 2 => {
                return Err(malformed(reader.at - 1, "CRLF within 107 bytes"));
            }
            _ => {}
        }
    }
    reader.literal(b"\n", "CRLF")?;
    Ok(None)
}

/// Version 2 (§2.2): the signature, version and command, family and protocol, the length of what follows: the addresses, then
/// extras.
fn binary(reader: &mut Reader<'_>) -> Result<Option<SocketAddr>, Stop> {
    reader.literal(SIGNATURE, "PROXY or the signature of version 2")?;
    let local = match reader.byte()? {
        V2_LOCAL => true,
        V2_PROXY => false,
        _ => return Err(malformed(reader.at - 1, "version 2, LOCAL or PROXY")),
    };
    let family = reader.byte()?;
    // How many bytes the addresses have, where anything is known of what follows.
    let addresses = match (family >> 4, family & 0xf) {
        _ if local => None,
        (4.., _) | (_, 3..) => {
            return Err(malformed(reader.at - 1, "a known family and protocol"));
        }
        (0, _) | (_, 0) => None,
        (1, _) => Some(V2_INET_BYTES),
        (2, _) => Some(V2_INET6_BYTES),
        (3, _) => Some(V2_UNIX_BYTES),
    };
    let len = length(reader, addresses.unwrap_or(0))?;
    let body = &reader.rest()[..len.min(reader.rest().len())];
    if let Some(addresses) = addresses {
        check_extras(body, len, addresses.into())
            .map_err(|at| malformed(reader.at + at, "an extra that ends within the header"))?;
    }
    if body.len() < len {
        return Err(Stop::Incomplete);
    }
    let source = match family {
        _ if local => None,
        V2_TCP4 => source::<4>(body),
        V2_TCP6 => source::<16>(body),
        _ => None,
    };
    reader.at += len;
    Ok(source)
}

/// The length of what follows: at least that of the addresses.
fn length(reader: &mut Reader<'_>, min: u16) -> Result<usize, Stop> {
    let at = reader.at;
    let high = reader.byte()?;
    if u16::from_be_bytes([high, 0]) > V2_BODY_BYTES_MAX {
        return Err(malformed(at, "a length of at most 1024"));
    }
    let len = u16::from_be_bytes([high, reader.byte()?]);
    if len > V2_BODY_BYTES_MAX {
        return Err(malformed(at, "a length of at most 1024"));
    }
    if len < min {
        return Err(malformed(at, "a length that holds the addresses"));
    }
    Ok(len.into())
}

/// Whether what stands behind the addresses, in a body of `len` bytes that may not have come whole, is extras that end where
/// the body does.
///
/// # Errors
/// Where the one begins that does not fit.
fn check_extras(body: &[u8], len: usize, addresses: usize) -> Result<(), usize> {
    let mut at = addresses;
    while at < len {
        // Bytes that have not come count as zero: then the length is the least that it may become.
        let byte = |at: usize| body.get(at).copied().unwrap_or(0);
        let value = u16::from_be_bytes([byte(at + 1), byte(at + 2)]);
        let value_at = at + EXTRA_FIXED_BYTES;
        let end = value_at + usize::from(value);
        if end > len {
            return Err(at);
        }
        if value_at > body.len() {
            break;
        }
        at = end;
    }
    Ok(())
}

/// The source in a body that begins with two addresses of `N` bytes and their ports.
fn source<const N: usize>(body: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = body.split_first_chunk::<N>()?;
    let (_destination, ports) = rest.split_first_chunk::<N>()?;
    let port = u16::from_be_bytes(*ports.first_chunk()?);
    Some(SocketAddr::new(IpAddr::from(*source).to_canonical(), port))
}

fn write_line(
    family: &str,
    source: impl fmt::Display,
    destination: impl fmt::Display,
    ports: (u16, u16),
    out: &mut Vec<u8>,
) {
    let (from, to) = ports;
    // Writing to memory does not fail.
    let _ = write!(out, "PROXY {family} {source} {destination} {from} {to}\r\n");
}

fn write_binary<const N: usize>(
    family: u8,
    len: u16,
    source: [u8; N],
    destination: [u8; N],
    ports: (u16, u16),
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[V2_PROXY, family]);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&source);
    out.extend_from_slice(&destination);
    out.extend_from_slice(&ports.0.to_be_bytes());
    out.extend_from_slice(&ports.1.to_be_bytes());
}

fn to_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// An address as IPv6 in hexadecimal groups alone: the only form that §2.1 knows, while the standard library ends a mapped
/// one with decimals.
struct Hex(IpAddr);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets().map(u16::from);
                write!(f, "::ffff:{:x}:{:x}", a << 8 | b, c << 8 | d)
            }
            IpAddr::V6(ip) => ip.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
