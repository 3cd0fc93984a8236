//! How fast a client sends or takes a body, while it is the client that is waited for.
//!
//! The body timers end a client that does nothing; the pace ends one that does next to nothing, to hold a session for as
//! long as it likes. A window begins with the first byte that moves: silence is the body timer's business. One slow
//! window is forgiven, for a client may pause; two without a good one between are not.

use std::time::{Duration, Instant};

use crate::net::stream::{Net, Stream};

use super::exchange::Exchange;
use super::progress::Acknowledged;
use super::session::{Phase, Session, Step};
use super::shared::Shared;
use super::timers::Timer;

/// How long a client is watched before it is judged.
pub const RATE_WINDOW: Duration = Duration::from_secs(30);
/// Slow windows that end an exchange.
const SLOW_WINDOWS_MAX: u8 = 2;

/// What is known of a client's pace.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Bytes that moved in this window.
    pub(super) bytes: u64,
    /// Slow windows since the last good one.
    slow: u8,
    /// When the window is over, while it is the client that is waited for.
    pub(super) check: Option<Instant>,
    /// What the client had acknowledged when its rate was last found low.
    pub(super) acknowledged: Option<Acknowledged>,
}

impl Pace {
    /// When the exchange must be looked at, if its deadline is this.
    pub(super) fn due(&self, deadline: Instant) -> Instant {
        self.check.map_or(deadline, |check| check.min(deadline))
    }
}

impl<S: Stream> Session<S> {
    /// So many bytes moved, and `timer` is what is waited for now.
    pub(super) fn watch_pace<N: Net>(
        &mut self,
        pace: &mut Pace,
        timer: Timer,
        moved: u64,
        cx: &Shared<N>,
    ) {
        let watched = timer.slow_failure().is_some() && cx.config.limits.body_rate_min > 0;
        if !watched || self.timer() != timer {
            *pace = Pace::default();
        } else if pace.check.is_some() {
            pace.bytes += moved;
        } else if moved > 0 {
            pace.check = Some(cx.now.instant + RATE_WINDOW);
            pace.bytes = moved;
        }
    }

    /// The window is over.
    pub(super) fn judge_pace<N: Net<Stream = S>>(
        &mut self,
        mut exchange: Box<Exchange<S>>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        let least = cx
            .config
            .limits
            .body_rate_min
            .saturating_mul(RATE_WINDOW.as_secs());
        let pace = &mut exchange.pace;
        pace.check = None;
        if pace.bytes >= least {
            pace.acknowledged = None;
            pace.slow = 0;
        } else if self.keeps_pace(&mut pace.acknowledged, cx) {
            pace.slow = 0;
        } else {
            pace.slow += 1;
        }
        match self.timer().slow_failure() {
            Some(failure) if pace.slow >= SLOW_WINDOWS_MAX => {
                self.exchange_failed(exchange, failure, cx)
            }
            _ => Step::Stuck(Phase::Exchange(exchange)),
        }
    }
}
