//! What a request is for: its target (RFC 9112 §3.2) and its host (RFC 9110 §7.2). It decodes nothing and resolves
//! nothing.
//!
//! Architecture invariant: a target goes on byte for byte, but for scheme and authority of an absolute one.

use std::net::Ipv6Addr;

use memchr::memchr;

use super::super::field::number;
use super::super::{NAME_BYTES_MAX, Reject, TARGET_BYTES_MAX};

/// Most digits of a port.
const PORT_DIGITS_MAX: usize = 5;

/// A target in origin-form or asterisk-form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// What is to be written before `rest`.
    pub(super) lead: &'static [u8],
    pub(super) rest: &'a [u8],
    /// The authority of an absolute target. It counts instead of `Host` (RFC 9112 §3.2.2).
    pub(super) authority: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    /// The target in origin-form or asterisk-form, as routes are to see it: without the slash that is to be written before a
    /// query without a path.
    pub(super) fn rest_or_lead(&self) -> &'a [u8] {
        match self.rest {
            [] => self.lead,
            rest => rest,
        }
    }
}

/// Judges method and target together: `CONNECT` has a form of target of its own, and so has `OPTIONS`.
pub(super) fn judge<'a>(method: &str, target: &'a str) -> Result<Target<'a>, Reject> {
    let target = target.as_bytes();
    if matches!(method, "CONNECT" | "TRACE") {
        return Err(Reject::MethodRefused);
    }
    if target.len() > TARGET_BYTES_MAX {
        return Err(Reject::TargetTooLong);
    }
    // Without an early end, so that the compiler looks at many bytes at a time.
    if !target.iter().fold(true, |sound, byte| {
        sound & byte.is_ascii_graphic() & (*byte != b'#')
    }) {
        return Err(Reject::BadTarget);
    }
    let as_is = Target {
        lead: b"",
        rest: target,
        authority: None,
    };
    match target {
        [b'/', ..] => Ok(as_is),
        b"*" if method == "OPTIONS" => Ok(as_is),
        _ => absolute(method, target),
    }
}

fn absolute<'a>(method: &str, target: &'a [u8]) -> Result<Target<'a>, Reject> {
    let after = |scheme: &[u8]| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let rest = after(b"http://")
        .or_else(|| after(b"https://"))
        .ok_or(Reject::BadTarget)?;
    let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if !is_host_and_port(authority) {
        return Err(Reject::BadTarget);
    }
    let lead: &[u8] = match rest {
        [b'/', ..] => b"",
        [] if method == "OPTIONS" => b"*",
        _ => b"/",
    };
    Ok(Target {
        lead,
        rest,
        authority: Some(authority),
    })
}

/// Whether a `Host` may go on. An empty one says that the target has no authority.
pub(super) fn is_host(value: &[u8]) -> bool {
    value.is_empty() || is_host_and_port(value)
}

/// Whether `value` is `uri-host [ ":" port ]` (RFC 9110 §4.2.1: a host that is not empty).
fn is_host_and_port(value: &[u8]) -> bool {
    let (sound, rest) = if let [b'[', rest @ ..] = value {
        let Some(end) = memchr(b']', rest) else {
            return false;
        };
        (is_ipv6(&rest[..end]), &rest[end + 1..])
    } else {
        let rest = behind_name(value);
        let len = value.len() - rest.len();
        ((1..=NAME_BYTES_MAX).contains(&len), rest)
    };
    sound
        && match rest {
            [] | [b':'] => true,
            [b':', port @ ..] => {
                port.len() <= PORT_DIGITS_MAX
                    && number(port).is_some_and(|port| port <= u64::from(u16::MAX))
            }
            _ => false,
        }
}

fn is_ipv6(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// What stands behind a registered name or an IPv4 address (RFC 3986 §3.2.2) at the start of `text`.
fn behind_name(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        rest = match behind {
            _ if IN_NAME[usize::from(*byte)] => behind,
            [high, low, behind @ ..]
                if *byte == b'%' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                behind
            }
            _ => break,
        };
    }
    rest
}

