//! Every timer, small: what its coming means for the client and for the backend. No test measures how fast anything is;
//! where time matters it is that something has *not* happened too early.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{ErrorKind, Write};
use std::time::Duration;

use support::{Client, Rondel, Stage, get, ok};

/// Sends a byte whenever the peer has said nothing for a while, until it says something or is gone.
fn trickle(client: &mut Client, byte: &[u8]) {
    let mut peeked = [0];
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let ended = (0..500).any(|_| {
        let silent = client.stream.peek(&mut peeked).is_err_and(|error| {
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        });
        !silent || client.stream.write_all(byte).is_err()
    });
    assert!(ended, "it may go on for ever");
    let patience = Some(support::PATIENCE);
    client.stream.set_read_timeout(patience).unwrap();
}

#[test]
fn a_head_that_stops_coming_is_408() {
    let rondel = Rondel::start(&[Stage::start().addr], &["--head-timeout", "200ms"]);
    for begun in ["G", "GET / HTTP/1.1\r\nHost: h\r\n"] {
        let mut client = rondel.connect();
        client.send(begun);
        let response = client.response(false);
        assert_eq!(
            (response.status(), response.field("connection")),
            (408, Some("close"))
        );
        assert!(response.text().contains("head-timeout"));
        client.expect_end();
    }
}

#[test]
fn a_trickle_of_bytes_does_not_prolong_a_head() {
    let rondel = Rondel::start(&[Stage::start().addr], &["--head-timeout", "300ms"]);
    let mut client = rondel.connect();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nX: ");
    trickle(&mut client, b"x");
    assert_eq!(client.response(false).status(), 408);
}

#[test]
fn the_time_for_a_head_begins_with_its_first_byte() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--head-timeout", "100ms"]);
    let mut client = rondel.connect();
    client.expect_silence(Duration::from_millis(300));
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    // Nor does it go on while the response is waited for.
    client.expect_silence(Duration::from_millis(300));
    upstream.send(ok("ok"));
    assert_eq!(client.response(false).text(), "ok");
}

#[test]
fn an_idle_client_is_closed_without_a_word() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--client-idle-timeout", "1s"]);
    rondel.connect().expect_end();
    let mut empty_line = rondel.connect();
    empty_line.send("\r\n");
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    client.expect_silence(Duration::from_millis(1500));
    upstream.send(ok("ok"));
    assert_eq!(client.response(false).text(), "ok");
    client.expect_end();
    assert!(!client.was_reset);
}

#[test]
fn an_empty_line_is_not_a_request_begun() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--head-timeout", "200ms"]);
    let mut client = rondel.connect();
    client.send("\r\n");
    client.expect_silence(Duration::from_millis(600));
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send(ok("ok"));
    assert_eq!(client.response(false).text(), "ok");
}

#[test]
fn a_response_that_does_not_come_is_504() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--response-timeout", "200ms"]);
    let mut client = rondel.connect();
    for begun in ["", "HTTP/1.1 200 OK\r\nA: b\r\n"] {
        client.send(get("/"));
        let (mut upstream, _) = stage.request();
        upstream.send(begun);
        let response = client.response(false);
        assert_eq!(
            (response.status(), response.field("connection")),
            (504, None),
            "{begun}"
        );
        assert!(response.text().contains("response-timeout"));
        upstream.expect_end();
    }
    stage.expect_no_more();
}

#[test]
fn a_trickle_of_bytes_does_not_prolong_a_response_head() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--response-timeout", "300ms"]);
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send("HTTP/1.1 200 OK\r\nX: ");
    trickle(&mut upstream, b"x");
    assert_eq!(client.response(false).status(), 504);
}

#[test]
fn an_interim_response_gives_the_final_one_its_full_time() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--response-timeout", "1500ms"]);
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    for _ in 0..3 {
        client.expect_silence(Duration::from_millis(700));
        upstream.send("HTTP/1.1 102 Processing\r\n\r\n");
        assert_eq!(client.response(false).status(), 102);
    }
    upstream.send(ok("ok"));
    assert_eq!(client.response(false).text(), "ok");
}

#[test]
fn a_request_body_that_stops_coming_is_408() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--body-timeout", "200ms"]);
    // Whoever has begun does not wait for a 100 any more, whatever it said.
    for expects in ["", "Expect: 100-continue\r\n"] {
        let mut client = rondel.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n{expects}\r\nshort"
        ));
        let mut upstream = stage.accept();
        upstream.head().unwrap();
        let response = client.response(false);
        assert_eq!(
            (response.status(), response.field("connection")),
            (408, Some("close"))
        );
        assert!(response.text().contains("request-body-timeout"));
        assert_eq!(upstream.rest(), b"short");
        client.expect_end();
    }
}

