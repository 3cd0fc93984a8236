//! Paths as routes compare them: in the one normalised form of all that mean the same (RFC 3986 §6.2.2). It knows no routes.
//!
//! Architecture invariant: whatever goes on goes on as it came. What stands here is for comparing, and for writing a path anew
//! where the operator has one rewritten.

use std::borrow::Cow;

/// Whether programs read this path differently: it has an encoded slash, backslash or zero, a backslash, an empty segment
/// before its last one, or a segment that is `.` or `..`, in whatever spelling, also with parameters (`..;a`).
#[must_use]
pub fn is_ambiguous(path: &[u8]) -> bool {
    let Some(inner) = path.strip_prefix(b"/") else {
        return false;
    };
    // By far the most paths have nothing to look at twice.
    if !inner.iter().any(|byte| b"%\\.".contains(byte)) && !has_empty_segment(inner) {
        return false;
    }
    has_empty_segment(inner)
        || inner.contains(&b'\\')
        || inner.split(|&byte| byte == b'/').any(|segment| {
            // Programs that take what stands behind a semicolon for a parameter resolve `..;` too.
            let name = segment.split(|&byte| byte == b';').next();
            name.is_some_and(|name| is_dots(&unescape(name)))
                || escapes(segment).any(|octet| matches!(octet, b'/' | b'\\' | 0))
        })
}

/// Whether a path, without its first slash, has two slashes in a row.
fn has_empty_segment(inner: &[u8]) -> bool {
    inner.starts_with(b"/") || inner.windows(2).any(|pair| pair == b"//")
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

/// The octets that stand escaped in `text`.
fn escapes(text: &[u8]) -> impl Iterator<Item = u8> {
    text.windows(3).filter_map(escaped)
}

/// The octet that `%` and two hexadecimal digits at the start of `text` stand for.
fn escaped(text: &[u8]) -> Option<u8> {
    let &[b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    Some(digit(high)? << 4 | digit(low)?)
}

/// The normalised form of a path: escapes of unreserved characters decoded, all others in capitals, runs of slashes made one,
/// segments that are `.` or `..` resolved. An escaped slash stays one. What does not begin with a slash, such as `*`, is only
/// unescaped.
#[must_use]
pub fn normalised(path: &[u8]) -> Cow<'_, [u8]> {
    let decoded = unescape(path);
    let Some(inner) = decoded.strip_prefix(b"/") else {
        return decoded;
    };
    if !has_empty_segment(inner) && !inner.split(|&byte| byte == b'/').any(is_dots) {
        return decoded;
    }
    let mut out = Vec::with_capacity(decoded.len());
    for segment in inner.split(|&byte| byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => out.truncate(out.iter().rposition(|&byte| byte == b'/').unwrap_or(0)),
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    let last = inner.rsplit(|&byte| byte == b'/').next();
    if out.is_empty() || last.is_some_and(|last| last.is_empty() || is_dots(last)) {
        out.push(b'/');
    }
    Cow::Owned(out)
}

/// `text` with escapes of unreserved characters decoded and all others in capitals, and what may not stand in a target
/// escaped, so that an operator may write `/café`.
#[must_use]
pub fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if text
        .iter()
        .all(|byte| byte.is_ascii_graphic() && *byte != b'%')
    {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match escaped_at(*byte, behind) {
            Some(octet) => {
                rest = &behind[2..];
                if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
                    out.push(octet);
                } else {
                    push_escaped(&mut out, octet);
                }
            }
            None if byte.is_ascii_graphic() => out.push(*byte),
            None => push_escaped(&mut out, *byte),
        }
    }
    Cow::Owned(out)
}

/// The octet that `first` and what stands behind it escape.
fn escaped_at(first: u8, behind: &[u8]) -> Option<u8> {
    let &[high, low, ..] = behind else {
        return None;
    };
    escaped(&[first, high, low])
}

/// Writes an octet as `%` and two capital digits.
pub(super) fn push_escaped(out: &mut Vec<u8>, octet: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(b'%');
    out.push(DIGITS[usize::from(octet >> 4)]);
    out.push(DIGITS[usize::from(octet & 15)]);
}

