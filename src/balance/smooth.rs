//! Smooth weighted round robin, as nginx does it: each is credited its weight, the one with the most credit is taken and
//! pays what all were credited. Over as many picks as the weights sum up to, each comes exactly as often as it weighs, and
//! not in a row.

use crate::config::Share;

/// How one of several stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Its weight, not 0.
    pub(super) weight: u32,
    /// What it was credited and has not paid. Only the difference to the others counts.
    pub(super) credit: i64,
}

impl Turn {
    pub(super) fn new(weight: u32) -> Self {
        Self { weight, credit: 0 }
    }

    /// The weights sum up to something else from now on: how far each is in its round stays the same.
    pub(super) fn rescale(&mut self, before: u64, after: u64) {
        if before != after && before > 0 {
            let scaled = i128::from(self.credit) * i128::from(after) / i128::from(before);
            self.credit = i64::try_from(scaled).unwrap_or(0);
        }
    }
}

/// Whose turn it is, of those that are given: its number among them. The first of several with the most credit.
pub(super) fn next<'a>(turns: impl Iterator<Item = (usize, &'a mut Turn)>) -> Option<usize> {
    let mut sum = 0;
    let mut best: Option<(usize, &'a mut Turn)> = None;
    for (at, turn) in turns {
        sum += i64::from(turn.weight);
        turn.credit += i64::from(turn.weight);
        if best
            .as_ref()
            .is_none_or(|(_, other)| turn.credit > other.credit)
        {
            best = Some((at, turn));
        }
    }
    let (at, turn) = best?;
    turn.credit -= sum;
    Some(at)
}

/// A weighted split of requests between pools, exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The pools, by their places, with their weights.
    pools: Vec<(usize, Turn)>,
}

impl Split {
    /// A split that begins anew. One whose shares weigh nothing at all gives everything to the first.
    ///
    /// # Panics
    /// Without any share.
    #[must_use]
    pub fn new(shares: &[Share]) -> Self {
        let first = shares.first().expect("a split has shares").pool;
        let turn = |share: &Share| (share.pool, Turn::new(u32::from(share.weight)));
        let mut pools: Vec<_> = shares
            .iter()
            .filter(|share| share.weight > 0)
            .map(turn)
            .collect();
        if pools.is_empty() {
            pools.push((first, Turn::new(1)));
        }
        Self { pools }
    }

    /// The pool for the next request, by its place in the configuration.
    pub fn pick(&mut self) -> usize {
        let turns = self.pools.iter_mut().map(|(_, turn)| turn).enumerate();
        let at = next(turns).expect("a split has shares");
        self.pools[at].0
    }

    /// Goes on where `before` was, if that split the same way: between as many pools, with the same weights, in the same order.
    /// Which pools they are is for the caller to compare, who knows their names before and after.
    pub fn resume(&mut self, before: &Self) {
        let weights = |split: &Self| -> Vec<u32> {
            split.pools.iter().map(|(_, turn)| turn.weight).collect()
        };
        if weights(self) == weights(before) {
            for (mine, theirs) in self.pools.iter_mut().zip(&before.pools) {
                mine.1 = theirs.1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(weights: &[u16]) -> Split {
        let share = |(pool, &weight)| Share { pool, weight };
        let shares: Vec<Share> = weights.iter().enumerate().map(share).collect();
        Split::new(&shares)
    }

    #[test]
    fn the_order_is_the_one_of_nginx() {
        let mut split = split(&[5, 1, 1]);
        let order: Vec<usize> = (0..14).map(|_| split.pick()).collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn every_window_of_as_many_as_the_weights_is_split_exactly() {
        for weights in [
            &[1][..],
            &[3, 2],
            &[256, 1],
            &[0, 7, 0, 3],
            &[10, 20, 30, 41],
        ] {
            let mut split = split(weights);
            let round: usize = weights.iter().map(|&weight| usize::from(weight)).sum();
            let order: Vec<usize> = (0..3 * round).map(|_| split.pick()).collect();
            for window in order.windows(round) {
                for (pool, &weight) in weights.iter().enumerate() {
                    let count = window.iter().filter(|&&other| other == pool).count();
                    assert_eq!(count, usize::from(weight), "of {weights:?}");
                }
            }
        }
    }

    #[test]
    fn a_split_of_the_same_shares_goes_on_and_any_other_begins_anew() {
        let mut before = split(&[2, 1]);
        assert_eq!(before.pick(), 0);
        let mut same = split(&[2, 1]);
        same.resume(&before);
        assert_eq!(same, before);
        assert_eq!([same.pick(), same.pick()], [1, 0]);
        let mut other = split(&[2, 2]);
        other.resume(&before);
        assert_eq!(other, split(&[2, 2]));
    }

    #[test]
    fn shares_that_weigh_nothing_go_to_the_first() {
        assert_eq!(split(&[0, 0]).pick(), 0);
    }
}