#[test]
fn bodies_that_go_on_are_not_ended_by_a_timer() {
    let stage = Stage::start();
    let flags = ["--body-timeout", "2s", "--response-timeout", "2s"];
    let rondel = Rondel::start(&[stage.addr], &flags);
    let mut client = rondel.connect();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n");
    let mut upstream = stage.accept();
    upstream.head().unwrap();
    for _ in 0..4 {
        client.expect_silence(Duration::from_millis(600));
        client.send("x");
        upstream.exactly(1);
    }
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    client.head().unwrap();
    for _ in 0..4 {
        client.expect_silence(Duration::from_millis(600));
        upstream.send("y");
        client.exactly(1);
    }
    client.send(get("/next"));
    assert!(upstream.request().unwrap().head.starts_with("GET /next "));
}

#[test]
fn a_response_body_that_stops_coming_is_cut_off() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--body-timeout", "200ms"]);
    for (version, framing, begin, reset) in [
        ("1.1", "Content-Length: 99\r\n", "5\r\nsho", false),
        ("1.1", "Transfer-Encoding: chunked\r\n", "5\r\nsho", false),
        ("1.1", "", "a\r\n5\r\nsho", false),
        // Where the close is the end, only a reset can tell that it is none.
        ("1.0", "Transfer-Encoding: chunked\r\n", "short", true),
        ("1.0", "", "5\r\nsho", true),
    ] {
        let mut client = rondel.connect();
        client.send(format!("GET / HTTP/{version}\r\nHost: h\r\n\r\n"));
        let (mut upstream, _) = stage.request();
        upstream.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n5\r\nshort\r\n"));
        client.head().unwrap();
        let rest = client.rest();
        assert!(
            rest.starts_with(begin.as_bytes()),
            "{framing}: {}",
            rest.escape_ascii()
        );
        assert!(!rest.ends_with(b"0\r\n\r\n"));
        assert_eq!(client.was_reset, reset, "{version} {framing}");
        upstream.expect_end();
    }
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--body-timeout", "300ms"]);
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n");
    // Until everything between here and the client is full, and then until the client's time is over.
    let full = vec![b'x'; 1024 * 1024];
    let mut taken = 0;
    let error = loop {
        match upstream.stream.write(&full) {
            Ok(count) => taken += count,
            Err(error) => break error,
        }
    };
    assert!(
        taken < 64 << 20,
        "what nobody takes is not hoarded: {taken}"
    );
    assert!(
        matches!(
            error.kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ),
        "{error}"
    );
    // The client's doing is not the backend's fault.
    assert!(client.rest().len() < 999_999_999);
    assert!(!rondel.log().iter().any(|line| line.contains("is out")));
}

#[test]
fn a_backend_that_does_not_read_is_504() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--body-timeout", "300ms"]);
    let mut client = rondel.connect();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n");
    let mut upstream = stage.accept();
    upstream.head().unwrap();
    let mut writer = Client::new(client.stream.try_clone().unwrap());
    let writing = std::thread::spawn(move || {
        let full = vec![b'x'; 1024 * 1024];
        while writer.stream.write_all(&full).is_ok() {}
    });
    let response = client.response(false);
    assert_eq!(response.status(), 504);
    assert!(response.text().contains("upstream-write-timeout"));
    drop(rondel);
    writing.join().unwrap();
}

#[test]
fn an_idle_upstream_is_closed_in_time() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--upstream-idle-timeout", "200ms"]);
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send(ok("ok"));
    assert_eq!(client.response(false).text(), "ok");
    upstream.expect_end();
}

#[test]
fn lingering_ends() {
    let rondel = Rondel::start(&[Stage::start().addr], &["--linger-timeout", "200ms"]);
    let mut client = rondel.connect();
    assert_eq!(client.ask("nonsense\r\n\r\n").status(), 400);
    client.expect_end();
    // The other side goes on talking; sooner or later nobody listens any more.
    while client.stream.write_all(b"more").is_ok() {}
}

#[test]
fn a_connection_that_is_not_made_in_time_is_tried_elsewhere() {
    // A listener whose queue is full neither takes a connection nor refuses it.
    let full = FullListener::start();
    let stage = Stage::start();
    let flags = ["--connect-timeout", "300ms"];
    let rondel = Rondel::start(&[full.addr, stage.addr], &flags);
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send(ok("elsewhere"));
    assert_eq!(client.response(false).text(), "elsewhere");
    let rondel = Rondel::start(&[full.addr], &flags);
    let response = rondel.connect().ask(&get("/"));
    assert_eq!(response.status(), 504);
    assert!(response.text().contains("connect-timeout"));
}

/// A listener that accepts nothing and has room for nothing.
struct FullListener {
    addr: std::net::SocketAddr,
    _listener: socket2::Socket,
    _waiting: Vec<socket2::Socket>,
}

impl FullListener {
    fn start() -> Self {
        let listener = tcp();
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(1).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        // Connections are made until one is not made in ten times the time that it takes on loopback.
        let mut waiting = Vec::new();
        loop {
            let socket = tcp();
            let made = socket.connect_timeout(&addr.into(), Duration::from_millis(500));
            waiting.push(socket);
            if made.is_err() || waiting.len() == 64 {
                break;
            }
        }
        assert!(waiting.len() < 64, "this system's queues have an end");
        Self {
            addr,
            _listener: listener,
            _waiting: waiting,
        }
    }
}

fn tcp() -> socket2::Socket {
    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap()
}
