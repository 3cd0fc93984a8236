//! Which backend a request gets, what becomes of those that fail, and which connections to them are used again.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::{Backend, Client, Later, Rondel, Stage, get, ok};

/// The connection to a backend, newest last, over which this client's request goes; answered.
fn served(client: &mut Client, upstream: &mut Client) {
    client.send(get("/"));
    upstream
        .request()
        .expect("a request on this very connection");
    upstream.send(ok("ok"));
    assert_eq!(client.response(false).text(), "ok");
}

/// As many upstreams as clients, all made, all idle, in the order in which they became so.
fn idle_upstreams(rondel: &Rondel, stage: &Stage, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| rondel.connect()).collect();
    let mut upstreams = Vec::new();
    for client in &mut clients {
        client.send(get("/"));
        upstreams.push(stage.request().0);
    }
    for (client, upstream) in clients.iter_mut().zip(&mut upstreams) {
        upstream.send(ok("ok"));
        assert_eq!(client.response(false).text(), "ok");
    }
    upstreams
}

#[test]
fn requests_are_shared_exactly() {
    let backends = ["a", "b", "c"].map(Backend::echo);
    let rondel = Rondel::start(&backends.each_ref().map(|backend| backend.addr), &[]);
    let mut clients = [rondel.connect(), rondel.connect()];
    let mut order = String::new();
    for n in 0..31 {
        order += clients[n % 2].ask(&get("/")).field("x-backend").unwrap();
    }
    let mut counts = BTreeMap::new();
    order
        .chars()
        .for_each(|name| *counts.entry(name).or_insert(0) += 1);
    assert!(
        counts.values().all(|&count| count == 10 || count == 11),
        "{order}"
    );
    assert_eq!(order, order[..3].repeat(11)[..31], "in turn");
}

#[test]
fn a_backend_that_refuses_is_not_noticed_by_clients() {
    let alive = Backend::echo("a");
    let rondel = Rondel::start(&[Backend::nowhere(), alive.addr, Backend::nowhere()], &[]);
    let mut client = rondel.connect();
    for _ in 0..12 {
        let request = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
        let response = client.ask(request);
        assert_eq!(
            (response.status(), response.field("x-backend")),
            (200, Some("a"))
        );
        assert!(response.text().ends_with("\n\nbody"));
    }
}

#[test]
fn when_all_refuse_the_client_is_told_and_kept() {
    let rondel = Rondel::start(&[Backend::nowhere(), Backend::nowhere()], &[]);
    let mut client = rondel.connect();
    for _ in 0..2 {
        let response = client.ask(&get("/"));
        assert_eq!(
            (response.status(), response.field("connection")),
            (502, None)
        );
        assert!(
            response
                .text()
                .starts_with("502 Bad Gateway: connect-refused\nrequest ")
        );
    }
    let head = client.ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(head.status(), 502);
    let response = client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(
        (response.status(), response.field("connection")),
        (502, Some("close"))
    );
}

#[test]
fn a_request_is_tried_again_as_often_as_retries_allow() {
    let alive = Backend::echo("a");
    let addrs = [Backend::nowhere(), Backend::nowhere(), alive.addr];
    let rondel = Rondel::start(&addrs, &["--retries", "1", "--fail-after", "100"]);
    assert_eq!(rondel.connect().ask(&get("/")).status(), 502);
    let rondel = Rondel::start(&addrs, &["--retries", "2"]);
    assert_eq!(rondel.connect().ask(&get("/")).status(), 200);
}

#[test]
fn three_failures_take_a_backend_out_and_a_trial_brings_it_back() {
    let later = Later::new();
    let addr = later.addr;
    let rondel = Rondel::start(&[addr, Backend::echo("other").addr], &[]);
    let mut client = rondel.connect();
    for _ in 0..6 {
        assert_eq!(client.ask(&get("/")).status(), 200);
    }
    let out = rondel.wait_for_line("is out");
    assert!(
        out.ends_with(&format!(
            "backend {addr} is out: 3 failures in a row, last connect-refused; tried again in 1s; 1 live"
        )),
        "{out}"
    );
    let back = later.start(|conn, _| support::echo(conn, "back"));
    // Requests go on; one of them, after a second, is the trial.
    while back.connections() == 0 {
        assert_eq!(client.ask(&get("/")).status(), 200);
    }
    let line = rondel.wait_for_line("is in again");
    assert!(
        line.ends_with(&format!("backend {addr} is in again; 2 live")),
        "{line}"
    );
    let names = [0, 1].map(|_| client.ask(&get("/")).field("x-backend").unwrap().to_owned());
    assert!(
        names.contains(&"back".to_owned()) && names.contains(&"other".to_owned()),
        "{names:?}"
    );
}

