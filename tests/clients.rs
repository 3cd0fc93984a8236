//! What a client may do: connections kept and closed, pipelines, half-closes, interim responses, bodies of every framing.

mod support;

use std::sync::mpsc::channel;
use std::time::Duration;

use support::{Backend, Rondel, Stage, echo, get, ok};

/// Long enough for what must not happen to have happened, had it been on its way.
const A_WHILE: Duration = Duration::from_millis(200);

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let backend = Backend::echo("a");
    let rondel = Rondel::start(&[backend.addr], &[]);
    let mut client = rondel.connect();
    for n in 0..3 {
        let response = client.ask(&get(&format!("/{n}")));
        assert_eq!(
            (response.status(), response.field("connection")),
            (200, None)
        );
        assert!(
            response
                .text()
                .starts_with(&format!("a\nGET /{n} HTTP/1.1"))
        );
        assert!(
            response
                .field("date")
                .is_some_and(|date| date.ends_with("GMT"))
        );
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn connection_close_is_answered_and_then_closed() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &[]);
    let mut client = rondel.connect();
    let response = client.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(
        (response.status(), response.field("connection")),
        (200, Some("close"))
    );
    client.expect_end();
}

#[test]
fn http_1_0_is_closed_unless_it_asks_to_be_kept() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &[]);
    let mut client = rondel.connect();
    let kept = client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(kept.first_line().starts_with("HTTP/1.1 200"));
    assert_eq!(kept.field("connection"), Some("keep-alive"));
    assert_eq!(client.ask("GET / HTTP/1.0\r\n\r\n").status(), 200);
    client.expect_end();
}

#[test]
fn pipelined_requests_are_answered_in_order_over_all_backends() {
    let slow = Stage::start();
    let quick = Backend::echo("quick");
    let rondel = Rondel::start(&[slow.addr, quick.addr], &[]);
    let mut client = rondel.connect();
    // The last one comes in two pieces, the first of them as bytes left over from those before it.
    let last = get("/3");
    client.send([&get("/0"), &get("/1"), &get("/2"), &last[..9]].concat());
    let (mut upstream, first) = slow.request();
    assert!(first.head.starts_with("GET /0 "));
    client.expect_silence(A_WHILE);
    assert_eq!(quick.connections(), 0, "one at a time");
    upstream.send(ok("0"));
    assert_eq!(client.response(false).text(), "0");
    assert!(client.response(false).text().starts_with("quick\nGET /1 "));
    assert!(upstream.request().unwrap().head.starts_with("GET /2 "));
    client.send(&last[9..]);
    upstream.send(ok("2"));
    assert_eq!(client.response(false).text(), "2");
    assert!(client.response(false).text().starts_with("quick\nGET /3 "));
}

#[test]
fn many_pipelined_requests_with_bodies_are_all_answered() {
    let rondel = Rondel::start(&[Backend::echo("a").addr, Backend::echo("b").addr], &[]);
    let mut client = rondel.connect();
    let requests: String = (0..200)
        .map(|n| {
            let chunks = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
            let length = "Content-Length: 3\r\n\r\nabc";
            let body = if n % 2 == 0 { chunks } else { length };
            format!("POST /{n} HTTP/1.1\r\nHost: h\r\n{body}")
        })
        .collect();
    client.send(requests);
    for n in 0..200 {
        let text = client.response(false).text();
        assert!(
            text.contains(&format!("\nPOST /{n} HTTP/1.1")),
            "{n}: {text}"
        );
        assert!(text.ends_with("\n\nabc"));
    }
}

#[test]
fn a_client_that_shuts_its_sending_side_after_a_request_is_served() {
    let backend = Stage::start();
    let rondel = Rondel::start(&[backend.addr], &[]);
    for request in [
        get("/"),
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab".to_owned(),
    ] {
        let mut client = rondel.connect();
        client.send(request);
        client.finish();
        let (mut upstream, _) = backend.request();
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n");
        upstream.send("late");
        assert_eq!(client.response(false).text(), "late");
        client.expect_end();
    }
}

#[test]
fn pipelined_requests_before_a_half_close_are_all_served() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &[]);
    let mut client = rondel.connect();
    client.send([get("/0"), get("/1"), get("/2")].concat());
    client.finish();
    for n in 0..3 {
        assert!(
            client
                .response(false)
                .text()
                .contains(&format!("GET /{n} "))
        );
    }
    client.expect_end();
}

