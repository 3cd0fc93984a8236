//! Where connections begin: the proxy's listeners with their queues, and the addresses of the backends.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rondel::net::stream::{Owner, Readiness};

use super::agenda::Due;
use super::checks::Active;
use super::descriptors::Use;
use super::faults::Fault;
use super::kernel::World;
use super::sock::{Home, Peer, SockId};
use super::turns::Picked;

const EMFILE: i32 = 24;
const ECONNREFUSED: i32 = 111;
const ETIMEDOUT: i32 = 110;

/// What accept(2) says of a connection that came to nothing: ECONNABORTED, EPROTO, ENETDOWN, EHOSTUNREACH, ENOPROTOOPT.
const ABORTED: [i32; 6] = [103, 103, 71, 100, 113, 92];
/// What it says when there is no more of something: ENFILE, ENOBUFS, ENOMEM.
const SHORT: [i32; 3] = [23, 105, 12];
/// The same of connect(2), which also runs out of ports: EADDRNOTAVAIL.
const SHORT_OUT: [i32; 5] = [23, 105, 12, 99, 99];
/// EHOSTUNREACH, ENETUNREACH, EACCES, EPERM.
const UNREACHABLE: [i32; 4] = [113, 101, 13, 1];
/// ECONNREFUSED, ECONNRESET.
const REFUSED: [i32; 3] = [111, 111, 104];
/// How soon an attempt may be given up by the kernel: before the proxy loses patience.
const GIVEN_UP: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1200));

#[derive(Debug, Default)]
pub(crate) struct Doors {
    listeners: Vec<Listener>,
    backends: Vec<Door>,
    /// Whoever waits at a listener that closes has to be accepted before.
    pub(crate) all_are_let_in: bool,
    /// What went wrong with connections to backends before any of a request was seen.
    pub(crate) slams: Vec<Slam>,
}

/// A fault that met a connection to a backend, whatever it was for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slam {
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
    /// The proxy's end of it, if there ever was one.
    pub(crate) near: Option<SockId>,
}

impl Doors {
    pub(crate) fn slam(&mut self, at: Duration, fault: Fault, near: Option<SockId>) {
        self.slams.push(Slam { at, fault, near });
    }
}

#[derive(Debug)]
struct Listener {
    fd: usize,
    queue: VecDeque<SockId>,
    open: bool,
    /// Clients must say who they are.
    asks_who: bool,
}

/// How a backend is reached.
#[derive(Debug)]
struct Door {
    addrs: Vec<SocketAddr>,
    down: bool,
}

impl World {
    /// Opens a listener.
    pub(crate) fn listen(&mut self, asks_who: bool) {
        let index = self.doors.listeners.len();
        let fd = self
            .descriptors
            .open(Use::Listener(index))
            .expect("listeners come first");
        self.descriptors.assign(fd, Owner::Listener(index));
        self.doors.listeners.push(Listener {
            fd,
            queue: VecDeque::new(),
            open: true,
            asks_who,
        });
    }

    /// Makes a backend reachable.
    pub(crate) fn settle(&mut self, addrs: Vec<SocketAddr>) {
        self.doors.backends.push(Door { addrs, down: false });
    }

    pub(crate) fn set_down(&mut self, backend: usize, down: bool) {
        self.doors.backends[backend].down = down;
    }

    pub(crate) fn is_down(&self, backend: usize) -> bool {
        self.doors.backends[backend].down
    }

    /// A client at `addr` calls. Its kernel and ours complete the handshake; accepting is another matter.
    pub(crate) fn call(&mut self, client: usize, listener: usize, addr: SocketAddr) -> SockId {
        let near = self.add(Home::Script(Peer::Client(client)), None);
        let far = self.add(Home::Nowhere, Some(near));
        self.socks[near.0].peer = Some(far);
        self.socks[near.0].connecting = true;
        self.socks[far.0].remote = Some(addr);
        let at = self.now + self.latency();
        self.plan(at, Due::Queued(listener, far));
        near
    }

    /// A handshake with a listener is over.
    pub(crate) fn queue(&mut self, listener: usize, far: SockId) {
        let near = self.socks[far.0].peer.expect("it was called");
        self.socks[near.0].connecting = false;
        let door = &mut self.doors.listeners[listener];
        if !door.open {
            self.socks[near.0].reset = true;
            self.socks[near.0].error = Some(ECONNREFUSED);
            self.socks[far.0].reset = true;
            return self.raise(near);
        }
        door.queue.push_back(far);
        self.descriptors.queue(door.fd);
        self.raise(near);
    }

    /// Whether a connection waits at a listener.
    pub(crate) fn is_called(&self, listener: usize) -> bool {
        !self.doors.listeners[listener].queue.is_empty()
    }