#[test]
fn the_last_live_backend_is_not_taken_out_by_failures() {
    let later = Later::new();
    let rondel = Rondel::start(&[later.addr], &[]);
    let mut client = rondel.connect();
    for _ in 0..5 {
        assert!(
            client
                .ask(&get("/"))
                .text()
                .contains("502 Bad Gateway: connect-refused")
        );
    }
    let _back = later.start(|conn, _| support::echo(conn, "b"));
    assert_eq!(client.ask(&get("/")).status(), 200);
    assert!(!rondel.log().iter().any(|line| line.contains("is out")));
}

#[test]
fn the_last_live_backend_is_taken_out_on_demand() {
    let rondel = Rondel::start(&[Backend::nowhere()], &["--take-out-last"]);
    let mut client = rondel.connect();
    for _ in 0..3 {
        assert_eq!(client.ask(&get("/")).status(), 502);
    }
    let response = client.ask(&get("/"));
    assert_eq!(
        (response.status(), response.field("retry-after")),
        (503, Some("1"))
    );
    assert!(response.text().contains("no-backend"));
    assert!(rondel.wait_for_line("is out").ends_with("; 0 live"));
}

#[test]
fn upstreams_are_shared_among_clients() {
    let backend = Backend::echo("a");
    let rondel = Rondel::start(&[backend.addr], &[]);
    for _ in 0..10 {
        assert_eq!(rondel.connect().ask(&get("/")).status(), 200);
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn the_newest_idle_upstream_is_used_first() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut upstreams = idle_upstreams(&rondel, &stage, 3);
    let mut client = rondel.connect();
    served(&mut client, &mut upstreams[2]);
    served(&mut client, &mut upstreams[2]);
    // Two requests at once: the newest and the one before it.
    client.send(get("/"));
    upstreams[2].request().unwrap();
    served(&mut rondel.connect(), &mut upstreams[1]);
    stage.expect_no_more();
}

#[test]
fn no_more_upstreams_are_kept_than_allowed() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--max-idle-per-backend", "2"]);
    let mut upstreams = idle_upstreams(&rondel, &stage, 3);
    upstreams[0].expect_end();
    served(&mut rondel.connect(), &mut upstreams[2]);
    drop(rondel);
    let rondel = Rondel::start(&[stage.addr], &["--max-idle-per-backend", "0"]);
    idle_upstreams(&rondel, &stage, 1)[0].expect_end();
}

#[test]
fn an_idle_upstream_that_closes_or_speaks_is_dropped() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut upstreams = idle_upstreams(&rondel, &stage, 3);
    // Nobody asked: it is nobody's answer.
    upstreams[1].send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    upstreams[1].expect_end();
    upstreams[2].finish();
    upstreams[2].expect_end();
    let mut client = rondel.connect();
    served(&mut client, &mut upstreams[0]);
    upstreams.remove(0).reset();
    // The reset may be noticed before or after the request went out: a GET survives both.
    client.send(get("/"));
    let (mut fresh, _) = stage.request();
    fresh.send(ok("fresh"));
    assert_eq!(client.response(false).text(), "fresh");
}

#[test]
fn an_upstream_whose_message_may_not_be_over_is_not_used_again() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    for response in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nextra",
        "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        let mut client = rondel.connect();
        client.send(get("/"));
        let (mut upstream, _) = stage.request();
        upstream.send(response);
        let got = client.response(false).text();
        assert!(got == "ok" || got.is_empty(), "{got}");
        upstream.expect_end();
        assert_eq!(client.left, b"", "{response}");
        client.send(get("/"));
        let (mut fresh, _) = stage.request();
        fresh.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nfresh");
        assert_eq!(client.response(false).text(), "fresh", "{response}");
    }
    // A body in spite of HEAD is nobody's.
    let mut client = rondel.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    let (mut upstream, _) = stage.request();
    upstream.send(ok("evil"));
    assert_eq!(client.response(true).field("content-length"), Some("4"));
    upstream.expect_end();
    client.expect_silence(Duration::from_millis(100));
    // One that is kept by an HTTP/1.0 backend that says so.
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.response(false).text(), "ok");
    served(&mut client, &mut upstream);
}

