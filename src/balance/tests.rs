//! What holds for any policy: health, trials, precedence, addresses. The laws of the policies stand in `laws.rs`, what a new
//! configuration keeps in `apply.rs`.

mod apply;
mod laws;

use std::sync::Arc;

use super::health::{BACK_OFF_MAX, BACK_OFF_MIN};
use super::*;
use crate::config;
use crate::config::{Policy, Sticky, WhenAllDown};

/// A balance of one pool, and what stands around it.
struct Scene {
    balance: Balance,
    pool: PoolId,
    ids: Vec<BackendId>,
    now: Instant,
}

/// Backends `b0`, `b1` and so on of these weights.
fn weighing(weights: &[u16]) -> config::Pool {
    let backends = weights.iter().enumerate().map(|(n, &weight)| {
        let mut backend = backend(&format!("b{n}"));
        backend.weight = weight;
        backend
    });
    config::Pool::new("web", backends.collect())
}

fn backend(name: &str) -> config::Backend {
    let addr: SocketAddr = "192.0.2.1:80".parse().unwrap();
    config::Backend::at(name, format!("{name}:80").parse().unwrap(), vec![addr])
}

/// So many backends of the same weight.
fn equal(count: usize) -> config::Pool {
    weighing(&vec![1; count])
}

fn sticky(mut pool: config::Pool) -> config::Pool {
    pool.sticky = Some(Sticky {
        cookie: "at".to_owned(),
        secret: None,
    });
    pool
}

impl Scene {
    fn new(pool: config::Pool) -> Self {
        let mut balance = Balance::new(7);
        let applied = balance.apply(&[Arc::new(pool)]);
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs some instant to count from"
        )]
        let now = Instant::now();
        Self {
            balance,
            pool: applied.pools[0],
            ids: applied.added,
            now,
        }
    }

    fn apply(&mut self, pool: config::Pool) -> Applied {
        self.balance.apply(&[Arc::new(pool)])
    }

    fn try_pick(&mut self, tried: &[BackendId], asker: &Asker) -> Option<Pick> {
        self.balance.pick(self.pool, self.now, tried, asker)
    }

    fn pick(&mut self) -> Option<Pick> {
        self.try_pick(&[], &Asker::default())
    }

    /// Who is picked next, in order, by their numbers.
    fn order(&mut self, count: usize) -> Vec<usize> {
        let picks = (0..count).map(|_| self.pick().expect("somebody is picked").id);
        let ids: Vec<BackendId> = picks.collect();
        ids.into_iter().map(|id| self.number(id)).collect()
    }

    fn number(&self, id: BackendId) -> usize {
        let name = self.balance.name(id);
        name.trim_start_matches('b').parse().unwrap()
    }

    /// Three failures in a row.
    fn fail(&mut self, number: usize) -> Option<Change> {
        let pick = pick(self.ids[number], false);
        let changes = (0..3).filter_map(|_| self.balance.failed(pick, self.now));
        changes.last()
    }

    fn take_out(&mut self, number: usize) {
        self.balance.take_out(self.ids[number], self.now);
    }

    fn bring_back(&mut self, number: usize) {
        let trial = pick(self.ids[number], true);
        assert!(self.balance.succeeded(trial).is_some());
    }

    fn token(&self, number: usize) -> Asker {
        Asker {
            token: self.balance.token(self.ids[number]),
            key: None,
        }
    }
}

fn pick(id: BackendId, trial: bool) -> Pick {
    Pick { id, trial }
}

#[test]
fn the_trial_is_of_the_one_that_is_out_whoever_stands_before_it() {
    let mut scene = Scene::new(equal(3));
    scene.fail(1);
    let ids = scene.ids.clone();
    let start = scene.now;
    scene.now = start + BACK_OFF_MIN / 2;
    assert_eq!(scene.pick(), Some(pick(ids[0], false)));
    assert_eq!(
        scene.balance.trial_next(scene.pool),
        Some(start + BACK_OFF_MIN)
    );
    scene.now = start + BACK_OFF_MIN;
    let other = scene.try_pick(&[ids[1]], &Asker::default());
    assert_eq!(other, Some(pick(ids[2], false)));
    assert_eq!(scene.pick(), Some(pick(ids[1], true)));
    assert_eq!(scene.pick(), Some(pick(ids[0], false)));
    assert_eq!(scene.balance.name(ids[1]), "b1");
}