    /// accept4(2): the descriptor is taken first, so without one the connection stays where it is.
    pub(crate) fn accept(&mut self, listener: usize) -> io::Result<(SockId, usize, SocketAddr)> {
        if !self.doors.listeners[listener].open {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if self.descriptors.are_spent() {
            self.note("accept: no descriptor", [0; 3]);
            self.faults.done(Fault::Descriptors);
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        if self.is_called(listener) && self.faults.strikes(Fault::Shortage, &mut self.rng) {
            self.note("accept: nothing left", [0; 3]);
            self.faults.done(Fault::Shortage);
            return Err(io::Error::from_raw_os_error(self.rng.pick(&SHORT)));
        }
        let Some(far) = self.doors.listeners[listener].queue.pop_front() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let addr = self.socks[far.0].remote.expect("callers have an address");
        self.progress += 1;
        if self.faults.strikes(Fault::Aborted, &mut self.rng) {
            self.faults.done(Fault::Aborted);
            self.note("accept: sock {} was aborted", [far.0, 0, 0]);
            let near = self.socks[far.0].peer.expect("it was called");
            self.socks[near.0].fault = Some(Fault::Aborted);
            self.reset(far);
            return Err(io::Error::from_raw_os_error(self.rng.pick(&ABORTED)));
        }
        let fd = self.descriptors.open(Use::Sock(far)).expect("one is left");
        self.socks[far.0].home = Home::Proxy(fd);
        self.socks[far.0].accepted_at = Some(self.now);
        self.accepts += 1;
        self.accepted += 1;
        self.socks[far.0].written_at = self.now;
        self.note("accept: sock {} as fd {}", [far.0, fd, 0]);
        // Registered now, so whatever is true already gives an event.
        self.raise(far);
        Ok((far, fd, addr))
    }

    /// The proxy says whose a socket's events are.
    pub(crate) fn assign(&mut self, sock: SockId, fd: usize, owner: Owner) {
        let was_idle = self.descriptors.assign(fd, owner);
        if let Owner::Upstream(key) = owner {
            self.socks[sock.0].client = self.descriptors.sock_of(Owner::Client(key));
            if was_idle {
                let backend = self.socks[sock.0].backend;
                self.pick(backend.expect("upstreams have a backend"));
            }
        }
    }

    /// A request goes to a backend, which is none that was removed.
    fn pick(&mut self, backend: usize) {
        self.picks.push(Picked::Backend(backend));
        assert!(
            self.configured.contains(&backend),
            "backend {backend} was removed, and is asked"
        );
    }

    /// Listeners that there ever were.
    pub(crate) fn listeners(&self) -> usize {
        self.doors.listeners.len()
    }

    /// Whether a listener takes connections.
    pub(crate) fn is_open(&self, listener: usize) -> bool {
        self.doors.listeners[listener].open
    }

    /// Whether clients must say who they are at a listener.
    pub(crate) fn asks_who(&self, listener: usize) -> bool {
        self.doors.listeners[listener].asks_who
    }

    /// Who the client behind one of the proxy's connections is, as it said, or as it seems.
    pub(crate) fn client_addr(&self, far: SockId) -> SocketAddr {
        let sock = &self.socks[far.0];
        let seems = sock.remote.expect("callers have an address");
        sock.announced.unwrap_or(seems)
    }

    /// How many wait at a listener.
    pub(crate) fn queued(&self, listener: usize) -> usize {
        self.doors.listeners[listener].queue.len()
    }

    /// connect(2), without waiting.
    pub(crate) fn connect(&mut self, addr: SocketAddr) -> io::Result<(SockId, usize)> {
        let door = self
            .doors
            .backends
            .iter()
            .position(|door| door.addrs.contains(&addr));
        let backend = door.expect("the proxy connects to backends only");
        self.progress += 1;
        self.pick(backend);
        if self.descriptors.are_spent() {
            self.shut_door(backend, Fault::Descriptors, None);
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        if self.faults.strikes(Fault::Shortage, &mut self.rng) {
            self.shut_door(backend, Fault::Shortage, None);
            return Err(io::Error::from_raw_os_error(self.rng.pick(&SHORT_OUT)));
        }
        let unreachable = self.faults.strikes(Fault::Unreachable, &mut self.rng);
        if unreachable && self.rng.chance(500) {
            self.shut_door(backend, Fault::Unreachable, None);
            return Err(io::Error::from_raw_os_error(self.rng.pick(&UNREACHABLE)));
        }
        let near = self.add(Home::Nowhere, None);
        let fd = self.descriptors.open(Use::Sock(near)).expect("one is left");
        self.socks[near.0].home = Home::Proxy(fd);
        self.socks[near.0].connecting = true;
        self.socks[near.0].called_at = self.now;
        self.socks[near.0].backend = Some(backend);
        self.note(
            "connect: sock {} as fd {} to backend {}",
            [near.0, fd, backend],
        );
        let at = self.now + self.latency();
        if unreachable {
            self.shut_door(backend, Fault::Unreachable, Some(near));
            let errno = self.rng.pick(&UNREACHABLE);
            self.plan(at, Due::ConnectFailed(near, errno));
        } else if self.faults.strikes(Fault::Silent, &mut self.rng) {
            self.shut_door(backend, Fault::Silent, Some(near));
            if self.rng.chance(300) {
                let at = self.now + self.rng.duration(GIVEN_UP.0, GIVEN_UP.1);
                self.plan(at, Due::ConnectFailed(near, ETIMEDOUT));
            }
        } else if self.faults.strikes(Fault::Refused, &mut self.rng) {
            self.shut_door(backend, Fault::Refused, Some(near));
            let errno = self.rng.pick(&REFUSED);
            self.plan(at, Due::ConnectFailed(near, errno));
        } else {
            self.plan(at, Due::Connected(near, backend));
        }
        Ok((near, fd))
    }

    fn shut_door(&mut self, backend: usize, fault: Fault, near: Option<SockId>) {
        self.faults.done(fault);
        self.doors.slam(self.now, fault, near);
        self.note(
            "connect: to backend {} fails (fault {})",
            [backend, fault as usize, 0],
        );
    }

    pub(crate) fn finish_connect(&mut self, near: SockId, backend: usize) {
        if self.socks[near.0].closed {
            return;
        }
        if self.is_down(backend) {
            self.shut_door(backend, Fault::Refused, Some(near));
            return self.fail_connect(near, ECONNREFUSED);
        }
        let far = self.add(Home::Nowhere, Some(near));
        let peer = Peer::Backend(backend, far);
        self.socks[far.0].home = Home::Script(peer);
        self.socks[near.0].peer = Some(far);
        self.socks[near.0].connecting = false;
        self.note(
            "connect: sock {} is connected to sock {} of backend {}",
            [near.0, far.0, backend],
        );
        self.raise(near);
        self.wakes.push_back(peer);
    }

    pub(crate) fn fail_connect(&mut self, near: SockId, errno: i32) {
        let sock = &mut self.socks[near.0];
        if sock.closed {
            return;
        }
        sock.connecting = false;
        sock.reset = true;
        sock.error = Some(errno);
        self.raise(near);
    }

    /// A listener closes; whoever still waits there is reset.
    pub(crate) fn close_listener(&mut self, index: usize) {
        let door = &mut self.doors.listeners[index];
        assert!(door.open, "a listener is closed once");
        door.open = false;
        self.descriptors.close(door.fd);
        let left = std::mem::take(&mut door.queue);
        assert!(
            left.is_empty() || !self.doors.all_are_let_in,
            "{} clients that had knocked at listener {index} are turned away",
            left.len()
        );
        for far in left {
            let near = self.socks[far.0].peer.expect("it was called");
            self.socks[near.0].fault.get_or_insert(Fault::Aborted);
            self.reset(far);
        }
    }

    /// A client's socket whose reset the proxy was told before `then`, and that it still has.
    pub(crate) fn told_gone_before(&self, then: Duration) -> Option<SockId> {
        let mut socks = self.descriptors.open_socks();
        socks.find(|sock| {
            let sock = &self.socks[sock.0];
            sock.accepted_at.is_some() && sock.told_gone_at.is_some_and(|at| at < then)
        })
    }

    /// By the session's key: when something last happened on its sockets.
    pub(crate) fn actives(&self) -> BTreeMap<usize, Active> {
        let mut actives: BTreeMap<usize, Active> = BTreeMap::new();
        for (owner, id) in self.descriptors.owned_socks() {
            let sock = &self.socks[id.0];
            let (Owner::Client(key) | Owner::Upstream(key)) = owner else {
                continue;
            };
            let active = actives.entry(key).or_default();
            if let Owner::Client(_) = owner {
                active.told = sock.written_at;
            }
            active.moved = active.moved.max(sock.read_at).max(sock.written_at);
            if let Some(peer) = sock.peer.filter(|_| self.profile.tells) {
                active.arrived = active.arrived.max(self.socks[peer.0].arrived_at);
            }
            active.called = active.called.max(sock.called_at);
        }
        actives
    }

    /// How much of what the proxy wrote has not arrived: what is under way, and what the peer has no room for.
    pub(crate) fn unacknowledged(&self, id: SockId) -> Option<u64> {
        let peer = self.socks[id.0].peer.filter(|_| self.profile.tells)?;
        Some(self.socks[peer.0].wire_bytes as u64)
    }

    fn tell(&mut self, id: SockId) -> Readiness {
        let (flags, now) = (self.flags(id), self.now);
        if flags.read_closed {
            self.socks[id.0].told_at.get_or_insert(now);
        }
        if self.socks[id.0].reset {
            self.socks[id.0].told_gone_at.get_or_insert(now);
        }
        flags
    }

    /// What epoll_wait(2) tells next; `None` when nothing is queued.
    pub(crate) fn harvest(&mut self) -> Option<(Owner, Readiness)> {
        while let Some((used, owner)) = self.descriptors.next_ready() {
            let flags = match used {
                Use::Free => Readiness::default(),
                Use::Listener(index) => Readiness {
                    readable: self.is_called(index),
                    ..Readiness::default()
                },
                Use::Sock(sock) => self.tell(sock),
            };
            if flags != Readiness::default() {
                return Some((owner, flags));
            }
        }
        None
    }
}
