//! What comes before its time: interim responses, and final ones while the request's body is still under way.

mod support;

use std::time::Duration;

use support::{Backend, Rondel, Stage, get, ok};

/// Long enough for what must not happen to have happened, had it been on its way.
const A_WHILE: Duration = Duration::from_millis(200);

#[test]
fn a_continue_comes_from_the_backend_and_the_body_waits_for_it() {
    let backend = Stage::start();
    let rondel = Rondel::start(&[backend.addr], &[]);
    let mut client = rondel.connect();
    client.send("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let mut upstream = backend.accept();
    let head = upstream.head().unwrap();
    assert!(head.contains("\r\nExpect: 100-continue\r\n"), "{head}");
    client.expect_silence(A_WHILE);
    upstream.send("HTTP/1.1 100 Continue\r\nX-Own: yes\r\n\r\n");
    let interim = client.response(false);
    assert_eq!(
        (interim.status(), interim.field("x-own")),
        (100, Some("yes"))
    );
    client.send("body");
    assert_eq!(upstream.exactly(4), b"body");
    upstream.send(ok("done"));
    assert_eq!(client.response(false).text(), "done");
    // The connection goes on.
    client.send(get("/next"));
    assert!(upstream.request().unwrap().head.starts_with("GET /next "));
}

#[test]
fn a_refusal_instead_of_a_continue_reaches_the_client() {
    let backend = Stage::start();
    let rondel = Rondel::start(&[backend.addr], &[]);
    let mut client = rondel.connect();
    client.send("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let mut upstream = backend.accept();
    upstream.head().unwrap();
    upstream.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    let response = client.response(false);
    assert_eq!((response.status(), response.text().as_str()), (403, "no"));
    // What the client sends now could be a body or a request: nobody is to guess.
    assert_eq!(response.field("connection"), Some("close"));
    client.expect_end();
    upstream.expect_end();
}

#[test]
fn sixteen_interim_responses_pass_and_seventeen_are_too_many() {
    let backend = Stage::start();
    let rondel = Rondel::start(&[backend.addr], &[]);
    for (count, status) in [(16, 200), (17, 502)] {
        let mut client = rondel.connect();
        client.send(get("/"));
        let (mut upstream, _) = backend.request();
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(count);
        upstream.send(format!(
            "{early}HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        ));
        let mut passed = 0;
        let last = loop {
            match client.response(false) {
                response if response.status() == 103 => passed += 1,
                response => break response,
            }
        };
        assert_eq!((passed.min(16), last.status()), (16, status));
        assert_eq!(last.text().contains("too-many-interim"), status == 502);
    }
}

#[test]
fn interim_responses_are_not_for_http_1_0() {
    let backend = Backend::says(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let rondel = Rondel::start(&[backend.addr], &[]);
    let response = rondel.connect().ask("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!((response.status(), response.text().as_str()), (200, "ok"));
}

#[test]
fn an_early_response_to_a_big_body_is_not_reset_away() {
    const BODY: usize = 8 * 1024 * 1024;
    let backend = Backend::start(|mut conn, _| {
        conn.head();
        conn.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
        // Gone without having read the body: a reset.
    });
    let rondel = Rondel::start(&[backend.addr], &[]);
    for _ in 0..3 {
        let mut client = rondel.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {BODY}\r\n\r\n"
        ));
        // All of it goes out, although nobody wants it: whoever is reset here would lose the reply.
        client.send(vec![b'x'; BODY]);
        let response = client.response(false);
        assert_eq!((response.status(), response.text().as_str()), (413, "big"));
        assert_eq!(response.field("connection"), Some("close"));
        client.expect_end();
        assert!(!client.was_reset);
    }
}

#[test]
fn an_early_response_is_relayed_while_the_body_still_comes() {
    let backend = Stage::start();
    let rondel = Rondel::start(&[backend.addr], &[]);
    let mut client = rondel.connect();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc");
    let mut upstream = backend.accept();
    upstream.head().unwrap();
    assert_eq!(upstream.exactly(3), b"abc");
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    assert_eq!(
        client.head().unwrap().lines().next(),
        Some("HTTP/1.1 200 OK")
    );
    assert_eq!(client.exactly(8), b"3\r\none\r\n");
    client.send("def");
    assert_eq!(upstream.exactly(3), b"def");
    upstream.send("0\r\n\r\n");
    assert_eq!(client.rest(), b"0\r\n\r\n");
}

#[test]
fn a_backend_that_breaks_off_while_a_big_body_comes_is_502_and_not_reset_away() {
    const BODY: usize = 8 * 1024 * 1024;
    let backend = Backend::start(|mut conn, _| {
        conn.head();
        conn.reset();
    });
    let rondel = Rondel::start(&[backend.addr], &[]);
    for _ in 0..3 {
        let mut client = rondel.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {BODY}\r\n\r\n"
        ));
        client.send(vec![b'x'; BODY]);
        let response = client.response(false);
        assert_eq!(
            (response.status(), response.field("connection")),
            (502, Some("close"))
        );
        assert!(response.text().contains("upstream-closed-during-request"));
        client.expect_end();
        assert!(!client.was_reset);
    }
}

#[test]
fn an_early_response_ends_both_connections_though_the_body_never_comes() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc");
    let mut upstream = stage.accept();
    upstream.head().unwrap();
    upstream.send(ok("enough"));
    let response = client.response(false);
    assert_eq!(
        (response.text().as_str(), response.field("connection")),
        ("enough", Some("close"))
    );
    client.expect_end();
    assert_eq!(upstream.rest(), b"abc");
    // What might be the rest of the body or a request is neither.
    client.send(get("/hidden"));
    client.finish();
    stage.expect_no_more();
}

#[test]
fn the_framing_of_a_response_owes_nothing_to_the_interim_ones_before_it() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send("HTTP/1.1 103 Early Hints\r\nContent-Length: 40\r\nConnection: close\r\n\r\n");
    upstream.send("HTTP/1.1 102 Processing\r\nTransfer-Encoding: chunked\r\n\r\n");
    upstream.send(ok("final"));
    assert_eq!(client.response(false).head, "HTTP/1.1 103 Early Hints");
    assert_eq!(client.response(false).head, "HTTP/1.1 102 Processing");
    assert_eq!(client.response(false).text(), "final");
}

#[test]
fn the_seventeenth_interim_response_is_not_passed_on() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17));
    for _ in 0..16 {
        assert_eq!(client.response(false).status(), 103);
    }
    assert_eq!(client.response(false).status(), 502);
}