#[test]
fn three_failures_in_a_row_take_a_backend_out_and_a_success_forgives() {
    let mut scene = Scene::new(equal(2));
    let (now, pick) = (scene.now, pick(scene.ids[0], false));
    let balance = &mut scene.balance;
    assert_eq!(balance.failed(pick, now), None);
    assert_eq!(balance.failed(pick, now), None);
    assert_eq!(balance.succeeded(pick), None);
    assert_eq!(balance.failed(pick, now), None);
    assert_eq!(balance.failed(pick, now), None);
    let out = Change::Out {
        failures: 3,
        back_off: BACK_OFF_MIN,
        live: 1,
    };
    assert_eq!(balance.failed(pick, now), Some(out));
    assert_eq!(
        balance.failed(pick, now),
        None,
        "late blame changes no more"
    );
    assert_eq!(balance.succeeded(pick), None, "only a trial brings it back");
}

#[test]
fn one_request_tries_a_backend_that_is_out_and_the_back_off_doubles_to_its_most() {
    let mut scene = Scene::new(equal(2));
    scene.fail(0);
    let first = pick(scene.ids[0], true);
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        let start = scene.now;
        scene.now = start + Duration::from_secs(seconds) - Duration::from_millis(1);
        assert!(!scene.pick().unwrap().trial, "not before {seconds} s");
        scene.now = start + Duration::from_secs(seconds);
        assert_eq!(scene.pick(), Some(first));
        assert!(!scene.pick().unwrap().trial, "one request only");
        let back_off = Duration::from_secs((seconds * 2).min(30));
        let change = scene.balance.failed(first, scene.now);
        assert_eq!(change, Some(Change::StillOut { back_off }));
    }
    scene.now += BACK_OFF_MAX;
    assert_eq!(scene.pick(), Some(first));
    let change = scene.balance.succeeded(first);
    assert_eq!(change, Some(Change::In { live: 2 }));
    assert_eq!(scene.balance.live(), 2);
    assert_eq!(scene.balance.trial_next(scene.pool), None);
}

#[test]
fn a_trial_of_which_nothing_is_heard_is_repeated_after_a_back_off() {
    let mut scene = Scene::new(equal(2));
    scene.fail(0);
    scene.now += BACK_OFF_MIN;
    assert!(scene.pick().unwrap().trial);
    scene.now += BACK_OFF_MIN - Duration::from_millis(1);
    assert!(!scene.pick().unwrap().trial);
    scene.now += Duration::from_millis(1);
    assert!(scene.pick().unwrap().trial);
}

#[test]
fn the_last_live_backend_stays_unless_it_may_go() {
    let mut stays = Scene::new(equal(2));
    assert!(stays.fail(0).is_some());
    assert_eq!(stays.fail(1), None);
    assert_eq!(stays.order(2), [1, 1]);
    let mut goes = Scene::new(config::Pool {
        take_out_last: true,
        ..equal(1)
    });
    assert!(goes.fail(0).is_some());
    assert_eq!(goes.pick(), None);
}

#[test]
fn one_of_weight_0_does_not_count_as_live_and_may_always_go() {
    let mut scene = Scene::new(weighing(&[1, 0]));
    assert_eq!(scene.balance.live_in(scene.pool), 1);
    assert_eq!(scene.fail(0), None, "it is the last that gets new clients");
    let out = scene.fail(1);
    assert!(matches!(out, Some(Change::Out { live: 1, .. })), "{out:?}");
}

