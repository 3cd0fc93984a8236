//! One socket of the fake kernel.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::faults::Fault;

pub(crate) const EPIPE: i32 = 32;
pub(crate) const ECONNRESET: i32 = 104;
pub(crate) const ENOTCONN: i32 = 107;

/// Most reads and writes of one socket in one tick: a turn of requests as small as they can be, each answered at once, one
/// more turn when its deadline comes, and the calls that find nothing.
const TICK_CALLS_MAX: usize = 2 * (64 * 2 + 8);

/// A socket; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SockId(pub(crate) usize);

/// Who is run when something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Client(usize),
    /// A backend, and which of its connections.
    Backend(usize, SockId),
    /// The scene shifter: drain, backends that die and return.
    Scene(usize),
    /// Whoever reloads: which configuration comes.
    Reload(usize),
}

/// Where a socket lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the proxy, with this descriptor.
    Proxy(usize),
    Script(Peer),
    /// In a listener's queue.
    Nowhere,
}

/// How the network of a seed is.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) latency: (Duration, Duration),
    pub(crate) window: (usize, usize),
    /// The usual size of what arrives at once, in bytes.
    pub(crate) segment: usize,
    /// How often a write is short without need, in a thousand.
    pub(crate) short_writes: usize,
    /// How often something that arrives has an urgent mark in its midst, in a thousand.
    pub(crate) urgent: usize,
    /// Whether the proxy's kernel tells what a peer has acknowledged.
    pub(crate) tells: bool,
    /// How many pipes the proxy's kernel gives at a time.
    pub(crate) pipes: usize,
    /// Whether scripted peers lose what they have not read when a reset arrives.
    pub(crate) purges: bool,
}

/// What is under way to a socket.
#[derive(Debug)]
pub(crate) enum Segment {
    Bytes(Vec<u8>),
    Fin,
    Rst,
}

#[derive(Debug)]
pub(crate) struct Sock {
    pub(crate) home: Home,
    pub(crate) peer: Option<SockId>,
    /// The client's connection that the proxy's connection to a backend is for.
    pub(crate) client: Option<SockId>,
    /// The address of a client, at the proxy's end.
    pub(crate) remote: Option<SocketAddr>,
    /// Who that client says it is.
    pub(crate) announced: Option<SocketAddr>,
    pub(crate) accepted_at: Option<Duration>,
    /// When the proxy began to connect, read from it last, wrote to it last.
    pub(crate) called_at: Duration,
    pub(crate) read_at: Duration,
    pub(crate) written_at: Duration,
    /// The backend that it was made for, at the proxy's end.
    pub(crate) backend: Option<usize>,
    pub(crate) connecting: bool,
    pub(crate) inbox: VecDeque<u8>,
    /// How many bytes of the inbox stand before the urgent mark.
    pub(crate) mark: Option<usize>,
    pub(crate) wire: VecDeque<Segment>,
    pub(crate) wire_bytes: usize,
    pub(crate) wire_last: Duration,
    /// How much it and its sender's kernel take, and how much of that it takes alone.
    window: usize,
    room: usize,
    /// How many segments, the first ones, wait until it has room.
    pub(crate) held_back: usize,
    pub(crate) fin_in: bool,
    /// Our sending side is shut.
    pub(crate) shut: bool,
    /// The connection is gone: a reset was sent or arrived, or there never was one.
    pub(crate) reset: bool,
    pub(crate) error: Option<i32>,
    pub(crate) closed: bool,
    pub(crate) shut_at: Duration,
    pub(crate) closed_at: Duration,
    pub(crate) reset_on_close: bool,
    pub(crate) nospace: bool,
    pub(crate) space_due: bool,
    /// Bytes that ever arrived, and when the last did.
    pub(crate) arrived: usize,
    pub(crate) arrived_at: Duration,
    /// Requests that its script has begun to read.
    pub(crate) served: usize,
    /// When the proxy was told, by an event, that the connection had ended.
    pub(crate) told_at: Option<Duration>,
    /// When the proxy was told that the connection is gone in both directions.
    pub(crate) told_gone_at: Option<Duration>,
    /// The injected fault that ended it.
    pub(crate) fault: Option<Fault>,
    /// What the proxy sent here and no script ever read.
    pub(crate) lost: Vec<u8>,
    /// The last tick in which the proxy did something with it: bytes read, and calls made.
    tick: (u64, usize, usize),
}

impl Sock {
    pub(crate) fn new(home: Home, peer: Option<SockId>, window: usize, room: usize) -> Self {
        Self {
            home,
            peer,
            client: None,
            remote: None,
            announced: None,
            accepted_at: None,
            called_at: Duration::ZERO,
            read_at: Duration::ZERO,
            written_at: Duration::ZERO,
            backend: None,
            connecting: false,
            inbox: VecDeque::new(),
            mark: None,
            wire: VecDeque::new(),
            wire_bytes: 0,
            wire_last: Duration::ZERO,
            window,
            room,
            held_back: 0,
            fin_in: false,
            shut: false,
            reset: false,
            error: None,
            closed: false,
            shut_at: Duration::ZERO,
            closed_at: Duration::ZERO,
            reset_on_close: false,
            nospace: false,
            space_due: false,
            arrived: 0,
            arrived_at: Duration::ZERO,
            served: 0,
            told_at: None,
            told_gone_at: None,
            fault: None,
            lost: Vec::new(),
            tick: (0, 0, 0),
        }
    }

    pub(crate) fn free(&self) -> usize {
        self.window
            .saturating_sub(self.wire_bytes + self.inbox.len())
    }

    /// The proxy read so many bytes; says what that comes to in this tick.
    pub(crate) fn charge(&mut self, tick: u64, bytes: usize) -> (usize, usize) {
        if self.tick.0 != tick {
            self.tick = (tick, 0, 0);
        }
        self.tick.1 += bytes;
        (self.tick.1, self.tick.2)
    }

    /// The proxy makes a call for this socket, of which there may be only so many in one tick.
    pub(crate) fn count_call(&mut self, tick: u64) {
        if !matches!(self.home, Home::Proxy(_)) {
            return;
        }
        self.charge(tick, 0);
        self.tick.2 += 1;
        assert!(
            self.tick.2 <= TICK_CALLS_MAX,
            "{} calls for one socket in one tick",
            self.tick.2
        );
    }

    /// Whether it has room for no more now.
    pub(crate) fn is_full(&self) -> bool {
        !self.closed && !self.reset && self.inbox.len() >= self.room
    }

    /// Whether so much is free that Linux calls it writable (`sk_stream_is_writeable`).
    pub(crate) fn is_roomy(&self) -> bool {
        self.free() * 3 >= self.window
    }
}
