//! Each policy by its law.

use fastrand::Rng;

use super::*;
use crate::config::{Hash, HashOn};

pub(super) fn policies() -> [Policy; 5] {
    [
        Policy::RoundRobin,
        Policy::LeastConnections,
        Policy::RandomTwo,
        hash_to(0),
        hash_to(125),
    ]
}

/// The hash policy with this bound.
fn hash_to(load_percent_max: u16) -> Policy {
    Policy::Hash(Hash {
        on: HashOn::Client,
        load_percent_max,
    })
}

fn scene(policy: Policy, weights: &[u16]) -> Scene {
    Scene::new(config::Pool {
        policy,
        ..weighing(weights)
    })
}

fn key(n: u64) -> Asker {
    Asker {
        key: Some(hash(&n.to_be_bytes())),
        token: None,
    }
}

/// How often each of `count` is in `order`.
fn counts(order: &[usize], count: usize) -> Vec<usize> {
    let mut counts = vec![0; count];
    order.iter().for_each(|&number| counts[number] += 1);
    counts
}

/// Every window of `order` as long as a round has each as often as it weighs.
fn assert_exact(order: &[usize], weights: &[u16]) {
    let expected: Vec<usize> = weights.iter().copied().map(usize::from).collect();
    for window in order.windows(expected.iter().sum()) {
        assert_eq!(counts(window, weights.len()), expected);
    }
}

#[test]
fn requests_are_shared_exactly() {
    for count in 1..9 {
        let mut scene = Scene::new(equal(count));
        let order = scene.order(100);
        for n in 1..=100 {
            let shares = counts(&order[..n], count);
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{n} over {count} backends: {shares:?}");
        }
    }
}

#[test]
fn the_dead_are_skipped_and_the_living_share_exactly() {
    let mut scene = Scene::new(equal(5));
    scene.fail(1);
    scene.fail(3);
    assert_eq!(scene.order(6), [0, 2, 4, 0, 2, 4]);
}

/// Picks `before` times of four, does `change`, and says who comes next, in order.
fn check_turns(before: usize, change: impl Fn(&mut Scene), expected: &[usize]) {
    let mut scene = Scene::new(equal(4));
    scene.order(before);
    change(&mut scene);
    let order = scene.order(expected.len());
    assert_eq!(order, expected, "after {before} picks");
}

#[test]
fn leaving_keeps_the_turn_of_the_others() {
    check_turns(2, |scene| scene.take_out(0), &[2, 3, 1, 2]);
    check_turns(2, |scene| scene.take_out(2), &[3, 0, 1, 3]);
    check_turns(2, |scene| scene.take_out(3), &[2, 0, 1, 2]);
    check_turns(3, |scene| scene.take_out(3), &[0, 1, 2, 0]);
}

#[test]
fn joining_keeps_the_turn_of_the_others() {
    let rejoin = |number| {
        move |scene: &mut Scene| {
            scene.take_out(number);
            scene.bring_back(number);
        }
    };
    check_turns(2, rejoin(0), &[2, 3, 0, 1]);
    check_turns(2, rejoin(3), &[2, 3, 0, 1]);
    check_turns(2, rejoin(2), &[2, 3, 0, 1]);
    let add = |scene: &mut Scene| drop(scene.apply(equal(5)));
    check_turns(0, add, &[0, 1, 2, 3, 4, 0]);
}

#[test]
fn all_skipped_is_none_and_nobody_loses_a_turn() {
    let skip_all = |scene: &mut Scene| {
        let ids = scene.ids.clone();
        assert_eq!(scene.try_pick(&ids, &Asker::default()), None);
    };
    check_turns(1, skip_all, &[1, 2, 3, 0]);
    let skip_one = |scene: &mut Scene| {
        let picked = scene.try_pick(&[scene.ids[1]], &Asker::default());
        assert_eq!(picked, Some(pick(scene.ids[2], false)));
    };
    check_turns(1, skip_one, &[3, 0]);
}

#[test]
fn each_comes_as_often_as_it_weighs_in_every_round() {
    let mut nginx = scene(Policy::RoundRobin, &[5, 1, 1]);
    assert_eq!(nginx.order(7), [0, 0, 1, 0, 2, 0, 0]);
    for weights in [&[1, 2][..], &[3, 0, 5, 1], &[256, 255, 1], &[7, 7, 0]] {
        let round: usize = weights.iter().copied().map(usize::from).sum();
        let order = scene(Policy::RoundRobin, weights).order(3 * round);
        assert_exact(&order, weights);
    }
}

