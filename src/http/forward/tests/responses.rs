//! Responses as they come from backends, and what clients get of them.

use super::*;

pub(super) const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";
pub(super) const DATED: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
pub(super) const ASKED: Request = Request {
    method: Method::Idempotent,
    version: Version::Http11,
    framing: Framing::None,
    keep_alive: true,
    trailers: false,
    upgrade: false,
    expects_continue: false,
    id: super::super::super::Span { start: 0, len: 0 },
};
const OLD: Request = Request {
    version: Version::Http10,
    ..ASKED
};
const HEAD: Request = Request {
    method: Method::Head,
    ..ASKED
};

/// What `response` makes of the whole; it must make the same, or nothing yet, of every part.
fn answered(request: Request, close: bool, input: &[u8]) -> Result<(Response, Vec<u8>), Reject> {
    let asked = Asked {
        request: &request,
        close,
        date: DATE,
        edits: None,
        set_cookie: None,
    };
    let run = |input: &[u8]| {
        let mut out = BEFORE.to_vec();
        let found = response(input, &asked, &mut out, Vec::reserve);
        assert!(out.starts_with(BEFORE));
        assert!(matches!(found, Ok(Some(_))) || out == BEFORE);
        found
            .map(|found| found.map(|(len, response)| (len, response, out[BEFORE.len()..].to_vec())))
    };
    let whole = run(input).map(|found| found.expect("a whole head"));
    for cut in 0..input.len() {
        match run(&input[..cut]) {
            Ok(None) => {}
            part => assert_eq!(
                part.err(),
                whole.as_ref().err().copied(),
                "{cut}: {}",
                input.escape_ascii()
            ),
        }
    }
    let behind = [input, b"HTTP/1.1 200 OK\r\n\r\n"].concat();
    assert_eq!(
        run(&behind).map(|found| found.expect("a whole head")),
        whole
    );
    let (len, response, out) = whole?;
    assert_eq!(len, input.len());
    Ok((response, out))
}

fn check(request: Request, lines: &str, expected: &str) -> Response {
    let (response, out) = answered(request, false, format!("{lines}\r\n").as_bytes()).expect(lines);
    assert_eq!(String::from_utf8(out).unwrap(), expected, "{lines:?}");
    response
}

/// What becomes of the fields of a 200 that has a date, for a client of 1.1.
fn fields(request: Request, received: &str, expected: &str) -> Response {
    let start = format!("HTTP/1.1 200 OK\r\n{DATED}");
    check(
        request,
        &format!("{start}{received}"),
        &format!("{start}{expected}\r\n"),
    )
}

fn refused(request: Request, lines: &str, expected: Reject) {
    let found = answered(request, false, format!("{lines}\r\n").as_bytes());
    assert_eq!(
        found.map(|(response, _)| response),
        Err(expected),
        "{lines:?}"
    );
}

#[test]
fn a_plain_response_passes_with_its_names_and_order() {
    let response = fields(
        ASKED,
        "server: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 05\r\nVia: 1.1 a\r\n",
        "server: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 5\r\nVia: 1.1 a\r\n",
    );
    let expected = Response {
        status: 200,
        framing: Framing::Length(5),
        keep_upstream: true,
        keep_client: true,
        trailers: false,
    };
    assert_eq!(response, expected);
}

