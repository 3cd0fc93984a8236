//! What is refused: each with its status and its reason word, the connection closed behind it, other clients unharmed,
//! and not a byte of it at a backend.

mod support;

use support::{Backend, Client, Message, Rondel, get};

/// Each of these, on a connection of its own, gets this status and this reason; nothing of it reaches a backend.
fn check(status: u16, reason: &str, requests: &[&[u8]]) {
    let backend = Backend::echo("a");
    let rondel = Rondel::start(&[backend.addr], &[]);
    let mut bystander = rondel.connect();
    assert_eq!(bystander.ask(&get("/before")).status(), 200);
    // A spare connection, used by whatever may pass.
    for request in requests {
        let shown = request.escape_ascii().to_string();
        let mut client = rondel.connect();
        client.send(request);
        let (response, rest) = last_response(&mut client, &shown);
        assert_eq!(response.status(), status, "{shown}");
        assert_eq!(response.field("connection"), Some("close"), "{shown}");
        assert_eq!(
            response.field("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert!(response.field("date").is_some());
        let text = response.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with(&format!("{status} ")),
            "{shown}: {text}"
        );
        assert!(
            lines[0].ends_with(&format!(": {reason}")),
            "{shown}: {text}"
        );
        assert!(lines[1].starts_with("request "), "{shown}: {text}");
        assert!(rest.is_empty(), "{shown}: {}", rest.escape_ascii());
    }
    // What was refused would have come in over one of these.
    let seen = bystander.ask(&get("/after"));
    assert!(seen.text().starts_with("a\nGET /after "));
    assert_eq!(backend.connections(), 1, "nothing else reached the backend");
    assert!(
        !rondel
            .log()
            .iter()
            .any(|line| line.contains("WARN") || line.contains("ERROR"))
    );
}

fn last_response(client: &mut Client, shown: &str) -> (Message, Vec<u8>) {
    let response = client.message(false, true);
    let response = response.unwrap_or_else(|| panic!("an answer to {shown}"));
    (response, client.rest())
}

/// A head of these lines behind a sound first line and `Host`.
macro_rules! post {
    ($lines:literal) => {
        concat!("POST / HTTP/1.1\r\nHost: h\r\n", $lines, "\r\n").as_bytes()
    };
}

#[test]
fn what_is_not_strictly_http_is_400() {
    check(
        400,
        "malformed-head",
        &[
            b"GET / HTTP/1.1\nHost: h\n\n",
            b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
            b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET /\r\n",
            b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
            b"G(T / HTTP/1.1\r\nHost: h\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n",
            post!("X : y\r\n"),
            post!("X\r\n"),
            post!(": y\r\n"),
            post!(" X: y\r\n"),
            post!("X: a\r\n b\r\n"),
            post!("X: a\0b\r\n"),
            post!("X: a\rb\r\n"),
            post!("X: a\x7fb\r\n"),
            post!("Connection: a b\r\n"),
        ],
    );
}

#[test]
fn a_target_that_nobody_can_read_in_one_way_is_400() {
    check(
        400,
        "bad-target",
        &[
            b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET a/b HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET ftp://h/a HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET http://u@h/a HTTP/1.1\r\nHost: h\r\n\r\n",
        ],
    );
}

#[test]
fn a_host_that_is_missing_doubled_or_none_is_400() {
    check(
        400,
        "bad-host",
        &[
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a,b\r\nHost: c\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h:99999\r\n\r\n",
            b"GET / HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n",
            b"GET http://h/ HTTP/1.1\r\n\r\n",
        ],
    );
}

#[test]
fn a_doubt_where_the_body_ends_is_400() {
    check(
        400,
        "bad-framing",
        &[
            post!("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
            post!("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
            post!("Content-Length: 3\r\nContent-Length: 3\r\n"),
            post!("Content-Length: 3\r\nContent-Length: 4\r\n"),
            post!("Content-Length: 3, 3\r\n"),
            post!("Content-Length: +3\r\n"),
            post!("Content-Length: -3\r\n"),
            post!("Content-Length: 0x3\r\n"),
            post!("Content-Length: 3 3\r\n"),
            post!("Content-Length:\r\n"),
            post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            post!("Transfer-Encoding: chunked,\r\n"),
            post!("Transfer-Encoding:\r\n"),
            b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ],
    );
}

#[test]
fn a_length_beyond_all_bounds_is_413() {
    check(
        413,
        "body-too-large",
        &[
            post!("Content-Length: 9223372036854775808\r\n"),
            post!("Content-Length: 18446744073709551616\r\n"),
            post!("Content-Length: 99999999999999999999999999999999\r\n"),
            post!("Content-Length: 00000000000000000001\r\n"),
        ],
    );
}

#[test]
fn a_target_beyond_8_kib_is_414() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(8 * 1024));
    let endless = format!("GET /{}", "a".repeat(17 * 1024));
    check(
        414,
        "target-too-long",
        &[long.as_bytes(), endless.as_bytes()],
    );
}

#[test]
fn an_expectation_other_than_a_continue_is_417() {
    check(
        417,
        "expectation-unknown",
        &[
            post!("Expect: 200-ok\r\nContent-Length: 1\r\n"),
            post!("Expect: 100-continue, x\r\nContent-Length: 1\r\n"),
            post!("Expect:\r\n"),
        ],
    );
}

#[test]
fn a_head_that_does_not_fit_is_431() {
    let long = format!("{}X: {}\r\n\r\n", &get("/")[..25], "a".repeat(16 * 1024));
    let endless = format!("{}X: {}", &get("/")[..25], "a".repeat(20 * 1024));
    let fields = |count: usize| format!("{}{}\r\n", &get("/")[..25], "X: y\r\n".repeat(count));
    let many = fields(100);
    check(
        431,
        "head-too-large",
        &[long.as_bytes(), endless.as_bytes(), many.as_bytes()],
    );
    // One less fits, and so does a head of exactly 16 KiB.
    let rondel = Rondel::start(&[Backend::echo("a").addr], &[]);
    let mut client = rondel.connect();
    assert_eq!(client.ask(&fields(99)).status(), 200);
    let full = format!(
        "{}X: {}\r\n\r\n",
        &get("/")[..25],
        "a".repeat(16 * 1024 - 32)
    );
    assert_eq!(full.len(), 16 * 1024);
    assert_eq!(client.ask(&full).status(), 200);
}

#[test]
fn a_coding_that_we_do_not_know_is_501() {
    check(
        501,
        "coding-unknown",
        &[
            post!("Transfer-Encoding: gzip\r\n"),
            post!("Transfer-Encoding: gzip, chunked\r\n"),
            post!("Transfer-Encoding: chunked, chunked\r\n"),
            post!("Transfer-Encoding: xchunked\r\n"),
            post!("Transfer-Encoding: \"chunked\"\r\n"),
            post!("Transfer-Encoding: identity\r\n"),
        ],
    );
}

#[test]
fn another_version_is_505() {
    check(
        505,
        "version-unknown",
        &[
            b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
            b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
            b"GET / HTTP/0.9\r\nHost: h\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ],
    );
}

#[test]
fn connect_and_trace_are_405() {
    check(
        405,
        "method-refused",
        &[
            b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
            b"TRACE / HTTP/1.1\r\nHost: h\r\n\r\n",
        ],
    );
}

#[test]
fn a_request_that_goes_round_in_circles_is_508() {
    check(
        508,
        "loop-detected",
        &[
            post!("Via: 1.1 rondel\r\n"),
            post!("Via: 1.0 other (x), 1.1 RONDEL (y)\r\n"),
        ],
    );
}

#[test]
fn what_comes_behind_a_refused_request_is_not_served() {
    let backend = Backend::echo("a");
    let rondel = Rondel::start(&[backend.addr], &[]);
    let mut client = rondel.connect();
    client.send(format!(
        "{}{}{}",
        get("/first"),
        "GET /bad\r\n\r\n",
        get("/hidden")
    ));
    assert!(client.response(false).text().starts_with("a\nGET /first "));
    assert_eq!(client.response(false).status(), 400);
    client.expect_end();
    assert!(rondel.connect().ask(&get("/")).status() == 200);
    assert_eq!(backend.connections(), 1);
}
