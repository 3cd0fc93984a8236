//! Which backend: facts and `now` in, a [`Pick`] out. It knows no sockets, reads no clock and logs nothing.
//!
//! The backends stand in a slab; each knows whether it is alive ([`health`]). The policy ([`pick`]) sees the live ones
//! only. A [`BackendId`] is never used again for another backend, so blame that comes late hits nobody else.

pub mod health;
pub mod pick;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use slab::Slab;

use self::health::{Health, Verdict};
use self::pick::RoundRobin;

/// The name of a backend for the program: its place, and a serial number that no other backend ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendId {
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

/// When failures take a backend out, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row that take a backend out.
    pub failures_max: u32,
    /// How long it is out at first, before one request tries it.
    pub back_off_min: Duration,
    /// The back-off doubles with each failed trial up to this.
    pub back_off_max: Duration,
    /// Whether failures may take out even the last live backend.
    pub take_out_last: bool,
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
        /// How many are still live.
        live: usize,
    },
    /// A trial failed; it stays out.
    StillOut {
        /// When the next request tries it.
        back_off: Duration,
    },
    /// It is live again.
    In {
        /// How many are live now.
        live: usize,
    },
}

/// One backend.
#[derive(Debug)]
struct Backend {
    serial: u32,
    name: String,
    addrs: Vec<SocketAddr>,
    /// Which address was reached last.
    addr_preferred: usize,
    health: Health,
}

/// The backends, and whose turn it is.
#[derive(Debug)]
pub struct Balance {
    backends: Slab<Backend>,
    serial_next: u32,
    policy: RoundRobin,
    rules: Rules,
    /// When the first of those that are out may be tried; `None` when none is out.
    trial_next: Option<Instant>,
}

impl Balance {
    /// No backends yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            backends: Slab::new(),
            serial_next: 0,
            policy: RoundRobin::default(),
            rules,
            trial_next: None,
        }
    }

    /// Adds a live backend. `addrs` has at least one address.
    pub fn add(&mut self, name: &str, addrs: &[SocketAddr]) -> BackendId {
        assert!(!addrs.is_empty(), "a backend has an address");
        let serial = self.serial_next;
        self.serial_next += 1;
        let backend = Backend {
            serial,
            name: name.to_owned(),
            addrs: addrs.to_vec(),
            addr_preferred: 0,
            health: Health::default(),
        };
        let key = u32::try_from(self.backends.insert(backend)).expect("fewer backends than 2^32");
        self.policy.join(key);
        BackendId { key, serial }
    }

    /// The backend for the next try of a request that was tried at `tried` before; `None` when there is no other.
    pub fn pick(&mut self, now: Instant, tried: &[BackendId]) -> Option<Pick> {
        let was_tried = |key| tried.iter().any(|id| id.key == key);
        let due = self.trial_next.is_some_and(|at| at <= now);
        let trial = if due {
            self.start_trial(now, was_tried)
        } else {
            None
        };
        let key = trial.or_else(|| self.policy.pick(was_tried))?;
        let serial = self.backends[key as usize].serial;
        Some(Pick {
            id: BackendId { key, serial },
            trial: trial.is_some(),
        })
    }

    /// The first backend whose back-off is over. It is not tried again before another back-off has passed, whatever
    /// becomes of this trial: so nobody must tell when a trial comes to nothing.
    fn start_trial(&mut self, now: Instant, was_tried: impl Fn(u32) -> bool) -> Option<u32> {
        let due = |(key, backend): &mut (usize, &mut Backend)| {
            let fresh = u32::try_from(*key).is_ok_and(|key| !was_tried(key));
            fresh && backend.health.trial_at().is_some_and(|at| at <= now)
        };
        let found = self.backends.iter_mut().find_map(|mut entry| {
            due(&mut entry).then(|| {
                entry.1.health.trial_starts(now);
                entry.0
            })
        });
        self.look_for_trials();
        found.and_then(|key| u32::try_from(key).ok())
    }

    fn look_for_trials(&mut self) {
        self.trial_next = self
            .backends
            .iter()
            .filter_map(|(_, backend)| backend.health.trial_at())
            .min();
    }

    /// The picked backend answered as it should.
    pub fn succeeded(&mut self, pick: Pick) -> Option<Change> {
        let backend = find(&mut self.backends, pick.id)?;
        match backend.health.succeeded(pick.trial) {
            Verdict::Back => {
                self.policy.join(pick.id.key);
                self.look_for_trials();
                Some(Change::In {
                    live: self.policy.live(),
                })
            }
            Verdict::Gone { .. } | Verdict::StillGone { .. } | Verdict::Unchanged => None,
        }
    }

    /// The picked backend refused, broke or was too late.
    pub fn failed(&mut self, pick: Pick, now: Instant) -> Option<Change> {
        let may_leave = self.rules.take_out_last || self.policy.live() > 1;
        let backend = find(&mut self.backends, pick.id)?;
        let change = match backend
            .health
            .failed(pick.trial, now, &self.rules, may_leave)
        {
            Verdict::Gone { failures, back_off } => {
                self.policy.leave(pick.id.key);
                Change::Out {
                    failures,
                    back_off,
                    live: self.policy.live(),
                }
            }
            Verdict::StillGone { back_off } => Change::StillOut { back_off },
            Verdict::Back | Verdict::Unchanged => return None,
        };
        self.look_for_trials();
        Some(change)
    }

    /// The address to try when `failed` addresses of the backend could not be reached in this try; `None` after the last.
    #[must_use]
    pub fn addr(&self, id: BackendId, failed: usize) -> Option<SocketAddr> {
        let backend = self
            .backends
            .get(id.key as usize)
            .filter(|backend| backend.serial == id.serial)?;
        let count = backend.addrs.len();
        (failed < count).then(|| backend.addrs[(backend.addr_preferred + failed) % count])
    }

    /// A connection was made to the address that came after `failed` others: it is the first to try from now on.
    pub fn reached(&mut self, id: BackendId, failed: usize) {
        if failed > 0
            && let Some(backend) = find(&mut self.backends, id)
        {
            backend.addr_preferred = (backend.addr_preferred + failed) % backend.addrs.len();
        }
    }

    /// A backend's name, for people.
    #[must_use]
    pub fn name(&self, id: BackendId) -> &str {
        let backend = self
            .backends
            .get(id.key as usize)
            .filter(|backend| backend.serial == id.serial);
        backend.map_or("(removed)", |backend| &backend.name)
    }

    /// How many backends are live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.policy.live()
    }
}