#[test]
fn a_retry_goes_to_another_backend_or_nowhere() {
    for policy in laws::policies() {
        let mut scene = Scene::new(config::Pool {
            policy,
            ..weighing(&[1, 1, 2])
        });
        let mut tried = Vec::new();
        for _ in 0..3 {
            let asker = Asker {
                key: Some(5),
                token: None,
            };
            let pick = scene.try_pick(&tried, &asker).unwrap();
            assert!(!tried.contains(&pick.id));
            tried.push(pick.id);
        }
        assert_eq!(scene.try_pick(&tried, &Asker::default()), None);
    }
}

#[test]
fn the_address_that_was_reached_is_tried_first() {
    let mut pool = equal(1);
    let addrs: Vec<SocketAddr> = vec!["[::1]:80".parse().unwrap(), "127.0.0.1:80".parse().unwrap()];
    pool.backends[0].addrs.clone_from(&addrs);
    let mut scene = Scene::new(pool);
    let id = scene.ids[0];
    assert_eq!(scene.balance.addr(id, &[]), Some(addrs[0]));
    assert_eq!(scene.balance.addr(id, &addrs[..1]), Some(addrs[1]));
    assert_eq!(scene.balance.addr(id, &addrs), None);
    // Of two that set out together both meet the first address dead, and whoever comes second finds the other one too.
    scene.balance.reached(id, addrs[1]);
    assert_eq!(scene.balance.addr(id, &addrs[..1]), Some(addrs[1]));
    scene.balance.reached(id, addrs[1]);
    assert_eq!(scene.balance.addr(id, &[]), Some(addrs[1]));
    assert_eq!(scene.balance.addr(id, &addrs[1..]), Some(addrs[0]));
}

#[test]
fn pools_know_nothing_of_each_other() {
    let mut balance = Balance::new(0);
    let other = config::Pool {
        name: "api".to_owned(),
        ..equal(2)
    };
    let applied = balance.apply(&[Arc::new(equal(3)), Arc::new(other)]);
    let [web, api] = applied.pools[..] else {
        panic!("two pools: {applied:?}");
    };
    let scene = Scene::new(equal(1));
    balance.take_out(applied.added[3], scene.now);
    assert_eq!((balance.live_in(web), balance.live_in(api)), (3, 1));
    assert_eq!(balance.live(), 4);
    let picked = balance.pick(api, scene.now, &[], &Asker::default());
    assert_eq!(picked, Some(pick(applied.added[4], false)));
    let names: Vec<_> = balance.candidates(api).map(|one| one.name).collect();
    assert_eq!(names, ["b0", "b1"]);
}

#[test]
fn backups_are_picked_only_while_no_other_is_left() {
    let mut pool = equal(4);
    pool.backends[0].backup = true;
    pool.backends[2].backup = true;
    let mut scene = Scene::new(pool);
    assert_eq!(scene.order(4), [1, 3, 1, 3]);
    scene.take_out(2);
    scene.now += BACK_OFF_MIN;
    assert_eq!(scene.order(1), [1], "no trial of what is not needed");
    assert_eq!(scene.balance.trial_next(scene.pool), None);
    let tried = [scene.ids[1], scene.ids[3]];
    let retry = scene.try_pick(&tried, &Asker::default());
    assert_eq!(retry, Some(pick(scene.ids[0], false)));
    scene.take_out(1);
    scene.take_out(3);
    assert_eq!(scene.pick(), Some(pick(scene.ids[2], true)));
    assert_eq!(scene.order(2), [0, 0]);
    scene.bring_back(3);
    assert_eq!(scene.order(2), [3, 3]);
}

