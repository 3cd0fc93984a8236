//! What goes wrong when sockets and hints come in just the wrong order. Each scene was a fault once.

mod fake;

use std::net::SocketAddr;
use std::time::Duration;

use fake::Fake;
use rondel::balance::Balance;
use rondel::config::{Backend, Config, Pool, Sticky, WhenAllDown};
use rondel::proxy::{Doing, Setup};

const UNFINISHED: &[u8] = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
/// What a client and its upstream can hold between them when each read brings as much as it may, in bytes.
const HELD_MAX: usize = 300 * 1024;

#[test]
fn a_client_that_never_takes_the_response_does_not_live_on_by_sending_a_trickle() {
    let mut fake = Fake::new();
    let client = fake.call();
    fake.say(client, UNFINISHED);
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    // The response begins, and the client takes nothing from its first byte on.
    fake.sock(client).room = 0;
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
    fake.say(upstream, &[&head[..], &[b'x'; 100_000]].concat());
    // It sends 70 bytes a second, more than --min-body-rate asks for. --body-timeout is one minute.
    for _ in 0..2 {
        fake.pass(Duration::from_secs(20));
        assert_eq!(fake.proxy.counts().sessions, 1);
        fake.say(client, &[b'y'; 1400]);
    }
    fake.pass(Duration::from_secs(20));
    assert_eq!(fake.proxy.counts().sessions, 0);
}

#[test]
fn a_socket_that_is_said_to_be_writable_and_takes_nothing_does_not_hoard_a_body() {
    let mut fake = Fake::new();
    fake.limit_upstreams(0);
    let client = fake.call();
    fake.say(client, UNFINISHED);
    let upstream = fake.newest();
    for _ in 0..50 {
        fake.say(client, &[b'x'; 128 * 1024]);
        fake.hint(upstream, false, true);
    }
    let held = fake.proxy.counts().held_bytes;
    assert!(held <= HELD_MAX, "{held} bytes are held for one client");
}

