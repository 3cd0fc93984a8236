//! What a new configuration keeps, and what it takes away.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;
use crate::config::WEIGHT_MAX;

#[test]
fn the_same_configuration_changes_nothing() {
    for policy in laws::policies() {
        for weights in [[1, 1, 1, 1], [3, 1, 5, 2]] {
            let pool = config::Pool {
                policy: policy.clone(),
                ..weighing(&weights)
            };
            let (mut steady, mut reloaded) = (Scene::new(pool.clone()), Scene::new(pool.clone()));
            let mut random = Rng::with_seed(3);
            let mut loads = Vec::new();
            for _ in 0..2_000 {
                let asker = Asker {
                    key: random.bool().then(|| random.u64(..)),
                    token: None,
                };
                let (one, other) = (steady.pick_for(&asker), reloaded.pick_for(&asker));
                assert_eq!(one, other);
                loads.push([steady.balance.begin(one.id), reloaded.balance.begin(one.id)]);
                if loads.len() > 10 {
                    loads.swap_remove(random.usize(..10));
                }
                if random.u8(..) < 20 {
                    let failed = steady.balance.failed(one, steady.now);
                    assert_eq!(failed, reloaded.balance.failed(one, reloaded.now));
                } else {
                    let succeeded = steady.balance.succeeded(one);
                    assert_eq!(succeeded, reloaded.balance.succeeded(one));
                }
                let step = Duration::from_millis(random.u64(..300));
                (steady.now, reloaded.now) = (steady.now + step, reloaded.now + step);
                if random.u8(..) < 50 {
                    let applied = reloaded.apply(pool.clone());
                    assert_eq!(applied.kept, reloaded.ids);
                }
            }
        }
    }
}

impl Scene {
    fn pick_for(&mut self, asker: &Asker) -> Pick {
        self.try_pick(&[], asker).expect("the last one stays")
    }
}

#[test]
fn who_stays_keeps_its_id_its_health_its_turn_and_its_address() {
    let addrs: Vec<SocketAddr> = vec!["[::1]:80".parse().unwrap(), "127.0.0.1:80".parse().unwrap()];
    let mut pool = equal(4);
    pool.backends[3].addrs.clone_from(&addrs);
    let mut scene = Scene::new(pool.clone());
    scene.fail(0);
    scene.balance.reached(scene.ids[3], addrs[1]);
    let load = scene.balance.begin(scene.ids[3]);
    assert_eq!(scene.order(1), [1]);
    // b2, whose turn it is, moves to the end; b1 goes; b4 comes.
    let moved = pool.backends.remove(2);
    pool.backends.remove(1);
    pool.backends.extend([moved, backend("b4")]);
    pool.backends[1].addrs = [addrs[1], "192.0.2.9:80".parse().unwrap(), addrs[0]].to_vec();
    let applied = scene.apply(pool);
    let ids = &scene.ids;
    assert_eq!(applied.pools, [scene.pool]);
    assert_eq!(applied.kept, [ids[0], ids[3], ids[2]]);
    assert_eq!(applied.removed, [ids[1]]);
    assert_eq!(applied.added.len(), 1);
    let shown: Vec<_> = scene.balance.candidates(scene.pool).collect();
    assert_eq!(
        shown.iter().map(|one| one.name).collect::<Vec<_>>(),
        ["b0", "b3", "b2", "b4"]
    );
    assert_eq!(
        shown.iter().map(|one| one.running).collect::<Vec<_>>(),
        [0, 1, 0, 0]
    );
    assert!(!shown[0].health.is_live());
    assert_eq!(scene.balance.addr(scene.ids[3], &[]), Some(addrs[1]));
    assert_eq!(scene.order(4), [2, 4, 3, 2]);
    drop(load);
    scene.now += BACK_OFF_MIN;
    assert_eq!(scene.pick(), Some(pick(scene.ids[0], true)));
}

