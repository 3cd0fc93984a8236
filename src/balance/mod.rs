//! Which backend: facts and `now` in, a [`Pick`] out. It knows no sockets, reads no clock and logs nothing.
//!
//! All backends of all pools stand in a slab; each knows whether it is alive ([`health`]). A pool decides who may be picked
//! (`pool.rs`), its policy whom of these (`pick.rs`). A configuration may be taken over at any time (`apply.rs`). A [`BackendId`]
//! is never used again for another backend, so blame that comes late hits nobody else.

mod apply;
mod hash;
pub mod health;
mod pick;
mod pool;
mod smooth;
mod sticky;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use slab::Slab;

use self::health::{Health, Verdict};
use self::pool::{Backend, Pool};

pub use self::apply::Applied;
pub use self::hash::hash;
pub use self::smooth::Split;
pub use self::sticky::{TOKEN_DIGITS, Token};

/// The name of a pool for the program: its place, and a serial number that no other pool ever has. A pool keeps it when a
/// configuration is taken over that has a pool of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolId(Id);

/// The name of a backend for the program: its place, and a serial number that no other backend ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendId(Id);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Id {
    key: u32,
    serial: u32,
}

/// A backend that was picked for one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The backend.
    pub id: BackendId,
    /// Whether the backend is out, and this is the one request that tries whether it is back.
    pub trial: bool,
}

impl Pick {
    /// None yet: a backend that is not known, and never will be.
    pub const NOBODY: Self = Self {
        id: BackendId(Id {
            key: u32::MAX,
            serial: u32::MAX,
        }),
        trial: false,
    };
}

/// What is known of who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asker {
    /// The [`hash()`] of what the pool hashes on, if the request has it.
    pub key: Option<u64>,
    /// The token of the sticky cookie, if there is one.
    pub token: Option<Token>,
}

/// An exchange that counts as running at its backend until this is dropped. The default counts nowhere.
#[derive(Debug, Default)]
pub struct Load(Option<Rc<Cell<u32>>>);

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(running) = &self.0 {
            running.set(running.get() - 1);
        }
    }
}

/// A backend as it stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The backend.
    pub id: BackendId,
    /// Its name.
    pub name: &'a str,
    /// Its weight; at 0 it gets no new clients.
    pub weight: u16,
    /// Whether it gets requests only while no other is live.
    pub backup: bool,
    /// Whether it is live.
    pub health: Health,
    /// Its running exchanges.
    pub running: u32,
}

/// That a backend came or went, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is out.
    Out {
        /// Failures in a row that took it out.
        failures: u32,
        /// When one request tries it again.
        back_off: Duration,
        /// How many of its pool are still live.
        live: usize,
    },
    /// A trial failed; it stays out.
    StillOut {
        /// When the next request tries it.
        back_off: Duration,
    },
    /// It is live again.
    In {
        /// How many of its pool are live now.
        live: usize,
    },
}

/// The backends of all pools, and whose turn it is.
#[derive(Debug)]
pub struct Balance {
    pools: Slab<Pool>,
    backends: Slab<Backend>,
    serial_next: u32,
    random: Rng,
}