#[test]
fn weights_are_exact_again_two_rounds_after_any_change() {
    let mut random = Rng::with_seed(1);
    for _ in 0..300 {
        let count = random.usize(3..7);
        let mut weights: Vec<u16> = (0..count).map(|_| random.u16(1..20)).collect();
        let mut scene = scene(Policy::RoundRobin, &weights);
        scene.order(random.usize(0..100));
        let number = random.usize(0..count);
        scene.take_out(number);
        let weight = std::mem::replace(&mut weights[number], 0);
        let round = |weights: &[u16]| weights.iter().copied().map(usize::from).sum::<usize>();
        let order = scene.order(4 * round(&weights));
        assert_exact(&order[2 * round(&weights)..], &weights);
        scene.order(random.usize(0..100));
        scene.bring_back(number);
        weights[number] = weight;
        let order = scene.order(4 * round(&weights));
        assert_exact(&order[2 * round(&weights)..], &weights);
    }
}

/// Runs random loads on backends of these weights. `law` judges each pick by the running exchanges before it.
fn under_load(policy: Policy, weights: &[u16], law: impl Fn(&[u32], usize)) {
    let mut random = Rng::with_seed(2);
    let mut scene = scene(policy, weights);
    let mut loads: Vec<(usize, Load)> = Vec::new();
    for n in 0..5_000 {
        let mut running = vec![0; weights.len()];
        loads.iter().for_each(|(number, _)| running[*number] += 1);
        let reported = scene.balance.candidates(scene.pool).map(|one| one.running);
        assert!(reported.eq(running.iter().copied()));
        let id = scene.try_pick(&[], &key(n % 40)).unwrap().id;
        let number = scene.number(id);
        law(&running, number);
        loads.push((number, scene.balance.begin(id)));
        while !loads.is_empty() && random.usize(0..60) < loads.len() {
            loads.swap_remove(random.usize(..loads.len()));
        }
    }
}

#[test]
fn least_connections_picks_nobody_who_has_more_than_another_for_its_weight() {
    for weights in [[1, 1, 1, 1], [1, 2, 3, 10]] {
        under_load(Policy::LeastConnections, &weights, |running, picked| {
            for (other, &load) in running.iter().enumerate() {
                let mine = running[picked] * u32::from(weights[other]);
                assert!(mine <= load * u32::from(weights[picked]));
            }
        });
    }
}

#[test]
fn least_connections_takes_equals_in_turn() {
    let mut three = scene(Policy::LeastConnections, &[1, 1, 1]);
    assert_eq!(three.order(5), [0, 1, 2, 0, 1]);
    let _load = three.balance.begin(three.ids[0]);
    assert_eq!(three.order(4), [2, 1, 2, 1]);
    let mut weighted = scene(Policy::LeastConnections, &[2, 1]);
    assert_exact(&weighted.order(9), &[2, 1]);
}

#[test]
fn random_two_never_picks_the_one_with_the_most_for_its_weight() {
    for weights in [[1, 1, 1, 1], [1, 2, 3, 10]] {
        under_load(Policy::RandomTwo, &weights, |running, picked| {
            let mine = |other: usize| running[picked] * u32::from(weights[other]);
            let less = |other: usize| running[other] * u32::from(weights[picked]);
            let most = (0..4).all(|other| other == picked || mine(other) > less(other));
            assert!(!most, "{picked} of {running:?}");
        });
    }
}

#[test]
fn random_two_draws_by_weight_and_the_same_from_the_same_seed() {
    for (weights, tried) in [(&[1, 1, 1, 1][..], None), (&[1, 2, 3, 4, 10], Some(4))] {
        let order = || -> Vec<usize> {
            let mut scene = scene(Policy::RandomTwo, weights);
            let tried: Vec<BackendId> = tried.iter().map(|&at: &usize| scene.ids[at]).collect();
            let picks = (0..20_000).map(|_| scene.try_pick(&tried, &Asker::default()).unwrap().id);
            let ids: Vec<BackendId> = picks.collect();
            ids.into_iter().map(|id| scene.number(id)).collect()
        };
        let order = {
            let first = order();
            assert_eq!(order(), first);
            first
        };
        let left = |at: usize| if tried == Some(at) { 0 } else { weights[at] };
        let total: u16 = (0..weights.len()).map(left).sum();
        for (at, count) in counts(&order, weights.len()).into_iter().enumerate() {
            let expected = 20_000 * usize::from(left(at)) / usize::from(total);
            let off = count.abs_diff(expected);
            assert!(off < 400, "{at}: {count}, not {expected}");
        }
    }
}

