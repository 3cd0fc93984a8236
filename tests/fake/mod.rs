//! A network in a few lines, for scenes where a test decides what each socket says and takes, hint by hint.
//!
//! It models nothing: `tests/sim` does. Each socket takes as many bytes as its `room` allows and says what it is made to say;
//! time passes only when a test lets it. What the proxy does with it allocates nothing ([`SOCKS`] connections long).

#![allow(dead_code, reason = "each test uses its part of this")]

mod told;

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use rondel::config::{Backend, Config, Limits, Pool};
use rondel::net::stream::{Net, Owner, Readiness, Stream};
use rondel::proxy::{Bound, Now, Proxy, Setup};

use self::told::Told;

/// Where the proxy listens, when nobody says otherwise.
const LISTEN: ([u8; 4], u16) = ([192, 0, 2, 1], 8080);
/// Where clients call from, when nobody says otherwise.
const CLIENT: ([u8; 4], u16) = ([192, 0, 2, 7], 40_000);
/// errno of accept(2) and socket(2): this process has no descriptor left.
const EMFILE: i32 = 24;
/// So many sockets there can be before room for more is allocated.
pub(crate) const SOCKS: usize = 1024;
/// Ticks after which a proxy that is still in a hurry spins.
const TICKS_MAX: usize = 10_000;

/// One end of a connection, as the proxy sees it.
#[derive(Debug, Default)]
pub(crate) struct Sock {
    incoming: VecDeque<u8>,
    /// Whether there is always more to be read.
    pub(crate) endless: bool,
    /// How many bytes it still takes.
    pub(crate) room: usize,
    /// Whether it has shut its side behind what it says.
    pub(crate) ended: bool,
    /// Whether it said an urgent byte before what it says now, beyond which no splice goes.
    pub(crate) urgent: bool,
    /// Whether the connection is broken for whoever writes.
    pub(crate) broken: bool,
    /// How many bytes it took.
    pub(crate) written: usize,
    /// How many of them its peer has acknowledged; `None` where the kernel does not tell.
    pub(crate) acknowledged: Option<usize>,
    /// Where it goes to, if the proxy has made it.
    pub(crate) to: Option<SocketAddr>,
    /// What it took, where that is kept.
    pub(crate) taken: Option<Vec<u8>>,
    /// Where the proxy has it, if that is not the usual place.
    local: Option<SocketAddr>,
    owner: Option<Owner>,
    pub(crate) closed: bool,
}

impl Sock {
    /// How many bytes it says that were not read yet.
    pub(crate) fn unread(&self) -> usize {
        self.incoming.len()
    }

    /// The peer acknowledges so many bytes more, if there are.
    pub(crate) fn acknowledge(&mut self, bytes: usize) {
        self.acknowledged = self
            .acknowledged
            .map(|before| (before + bytes).min(self.written));
    }
}

#[derive(Debug, Default)]
struct World {
    socks: Vec<Sock>,
    calling: VecDeque<Call>,
    descriptors_max: usize,
    refuses: bool,
    upstream_room: usize,
    told: Told,
}

/// A client that waits to be let in.
#[derive(Debug)]
struct Call {
    sock: usize,
    listener: usize,
    from: SocketAddr,
}

impl World {
    fn take_descriptor(&self) -> io::Result<()> {
        let open = self
            .socks
            .iter()
            .filter(|sock| !sock.closed && sock.owner.is_some());
        if open.count() < self.descriptors_max {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(EMFILE))
        }
    }
}

/// A connection of the proxy's.
#[derive(Debug)]
pub(crate) struct FakeStream(usize, Rc<RefCell<World>>);

/// The network.
#[derive(Debug)]
pub(crate) struct FakeNet(Rc<RefCell<World>>);

impl FakeStream {
    /// A connection of its own, that takes so many bytes.
    pub(crate) fn alone(room: usize) -> Self {
        let world = World {
            socks: vec![Sock {
                room,
                ..Sock::default()
            }],
            ..World::default()
        };
        Self(0, Rc::new(RefCell::new(world)))
    }

    /// The same connection, from outside.
    pub(crate) fn twin(&self) -> Twin {
        Twin(self.0, Rc::clone(&self.1))
    }

    fn sock(&self) -> RefMut<'_, Sock> {
        RefMut::map(self.1.borrow_mut(), |world| &mut world.socks[self.0])
    }
}

/// A connection of the proxy's, seen from outside.
#[derive(Debug)]
pub(crate) struct Twin(usize, Rc<RefCell<World>>);

