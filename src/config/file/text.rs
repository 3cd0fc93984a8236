//! What single texts of HTTP may look like in the file: tokens, field values, hosts, paths, locations.

use crate::config::{HostPattern, PathPattern, Piece};

/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 256;
/// Longest host name, in bytes (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// A token (RFC 9110 §5.6.2): the name of a field, a cookie, a method.
pub(super) fn token(text: &str, what: &str) -> Result<String, String> {
    let is_tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if (1..=TOKEN_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_tchar) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "expected {what}: letters, digits, - and _, {TOKEN_BYTES_MAX} at most"
        ))
    }
}

/// A method, case-sensitive; who writes one of the known ones in lower case means the known one.
pub(super) fn method(text: &str) -> Result<String, String> {
    const KNOWN: [&str; 8] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE",
    ];
    let upper = text.to_ascii_uppercase();
    if upper != text && KNOWN.contains(&upper.as_str()) {
        return Err(format!(
            "expected {upper:?}: methods are case-sensitive (RFC 9110 §9.1)"
        ));
    }
    token(text, "a method such as GET")
}

/// The value of a field: visible text, with spaces within.
pub(super) fn field_value(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("expected a value without control characters".to_owned());
    }
    if text.trim() != text {
        return Err("expected a value without spaces around it".to_owned());
    }
    Ok(text.to_owned())
}

