//! Told to stop: what runs is finished, nothing new begins, the exit code says how it went.

mod support;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;
use support::{Backend, Rondel, Stage, get, ok};

#[test]
fn what_runs_is_finished_and_then_it_ends_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let stage = Stage::start();
        let mut rondel = Rondel::start(&[stage.addr], &[]);
        let mut running = rondel.connect();
        running.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc");
        let mut upstream = stage.accept();
        upstream.head().unwrap();
        let mut silent = rondel.connect();
        rondel.signal(signal);
        let line = rondel.wait_for_line("stopping: ");
        assert!(
            line.contains("stopping: 2 clients connected, at most 30s left"),
            "{line}"
        );
        let refused = TcpStream::connect(rondel.addr).map_err(|error| error.kind());
        assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
        silent.expect_end();
        running.send("def");
        assert_eq!(upstream.exactly(6), b"abcdef");
        upstream.send(ok("done"));
        let response = running.response(false);
        assert_eq!(
            (response.text().as_str(), response.field("connection")),
            ("done", Some("close"))
        );
        running.expect_end();
        drop(running);
        assert_eq!(rondel.wait().code(), Some(0));
        upstream.expect_end();
        rondel.wait_for_line("stopped: everything was finished");
        assert!(
            !rondel
                .log()
                .iter()
                .any(|line| line.contains("WARN") || line.contains("ERROR"))
        );
    }
}

#[test]
fn with_nothing_to_do_it_ends_at_once() {
    let stage = Stage::start();
    let mut rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send(ok("ok"));
    assert_eq!(client.response(false).text(), "ok");
    drop(client);
    rondel.signal(Signal::TERM);
    upstream.expect_end();
    assert_eq!(rondel.wait().code(), Some(0));
}

#[test]
fn a_pipeline_is_answered_up_to_the_response_that_says_close() {
    let stage = Stage::start();
    let mut rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send([get("/0"), get("/1")].concat());
    let (mut upstream, _) = stage.request();
    rondel.signal(Signal::TERM);
    rondel.wait_for_line("stopping: ");
    upstream.send(ok("0"));
    // Told that the connection ends here, the client knows that the second request was not taken.
    assert_eq!(client.response(false).field("connection"), Some("close"));
    client.expect_end();
    drop(client);
    assert_eq!(rondel.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let stage = Stage::start();
        let mut rondel = Rondel::start(&[stage.addr], &[]);
        let mut client = rondel.connect();
        client.send(get("/"));
        let (mut upstream, _) = stage.request();
        rondel.signal(Signal::TERM);
        rondel.wait_for_line("stopping: ");
        rondel.signal(signal);
        assert_eq!(rondel.wait().code(), Some(5));
        client.expect_end();
        upstream.expect_end();
        rondel.wait_for_line("stopped: 1 clients were cut short");
    }
}

#[test]
fn what_does_not_finish_in_time_is_cut_short() {
    let stage = Stage::start();
    let mut rondel = Rondel::start(&[stage.addr], &["--drain-timeout", "1500ms"]);
    let mut begun = rondel.connect();
    begun.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    begun.head().unwrap();
    assert_eq!(begun.exactly(4), b"half");
    let mut tunnel = rondel.connect();
    tunnel.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n");
    let (mut far, _) = stage.request();
    far.send("HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n");
    assert_eq!(tunnel.response(false).status(), 101);
    rondel.signal(Signal::TERM);
    rondel.wait_for_line("stopping: ");
    // Until then a tunnel works as before.
    far.send("still here");
    assert_eq!(tunnel.exactly(10), b"still here");
    assert_eq!(rondel.wait().code(), Some(5));
    begun.expect_end();
    tunnel.expect_end();
    far.expect_end();
    rondel.wait_for_line("stopped: 2 clients were cut short");
}

#[test]
fn other_signals_end_nothing() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &[]);
    let mut client = rondel.connect();
    for signal in [Signal::HUP, Signal::USR1] {
        rondel.signal(signal);
        rondel.wait_for_line(&format!("signal {} ignored", signal.as_raw()));
        assert_eq!(client.ask(&get("/")).status(), 200);
    }
}

#[test]
fn under_load_no_request_that_was_accepted_is_lost() {
    const CLIENTS: usize = 8;
    let backends = ["a", "b"].map(Backend::echo);
    for close_each in [false, true] {
        let mut rondel = Rondel::start(&backends.each_ref().map(|backend| backend.addr), &[]);
        let answered = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (answered, addr) = (Arc::clone(&answered), rondel.addr);
                thread::spawn(move || {
                    if close_each {
                        connect_anew(addr, &answered)
                    } else {
                        keep_asking(addr, &answered)
                    }
                })
            })
            .collect();
        while answered.load(Ordering::SeqCst) < 50 * CLIENTS {
            thread::yield_now();
        }
        rondel.signal(Signal::TERM);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(rondel.wait().code(), Some(0));
    }
}

/// Asks over one connection until a response says that it is the last. Each request gets its response.
fn keep_asking(addr: std::net::SocketAddr, answered: &AtomicUsize) {
    let mut client = support::Client::connect(addr);
    for n in 0.. {
        let body = "x".repeat(n % 5000);
        let length = body.len();
        let response = client.ask(&format!(
            "POST /{n} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(response.status(), 200);
        assert!(
            response.text().contains(&format!("\nPOST /{n} ")) && response.text().ends_with(&body)
        );
        answered.fetch_add(1, Ordering::SeqCst);
        if response.field("connection") == Some("close") {
            return client.expect_end();
        }
    }
}

/// Asks over a new connection each time until none is made any more. What was begun to be answered is answered whole.
fn connect_anew(addr: std::net::SocketAddr, answered: &AtomicUsize) {
    loop {
        // Refused, or taken by the kernel alone and given up when the listener was closed: never accepted.
        let Ok(stream) = TcpStream::connect(addr) else {
            return;
        };
        let mut client = support::Client::new(stream);
        if client.stream.write_all(get("/").as_bytes()).is_err() || !client.more() {
            assert!(client.was_reset || TcpStream::connect(addr).is_err());
            return;
        }
        assert_eq!(client.response(false).status(), 200);
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_client_that_was_just_served_may_ask_once_more() {
    let stage = Stage::start();
    let mut rondel = Rondel::start(&[stage.addr], &[]);
    let mut kept = rondel.connect();
    kept.send(get("/first"));
    let (mut first, _) = stage.request();
    first.send(ok("first"));
    assert_eq!(kept.response(false).field("connection"), None);
    rondel.signal(Signal::TERM);
    rondel.wait_for_line("stopping");
    kept.send(get("/once-more"));
    let (mut second, request) = stage.request();
    assert_eq!(request.first_line(), "GET /once-more HTTP/1.1");
    second.send(ok("again"));
    let response = kept.response(false);
    assert_eq!(
        (response.text().as_str(), response.field("connection")),
        ("again", Some("close"))
    );
    drop(kept);
    assert_eq!(rondel.wait().code(), Some(0));
}