#[test]
fn random_two_of_two_is_the_one_with_fewer() {
    let mut scene = scene(Policy::RandomTwo, &[1, 9]);
    let _load = scene.balance.begin(scene.ids[1]);
    assert_eq!(scene.order(50), [0; 50]);
    assert_eq!(self::scene(Policy::RandomTwo, &[3]).order(3), [0; 3]);
}

const KEYS: u64 = 10_000;

/// Where each key goes.
fn places(scene: &mut Scene) -> Vec<usize> {
    let ids: Vec<BackendId> = (0..KEYS)
        .map(|n| scene.try_pick(&[], &key(n)).unwrap().id)
        .collect();
    ids.into_iter().map(|id| scene.number(id)).collect()
}

#[test]
fn the_same_key_goes_to_the_same_backend_and_keys_spread_by_weight() {
    for weights in [[1; 5], [1, 2, 3, 4, 0]] {
        let mut scene = scene(hash_to(0), &weights);
        let first = places(&mut scene);
        assert_eq!(places(&mut scene), first);
        let total: u16 = weights.iter().sum();
        for (at, count) in counts(&first, 5).into_iter().enumerate() {
            let expected = 10_000 * usize::from(weights[at]) / usize::from(total);
            let off = count.abs_diff(expected);
            assert!(off < 200, "{at}: {count}, not {expected}");
        }
    }
}

#[test]
fn keys_stay_where_they_were_in_the_first_version() {
    let mut equal = scene(hash_to(0), &[1; 5]);
    assert_eq!(
        places(&mut equal)[..16],
        [1, 1, 3, 0, 1, 2, 1, 0, 4, 2, 2, 0, 2, 1, 0, 0]
    );
    let mut weighted = scene(hash_to(0), &[1, 2, 3, 4, 5]);
    assert_eq!(
        places(&mut weighted)[..16],
        [3, 1, 3, 3, 3, 2, 1, 2, 4, 2, 2, 0, 2, 1, 0, 4]
    );
}

#[test]
fn one_that_goes_takes_only_its_own_keys_along_and_one_that_comes_takes_only_its_part() {
    for weights in [vec![1; 10], (1..=10).collect()] {
        let mut scene = scene(hash_to(0), &weights);
        let before = places(&mut scene);
        scene.take_out(3);
        let without = places(&mut scene);
        for (&before, &without) in before.iter().zip(&without) {
            assert!(if before == 3 {
                without != 3
            } else {
                without == before
            });
        }
        scene.bring_back(3);
        assert_eq!(places(&mut scene), before);
        let mut more = weighing(&[weights.as_slice(), &[weights[3]]].concat());
        more.policy = hash_to(0);
        // Where they stand in the file does not matter.
        more.backends.rotate_right(4);
        scene.apply(more);
        let after = places(&mut scene);
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after);
        let moved: Vec<usize> = moved.map(|(_, &after)| after).collect();
        assert!(moved.iter().all(|&after| after == 10));
        let total: u16 = weights.iter().sum::<u16>() + weights[3];
        let expected = 10_000 * usize::from(weights[3]) / usize::from(total);
        assert!(
            moved.len().abs_diff(expected) < 200,
            "{} moved",
            moved.len()
        );
    }
}

#[test]
fn nobody_gets_more_than_its_part_of_the_load_whatever_the_keys() {
    for weights in [[1, 1, 1, 1], [1, 2, 3, 10]] {
        let total: u32 = weights.iter().copied().map(u32::from).sum();
        for percent in [100, 125, 1000] {
            under_load(hash_to(percent), &weights, |running, picked| {
                let all = running.iter().sum::<u32>() + 1;
                let most = u32::from(percent) * all * u32::from(weights[picked]);
                assert!(running[picked] < most.div_ceil(100 * total), "{running:?}");
            });
        }
    }
}

#[test]
fn a_key_whose_backend_is_full_goes_to_its_next() {
    let mut scene = scene(hash_to(150), &[1, 1, 1]);
    for n in 0..50 {
        let first = scene.try_pick(&[], &key(n)).unwrap().id;
        let second = scene.try_pick(&[first], &key(n)).unwrap().id;
        // With one more there are 2, of which each may have 1.
        let load = scene.balance.begin(first);
        assert_eq!(scene.try_pick(&[], &key(n)).unwrap().id, second);
        drop(load);
        assert_eq!(scene.try_pick(&[], &key(n)).unwrap().id, first);
    }
}

#[test]
fn without_a_key_there_are_turns() {
    assert_eq!(scene(hash_to(125), &[1, 1, 1]).order(4), [0, 1, 2, 0]);
}
