//! How many descriptors there may be, and how many clients at a time that allows.

use log::{info, warn};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Config;
use crate::inspect::budget::{pipes_max, sessions_fitting};

/// How much room there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    descriptors: usize,
    /// How many pipes there may be of these.
    pub(super) pipes: usize,
}

impl Room {
    /// Raises the descriptor limit as far as it may go, and shares what there is.
    pub(super) fn make() -> Self {
        let mut limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            limit.current = limit.maximum;
            if let Err(error) = setrlimit(Resource::Nofile, limit) {
                warn!("the descriptor limit cannot be raised: {error}");
                limit = getrlimit(Resource::Nofile);
            }
        }
        let limit = limit.current.and_then(|count| usize::try_from(count).ok());
        Self::of(limit.unwrap_or(usize::MAX))
    }

    /// The room that so many descriptors make.
    pub(super) fn of(descriptors: usize) -> Self {
        Self {
            descriptors,
            pipes: pipes_max(descriptors),
        }
    }

    /// Lowers the session limit to what the descriptors allow beside the pipes: a client and an upstream each.
    pub(super) fn fit(self, config: &mut Config) {
        let descriptors = self.descriptors;
        let fitting = sessions_fitting(descriptors, config.listeners.len(), self.pipes);
        if fitting < config.limits.sessions_max {
            info!(
                "{descriptors} descriptors allow {fitting} clients at a time, not {}",
                config.limits.sessions_max
            );
            config.limits.sessions_max = fitting;
        }
    }
}