#[test]
fn a_status_line_is_written_in_our_version_with_its_reason() {
    let (_, out) = answered(
        ASKED,
        false,
        b"HTTP/1.0 799 f\xfcr  alle\r\nContent-Length: 0\r\n\r\n",
    )
    .unwrap();
    assert!(out.starts_with(b"HTTP/1.1 799 f\xfcr  alle\r\n"));
    let (_, out) = answered(ASKED, false, b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(out.starts_with(b"HTTP/1.1 200 \r\n"));
    for line in [
        "HTTP/1.1 099 x",
        "HTTP/1.1 20 x",
        "HTTP/2.0 200 x",
        "HTTP/1.1 200 \0",
        "\r\nHTTP/1.1 200 OK",
    ] {
        refused(ASKED, &format!("{line}\r\n"), Reject::Malformed);
    }
}

#[test]
fn fields_of_the_connection_stay_here() {
    let response = fields(
        ASKED,
        "Connection: x-a, close, set-cookie, content-length\r\nX-A: 1\r\nKeep-Alive: x\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\n\
         TE: x\r\nTrailer: x\r\nProxy-Connection: x\r\nSet-Cookie: a\r\nContent-Length: 1\r\n",
        "Set-Cookie: a\r\nContent-Length: 1\r\n",
    );
    assert!(!response.keep_upstream && response.keep_client);
    refused(
        ASKED,
        "HTTP/1.1 200 OK\r\nConnection: a b\r\n",
        Reject::Malformed,
    );
}

#[test]
fn a_date_is_added_where_it_is_missing() {
    let body = "Content-Length: 0\r\n";
    check(
        ASKED,
        &format!("HTTP/1.1 404 No\r\n{body}"),
        &format!("HTTP/1.1 404 No\r\n{body}{DATED}\r\n"),
    );
    check(
        ASKED,
        &format!("HTTP/1.1 404 No\r\nDATE: x\r\n{body}"),
        &format!("HTTP/1.1 404 No\r\nDATE: x\r\n{body}\r\n"),
    );
    check(
        ASKED,
        "HTTP/1.1 103 Early\r\nLink: x\r\n",
        "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n",
    );
}

#[test]
fn the_framing_rules_of_requests_hold_for_responses() {
    for (lines, reject) in [
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            Reject::BadFraming,
        ),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Reject::BadFraming,
        ),
        ("Content-Length: x\r\n", Reject::BadFraming),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            Reject::CodingUnknown,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Reject::BadFraming,
        ),
    ] {
        refused(ASKED, &format!("HTTP/1.1 200 OK\r\n{lines}"), reject);
        refused(HEAD, &format!("HTTP/1.1 200 OK\r\n{lines}"), reject);
    }
    refused(
        ASKED,
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
        Reject::BadFraming,
    );
    refused(ASKED, "HTTP/1.1 200 OK\r\nA: b\n", Reject::Malformed);
}

#[test]
fn a_body_to_the_end_of_the_connection_goes_on_in_chunks() {
    let trailers = Request {
        trailers: true,
        ..ASKED
    };
    for (request, lines) in [
        (ASKED, ""),
        (ASKED, "Connection: keep-alive\r\n"),
        (ASKED, "Connection: close\r\n"),
        // Trailers come behind chunks alone, and these are ours.
        (trailers, "Trailer: X-T\r\n"),
    ] {
        let response = fields(request, lines, "Transfer-Encoding: chunked\r\n");
        assert_eq!(
            (
                response.framing,
                response.keep_upstream,
                response.keep_client
            ),
            (Framing::UntilClose, false, true)
        );
    }
    let ends = Request {
        keep_alive: false,
        ..ASKED
    };
    let framed = "Transfer-Encoding: chunked\r\nConnection: close\r\n";
    assert!(!fields(ends, "", framed).keep_client);
    let from_old = check(
        ASKED,
        &format!("HTTP/1.0 200 OK\r\n{DATED}"),
        &format!("HTTP/1.1 200 OK\r\n{DATED}Transfer-Encoding: chunked\r\n\r\n"),
    );
    assert!(!from_old.keep_upstream && from_old.keep_client);
}

#[test]
fn a_body_to_the_end_of_the_connection_closes_both_for_1_0() {
    let old = check(
        OLD,
        &format!("HTTP/1.0 200 OK\r\n{DATED}"),
        &format!("HTTP/1.1 200 OK\r\n{DATED}Connection: close\r\n\r\n"),
    );
    assert!(!old.keep_client);
}

#[test]
fn connections_are_kept_by_the_rules_of_their_versions() {
    let kept = |request: Request, close: bool, version: &str, connection: &str| {
        let head = format!(
            "HTTP/{version} 200 OK\r\nConnection: {connection}\r\nContent-Length: 1\r\n\r\n"
        );
        let (response, out) = answered(request, close, head.as_bytes()).unwrap();
        let out = String::from_utf8(out).unwrap();
        let line = out
            .lines()
            .find(|line| line.starts_with("Connection"))
            .unwrap_or("-")
            .to_owned();
        (response.keep_upstream, response.keep_client, line)
    };
    let said = |upstream, client, line: &str| (upstream, client, line.to_owned());
    let (alive, close) = ("Connection: keep-alive", "Connection: close");
    let ends = Request {
        keep_alive: false,
        ..ASKED
    };
    let old_ends = Request {
        keep_alive: false,
        ..OLD
    };
    assert_eq!(kept(ASKED, false, "1.1", ""), said(true, true, "-"));
    assert_eq!(kept(ASKED, false, "1.1", "Close"), said(false, true, "-"));
    assert_eq!(kept(ASKED, true, "1.1", ""), said(true, false, close));
    assert_eq!(kept(ends, false, "1.1", ""), said(true, false, close));
    assert_eq!(kept(ASKED, false, "1.0", ""), said(false, true, "-"));
    assert_eq!(
        kept(ASKED, false, "1.0", "keep-alive"),
        said(true, true, "-")
    );
    assert_eq!(
        kept(ASKED, false, "1.0", "keep-alive, close"),
        said(false, true, "-")
    );
    assert_eq!(kept(OLD, false, "1.1", ""), said(true, true, alive));
    assert_eq!(kept(OLD, true, "1.1", ""), said(true, false, close));
    assert_eq!(kept(old_ends, false, "1.1", ""), said(true, false, close));
}

