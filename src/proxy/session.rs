//! One client connection: its phase, its deadline, its transitions.
//!
//! ```text
//!            head complete            connected
//!  Request ────────────────► Connect ───────────► Exchange ──101──► Tunnel ──► Closed
//!   ▲  │  └── idle upstream ─────────────────────►    │
//!   │  │                        │ failed             │ done, client kept
//!   │  └──── refused ───► Reply ◄┴──── failed ───────┤
//!   │                       │                        │
//!   └──── client kept ──────┴────────────────────────┘      otherwise ──► Linger ──► Closed
//! ```
//!
//! Each phase has one function that takes it by value and returns the next. What a phase owned and did not hand on is
//! dropped, and its socket closes: there is no clean-up path to forget.
//!
//! What only a session with an upstream needs is not in the session but in a box, which the phases hand on: a client that
//! waits is small, and no step of a busy one moves more than a pointer. An upstream that is kept stays in its box, ready for
//! the next exchange, so that a request on a kept upstream allocates nothing.
//!
//! This file holds the turn and the deadline. The phases stand in `request.rs` (and `preface.rs`, before the first one),
//! `connect.rs` (a backend for it; `hold.rs` while none is live), `exchange.rs`, `tunnel.rs` and `answer.rs` (replies of our own,
//! lingering).

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::debug;

use crate::config::Pool;
use crate::http::head;
use crate::net::conn::Conn;
use crate::net::stream::{Net, Owner, Readiness, Stream};

use super::answer::Next;
use super::connect::Connect;
use super::exchange::Exchange;
use super::failure::Failure;
use super::hold::Held;
use super::progress::{FIRST_LOOK, Look};
use super::reload::Door;
use super::shared::Shared;
use super::timers::Timer;
use super::tunnel::Tunnel;

/// Bytes that a session moves in one turn, after which others have theirs; the read that goes beyond is not cut.
pub const TURN_BYTES_MAX: usize = 64 * 1024;
/// How long a client that was just served may still send its next request when we are told to stop.
pub const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// One client connection.
#[derive(Debug)]
pub(crate) struct Session<S> {
    /// Where it is to be found; not for long ([`super::shrink`]).
    pub(super) key: usize,
    /// Which client it is since the start. Its name in the log.
    pub(super) number: u64,
    pub(super) client: Conn<S>,
    pub(super) addr: SocketAddr,
    pub(super) listener: usize,
    /// The pool that serves its request, or served its last one: whose timers hold.
    pub(super) pool: Option<Arc<Pool>>,
    pub(super) phase: Phase<S>,
    timer: Timer,
    pub(super) deadline: Instant,
    /// The last look at the peer in this wait.
    pub(super) look: Option<Look>,
    /// Whether the session waits for its turn.
    pub(super) queued: bool,
    /// Storage in use after the last turn, in bytes.
    pub(super) held: usize,
}

/// Where the session is. An upstream exists exactly in the phases that carry one.
#[derive(Debug)]
pub(super) enum Phase<S> {
    /// Waiting for a PROXY protocol header.
    Preface,
    /// Waiting for a request, or for the rest of its head.
    Request,
    /// The request waits until a backend of its pool is live.
    Hold(Box<Held>),
    /// A connection attempt is under way; the rewritten head already waits.
    Connect(Connect<S>),
    /// Bytes flow both ways.
    Exchange(Box<Exchange<S>>),
    /// After 101 both sides are opaque.
    Tunnel(Box<Tunnel<S>>),
    /// A reply of our own is on its way out, or responses that were held back for a request that did not follow.
    Reply(Next),
    /// Our sending side is shut; what the client still sends is thrown away, so many bytes at most.
    Linger(usize),
    /// Over.
    Closed,
}