#[test]
fn who_is_gone_is_nobody_and_its_name_does_not_bring_it_back() {
    let mut scene = Scene::new(sticky(equal(2)));
    let gone = scene.ids[1];
    scene.apply(sticky(equal(1)));
    assert!(!scene.balance.is_known(gone));
    let applied = scene.apply(sticky(equal(2)));
    let new = applied.added[0];
    assert_eq!(
        new.index(),
        gone.index(),
        "it has its place, or this shows nothing"
    );
    assert_ne!(new, gone);
    for _ in 0..5 {
        assert_eq!(scene.balance.failed(pick(gone, false), scene.now), None);
    }
    let addr = scene.balance.addr(new, &[]).unwrap();
    assert!(scene.balance.is_at(new, addr) && !scene.balance.is_at(gone, addr));
    scene.balance.reached(gone, addr);
    scene.balance.take_out(gone, scene.now);
    assert_eq!(scene.balance.succeeded(pick(gone, true)), None);
    assert_eq!(scene.balance.live(), 2);
    assert_eq!(scene.balance.name(gone), "(removed)");
    assert_eq!(
        (scene.balance.addr(gone, &[]), scene.balance.token(gone)),
        (None, None)
    );
    // That the old one was tried says nothing of the new one.
    let tried = [gone, scene.ids[0]];
    assert_eq!(
        scene.try_pick(&tried, &Asker::default()),
        Some(pick(new, false))
    );
}

#[test]
fn the_last_live_one_is_not_out_because_the_others_are_gone() {
    for take_out_last in [false, true] {
        let of = |count| config::Pool {
            take_out_last,
            ..equal(count)
        };
        let mut scene = Scene::new(of(2));
        scene.fail(0);
        let mut pool = of(2);
        pool.backends.remove(1);
        scene.apply(pool);
        let expected = (!take_out_last).then_some(pick(scene.ids[0], false));
        assert_eq!(scene.try_pick(&[], &Asker::default()), expected);
    }
}

#[test]
fn another_server_under_the_same_name_is_another_backend() {
    let mut scene = Scene::new(equal(2));
    scene.fail(1);
    let mut pool = equal(2);
    pool.backends[1].server = "elsewhere:81".parse().unwrap();
    let applied = scene.apply(pool);
    assert_eq!(
        (applied.kept, applied.removed),
        (vec![scene.ids[0]], vec![scene.ids[1]])
    );
    assert_eq!(scene.balance.live(), 2);
}

#[test]
fn a_pool_that_goes_takes_its_backends_along_and_comes_back_as_another() {
    let mut scene = Scene::new(equal(2));
    let other = config::Pool {
        name: "api".to_owned(),
        ..equal(1)
    };
    let applied = scene.apply(other);
    assert_eq!(applied.removed.len(), 2);
    assert_eq!(scene.pick(), None);
    assert_eq!(scene.balance.live_in(scene.pool), 0);
    assert_eq!(scene.balance.candidates(scene.pool).count(), 0);
    let applied = scene.apply(equal(2));
    assert_ne!(applied.pools[0], scene.pool);
    assert!(scene.ids.iter().all(|&id| !scene.balance.is_known(id)));
}

#[test]
fn another_policy_begins_anew_and_new_weights_do_not() {
    let mut scene = Scene::new(weighing(&[2, 1]));
    assert_eq!(scene.order(1), [0]);
    scene.apply(weighing(&[2, 1]));
    assert_eq!(scene.order(3), [1, 0, 0]);
    assert_eq!(scene.order(1), [1]);
    scene.apply(config::Pool {
        policy: Policy::LeastConnections,
        ..weighing(&[2, 1])
    });
    assert_eq!(scene.order(3), [0, 1, 0]);
    let mut heavy = Scene::new(weighing(&[WEIGHT_MAX, 1, 1]));
    heavy.order(usize::from(WEIGHT_MAX / 3));
    heavy.apply(weighing(&[1, 2, 1]));
    let order = heavy.order(8);
    assert!((0..3).all(|number| order.contains(&number)), "{order:?}");
}

/// What is known of a backend without looking into the balance.
#[derive(Clone, Copy, Debug)]
struct Known {
    id: BackendId,
    weight: u16,
    backup: bool,
    failures: u32,
    live: bool,
    running: u32,
}

/// A simple balance that knows only names, and the true one beside it.
struct Model {
    scene: Scene,
    random: Rng,
    known: BTreeMap<String, Known>,
    gone: Vec<BackendId>,
    take_out_last: bool,
    running: Vec<(String, BackendId, Load)>,
}

#[test]
fn whatever_comes_in_whatever_order_nobody_is_mistaken_for_another() {
    for seed in 0..60 {
        let mut model = Model {
            scene: Scene::new(equal(1)),
            random: Rng::with_seed(seed),
            known: BTreeMap::new(),
            gone: Vec::new(),
            take_out_last: false,
            running: Vec::new(),
        };
        let b0 = Known::new(model.scene.ids[0]);
        model.known.insert("b0".to_owned(), b0);
        for _ in 0..400 {
            match model.random.u8(..100) {
                0..10 => model.reconfigure(),
                10..60 => model.exchange(),
                60..90 => model.end_one(),
                _ => model.scene.now += Duration::from_millis(model.random.u64(..700)),
            }
            model.check();
        }
    }
}

