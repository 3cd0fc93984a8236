//! The fake kernel: connections as pairs of sockets, with windows, a clock, and readiness as epoll(7) gives it.
//!
//! It is modelled after Linux, because the proxy's rules of readiness rest on what Linux promises; `verified` runs the same
//! scripts on both:
//! - A read gives all that is there, up to the room offered; a short read means that nothing else is there now. But a read
//!   stops at an urgent mark, and the next one goes on behind it; an event tells that there is one.
//! - A write takes what the window has room for, sometimes less; a short write or would-block is followed by an event once
//!   a third of the window is free.
//! - An event is queued when bytes, FIN or RST arrive, when an attempt to connect ends, and when a window opens. Events of
//!   one socket merge until they are harvested, and then tell all flags as they are at that moment.
//! - Closing with unread bytes is a reset; so is sending to a socket that was closed. A reset overtakes what its sender had
//!   not sent yet, and leaves the receiver what had arrived: Linux lets it be read, then tells the reset, or behind a FIN the
//!   plain end. Scripted peers of some seeds lose what they had not read, as RFC 9112 §9.6 warns of, and are told.
//! - What a receiver's window has no room for stays with its sender's kernel; a reset by the sender takes it back.
//! - Shutting one's own side is an event too: `inet_shutdown` wakes whoever polls.
//! - An error is told once; after it, reads are at the end and writes meet a broken pipe.
//!
//! Both ends of a connection are sockets of this kernel: those of the proxy have a descriptor (`descriptors.rs`), those of
//! the scripted peers wake their script instead.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use rondel::net::stream::Readiness;

use super::agenda::{Agenda, Due};
use super::descriptors::Descriptors;
use super::doors::Doors;
use super::faults::Faults;
use super::losses::{Loss, bytes_of};
use super::rng::Rng;
use super::sock::{ECONNRESET, ENOTCONN, EPIPE, Home, Peer, Profile, Segment, Sock, SockId};
use super::trace::Trace;
use super::turns::Picked;

/// Most bytes that the proxy may take from one socket in one tick: a turn of 64 KiB, the splice that goes beyond it, and a
/// read whose bytes are thrown away with the request they belong to.
const TICK_BYTES_MAX: usize = (64 + 256 + 128) * 1024;

/// Everything outside the proxy.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) rng: Rng,
    pub(crate) trace: Trace,
    pub(crate) faults: Faults,
    pub(crate) profile: Profile,
    pub(crate) socks: Vec<Sock>,
    pub(crate) descriptors: Descriptors,
    /// Pipes in which something waits, and how often the proxy has spliced.
    pub(crate) pipes_lent: usize,
    pub(crate) splices: u64,
    pub(crate) doors: Doors,
    /// Scripts to be run.
    pub(crate) wakes: VecDeque<Peer>,
    /// Requests that the proxy sent and no script read.
    pub(crate) losses: Vec<Loss>,
    /// How much the proxy has done: bytes, connections, ends.
    pub(crate) progress: u64,
    pub(crate) tick: u64,
    /// Connections accepted in this tick, and in all.
    pub(crate) accepts: usize,
    pub(crate) accepted: u64,
    /// The backends that requests went to, in order: by new connections and by reused ones.
    pub(crate) picks: Vec<Picked>,
    /// The backends that are configured.
    pub(crate) configured: Vec<usize>,
    agenda: Agenda,
}

impl World {
    pub(crate) fn new(
        mut rng: Rng,
        faults: Faults,
        profile: Profile,
        descriptors: Descriptors,
    ) -> Self {
        Self {
            now: Duration::ZERO,
            rng: rng.fork(),
            trace: Trace::default(),
            faults,
            profile,
            socks: Vec::new(),
            descriptors,
            pipes_lent: 0,
            splices: 0,
            doors: Doors::default(),
            wakes: VecDeque::new(),
            losses: Vec::new(),
            progress: 0,
            tick: 0,
            accepts: 0,
            accepted: 0,
            picks: Vec::new(),
            configured: Vec::new(),
            agenda: Agenda::default(),
        }
    }

    pub(crate) fn note(&mut self, words: &'static str, numbers: [usize; 3]) {
        self.trace.note(self.now, words, numbers);
    }