#[test]
fn a_connection_without_a_byte_is_closed_without_a_word() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &[]);
    let before = rondel.log().len();
    let mut client = rondel.connect();
    client.finish();
    client.expect_end();
    rondel.connect().reset();
    drop(rondel.connect());
    assert_eq!(rondel.connect().ask(&get("/")).status(), 200);
    assert_eq!(rondel.log().len(), before, "{:#?}", rondel.log());
}

#[test]
fn one_empty_line_before_a_request_is_forgiven() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &[]);
    let mut client = rondel.connect();
    assert_eq!(client.ask(&format!("\r\n{}", get("/"))).status(), 200);
    assert_eq!(client.ask(&format!("\r\n{}", get("/"))).status(), 200);
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    for (request, response) in [
        (
            "HEAD",
            &b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"[..],
        ),
        (
            "HEAD",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        (
            "GET",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            "GET",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n",
        ),
    ] {
        let backend = Backend::says(response);
        let rondel = Rondel::start(&[backend.addr], &[]);
        let mut client = rondel.connect();
        for _ in 0..2 {
            let line = format!("{request} / HTTP/1.1\r\nHost: h\r\n\r\n");
            let found = client.ask(&line);
            let sent = response.escape_ascii();
            assert!(
                response.starts_with(found.first_line().as_bytes()),
                "{sent}"
            );
            assert_eq!(found.field("connection"), None, "{sent}");
            let told = match found.status() {
                204 => None,
                _ => Some("1000").filter(|told| sent.to_string().contains(told)),
            };
            assert_eq!(found.field("content-length"), told, "{sent}");
        }
        // A 204 that says it has a body may still send it, where it would pass for the next answer.
        let connections = if response.starts_with(b"HTTP/1.1 204") {
            2
        } else {
            1
        };
        assert_eq!(backend.connections(), connections);
    }
}

#[test]
fn a_response_until_close_goes_on_in_chunks_and_keeps_the_client() {
    let backend = Backend::start(|mut conn, n| {
        conn.request();
        conn.send("HTTP/1.0 200 OK\r\n\r\n");
        conn.send("as long as it takes ".repeat(n * 10_000));
    });
    let rondel = Rondel::start(&[backend.addr], &[]);
    let mut client = rondel.connect();
    // The first one ends with no byte at all.
    for n in 0..4 {
        let response = client.ask(&get("/"));
        let body = "as long as it takes ".repeat(n * 10_000);
        assert!(response.body == body.as_bytes(), "{}", response.body.len());
        assert_eq!(response.fields("transfer-encoding"), ["chunked"]);
        assert_eq!(response.field("connection"), None);
    }
    assert_eq!(
        backend.connections(),
        4,
        "an upstream that ends its response with its end is not kept"
    );
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let response = client.response(false);
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(response.body.len(), 800_000);
    client.expect_end();
    assert!(!client.was_reset);
}

#[test]
fn a_response_until_close_is_passed_on_until_close_to_http_1_0() {
    let backend = Backend::start(|mut conn, _| {
        conn.request();
        conn.send("HTTP/1.0 200 OK\r\n\r\n");
        conn.send("as long as it takes ".repeat(10_000));
    });
    let rondel = Rondel::start(&[backend.addr], &[]);
    for option in ["close", "keep-alive"] {
        let mut client = rondel.connect();
        let response = client.ask(&format!("GET / HTTP/1.0\r\nConnection: {option}\r\n\r\n"));
        assert_eq!(
            response.body,
            "as long as it takes ".repeat(10_000).as_bytes()
        );
        assert!(!client.was_reset);
        assert_eq!(response.fields("transfer-encoding"), [""; 0]);
        assert_eq!(response.field("connection"), Some("close"));
    }
}

