//! The sessions: the whole proxy, generic over the network.
//!
//! One tick: events come in as hints ([`Proxy::notify`] sets flags and queues, nothing else), then [`Proxy::tick`] drops
//! idle upstreams that spoke, accepts, gives each queued session one bounded turn, and looks at the deadlines that have
//! come. No session runs or dies between two events of a batch, so a stale event cannot harm: every key, event and timer
//! is a hint to look, and looking is always safe.
//!
//! Reading order: `accept` (new clients), `session` (one client connection, its phases and its turn), `connect` (a backend for a request),
//! `exchange` (one request and its response), `download` (the response), `pump` (bytes from one connection to another),
//! `pace` (how fast a client must be), `progress` (what a peer takes unseen), `tunnel` (after a 101), `answer` (replies of
//! our own), [`failure`] (the one table), `idle` (upstreams waiting for reuse), `timers` (one reminder per session), `reload` (another configuration),
//! `shared` (what is lent for a turn), `shrink` (room that is given back).

mod accept;
mod answer;
mod choose;
mod connect;
mod download;
mod exchange;
pub mod failure;
mod hold;
mod idle;
mod pace;
mod preface;
mod progress;
mod pump;
mod reload;
mod request;
mod session;
mod shared;
mod shrink;
mod timers;
mod tunnel;

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::net::buffer::{Buffers, OWN_MEMORY_BYTES};
use crate::net::stream::{Net, Owner, Readiness};

pub use self::accept::{ACCEPT_PAUSE, ACCEPTS_PER_TICK_MAX};
pub use self::choose::{Choice, Splits, choose};
pub use self::download::INTERIM_MAX;
pub use self::idle::UPSTREAMS_KEPT;
pub use self::pace::RATE_WINDOW;
pub use self::reload::{Bound, Setup};
pub use self::session::{DRAIN_GRACE, Doing, Glance, TURN_BYTES_MAX};
pub use self::shared::Now;
pub use self::shrink::SESSIONS_KEPT;

use self::accept::Accepting;
use self::failure::Failure;
use self::session::{Session, Turn};
use self::shared::Shared;
use self::timers::Timers;

/// The proxy: every session, and what they share.
#[derive(Debug)]
pub struct Proxy<N: Net> {
    sessions: Slab<Session<N::Stream>>,
    /// All keys of sessions are below this; there is room for so many.
    keys: usize,
    /// Clients accepted since the start.
    clients: u64,
    ready: VecDeque<usize>,
    timers: Timers,
    accepting: Accepting,
    shared: Shared<N>,
    /// Storage in use by all sessions, in bytes.
    held: usize,
    /// When what still runs is cut short; `None` until we are told to stop.
    drain_deadline: Option<Instant>,
    cut_short: usize,
}

/// How much of everything there is. For checks and for whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Clients connected.
    pub sessions: usize,
    /// Reminders; always as many as sessions.
    pub reminders: usize,
    /// Upstreams waiting for reuse.
    pub idle_upstreams: usize,
    /// Storage that sessions hold because bytes wait, in bytes.
    pub held_bytes: usize,
    /// Storage that idle upstreams hold, in bytes; nothing waits there, so it is always 0.
    pub idle_bytes: usize,
    /// Storage that is kept for what may come, in bytes: room for sessions and idle upstreams, and free buffers.
    pub kept_bytes: usize,
    /// Backends that are live.
    pub live_backends: usize,
    /// Sessions that the end of the drain cut short.
    pub cut_short: usize,
}

impl<N: Net> Proxy<N> {
    /// A proxy without sessions. `bound` says of each listener of the configuration where it is, in their order.
    pub fn new(net: N, setup: Setup, bound: &[Bound], now: Now) -> Self {
        let shared = Shared::new(net, setup, bound, now);
        Self {
            sessions: Slab::with_capacity(
                OWN_MEMORY_BYTES.div_ceil(size_of::<Session<N::Stream>>()),
            ),
            keys: 0,
            clients: 0,
            ready: VecDeque::new(),
            timers: Timers::new(),
            accepting: Accepting::new(bound, shared.doors.len()),
            shared,
            held: 0,
            drain_deadline: None,
            cut_short: 0,
        }
    }

    /// The network.
    pub fn net(&mut self) -> &mut N {
        &mut self.shared.net
    }

    /// An event came. Sets flags and queues, nothing else.
    pub fn notify(&mut self, owner: Owner, hint: Readiness) {
        let key = match owner {
            Owner::Listener(listener) => {
                // The event may be older than the close.
                if self.accepting.open.contains(&listener) {
                    self.accepting.readable[listener] = true;
                }
                return;
            }
            Owner::Idle(key) => return self.shared.idle.notify(key, hint),
            Owner::Client(key) | Owner::Upstream(key) => key,
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        match owner {
            Owner::Client(_) => session.hint_client(hint),
            _ => session.hint_upstream(hint),
        }
        enqueue(&mut self.ready, session);
    }

    /// One round: whatever the events since the last one made possible, and the deadlines that have come.
    pub fn tick(&mut self, now: Now) {
        self.shared.now = now;
        self.shared.idle.drop_spoken();
        self.accept(ACCEPTS_PER_TICK_MAX);
        for _ in 0..self.ready.len() {
            if let Some(key) = self.ready.pop_front() {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.queued = false;
                }
                self.run(key, Session::turn);
            }
        }
        self.expire();
        if mem::take(&mut self.shared.wakes_held) {
            self.wake_held();
        }
        self.shared.buffers.review(now.instant);
        if self.has_vacant_room() {
            self.shrink();
        }
        assert!(
            self.timers.len() == self.sessions.len(),
            "every session has its reminder"
        );
    }

