//! Whose turn it was, where nothing went wrong: exact round robin, also across reloads.

use super::plan::Plan;
use super::reloads::indices;

/// One thing that tells of turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Picked {
    /// A request went to this backend.
    Backend(usize),
    /// From here on another configuration was served.
    Reload(usize),
}

/// Those that are alive follow each other in the order of the configuration, whoever else is tried in between. After a reload
/// it goes on with the first that would have come and is still there. Where weights differ, each gets its share.
pub(crate) fn check(picks: &[Picked], plan: &Plan) {
    let mut weighed = Weighed::of(&plan.config, plan);
    let mut next = 0;
    for (at, &picked) in picks.iter().enumerate() {
        match picked {
            Picked::Backend(backend) if plan.dead == Some(backend) => {}
            Picked::Backend(backend) => {
                let order = &weighed.order;
                if weighed.is_even() {
                    assert_eq!(
                        backend, order[next],
                        "of {order:?} not each in turn, at {at}: {picks:?}"
                    );
                    next = (next + 1) % order.len();
                }
                weighed.count(backend, at, picks);
            }
            Picked::Reload(nth) => {
                let after = Weighed::of(&plan.reloads[nth].config, plan);
                if after == weighed.fresh() {
                    continue;
                }
                let (gone_by, to_come) = weighed.order.split_at(next);
                let mut in_turn = to_come.iter().chain(gone_by);
                next = in_turn
                    .find_map(|backend| after.order.iter().position(|other| other == backend))
                    .unwrap_or(0);
                // Where weights differed, only those know whose turn it is who had them.
                let known = weighed.is_even();
                weighed = after;
                weighed.known = known;
            }
        }
    }
}

/// Backends with their weights, and how often each was picked.
#[derive(Debug, PartialEq, Eq)]
struct Weighed {
    order: Vec<usize>,
    weights: Vec<usize>,
    counts: Vec<usize>,
    known: bool,
}

impl Weighed {
    fn of(config: &rondel::config::Config, plan: &Plan) -> Self {
        let backends = config.pools[0].backends.iter();
        let weights = backends.map(|backend| usize::from(backend.weight));
        let (order, weights): (Vec<usize>, Vec<usize>) = indices(config)
            .into_iter()
            .zip(weights)
            .filter(|&(backend, _)| plan.dead != Some(backend))
            .unzip();
        Self {
            counts: vec![0; order.len()],
            known: true,
            order,
            weights,
        }
    }

    fn fresh(&self) -> Self {
        Self {
            order: self.order.clone(),
            weights: self.weights.clone(),
            counts: vec![0; self.order.len()],
            known: self.known,
        }
    }

    /// Whether all weigh the same, and it is known whose turn it is.
    fn is_even(&self) -> bool {
        self.known && self.weights.iter().all(|weight| *weight == self.weights[0])
    }

    /// One was picked: it has had its share, and not two more.
    fn count(&mut self, backend: usize, at: usize, picks: &[Picked]) {
        let place = self.order.iter().position(|&other| other == backend);
        let place = place.unwrap_or_else(|| panic!("{backend} was removed, at {at}: {picks:?}"));
        self.counts[place] += 1;
        let (picked, all) = (
            self.counts.iter().sum::<usize>(),
            self.weights.iter().sum::<usize>(),
        );
        for (count, weight) in self.counts.iter().zip(&self.weights) {
            assert!(
                (count * all).abs_diff(picked * weight) <= 2 * all,
                "{self:?} is no share, at {at}: {picks:?}"
            );
        }
    }
}
