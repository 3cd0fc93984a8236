//! The balancer as it is when the program starts, but for backends that are said to be down.

use std::collections::HashSet;
use std::fmt;
use std::time::Instant;

use crate::balance::{BackendId, Balance, PoolId};
use crate::config::Config;

/// What is drawn at random is drawn from here, so that the same question has the same answer.
const SEED: u64 = 0;

/// A balancer that nobody else sees.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) balance: Balance,
    /// Its pools, in the order configured.
    pub(super) pools: Vec<PoolId>,
}

/// A name that was asked for is none of those that there are, or was needed and not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// What kind of thing was meant: `backend`, `pool`, `listener`.
    pub kind: &'static str,
    /// The name, if one was said.
    pub name: Option<String>,
    /// The names that there are.
    pub known: Vec<String>,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, known } = self;
        match name {
            Some(name) => write!(f, "{name:?}: no such {kind}; expected ")?,
            None => f.write_str("is missing: expected ")?,
        }
        const SHOWN_MAX: usize = 8;
        match known.as_slice() {
            [] => f.write_str("none, as there is none"),
            [only] => write!(f, "{only}"),
            few if few.len() <= SHOWN_MAX => write!(f, "one of {}", few.join(", ")),
            many => write!(
                f,
                "one of {} and {} more",
                many[..SHOWN_MAX].join(", "),
                many.len() - SHOWN_MAX
            ),
        }
    }
}

impl std::error::Error for Unknown {}

impl Start {
    /// `down` names backends that are out: `b2` in whatever pools it is, `api/b2` in this one.
    ///
    /// # Errors
    /// A name that no backend has.
    pub(super) fn new(config: &Config, down: &[String], now: Instant) -> Result<Self, Unknown> {
        let mut balance = Balance::new(SEED);
        let pools = balance.apply(&config.pools).pools;
        let mut start = Self { balance, pools };
        for name in down {
            let meant = start.named(config, name);
            if meant.is_empty() {
                let backends = config.pools.iter().flat_map(|pool| &pool.backends);
                // Several pools may have a backend of the same name.
                let mut told = HashSet::new();
                return Err(Unknown {
                    kind: "backend",
                    name: Some(name.clone()),
                    known: (backends.map(|backend| backend.name.clone()))
                        .filter(|name| told.insert(name.clone()))
                        .collect(),
                });
            }
            for id in meant {
                start.balance.take_out(id, now);
            }
        }
        Ok(start)
    }

    fn named(&self, config: &Config, name: &str) -> Vec<BackendId> {
        let mut meant = Vec::new();
        for (pool, &id) in config.pools.iter().zip(&self.pools) {
            let here = name
                .strip_prefix(&pool.name)
                .and_then(|rest| rest.strip_prefix('/'));
            for candidate in self.balance.candidates(id) {
                if candidate.name == name || Some(candidate.name) == here {
                    meant.push(candidate.id);
                }
            }
        }
        meant
    }
}

/// The place of the pool of this name.
pub(super) fn pool_place(config: &Config, name: Option<&str>) -> Result<usize, Unknown> {
    let found = match name {
        None if config.pools.len() == 1 => Some(0),
        None => None,
        Some(name) => config.pools.iter().position(|pool| pool.name == name),
    };
    found.ok_or_else(|| Unknown {
        kind: "pool",
        name: name.map(str::to_owned),
        known: config.pools.iter().map(|pool| pool.name.clone()).collect(),
    })
}