/// One session, as it stands between two ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Which client it is since the start.
    pub number: u64,
    /// Its key in this tick: the one in [`Owner::Client`].
    pub key: usize,
    /// The phase that it is in.
    pub doing: Doing,
    /// When it is looked at even if nothing happens.
    pub due: Instant,
    /// Storage that it holds because bytes wait, in bytes.
    pub held_bytes: usize,
}

/// The phases of a session by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doing {
    /// It waits for a PROXY protocol header.
    Preface,
    /// It waits for a request, or for the rest of its head.
    Request,
    /// Its request waits until a backend is live.
    Hold,
    /// It waits for a connection to a backend.
    Connect,
    /// A request and its response pass.
    Exchange,
    /// After a 101.
    Tunnel,
    /// A reply of our own is on its way out, or what was held back of earlier responses.
    Reply,
    /// It throws away what still comes, so that the last reply is not lost.
    Linger,
    /// It is over; seen by nobody, for it is gone at the end of that turn.
    Closed,
}

/// What a phase comes to in a turn.
#[derive(Debug)]
pub(super) enum Step<S> {
    /// Go on with that phase at once.
    Moved(Phase<S>),
    /// Nothing more can be done before an event or a deadline.
    Stuck(Phase<S>),
    /// The turn's budget is spent: go on in the next.
    Spent(Phase<S>),
}

/// What a turn comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The session sleeps.
    Rest,
    /// The session wants another turn.
    Again,
    /// The session is over.
    Over,
}

impl<S: Stream> Session<S> {
    /// A client that was just accepted.
    pub(super) fn new(
        key: usize,
        number: u64,
        stream: S,
        addr: SocketAddr,
        listener: usize,
        deadline: Instant,
        phase: Phase<S>,
    ) -> Self {
        Self {
            key,
            number,
            client: Conn::new(stream),
            addr,
            listener,
            pool: None,
            phase,
            timer: Timer::ClientIdle,
            deadline,
            look: None,
            queued: false,
            held: 0,
        }
    }

    /// When the session must be looked at even if nothing happens.
    pub(super) fn due(&self) -> Instant {
        match &self.phase {
            Phase::Exchange(exchange) => exchange.pace.due(self.deadline),
            Phase::Preface
            | Phase::Request
            | Phase::Hold(_)
            | Phase::Connect(_)
            | Phase::Tunnel(_)
            | Phase::Reply(_)
            | Phase::Linger(_)
            | Phase::Closed => self.deadline,
        }
    }

    /// An event came for the client's socket.
    pub(super) fn hint_client(&mut self, hint: Readiness) {
        self.client.hint(hint);
    }

    /// An event came for the upstream's socket.
    pub(super) fn hint_upstream(&mut self, hint: Readiness) {
        match &mut self.phase {
            Phase::Connect(connect) => connect.upstream_mut().hint(hint),
            Phase::Exchange(exchange) => exchange.upstream.hint(hint),
            Phase::Tunnel(tunnel) => tunnel.upstream.hint(hint),
            Phase::Preface
            | Phase::Request
            | Phase::Hold(_)
            | Phase::Reply(_)
            | Phase::Linger(_)
            | Phase::Closed => {}
        }
    }

    /// One bounded run: as far as sockets, bytes and the budget allow.
    pub(super) fn turn<N: Net<Stream = S>>(&mut self, cx: &mut Shared<N>) -> Turn {
        cx.budget = TURN_BYTES_MAX;
        loop {
            let step = match mem::replace(&mut self.phase, Phase::Closed) {
                Phase::Preface => self.preface(cx),
                Phase::Request => self.request(cx),
                Phase::Hold(held) => self.hold(held, cx),
                Phase::Connect(connect) => self.connect(connect, cx),
                Phase::Exchange(exchange) => self.exchange(exchange, cx),
                Phase::Tunnel(tunnel) => self.tunnel(tunnel, cx),
                Phase::Reply(next) => self.reply(next, cx),
                Phase::Linger(left) => self.linger(left, cx),
                Phase::Closed => return Turn::Over,
            };
            match step {
                Step::Moved(phase) => self.phase = phase,
                Step::Stuck(phase) => {
                    self.phase = phase;
                    let again = self.client.holds_back() && self.client.end_turn(&mut cx.buffers);
                    return if again { Turn::Again } else { Turn::Rest };
                }
                Step::Spent(phase) => {
                    self.phase = phase;
                    return Turn::Again;
                }
            }
        }
    }

