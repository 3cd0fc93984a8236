//! Peers that take what they are sent, but so slowly that the kernel takes nothing from us for longer than a timer: they
//! live on by what their own kernel acknowledges, as long as it is enough.

mod fake;

use std::time::{Duration, Instant};

use fake::Fake;
use rondel::config::Limits;
use rondel::proxy::failure::Failure;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
/// Bytes that the kernel takes before it is full.
const ROOM: usize = 256 * 1024;
const TICK: Duration = Duration::from_secs(1);

/// Whose end of the exchange is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    Client,
    Upstream,
}
use Slow::{Client, Upstream};

/// One exchange whose slow end takes what the kernel has room for, and then acknowledges it byte by byte.
struct Scene {
    fake: Fake,
    /// The slow end.
    sock: usize,
    since: Instant,
}

impl Scene {
    /// A download that the client is slow to take, or an upload that the backend is. `tells` if the kernel tells what is
    /// acknowledged.
    fn new(slow: Slow, tells: bool, body_rate_min: u64) -> Self {
        let mut fake = Fake::with(Limits {
            body_rate_min,
            ..Limits::default()
        });
        fake.limit_upstreams(ROOM);
        let client = fake.call();
        fake.sock(client).room = ROOM;
        let since = fake.now.instant;
        fake.say(client, if slow == Client { GET } else { POST });
        let upstream = fake.newest();
        fake.hint(upstream, false, true);
        let (sock, other) = match slow {
            Client => (client, upstream),
            Upstream => (upstream, client),
        };
        fake.sock(sock).acknowledged = tells.then_some(0);
        if slow == Client {
            fake.say(upstream, RESPONSE);
        }
        fake.sock(other).endless = true;
        fake.hint(other, true, true);
        assert_eq!(fake.sock(sock).written, ROOM);
        Self { fake, sock, since }
    }

    /// So long the slow end acknowledges `rate` bytes a second. Whether the exchange is still on then.
    fn pass(&mut self, time: Duration, rate: usize) -> bool {
        let end = self.fake.now.instant + time;
        while self.fake.now.instant < end && !self.is_over() {
            self.fake.sock(self.sock).acknowledge(rate);
            self.fake.pass(TICK);
        }
        !self.is_over()
    }

    fn is_over(&self) -> bool {
        self.fake.sock(self.sock).closed
    }

    /// What ended it, and how many seconds after its begin.
    fn end(mut self) -> (Failure, u64) {
        self.pass(Duration::from_secs(24 * 3600), 0);
        let [(failure, 1)] = *self.fake.proxy.failures() else {
            panic!("one failure: {:?}", self.fake.proxy.failures());
        };
        let after = self.fake.now.instant - self.since;
        (failure, after.as_secs())
    }
}

#[test]
fn who_takes_little_but_steadily_is_waited_for_until_it_takes_nothing() {
    for (slow, failure) in [
        (Client, Failure::ClientWriteTimeout),
        (Upstream, Failure::UpstreamWriteTimeout),
    ] {
        let mut scene = Scene::new(slow, true, 0);
        assert!(scene.pass(Duration::from_secs(3_600), 1), "{failure:?}");
        let (ended_by, after) = scene.end();
        assert_eq!(ended_by, failure);
        assert!((3_660..=3_720).contains(&after), "{failure:?} at {after}");
    }
}

#[test]
fn who_takes_nothing_has_one_body_timer() {
    for tells in [false, true] {
        for (slow, failure) in [
            (Client, Failure::ClientWriteTimeout),
            (Upstream, Failure::UpstreamWriteTimeout),
        ] {
            assert_eq!(Scene::new(slow, tells, 64).end(), (failure, 60));
        }
    }
    // What is not told cannot be counted.
    let mut scene = Scene::new(Client, false, 64);
    assert!(!scene.pass(Duration::from_secs(60), 2_000));
}

#[test]
fn a_client_must_be_as_fast_as_was_asked_for_also_where_nothing_moves() {
    let mut scene = Scene::new(Client, true, 64);
    assert!(scene.pass(Duration::from_secs(1_800), 70));
    let mut scene = Scene::new(Client, true, 64);
    assert!(!scene.pass(Duration::from_secs(240), 40));
    assert_eq!(scene.end().0, Failure::ClientWriteSlow);
    // A backend is held to no rate.
    let mut scene = Scene::new(Upstream, true, 64);
    assert!(scene.pass(Duration::from_secs(1_800), 40));
}
