//! What goes on while the configuration changes: clients that wait at a listener, idle connections, requests that are held,
//! and what a header in front of a request has to do with it. Most of it went wrong once.

mod fake;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fake::Fake;
use rondel::balance::health::BACK_OFF_MIN;
use rondel::config::{Action, Config, FixedReply, ProxyVersion, Route, Sticky, WhenAllDown};
use rondel::proxy::failure::Failure;
use rondel::proxy::{Bound, Doing, Setup};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";

/// What one session does, if there is one.
fn doing(fake: &Fake) -> Option<Doing> {
    fake.proxy.sessions().next().map(|glance| glance.doing)
}

/// How often this went wrong.
fn met(fake: &Fake, failure: Failure) -> u64 {
    let failures = fake.proxy.failures().iter();
    failures
        .filter(|(met, _)| *met == failure)
        .map(|(_, times)| times)
        .sum()
}

/// A configuration whose one backend may go out, and then requests are held.
fn holding(seconds: u64) -> Config {
    let mut config = Fake::config();
    let pool = config.pool_mut(0);
    (pool.when_all_down, pool.take_out_last) = (WhenAllDown::Hold, true);
    (pool.failures_max, pool.retries) = (1, 0);
    pool.timeouts.hold = Duration::from_secs(seconds);
    config
}

/// A proxy that holds one request, and that client.
fn held(config: Config) -> (Fake, usize) {
    let mut fake = Fake::configured(config);
    let client = fake.call();
    fake.say(client, GET);
    // The connection is never made.
    fake.pass(Duration::from_secs(3));
    assert_eq!(doing(&fake), Some(Doing::Hold));
    (fake, client)
}

#[test]
fn who_has_knocked_at_a_listener_that_closes_is_let_in_although_nobody_told() {
    let mut fake = Fake::new();
    // The listener has been looked at, and nobody was there.
    fake.pass(Duration::ZERO);
    fake.stand_at_the_door();
    let config = Fake::config();
    let elsewhere = Bound {
        listener: 1,
        addr: config.listeners[0].addr,
    };
    fake.reload_at(config, &[elsewhere]);
    assert_eq!(fake.proxy.counts().sessions, 1);
}

#[test]
fn who_has_knocked_before_a_drain_is_let_in_although_nobody_told() {
    let mut fake = Fake::new();
    // The listener has been looked at, and nobody was there.
    fake.pass(Duration::ZERO);
    fake.stand_at_the_door();
    let now = fake.now;
    fake.proxy.drain(now);
    assert_eq!(fake.proxy.counts().sessions, 1);
}

#[test]
fn idle_upstreams_wait_no_longer_than_a_reload_says() {
    let mut config = Fake::config();
    let mut fake = Fake::configured(config.clone());
    let clients = [fake.call(), fake.call()];
    let upstreams = clients.map(|client| {
        fake.say(client, GET);
        fake.newest()
    });
    for upstream in upstreams {
        fake.hint(upstream, false, true);
        fake.say(upstream, OK);
    }
    assert_eq!(fake.proxy.counts().idle_upstreams, 2);
    config.pool_mut(0).timeouts.upstream_idle = Duration::from_secs(2);
    fake.reload(config);
    // One is used once more, and waits for as long as is said now; so does the other.
    fake.say(clients[0], GET);
    fake.say(upstreams[1], OK);
    assert_eq!(fake.proxy.counts().idle_upstreams, 2);
    fake.pass(Duration::from_secs(2));
    assert_eq!(fake.proxy.counts().idle_upstreams, 0);
}

#[test]
fn no_more_upstreams_are_idle_than_a_reload_allows() {
    let mut config = Fake::config();
    let mut fake = Fake::configured(config.clone());
    let clients = [(); 4].map(|()| fake.call());
    let upstreams = clients.map(|client| {
        fake.say(client, GET);
        fake.newest()
    });
    for upstream in upstreams {
        fake.hint(upstream, false, true);
        fake.say(upstream, OK);
    }
    assert_eq!(fake.proxy.counts().idle_upstreams, 4);
    config.pool_mut(0).idle_per_backend_max = 1;
    fake.reload(config);
    fake.say(clients[0], GET);
    fake.say(upstreams[3], OK);
    assert_eq!(fake.proxy.counts().idle_upstreams, 1);
}

