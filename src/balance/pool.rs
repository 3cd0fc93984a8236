//! One pool: which of its backends may be picked, and in which order of precedence.
//!
//! The cookie's backend first, then one whose trial is due, then the policy among the live ones, then among the backups.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use slab::Slab;

use crate::config;
use crate::config::value::Server;
use crate::config::{Policy, WhenAllDown};

use super::health::Health;
use super::pick::{Member, Tier};
use super::smooth::Turn;
use super::sticky::Token;
use super::{Asker, BackendId, Pick};

/// One backend.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) serial: u32,
    /// The key of its pool.
    pub(super) pool: usize,
    /// Its place among the backends of its pool, as configured.
    pub(super) place: usize,
    pub(super) name: String,
    pub(super) server: Server,
    pub(super) addrs: Vec<SocketAddr>,
    /// Which address was reached last; 0 where there is none.
    pub(super) addr_preferred: usize,
    pub(super) weight: u16,
    pub(super) backup: bool,
    pub(super) health: Health,
    pub(super) running: Rc<Cell<u32>>,
    /// The hash of its name.
    pub(super) hash: u64,
    /// What the cookie says, if its pool is sticky.
    pub(super) token: Option<Token>,
}

/// One pool.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) serial: u32,
    pub(super) config: Arc<config::Pool>,
    /// All its backends, in the order they were configured.
    pub(super) backends: Vec<BackendId>,
    /// The live ones that are no backups. Those of weight 0 stand in no tier.
    pub(super) regular: Tier,
    /// The live backups.
    pub(super) backups: Tier,
    /// All, if they are tried when none is live; else none.
    pub(super) all: Tier,
    pub(super) by_token: HashMap<Token, BackendId>,
    /// When the first of those that are out may be tried; `None` when none is out that may be.
    pub(super) trial_next: Option<Instant>,
}

impl Backend {
    /// Whether it gets new clients while it is live.
    pub(super) fn is_open(&self) -> bool {
        self.weight > 0
    }

    fn member(&self, id: BackendId) -> Member {
        Member {
            id,
            place: self.place,
            turn: Turn::new(u32::from(self.weight)),
            hash: self.hash,
            running: Rc::clone(&self.running),
            weights: 0,
        }
    }
}

impl Pool {
    /// A pool without backends.
    pub(super) fn new(serial: u32, config: &Arc<config::Pool>) -> Self {
        Self {
            serial,
            config: Arc::clone(config),
            backends: Vec::new(),
            regular: Tier::default(),
            backups: Tier::default(),
            all: Tier::default(),
            by_token: HashMap::new(),
            trial_next: None,
        }
    }

    /// The backend for a try of a request.
    pub(super) fn pick(
        &mut self,
        backends: &mut Slab<Backend>,
        random: &mut Rng,
        now: Instant,
        tried: &[BackendId],
        asker: &Asker,
    ) -> Option<Pick> {
        let skip = |id| tried.contains(&id);
        if let Some(token) = asker.token
            && let Some(pick) = self.pick_sticky(backends, now, token, skip)
        {
            return Some(pick);
        }
        if self.trial_next.is_some_and(|at| at <= now)
            && let Some(id) = self.start_trial(backends, now, skip)
        {
            return Some(Pick { id, trial: true });
        }
        let picked = match self.config.policy {
            Policy::RoundRobin => self.regular.whose_turn(skip),
            Policy::LeastConnections | Policy::RandomTwo | Policy::Hash(_) => None,
        };
        let picked = picked.or_else(|| self.pick_by_policy(random, asker.key, skip));
        picked.map(|id| Pick { id, trial: false })
    }

    /// One of the live ones; if there is none left, one of the backups; if none is live at all, perhaps any.
    #[inline(never)]
    fn pick_by_policy(
        &mut self,
        random: &mut Rng,
        key: Option<u64>,
        skip: impl Fn(BackendId) -> bool,
    ) -> Option<BackendId> {
        let tier = if self.regular.len() > 0 {
            &mut self.regular
        } else if self.backups.len() > 0 {
            &mut self.backups
        } else {
            &mut self.all
        };
        let policy = &self.config.policy;
        let mut picked = tier.pick(policy, key, random, &skip);
        if picked.is_none() && self.regular.len() > 0 {
            picked = self.backups.pick(policy, key, random, &skip);
        }
        picked
    }