    pub(crate) fn add(&mut self, home: Home, peer: Option<SockId>) -> SockId {
        let window = self
            .rng
            .between(self.profile.window.0, self.profile.window.1);
        let room = self.rng.between(window / 4 + 1, window.max(2));
        self.socks.push(Sock::new(home, peer, window, room));
        SockId(self.socks.len() - 1)
    }

    pub(crate) fn latency(&mut self) -> Duration {
        self.rng
            .duration(self.profile.latency.0, self.profile.latency.1)
    }

    pub(crate) fn plan(&mut self, at: Duration, due: Due) {
        self.agenda.plan(at.max(self.now), due);
    }

    pub(crate) fn wake_after(&mut self, pause: Duration, peer: Peer) {
        self.plan(self.now + pause, Due::Wake(peer));
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.agenda.next_at()
    }

    /// Lets the next thing happen if its time has come by `until`; the clock moves with it.
    pub(crate) fn step(&mut self, until: Duration) -> bool {
        let Some((at, due)) = self.agenda.next(until) else {
            return false;
        };
        self.now = self.now.max(at);
        match due {
            Due::Arrive(sock) => self.arrive(sock),
            Due::Space(sock) => self.open_window(sock),
            Due::Connected(sock, backend) => self.finish_connect(sock, backend),
            Due::ConnectFailed(sock, errno) => self.fail_connect(sock, errno),
            Due::Queued(listener, sock) => self.queue(listener, sock),
            Due::Wake(peer) => self.wakes.push_back(peer),
        }
        true
    }

    /// Something happened to a socket: its owner is told.
    pub(crate) fn raise(&mut self, id: SockId) {
        let sock = &self.socks[id.0];
        if sock.closed {
            return;
        }
        match sock.home {
            Home::Proxy(fd) => self.descriptors.queue(fd),
            Home::Script(peer) => self.wakes.push_back(peer),
            Home::Nowhere => {}
        }
    }

    /// All flags of a socket, as they are now.
    pub(crate) fn flags(&self, id: SockId) -> Readiness {
        let sock = &self.socks[id.0];
        if sock.connecting {
            return Readiness::default();
        }
        let roomy = sock.peer.is_none_or(|peer| self.socks[peer.0].is_roomy());
        Readiness {
            readable: !sock.inbox.is_empty() || sock.fin_in || sock.reset,
            writable: roomy || sock.shut || sock.reset,
            read_closed: sock.fin_in || sock.reset,
            urgent: sock.mark.is_some(),
            dead: sock.reset || (sock.fin_in && sock.shut),
        }
    }