#[test]
fn a_cookie_leads_to_its_backend_while_it_lives() {
    let mut scene = Scene::new(sticky(weighing(&[1, 1, 0])));
    assert_eq!(scene.order(4), [0, 1, 0, 1]);
    for number in [2, 1, 1, 2, 0] {
        let asker = scene.token(number);
        assert_eq!(
            scene.try_pick(&[], &asker),
            Some(pick(scene.ids[number], false))
        );
    }
    let (asker, id) = (scene.token(1), scene.ids[1]);
    let elsewhere = scene.try_pick(&[id], &asker).unwrap();
    assert_ne!(elsewhere.id, id, "a retry does not go there again");
    let unknown = Asker {
        token: Token::parse(&[b'0'; TOKEN_DIGITS]),
        key: None,
    };
    assert!(scene.try_pick(&[], &unknown).is_some());
    scene.take_out(1);
    assert_eq!(scene.try_pick(&[], &asker), Some(pick(scene.ids[0], false)));
    // Its own clients try it first, and nobody who belongs to another.
    scene.now += BACK_OFF_MIN;
    let other = scene.token(0);
    assert_eq!(scene.try_pick(&[], &other), Some(pick(scene.ids[0], false)));
    assert_eq!(scene.try_pick(&[], &asker), Some(pick(id, true)));
}

#[test]
fn one_of_weight_0_is_tried_again_by_its_own_clients_only() {
    let mut scene = Scene::new(sticky(weighing(&[1, 0])));
    scene.take_out(1);
    scene.now += BACK_OFF_MIN;
    assert_eq!(scene.pick(), Some(pick(scene.ids[0], false)));
    let asker = scene.token(1);
    assert_eq!(scene.try_pick(&[], &asker), Some(pick(scene.ids[1], true)));
    scene.bring_back(1);
    assert_eq!(scene.order(2), [0, 0]);
    assert_eq!(scene.try_pick(&[], &asker), Some(pick(scene.ids[1], false)));
}

#[test]
fn a_pool_that_is_not_sticky_has_no_tokens() {
    let scene = Scene::new(equal(1));
    assert_eq!(scene.balance.token(scene.ids[0]), None);
}

#[test]
fn when_all_are_down_they_are_tried_all_the_same_only_if_that_is_wanted() {
    for when_all_down in [WhenAllDown::Refuse, WhenAllDown::Hold, WhenAllDown::TryAll] {
        let mut scene = Scene::new(sticky(config::Pool {
            when_all_down,
            ..weighing(&[1, 1, 1, 0])
        }));
        (0..4).for_each(|number| scene.take_out(number));
        assert_eq!(scene.balance.live(), 0);
        let due = scene.now + BACK_OFF_MIN;
        assert_eq!(scene.balance.trial_next(scene.pool), Some(due));
        if when_all_down != WhenAllDown::TryAll {
            assert_eq!(scene.pick(), None);
            continue;
        }
        assert_eq!(scene.order(4), [0, 1, 2, 0]);
        assert!(!scene.pick().unwrap().trial);
        let asker = scene.token(1);
        for _ in 0..3 {
            assert_eq!(scene.try_pick(&[], &asker), Some(pick(scene.ids[1], false)));
        }
        let tried = [scene.ids[0], scene.ids[1]];
        let left = scene.try_pick(&tried, &asker);
        assert_eq!(left, Some(pick(scene.ids[2], false)));
        scene.bring_back(2);
        assert_eq!(scene.order(3), [2, 2, 2], "one that lives gets all");
        let id = scene.ids[2];
        assert_eq!(scene.try_pick(&[id], &Asker::default()), None);
    }
}

#[test]
fn an_exchange_counts_until_its_guard_is_gone() {
    let mut scene = Scene::new(equal(2));
    let running = |scene: &Scene| -> Vec<u32> {
        let candidates = scene.balance.candidates(scene.pool);
        candidates.map(|one| one.running).collect()
    };
    let (one, other) = (
        scene.balance.begin(scene.ids[1]),
        scene.balance.begin(scene.ids[1]),
    );
    assert_eq!(running(&scene), [0, 2]);
    drop(one);
    drop(Load::default());
    assert_eq!(running(&scene), [0, 1]);
    scene.apply(equal(1));
    scene.apply(equal(2));
    assert_eq!(running(&scene), [0, 0], "it is another one of that name");
    drop(other);
    drop(scene.balance.begin(scene.ids[1]));
    assert_eq!(running(&scene), [0, 0]);
}