impl Twin {
    pub(crate) fn sock(&self) -> RefMut<'_, Sock> {
        RefMut::map(self.1.borrow_mut(), |world| &mut world.socks[self.0])
    }
}

impl Drop for FakeStream {
    fn drop(&mut self) {
        self.sock().closed = true;
    }
}

impl Stream for FakeStream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut sock = self.sock();
        if sock.endless {
            sock.incoming.resize(room.len(), b'x');
        }
        if sock.incoming.is_empty() && !sock.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = room.len().min(sock.incoming.len());
        for (to, from) in room.iter_mut().zip(sock.incoming.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut sock = self.sock();
        if sock.broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let count = sock.room.min(pieces.iter().map(|piece| piece.len()).sum());
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        if let Some(taken) = &mut sock.taken {
            taken.extend(pieces.iter().flat_map(|piece| piece.iter()).take(count));
        }
        sock.room -= count;
        sock.written += count;
        Ok(count)
    }

    fn connected(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.sock().local.unwrap_or(LISTEN.into()))
    }

    fn unacknowledged(&self) -> Option<u64> {
        let sock = self.sock();
        sock.acknowledged
            .map(|acknowledged| (sock.written - acknowledged) as u64)
    }

    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn shut_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reset_on_close(&mut self) {}
}

impl Net for FakeNet {
    type Stream = FakeStream;

    fn accept(&mut self, listener: usize) -> io::Result<(FakeStream, SocketAddr)> {
        let mut world = self.0.borrow_mut();
        let first = world
            .calling
            .iter()
            .position(|call| call.listener == listener);
        let first = first.ok_or(ErrorKind::WouldBlock)?;
        world.take_descriptor()?;
        let call = world.calling.remove(first).expect("somebody calls");
        Ok((FakeStream(call.sock, Rc::clone(&self.0)), call.from))
    }

    fn connect(&mut self, addr: SocketAddr) -> io::Result<FakeStream> {
        let mut world = self.0.borrow_mut();
        world.take_descriptor()?;
        if world.refuses {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let taken = world.told.connects_to(addr)?;
        let room = world.upstream_room;
        world.socks.push(Sock {
            room,
            taken,
            to: Some(addr),
            ..Sock::default()
        });
        Ok(FakeStream(world.socks.len() - 1, Rc::clone(&self.0)))
    }

    fn splice(
        &mut self,
        source: &mut FakeStream,
        _sink: &mut FakeStream,
        _most: usize,
    ) -> io::Result<usize> {
        let source = source.sock();
        match (source.urgent, source.ended) {
            (false, _) => Err(ErrorKind::Unsupported.into()),
            (true, false) => Err(ErrorKind::WouldBlock.into()),
            (true, true) => Ok(0),
        }
    }

    fn assign(&mut self, stream: &FakeStream, owner: Owner) {
        stream.sock().owner = Some(owner);
    }

    fn forget_owners(&mut self) {
        for sock in &mut self.0.borrow_mut().socks {
            sock.owner = None;
        }
    }

    fn close_listener(&mut self, _listener: usize) {}
}

/// A proxy with one backend, and the world around it.
#[derive(Debug)]
pub(crate) struct Fake {
    world: Rc<RefCell<World>>,
    pub(crate) proxy: Proxy<FakeNet>,
    pub(crate) now: Now,
}

impl Fake {
    /// A proxy with the default limits, on a network on which everything has room.
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    /// A proxy with these limits, on a network on which everything has room.
    pub(crate) fn with(limits: Limits) -> Self {
        Self::configured(Config {
            limits,
            ..Self::config()
        })
    }

    /// One listener and one backend.
    pub(crate) fn config() -> Config {
        let listen = SocketAddr::from(LISTEN);
        Config::simple(&[listen], Pool::new("default", vec![Self::backend(1)]))
    }

    /// The backend of this number.
    pub(crate) fn backend(number: u8) -> Backend {
        let addr = SocketAddr::from(([192, 0, 2, 1 + number], 80));
        Backend::at(&format!("b{number}"), addr.into(), vec![addr])
    }

    /// A proxy of this configuration, on a network on which everything has room.
    pub(crate) fn configured(config: Config) -> Self {
        Self::of(Setup::new(config), Told::Nothing)
    }