#[test]
fn clients_that_wait_for_a_descriptor_come_in_at_once_while_idle_upstreams_hold_some() {
    let mut fake = Fake::new();
    // Twenty exchanges at a time leave twenty idle upstreams.
    let clients: Vec<usize> = (0..20).map(|_| fake.call()).collect();
    for client in clients {
        fake.say(
            client,
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        );
        let upstream = fake.newest();
        fake.hint(upstream, false, true);
    }
    for upstream in 20..40 {
        fake.say(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
    let counts = fake.proxy.counts();
    assert_eq!((counts.sessions, counts.idle_upstreams), (0, 20));
    fake.limit_descriptors(20);
    for _ in 0..20 {
        fake.call();
    }
    let counts = fake.proxy.counts();
    assert_eq!((counts.sessions, counts.idle_upstreams), (20, 0));
}

#[test]
fn a_client_that_waits_for_a_descriptor_comes_in_when_an_upstream_closes() {
    let mut fake = Fake::new();
    let client = fake.call();
    fake.say(client, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    fake.limit_descriptors(2);
    fake.call();
    assert_eq!(fake.proxy.counts().sessions, 1, "no descriptor is left");
    fake.say(
        upstream,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(fake.proxy.counts().sessions, 2);
}

#[test]
fn an_empty_line_is_no_request_that_a_stop_cuts_short() {
    let mut fake = Fake::new();
    let client = fake.call();
    fake.say(client, b"\r\n");
    // --head-timeout is 10 s, --client-idle-timeout one minute.
    fake.pass(Duration::from_secs(20));
    let counts = fake.proxy.counts();
    assert_eq!(counts.sessions, 1, "it has not begun a request");
    fake.proxy.cut_short();
    let counts = fake.proxy.counts();
    assert_eq!((counts.sessions, counts.cut_short), (0, 0));
}

#[test]
fn a_response_that_begins_and_goes_wrong_in_one_read_goes_out_as_far_as_it_goes() {
    let mut fake = Fake::new();
    let client = fake.call();
    fake.say(client, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk";
    fake.say(upstream, head);
    // To close at once would, if the client has sent more, take back also the responses before this one.
    assert!(fake.sock(client).written > 0);
    assert!(!fake.sock(client).closed);
}

#[test]
fn a_client_that_reads_nothing_before_it_has_sent_all_is_rid_of_a_body_that_nobody_takes() {
    let mut fake = Fake::new();
    let client = fake.call();
    fake.say(client, UNFINISHED);
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    // The backend answers early, at length, and is gone; the client takes nothing as yet.
    fake.sock(client).room = 0;
    let head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9000\r\n\r\n";
    fake.say(upstream, &[&head[..], &[b'x'; 9000]].concat());
    fake.sock(upstream).broken = true;
    for _ in 0..3 {
        fake.say(client, &[b'y'; 300 * 1024]);
        assert_eq!(fake.sock(client).unread(), 0);
    }
    fake.sock(client).room = usize::MAX;
    fake.hint(client, false, true);
    assert!(fake.sock(client).written > 9000);
}

#[test]
fn a_response_waits_for_the_next_one_no_longer_than_that_takes_a_turn() {
    // Behind two requests there is a part of another, and behind that the end, or not.
    for ended in [false, true] {
        let mut fake = Fake::new();
        let client = fake.call();
        fake.sock(client).ended = ended;
        fake.say(client, &[GET, GET, b"GET / HT"].concat());
        let upstream = fake.newest();
        fake.hint(upstream, false, true);
        for nth in 1..=2 {
            fake.say(upstream, OK);
            let written = fake.sock(client).written;
            assert!(written >= nth * OK.len(), "{written} bytes of {nth}");
        }
        assert_eq!(fake.sock(client).closed, ended);
    }
}

#[test]
fn a_response_that_was_held_back_goes_on_while_the_next_request_waits_for_a_connection() {
    let mut fake = Fake::new();
    let client = fake.call();
    fake.say(client, &GET.repeat(2));
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    fake.sock(client).room = 10;
    // The backend closes behind its response, so that the next request needs another connection, which is under way.
    fake.say(
        upstream,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
    );
    assert_eq!(fake.sock(client).written, 10);
    assert_ne!(fake.newest(), upstream);
    fake.sock(client).room = usize::MAX;
    fake.hint(client, false, true);
    assert!(fake.sock(client).written >= OK.len());
}

#[test]
fn responses_that_come_in_one_tick_each_leave_together() {
    let mut fake = Fake::new();
    let client = fake.call();
    fake.say(client, &GET.repeat(3));
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    for nth in 1..=3 {
        assert_eq!(fake.sock(client).written, 0, "before response {nth}");
        fake.say_within_a_tick(upstream, OK);
    }
    assert!(fake.sock(client).written >= 3 * OK.len());
}

#[test]
fn a_request_that_is_sent_once_more_is_whole_although_the_client_took_nothing_meanwhile() {
    const PUT: &[u8] = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\n";
    let mut fake = Fake::new();
    let client = fake.call();
    fake.say(client, GET);
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    fake.say(upstream, OK);
    // A response waits for the next one, and then for the client, which takes nothing as yet.
    fake.sock(client).room = 0;
    fake.say(client, &[GET, PUT, b"x"].concat());
    fake.say(upstream, OK);
    // Meanwhile the connection of the next request breaks.
    fake.sock(upstream).broken = true;
    for _ in 0..2 {
        fake.say(client, &[b'x'; 4000]);
    }
    fake.sock(upstream).ended = true;
    fake.hint(upstream, true, true);
    fake.sock(client).room = usize::MAX;
    fake.hint(client, false, true);
    let other = fake.newest();
    assert_ne!(other, upstream, "it is sent once more");
    fake.hint(other, false, true);
    fake.say(client, &[b'x'; 999]);
    let written = fake.sock(other).written;
    assert!(written > 9000, "{written} bytes of head and body");
}

#[test]
fn what_stands_between_an_urgent_byte_and_the_end_of_a_flood_is_not_lost() {
    const UPGRADE: &[u8] =
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: u\r\n\r\n";
    const SWITCH: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: u\r\n\r\n";
    let mut fake = Fake::new();
    let client = fake.call();
    fake.say(client, UPGRADE);
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    fake.say(upstream, SWITCH);
    let before = fake.sock(client).written;
    fake.say_within_a_tick(upstream, &[b'x'; 128 * 1024]);
    // It comes before the next turn, and the event that tells of it behind that.
    fake.put(upstream, b"last");
    fake.sock(upstream).urgent = true;
    fake.sock(upstream).ended = true;
    fake.pass(Duration::ZERO);
    fake.hint(upstream, true, true);
    let written = fake.sock(client).written - before;
    assert_eq!(written, 128 * 1024 + b"last".len());
}

#[test]
fn a_slow_client_gets_the_last_of_its_responses_although_it_waited_for_another_request() {
    // --body-timeout is one minute, --min-body-rate 64 bytes per second.
    for (rate, lives) in [(1000, true), (20, false)] {
        let mut fake = Fake::new();
        let client = fake.call();
        fake.say(client, GET);
        let upstream = fake.newest();
        fake.hint(upstream, false, true);
        fake.sock(client).acknowledged = Some(0);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
        fake.say(upstream, &[&head[..], &[b'x'; 1_000_000]].concat());
        // All of that is in the kernel, which has no room for more before the client has taken much of it.
        fake.sock(client).room = 0;
        fake.say(client, &[GET, b"GET / HT"].concat());
        fake.say(upstream, OK);
        for _ in 0..300 {
            fake.sock(client).acknowledge(rate);
            fake.pass(Duration::from_secs(1));
        }
        assert_eq!(!fake.sock(client).closed, lives, "{rate} bytes per second");
    }
}

#[test]
fn a_request_is_held_whose_cookie_stands_for_a_backend_of_weight_0_that_refuses() {
    let addr = ([198, 0, 0, 1], 80).into();
    let backend = Backend {
        weight: 0,
        ..Backend::at("b1", SocketAddr::into(addr), vec![addr])
    };
    let sticky = Sticky {
        cookie: "stick".to_owned(),
        secret: None,
    };
    let pool = Pool {
        sticky: Some(sticky),
        when_all_down: WhenAllDown::Hold,
        ..Pool::new("pool", vec![backend])
    };
    let config = Config::simple(&[([192, 0, 2, 1], 8080).into()], pool);
    let mut balance = Balance::new(0);
    let pools = balance.apply(&config.pools).pools;
    let id = balance.candidates(pools[0]).next().expect("one").id;
    let token = balance.token(id).expect("a sticky pool").digits();
    let cookie = String::from_utf8_lossy(&token).into_owned();
    let mut fake = Fake::remembering(Setup::new(config));
    fake.refuse(&[addr]);
    let client = fake.call_at(0, ([192, 0, 2, 7], 1).into(), ([192, 0, 2, 1], 8080).into());
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: stick={cookie}\r\n\r\n");
    fake.say(client, head.as_bytes());
    assert_eq!(fake.connects(), [addr]);
    assert_eq!(
        fake.proxy.sessions().next().map(|session| session.doing),
        Some(Doing::Hold)
    );
    // --hold-timeout is 5 s.
    fake.pass(Duration::from_secs(5));
    assert_eq!(fake.connects(), []);
    assert!(fake.taken(client).starts_with(b"HTTP/1.1 503 "));
}
