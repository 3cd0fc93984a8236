//! Who sent a request through whom: `X-Forwarded-*` and `Forwarded` (RFC 7239). It does not know who is to be believed;
//! that is a function handed in.
//!
//! Architecture invariant: of a chain of addresses goes on what trusted hands wrote, and only that. From the right, each
//! address is vouched for by the one behind it; the first that is not trusted is the last that is believed.

use std::net::{IpAddr, SocketAddr};

use super::super::field::{elements, is_token};
use super::{push, push_addr};

/// Who stands in a chain.
#[derive(Debug, PartialEq, Eq)]
enum Node {
    At(IpAddr),
    /// One who is said not to be known.
    Unknown,
}

/// Writes what is believed of the addresses in `X-Forwarded-For` lines, each with a comma behind it.
pub(super) fn write_addresses<'a, L: DoubleEndedIterator<Item = &'a [u8]>>(
    out: &mut Vec<u8>,
    lines: impl Fn() -> L,
    trusts: impl Fn(IpAddr) -> bool,
) {
    write_believed(out, || lines().flat_map(elements), node, trusts);
}

/// Writes what is believed of the elements in `Forwarded` lines, each with a comma behind it.
pub(super) fn write_elements<'a, L: DoubleEndedIterator<Item = &'a [u8]>>(
    out: &mut Vec<u8>,
    lines: impl Fn() -> L,
    trusts: impl Fn(IpAddr) -> bool,
) {
    write_believed(
        out,
        || lines().flat_map(quoted_elements),
        forwarded_node,
        trusts,
    );
}

/// The first address of those in `X-Forwarded-For` lines that are believed: the client's.
pub(super) fn first_address<'a, L: DoubleEndedIterator<Item = &'a [u8]>>(
    lines: impl Fn() -> L,
    trusts: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    first(believed(lines().flat_map(elements), node, trusts))
}

/// The first address of the elements in `Forwarded` lines that are believed: the client's.
pub(super) fn first_element<'a, L: DoubleEndedIterator<Item = &'a [u8]>>(
    lines: impl Fn() -> L,
    trusts: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    first(believed(
        lines().flat_map(quoted_elements),
        forwarded_node,
        trusts,
    ))
}

/// The last address of those who are believed, from the right. Before one who is not known there is none.
fn first(believed: impl Iterator<Item = Node>) -> Option<IpAddr> {
    let addresses = believed.map_while(|node| match node {
        Node::At(addr) => Some(addr),
        Node::Unknown => None,
    });
    addresses.last()
}

/// Those who are believed, from the right.
fn believed<'a>(
    elements: impl DoubleEndedIterator<Item = &'a [u8]>,
    node: impl Fn(&[u8]) -> Option<Node>,
    trusts: impl Fn(IpAddr) -> bool,
) -> impl Iterator<Item = Node> {
    let mut vouched = true;
    elements
        .filter(|element| !element.is_empty())
        .rev()
        .map_while(move |element| {
            let node = node(element).filter(|_| vouched)?;
            vouched = match &node {
                Node::At(addr) => trusts(addr.to_canonical()),
                Node::Unknown => false,
            };
            Some(node)
        })
}

fn write_believed<'a, E: DoubleEndedIterator<Item = &'a [u8]>>(
    out: &mut Vec<u8>,
    elements: impl Fn() -> E,
    node: impl Fn(&[u8]) -> Option<Node>,
    trusts: impl Fn(IpAddr) -> bool,
) {
    let elements = || elements().filter(|element| !element.is_empty());
    let believed = believed(elements(), node, trusts).count();
    let all = elements().count();
    elements()
        .skip(all - believed)
        .for_each(|element| push(out, [element, b", "]));
}

/// Who an element of `X-Forwarded-For` means: an address, which may have a port, or `unknown`.
fn node(element: &[u8]) -> Option<Node> {
    if element.eq_ignore_ascii_case(b"unknown") {
        return Some(Node::Unknown);
    }
    let text = str::from_utf8(element).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let addr = match bare {
        Some(bare) => bare.parse().map(IpAddr::V6).ok(),
        None => text
            .parse()
            .ok()
            .or_else(|| text.parse().ok().map(|addr: SocketAddr| addr.ip())),
    };
    addr.map(Node::At)
}

/// Who an element of `Forwarded` means by its single `for`; nobody if it is not strictly of RFC 7239 §4. Escapes and
/// semicolons in quotes are too clever to be believed.
fn forwarded_node(element: &[u8]) -> Option<Node> {
    let mut found = None;
    for pair in element.split(|&byte| byte == b';') {
        let (name, value) = pair.split_at(memchr::memchr(b'=', pair)?);
        let value = match value {
            [b'=', b'"', inner @ .., b'"'] if memchr::memchr2(b'"', b'\\', inner).is_none() => {
                inner
            }
            [b'=', value @ ..] if is_token(value) => value,
            _ => return None,
        };
        if !is_token(name) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") && found.replace(node(value)?).is_some() {
            return None;
        }
    }
    found
}