#[test]
fn a_client_that_is_idle_leaves_a_drain_soon_although_a_reload_gave_it_less_time() {
    let mut config = Fake::config();
    let mut fake = Fake::configured(config.clone());
    fake.call();
    config.timeouts.client_idle = Duration::from_secs(2);
    fake.reload(config);
    let now = fake.now;
    fake.proxy.drain(now);
    fake.pass(Duration::from_secs(2));
    assert!(fake.proxy.is_finished());
}

#[test]
fn a_header_in_pieces_takes_nothing_from_the_time_for_the_request() {
    let mut config = Fake::config();
    config.listeners[0].accept_proxy = vec!["192.0.2.0/24".parse().expect("it is a network")];
    let mut fake = Fake::configured(config);
    let client = fake.call();
    fake.say(client, b"PROXY TCP4 10.0.0.1 10.0.0.2 1");
    assert_eq!(doing(&fake), Some(Doing::Preface));
    fake.say(client, b"000 80\r\n");
    assert_eq!(doing(&fake), Some(Doing::Request));
    // A request that begins has ten seconds for its head, a client that has not begun one a minute.
    fake.pass(Duration::from_secs(11));
    assert_eq!(met(&fake, Failure::HeadTimeout), 0);
    assert_eq!(doing(&fake), Some(Doing::Request));
    fake.pass(Duration::from_secs(60));
    assert_eq!(met(&fake, Failure::ClientIdle), 1);
}

#[test]
fn a_header_that_does_not_come_to_its_end_is_waited_for_no_longer_than_a_head() {
    let mut config = Fake::config();
    config.listeners[0].accept_proxy = vec!["192.0.2.0/24".parse().expect("it is a network")];
    let mut fake = Fake::configured(config);
    let client = fake.call();
    fake.say(client, b"PROXY TCP4 10.0.0.1");
    fake.pass(Duration::from_secs(11));
    assert_eq!(met(&fake, Failure::HeadTimeout), 1);
    assert_eq!(fake.proxy.counts().sessions, 0);
}

#[test]
fn a_request_that_is_held_is_answered_when_a_reload_removes_its_pool() {
    let (mut fake, client) = held(holding(500));
    let before = fake.sock(client).written;
    let mut config = holding(500);
    config.pool_mut(0).name = "other".to_owned();
    fake.reload(config);
    assert!(fake.sock(client).written > before, "it waits for nobody");
    assert_eq!(met(&fake, Failure::NoBackend), 1);
}

#[test]
fn a_request_whose_pool_is_removed_meanwhile_is_told_what_went_wrong() {
    let mut fake = Fake::configured(holding(500));
    let client = fake.call();
    fake.say(client, GET);
    let mut config = holding(500);
    config.pool_mut(0).name = "other".to_owned();
    fake.reload(config);
    fake.pass(Duration::from_secs(3));
    assert_eq!(met(&fake, Failure::ConnectTimeout), 1);
    assert_eq!(met(&fake, Failure::QueueFull), 0);
    assert!(fake.sock(client).written > 0);
}

#[test]
fn a_request_that_is_held_goes_to_a_backend_that_a_reload_brings() {
    let (mut fake, client) = held(holding(500));
    let mut config = holding(500);
    let backends = &mut config.pool_mut(0).backends;
    backends.push(Fake::backend(2));
    fake.reload(config);
    assert_eq!(doing(&fake), Some(Doing::Connect));
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    fake.say(upstream, OK);
    assert!(fake.sock(client).written > OK.len());
    assert_eq!(fake.proxy.counts().held_bytes, 0);
}

#[test]
fn a_request_that_is_held_gives_its_place_back() {
    let mut config = holding(1);
    let pool = config.pool_mut(0);
    // Before the backend is tried again.
    (pool.timeouts.hold, pool.held_max) = (Duration::from_millis(500), 1);
    let (mut fake, _) = held(config);
    for round in 1..4 {
        let another = fake.call();
        fake.say(another, GET);
        assert_eq!(met(&fake, Failure::QueueFull), round);
    }
    fake.pass(Duration::from_millis(500));
    assert_eq!(met(&fake, Failure::HoldTimeout), 1);
    let another = fake.call();
    fake.say(another, GET);
    assert_eq!(met(&fake, Failure::QueueFull), 3);
}

