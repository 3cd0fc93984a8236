//! What goes wrong at the worst moment. Each test was a fault once.

mod support;

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use rustix::process::Signal;
use socket2::SockRef;
use support::{Backend, Rondel, Stage, get, ok};

const UNFINISHED: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n";
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

#[test]
fn a_body_until_close_that_a_reset_ends_gets_no_last_chunk_while_the_request_still_comes() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(UNFINISHED);
    let mut upstream = stage.accept();
    assert!(upstream.head().is_some());
    upstream.send("HTTP/1.1 200 OK\r\n\r\npart");
    assert!(client.head().is_some());
    assert_eq!(client.exactly(9), b"4\r\npart\r\n");
    upstream.reset();
    // Sending on is what may meet the reset before reading does.
    while client.stream.write_all(&[b'y'; 20_000]).is_ok() {}
    assert_eq!(client.rest(), b"", "no last chunk");
    assert!(client.was_reset || client.stream.write_all(b"y").is_err());
}

#[test]
fn a_body_until_close_that_a_reset_ends_is_reset_too_for_1_0_while_the_request_still_comes() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(UNFINISHED.replace("HTTP/1.1", "HTTP/1.0"));
    let mut upstream = stage.accept();
    assert!(upstream.head().is_some());
    upstream.send("HTTP/1.1 200 OK\r\n\r\npart");
    assert!(client.head().is_some());
    assert_eq!(client.exactly(4), b"part");
    upstream.reset();
    while client.stream.write_all(&[b'y'; 20_000]).is_ok() {}
    client.rest();
    assert!(client.was_reset || client.stream.write_all(b"y").is_err());
}

#[test]
fn a_body_until_close_that_the_drain_cuts_short_is_seen_to_be_a_part() {
    for (version, part, is_reset) in [("1.1", "4\r\npart\r\n", false), ("1.0", "part", true)] {
        let stage = Stage::start();
        let mut rondel = Rondel::start(&[stage.addr], &["--drain-timeout", "100ms"]);
        let mut client = rondel.connect();
        client.send(format!("GET / HTTP/{version}\r\nHost: h\r\n\r\n"));
        let (mut upstream, _) = stage.request();
        upstream.send("HTTP/1.1 200 OK\r\n\r\npart");
        assert!(client.head().is_some());
        assert_eq!(client.exactly(part.len()), part.as_bytes());
        rondel.signal(Signal::TERM);
        assert_eq!(rondel.wait().code(), Some(5));
        assert_eq!(client.rest(), b"", "no last chunk");
        assert_eq!(client.was_reset, is_reset, "to {version}");
    }
}

#[test]
fn a_body_until_close_that_ends_in_the_drain_is_whole() {
    let stage = Stage::start();
    let mut rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send("HTTP/1.1 200 OK\r\n\r\nhello");
    assert!(client.head().is_some());
    assert_eq!(client.exactly(10), b"5\r\nhello\r\n");
    rondel.signal(Signal::TERM);
    rondel.wait_for_line("stopping");
    drop(upstream);
    assert_eq!(client.rest(), b"0\r\n\r\n");
    assert_eq!(rondel.wait().code(), Some(0));
}

#[test]
fn an_upstream_whose_204_announced_a_body_is_not_used_again() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(get("/a"));
    let (mut first, _) = stage.request();
    first.send("HTTP/1.1 204 No Content\r\nContent-Length: 42\r\n\r\n");
    assert_eq!(client.response(false).status(), 204);
    first.expect_end();
    client.send(get("/b"));
    let (mut second, request) = stage.request();
    assert_eq!(request.first_line(), "GET /b HTTP/1.1");
    second.send(ok("b"));
    assert_eq!(client.response(false).text(), "b");
}

#[test]
fn a_client_that_stops_sending_when_the_response_begins_gets_all_of_it() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(UNFINISHED);
    let mut upstream = stage.accept();
    assert!(upstream.head().is_some());
    upstream.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 20\r\n\r\n0123456789");
    assert!(client.head().is_some());
    assert_eq!(client.exactly(10), b"0123456789");
    client.finish();
    upstream.send("abcdefghij");
    assert_eq!(client.rest(), b"abcdefghij");
}

#[test]
fn a_tunnel_notices_that_its_client_is_dead_although_its_backend_takes_nothing() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(UPGRADE);
    let (mut upstream, _) = stage.request();
    upstream.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(client.response(false).status(), 101);
    client
        .stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .expect("a timeout is set");
    while client.stream.write_all(&[b'z'; 64 * 1024]).is_ok() {}
    client.reset();
    upstream.rest();
    assert!(
        upstream.was_reset,
        "the end of one side, in its midst, is that of the other"
    );
}

#[test]
fn a_backend_that_truncates_every_response_is_taken_out() {
    let bad = Backend::start(|mut conn, _| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    });
    let good = Backend::echo("good");
    let rondel = Rondel::start(&[bad.addr, good.addr], &[]);
    for _ in 0..6 {
        let mut client = rondel.connect();
        client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        client.rest();
    }
    rondel.wait_for_line("is out: 3 failures in a row, last response-truncated");
}

#[test]
fn clients_that_stop_sending_are_no_fault_of_the_backend() {
    let backends = ["a", "b"].map(|_| {
        Backend::start(|mut conn, _| {
            conn.head();
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            conn.rest();
        })
    });
    let addrs = backends.map(|backend| backend.addr);
    let mut rondel = Rondel::start(&addrs, &["--body-timeout", "100ms", "--log-level", "debug"]);
    let mut clients: Vec<_> = (0..8).map(|_| rondel.connect()).collect();
    for client in &mut clients {
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
    }
    for client in &mut clients {
        assert!(client.head().is_some());
        client.rest();
    }
    rondel.wait_for_lines("request-body-timeout", 8);
    drop(clients);
    rondel.signal(Signal::TERM);
    rondel.wait();
    assert!(!rondel.log().iter().any(|line| line.contains("is out")));
}

