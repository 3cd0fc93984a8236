//! Replies of our own, ready to send. It does not know why one is given: the reason is a word handed in.
//!
//! Architecture invariant: a reply is whole (its length is exact, and says how long it would be where `HEAD` gets none of
//! it), and says itself whether the connection goes on.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;

use super::Version;

/// Longest reply written, in bytes.
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
    let phrase = phrase(reply.status);
    let request = if reply.id.is_empty() {
        0
    } else {
        "request \n".len() + reply.id.len()
    };
    let length = "000 : \n".len() + phrase.len() + reply.reason.len() + request;
    number(out, b"HTTP/1.1 ", usize::from(reply.status));
    push(out, &[b" ", phrase.as_bytes(), b"\r\nDate: ", reply.date]);
    push(out, &[b"\r\nContent-Type: text/plain; charset=utf-8"]);
    number(out, b"\r\nContent-Length: ", length);
    push(
        out,
        &[b"\r\n", extra(reply.status), connection(reply), b"\r\n"],
    );
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
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
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
