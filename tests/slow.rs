//! Peers that take what they are sent, but so slowly that the kernel takes nothing from us for longer than a timer: they
//! live on by what their own kernel acknowledges, as long as it is enough.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use rondel::config::{Backend, Config, Forwarding, Limits, Timeouts};
use rondel::net::stream::{Net, Owner, Readiness, Stream};
use rondel::proxy::failure::Failure;
use rondel::proxy::{Now, Proxy};

const CLIENT: usize = 0;
const UPSTREAM: usize = 1;
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
/// Bytes that the kernel takes before it is full.
const ROOM: u64 = 256 * 1024;
const TICK: Duration = Duration::from_secs(1);

/// One of the two connections.
#[derive(Debug, Default)]
struct Sock {
    incoming: Vec<u8>,
    /// Whether there is always more to read.
    endless: bool,
    owner: Option<Owner>,
    written: u64,
    acknowledged: u64,
    closed: bool,
}

impl Sock {
    fn acknowledge(&mut self, bytes: u64) {
        self.acknowledged = (self.acknowledged + bytes).min(self.written);
    }
}

/// The client's connection and the one to the backend.
#[derive(Debug, Default)]
struct World {
    socks: [Sock; 2],
    /// Whether the client was accepted.
    accepted: bool,
    /// Whether the kernel tells what was acknowledged.
    tells: bool,
}

#[derive(Clone, Debug)]
struct Wires(Rc<RefCell<World>>);

#[derive(Debug)]
struct Wire(Rc<RefCell<World>>, usize);

impl Net for Wires {
    type Stream = Wire;

    fn accept(&mut self, _: usize) -> io::Result<(Wire, SocketAddr)> {
        if std::mem::replace(&mut self.0.borrow_mut().accepted, true) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let addr = SocketAddr::from(([192, 0, 2, 1], 9));
        Ok((Wire(Rc::clone(&self.0), CLIENT), addr))
    }

    fn connect(&mut self, _: SocketAddr) -> io::Result<Wire> {
        Ok(Wire(Rc::clone(&self.0), UPSTREAM))
    }

    fn assign(&mut self, stream: &Wire, owner: Owner) {
        self.0.borrow_mut().socks[stream.1].owner = Some(owner);
    }

    fn close_listeners(&mut self) {}
}

impl Stream for Wire {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let sock = &mut self.0.borrow_mut().socks[self.1];
        if sock.endless {
            sock.incoming.resize(room.len(), b'x');
        }
        let count = room.len().min(sock.incoming.len());
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        room[..count].copy_from_slice(&sock.incoming[..count]);
        sock.incoming.drain(..count);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sock = &mut self.0.borrow_mut().socks[self.1];
        let count = ROOM.saturating_sub(sock.written).min(bytes.len() as u64);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        sock.written += count;
        Ok(usize::try_from(count).expect("no more than there are bytes"))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| piece.iter().copied())
            .collect();
        self.write(&bytes)
    }

    fn connected(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([192, 0, 2, 2], 80)))
    }

    fn unacknowledged(&self) -> Option<u64> {
        let world = self.0.borrow();
        let sock = &world.socks[self.1];
        world.tells.then_some(sock.written - sock.acknowledged)
    }

    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn shut_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reset_on_close(&mut self) {}
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.0.borrow_mut().socks[self.1].closed = true;
    }
}

/// One exchange whose `slow` end takes what the kernel has room for, and then acknowledges it byte by byte.
struct Scene {
    world: Rc<RefCell<World>>,
    proxy: Proxy<Wires>,
    slow: usize,
    now: Now,
    since: Instant,
}

