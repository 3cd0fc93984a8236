//! What happens when there is too much of something: clients, descriptors, bytes of a head.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use support::{Backend, Client, Rondel, Stage, get, ok};

const A_WHILE: Duration = Duration::from_millis(500);
/// Processor time, in ticks of 10 ms, that nothing to do may cost in that while. One that spins takes all of it, 50.
const TICKS_MAX: u64 = 15;

#[test]
fn a_client_beyond_the_limit_waits_until_another_leaves() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &["--max-sessions", "2"]);
    let mut first = rondel.connect();
    let mut second = rondel.connect();
    assert_eq!(first.ask(&get("/")).status(), 200);
    assert_eq!(second.ask(&get("/")).status(), 200);
    let mut waiting: Vec<Client> = (0..3).map(|_| rondel.connect()).collect();
    waiting.iter_mut().for_each(|client| client.send(get("/")));
    rondel.wait_for_line(
        "new clients wait: as many as --max-sessions allows are connected (2 connected)",
    );
    let before = rondel.cpu_ticks();
    waiting[0].expect_silence(A_WHILE);
    assert!(
        rondel.cpu_ticks() - before <= TICKS_MAX,
        "it waits, it does not spin"
    );
    assert_eq!(second.ask(&get("/")).status(), 200, "those within go on");
    drop(first);
    for client in &mut waiting {
        assert_eq!(client.response(false).status(), 200);
        client.finish();
        client.expect_end();
    }
    assert_eq!(second.ask(&get("/")).status(), 200);
}

#[test]
fn the_session_limit_is_made_to_fit_the_descriptors() {
    let backend = Backend::echo("a");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 40 && exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_rondel"),
    ]);
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--backend",
        &backend.addr.to_string(),
    ]);
    let rondel = Rondel::spawn(command);
    rondel.wait_for_line("40 descriptors allow 11 clients at a time, not 10000");
    rondel.wait_for_line("at most 11 clients at a time");
    let mut clients: Vec<Client> = (0..40).map(|_| rondel.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/")));
    for mut client in clients {
        assert_eq!(client.response(false).status(), 200);
    }
}

/// Lets the process open this many descriptors more, and no other.
fn leave_descriptors(rondel: &Rondel, spare: usize) {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", rondel.pid().as_raw_nonzero()));
    let names = entries.unwrap().map(|entry| entry.unwrap().file_name());
    let used: Vec<u64> = names
        .map(|name| name.to_str().unwrap().parse().unwrap())
        .collect();
    // The limit bounds their numbers, and a new one gets the lowest that is free.
    let free = (0..).filter(|number| !used.contains(number));
    allow_descriptors(rondel, free.take(spare + 1).last().unwrap());
}

fn allow_descriptors(rondel: &Rondel, count: u64) {
    // It may go up again to what the process was born with, which is what we have.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: Some(count),
        maximum,
    };
    prlimit(Some(rondel.pid()), Resource::Nofile, limit).unwrap();
}

#[test]
fn out_of_descriptors_new_clients_wait_and_nothing_spins() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &["--max-idle-per-backend", "1"]);
    let mut served = rondel.connect();
    assert_eq!(served.ask(&get("/")).status(), 200);
    leave_descriptors(&rondel, 2);
    let mut clients: Vec<Client> = (0..10).map(|_| rondel.connect()).collect();
    rondel.wait_for_line("new clients wait: ");
    let before = rondel.cpu_ticks();
    clients[9].expect_silence(A_WHILE);
    assert!(
        rondel.cpu_ticks() - before <= TICKS_MAX,
        "it waits, it does not spin"
    );
    // Each that leaves makes room for one that waits.
    drop(served);
    for mut client in clients {
        client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let response = client.response(false);
        assert!(matches!(response.status(), 200 | 503), "{}", response.head);
    }
    assert_eq!(rondel.connect().ask(&get("/")).status(), 200);
}

#[test]
fn descriptors_that_others_free_are_found_after_a_moment() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &[]);
    leave_descriptors(&rondel, 0);
    let mut client = rondel.connect();
    client.send(get("/"));
    rondel.wait_for_line("new clients wait: ");
    client.expect_silence(A_WHILE);
    // No event tells of this.
    allow_descriptors(&rondel, 100);
    assert_eq!(client.response(false).status(), 200);
}

#[test]
fn without_a_descriptor_for_an_upstream_the_client_gets_503_and_may_go_on() {
    let backend = Backend::echo("a");
    let rondel = Rondel::start(&[backend.addr], &["--retries", "0"]);
    leave_descriptors(&rondel, 1);
    let mut client = rondel.connect();
    let response = client.ask(&get("/"));
    assert_eq!(
        (response.status(), response.field("connection")),
        (503, None)
    );
    assert!(response.text().contains("out-of-resources"));
    assert!(response.field("retry-after").is_some());
    allow_descriptors(&rondel, 100);
    assert_eq!(client.ask(&get("/")).status(), 200);
    assert!(
        !rondel.log().iter().any(|line| line.contains("is out:")),
        "not the backend's fault"
    );
}

#[test]
fn an_idle_upstream_gives_way_to_one_that_is_needed() {
    let (one, other) = (Stage::start(), Backend::echo("other"));
    let rondel = Rondel::start(&[one.addr, other.addr], &[]);
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = one.request();
    upstream.send(ok("one"));
    assert_eq!(client.response(false).text(), "one");
    leave_descriptors(&rondel, 0);
    let response = client.ask(&get("/"));
    assert_eq!(
        (response.status(), response.field("x-backend")),
        (200, Some("other"))
    );
    upstream.expect_end();
}

#[test]
fn a_response_head_that_does_not_fit_is_502_and_one_that_does_passes() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    for (bytes, status) in [(16 * 1024, 200), (16 * 1024 + 1, 502)] {
        client.send(get("/"));
        let (mut upstream, _) = stage.request();
        let fixed = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nX: \r\n\r\n";
        let filler = "x".repeat(bytes - fixed.len());
        let head = fixed.replace("X: ", &format!("X: {filler}"));
        assert_eq!(head.len(), bytes);
        upstream.send(head);
        assert_eq!(client.response(false).status(), status, "{bytes}");
    }
}

#[test]
fn many_clients_at_once_are_all_served() {
    let backends = [Backend::echo("a"), Backend::echo("b")];
    let rondel = Rondel::start(&backends.each_ref().map(|backend| backend.addr), &[]);
    let mut clients: Vec<Client> = (0..300).map(|_| rondel.connect()).collect();
    for _ in 0..2 {
        clients.iter_mut().for_each(|client| client.send(get("/")));
        for client in &mut clients {
            assert_eq!(client.response(false).status(), 200);
        }
    }
}
