//! Upgrades (WebSocket): a tunnel only after a 101, and only when it was asked for; then bytes as they are.

mod support;

use std::time::Duration;

use support::{Client, Rondel, Stage, get, ok};

const A_WHILE: Duration = Duration::from_millis(200);
const ASKED: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A tunnel through the binary: its client's end and its backend's.
fn tunnel(rondel: &Rondel, stage: &Stage) -> (Client, Client) {
    let mut client = rondel.connect();
    client.send(ASKED);
    let (mut upstream, request) = stage.request();
    assert_eq!(request.field("upgrade"), Some("websocket"));
    assert_eq!(request.field("connection"), Some("Upgrade"));
    upstream.send(SWITCHED);
    let response = client.response(false);
    assert_eq!(response.first_line(), "HTTP/1.1 101 Switching Protocols");
    assert_eq!(response.field("upgrade"), Some("websocket"));
    assert_eq!(response.field("connection"), Some("Upgrade"));
    (client, upstream)
}

#[test]
fn after_a_101_bytes_pass_as_they_are() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let (mut client, mut upstream) = tunnel(&rondel, &stage);
    for _ in 0..3 {
        client.send(b"\x81\x05 GET / HTTP/1.1\r\n\r\n\0");
        assert_eq!(upstream.exactly(22), b"\x81\x05 GET / HTTP/1.1\r\n\r\n\0");
        upstream.send(b"HTTP/1.1 200 OK\r\n\xff");
        assert_eq!(client.exactly(18), b"HTTP/1.1 200 OK\r\n\xff");
    }
}

#[test]
fn bytes_that_came_early_are_kept() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(format!("{ASKED}early client"));
    let (mut upstream, _) = stage.request();
    upstream.expect_silence(A_WHILE);
    upstream.send(format!("{SWITCHED}early backend"));
    assert_eq!(client.response(false).status(), 101);
    assert_eq!(client.exactly(13), b"early backend");
    assert_eq!(upstream.exactly(12), b"early client");
}

#[test]
fn each_direction_of_a_tunnel_ends_by_itself() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    for client_first in [true, false] {
        let (client, upstream) = tunnel(&rondel, &stage);
        let (mut first, mut second) = if client_first {
            (client, upstream)
        } else {
            (upstream, client)
        };
        first.send("last words");
        first.finish();
        assert_eq!(second.rest(), b"last words");
        second.send("heard".repeat(100_000));
        drop(second);
        assert_eq!(first.rest(), "heard".repeat(100_000).as_bytes());
        assert!(!first.was_reset);
    }
}

#[test]
fn much_passes_both_ways_at_once() {
    const BYTES: usize = 4 * 1024 * 1024;
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let (client, upstream) = tunnel(&rondel, &stage);
    let talk = |mut end: Client, mut twin: Client, byte: u8| {
        let writer = std::thread::spawn(move || twin.send(vec![byte; BYTES]));
        let got = end.exactly(BYTES);
        writer.join().unwrap();
        assert!(got.iter().all(|&found| found != byte));
    };
    let twin = |end: &Client| Client::new(end.stream.try_clone().unwrap());
    let (client_twin, upstream_twin) = (twin(&client), twin(&upstream));
    let other = std::thread::spawn(move || talk(upstream, upstream_twin, b'u'));
    talk(client, client_twin, b'c');
    other.join().unwrap();
}

#[test]
fn a_reset_on_one_side_is_a_reset_on_the_other() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let (client, mut upstream) = tunnel(&rondel, &stage);
    client.reset();
    upstream.expect_end();
    assert!(upstream.was_reset);
    let (mut client, upstream) = tunnel(&rondel, &stage);
    upstream.reset();
    client.expect_end();
    assert!(client.was_reset);
}

#[test]
fn a_101_that_nobody_asked_for_is_502() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--fail-after", "100"]);
    for (request, response) in [
        (get("/"), SWITCHED),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n".to_owned(),
            SWITCHED,
        ),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n\r\n".to_owned(),
            SWITCHED,
        ),
        (ASKED.replace("HTTP/1.1", "HTTP/1.0"), SWITCHED),
        (ASKED.to_owned(), "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ] {
        let mut client = rondel.connect();
        client.send(&request);
        let (mut upstream, _) = stage.request();
        // In one write: behind the first one the connection may be gone.
        upstream.send(format!("{response}not for you"));
        let response = client.response(false);
        assert_eq!(response.status(), 502, "{request}");
        assert!(response.text().contains("bad-response-head"), "{request}");
        upstream.expect_end();
    }
}

#[test]
fn an_upgrade_with_a_body_is_no_upgrade() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    for (framing, body) in [
        ("Content-Length: 4", "body"),
        ("Transfer-Encoding: chunked", "4\r\nbody\r\n0\r\n\r\n"),
    ] {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{framing}\r\n\r\n{body}"
        ));
        let (mut upstream, request) = stage.request();
        assert_eq!(
            (request.field("upgrade"), request.field("connection")),
            (None, None)
        );
        assert_eq!(request.text(), "body");
        upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.response(false).text(), "ok");
    }
}

#[test]
fn an_upgrade_that_is_not_taken_is_an_ordinary_request() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(format!("{ASKED}{}", get("/next")));
    let (mut upstream, _) = stage.request();
    upstream.send(ok("plain"));
    assert_eq!(client.response(false).text(), "plain");
    // What came behind the upgrade is a request again, on the same connections.
    assert!(upstream.request().unwrap().head.starts_with("GET /next "));
    upstream.send("HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: b\r\nContent-Length: 0\r\n\r\n");
    let demand = client.response(false);
    assert_eq!((demand.status(), demand.field("upgrade")), (426, Some("b")));
}

#[test]
fn interim_responses_may_come_before_a_101() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(ASKED);
    let (mut upstream, _) = stage.request();
    upstream.send(format!("HTTP/1.1 103 Early Hints\r\n\r\n{SWITCHED}"));
    assert_eq!(client.response(false).status(), 103);
    assert_eq!(client.response(false).status(), 101);
    client.send("x");
    assert_eq!(upstream.exactly(1), b"x");
}

#[test]
fn a_tunnel_without_a_byte_is_broken_off() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--tunnel-timeout", "1s"]);
    let (mut client, mut upstream) = tunnel(&rondel, &stage);
    client.send("once");
    assert_eq!(upstream.exactly(4), b"once");
    // Neither side has ended, so neither is told that the other has.
    for mut side in [client, upstream] {
        assert_eq!(side.rest(), b"");
        assert!(side.was_reset);
    }
}

#[test]
fn an_upstream_of_a_tunnel_is_not_used_again() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let (client, mut upstream) = tunnel(&rondel, &stage);
    drop(client);
    upstream.expect_end();
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut fresh, _) = stage.request();
    fresh.send(ok("fresh"));
    assert_eq!(client.response(false).text(), "fresh");
}