    /// The deadline, or the moment to judge the client's rate, has come.
    pub(super) fn expire<N: Net<Stream = S>>(&mut self, cx: &mut Shared<N>) -> Turn {
        if self.deadline <= cx.now.instant && self.waits_on(cx) {
            return Turn::Rest;
        }
        let failure = if self.deadline <= cx.now.instant {
            Some(self.timer.failure())
        } else {
            None
        };
        let step = match (mem::replace(&mut self.phase, Phase::Closed), failure) {
            (Phase::Exchange(exchange), None) => self.judge_pace(exchange, cx),
            (Phase::Hold(held), _) => self.hold(held, cx),
            (phase, None) => Step::Stuck(phase),
            (Phase::Exchange(exchange), Some(failure)) => {
                self.exchange_failed(exchange, failure, cx)
            }
            (Phase::Connect(connect), Some(failure)) => self.connect_failed(connect, failure, cx),
            (Phase::Request, Some(Failure::HeadTimeout)) => {
                let head_only = head::asks_for_head_only(self.client.input());
                self.refuse(Failure::HeadTimeout, head_only, cx)
            }
            (phase, Some(failure)) => {
                self.note(cx.meet(failure).reason);
                self.give_up(phase);
                Step::Stuck(Phase::Closed)
            }
        };
        let (Step::Moved(phase) | Step::Stuck(phase) | Step::Spent(phase)) = step;
        self.phase = phase;
        self.turn(cx)
    }

    /// We were told to stop: a client that waits for nothing has only a moment left. Looks once more whether it has asked
    /// for something in the meantime.
    pub(super) fn drain<N: Net<Stream = S>>(&mut self, cx: &Shared<N>) {
        if matches!(self.phase, Phase::Preface | Phase::Request) && self.timer == Timer::ClientIdle
        {
            let idle_since = self
                .deadline
                .checked_sub(cx.config.timeouts.client_idle)
                // A reload may have made that time shorter since.
                .map_or(cx.now.instant, |since| since.min(cx.now.instant));
            self.deadline = self
                .deadline
                .min((idle_since + DRAIN_GRACE).max(cx.now.instant));
            self.client.hint(Readiness {
                readable: true,
                ..Readiness::default()
            });
        }
    }

    /// The time to stop is over. Says whether anything was under way.
    pub(super) fn cut_short<N: Net>(&mut self, cx: &mut Shared<N>) -> bool {
        self.note(cx.meet(Failure::DrainTimeout).reason);
        let phase = mem::replace(&mut self.phase, Phase::Closed);
        self.give_up(phase)
    }

    /// Ends a phase by force: sees to it that nobody takes what there is of a message or a tunnel for the whole. Says whether
    /// anything was under way.
    fn give_up(&mut self, phase: Phase<S>) -> bool {
        match phase {
            Phase::Request => self.has_begun(),
            Phase::Exchange(mut exchange) => {
                self.abort(&mut exchange);
                true
            }
            Phase::Tunnel(mut tunnel) => {
                self.break_off(&mut tunnel);
                true
            }
            Phase::Hold(_) | Phase::Connect(_) | Phase::Reply(_) => true,
            Phase::Preface | Phase::Linger(_) | Phase::Closed => false,
        }
    }

