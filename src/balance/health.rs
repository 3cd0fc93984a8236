//! When a backend is out, and when it may try again.
//!
//! Passive: what requests met is all that is known. So many failures in a row take a backend out; after a back-off one
//! request tries it; the back-off doubles with each trial that fails. What was begun before it went out says nothing
//! about it any more: only the trial does.

use std::time::{Duration, Instant};

/// How long a backend that failed is out at first, before one request tries it.
pub const BACK_OFF_MIN: Duration = Duration::from_secs(1);
/// The longest that a backend is out between two trials.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// Whether one backend is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It gets its share of requests.
    Live {
        /// How many of the last ones failed in a row.
        failures: u32,
    },
    /// It gets one request when `trial_at` has come.
    Out {
        /// When one request may try it.
        trial_at: Instant,
        /// How long it was out before that.
        back_off: Duration,
    },
}

/// What follows from a success or a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Unchanged,
    /// The backend is live again.
    Back,
    /// The backend goes out.
    Gone {
        /// After so many failures in a row.
        failures: u32,
        /// For so long.
        back_off: Duration,
    },
    /// The backend stays out.
    StillGone {
        /// For so long.
        back_off: Duration,
    },
}

impl Default for Health {
    fn default() -> Self {
        Self::Live { failures: 0 }
    }
}

impl Health {
    /// When one request may try it; `None` while it is live.
    #[must_use]
    pub fn trial_at(&self) -> Option<Instant> {
        match *self {
            Self::Live { .. } => None,
            Self::Out { trial_at, .. } => Some(trial_at),
        }
    }

    /// Out from now on, whatever it was before.
    pub(super) fn out(now: Instant) -> Self {
        Self::Out {
            trial_at: now + BACK_OFF_MIN,
            back_off: BACK_OFF_MIN,
        }
    }

    /// Whether it is live.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.trial_at().is_none()
    }

    /// A request is about to try it: the next one may only after another back-off.
    pub(super) fn trial_starts(&mut self, now: Instant) {
        if let Self::Out { trial_at, back_off } = self {
            *trial_at = now + *back_off;
        }
    }

    /// A request was answered.
    pub(super) fn succeeded(&mut self, trial: bool) -> Verdict {
        match self {
            Self::Out { .. } if !trial => Verdict::Unchanged,
            Self::Out { .. } => {
                *self = Self::default();
                Verdict::Back
            }
            Self::Live { failures } => {
                *failures = 0;
                Verdict::Unchanged
            }
        }
    }

    /// A request failed by the backend's fault, and so many failures in a row take it out; `None` for the last live backend of
    /// those that stay.
    pub(super) fn failed(
        &mut self,
        trial: bool,
        now: Instant,
        failures_max: Option<u32>,
    ) -> Verdict {
        match self {
            Self::Live { failures } => {
                *failures = failures.saturating_add(1);
                if failures_max.is_none_or(|most| *failures < most) {
                    return Verdict::Unchanged;
                }
                let failures = *failures;
                *self = Self::out(now);
                Verdict::Gone {
                    failures,
                    back_off: BACK_OFF_MIN,
                }
            }
            Self::Out { .. } if !trial => Verdict::Unchanged,
            Self::Out { trial_at, back_off } => {
                *back_off = (*back_off * 2).min(BACK_OFF_MAX);
                *trial_at = now + *back_off;
                Verdict::StillGone {
                    back_off: *back_off,
                }
            }
        }
    }
}
