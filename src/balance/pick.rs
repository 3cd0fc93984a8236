//! The policies. Each sees the live backends only, by their keys, and is exact.

/// Each live backend in turn: of N requests over K live backends, no one gets more than one more than another.
#[derive(Debug, Default)]
pub struct RoundRobin {
    /// The live backends, in the order they were configured.
    live: Vec<u32>,
    /// Whose turn it is: an index into `live`, or 0 when that is empty.
    next: usize,
}

impl RoundRobin {
    /// The backend whose turn it is, passing over those to skip; `None` when that leaves none.
    pub fn pick(&mut self, skip: impl Fn(u32) -> bool) -> Option<u32> {
        let count = self.live.len();
        for step in 0..count {
            let at = (self.next + step) % count;
            if !skip(self.live[at]) {
                self.next = (at + 1) % count;
                return Some(self.live[at]);
            }
        }
        None
    }

    /// A backend is live from now on. Whose turn it was, it stays, unless the newcomer stands right before that one: then
    /// the newcomer comes first.
    pub fn join(&mut self, key: u32) {
        let at = self.live.partition_point(|&other| other < key);
        assert!(self.live.get(at) != Some(&key), "a backend joins once");
        self.live.insert(at, key);
        if at < self.next {
            self.next += 1;
        }
    }

    /// A backend is not live any more. Whose turn it was, it stays, unless it was its turn.
    pub fn leave(&mut self, key: u32) {
        let at = self
            .live
            .binary_search(&key)
            .expect("only a live backend leaves");
        self.live.remove(at);
        if at < self.next {
            self.next -= 1;
        }
        if self.next == self.live.len() {
            self.next = 0;
        }
    }

    /// How many are live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins 0, 1, 2, …, picks `before` times, does `change`, and says who comes next, in order.
    fn check(before: usize, change: impl Fn(&mut RoundRobin), expected: &[u32]) {
        let mut policy = RoundRobin::default();
        (0..4).for_each(|key| policy.join(key));
        (0..before).for_each(|_| assert!(policy.pick(|_| false).is_some()));
        change(&mut policy);
        let picks: Vec<u32> = expected
            .iter()
            .filter_map(|_| policy.pick(|_| false))
            .collect();
        assert_eq!(picks, expected, "after {before} picks");
    }

    #[test]
    fn leaving_keeps_the_turn_of_the_others() {
        check(2, |policy| policy.leave(0), &[2, 3, 1, 2]);
        check(2, |policy| policy.leave(2), &[3, 0, 1, 3]);
        check(2, |policy| policy.leave(3), &[2, 0, 1, 2]);
        check(3, |policy| policy.leave(3), &[0, 1, 2, 0]);
    }

    #[test]
    fn joining_keeps_the_turn_of_the_others() {
        let rejoin = |key| {
            move |policy: &mut RoundRobin| {
                policy.leave(key);
                policy.join(key);
            }
        };
        check(2, rejoin(0), &[2, 3, 0, 1]);
        check(2, rejoin(3), &[2, 3, 0, 1]);
        check(2, rejoin(2), &[2, 3, 0, 1]);
        check(0, |policy| policy.join(9), &[0, 1, 2, 3, 9, 0]);
    }

    #[test]
    fn all_skipped_is_none_and_nobody_loses_a_turn() {
        check(
            1,
            |policy| assert_eq!(policy.pick(|_| true), None),
            &[1, 2, 3, 0],
        );
        check(
            1,
            |policy| assert_eq!(policy.pick(|key| key == 1), Some(2)),
            &[3, 0],
        );
    }

    #[test]
    fn nobody_live_is_none() {
        assert_eq!(RoundRobin::default().pick(|_| false), None);
    }
}
