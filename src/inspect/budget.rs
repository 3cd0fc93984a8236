//! What a configuration needs of the machine at most: descriptors and memory. The event loop makes the number of clients fit
//! with the same arithmetic.

use std::fmt;

use serde_json::{Value, json};

use crate::config::Config;
use crate::net::buffer::held_bytes_max;

/// Descriptors that are neither clients nor upstreams nor listeners: standard streams, poll, signals, and some to spare.
pub const DESCRIPTORS_RESERVED: usize = 16;
/// Most pipes at a time, each with two descriptors.
const PIPES_MAX: usize = 64;
/// One pipe for so many descriptors that we may have: the rest is for clients and upstreams.
const DESCRIPTORS_PER_PIPE: usize = 64;
/// Memory for a connected client that asks for nothing, in bytes: what was measured, rounded up.
const SESSION_BYTES: usize = 512;
/// Memory before the first client comes, in bytes: what was measured, rounded up.
const BASE_BYTES: usize = 2 * 1024 * 1024;

/// How many pipes there may be where so many descriptors are allowed.
#[must_use]
pub fn pipes_max(descriptors: usize) -> usize {
    PIPES_MAX.min(descriptors / DESCRIPTORS_PER_PIPE)
}

/// How many clients so many descriptors allow, each with an upstream, beside listeners and pipes; at least one.
#[must_use]
pub fn sessions_fitting(descriptors: usize, listeners: usize, pipes: usize) -> usize {
    let others = DESCRIPTORS_RESERVED + listeners + 2 * pipes;
    (descriptors.saturating_sub(others) / 2).max(1)
}

/// What is needed at most, when there are as many clients as are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Clients at a time.
    pub sessions: usize,
    /// Listeners.
    pub listeners: usize,
    /// Pipes to splice through.
    pub pipes: usize,
    /// Descriptors, without idle upstreams.
    pub descriptors: usize,
    /// Idle upstreams that would be kept beyond these. They are, only while descriptors suffice.
    pub idle_upstreams: usize,
    /// Descriptors that there may be, if that was said.
    pub limit: Option<usize>,
    /// Bytes for what waits to be read or sent.
    pub buffer_bytes: usize,
    /// Bytes for everything.
    pub bytes: usize,
}

impl Budget {
    /// What `config` needs, where there may be `limit` descriptors; `None` is any number.
    #[must_use]
    pub fn of(config: &Config, limit: Option<usize>) -> Self {
        let (sessions, listeners) = (config.limits.sessions_max, config.listeners.len());
        let pipes = pipes_max(limit.unwrap_or(usize::MAX));
        let buffer_bytes = held_bytes_max(sessions);
        let kept = config
            .pools
            .iter()
            .map(|pool| pool.backends.len() * pool.idle_per_backend_max);
        Self {
            sessions,
            listeners,
            pipes,
            descriptors: DESCRIPTORS_RESERVED + listeners + 2 * pipes + 2 * sessions,
            idle_upstreams: kept.sum(),
            limit,
            buffer_bytes,
            bytes: BASE_BYTES + sessions * SESSION_BYTES + buffer_bytes,
        }
    }

    /// How many clients there can be instead, if there cannot be as many as are allowed.
    #[must_use]
    pub fn sessions_instead(&self) -> Option<usize> {
        let fitting = sessions_fitting(self.limit?, self.listeners, self.pipes);
        (fitting < self.sessions).then_some(fitting)
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "sessions": self.sessions,
            "descriptors": self.descriptors,
            "descriptor-limit": self.limit,
            "idle-upstreams": self.idle_upstreams,
            "buffer-bytes": self.buffer_bytes,
            "bytes": self.bytes,
        })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sessions,
            listeners,
            pipes,
            descriptors,
            idle_upstreams,
            ..
        } = self;
        write!(f, "descriptors: at most {descriptors}")?;
        if let Some(limit) = self.limit {
            write!(f, " of {limit}")?;
        }
        writeln!(
            f,
            " (2 for each of {sessions} clients, {listeners} for listeners, 2 for each of {pipes} pipes, {DESCRIPTORS_RESERVED} others)"
        )?;
        writeln!(
            f,
            "idle upstreams: up to {idle_upstreams} more, as far as descriptors suffice"
        )?;
        writeln!(
            f,
            "memory: at most {} MiB ({} MiB of buffers; idle clients take {SESSION_BYTES} bytes each)",
            mib(self.bytes),
            mib(self.buffer_bytes)
        )
    }
}

fn mib(bytes: usize) -> usize {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::plain;

    #[test]
    fn the_budget_is_what_the_event_loop_would_need() {
        let budget = Budget::of(&plain(), None);
        assert_eq!(budget.descriptors, 16 + 1 + 128 + 20_000);
        assert_eq!(budget.idle_upstreams, 20_000);
        assert_eq!(
            budget.to_string(),
            "descriptors: at most 20145 (2 for each of 10000 clients, 1 for listeners, 2 for each of 64 pipes, 16 others)\n\
             idle upstreams: up to 20000 more, as far as descriptors suffice\n\
             memory: at most 1243 MiB (1236 MiB of buffers; idle clients take 512 bytes each)\n"
        );
    }

    #[test]
    fn as_many_clients_as_fit_need_no_more_than_there_is() {
        for limit in [0, 20, 1024, 4096, 20_144, 20_145, 1_000_000] {
            let budget = Budget::of(&plain(), Some(limit));
            let fits = budget.descriptors <= limit;
            assert_eq!(budget.sessions_instead().is_none(), fits, "{limit}");
            let mut config = plain();
            config.limits.sessions_max = budget.sessions_instead().unwrap_or(1);
            let again = Budget::of(&config, Some(limit));
            assert!(again.descriptors <= limit.max(20), "{again:?}");
            assert_eq!(again.json()["descriptor-limit"], json!(limit));
        }
    }

    #[test]
    fn few_descriptors_allow_few_pipes() {
        for (descriptors, pipes) in [(40, 0), (64, 1), (1024, 16), (20_000, 64), (usize::MAX, 64)] {
            assert_eq!(pipes_max(descriptors), pipes, "{descriptors}");
        }
    }
}
