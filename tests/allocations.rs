//! What is allocated for a request, and for a connection: nothing, once the proxy is warm.
//!
//! The whole proxy runs on the fake network, which allocates nothing itself while the proxy is at work; the allocator of
//! this program counts. A reallocation counts as an allocation.

mod fake;

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use fake::Fake;
use rondel::config::{
    Action, Condition, Config, Hash, HashOn, HostPattern, PathPattern, Policy, Pool, Route, Share,
    Sticky, Test,
};

/// Rounds before the counting begins, and rounds that are counted.
const ROUNDS: usize = 4;
/// Rounds before all backends of a pool have surely been picked, also by chance.
const ROUNDS_FOR_ALL: usize = 200;
/// Longer than a client that got its last word is waited for. All rounds together are shorter than a client may be idle.
const LINGER: Duration = Duration::from_secs(6);

/// Something happens on a socket.
#[derive(Debug)]
enum Event {
    /// The client says this.
    Client(Vec<u8>),
    /// The upstream says this.
    Upstream(Vec<u8>),
    /// The client takes so many bytes more, and no others.
    Room(usize),
}

use Event::{Client, Room, Upstream};

/// Runs `events` again and again on one kept client connection with one kept upstream, and demands that nothing is
/// allocated, and that at the end of each round nothing waits.
fn check(events: &[Event]) {
    let mut fake = Fake::new();
    let client = fake.call();
    fake.say(client, &get(""));
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    fake.say(upstream, &ok("", b"x"));
    for round in 0..2 * ROUNDS {
        let written = |fake: &Fake| [client, upstream].map(|id| fake.sock(id).written);
        let before = written(&fake);
        for event in events {
            let id = match event {
                Client(bytes) => {
                    fake.put(client, bytes);
                    client
                }
                Upstream(bytes) => {
                    fake.put(upstream, bytes);
                    upstream
                }
                Room(bytes) => {
                    fake.sock(client).room = *bytes;
                    client
                }
            };
            let allocated = measure(|| fake.hint(id, true, true)).count_total;
            assert!(
                round < ROUNDS || allocated == 0,
                "{allocated} allocations in round {round}"
            );
        }
        let after = written(&fake);
        assert!(
            before[0] < after[0] && before[1] < after[1],
            "the client is served"
        );
        let counts = fake.proxy.counts();
        assert_eq!((counts.sessions, counts.idle_upstreams), (1, 1));
        assert_eq!(counts.held_bytes, 0);
    }
    assert_eq!(fake.newest(), upstream, "both connections were kept");
}

/// Sends one request again and again on one kept client connection, whichever backends get it, and demands that nothing is
/// allocated once each of these has its upstream.
fn check_choice(name: &str, config: Config, request: &[u8]) {
    let mut fake = Fake::configured(config);
    let client = fake.call();
    let mut upstreams: Vec<usize> = Vec::new();
    let response = ok("", b"x");
    for round in 0..2 * ROUNDS_FOR_ALL {
        let written = |fake: &Fake, id: usize| fake.sock(id).written;
        let before: Vec<usize> = upstreams.iter().map(|&id| written(&fake, id)).collect();
        let got = written(&fake, client);
        fake.put(client, request);
        let mut allocated = measure(|| fake.hint(client, true, true)).count_total;
        if fake.newest() > upstreams.last().copied().unwrap_or(client) {
            upstreams.push(fake.newest());
            fake.hint(fake.newest(), false, true);
        }
        let mut pairs = upstreams.iter().zip(before.iter().chain(&[0]));
        let (&upstream, _) = pairs
            .find(|&(&id, &before)| written(&fake, id) > before)
            .expect("one of them got the request");
        fake.put(upstream, &response);
        allocated += measure(|| fake.hint(upstream, true, true)).count_total;
        assert!(written(&fake, client) > got, "{name}: it is answered");
        assert!(
            round < ROUNDS_FOR_ALL || allocated == 0,
            "{name}: {allocated} allocations in round {round}"
        );
    }
    assert_eq!(
        fake.proxy.counts().idle_upstreams,
        upstreams.len(),
        "{name}"
    );
}

/// Three backends in one pool, after some change.
fn pool_with(change: impl FnOnce(&mut Pool)) -> Config {
    let mut config = Fake::config();
    let pool = config.pool_mut(0);
    pool.backends = (1..=3).map(Fake::backend).collect();
    change(pool);
    config
}

/// A GET with these fields.
fn get(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").into_bytes()
}