/// Any text that can be part of a request.
pub(super) fn plain(text: &str) -> Result<String, String> {
    if text.contains(['\0', '\r', '\n']) {
        Err("expected text without line ends and zero bytes".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// A host: `example.com`, `*.example.com`, `192.0.2.1` or `[::1]`.
pub(super) fn host(text: &str) -> Result<HostPattern, String> {
    const EXPECTED: &str = "expected a host such as example.com or *.example.com";
    if text == "*" {
        return Err(format!("{EXPECTED}; leave the key out for any host"));
    }
    let lower = text.to_ascii_lowercase();
    if let Some(inner) = lower.strip_prefix('[') {
        let addr = inner
            .strip_suffix(']')
            .map(str::parse::<std::net::Ipv6Addr>);
        return match addr {
            Some(Ok(_)) => Ok(HostPattern::Exact(lower)),
            _ => Err(format!(
                "{EXPECTED}, or an address in brackets, without a port"
            )),
        };
    }
    let (name, is_wild) = match lower.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (lower.as_str(), false),
    };
    if name.contains(':') {
        return Err(format!("{EXPECTED}, without a port"));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(allowed);
    if lower.len() > HOST_BYTES_MAX || !name.split('.').all(is_label) {
        return Err(EXPECTED.to_owned());
    }
    Ok(if is_wild {
        HostPattern::Suffix(format!(".{name}"))
    } else {
        HostPattern::Exact(lower)
    })
}

/// A path as requests carry it, which none is refused for.
pub(super) fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("expected a path that begins with /".to_owned());
    }
    path_text(text)?;
    let segments = || text[1..].split('/');
    let last = segments().count() - 1;
    if segments()
        .enumerate()
        .any(|(i, segment)| segment.is_empty() && i < last)
    {
        return Err("expected a path without //".to_owned());
    }
    if segments().any(|segment| matches!(segment, "." | "..")) {
        return Err("expected a path without . and .. as segments".to_owned());
    }
    Ok(text.to_owned())
}

/// A pattern of paths.
pub(super) fn path_pattern(text: &str) -> Result<PathPattern, String> {
    if !text.starts_with(['/', '*']) {
        return Err("expected a pattern that begins with / or *".to_owned());
    }
    path_text(text)?;
    if !text.contains('*') {
        return Err("expected a pattern with * or **; a plain one is said with path".to_owned());
    }
    Ok(PathPattern::Glob(text.to_owned()))
}

fn path_text(text: &str) -> Result<(), String> {
    if text.contains(['?', '#']) {
        return Err("expected a path without ? and #: queries are matched with query".to_owned());
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(
            "expected a path in ASCII, without spaces: everything else as %20 and the like"
                .to_owned(),
        );
    }
    let mut codes = text.split('%').skip(1).map(str::as_bytes);
    if codes
        .all(|code| matches!(code, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
    {
        Ok(())
    } else {
        Err("expected two hexadecimal digits behind %".to_owned())
    }
}

/// A location with `{host}`, `{path}` and `{query}`.
pub(super) fn location(text: &str) -> Result<Vec<Piece>, String> {
    const EXPECTED: &str = "expected a location such as https://{host}{path}{query} or /new{query}";
    let is_absolute = text.starts_with("http://") || text.starts_with("https://");
    // Two slashes would be another host, chosen by whoever wrote the link.
    let is_path = text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/{path}");
    if !(is_absolute || is_path) {
        return Err(format!(
            "{EXPECTED}, which begins with https://, http:// or one /"
        ));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("{EXPECTED}, in ASCII and without spaces"));
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((name, behind)) = behind.split_once('}') else {
            return Err(format!("{EXPECTED}: a {{ is never closed"));
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(match name {
            "host" => Piece::Host,
            "path" => Piece::Path,
            "query" => Piece::Query,
            _ => return Err("expected {host}, {path} or {query} in braces".to_owned()),
        });
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    let stray = |piece: &Piece| matches!(piece, Piece::Text(text) if text.contains('}'));
    if pieces.iter().any(stray) {
        return Err(format!("{EXPECTED}: a }} was never opened"));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good<T: std::fmt::Debug>(parsed: Result<T, String>) -> String {
        format!("{:?}", parsed.expect("it is good"))
    }

    fn bad<T: std::fmt::Debug>(parsed: Result<T, String>, part: &str) {
        let why = parsed.expect_err("it is bad");
        assert!(why.contains(part), "{why}");
    }

    #[test]
    fn hosts() {
        assert_eq!(good(host("Example.COM")), r#"Exact("example.com")"#);
        assert_eq!(good(host("*.example.com")), r#"Suffix(".example.com")"#);
        assert_eq!(good(host("[::1]")), r#"Exact("[::1]")"#);
        bad(host("*"), "leave the key out");
        bad(host("example.com:80"), "without a port");
        bad(host("[::1]:80"), "without a port");
        for text in ["", "a..b", ".a", "a.", "a.*", "*.", "*a.b", "http://a", "é"] {
            bad(host(text), "expected a host");
        }
    }

    #[test]
    fn paths() {
        for text in ["/", "/a", "/a/", "/a/b%20c", "/*"] {
            assert_eq!(good(path(text)), format!("{text:?}"));
        }
        bad(path("a"), "begins with /");
        bad(path(""), "begins with /");
        bad(path("//"), "without //");
        bad(path("/a//b"), "without //");
        bad(path("/a/../b"), "without . and ..");
        bad(path("/a/."), "without . and ..");
        bad(path("/a?b"), "without ? and #");
        bad(path("/ä"), "in ASCII");
        bad(path("/a b"), "in ASCII");
        bad(path("/%2"), "hexadecimal");
        bad(path("/%zz"), "hexadecimal");
        assert_eq!(good(path_pattern("**.png")), r#"Glob("**.png")"#);
        bad(path_pattern("/a"), "with *");
        bad(path_pattern("a*"), "begins with");
    }

    #[test]
    fn locations() {
        assert_eq!(
            good(location("https://{host}/x{path}{query}")),
            r#"[Text("https://"), Host, Text("/x"), Path, Query]"#
        );
        assert_eq!(good(location("/new")), r#"[Text("/new")]"#);
        for text in ["", "{path}", "//evil", "/{path}", "ftp://a", "new"] {
            bad(location(text), "begins with");
        }
        bad(location("/{hots}"), "in braces");
        bad(location("/{host"), "never closed");
        bad(location("/host}"), "never opened");
        bad(location("/a b"), "without spaces");
        bad(location("/a\r\nb"), "without spaces");
    }

    #[test]
    fn methods_and_values() {
        assert_eq!(good(method("PURGE")), "\"PURGE\"");
        assert_eq!(good(method("purge")), "\"purge\"");
        bad(method("get"), "\"GET\"");
        bad(method("G T"), "a method");
        assert_eq!(good(field_value("")), "\"\"");
        bad(field_value("a\r\nb"), "control");
        bad(field_value(" a"), "spaces around");
        bad(plain("a\nb"), "line ends");
    }
}
