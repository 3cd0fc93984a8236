//! Whether a peer takes what the kernel holds for it, although the kernel takes no more from us.
//!
//! The kernel takes bytes ahead of the peer, and again only when there is much room: a slow peer shows its progress to us in
//! steps of 128 KiB (an upstream, or a client that took megabytes before, of up to a megabyte or more), which may take longer
//! than a body timer. What the peer has acknowledged tells sooner, but has to be asked for. So it is first asked for when a
//! quarter of a wait is over; a peer that has acknowledged nothing in the rest of it has had its time, and any other has
//! another wait. Where the kernel does not tell, the steps count alone.

use std::time::Instant;

use crate::net::stream::{Net, Stream};

use super::pace::RATE_WINDOW;
use super::session::{Phase, Session};
use super::shared::Shared;
use super::timers::Timer;

/// The part of a wait after which the first look is taken.
pub(super) const FIRST_LOOK: u32 = 4;

/// The last look at a peer that is waited for: what it had acknowledged, if the kernel told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look(Option<u64>);

/// How much a client had acknowledged at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    at: Instant,
    bytes: u64,
}

/// How many bytes the kernels have taken in a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    /// For the backend.
    pub(super) up: u64,
    /// For the client.
    pub(super) down: u64,
}

impl Moved {
    /// What counts as progress while `timer` is what is waited for: what goes the other way does not, or whoever sends a
    /// trickle need never take anything.
    pub(super) fn for_the_sake_of(self, timer: Timer) -> u64 {
        match timer {
            Timer::RequestBody | Timer::UpstreamWrite => self.up,
            Timer::ClientIdle | Timer::Head | Timer::Hold | Timer::Connect | Timer::Linger => 0,
            Timer::Response | Timer::Continue | Timer::ResponseBody | Timer::ClientWrite => {
                self.down
            }
            Timer::Tunnel => self.up + self.down,
        }
    }
}

impl<S: Stream> Session<S> {
    /// The deadline has come: whether it was for a first look only, or the peer goes on. If so, there is a new one.
    pub(super) fn waits_on<N: Net<Stream = S>>(&mut self, cx: &Shared<N>) -> bool {
        let timer = self.timer();
        if !timer.has_looks() {
            return false;
        }
        let acknowledged = match (&self.phase, timer) {
            (Phase::Exchange(exchange), Timer::UpstreamWrite) => exchange.upstream.acknowledged(),
            (Phase::Exchange(_) | Phase::Reply(_), Timer::ClientWrite) => {
                self.client.acknowledged()
            }
            _ => None,
        };
        let wait = self.duration(timer, cx);
        let least = match self.phase {
            // Short as it is, much may wait in the kernel before it; and here nobody judges the pace.
            Phase::Reply(_) => {
                let seconds = (wait - wait / FIRST_LOOK).as_secs();
                cx.config
                    .limits
                    .body_rate_min
                    .saturating_mul(seconds)
                    .max(1)
            }
            _ => 1,
        };
        self.deadline = match self.look {
            // However late the look is, the wait is over when it would have been without.
            None => self.deadline + (wait - wait / FIRST_LOOK),
            Some(Look(Some(before)))
                if acknowledged.is_some_and(|now| now >= before.saturating_add(least)) =>
            {
                self.watch_unseen(Acknowledged::now(acknowledged, cx), cx);
                cx.now.instant + wait
            }
            Some(Look(_)) => return false,
        };
        self.look = Some(Look(acknowledged));
        true
    }

    /// A client goes on: from now on it does so at a pace, although nothing moves.
    fn watch_unseen<N: Net>(&mut self, acknowledged: Option<Acknowledged>, cx: &Shared<N>) {
        let watched = self.timer() == Timer::ClientWrite && cx.config.limits.body_rate_min > 0;
        if let Phase::Exchange(exchange) = &mut self.phase
            && watched
            && exchange.pace.check.is_none()
        {
            let pace = &mut exchange.pace;
            pace.check = Some(cx.now.instant + RATE_WINDOW);
            pace.bytes = 0;
            pace.acknowledged = pace.acknowledged.or(acknowledged);
        }
    }

    /// Whether a client that took little in a window has acknowledged enough since the last one.
    pub(super) fn keeps_pace<N: Net<Stream = S>>(
        &self,
        last: &mut Option<Acknowledged>,
        cx: &Shared<N>,
    ) -> bool {
        if self.timer() != Timer::ClientWrite {
            return false;
        }
        let now = Acknowledged::now(self.client.acknowledged(), cx);
        let before = std::mem::replace(last, now);
        matches!((before, now), (Some(before), Some(now)) if now.keeps(before, cx.config.limits.body_rate_min))
    }
}

impl Acknowledged {
    fn now<N: Net>(bytes: Option<u64>, cx: &Shared<N>) -> Option<Self> {
        let at = cx.now.instant;
        bytes.map(|bytes| Self { at, bytes })
    }

    /// Whether it is so many bytes per second more than `before`.
    fn keeps(self, before: Self, rate: u64) -> bool {
        let seconds = self.at.saturating_duration_since(before.at).as_secs();
        self.bytes.saturating_sub(before.bytes) >= rate.saturating_mul(seconds)
    }
}