impl BackendId {
    /// A small number that no other backend has at the same time, for tables.
    #[must_use]
    pub fn index(self) -> usize {
        self.key as usize
    }
}

fn find(backends: &mut Slab<Backend>, id: BackendId) -> Option<&mut Backend> {
    backends
        .get_mut(id.key as usize)
        .filter(|backend| backend.serial == id.serial)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        failures_max: 3,
        back_off_min: Duration::from_secs(1),
        back_off_max: Duration::from_secs(30),
        take_out_last: false,
    };

    fn balance(count: u16, rules: Rules) -> (Balance, Vec<BackendId>, Instant) {
        let mut balance = Balance::new(rules);
        let ids = (0..count)
            .map(|n| {
                balance.add(
                    &format!("b{n}"),
                    &[SocketAddr::from(([127, 0, 0, 1], 3000 + n))],
                )
            })
            .collect();
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs some instant to count from"
        )]
        (balance, ids, Instant::now())
    }

    fn take_out(balance: &mut Balance, id: BackendId, now: Instant) -> Option<Change> {
        (0..3)
            .filter_map(|_| balance.failed(Pick { id, trial: false }, now))
            .last()
    }

    #[test]
    fn requests_are_shared_exactly() {
        for count in 1..9 {
            let (mut balance, ids, now) = balance(count, RULES);
            let mut shares = vec![0; ids.len()];
            for n in 1..=100 {
                shares[balance.pick(now, &[]).unwrap().id.index()] += 1;
                let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
                assert!(
                    most - least <= 1,
                    "{n} requests over {count} backends: {shares:?}"
                );
            }
        }
    }

    #[test]
    fn the_dead_are_skipped_and_the_living_share_exactly() {
        let (mut balance, ids, now) = balance(5, RULES);
        take_out(&mut balance, ids[1], now);
        take_out(&mut balance, ids[3], now);
        let picks: Vec<usize> = (0..6)
            .map(|_| balance.pick(now, &[]).unwrap().id.index())
            .collect();
        assert_eq!(picks, [0, 2, 4, 0, 2, 4]);
    }

    #[test]
    fn the_trial_is_of_the_one_that_is_out_whoever_stands_before_it() {
        let (mut balance, ids, now) = balance(3, RULES);
        take_out(&mut balance, ids[1], now);
        let (due, before) = (now + RULES.back_off_min, now + RULES.back_off_min / 2);
        let pick = |id, trial| Some(Pick { id, trial });
        assert_eq!(balance.pick(before, &[]), pick(ids[0], false));
        assert_eq!(balance.pick(due, &[ids[1]]), pick(ids[2], false));
        assert_eq!(balance.pick(due, &[]), pick(ids[1], true));
        assert_eq!(balance.pick(due, &[]), pick(ids[0], false));
        assert_eq!(balance.name(ids[1]), "b1");
    }

    #[test]
    fn three_failures_in_a_row_take_a_backend_out_and_a_success_forgives() {
        let (mut balance, ids, now) = balance(2, RULES);
        let pick = Pick {
            id: ids[0],
            trial: false,
        };
        assert_eq!(balance.failed(pick, now), None);
        assert_eq!(balance.failed(pick, now), None);
        assert_eq!(balance.succeeded(pick), None);
        assert_eq!(balance.failed(pick, now), None);
        assert_eq!(balance.failed(pick, now), None);
        let out = Change::Out {
            failures: 3,
            back_off: Duration::from_secs(1),
            live: 1,
        };
        assert_eq!(balance.failed(pick, now), Some(out));
        assert_eq!(
            balance.failed(pick, now),
            None,
            "late blame changes nothing more"
        );
        assert_eq!(balance.succeeded(pick), None, "only a trial brings it back");
    }

    #[test]
    fn one_request_tries_a_backend_that_is_out_and_the_back_off_doubles_to_its_most() {
        let (mut balance, ids, mut now) = balance(2, RULES);
        take_out(&mut balance, ids[0], now);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let back_off = Duration::from_secs(seconds);
            let early = balance
                .pick(now + back_off - Duration::from_millis(1), &[])
                .unwrap();
            assert!(!early.trial, "not before {seconds} s");
            now += back_off;
            let trial = balance.pick(now, &[]).unwrap();
            assert_eq!(
                trial,
                Pick {
                    id: ids[0],
                    trial: true
                }
            );
            assert!(!balance.pick(now, &[]).unwrap().trial, "one request only");
            let next = Duration::from_secs((seconds * 2).min(30));
            assert_eq!(
                balance.failed(trial, now),
                Some(Change::StillOut { back_off: next })
            );
        }
        now += Duration::from_secs(30);
        let trial = balance.pick(now, &[]).unwrap();
        assert_eq!(balance.succeeded(trial), Some(Change::In { live: 2 }));
        assert_eq!(balance.live(), 2);
    }

    #[test]
    fn a_trial_of_which_nothing_is_heard_is_repeated_after_a_back_off() {
        let (mut balance, ids, now) = balance(2, RULES);
        take_out(&mut balance, ids[0], now);
        let later = now + Duration::from_secs(1);
        assert!(balance.pick(later, &[]).unwrap().trial);
        assert!(
            !balance
                .pick(later + Duration::from_millis(999), &[])
                .unwrap()
                .trial
        );
        assert!(
            balance
                .pick(later + Duration::from_secs(1), &[])
                .unwrap()
                .trial
        );
    }

    #[test]
    fn the_last_live_backend_stays_unless_it_may_go() {
        let (mut stays, ids, now) = balance(2, RULES);
        take_out(&mut stays, ids[0], now);
        assert_eq!(take_out(&mut stays, ids[1], now), None);
        assert_eq!(stays.pick(now, &[]).unwrap().id, ids[1]);
        let (mut goes, ids, now) = balance(
            1,
            Rules {
                take_out_last: true,
                ..RULES
            },
        );
        assert!(take_out(&mut goes, ids[0], now).is_some());
        assert_eq!(goes.pick(now, &[]), None);
    }

    #[test]
    fn a_retry_goes_to_another_backend_or_nowhere() {
        let (mut balance, ids, now) = balance(3, RULES);
        let mut tried = vec![balance.pick(now, &[]).unwrap().id];
        tried.push(balance.pick(now, &tried).unwrap().id);
        tried.push(balance.pick(now, &tried).unwrap().id);
        assert_eq!(tried, ids);
        assert_eq!(balance.pick(now, &tried), None);
    }

    #[test]
    fn the_address_that_was_reached_is_tried_first() {
        let mut balance = Balance::new(RULES);
        let addrs: Vec<SocketAddr> =
            vec!["[::1]:80".parse().unwrap(), "127.0.0.1:80".parse().unwrap()];
        let id = balance.add("localhost:80", &addrs);
        assert_eq!(balance.addr(id, 0), Some(addrs[0]));
        assert_eq!(balance.addr(id, 1), Some(addrs[1]));
        assert_eq!(balance.addr(id, 2), None);
        balance.reached(id, 1);
        assert_eq!(balance.addr(id, 0), Some(addrs[1]));
    }
}