#[test]
fn a_request_on_an_upstream_that_just_died_is_sent_once_more_if_it_may_be() {
    for (request, again) in [
        (get("/"), true),
        (
            "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody".to_owned(),
            true,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody".to_owned(),
            false,
        ),
        ("PATCH / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), false),
    ] {
        let stage = Stage::start();
        let rondel = Rondel::start(&[stage.addr], &[]);
        let mut stale = idle_upstreams(&rondel, &stage, 1).remove(0);
        let mut client = rondel.connect();
        client.send(&request);
        // It takes the request, and closes without a word: it may or may not have acted on it.
        let first = stale.request().unwrap();
        drop(stale);
        if again {
            let (mut fresh, second) = stage.request();
            assert_eq!(first, second);
            fresh.send(ok("fresh"));
            assert_eq!(client.response(false).text(), "fresh");
        } else {
            let response = client.response(false);
            assert_eq!(response.status(), 502);
            assert!(
                response.text().contains("reused-upstream-closed"),
                "{}",
                response.text()
            );
            stage.expect_no_more();
        }
    }
}

#[test]
fn what_died_with_a_kept_upstream_goes_to_another_backend() {
    let (dying, alive) = (Stage::start(), Stage::start());
    let rondel = Rondel::start(&[dying.addr, alive.addr], &[]);
    let mut kept = idle_upstreams(&rondel, &dying, 1).remove(0);
    let mut idle = idle_upstreams(&rondel, &alive, 1).remove(0);
    let mut client = rondel.connect();
    client.send(get("/"));
    let first = kept.request().unwrap();
    // Its process dies: connections go before the listener, which until then accepts what nobody will ever read.
    kept.reset();
    let (mut fresh, second) = alive.request();
    assert_eq!(first, second);
    fresh.send(ok("alive"));
    assert_eq!(client.response(false).text(), "alive");
    dying.expect_no_more();
    // It went over a fresh connection, not over the one that was idle there.
    idle.expect_silence(Duration::from_millis(100));
}

#[test]
fn what_died_with_a_fresh_upstream_goes_to_another_backend_once_if_it_may() {
    let put = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
    let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
    for (request, is_repeated, survives) in [
        (get("/"), true, true),
        (put.to_owned(), true, true),
        (get("/"), true, false),
        (post.to_owned(), false, false),
    ] {
        let (one, other) = (Stage::start(), Stage::start());
        let rondel = Rondel::start(&[one.addr, other.addr], &[]);
        let mut client = rondel.connect();
        client.send(&request);
        let (upstream, first) = one.request();
        drop(upstream);
        if is_repeated {
            let (mut upstream, second) = other.request();
            assert_eq!(first, second);
            if survives {
                upstream.send(ok("other"));
            }
        }
        let response = client.response(false);
        if survives {
            assert_eq!(response.text(), "other");
        } else {
            assert_eq!(response.status(), 502);
            assert!(response.text().contains("upstream-closed-before-head"));
        }
        one.expect_no_more();
        other.expect_no_more();
    }
}

#[test]
fn a_request_on_a_fresh_upstream_is_never_sent_twice_to_the_same_backend() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    for begun in ["", "HTTP/1.1 2"] {
        let mut client = rondel.connect();
        client.send(get("/"));
        let (mut upstream, _) = stage.request();
        upstream.send(begun);
        drop(upstream);
        let response = client.response(false);
        assert_eq!(
            (response.status(), response.field("connection")),
            (502, None)
        );
        assert!(response.text().contains("upstream-closed-before-head"));
    }
    stage.expect_no_more();
}

#[test]
fn a_reused_upstream_that_dies_is_tried_again_only_once() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut stale = idle_upstreams(&rondel, &stage, 1).remove(0);
    let mut client = rondel.connect();
    client.send(get("/"));
    stale.request().unwrap();
    drop(stale);
    drop(stage.request());
    let response = client.response(false);
    assert_eq!(response.status(), 502);
    assert!(response.text().contains("upstream-closed-before-head"));
    stage.expect_no_more();
}

#[test]
fn a_request_that_was_begun_to_be_answered_is_not_sent_again() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut reused = idle_upstreams(&rondel, &stage, 1).remove(0);
    let mut client = rondel.connect();
    client.send(get("/"));
    reused.request().unwrap();
    reused.send("HTTP/1.1 2");
    drop(reused);
    let response = client.response(false);
    assert_eq!(response.status(), 502);
    assert!(response.text().contains("upstream-closed-before-head"));
    stage.expect_no_more();
}