/// What may stand in a registered name as itself: unreserved characters and sub-delimiters (RFC 3986 §2).
const IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'='
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, target: &str, expected: Result<(&str, Option<&str>), Reject>) {
        let found = judge(method, target).map(|target| {
            let written = [target.lead, target.rest].concat();
            let authority = target
                .authority
                .map(|host| String::from_utf8(host.to_vec()).unwrap());
            (String::from_utf8(written).unwrap(), authority)
        });
        let expected =
            expected.map(|(written, host)| (written.to_owned(), host.map(str::to_owned)));
        assert_eq!(found, expected, "{method} {target}");
    }

    #[test]
    fn origin_form_passes_byte_for_byte() {
        for target in [
            "/",
            "//a//b",
            "/a?b=/c?d",
            "/%00%zz/../.",
            "/a\\b\"<>{}|^`",
            "/*",
            "/http://a/",
        ] {
            check("GET", target, Ok((target, None)));
        }
    }

    #[test]
    fn absolute_form_becomes_origin_form() {
        check("GET", "http://h/a?b", Ok(("/a?b", Some("h"))));
        check("GET", "HTTPS://h:8/a", Ok(("/a", Some("h:8"))));
        check("GET", "http://h", Ok(("/", Some("h"))));
        check("GET", "http://h?q", Ok(("/?q", Some("h"))));
        check("OPTIONS", "http://h", Ok(("*", Some("h"))));
        check("OPTIONS", "http://h/", Ok(("/", Some("h"))));
        check("OPTIONS", "http://h?q", Ok(("/?q", Some("h"))));
        check("GET", "http://[::1]:80//x", Ok(("//x", Some("[::1]:80"))));
    }

    #[test]
    fn other_targets_are_refused() {
        for target in [
            "*",
            "a",
            "?q",
            "h:80",
            "/a#b",
            "/#",
            "/\u{e9}",
            "http://",
            "http:///a",
            "http://u@h/",
            "http://u:p@h/",
            "http://:80/",
            "http:/h",
            "http:h",
            "ftp://h/",
            "http://h:x/",
            "http://h:65536/",
            "http://h\\/",
            "http://[::1/",
            "http://h#f",
        ] {
            check("GET", target, Err(Reject::BadTarget));
        }
        check("OPTIONS", "*", Ok(("*", None)));
        check("OPTIONS", "**", Err(Reject::BadTarget));
        check("CONNECT", "h:80", Err(Reject::MethodRefused));
        check("TRACE", "/", Err(Reject::MethodRefused));
        check("Trace", "/", Ok(("/", None)));
    }

    #[test]
    fn a_target_has_a_limit() {
        let target = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
        let fits = target(TARGET_BYTES_MAX);
        check("GET", &fits, Ok((&fits, None)));
        check(
            "GET",
            &target(TARGET_BYTES_MAX + 1),
            Err(Reject::TargetTooLong),
        );
    }

    #[test]
    fn hosts_are_names_or_addresses_with_ports() {
        for host in [
            "",
            "h",
            "H.example",
            "a_b",
            "a%20b",
            "h:",
            "h:0",
            "h:65535",
            "h:00080",
            "1.2.3.4:5",
            "[::1]",
            "[::ffff:1.2.3.4]:8",
            "a!$&'()*+,;=~-",
            &"h".repeat(255),
            &format!("{}:65535", "%20".repeat(85)),
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            ":",
            ":80",
            "a b",
            "a/b",
            "a?b",
            "a@b",
            "a#b",
            "a\\b",
            "a\"b",
            "<a>",
            "a%2",
            "a%zz",
            "h:1:2",
            "h:+1",
            "h:-1",
            "h:65536",
            "h:99999999999999999999999",
            "::1",
            "[::1",
            "[]",
            "[::1]x",
            "[1.2.3.4]",
            "[fe80::1%25a]",
            "[v1.a]",
            "h\u{e9}",
            "h\0",
            "h\t",
            "h:000080",
            &"h".repeat(256),
            &format!("{}:80", "h".repeat(16_000)),
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
