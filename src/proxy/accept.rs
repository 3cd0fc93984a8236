//! New clients: taken from the listeners in turn, a few in each tick, as long as there is room for them.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use log::info;

use crate::net::stream::{Net, Owner, is_about_one, is_exhausted};

use super::Proxy;
use super::reload::Bound;
use super::session::{Phase, Session};

/// Connections accepted in one tick at most, so that the sessions have their turns.
pub const ACCEPTS_PER_TICK_MAX: usize = 64;
/// How long a listener rests when descriptors have run out, unless one is freed before.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the log says at most that clients have to wait.
const ACCEPT_NOTICE_INTERVAL: Duration = Duration::from_secs(10);

/// What is known of the listeners.
#[derive(Debug)]
pub(super) struct Accepting {
    /// The listeners that are open.
    pub(super) open: Vec<usize>,
    /// By listener: whether connections may be waiting. Never so for one that is closed.
    pub(super) readable: Vec<bool>,
    /// Which of the open ones comes first in this tick.
    first: usize,
    /// Descriptors have run out: no accept before this.
    pub(super) paused_until: Option<Instant>,
    /// When the log said last that clients have to wait.
    noticed: Option<Instant>,
}

impl Accepting {
    /// These are open, of so many that there ever were.
    pub(super) fn new(bound: &[Bound], doors: usize) -> Self {
        let open: Vec<usize> = bound.iter().map(|bound| bound.listener).collect();
        let mut readable = vec![false; doors];
        open.iter().for_each(|&listener| readable[listener] = true);
        Self {
            open,
            readable,
            first: 0,
            paused_until: None,
            noticed: None,
        }
    }
}

impl<N: Net> Proxy<N> {
    /// Takes waiting connections, at most so many, as long as there is room for them. Each listener comes first in turn.
    pub(super) fn accept(&mut self, most: usize) {
        let now = self.shared.now.instant;
        let count = self.accepting.open.len();
        self.accepting.first = (self.accepting.first + 1) % count.max(1);
        let mut left = most;
        for nth in 0..count {
            let listener = self.accepting.open[(self.accepting.first + nth) % count];
            while left > 0 && self.accepting.readable[listener] && self.may_accept(now) {
                left -= 1;
                match self.shared.net.accept(listener) {
                    Ok((stream, addr)) => self.open(stream, addr, listener),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.accepting.readable[listener] = false;
                    }
                    Err(error) if is_about_one(&error) => {}
                    // An idle upstream's descriptor is free now, and the next accept takes it.
                    Err(error) if is_exhausted(&error) && self.shared.idle.drop_one() => {}
                    Err(error) => self.pause_accepting(&error),
                }
            }
        }
        if self.has_waiting_clients()
            && self.sessions.len() >= self.shared.config.limits.sessions_max
        {
            self.notice_waiting("as many as --max-sessions allows are connected");
        }
    }

    /// No connection can be accepted now, and no event will tell when one can.
    pub(super) fn pause_accepting(&mut self, error: &io::Error) {
        self.accepting.paused_until = Some(self.shared.now.instant + ACCEPT_PAUSE);
        self.notice_waiting(&error.to_string());
    }

    fn open(&mut self, stream: N::Stream, addr: SocketAddr, listener: usize) {
        self.accepting.paused_until = None;
        let entry = self.sessions.vacant_entry();
        let key = entry.key();
        self.shared.net.assign(&stream, Owner::Client(key));
        let deadline = self.shared.now.instant + self.shared.config.timeouts.client_idle;
        let number = self.clients;
        let phase = match self.shared.expects_preface(listener, addr) {
            true => Phase::Preface,
            false => Phase::Request,
        };
        entry.insert(Session::new(
            key, number, stream, addr, listener, deadline, phase,
        ));
        self.clients += 1;
        self.keys = self.keys.max(key + 1);
        self.timers.insert(deadline, key);
    }

    /// Whether a connection may be accepted now.
    pub(super) fn may_accept(&self, now: Instant) -> bool {
        self.has_room() && self.accepting.paused_until.is_none_or(|until| until <= now)
    }

    /// Whether clients may be waiting that the session limit has room for.
    pub(super) fn has_room(&self) -> bool {
        self.has_waiting_clients() && self.sessions.len() < self.shared.config.limits.sessions_max
    }

    pub(super) fn has_waiting_clients(&self) -> bool {
        self.accepting.readable.contains(&true)
    }

    /// Tells the operator now and then that new clients have to wait. At info: clients can bring it about.
    fn notice_waiting(&mut self, why: &str) {
        let now = self.shared.now.instant;
        if self
            .accepting
            .noticed
            .is_none_or(|at| now >= at + ACCEPT_NOTICE_INTERVAL)
        {
            self.accepting.noticed = Some(now);
            info!(
                "new clients wait: {why} ({} connected)",
                self.sessions.len()
            );
        }
    }
}