/// A client asks; says which upstream it got.
fn ask(fake: &mut Fake, client: usize) -> usize {
    fake.say(client, GET);
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    upstream
}

/// The backend is at these addresses.
fn at(addrs: &[SocketAddr]) -> Config {
    let mut config = Fake::config();
    config.pool_mut(0).backends[0].addrs = addrs.to_vec();
    config
}

/// Where the backend goes.
fn elsewhere() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 3], 80))
}

#[test]
fn an_idle_upstream_to_an_address_that_its_backend_has_left_is_not_used() {
    let mut fake = Fake::new();
    let client = fake.call();
    let upstream = ask(&mut fake, client);
    fake.say(upstream, OK);
    assert_eq!(fake.proxy.counts().idle_upstreams, 1);
    fake.reload(at(&[elsewhere()]));
    assert_eq!(fake.proxy.counts().idle_upstreams, 0);
    assert!(fake.sock(upstream).closed);
    let other = ask(&mut fake, client);
    assert_eq!(fake.sock(other).to, Some(elsewhere()));
}

#[test]
fn an_upstream_to_an_address_that_its_backend_has_left_meanwhile_is_not_kept() {
    for used_before in [false, true] {
        let mut fake = Fake::new();
        let client = fake.call();
        let upstream = ask(&mut fake, client);
        if used_before {
            fake.say(upstream, OK);
            fake.say(client, GET);
        }
        fake.reload(at(&[elsewhere()]));
        fake.say(upstream, OK);
        assert!(fake.sock(client).written >= OK.len(), "it is answered");
        assert!(fake.sock(upstream).closed);
    }
}

#[test]
fn an_upstream_to_an_address_that_stays_is_kept() {
    let mut fake = Fake::new();
    let client = fake.call();
    let upstream = ask(&mut fake, client);
    fake.say(upstream, OK);
    let stays = Fake::config().pools[0].backends[0].addrs[0];
    fake.reload(at(&[elsewhere(), stays]));
    fake.say(client, GET);
    fake.say(upstream, OK);
    let counts = fake.proxy.counts();
    assert_eq!((counts.idle_upstreams, fake.newest()), (1, upstream));
}

#[test]
fn a_request_that_is_held_has_its_place_again_when_its_trial_comes_to_nothing() {
    let mut config = Fake::config();
    let pool = config.pool_mut(0);
    pool.when_all_down = WhenAllDown::Hold;
    (pool.held_max, pool.failures_max, pool.take_out_last) = (1, 1, true);
    let mut fake = Fake::configured(config);
    fake.refuse_upstreams(true);
    let client = fake.call();
    fake.say(client, GET);
    assert_eq!(fake.sock(client).written, 0, "it is held");
    fake.pass(BACK_OFF_MIN);
    assert_eq!(fake.sock(client).written, 0, "it is still held");
    fake.refuse_upstreams(false);
    fake.pass(2 * BACK_OFF_MIN);
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    fake.say(upstream, OK);
    assert!(fake.sock(client).written >= OK.len());
}

/// Scene "requests are held until backends are back", seed 22003: a backend got the same request twice.
#[test]
fn a_request_that_may_have_reached_a_backend_is_not_held() {
    let mut config = holding(500);
    let pool = config.pool_mut(0);
    pool.backends.push(Fake::backend(2));
    pool.retries = 2;
    let mut fake = Fake::configured(config);
    let client = fake.call();
    fake.say(client, GET);
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    assert_eq!(doing(&fake), Some(Doing::Exchange));
    // It closes without an answer, and the other one cannot be reached.
    fake.sock(upstream).ended = true;
    fake.hint(upstream, true, true);
    assert_eq!(doing(&fake), Some(Doing::Connect));
    fake.pass(Duration::from_secs(3));
    assert_eq!(fake.proxy.counts().live_backends, 0);
    assert_eq!(met(&fake, Failure::ConnectTimeout), 1);
    assert_eq!(doing(&fake), Some(Doing::Request), "it was answered");
}

#[test]
fn clients_that_stay_keep_nothing_of_a_configuration_that_is_over() {
    let mut config = Fake::config();
    let before = Arc::clone(&config.pools[0]);
    let mut fake = Fake::configured(config.clone());
    let client = fake.call();
    let upstream = ask(&mut fake, client);
    fake.say(upstream, OK);
    config.pool_mut(0).retries = 9;
    fake.reload(config);
    assert_eq!(Arc::strong_count(&before), 1, "only this test has it");
    assert_eq!(fake.proxy.counts().sessions, 1);
}