#[test]
fn a_piece_of_a_response_until_close_goes_on_at_once_in_a_chunk_of_its_own() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send("HTTP/1.1 200 OK\r\n\r\nwith the head");
    assert!(client.head().is_some());
    assert_eq!(client.exactly(18), b"d\r\nwith the head\r\n");
    for _ in 0..3 {
        upstream.send("hello");
        assert_eq!(client.exactly(10), b"5\r\nhello\r\n");
    }
    drop(upstream);
    assert_eq!(client.exactly(5), b"0\r\n\r\n");
    // The client asks again on the same connection.
    client.send(get("/again"));
    let (mut upstream, request) = stage.request();
    assert_eq!(request.first_line(), "GET /again HTTP/1.1");
    upstream.send(ok("again"));
    assert_eq!(client.response(false).text(), "again");
}

#[test]
fn a_large_response_until_close_passes_unchanged_to_a_client_that_reads_late() {
    let body: String = (0..1_000_000).map(|n| format!("{n} ")).collect();
    let sent = body.clone();
    let (begun, begins) = channel();
    let backend = Backend::start(move |mut conn, _| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\n\r\n");
        // As much as stays on the way while the client reads nothing, and then all the rest.
        conn.send(&sent[..100_000]);
        begun.send(()).expect("the client waits");
        conn.send(&sent[100_000..]);
    });
    let rondel = Rondel::start(&[backend.addr], &[]);
    let mut client = rondel.connect();
    for _ in 0..2 {
        client.send(get("/"));
        begins.recv().expect("the backend begins");
        assert!(client.response(false).body == body.as_bytes());
    }
}

#[test]
fn http_1_0_gets_the_data_of_chunks_and_a_close() {
    let backend = Backend::says(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\nX-T: 1\r\n\r\n",
    );
    let rondel = Rondel::start(&[backend.addr], &[]);
    let mut client = rondel.connect();
    client.send("GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
    let response = client.message(false, true).unwrap();
    assert_eq!(response.text(), "abcdefg");
    assert_eq!(response.fields("transfer-encoding"), [""; 0]);
    assert_eq!(response.field("connection"), Some("close"));
    assert!(!client.was_reset);
}

#[test]
fn connect_and_trace_are_refused_with_what_is_allowed() {
    let backend = Backend::echo("a");
    let rondel = Rondel::start(&[backend.addr], &[]);
    for line in ["CONNECT h:80", "TRACE /"] {
        let mut client = rondel.connect();
        let response = client.ask(&format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(response.status(), 405);
        let allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        assert_eq!(response.field("allow"), Some(allowed));
        assert!(response.text().contains("method-refused"));
        client.expect_end();
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn large_bodies_pass_both_ways_unchanged() {
    let backend = Backend::start(|conn, _| echo(conn, "a"));
    let rondel = Rondel::start(&[backend.addr], &[]);
    let body: String = (0..400_000).map(|n| format!("{n} ")).collect();
    let mut client = rondel.connect();
    for head in ["", "X-More: 1\r\n"] {
        let length = body.len();
        let request =
            format!("POST / HTTP/1.1\r\nHost: h\r\n{head}Content-Length: {length}\r\n\r\n{body}");
        assert!(client.ask(&request).text().ends_with(&body));
    }
}

#[test]
fn a_client_that_is_gone_takes_its_upstream_along() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let client = |bytes: &str| {
        let mut client = rondel.connect();
        client.send(bytes);
        client
    };
    // While its response is waited for.
    let waiting = client(&get("/"));
    let (mut upstream, _) = stage.request();
    waiting.reset();
    upstream.expect_end();
    // While its body is waited for.
    let sending = client("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nshort");
    let mut upstream = stage.accept();
    upstream.head().unwrap();
    assert_eq!(upstream.exactly(5), b"short");
    drop(sending);
    upstream.expect_end();
    // While it is being answered.
    let mut reading = client(&get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort");
    reading.head().unwrap();
    assert_eq!(reading.exactly(5), b"short");
    reading.reset();
    upstream.expect_end();
    // It is not the backend's fault.
    assert!(!rondel.log().iter().any(|line| line.contains("is out")));
}

#[test]
fn nothing_behind_a_request_that_asks_for_the_close_is_served() {
    let backend = Backend::echo("a");
    let rondel = Rondel::start(&[backend.addr], &[]);
    for request in [
        "GET /0 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET /0 HTTP/1.0\r\n\r\n",
    ] {
        let mut client = rondel.connect();
        client.send([request, &get("/1")].concat());
        assert!(client.response(false).text().contains("GET /0 "));
        client.expect_end();
        assert!(!client.was_reset);
    }
}