    /// The backend that the client's cookie stands for, if it may be asked now.
    #[inline(never)]
    fn pick_sticky(
        &mut self,
        backends: &mut Slab<Backend>,
        now: Instant,
        token: Token,
        skip: impl Fn(BackendId) -> bool,
    ) -> Option<Pick> {
        let id = self.by_token.get(&token).copied().filter(|&id| !skip(id))?;
        let health = &mut backends[id.index()].health;
        let trial = match health.trial_at() {
            None => false,
            Some(at) if at <= now => {
                health.trial_starts(now);
                self.look_for_trials(backends);
                true
            }
            Some(_) => {
                let as_if_live = self.live() == 0 && self.config.when_all_down.tries_all();
                return as_if_live.then_some(Pick { id, trial: false });
            }
        };
        Some(Pick { id, trial })
    }

    /// The first backend whose back-off is over. It is not tried again before another back-off has passed, whatever
    /// becomes of this trial: so nobody must tell when a trial comes to nothing.
    #[cold]
    fn start_trial(
        &mut self,
        backends: &mut Slab<Backend>,
        now: Instant,
        skip: impl Fn(BackendId) -> bool,
    ) -> Option<BackendId> {
        let found = self.backends.iter().copied().find(|&id| {
            let trial_at = self.trial_at(&backends[id.index()]);
            trial_at.is_some_and(|at| at <= now) && !skip(id)
        });
        if let Some(id) = found {
            backends[id.index()].health.trial_starts(now);
        }
        self.look_for_trials(backends);
        found
    }

    /// When any request may try a backend that is out. One of weight 0 is tried only by those whose cookie stands for it, a
    /// backup only when it is needed.
    fn trial_at(&self, backend: &Backend) -> Option<Instant> {
        let wanted = backend.is_open() && (!backend.backup || self.regular.len() == 0);
        backend.health.trial_at().filter(|_| wanted)
    }

    /// Something has changed that decides when the next trial is due.
    pub(super) fn look_for_trials(&mut self, backends: &Slab<Backend>) {
        let trials = self.backends.iter();
        self.trial_next = trials
            .filter_map(|id| self.trial_at(&backends[id.index()]))
            .min();
    }

    /// A backend is live from now on.
    pub(super) fn join(&mut self, backend: &Backend, id: BackendId) {
        if backend.is_open() {
            self.tier(backend.backup).join(backend.member(id));
        }
    }

    /// A backend is live no more.
    pub(super) fn leave(&mut self, backend: &Backend) {
        if backend.is_open() {
            self.tier(backend.backup).leave(backend.place);
        }
    }

    fn tier(&mut self, backup: bool) -> &mut Tier {
        if backup {
            &mut self.backups
        } else {
            &mut self.regular
        }
    }

    /// How many failures in a row take this backend out; `None` if it is the last live one and stays.
    pub(super) fn failures_max(&self, backend: &Backend) -> Option<u32> {
        let counts = backend.is_open() && backend.health.is_live();
        let others = self.live() - usize::from(counts);
        (self.config.take_out_last || others > 0).then_some(self.config.failures_max)
    }

    /// How many backends are live and get new clients.
    pub(super) fn live(&self) -> usize {
        self.regular.len() + self.backups.len()
    }

    /// The backends or what is configured of them have changed: sets up anew who may be picked. `keep` says whether whose turn
    /// it is goes on.
    pub(super) fn set_up(&mut self, backends: &Slab<Backend>, keep: bool) {
        let members = |wanted: &dyn Fn(&Backend) -> bool| -> Vec<Member> {
            let ids = self.backends.iter().copied();
            let all = ids.map(|id| (id, &backends[id.index()]));
            all.filter(|(_, backend)| backend.is_open() && wanted(backend))
                .map(|(id, backend)| backend.member(id))
                .collect()
        };
        let tries_all = self.config.when_all_down.tries_all();
        let regular = members(&|backend| backend.health.is_live() && !backend.backup);
        let backups = members(&|backend| backend.health.is_live() && backend.backup);
        let all = members(&|_| tries_all);
        for (tier, members) in [
            (&mut self.regular, regular),
            (&mut self.backups, backups),
            (&mut self.all, all),
        ] {
            let before = std::mem::take(tier);
            let anew = Tier::default();
            *tier = Tier::new(members, if keep { &before } else { &anew });
        }
        let token = |&id: &BackendId| Some((backends[id.index()].token?, id));
        self.by_token = self.backends.iter().filter_map(token).collect();
        self.look_for_trials(backends);
    }
}

impl WhenAllDown {
    /// Whether requests go to backends that are out as if these were live.
    fn tries_all(self) -> bool {
        match self {
            Self::TryAll => true,
            Self::Refuse | Self::Hold => false,
        }
    }
}