impl Balance {
    /// No pools yet. What is drawn at random follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            pools: Slab::new(),
            backends: Slab::new(),
            serial_next: 0,
            random: Rng::with_seed(seed),
        }
    }

    /// The backend for the next try of a request that was tried at `tried` before; `None` when there is no other.
    pub fn pick(
        &mut self,
        pool: PoolId,
        now: Instant,
        tried: &[BackendId],
        asker: &Asker,
    ) -> Option<Pick> {
        let Self {
            pools,
            backends,
            random,
            ..
        } = self;
        let pool = pools
            .get_mut(pool.index())
            .filter(|found| found.serial == pool.0.serial)?;
        pool.pick(backends, random, now, tried, asker)
    }

    /// An exchange begins at this backend.
    #[must_use]
    pub fn begin(&self, id: BackendId) -> Load {
        let running = self.find(id).map(|backend| Rc::clone(&backend.running));
        if let Some(running) = &running {
            running.set(running.get() + 1);
        }
        Load(running)
    }

    /// The picked backend answered as it should.
    pub fn succeeded(&mut self, pick: Pick) -> Option<Change> {
        let backend = find(&mut self.backends, pick.id)?;
        match backend.health.succeeded(pick.trial) {
            Verdict::Back => {
                let pool = &mut self.pools[backend.pool];
                pool.join(backend, pick.id);
                pool.look_for_trials(&self.backends);
                Some(Change::In { live: pool.live() })
            }
            Verdict::Gone { .. } | Verdict::StillGone { .. } | Verdict::Unchanged => None,
        }
    }

    /// The picked backend refused, broke or was too late.
    pub fn failed(&mut self, pick: Pick, now: Instant) -> Option<Change> {
        let backend = find(&mut self.backends, pick.id)?;
        let pool = &mut self.pools[backend.pool];
        let failures_max = pool.failures_max(backend);
        let change = match backend.health.failed(pick.trial, now, failures_max) {
            Verdict::Gone { failures, back_off } => {
                pool.leave(backend);
                let live = pool.live();
                Change::Out {
                    failures,
                    back_off,
                    live,
                }
            }
            Verdict::StillGone { back_off } => Change::StillOut { back_off },
            Verdict::Back | Verdict::Unchanged => return None,
        };
        pool.look_for_trials(&self.backends);
        Some(change)
    }

    /// Takes a backend out as if it had failed, the last live one too; to see what would be if it were.
    pub fn take_out(&mut self, id: BackendId, now: Instant) {
        if let Some(backend) = find(&mut self.backends, id)
            && backend.health.is_live()
        {
            backend.health = Health::out(now);
            let pool = &mut self.pools[backend.pool];
            pool.leave(backend);
            pool.look_for_trials(&self.backends);
        }
    }

    /// The address to try when those that `failed` could not be reached in this try; `None` when there is no other.
    #[must_use]
    pub fn addr(&self, id: BackendId, failed: &[SocketAddr]) -> Option<SocketAddr> {
        let backend = self.find(id)?;
        let (before, from) = backend.addrs.split_at(backend.addr_preferred);
        let mut in_turn = from.iter().chain(before);
        in_turn.find(|addr| !failed.contains(addr)).copied()
    }

    /// A connection was made to this address: it is the first to try from now on.
    pub fn reached(&mut self, id: BackendId, addr: SocketAddr) {
        if let Some(backend) = find(&mut self.backends, id)
            && let Some(place) = backend.addrs.iter().position(|other| *other == addr)
        {
            backend.addr_preferred = place;
        }
    }

    /// A backend's name, for people.
    #[must_use]
    pub fn name(&self, id: BackendId) -> &str {
        self.find(id)
            .map_or("(removed)", |backend| backend.name.as_str())
    }

    /// The name of a backend's pool; `None` once it is removed.
    #[must_use]
    pub fn pool_name(&self, id: BackendId) -> Option<&str> {
        let backend = self.find(id)?;
        Some(&self.pools.get(backend.pool)?.config.name)
    }

    /// Whether it is still configured, and live.
    #[must_use]
    pub fn is_live(&self, id: BackendId) -> bool {
        self.find(id)
            .is_some_and(|backend| backend.health.is_live())
    }

    /// Whether it is still configured.
    #[must_use]
    pub fn is_known(&self, id: BackendId) -> bool {
        self.find(id).is_some()
    }

    /// Whether it is still configured, and still has this address.
    #[must_use]
    pub fn is_at(&self, id: BackendId, addr: SocketAddr) -> bool {
        self.find(id)
            .is_some_and(|backend| backend.addrs.contains(&addr))
    }

    /// What the sticky cookie of this backend says; `None` where its pool has none.
    #[must_use]
    pub fn token(&self, id: BackendId) -> Option<Token> {
        self.find(id)?.token
    }

    /// How many backends are live, of all pools. Those that get no new clients do not count.
    #[must_use]
    pub fn live(&self) -> usize {
        self.pools.iter().map(|(_, pool)| pool.live()).sum()
    }

    /// How many backends of a pool are live. Those that get no new clients do not count.
    #[must_use]
    pub fn live_in(&self, pool: PoolId) -> usize {
        self.find_pool(pool).map_or(0, Pool::live)
    }

    /// When any request may try a backend of this pool that is out; `None` when there is none.
    #[must_use]
    pub fn trial_next(&self, pool: PoolId) -> Option<Instant> {
        self.find_pool(pool)?.trial_next
    }

    /// The backends of a pool as they stand, in the order they were configured.
    pub fn candidates(&self, pool: PoolId) -> impl Iterator<Item = Candidate<'_>> {
        let ids = self.find_pool(pool).map(|pool| pool.backends.as_slice());
        ids.unwrap_or_default().iter().map(|&id| {
            let backend = &self.backends[id.index()];
            Candidate {
                id,
                name: &backend.name,
                weight: backend.weight,
                backup: backend.backup,
                health: backend.health,
                running: backend.running.get(),
            }
        })
    }

    fn find_pool(&self, id: PoolId) -> Option<&Pool> {
        let pool = self.pools.get(id.index());
        pool.filter(|pool| pool.serial == id.0.serial)
    }

    fn find(&self, id: BackendId) -> Option<&Backend> {
        let backend = self.backends.get(id.index());
        backend.filter(|backend| backend.serial == id.0.serial)
    }
}

fn find(backends: &mut Slab<Backend>, id: BackendId) -> Option<&mut Backend> {
    let backend = backends.get_mut(id.index());
    backend.filter(|backend| backend.serial == id.0.serial)
}

impl PoolId {
    fn new(key: usize, serial: u32) -> Self {
        Self(Id::new(key, serial))
    }

    /// A small number that no other pool has at the same time, for tables.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.key as usize
    }
}

impl BackendId {
    fn new(key: usize, serial: u32) -> Self {
        Self(Id::new(key, serial))
    }

    /// A small number that no other backend has at the same time, for tables.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.key as usize
    }
}

impl Id {
    fn new(key: usize, serial: u32) -> Self {
        let key = u32::try_from(key).expect("fewer of them than 2^32");
        Self { key, serial }
    }
}