#[test]
fn a_client_that_waits_for_100_continue_in_vain_is_not_accused() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--response-timeout", "100ms"]);
    let mut client = rondel.connect();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let mut upstream = stage.accept();
    assert!(upstream.head().is_some());
    let response = client.response(false);
    assert_eq!(
        response.text().lines().next(),
        Some("504 Gateway Timeout: continue-timeout")
    );
}

#[test]
fn idle_clients_do_not_make_a_stop_look_cut_short() {
    let mut rondel = Rondel::start(&[Backend::echo("a").addr], &["--drain-timeout", "100ms"]);
    let mut idle = rondel.connect();
    assert_eq!(idle.ask(&get("/")).status(), 200);
    rondel.signal(Signal::TERM);
    assert_eq!(rondel.wait().code(), Some(0));
}

#[test]
fn both_unspecified_addresses_can_be_listened_on_at_once() {
    // Below the ports that the kernel gives away by itself (ip_local_port_range), so that nobody is given it in the meantime.
    let start = 20_000 + std::process::id() % 8_000;
    let port = (start..)
        .find(|port| TcpListener::bind(format!("[::]:{port}")).is_ok())
        .expect("a free port");
    let backend = Backend::echo("a");
    let args = [
        "--listen",
        &format!("0.0.0.0:{port}"),
        "--listen",
        &format!("[::]:{port}"),
        "--backend",
        &backend.addr.to_string(),
    ];
    let rondel = Rondel::start_with(&args.map(str::to_owned));
    rondel.wait_for_line(&format!("listening on [::]:{port}"));
}

#[test]
fn a_refused_head_request_gets_no_body() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &[]);
    for before in ["", "\r\n"] {
        let mut client = rondel.connect();
        client.send(format!("{before}HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n"));
        assert!(
            client
                .head()
                .is_some_and(|head| head.starts_with("HTTP/1.1 400 "))
        );
        client.expect_end();
    }
}

#[test]
fn a_client_that_stops_in_its_body_takes_no_backend_out_although_the_response_has_begun() {
    let stage = Stage::start();
    let flags = ["--body-timeout", "100ms", "--take-out-last"];
    let rondel = Rondel::start(&[stage.addr], &flags);
    for _ in 0..FAILURES_MAX {
        let mut client = rondel.connect();
        client.send(UNFINISHED);
        let mut upstream = stage.accept();
        assert!(upstream.head().is_some());
        upstream.send(BEGUN);
        assert!(client.head().is_some());
        client.finish();
        client.rest();
    }
    assert_is_in(&rondel, &stage);
}

#[test]
fn a_backend_that_tires_of_a_slow_client_is_not_taken_out_although_its_response_has_begun() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--take-out-last"]);
    for _ in 0..FAILURES_MAX {
        let mut client = rondel.connect();
        client.send(UNFINISHED);
        let mut upstream = stage.accept();
        assert!(upstream.head().is_some());
        upstream.send(BEGUN);
        assert!(client.head().is_some());
        drop(upstream);
        client.rest();
    }
    assert_is_in(&rondel, &stage);
}

#[test]
fn a_response_that_breaks_off_does_not_take_back_what_came_before_it() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart");
    assert!(client.head().is_some());
    assert_eq!(client.exactly(4), b"part");
    // Nobody reads this any more: to close at once would be a reset.
    client.send(get("/next"));
    drop(upstream);
    assert_eq!(client.rest(), b"");
    assert!(!client.was_reset);
}

/// A response that has begun.
const BEGUN: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
/// As many failures as take a backend out.
const FAILURES_MAX: usize = 3;

/// The one backend was never taken out: it is asked at once.
fn assert_is_in(rondel: &Rondel, stage: &Stage) {
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send(ok("in"));
    assert_eq!(client.response(false).text(), "in");
    assert!(!rondel.log().iter().any(|line| line.contains("is out")));
}

#[test]
fn what_stands_behind_an_urgent_byte_is_read_without_another_event() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &["--head-timeout", "2s"]);
    let mut client = rondel.connect();
    // All of it is there before the first read.
    rondel.signal(Signal::STOP);
    client.send("GET / HTTP/1.1\r\nHo");
    SockRef::from(&client.stream)
        .send_out_of_band(b"!")
        .expect("the connection stands");
    client.send("st: h\r\n\r\n");
    rondel.signal(Signal::CONT);
    assert_eq!(client.response(false).status(), 200);
}

#[test]
fn what_a_backend_says_behind_its_response_and_an_urgent_byte_is_nobodys_answer() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(get("/a"));
    let (mut first, _) = stage.request();
    rondel.signal(Signal::STOP);
    first.send(ok("a"));
    SockRef::from(&first.stream)
        .send_out_of_band(b"!")
        .expect("the connection stands");
    first.send(ok("not for you"));
    rondel.signal(Signal::CONT);
    assert_eq!(client.response(false).text(), "a");
    let mut other = rondel.connect();
    other.send(get("/b"));
    let (mut second, request) = stage.request();
    assert_eq!(request.first_line(), "GET /b HTTP/1.1");
    second.send(ok("b"));
    assert_eq!(other.response(false).text(), "b");
}