impl Scene {
    /// A download that the client is slow to take, or an upload that the backend is.
    fn new(slow: usize, tells: bool, min_body_rate: u64) -> Self {
        let world = Rc::new(RefCell::new(World {
            tells,
            ..World::default()
        }));
        let addr = SocketAddr::from(([192, 0, 2, 2], 80));
        let config = Config {
            listen: vec![addr],
            backends: vec![Backend {
                name: "b".into(),
                addrs: vec![addr],
            }],
            timeouts: Timeouts::default(),
            limits: Limits {
                body_rate_min: min_body_rate,
                ..Limits::default()
            },
            forwarding: Forwarding::default(),
        };
        let now = moment();
        let proxy = Proxy::new(Wires(Rc::clone(&world)), &config, &[addr], now);
        let since = now.instant;
        let mut scene = Self {
            world,
            proxy,
            slow,
            now,
            since,
        };
        scene.settle();
        scene.say(CLIENT, if slow == CLIENT { GET } else { POST });
        scene.say(UPSTREAM, b"");
        scene.say(UPSTREAM, if slow == CLIENT { RESPONSE } else { b"" });
        scene.world.borrow_mut().socks[1 - slow].endless = true;
        scene.say(1 - slow, b"x");
        assert_eq!(scene.world.borrow().socks[slow].written, ROOM);
        scene
    }

    fn say(&mut self, id: usize, bytes: &[u8]) {
        self.world.borrow_mut().socks[id]
            .incoming
            .extend_from_slice(bytes);
        let hint = Readiness {
            readable: !bytes.is_empty(),
            writable: true,
            ..Readiness::default()
        };
        let owner = self.world.borrow().socks[id].owner;
        self.proxy.notify(owner.expect("it is connected"), hint);
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            self.proxy.tick(self.now);
            if self.proxy.wait(self.now.instant) != Some(Duration::ZERO) {
                return;
            }
        }
        panic!("it is in a hurry for ever");
    }

    /// So long the slow end acknowledges `rate` bytes a second. Whether the exchange is still on then.
    fn pass(&mut self, time: Duration, rate: u64) -> bool {
        let end = self.now.instant + time;
        while self.now.instant < end && !self.is_over() {
            self.now.instant += TICK;
            self.world.borrow_mut().socks[self.slow].acknowledge(rate);
            self.proxy.tick(self.now);
        }
        !self.is_over()
    }

    fn is_over(&self) -> bool {
        self.world.borrow().socks[self.slow].closed
    }

    /// What ended it, and how many seconds after its begin.
    fn end(mut self) -> (Failure, u64) {
        self.pass(Duration::from_secs(24 * 3600), 0);
        let [(failure, 1)] = *self.proxy.failures() else {
            panic!("one failure: {:?}", self.proxy.failures());
        };
        let after = self.now.instant - self.since;
        (failure, after.as_secs())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the simulated clock needs one moment to count from"
)]
fn moment() -> Now {
    Now {
        instant: Instant::now(),
        wall: SystemTime::UNIX_EPOCH,
    }
}

#[test]
fn who_takes_little_but_steadily_is_waited_for_until_it_takes_nothing() {
    for (slow, failure) in [
        (CLIENT, Failure::ClientWriteTimeout),
        (UPSTREAM, Failure::UpstreamWriteTimeout),
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
            (CLIENT, Failure::ClientWriteTimeout),
            (UPSTREAM, Failure::UpstreamWriteTimeout),
        ] {
            assert_eq!(Scene::new(slow, tells, 64).end(), (failure, 60));
        }
    }
    // What is not told cannot be counted.
    let mut scene = Scene::new(CLIENT, false, 64);
    assert!(!scene.pass(Duration::from_secs(60), 2_000));
}

#[test]
fn a_client_must_be_as_fast_as_was_asked_for_also_where_nothing_moves() {
    let mut scene = Scene::new(CLIENT, true, 64);
    assert!(scene.pass(Duration::from_secs(1_800), 70));
    let mut scene = Scene::new(CLIENT, true, 64);
    assert!(!scene.pass(Duration::from_secs(240), 40));
    assert_eq!(scene.end().0, Failure::ClientWriteSlow);
    // A backend is held to no rate.
    let mut scene = Scene::new(UPSTREAM, true, 64);
    assert!(scene.pass(Duration::from_secs(1_800), 40));
}