/// `text` with all its escapes decoded; what is no escape stays.
#[must_use]
pub fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        (rest, _) = match escaped_at(*byte, behind) {
            Some(octet) => (&behind[2..], out.push(octet)),
            None => (behind, out.push(*byte)),
        };
    }
    Cow::Owned(out)
}

/// What stands behind a prefix of whole segments: `/api` is one of `/api` and `/api/x`, not of `/apix`; `/api/` of all that
/// begins so.
#[must_use]
pub fn behind_prefix<'p>(path: &'p [u8], prefix: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with(b"/") || prefix.is_empty() || prefix.ends_with(b"/"))
        .then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn paths_that_mean_the_same_have_one_form() {
        for (path, expected) in [
            ("/", "/"),
            ("*", "*"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/%61%2D%2e%5f%7e", "/a-._~"),
            ("/%c3%A9", "/%C3%A9"),
            ("/a%2fb", "/a%2Fb"),
            ("/%zz%2", "/%zz%2"),
            ("/%2561", "/%2561"),
            ("/.", "/"),
            ("/..", "/"),
            ("/../a", "/a"),
            ("/a/./b", "/a/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/a/b/../../../c", "/c"),
            ("/a/%2e%2E/b", "/b"),
            ("//a///b//", "/a/b/"),
            ("/a//..", "/"),
            ("/.a/..b/c.", "/.a/..b/c."),
            ("/a\\..\\b", "/a\\..\\b"),
            ("/caf\u{e9}", "/caf%C3%A9"),
        ] {
            assert_eq!(text(&normalised(path.as_bytes())), expected, "{path}");
            assert_eq!(text(&normalised(expected.as_bytes())), expected, "{path}");
        }
    }

    #[test]
    fn paths_that_programs_read_differently_are_known() {
        for path in [
            "//",
            "//a",
            "/a//",
            "/a//b",
            "/.",
            "/..",
            "/a/.",
            "/a/../b",
            "/./",
            "/%2e",
            "/%2E.",
            "/a/.%2e/b",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%5C",
            "/%00",
            "/a\\b",
            "/\\",
            "/a/..;/b",
            "/a/.;x=1",
            "/%2e%2E;/b",
        ] {
            assert!(is_ambiguous(path.as_bytes()), "{path}");
        }
        for path in [
            "/", "*", "/a", "/a/", "/a/b", "/.a", "/a.", "/...", "/a.b/c", "/%61", "/%252f", "/%2",
            "/%", "/%zz", "/a;..", "/%c3%a9",
        ] {
            assert!(!is_ambiguous(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_path_that_is_not_ambiguous_keeps_its_segments() {
        for path in ["/a/%61/", "/%7e.x/b", "/a.b/%2Dc"] {
            assert!(!is_ambiguous(path.as_bytes()));
            let slashes = |path: &[u8]| path.iter().filter(|&&byte| byte == b'/').count();
            assert_eq!(
                slashes(&normalised(path.as_bytes())),
                slashes(path.as_bytes())
            );
        }
    }

    #[test]
    fn prefixes_are_of_whole_segments() {
        for (path, prefix, expected) in [
            ("/api", "/api", Some("")),
            ("/api/x", "/api", Some("/x")),
            ("/apix", "/api", None),
            ("/api/x", "/api/", Some("x")),
            ("/api", "/api/", None),
            ("/x", "/", Some("x")),
            ("/x", "", Some("/x")),
            ("*", "/", None),
        ] {
            let found = behind_prefix(path.as_bytes(), prefix.as_bytes()).map(text);
            assert_eq!(found.as_deref(), expected, "{path} {prefix}");
        }
    }

    #[test]
    fn escapes_are_decoded_once() {
        for (escaped, expected) in [
            ("a+b", "a+b"),
            ("%61%20%26", "a &"),
            ("%2561", "%61"),
            ("%zz%4", "%zz%4"),
            ("%%61", "%a"),
        ] {
            assert_eq!(text(&decoded(escaped.as_bytes())), expected, "{escaped}");
        }
    }
}
