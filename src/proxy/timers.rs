//! What a session's deadline is for, and one reminder per session.
//!
//! A session's deadline moves later far more often than it comes: then its reminder is left alone, comes up early and is
//! renewed. Only a deadline that moves earlier replaces it. Architecture invariant: as many reminders as sessions.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::config::Timeouts;

use super::failure::Failure;

/// The reminders of all sessions, in order of time.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    reminders: BTreeSet<(Instant, usize)>,
}

impl Timers {
    /// Reminds of a new session.
    pub(crate) fn insert(&mut self, at: Instant, key: usize) {
        let new = self.reminders.insert((at, key));
        assert!(new, "a session has one reminder");
    }

    /// The deadline of a session whose reminder is at `reminder` is now `deadline`; gives the reminder's time.
    pub(crate) fn update(&mut self, reminder: Instant, deadline: Instant, key: usize) -> Instant {
        if deadline >= reminder {
            return reminder;
        }
        self.remove(reminder, key);
        self.insert(deadline, key);
        deadline
    }

    /// The session is gone.
    pub(crate) fn remove(&mut self, reminder: Instant, key: usize) {
        let there = self.reminders.remove(&(reminder, key));
        assert!(there, "a session has its reminder");
    }

    /// The first session whose reminder has come. It must be [`removed`](Self::remove) or renewed by the caller.
    pub(crate) fn first_due(&self, now: Instant) -> Option<usize> {
        self.reminders
            .first()
            .filter(|(at, _)| *at <= now)
            .map(|&(_, key)| key)
    }

    /// When the next reminder comes.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.reminders.first().map(|&(at, _)| at)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.reminders.len()
    }
}

/// What the session's deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    ClientIdle,
    Head,
    Connect,
    RequestBody,
    UpstreamWrite,
    Response,
    Continue,
    ResponseBody,
    ClientWrite,
    Tunnel,
    Linger,
}

impl Timer {
    pub(super) fn duration(self, timeouts: &Timeouts) -> Duration {
        match self {
            Self::ClientIdle => timeouts.client_idle,
            Self::Head => timeouts.head,
            Self::Connect => timeouts.connect,
            Self::RequestBody | Self::UpstreamWrite | Self::ResponseBody | Self::ClientWrite => {
                timeouts.body
            }
            Self::Response | Self::Continue => timeouts.response,
            Self::Tunnel => timeouts.tunnel,
            Self::Linger => timeouts.linger,
        }
    }

    /// Whether it is looked whether the peer goes on after all.
    pub(super) fn has_looks(self) -> bool {
        matches!(self, Self::UpstreamWrite | Self::ClientWrite)
    }

    /// What it means that the deadline has come.
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::ClientIdle | Self::Linger => Failure::ClientIdle,
            Self::Head => Failure::HeadTimeout,
            Self::Connect => Failure::ConnectTimeout,
            Self::RequestBody => Failure::RequestBodyTimeout,
            Self::UpstreamWrite => Failure::UpstreamWriteTimeout,
            Self::Response => Failure::ResponseTimeout,
            Self::Continue => Failure::ContinueTimeout,
            Self::ResponseBody => Failure::ResponseBodyTimeout,
            Self::ClientWrite => Failure::ClientWriteTimeout,
            Self::Tunnel => Failure::TunnelIdle,
        }
    }

    /// What it means that less than the least allowed went on; `None` where no rate is asked for.
    pub(super) fn slow_failure(self) -> Option<Failure> {
        match self {
            Self::RequestBody => Some(Failure::RequestBodySlow),
            Self::ClientWrite => Some(Failure::ClientWriteSlow),
            _ => None,
        }
    }
}