    /// What the session does, for whoever asks.
    pub(super) fn glance(&self) -> Glance {
        let doing = match self.phase {
            Phase::Preface => Doing::Preface,
            Phase::Request => Doing::Request,
            Phase::Hold(_) => Doing::Hold,
            Phase::Connect(_) => Doing::Connect,
            Phase::Exchange(_) => Doing::Exchange,
            Phase::Tunnel(_) => Doing::Tunnel,
            Phase::Reply(_) => Doing::Reply,
            Phase::Linger(_) => Doing::Linger,
            Phase::Closed => Doing::Closed,
        };
        Glance {
            number: self.number,
            key: self.key,
            doing,
            due: self.due(),
            held_bytes: self.held,
        }
    }

    /// Lets go of the pool of its last request, if no other one is under way: clients that stay would keep many a configuration
    /// that is over.
    pub(super) fn forget_pool(&mut self) {
        if matches!(
            self.phase,
            Phase::Preface | Phase::Request | Phase::Linger(_)
        ) {
            self.pool = None;
        }
    }

    /// Whether nothing may follow on the client's connection: we were told to stop, or its listener is closed, so that a client
    /// that stays busy would be served for ever by routes that are for others.
    pub(super) fn must_close<N: Net>(&self, cx: &Shared<N>) -> bool {
        let door = cx.doors.get(self.listener).and_then(Option::as_ref);
        cx.draining || door.is_none_or(Door::is_closed)
    }

    /// Whether its request waits for a backend.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Hold(_))
    }

    /// Whether it holds a connection to a backend.
    pub(super) fn has_upstream(&self) -> bool {
        matches!(
            self.phase,
            Phase::Connect(_) | Phase::Exchange(_) | Phase::Tunnel(_)
        )
    }

    /// Tells the network whose its sockets are.
    pub(super) fn assign<N: Net<Stream = S>>(&self, net: &mut N) {
        net.assign(self.client.stream(), Owner::Client(self.key));
        let upstream = match &self.phase {
            Phase::Connect(connect) => connect.upstream(),
            Phase::Exchange(exchange) => &exchange.upstream,
            Phase::Tunnel(tunnel) => &tunnel.upstream,
            Phase::Preface
            | Phase::Request
            | Phase::Hold(_)
            | Phase::Reply(_)
            | Phase::Linger(_)
            | Phase::Closed => return,
        };
        net.assign(upstream.stream(), Owner::Upstream(self.key));
    }

    /// Storage in use, in bytes.
    pub(super) fn storage(&self) -> usize {
        let upstream = match &self.phase {
            Phase::Connect(connect) => connect.upstream().held(),
            Phase::Exchange(exchange) => exchange.upstream.held(),
            Phase::Tunnel(tunnel) => tunnel.upstream.held(),
            Phase::Hold(held) => held.storage(),
            Phase::Preface
            | Phase::Request
            | Phase::Reply(_)
            | Phase::Linger(_)
            | Phase::Closed => 0,
        };
        self.client.held() + upstream
    }

    /// Waits for `timer`; progress, or another timer, sets the deadline anew.
    pub(super) fn wait_for<N: Net>(&mut self, timer: Timer, progress: bool, cx: &Shared<N>) {
        if self.timer != timer || progress {
            self.timer = timer;
            self.look = None;
            let part = if timer.has_looks() { FIRST_LOOK } else { 1 };
            self.deadline = cx.now.instant + self.duration(timer, cx) / part;
        }
    }

    /// How long `timer` is.
    pub(super) fn duration<N: Net>(&self, timer: Timer, cx: &Shared<N>) -> Duration {
        let ours = &cx.config.timeouts;
        let pools = self.pool.as_ref().map_or(ours, |pool| &pool.timeouts);
        timer.duration(ours, pools)
    }

    /// What the session waits for.
    pub(super) fn timer(&self) -> Timer {
        self.timer
    }

    /// What became of the session, for whoever reads debug lines.
    pub(super) fn note(&self, word: &str) {
        debug!("s{} {} {word}", self.number, self.addr);
    }
}
