//! A request as people type it, made into the head that a client would send.

use std::fmt;

use super::Unknown;
use crate::config::{Config, Listener};

/// What was typed is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclear {
    /// What was typed.
    pub typed: String,
    /// What was expected.
    pub expected: &'static str,
}

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: expected {}", self.typed, self.expected)
    }
}

impl std::error::Error for Unclear {}

/// The head of a request, as `curl` would send it: `url` is `http://HOST/PATH?QUERY`, the scheme may be left out, each of `fields` is
/// `Name: value` and may replace `Host`. What the proxy itself would refuse is let through, so that it can.
///
/// # Errors
/// A URL without a host, or a field without a colon.
pub fn head(method: &str, url: &str, fields: &[String]) -> Result<Vec<u8>, Unclear> {
    let unclear = |typed: &str, expected| Unclear {
        typed: typed.to_owned(),
        expected,
    };
    let has_line_end = |text: &str| text.contains(['\r', '\n', ' ']);
    if method.is_empty() || has_line_end(method) {
        return Err(unclear(method, "a method such as GET"));
    }
    const URL: &str = "a URL such as http://api.example.com/v1/x";
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.unwrap_or(url);
    let rest = rest.split('#').next().unwrap_or_default();
    let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let names_host = |field: &String| {
        let name = field.split(':').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("host")
    };
    let has_host = fields.iter().any(names_host);
    if has_line_end(rest) || (host.is_empty() && !has_host) {
        return Err(unclear(url, URL));
    }
    let slash = if target.starts_with('/') { "" } else { "/" };
    let mut head = format!("{method} {slash}{target} HTTP/1.1\r\n");
    if !has_host {
        head.push_str(&format!("Host: {host}\r\n"));
    }
    for field in fields {
        if !field.contains(':') || field.contains(['\r', '\n']) {
            return Err(unclear(field, "a field such as \"Cookie: a=b\""));
        }
        head.push_str(field);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    Ok(head.into_bytes())
}

/// The place of the listener of this name or address; without one, of the listener at the port of `url`, else of the first.
///
/// # Errors
/// A name that no listener has.
pub fn listener_for(config: &Config, name: Option<&str>, url: &str) -> Result<usize, Unknown> {
    let mut listeners = config.listeners.iter();
    let Some(name) = name else {
        let found =
            port(url).and_then(|port| listeners.position(|listener| listener.addr.port() == port));
        return Ok(found.unwrap_or(0));
    };
    let is_it = |listener: &Listener| listener.name == name || listener.addr.to_string() == name;
    listeners.position(is_it).ok_or_else(|| Unknown {
        kind: "listener",
        name: Some(name.to_owned()),
        known: config
            .listeners
            .iter()
            .map(|listener| listener.name.clone())
            .collect(),
    })
}

/// The port that a URL names.
fn port(url: &str) -> Option<u16> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next()?;
    host.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::plain;

    #[test]
    fn a_listener_is_found_by_its_name_or_by_the_port_that_is_asked_for() {
        let mut config = plain();
        for (name, addr) in [("other", "127.0.0.1:81"), ("third", "[::1]:82")] {
            let listener = Listener::at(addr.parse().unwrap());
            config.listeners.push(Listener {
                name: name.to_owned(),
                ..listener
            });
        }
        let found = |name, url| listener_for(&config, name, url);
        assert_eq!(found(None, "http://a.b:82/x:81"), Ok(2));
        assert_eq!(found(None, "a.b:81"), Ok(1));
        assert_eq!(found(None, "a.b/x:81"), Ok(0));
        assert_eq!(found(Some("other"), "a.b:82"), Ok(1));
        assert_eq!(found(Some("[::1]:82"), "a.b"), Ok(2));
        let error = found(Some("x"), "a.b").unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"x\": no such listener; expected one of 127.0.0.1:8080, other, third"
        );
    }

    fn check(method: &str, url: &str, fields: &[&str], expected: &str) {
        let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        let told = match head(method, url, &fields) {
            Ok(head) => String::from_utf8(head).unwrap(),
            Err(unclear) => unclear.to_string(),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn a_request_is_what_a_client_would_send() {
        check(
            "GET",
            "http://a.b/c?d#e",
            &[],
            "GET /c?d HTTP/1.1\r\nHost: a.b\r\n\r\n",
        );
        check(
            "PUT",
            "a.b:81",
            &["X: y"],
            "PUT / HTTP/1.1\r\nHost: a.b:81\r\nX: y\r\n\r\n",
        );
        check("GET", "a.b?q", &[], "GET /?q HTTP/1.1\r\nHost: a.b\r\n\r\n");
        check(
            "GET",
            "/x",
            &["host: h"],
            "GET /x HTTP/1.1\r\nhost: h\r\n\r\n",
        );
    }

    #[test]
    fn what_is_no_request_is_told_with_what_was_expected() {
        let url = "expected a URL such as http://api.example.com/v1/x";
        check("GET", "/x", &[], &format!("\"/x\": {url}"));
        check(
            "GET",
            "http://a/ b",
            &[],
            &format!("\"http://a/ b\": {url}"),
        );
        check("G T", "a.b", &[], "\"G T\": expected a method such as GET");
        check(
            "GET",
            "a.b",
            &["x"],
            "\"x\": expected a field such as \"Cookie: a=b\"",
        );
        check(
            "GET",
            "a.b",
            &["x: 1\r\ny: 2"],
            "\"x: 1\\r\\ny: 2\": expected a field such as \"Cookie: a=b\"",
        );
    }
}