/// A POST with these fields and this body.
fn post(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A 200 with these fields and this body.
fn ok(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Fields of so many bytes in all, each of a hundred bytes.
fn fields(bytes: usize) -> String {
    let field = |nth| format!("X-Field-{nth:03}: {}\r\n", "v".repeat(84));
    (0..bytes / 100).map(field).collect()
}

#[test]
fn nothing_is_allocated_for_a_plain_request() {
    for body in [0, 1, 1024, 10 * 1024] {
        check(&[Client(get("")), Upstream(ok("", &vec![b'x'; body]))]);
    }
    let closes =
        get("Connection: keep-alive\r\nX-Request-Id: abc\r\nX-Forwarded-For: 192.0.2.9\r\n");
    check(&[Client(closes), Upstream(ok("Date: now\r\n", b"x"))]);
    let old = b"GET http://h/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_vec();
    check(&[Client(old), Upstream(ok("", b"x"))]);
}

#[test]
fn nothing_is_allocated_for_long_heads() {
    for bytes in [1400, 1600, 1700, 1800, 1900, 2000, 4000, 6 * 1024, 9_000] {
        let fields = fields(bytes);
        check(&[Client(get(&fields)), Upstream(ok(&fields, b"x"))]);
        check(&[
            Client(post(&fields, b"body")),
            Upstream(ok(&fields, &[b'x'; 9000])),
        ]);
        // Blanks that were left out are written.
        let tight = fields.replace(": ", ":");
        check(&[Client(get(&tight)), Upstream(ok(&tight, b"x"))]);
    }
}

#[test]
fn nothing_is_allocated_for_heads_in_pieces() {
    for bytes in [0, 1800, 6 * 1024] {
        let (request, response) = (get(&fields(bytes)), ok(&fields(bytes), b"x"));
        let (head, rest) = request.split_at(request.len() - 5);
        let (status, more) = response.split_at(12);
        check(&[
            Client(head.to_vec()),
            Client(rest.to_vec()),
            Upstream(status.to_vec()),
            Upstream(more.to_vec()),
        ]);
    }
}

#[test]
fn nothing_is_allocated_for_chunks() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunks = [&b"5\r\nhello\r\n"[..], b"400\r\n", &[b'x'; 1024], b"\r\n"].concat();
    let last = b"0\r\n\r\n".to_vec();
    let whole = [&head[..], &chunks, &last].concat();
    check(&[Client(get("")), Upstream(whole)]);
    let upload = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    check(&[
        Client([&upload[..], &chunks].concat()),
        Client(chunks.clone()),
        Client(last.clone()),
        Upstream(head),
        Upstream(chunks.clone()),
        Upstream(chunks),
        Upstream(last),
    ]);
}

#[test]
fn nothing_is_allocated_for_uploads() {
    for size in [1, 1024, 15 * 1024, 64 * 1024, 128 * 1024] {
        let body = vec![b'x'; size];
        check(&[Client(post("", &body)), Upstream(ok("", b"x"))]);
        // The body comes behind its head, in halves.
        let (first, second) = body.split_at(size / 2);
        let head = post("", &body)[..post("", &body).len() - size].to_vec();
        check(&[
            Client(head),
            Client(first.to_vec()),
            Client(second.to_vec()),
            Upstream(ok("", b"x")),
        ]);
    }
    check(&[
        Client(
            b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
                .to_vec(),
        ),
        Upstream(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Client(b"body".to_vec()),
        Upstream(ok("", b"x")),
    ]);
}

#[test]
fn nothing_is_allocated_for_pipelined_requests() {
    for bytes in [0, 1800] {
        let mut events = vec![Client(get(&fields(bytes)).repeat(16))];
        events.extend((0..16).map(|_| Upstream(ok("", b"x"))));
        check(&events);
    }
}

#[test]
fn nothing_is_allocated_for_large_bodies() {
    for size in [64 * 1024, 300 * 1024] {
        let response = ok("", &vec![b'x'; size]);
        check(&[Client(get("")), Upstream(response.clone())]);
        let pieces = response
            .chunks(10_000)
            .map(|piece| Upstream(piece.to_vec()));
        check(
            &[Client(get(""))]
                .into_iter()
                .chain(pieces)
                .collect::<Vec<_>>(),
        );
    }
}

#[test]
fn nothing_is_allocated_for_clients_that_take_a_response_bit_by_bit() {
    for size in [10 * 1024, 64 * 1024, 120 * 1024] {
        check(&[
            Client(get("")),
            Room(100),
            Upstream(ok("", &vec![b'x'; size])),
            Room(5000),
            Room(usize::MAX),
        ]);
    }
}

#[test]
fn nothing_is_allocated_for_a_client_and_one_thing_for_an_upstream() {
    for (fields, reused, others) in [
        ("", true, 0),
        ("Connection: close\r\n", false, 0),
        ("", true, 300),
    ] {
        // The exchange of a new upstream, which stays with it.
        let expected = u64::from(!reused);
        let mut fake = Fake::new();
        for _ in 0..others {
            fake.call();
        }
        let response = ok(fields, b"x");
        for round in 0..2 * ROUNDS {
            let client = fake.stand_at_the_door();
            let mut allocated = measure(|| fake.let_in()).count_total;
            fake.put(client, &get("Connection: close\r\n"));
            allocated += measure(|| fake.hint(client, true, true)).count_total;
            let upstream = if reused { others + 1 } else { fake.newest() };
            allocated += measure(|| fake.hint(upstream, false, true)).count_total;
            fake.put(upstream, &response);
            allocated += measure(|| fake.hint(upstream, true, true)).count_total;
            assert!(fake.sock(client).written > response.len());
            allocated += measure(|| fake.pass(LINGER)).count_total;
            assert_eq!(fake.proxy.counts().sessions, others);
            assert!(
                round < ROUNDS || allocated == expected,
                "{allocated} allocations in round {round}, reused: {reused}"
            );
        }
    }
}

#[test]
fn nothing_is_allocated_to_pick_by_any_policy() {
    let hash = |on: HashOn| {
        Policy::Hash(Hash {
            on,
            load_percent_max: 125,
        })
    };
    let request = get("X-Key: v\r\nCookie: a=b; key=v\r\n");
    for policy in [
        Policy::RoundRobin,
        Policy::LeastConnections,
        Policy::RandomTwo,
        hash(HashOn::Client),
        hash(HashOn::Field("x-key".to_owned())),
        hash(HashOn::Cookie("key".to_owned())),
        hash(HashOn::Path),
        // A request without it.
        hash(HashOn::Field("x-other".to_owned())),
    ] {
        for weight in [1, 3] {
            let config = pool_with(|pool| {
                pool.policy = policy.clone();
                pool.backends[1].weight = weight;
            });
            check_choice(&format!("{policy:?}, weight {weight}"), config, &request);
        }
    }
}

#[test]
fn nothing_is_allocated_for_a_cookie_that_keeps_a_client_at_its_backend() {
    // The first half of the SHA-256 of the pool's name, a zero and the backend's name.
    let request = get("Cookie: a=b; at=2de103979e3db07703e8aeb11308c1fd\r\n");
    let config = pool_with(|pool| {
        pool.sticky = Some(Sticky {
            cookie: "at".to_owned(),
            secret: None,
        });
    });
    check_choice("a cookie", config, &request);
}

#[test]
fn nothing_is_allocated_to_find_a_route() {
    let route = |name: &str, change: &dyn Fn(&mut Route)| {
        let mut route = Route::all_to(0);
        name.clone_into(&mut route.name);
        change(&mut route);
        Arc::new(route)
    };
    let field = |name: &str, test| Condition {
        name: name.to_owned(),
        test,
    };
    let like = |text: &str| Test::Like(text.to_owned());
    let mut config = pool_with(|_| {});
    config.routes = vec![
        route("exact host", &|route| {
            route.when.hosts = vec![HostPattern::Exact("other.test".to_owned())];
        }),
        route("any host below", &|route| {
            route.when.hosts = vec![HostPattern::Suffix(".test".to_owned())];
            route.when.paths = vec![PathPattern::Exact("/other".to_owned())];
        }),
        route("prefix", &|route| {
            route.when.paths = vec![PathPattern::Prefix("/a/b/c".to_owned())];
        }),
        route("method", &|route| {
            route.when.methods = vec!["DELETE".to_owned()];
        }),
        route("field and parameter", &|route| {
            route.when.fields = vec![field("x-key", like("w*"))];
            route.when.query = vec![field("q", like("*z"))];
        }),
        route("pattern", &|route| {
            route.when.paths = vec![PathPattern::Glob("/a/*/**".to_owned())];
            route.when.fields = vec![field("x-key", Test::Present)];
            route.when.query = vec![field("q", Test::Is("12".to_owned()))];
        }),
    ];
    let request = b"GET /a/b/x/y?p&q=12 HTTP/1.1\r\nHost: api.test:80\r\nX-Key: v\r\n\r\n";
    check_choice("plain", config, request);
}

#[test]
fn nothing_is_allocated_to_split_between_pools() {
    let mut config = pool_with(|_| {});
    let other = Pool::new("other", vec![Fake::backend(4), Fake::backend(5)]);
    config.pools.push(Arc::new(other));
    let mut route = Route::all_to(0);
    let share = |(pool, weight)| Share { pool, weight };
    route.action = Action::Pools([(0, 3), (1, 2)].map(share).to_vec());
    config.routes = vec![Arc::new(route)];
    check_choice("a split", config, &get(""));
}