impl Known {
    fn new(id: BackendId) -> Self {
        Self {
            id,
            weight: 1,
            backup: false,
            failures: 0,
            live: true,
            running: 0,
        }
    }
}

impl Model {
    /// Some of eight names in any order, with any weights.
    fn reconfigure(&mut self) {
        let random = &mut self.random;
        let mut pool = equal(8);
        random.shuffle(&mut pool.backends);
        pool.backends.truncate(random.usize(1..8));
        pool.policy = random.choice(laws::policies()).unwrap();
        pool.take_out_last = random.bool();
        for backend in &mut pool.backends {
            backend.weight = random.u16(..4);
            backend.backup = random.u8(..) < 60;
        }
        self.take_out_last = pool.take_out_last;
        let applied = self.scene.apply(pool.clone());
        let shown: Vec<BackendId> = self
            .scene
            .balance
            .candidates(self.scene.pool)
            .map(|one| one.id)
            .collect();
        let mut after = BTreeMap::new();
        for (backend, id) in pool.backends.iter().zip(shown) {
            let known = self.known.remove(&backend.name);
            let is_new = !self.gone.contains(&id) && applied.added.contains(&id);
            assert!(known.map_or(is_new, |known| known.id == id));
            let known = Known {
                weight: backend.weight,
                backup: backend.backup,
                ..known.unwrap_or(Known::new(id))
            };
            after.insert(backend.name.clone(), known);
        }
        for known in self.known.values() {
            assert!(applied.removed.contains(&known.id));
            self.gone.push(known.id);
        }
        let mut open = after.values_mut().filter(|known| known.weight > 0);
        if !self.take_out_last && open.all(|known| !known.live) {
            for known in after.values_mut().filter(|known| known.weight > 0) {
                (known.live, known.failures) = (true, 0);
            }
        }
        self.known = after;
    }

    /// A pick, which must be one of those that it may be, and what comes of it.
    fn exchange(&mut self) {
        let open = || self.known.values().filter(|known| known.weight > 0);
        let live = open().filter(|known| known.live).count();
        let regular = open().any(|known| known.live && !known.backup);
        let Some(pick) = self.scene.pick() else {
            assert_eq!(live, 0, "somebody is live: {:?}", self.known);
            return;
        };
        let name = self.scene.balance.name(pick.id).to_owned();
        let found = self.known.get_mut(&name).unwrap();
        assert_eq!(found.id, pick.id);
        assert_eq!(found.live, !pick.trial);
        assert!(found.weight > 0 && (!found.backup || !regular));
        found.running += 1;
        let load = self.scene.balance.begin(pick.id);
        self.running.push((name, pick.id, load));
        if self.random.bool() {
            let change = self.scene.balance.succeeded(pick);
            assert_eq!(change.is_some(), pick.trial);
            (found.live, found.failures) = (true, 0);
            return;
        }
        found.failures += 1;
        let change = self.scene.balance.failed(pick, self.scene.now);
        let goes = found.live && found.failures >= 3 && (live > 1 || self.take_out_last);
        assert_eq!(matches!(change, Some(Change::Out { .. })), goes);
        assert_eq!(matches!(change, Some(Change::StillOut { .. })), pick.trial);
        found.live &= !goes;
    }

    /// One exchange ends, perhaps of a backend that is gone, whose late blame is heard.
    fn end_one(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let at = self.random.usize(..self.running.len());
        let (name, id, _load) = self.running.swap_remove(at);
        match self.known.get_mut(&name).filter(|known| known.id == id) {
            Some(known) => known.running -= 1,
            None => {
                let pick = pick(id, self.random.bool());
                assert_eq!(self.scene.balance.failed(pick, self.scene.now), None);
            }
        }
    }

    fn check(&self) {
        let Scene { balance, pool, .. } = &self.scene;
        assert_eq!(balance.candidates(*pool).count(), self.known.len());
        for shown in balance.candidates(*pool) {
            let known = self.known[shown.name];
            assert_eq!((shown.id, shown.weight), (known.id, known.weight));
            assert_eq!((shown.backup, shown.running), (known.backup, known.running));
            assert_eq!(shown.health.is_live(), known.live);
        }
        let open = self.known.values().filter(|known| known.weight > 0);
        let live = open.filter(|known| known.live).count();
        assert_eq!(balance.live_in(*pool), live);
        assert!(self.gone.iter().all(|&id| !balance.is_known(id)));
    }
}