#[test]
fn chunks_reach_only_those_who_know_them() {
    let chunked = "Transfer-Encoding: Chunked\r\nTrailer: d\r\n";
    let response = fields(ASKED, chunked, "Transfer-Encoding: chunked\r\n");
    assert!(response.framing == Framing::Chunked && response.keep_upstream && response.keep_client);
    let takes = Request {
        trailers: true,
        ..ASKED
    };
    fields(
        takes,
        chunked,
        "Transfer-Encoding: chunked\r\nTrailer: d\r\n",
    );
    fields(
        takes,
        "Content-Length: 1\r\nTrailer: d\r\n",
        "Content-Length: 1\r\n",
    );
    let response = fields(OLD, chunked, "Connection: close\r\n");
    assert!(
        response.framing == Framing::Chunked && response.keep_upstream && !response.keep_client
    );
}

#[test]
fn responses_without_a_body_say_only_what_they_may() {
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(fields(HEAD, length, length).framing, Framing::None);
    assert_eq!(fields(HEAD, chunked, chunked).framing, Framing::None);
    fields(
        Request {
            version: Version::Http10,
            ..HEAD
        },
        chunked,
        "Connection: keep-alive\r\n",
    );
    assert!(fields(HEAD, "", "").keep_client);
    for (status, line, expected) in [
        (204, length, ""),
        (204, chunked, ""),
        (304, length, length),
        (304, chunked, ""),
    ] {
        let start = format!("HTTP/1.1 {status} x\r\n{DATED}");
        for request in [ASKED, HEAD] {
            let response = check(
                request,
                &format!("{start}{line}"),
                &format!("{start}{expected}\r\n"),
            );
            assert!(response.framing == Framing::None && response.keep_client);
            // What a 204 says of a body may still come, and must not pass for another answer.
            assert_eq!(response.keep_upstream, status != 204);
        }
    }
    assert!(
        check(
            ASKED,
            &format!("HTTP/1.1 204 x\r\n{DATED}Content-Length: 0\r\n"),
            &format!("HTTP/1.1 204 x\r\n{DATED}\r\n")
        )
        .keep_upstream
    );
}

#[test]
fn interim_responses_pass_to_those_who_know_them() {
    let lines = "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\nConnection: close\r\nA: b\r\n";
    let response = check(ASKED, lines, "HTTP/1.1 100 Continue\r\nA: b\r\n\r\n");
    assert!(response.is_interim() && response.framing == Framing::None);
    assert!(check(OLD, lines, "").is_interim());
}

#[test]
fn protocols_are_switched_only_when_asked() {
    let switch = "HTTP/1.1 101 Go\r\nConnection: upgrade, x-a\r\nX-A: 1\r\nUpgrade: a\r\nContent-Length: 3\r\n";
    let asked = Request {
        upgrade: true,
        ..ASKED
    };
    let response = check(
        asked,
        switch,
        "HTTP/1.1 101 Go\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n",
    );
    assert_eq!(
        (
            response.framing,
            response.keep_upstream,
            response.keep_client
        ),
        (Framing::None, false, false)
    );
    assert!(!response.is_interim());
    refused(ASKED, switch, Reject::Malformed);
    refused(
        asked,
        "HTTP/1.1 101 Go\r\nConnection: upgrade\r\n",
        Reject::Malformed,
    );
    refused(
        asked,
        &switch.replace("1.1 101", "1.0 101"),
        Reject::Malformed,
    );
    let demand =
        |line: &str| format!("HTTP/1.1 426 Up\r\n{DATED}{line}Upgrade: a\r\nContent-Length: 0\r\n");
    check(
        ASKED,
        &demand("Connection: upgrade\r\n"),
        &format!("{}Connection: Upgrade\r\n\r\n", demand("")),
    );
    let ends = Request {
        keep_alive: false,
        ..ASKED
    };
    check(
        ends,
        &demand(""),
        &format!("{}Connection: Upgrade, close\r\n\r\n", demand("")),
    );
}