    pub(crate) fn read(&mut self, id: SockId, room: &mut [u8]) -> io::Result<usize> {
        let tick = self.tick;
        let sock = &mut self.socks[id.0];
        sock.count_call(tick);
        if sock.connecting {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if sock.inbox.is_empty() {
            return match sock.error {
                _ if sock.fin_in => Ok(0),
                Some(errno) => {
                    sock.error = None;
                    Err(io::Error::from_raw_os_error(errno))
                }
                None if sock.reset => Ok(0),
                None => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let before_mark = sock.mark.filter(|&at| at > 0).unwrap_or(usize::MAX);
        let count = room.len().min(sock.inbox.len()).min(before_mark);
        sock.mark = sock.mark.filter(|&at| at > 0).map(|at| at - count);
        for (to, from) in room.iter_mut().zip(sock.inbox.drain(..count)) {
            *to = from;
        }
        if let Home::Proxy(_) = sock.home {
            let (bytes, _) = sock.charge(tick, count);
            assert!(
                bytes <= TICK_BYTES_MAX,
                "{bytes} bytes read from one socket in one tick"
            );
            sock.read_at = self.now;
            self.progress += 1;
        }
        for _ in 0..std::mem::take(&mut self.socks[id.0].held_back) {
            let at = self.now + self.latency();
            self.plan(at, Due::Arrive(id));
        }
        if let Some(writer) = self.socks[id.0].peer {
            self.watch_window(writer);
        }
        Ok(count)
    }

    /// What a splice brings, into a pipe that has not always room for all of it. It stops before an urgent mark for good.
    pub(crate) fn splice(&mut self, id: SockId, most: usize) -> io::Result<Vec<u8>> {
        if self.pipes_lent == self.profile.pipes {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let sock = &mut self.socks[id.0];
        if sock.mark == Some(0) && !sock.inbox.is_empty() {
            sock.count_call(self.tick);
            return if sock.fin_in {
                Ok(Vec::new())
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        let room = if self.rng.chance(self.profile.short_writes) {
            self.rng.between(1, most)
        } else {
            most
        };
        let mut bytes = vec![0; room];
        let count = self.read(id, &mut bytes)?;
        bytes.truncate(count);
        self.pipes_lent += usize::from(count > 0);
        self.splices += u64::from(count > 0);
        Ok(bytes)
    }

    /// The next byte to this peer's other end is urgent.
    pub(crate) fn mark(&mut self, id: SockId) {
        let peer = self.socks[id.0].peer.expect("it is connected");
        let sock = &mut self.socks[peer.0];
        sock.mark = Some(sock.inbox.len());
        self.raise(peer);
    }

    pub(crate) fn write(&mut self, id: SockId, bytes: &[u8]) -> io::Result<usize> {
        let tick = self.tick;
        let sock = &mut self.socks[id.0];
        sock.count_call(tick);
        let Some(peer) = sock.peer.filter(|_| !sock.connecting) else {
            // An attempt that failed is gone like any other connection.
            return Err(match sock.error.take().or(sock.reset.then_some(EPIPE)) {
                Some(errno) => io::Error::from_raw_os_error(errno),
                None => io::ErrorKind::WouldBlock.into(),
            });
        };
        if sock.error.is_some() || sock.reset || sock.shut {
            let errno = sock.error.take().unwrap_or(EPIPE);
            self.lose(peer, bytes, false);
            return Err(io::Error::from_raw_os_error(errno));
        }
        let free = self.socks[peer.0].free();
        let mut count = free.min(bytes.len());
        if count > 1 && self.rng.chance(self.profile.short_writes) {
            count = self.rng.between(1, count);
        }
        if count < bytes.len() {
            self.socks[id.0].nospace = true;
        }
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.send(peer, &bytes[..count]);
        self.watch_window(id);
        if let Home::Proxy(_) = self.socks[id.0].home {
            self.socks[id.0].written_at = self.now;
            self.progress += 1;
        }
        Ok(count)
    }

    /// Puts bytes on the wire to `to`, cut at random.
    fn send(&mut self, to: SockId, mut bytes: &[u8]) {
        if self.socks[to.0].closed {
            self.lose(to, bytes, true);
        }
        let floor = bytes.len() / 40 + 1;
        while !bytes.is_empty() {
            let most = self.profile.segment.max(floor);
            let least = (most / 4).max(floor).min(most);
            let size = self.rng.between(least, most).min(bytes.len());
            let (now, rest) = bytes.split_at(size);
            self.socks[to.0].wire_bytes += size;
            self.push(to, Segment::Bytes(now.to_vec()));
            bytes = rest;
        }
    }

    fn push(&mut self, to: SockId, segment: Segment) {
        let same_packet = self.rng.chance(300);
        let latency = self.latency();
        let sock = &mut self.socks[to.0];
        let soonest = if same_packet {
            sock.wire_last
        } else {
            self.now + latency
        };
        sock.wire_last = soonest.max(sock.wire_last).max(self.now);
        sock.wire.push_back(segment);
        let at = sock.wire_last;
        self.plan(at, Due::Arrive(to));
    }

    fn arrive(&mut self, id: SockId) {
        let purges = self.profile.purges;
        let sock = &mut self.socks[id.0];
        if sock.is_full() && matches!(sock.wire.front(), Some(Segment::Bytes(_) | Segment::Fin)) {
            // It stays with its sender's kernel.
            sock.held_back += 1;
            return;
        }
        let Some(segment) = sock.wire.pop_front() else {
            return;
        };
        match segment {
            Segment::Bytes(bytes) => {
                sock.wire_bytes -= bytes.len();
                if sock.closed || sock.reset {
                    if !sock.reset {
                        self.send_reset(id);
                    }
                    return;
                }
                sock.arrived += bytes.len();
                sock.arrived_at = self.now;
                if matches!(sock.home, Home::Proxy(_)) && self.rng.chance(self.profile.urgent) {
                    sock.mark = Some(sock.inbox.len() + self.rng.below(bytes.len()));
                }
                sock.inbox.extend(bytes);
            }
            Segment::Fin if sock.reset => return,
            Segment::Fin => sock.fin_in = true,
            Segment::Rst if sock.reset => return,
            Segment::Rst => {
                sock.reset = true;
                // Who has not read all by then may lose it, and is told so whatever came before: never a clean end.
                if purges && matches!(sock.home, Home::Script(_)) && !sock.inbox.is_empty() {
                    sock.inbox.clear();
                    sock.fin_in = false;
                }
                sock.error = Some(if sock.fin_in { EPIPE } else { ECONNRESET });
            }
        }
        self.raise(id);
    }

    /// Sends a reset: what was not sent before it is gone.
    fn send_reset(&mut self, id: SockId) {
        self.socks[id.0].reset = true;
        let Some(peer) = self.socks[id.0].peer else {
            return;
        };
        let sent = self.socks[peer.0].wire.len() - self.socks[peer.0].held_back;
        let keep = self.rng.between(0, sent);
        let gone = bytes_of(&self.socks[peer.0].wire.split_off(keep));
        self.socks[peer.0].wire_bytes -= gone.len();
        // What was under way to a socket when it closed is counted already.
        if !self.socks[peer.0].closed {
            self.lose(peer, &gone, true);
        }
        self.push(peer, Segment::Rst);
    }

    /// Plans the event that tells a writer of an open window, if it waits for one.
    fn watch_window(&mut self, writer: SockId) {
        let Some(peer) = self.socks[writer.0].peer else {
            return;
        };
        let roomy = self.socks[peer.0].is_roomy();
        let sock = &mut self.socks[writer.0];
        if roomy && sock.nospace && !sock.space_due {
            sock.space_due = true;
            let at = self.now + self.latency();
            self.plan(at, Due::Space(writer));
        }
    }

    fn open_window(&mut self, writer: SockId) {
        self.socks[writer.0].space_due = false;
        let roomy = self.socks[writer.0]
            .peer
            .is_none_or(|peer| self.socks[peer.0].is_roomy());
        if roomy && self.socks[writer.0].nospace {
            self.socks[writer.0].nospace = false;
            self.raise(writer);
        }
    }

    pub(crate) fn shut_write(&mut self, id: SockId) -> io::Result<()> {
        let sock = &mut self.socks[id.0];
        let Some(peer) = sock.peer.filter(|_| !sock.reset && !sock.connecting) else {
            return Err(io::Error::from_raw_os_error(ENOTCONN));
        };
        if !std::mem::replace(&mut sock.shut, true) {
            self.push(peer, Segment::Fin);
            self.socks[id.0].shut_at = self.now;
            if let Home::Proxy(_) = self.socks[id.0].home {
                self.raise(id);
            }
        }
        Ok(())
    }

    /// Closes a socket: in order, or with a reset when something was not read or a reset was asked for.
    pub(crate) fn close(&mut self, id: SockId) {
        let sock = &mut self.socks[id.0];
        assert!(!sock.closed, "a socket is closed once");
        sock.closed = true;
        sock.closed_at = self.now;
        if let Home::Proxy(fd) = sock.home {
            self.descriptors.close(fd);
            self.progress += 1;
        }
        let sock = &mut self.socks[id.0];
        let unread: Vec<u8> = sock.inbox.drain(..).collect();
        let coming = bytes_of(&sock.wire);
        let (gone, orderly) = (
            sock.reset || sock.connecting,
            unread.is_empty() && !sock.reset_on_close,
        );
        self.lose(id, &[unread, coming].concat(), true);
        if gone {
            return;
        }
        if orderly {
            let _gone_already = self.shut_write(id);
        } else {
            self.send_reset(id);
        }
    }

    /// Whether the other end shut its side and then waited for so long before it closed.
    pub(crate) fn is_lingered_out(&self, id: SockId, linger: Duration) -> bool {
        self.socks[id.0]
            .peer
            .map(|peer| &self.socks[peer.0])
            .is_some_and(|peer| peer.closed && peer.shut && peer.closed_at >= peer.shut_at + linger)
    }

    /// Whether all that was written to a socket has arrived.
    pub(crate) fn is_delivered(&self, id: SockId) -> bool {
        self.socks[id.0]
            .peer
            .is_none_or(|peer| self.socks[peer.0].wire.is_empty())
    }

    /// How many bytes of what was written to a socket have arrived.
    pub(crate) fn delivered(&self, id: SockId) -> usize {
        self.socks[id.0]
            .peer
            .map_or(0, |peer| self.socks[peer.0].arrived)
    }

    /// A script resets its connection.
    pub(crate) fn reset(&mut self, id: SockId) {
        self.socks[id.0].reset_on_close = true;
        self.close(id);
    }
}