/// What a client is told whose listener a reload closes, once it has asked: before the reload or after it.
fn told_behind_a_closed_listener(config: &Config, asks_before: bool) -> String {
    let mut fake = Fake::remembering(Setup::new(config.clone()));
    let listen = config.listeners[0].addr;
    let client = fake.call_at(0, elsewhere(), listen);
    if asks_before {
        fake.say(client, GET);
    }
    let other = Bound {
        listener: 1,
        addr: listen,
    };
    fake.reload_at(config.clone(), &[other]);
    if !asks_before {
        fake.say(client, GET);
    }
    let newest = fake.newest();
    if newest != client {
        fake.hint(newest, false, true);
        fake.say(newest, OK);
    }
    assert_eq!(doing(&fake), Some(Doing::Linger));
    String::from_utf8(fake.taken(client)).expect("it is text")
}

#[test]
fn a_client_whose_listener_is_closed_is_told_that_its_connection_ends() {
    let mut replies = Fake::config();
    let action = Action::Reply(FixedReply {
        status: 200,
        content_type: "text/plain".to_owned(),
        body: "x".to_owned(),
    });
    replies.routes = vec![Arc::new(Route {
        action,
        ..Route::all_to(0)
    })];
    let mut routeless = Fake::config();
    routeless.routes.clear();
    for (config, asks_before, line) in [
        (Fake::config(), true, "HTTP/1.1 200 OK"),
        (Fake::config(), false, "HTTP/1.1 200 OK"),
        (replies, false, "HTTP/1.1 200 OK"),
        (routeless, false, "HTTP/1.1 404 Not Found"),
    ] {
        let told = told_behind_a_closed_listener(&config, asks_before);
        assert!(told.starts_with(line), "{told}");
        assert!(told.contains("\r\nConnection: close\r\n"), "{told}");
    }
}

#[test]
fn a_request_that_is_held_goes_on_by_what_its_pool_says_then() {
    let mut fake = Fake::remembering(Setup::new(holding(500)));
    let listen = Fake::config().listeners[0].addr;
    let nobody = [1, 2].map(|number| Fake::backend(number).addrs[0]);
    fake.refuse(&nobody);
    let client = fake.call_at(0, elsewhere(), listen);
    fake.say(client, GET);
    assert_eq!(doing(&fake), Some(Doing::Hold));
    fake.connects();
    let mut config = holding(500);
    let pool = config.pool_mut(0);
    pool.send_proxy = Some(ProxyVersion::V1);
    pool.retries = 1;
    pool.timeouts.connect = Duration::from_secs(1);
    pool.backends = vec![Fake::backend(2), Fake::backend(3)];
    fake.reload(config);
    // One refuses, and the other is tried: there was no other try before.
    let last = Fake::backend(3).addrs[0];
    let tried = fake.connects();
    assert_eq!(tried.last(), Some(&last), "{tried:?}");
    assert_eq!(doing(&fake), Some(Doing::Connect));
    let due = fake.proxy.sessions().next().map(|glance| glance.due);
    assert_eq!(due, Some(fake.now.instant + Duration::from_secs(1)));
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    assert!(fake.taken(upstream).starts_with(b"PROXY TCP4 192.0.2.3 "));
}

#[test]
fn a_client_stays_with_the_backend_of_its_cookie_also_across_a_reload() {
    // The first half of the SHA-256 of the pool's name, a zero and the backend's name.
    const B2: &str = "e124f4866d61cd77b75691620e59c877";
    let mut config = Fake::config();
    let pool = config.pool_mut(0);
    pool.backends.extend([Fake::backend(2), Fake::backend(3)]);
    pool.sticky = Some(Sticky {
        cookie: "at".to_owned(),
        secret: None,
    });
    let mut fake = Fake::configured(config.clone());
    for _ in 0..4 {
        let client = fake.call();
        fake.say(
            client,
            format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b; at={B2}\r\n\r\n").as_bytes(),
        );
        let upstream = fake.newest();
        assert_eq!(
            fake.sock(upstream).to,
            Some(Fake::backend(2).addrs[0]),
            "another backend"
        );
        config.pool_mut(0).backends.rotate_left(1);
        fake.reload(config.clone());
    }
}