    /// A proxy of this configuration, each listener bound where it says, on a network on which everything has room.
    fn of(setup: Setup, told: Told) -> Self {
        let world = Rc::new(RefCell::new(World {
            socks: Vec::with_capacity(SOCKS),
            descriptors_max: usize::MAX,
            upstream_room: usize::MAX,
            told,
            ..World::default()
        }));
        let bound = bound(setup.config());
        #[expect(
            clippy::disallowed_methods,
            reason = "the clock needs one moment to count from"
        )]
        let instant = Instant::now();
        let now = Now {
            instant,
            wall: SystemTime::UNIX_EPOCH,
        };
        let net = FakeNet(Rc::clone(&world));
        let proxy = Proxy::new(net, setup, &bound, now);
        Self { world, proxy, now }
    }

    /// Another configuration, and a tick.
    pub(crate) fn reload(&mut self, config: Config) {
        self.reload_at(config.clone(), &bound(&config));
    }

    /// Another configuration, whose listeners are these.
    pub(crate) fn reload_at(&mut self, config: Config, bound: &[Bound]) {
        self.proxy.reload(Setup::new(config), bound, self.now);
        self.settle();
    }

    /// No more than so many sockets at a time from now on.
    pub(crate) fn limit_descriptors(&mut self, most: usize) {
        self.world.borrow_mut().descriptors_max = most;
    }

    /// The backend refuses each new connection at once, or does not any more.
    pub(crate) fn refuse_upstreams(&mut self, refuses: bool) {
        self.world.borrow_mut().refuses = refuses;
    }

    /// New upstreams take so many bytes.
    pub(crate) fn limit_upstreams(&mut self, room: usize) {
        self.world.borrow_mut().upstream_room = room;
    }

    /// A socket.
    pub(crate) fn sock(&self, id: usize) -> RefMut<'_, Sock> {
        RefMut::map(self.world.borrow_mut(), |world| &mut world.socks[id])
    }

    /// A client calls.
    pub(crate) fn call(&mut self) -> usize {
        let id = self.stand_at_the_door();
        self.let_in();
        id
    }

    /// A client calls, and nobody was told of it yet.
    pub(crate) fn stand_at_the_door(&mut self) -> usize {
        let mut world = self.world.borrow_mut();
        world.socks.push(Sock {
            room: usize::MAX,
            ..Sock::default()
        });
        let sock = world.socks.len() - 1;
        world.calling.push_back(Call {
            sock,
            listener: 0,
            from: CLIENT.into(),
        });
        sock
    }

    /// The listener tells of clients.
    pub(crate) fn let_in(&mut self) {
        self.let_in_at(0);
    }

    fn let_in_at(&mut self, listener: usize) {
        let hint = Readiness {
            readable: true,
            ..Readiness::default()
        };
        self.proxy.notify(Owner::Listener(listener), hint);
        self.settle();
    }

    /// The upstream that was made last.
    pub(crate) fn newest(&self) -> usize {
        self.world.borrow().socks.len() - 1
    }

    /// A socket says something.
    pub(crate) fn say(&mut self, id: usize, bytes: &[u8]) {
        self.put(id, bytes);
        self.hint(id, true, true);
    }

    /// A socket has something to be read, and nobody was told of it yet.
    pub(crate) fn put(&mut self, id: usize, bytes: &[u8]) {
        self.sock(id).incoming.extend(bytes);
    }

    /// A socket says something, and there is one tick before the next thing happens.
    pub(crate) fn say_within_a_tick(&mut self, id: usize, bytes: &[u8]) {
        self.sock(id).incoming.extend(bytes);
        self.tell(id, true, true);
        self.proxy.tick(self.now);
    }

    /// An event tells something of a socket, be it true or not.
    pub(crate) fn hint(&mut self, id: usize, readable: bool, writable: bool) {
        self.tell(id, readable, writable);
        self.settle();
    }

    fn tell(&mut self, id: usize, readable: bool, writable: bool) {
        let owner = self.sock(id).owner.expect("the proxy has it");
        let hint = Readiness {
            readable,
            writable,
            read_closed: self.sock(id).ended,
            ..Readiness::default()
        };
        self.proxy.notify(owner, hint);
    }

    /// Time goes by.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall += time;
        self.settle();
    }

    /// Ticks until nobody is in a hurry.
    fn settle(&mut self) {
        for _ in 0..TICKS_MAX {
            self.proxy.tick(self.now);
            if self.proxy.wait(self.now.instant) != Some(Duration::ZERO) {
                return;
            }
        }
        panic!("it spins: {:?}", self.proxy.counts());
    }
}

/// The listeners of a configuration, whose numbers are their places.
fn bound(config: &Config) -> Vec<Bound> {
    let addrs: Vec<SocketAddr> = config.listeners.iter().map(|one| one.addr).collect();
    Bound::in_order(&addrs)
}