/// The elements of a list in which commas may stand in quotes. One with quotes that do not pair is one element, and none
/// that anyone understands.
fn quoted_elements(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let whole = memchr::memchr_iter(b'"', value).count() % 2 == 1;
    let mut quoted = whole;
    let comma = move |&byte: &u8| {
        quoted ^= byte == b'"' && !whole;
        byte == b',' && !quoted
    };
    value.split(comma).map(super::super::field::trim)
}

/// Writes our own element of `Forwarded`. The host was judged and has neither quotes nor backslashes.
pub(super) fn write_own_element(out: &mut Vec<u8>, client: IpAddr, host: &[u8]) {
    let (open, close): (&[u8], &[u8]) = match client {
        IpAddr::V4(_) => (b"for=", b""),
        IpAddr::V6(_) => (b"for=\"[", b"]\""),
    };
    push(out, [open]);
    push_addr(out, client);
    push(out, [close]);
    if !host.is_empty() {
        push(out, [b";host=\"", host, b"\""]);
    }
    push(out, [b";proto=http"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Networks 10/8 and `fd00::/8` are trusted.
    fn trusts(addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(addr) => addr.octets()[0] == 10,
            IpAddr::V6(addr) => addr.octets()[0] == 0xfd,
        }
    }

    fn check(lines: &[&str], expected: &str) {
        let mut out = Vec::new();
        write_addresses(
            &mut out,
            || lines.iter().map(|line| line.as_bytes()),
            trusts,
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{lines:?}");
    }

    fn check_forwarded(lines: &[&str], expected: &str) {
        let mut out = Vec::new();
        write_elements(
            &mut out,
            || lines.iter().map(|line| line.as_bytes()),
            trusts,
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{lines:?}");
    }

    #[test]
    fn addresses_are_believed_up_to_the_first_that_nobody_vouches_for() {
        check(&[], "");
        check(&["1.1.1.1"], "1.1.1.1, ");
        check(&["9.9.9.9, 1.1.1.1"], "1.1.1.1, ");
        check(
            &["9.9.9.9,1.1.1.1 ,10.0.0.1,\t10.0.0.2"],
            "1.1.1.1, 10.0.0.1, 10.0.0.2, ",
        );
        check(&["9.9.9.9", "1.1.1.1", "10.0.0.1"], "1.1.1.1, 10.0.0.1, ");
        check(&["10.0.0.1, 10.0.0.2"], "10.0.0.1, 10.0.0.2, ");
        check(
            &["9.9.9.9", ",, 1.1.1.1,,", "", "fd00::1"],
            "1.1.1.1, fd00::1, ",
        );
        check(
            &["9.9.9.9, 1.1.1.1:80, 10.0.0.1:8, [fd00::1]:9"],
            "1.1.1.1:80, 10.0.0.1:8, [fd00::1]:9, ",
        );
        check(&["1.1.1.1, ::ffff:10.0.0.1"], "1.1.1.1, ::ffff:10.0.0.1, ");
        check(&["1.1.1.1, unknown, 10.0.0.1"], "unknown, 10.0.0.1, ");
    }

    #[test]
    fn what_is_no_address_is_dropped_with_all_before_it() {
        for bad in [
            "x",
            "1.1.1",
            "1.1.1.1.1",
            "256.1.1.1",
            "\"1.1.1.1\"",
            "1.1.1.1:x",
            "[1.1.1.1]",
            "1.1.1.1 2",
            "\u{e9}",
            "_a",
        ] {
            check(&["1.1.1.1, 10.0.0.1", bad, "10.0.0.2"], "10.0.0.2, ");
            check(&[&format!("1.1.1.1, {bad}")], "");
        }
    }

    #[test]
    fn forwarded_elements_are_believed_in_the_same_way() {
        check_forwarded(
            &["for=9.9.9.9, for=1.1.1.1;proto=https, For=\"10.0.0.1:8\""],
            "for=1.1.1.1;proto=https, For=\"10.0.0.1:8\", ",
        );
        check_forwarded(
            &["for=1.1.1.1;by=\"a,b\"", "host=h;for=\"[fd00::1]\""],
            "for=1.1.1.1;by=\"a,b\", host=h;for=\"[fd00::1]\", ",
        );
        check_forwarded(&["for=1.1.1.1, for=unknown"], "for=unknown, ");
        for bad in [
            "proto=http",
            "for=_hidden",
            "for=1.1.1.1;for=1.1.1.2",
            "for=[::1]",
            "for",
            "for=",
            "for=1.1.1.1;",
            "for=1.1.1.1; by=a",
            "for=\"1.1.1.1\\\"\"",
            "for=\"1.1.1.1",
            "for=1.1.1.1;by=\"a;b\"",
            "for=1.1.1.1;by=\"",
            "for=1.1.1.1;by=\"a\\b\"",
            "for=1.1.1.1;by=\"a, for=10.0.0.9",
            "for=\"1.1.1.1\"x",
        ] {
            check_forwarded(&["for=2.2.2.2", bad, "for=10.0.0.2"], "for=10.0.0.2, ");
        }
    }
}
