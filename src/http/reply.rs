//! Replies of our own, ready to send. It does not know why one is given: the reason is a word handed in.
//!
//! Architecture invariant: a reply is whole (its length is exact, and says how long it would be where `HEAD` gets none of
//! it), and says itself whether the connection goes on.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;

use super::Version;
use super::field::is_value;
use super::forward;
use super::inquiry::Inquiry;
use super::path::push_escaped;
use crate::config::{FieldEdits, Piece};

const CONTENT_TYPE: &str = "Content-Type";

/// Longest reply written, in bytes, without what the operator puts in: a location, a content type, a body.
pub const REPLY_BYTES_MAX: usize = 1024;

/// A reply of our own.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Its status code.
    pub status: u16,
    /// The word for why it is given.
    pub reason: &'a str,
    /// The request's id, in visible ASCII; empty if it has none.
    pub id: &'a [u8],
    /// Now, as an IMF-fixdate.
    pub date: &'a [u8; 29],
    /// The version that the client spoke.
    pub version: Version,
    /// Whether the request was `HEAD`, so that only the head is sent.
    pub head_only: bool,
    /// Whether the connection goes on behind it.
    pub keep: bool,
}

/// Writes a reply behind what is in `out`.
pub fn write(reply: &Reply<'_>, out: &mut Vec<u8>) {
    write_with(reply, &[extra(reply.status)], &FieldEdits::default(), out);
}

/// Writes a reply that sends the client to a [`location`], with the operator's fields.
pub fn write_redirect(reply: &Reply<'_>, location: &[u8], fields: &FieldEdits, out: &mut Vec<u8>) {
    write_with(reply, &[b"Location: ", location, b"\r\n"], fields, out);
}

/// Writes a reply of the operator's: its status, these fields, and this body of this type. The reason and the id do not stand
/// in it.
pub fn write_fixed(
    reply: &Reply<'_>,
    content_type: &str,
    body: &str,
    fields: &FieldEdits,
    out: &mut Vec<u8>,
) {
    let body = body.as_bytes();
    start(reply, fields, out);
    // These have no content, and say nothing of any (RFC 9110 §8.6, §15.4.5).
    let hollow = matches!(reply.status, 204 | 304);
    // Nor has this, but it says so (RFC 9110 §15.3.6).
    let body = if reply.status == 205 { b"" } else { body };
    if !hollow {
        let is_typed = is_value(content_type.as_bytes()) && !body.is_empty();
        if is_typed && !forward::replaces(fields, CONTENT_TYPE) {
            push(out, &[b"\r\nContent-Type: ", content_type.as_bytes()]);
        }
        number(out, b"\r\nContent-Length: ", body.len());
    }
    let methods = match reply.status {
        405 => extra(405),
        _ => b"",
    };
    push(out, &[b"\r\n", methods]);
    forward::write_own_fields(fields, out);
    push(out, &[connection(reply), b"\r\n"]);
    if !hollow && !reply.head_only {
        push(out, &[body]);
    }
}

/// A location, put together from its pieces and what is asked for. What may not stand in it is escaped.
#[must_use]
pub fn location(pieces: &[Piece], inquiry: &Inquiry<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        let part = match piece {
            Piece::Text(text) => text.as_bytes(),
            Piece::Host => inquiry.host(),
            Piece::Path if matches!(out.as_slice(), b"" | b"/") => {
                // At the start, two slashes would be followed by a host of the client's choice; browsers take a backslash
                // for a slash.
                out.resize(1, b'/');
                let slashes = |byte: &&u8| b"/\\".contains(byte);
                let path = path_or_root(inquiry);
                &path[path.iter().take_while(slashes).count()..]
            }
            Piece::Path => path_or_root(inquiry),
            Piece::Query => inquiry.query(),
        };
        for &byte in part {
            if byte.is_ascii_graphic() {
                out.push(byte);
            } else {
                push_escaped(&mut out, byte);
            }
        }
    }
    out
}

/// The path; `/` where the request is for no path, but for the server.
fn path_or_root<'r>(inquiry: &Inquiry<'r>) -> &'r [u8] {
    match inquiry.path() {
        b"*" => b"/",
        path => path,
    }
}

/// Writes the status line, and the date unless the operator has a say in it; no end of the line behind that.
fn start(reply: &Reply<'_>, fields: &FieldEdits, out: &mut Vec<u8>) {
    number(out, b"HTTP/1.1 ", usize::from(reply.status));
    push(out, &[b" ", phrase(reply.status).as_bytes()]);
    if !forward::replaces(fields, "Date") {
        push(out, &[b"\r\nDate: ", reply.date]);
    }
}

