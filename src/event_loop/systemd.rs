//! What the service manager is told: sd_notify(3). Where there is none, nothing is told.

use std::time::{Duration, Instant};

use log::warn;
use sd_notify::{NotifyState, notify, watchdog_enabled};

/// It is told no more often than the loop can sleep.
const WATCHDOG_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// What the manager knows of us.
#[derive(Debug)]
pub(super) struct Manager {
    /// Whether it listens to another process by now.
    handed_over: bool,
    watchdog: Option<Watchdog>,
    /// Whether the log says already that it cannot be told.
    complained: bool,
}

/// The manager ends us when it does not hear from the loop for so long.
#[derive(Debug)]
struct Watchdog {
    /// Half of that.
    every: Duration,
    next: Instant,
}

impl Manager {
    /// The manager that started us, if one did.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            handed_over: false,
            watchdog: watchdog_enabled().map(|limit| Watchdog {
                every: (limit / 2).max(WATCHDOG_INTERVAL_MIN),
                next: now,
            }),
            complained: false,
        }
    }

    /// All is bound, or another configuration is in use.
    pub(super) fn ready(&mut self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Another configuration is being read.
    pub(super) fn reloading(&mut self) {
        let mut states = vec![
            NotifyState::Reloading,
            NotifyState::Status("reading the configuration again"),
        ];
        // Of the same clock as ours: the manager must know which of its requests this answers.
        states.extend(NotifyState::monotonic_usec_now());
        self.tell(&states);
    }

    /// No more clients are accepted.
    pub(super) fn stopping(&mut self, status: &str) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// How things stand.
    pub(super) fn status(&mut self, status: &str) {
        self.tell(&[NotifyState::Status(status)]);
    }

    /// Another process is the service from now on, and speaks for it.
    pub(super) fn hand_over(&mut self, pid: u32) {
        self.tell(&[
            NotifyState::MainPid(pid),
            NotifyState::Ready,
            NotifyState::Status("a new program has taken over"),
        ]);
        self.handed_over = true;
        self.watchdog = None;
    }

    /// When the manager must hear from the loop again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|watchdog| watchdog.next)
    }

    /// The loop goes round.
    pub(super) fn tick(&mut self, now: Instant) {
        let Some(watchdog) = &mut self.watchdog else {
            return;
        };
        if watchdog.next <= now {
            watchdog.next = now + watchdog.every;
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    fn tell(&mut self, states: &[NotifyState<'_>]) {
        if self.handed_over {
            return;
        }
        if let Err(error) = notify(states)
            && !self.complained
        {
            self.complained = true;
            warn!("the service manager cannot be told: {error}");
        }
    }
}