    /// How long the loop may sleep: not at all while a session wants a turn, `None` when nothing will come by itself.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        if !self.ready.is_empty() || self.may_accept(now) || self.has_vacant_room() {
            return Some(Duration::ZERO);
        }
        let pause = self.accepting.paused_until.filter(|_| self.has_room());
        [
            self.timers.next(),
            self.shared.idle.next(),
            self.shared.buffers.next(),
            pause,
            self.drain_deadline,
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|at| at.saturating_duration_since(now))
    }

    /// Stops accepting, lets go of idle clients, and finishes the rest within the configured time.
    pub fn drain(&mut self, now: Now) {
        let deadline = now.instant + self.shared.config.timeouts.drain;
        if let Some(present) = &mut self.drain_deadline {
            *present = deadline.min(*present);
            return;
        }
        self.shared.now = now;
        // Told of or not.
        for &listener in &self.accepting.open {
            self.accepting.readable[listener] = true;
        }
        self.accept(usize::MAX);
        self.finish_before(deadline);
    }

    /// As [`drain`](Self::drain), within the time for that, where another process accepts from the same sockets: who has
    /// knocked is left to that one.
    pub fn hand_over(&mut self, now: Now) {
        if self.drain_deadline.is_none() {
            self.shared.now = now;
            self.finish_before(now.instant + self.shared.config.timeouts.hand_over);
        }
    }

    fn finish_before(&mut self, deadline: Instant) {
        for listener in self.accepting.open.drain(..) {
            self.shared.net.close_listener(listener);
        }
        self.accepting.readable.fill(false);
        self.shared.draining = true;
        self.shared.idle.clear();
        self.drain_deadline = Some(deadline);
        for (key, session) in &mut self.sessions {
            session.drain(&self.shared);
            self.timers.hasten(key, session.due());
            enqueue(&mut self.ready, session);
        }
    }

    /// Whether we were told to stop.
    pub fn is_draining(&self) -> bool {
        self.drain_deadline.is_some()
    }

    /// Whether we were told to stop, and have.
    pub fn is_finished(&self) -> bool {
        self.drain_deadline.is_some() && self.sessions.is_empty()
    }

    /// Ends every session at once.
    pub fn cut_short(&mut self) {
        let keys: Vec<usize> = self.sessions.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.cut_short += usize::from(self.sessions[key].cut_short(&mut self.shared));
            self.run(key, |_, _| Turn::Over);
        }
    }

    /// How much of everything there is.
    pub fn counts(&self) -> Counts {
        Counts {
            sessions: self.sessions.len(),
            reminders: self.timers.len(),
            idle_upstreams: self.shared.idle.len(),
            held_bytes: self.held,
            idle_bytes: self.shared.idle.held(),
            kept_bytes: self.kept(),
            live_backends: self.shared.balance.live(),
            cut_short: self.cut_short,
        }
    }

    /// Every session, as it stands.
    pub fn sessions(&self) -> impl Iterator<Item = Glance> {
        self.sessions.iter().map(|(_, session)| session.glance())
    }

    /// What went wrong since the start, and how often; also what a second try made good.
    pub fn failures(&self) -> &[(Failure, u64)] {
        self.shared.tally.met()
    }

    /// One session runs; afterwards its reminder, its storage and its place in the queue are put right.
    fn run(
        &mut self,
        key: usize,
        act: impl FnOnce(&mut Session<N::Stream>, &mut Shared<N>) -> Turn,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        self.shared.read_bytes_max = Buffers::read_bytes_max(self.held);
        let had_upstream = self.accepting.paused_until.is_some() && session.has_upstream();
        let turn = act(session, &mut self.shared);
        if had_upstream && !session.has_upstream() {
            // A descriptor is free again, or idle and as good as free.
            self.accepting.paused_until = None;
        }
        let storage = session.storage();
        self.held = self.held - session.held + storage;
        session.held = storage;
        match turn {
            Turn::Over => {
                self.held -= session.held;
                self.timers.remove(key);
                self.sessions.remove(key);
                // A descriptor is free again.
                self.accepting.paused_until = None;
                return;
            }
            Turn::Again => enqueue(&mut self.ready, session),
            Turn::Rest => {}
        }
        self.timers.hasten(key, session.due());
    }

    /// Looks at every session whose reminder has come, once.
    fn expire(&mut self) {
        let now = self.shared.now.instant;
        self.shared.idle.expire(now);
        if self.drain_deadline.is_some_and(|deadline| deadline <= now) {
            self.cut_short();
        }
        while let Some(key) = self.timers.first_due(now) {
            let due = self.sessions[key].due();
            if due > now {
                self.timers.renew(key, due);
            } else {
                self.run(key, Session::expire);
            }
        }
    }

    /// Requests that are held look again whether there is a backend.
    fn wake_held(&mut self) {
        for (_, session) in &mut self.sessions {
            if session.is_held() {
                enqueue(&mut self.ready, session);
            }
        }
    }
}

/// The session wants a turn.
fn enqueue<S>(ready: &mut VecDeque<usize>, session: &mut Session<S>) {
    if !mem::replace(&mut session.queued, true) {
        ready.push_back(session.key);
    }
}