fn write_with(reply: &Reply<'_>, lines: &[&[u8]], fields: &FieldEdits, out: &mut Vec<u8>) {
    let phrase = phrase(reply.status);
    let request = if reply.id.is_empty() {
        0
    } else {
        "request \n".len() + reply.id.len()
    };
    let length = "000 : \n".len() + phrase.len() + reply.reason.len() + request;
    start(reply, fields, out);
    if !forward::replaces(fields, CONTENT_TYPE) {
        push(out, &[b"\r\nContent-Type: text/plain; charset=utf-8"]);
    }
    number(out, b"\r\nContent-Length: ", length);
    push(out, &[b"\r\n"]);
    push(out, lines);
    forward::write_own_fields(fields, out);
    push(out, &[connection(reply), b"\r\n"]);
    if reply.head_only {
        return;
    }
    number(out, b"", usize::from(reply.status));
    push(
        out,
        &[
            b" ",
            phrase.as_bytes(),
            b": ",
            reply.reason.as_bytes(),
            b"\n",
        ],
    );
    if request > 0 {
        push(out, &[b"request ", reply.id, b"\n"]);
    }
}

/// Fields that the status asks for: the methods that there are with 405 (RFC 9110 §15.5.6), and likewise for an
/// `OPTIONS` answered here; when to come again with 503.
fn extra(status: u16) -> &'static [u8] {
    match status {
        200 | 405 => b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
        503 => b"Retry-After: 1\r\n",
        _ => b"",
    }
}

fn connection(reply: &Reply<'_>) -> &'static [u8] {
    match (reply.keep, reply.version) {
        (false, _) => b"Connection: close\r\n",
        (true, Version::Http10) => b"Connection: keep-alive\r\n",
        (true, Version::Http11) => b"",
    }
}

/// What a status code means, in the words of RFC 9110 §15 and of those that came after it.
#[must_use]
pub fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "Unknown",
    }
}

/// The IMF-fixdate of a wall-clock time (RFC 9110 §5.6.7). Beyond the years that it can write, the nearest one.
#[must_use]
pub fn date(now: SystemTime) -> [u8; 29] {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let last = Duration::from_secs(253_402_300_799);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    // Never fails: what HttpDate writes is as long as what stands there.
    let _ = write!(
        &mut text[..],
        "{}",
        HttpDate::from(UNIX_EPOCH + since.min(last))
    );
    text
}

fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn number(out: &mut Vec<u8>, label: &[u8], number: usize) {
    out.extend_from_slice(label);
    // Writing to a vector never fails.
    let _ = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use super::super::Reject;
    use super::*;

    #[test]
    fn a_reply_of_the_operators_has_the_operators_fields() {
        let fields = FieldEdits {
            set: vec![
                ("content-type".to_owned(), "text/html".to_owned()),
                ("Content-Length".to_owned(), "7".to_owned()),
            ],
            add: vec![("Cache-Control".to_owned(), "no-store".to_owned())],
            remove: Vec::new(),
        };
        let mut out = Vec::new();
        write_fixed(&REPLY, "text/plain", "hi", &fields, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.ends_with(
                "\r\nContent-Length: 2\r\ncontent-type: text/html\r\nCache-Control: no-store\r\n\r\nhi"
            ),
            "{text}"
        );
        assert!(!text.contains("text/plain"), "{text}");
        let mut out = Vec::new();
        write_redirect(&REPLY, b"/x", &fields, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(
            "\r\nLocation: /x\r\ncontent-type: text/html\r\nCache-Control: no-store\r\n\r\n502"
        ));
    }

    #[test]
    fn a_reply_has_one_date_whoever_sets_it() {
        let fields = FieldEdits {
            set: vec![("date".to_owned(), "mine".to_owned())],
            ..FieldEdits::default()
        };
        let (mut fixed, mut redirect) = (Vec::new(), Vec::new());
        write_fixed(&REPLY, "text/plain", "hi", &fields, &mut fixed);
        write_redirect(&REPLY, b"/x", &fields, &mut redirect);
        for out in [fixed, redirect] {
            let text = String::from_utf8(out).unwrap();
            let lines = text
                .lines()
                .filter(|line| line.to_ascii_lowercase().starts_with("date:"));
            assert_eq!(lines.collect::<Vec<_>>(), ["date: mine"], "{text}");
            assert!(
                text.starts_with("HTTP/1.1 502 Bad Gateway\r\nContent-Type: "),
                "{text}"
            );
        }
    }

    const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";
    const REPLY: Reply<'static> = Reply {
        status: 502,
        reason: "connect-refused",
        id: b"0192",
        date: DATE,
        version: Version::Http11,
        head_only: false,
        keep: true,
    };

    fn check(reply: Reply<'_>, expected: &str) {
        let mut out = b"before".to_vec();
        write(&reply, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("before{expected}"));
    }

    #[test]
    fn a_reply_says_what_and_why_and_which_request() {
        let head = "HTTP/1.1 502 Bad Gateway\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
            Content-Type: text/plain; charset=utf-8\r\nContent-Length: 46\r\n";
        let body = "502 Bad Gateway: connect-refused\nrequest 0192\n";
        assert_eq!(body.len(), 46);
        check(REPLY, &format!("{head}\r\n{body}"));
        check(
            Reply {
                head_only: true,
                ..REPLY
            },
            &format!("{head}\r\n"),
        );
        let close = Reply {
            keep: false,
            ..REPLY
        };
        check(close, &format!("{head}Connection: close\r\n\r\n{body}"));
        let old = Reply {
            version: Version::Http10,
            ..REPLY
        };
        check(old, &format!("{head}Connection: keep-alive\r\n\r\n{body}"));
        let nameless = head.replace("46", "33");
        let short = "502 Bad Gateway: connect-refused\n";
        check(
            Reply { id: b"", ..REPLY },
            &format!("{nameless}\r\n{short}"),
        );
    }

    #[test]
    fn a_redirect_says_where_to() {
        let head = "HTTP/1.1 308 Permanent Redirect\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
            Content-Type: text/plain; charset=utf-8\r\nContent-Length: 46\r\nLocation: https://h/a\r\n";
        let body = "308 Permanent Redirect: redirect\nrequest 0192\n";
        assert_eq!(body.len(), 46);
        let reply = Reply {
            status: 308,
            reason: "redirect",
            ..REPLY
        };
        let written = |reply: Reply<'_>| {
            let mut out = b"before".to_vec();
            write_redirect(&reply, b"https://h/a", &FieldEdits::default(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(reply), format!("before{head}\r\n{body}"));
        let head_only = true;
        assert_eq!(
            written(Reply { head_only, ..reply }),
            format!("before{head}\r\n")
        );
        for status in [301, 302, 303, 307, 308] {
            assert_ne!(phrase(status), "Unknown");
        }
    }

    #[test]
    fn a_fixed_reply_is_the_operators_and_framed_as_its_status_asks() {
        let fixed = |status: u16, change: fn(&mut Reply<'_>)| {
            let mut reply = Reply { status, ..REPLY };
            change(&mut reply);
            let mut out = Vec::new();
            write_fixed(&reply, "text/html", "<p>", &FieldEdits::default(), &mut out);
            let text = String::from_utf8(out).unwrap();
            let (line, rest) = text.split_once("\r\nDate: ").unwrap();
            let rest = rest
                .strip_prefix("Sun, 06 Nov 1994 08:49:37 GMT\r\n")
                .unwrap();
            (line.to_owned(), rest.to_owned())
        };
        let said = |status: u16| fixed(status, |_| {});
        let whole = "Content-Type: text/html\r\nContent-Length: 3\r\n";
        assert_eq!(
            said(200),
            ("HTTP/1.1 200 OK".to_owned(), format!("{whole}\r\n<p>"))
        );
        assert_eq!(said(299).1, format!("{whole}\r\n<p>"));
        assert_eq!(said(503).1, format!("{whole}\r\n<p>"));
        assert!(said(405).1.contains("\r\nAllow: GET, "));
        for hollow in [204, 304] {
            assert_eq!(said(hollow).1, "\r\n");
        }
        assert_eq!(said(205).1, "Content-Length: 0\r\n\r\n");
        assert_eq!(
            fixed(200, |reply| reply.head_only = true).1,
            format!("{whole}\r\n")
        );
        assert_eq!(
            fixed(200, |reply| reply.keep = false).1,
            format!("{whole}Connection: close\r\n\r\n<p>")
        );
        assert_eq!(
            fixed(200, |reply| reply.version = Version::Http10).1,
            format!("{whole}Connection: keep-alive\r\n\r\n<p>")
        );
        let mut out = Vec::new();
        write_fixed(
            &REPLY,
            "a\r\nSet-Cookie: b",
            "x",
            &FieldEdits::default(),
            &mut out,
        );
        assert!(!String::from_utf8(out).unwrap().contains("Set-Cookie"));
    }

    #[test]
    fn a_location_is_put_together_from_what_is_asked_for() {
        let text = |text: &str| Piece::Text(text.to_owned());
        let check = |target: &str, pieces: &[Piece], expected: &str| {
            let inquiry = Inquiry {
                client: std::net::Ipv4Addr::LOCALHOST.into(),
                method: "GET",
                authority: b"h.example:8080",
                target: target.as_bytes(),
                fields: &[],
            };
            let found = location(pieces, &inquiry);
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{target}");
        };
        let secure = [text("https://"), Piece::Host, Piece::Path, Piece::Query];
        check("/a//b?c=d?", &secure, "https://h.example/a//b?c=d?");
        check("/", &secure, "https://h.example/");
        check("//x", &secure, "https://h.example//x");
        check("?q", &secure, "https://h.example/?q");
        check("*", &secure, "https://h.example/");
        check("/a", &[text("/new"), Piece::Path], "/new/a");
        check(
            "/a",
            &[text("/caf\u{e9} \r\nX: y")],
            "/caf%C3%A9%20%0D%0AX:%20y",
        );
        for evil in ["//evil/..", "/\\evil/..", "///evil/..", "/\\/evil/.."] {
            check(evil, &[Piece::Path], "/evil/..");
            check(evil, &[text("/"), Piece::Path], "/evil/..");
        }
        check("///", &[Piece::Path, Piece::Query], "/");
        check("/a?b", &[Piece::Path, Piece::Query], "/a?b");
    }

    #[test]
    fn some_statuses_carry_what_to_do_next() {
        for (status, field) in [
            (
                405,
                "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
            ),
            (
                200,
                "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
            ),
            (503, "Retry-After: 1\r\n"),
        ] {
            let mut out = Vec::new();
            write(&Reply { status, ..REPLY }, &mut out);
            assert!(String::from_utf8(out).unwrap().contains(field), "{status}");
        }
    }

    #[test]
    fn every_refusal_has_a_status_with_a_phrase_and_a_word() {
        use Reject as R;
        for (reject, status, reason) in [
            (R::Malformed, 400, "malformed-head"),
            (R::BadTarget, 400, "bad-target"),
            (R::AmbiguousPath, 400, "ambiguous-path"),
            (R::BadHost, 400, "bad-host"),
            (R::BadFraming, 400, "bad-framing"),
            (R::BadChunk, 400, "bad-chunk"),
            (R::BadTrailer, 400, "bad-trailer"),
            (R::BodyTooLarge, 413, "body-too-large"),
            (R::TargetTooLong, 414, "target-too-long"),
            (R::HeadTooLarge, 431, "head-too-large"),
            (R::TrailerTooLarge, 431, "trailer-too-large"),
            (R::MethodRefused, 405, "method-refused"),
            (R::ExpectationUnknown, 417, "expectation-unknown"),
            (R::CodingUnknown, 501, "coding-unknown"),
            (R::VersionUnknown, 505, "version-unknown"),
            (R::Loop, 508, "loop-detected"),
            (R::HopsSpent, 200, "max-forwards-spent"),
        ] {
            assert_eq!((reject.status(), reject.reason()), (status, reason));
            assert_ne!(phrase(status), "Unknown");
        }
    }

    #[test]
    fn every_status_of_a_failure_has_its_phrase() {
        for (status, expected) in [
            (200, "OK"),
            (403, "Forbidden"),
            (404, "Not Found"),
            (408, "Request Timeout"),
            (421, "Misdirected Request"),
            (429, "Too Many Requests"),
            (500, "Internal Server Error"),
            (502, "Bad Gateway"),
            (503, "Service Unavailable"),
            (504, "Gateway Timeout"),
            (299, "Unknown"),
        ] {
            assert_eq!(phrase(status), expected);
        }
    }

    #[test]
    fn a_date_is_written_for_any_time() {
        let known = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(&date(known), DATE);
        let first = b"Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(&date(UNIX_EPOCH - Duration::from_secs(1)), first);
        let late = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(&date(late), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
