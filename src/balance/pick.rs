//! The policies. Each sees only those that may be picked, a [`Tier`], and keeps its law exactly.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;

use fastrand::Rng;

use crate::config::Policy;

use super::BackendId;
use super::hash::{meet, score};
use super::smooth::{self, Turn};

/// A backend that may be picked.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: BackendId,
    /// Its place among all backends of its pool, as configured.
    pub(super) place: usize,
    /// Its weight, not 0, and how it stands in the smooth round robin.
    pub(super) turn: Turn,
    /// The hash of its name.
    pub(super) hash: u64,
    /// Its running exchanges.
    pub(super) running: Rc<Cell<u32>>,
    /// The weights up to here, its own included.
    pub(super) weights: u64,
}

/// Backends that may be picked alike, in the order they were configured, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Tier {
    members: Vec<Member>,
    /// Whose turn it is while all weigh the same: an index into `members`, or 0 when that is empty.
    next: usize,
    /// Whether all weigh the same.
    equal: bool,
}

impl Member {
    fn weight(&self) -> u64 {
        u64::from(self.turn.weight)
    }

    fn running(&self) -> u64 {
        u64::from(self.running.get())
    }

    /// Which of two has fewer running exchanges for its weight.
    fn compare_load(&self, other: &Self) -> Ordering {
        (self.running() * other.weight()).cmp(&(other.running() * self.weight()))
    }
}

impl Tier {
    /// Of these, in the order of their places. Kept ones go on as in `before`, and so does whose turn it is.
    pub(super) fn new(members: Vec<Member>, before: &Self) -> Self {
        let mut tier = Self {
            members,
            ..Self::default()
        };
        if before.members.is_empty() {
            tier.settle();
            return tier;
        }
        let credit = |member: &Member| (member.id, member.turn.credit);
        let credits: HashMap<_, _> = before.members.iter().map(credit).collect();
        for member in &mut tier.members {
            member.turn.credit = credits.get(&member.id).copied().unwrap_or(0);
        }
        tier.settle();
        tier.rescale(before.total());
        let place = |(at, member): (usize, &Member)| (member.id, at);
        let places: HashMap<_, _> = tier.members.iter().enumerate().map(place).collect();
        let (gone_by, to_come) = before.members.split_at(before.next);
        let mut in_turn = to_come.iter().chain(gone_by);
        tier.next = in_turn
            .find_map(|member| places.get(&member.id).copied())
            .unwrap_or(0);
        tier
    }

    /// How many may be picked.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// The one that a policy picks, passing over those to skip; `None` when that leaves none.
    pub(super) fn pick(
        &mut self,
        policy: &Policy,
        key: Option<u64>,
        random: &mut Rng,
        skip: impl Fn(BackendId) -> bool,
    ) -> Option<BackendId> {
        let skip = |member: &Member| skip(member.id);
        let at = match (policy, key) {
            (Policy::RoundRobin, _) | (Policy::Hash(_), None) => self.in_turn(skip),
            (Policy::LeastConnections, _) => self.least_loaded(skip),
            (Policy::RandomTwo, _) => self.better_of_two(random, skip),
            (Policy::Hash(hash), Some(key)) => self.by_key(key, hash.load_percent_max, skip),
        };
        at.map(|at| self.members[at].id)
    }

    /// The one whose turn it is, if all weigh the same and it is not to be skipped: what [`in_turn`](Self::in_turn) is for nearly
    /// every request, at half the cost.
    #[inline(always)]
    pub(super) fn whose_turn(&mut self, skip: impl Fn(BackendId) -> bool) -> Option<BackendId> {
        let member = self.members.get(self.next).filter(|_| self.equal)?;
        let id = member.id;
        if skip(id) {
            return None;
        }
        self.next = self.after(self.next);
        Some(id)
    }

    /// Each in turn. Of equal weights, no one gets more than one more than another; else each gets its weight in every
    /// round of as many as all weigh.
    fn in_turn(&mut self, skip: impl Fn(&Member) -> bool) -> Option<usize> {
        if !self.equal {
            let members = self.members.iter_mut().enumerate();
            let turns = members
                .filter(|(_, member)| !skip(member))
                .map(|(at, member)| (at, &mut member.turn));
            return smooth::next(turns);
        }
        let mut at = self.next;
        for _ in 0..self.members.len() {
            if !skip(&self.members[at]) {
                self.next = self.after(at);
                return Some(at);
            }
            at = self.after(at);
        }
        None
    }

    /// The place behind this one, going round.
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.members.len() {
            0
        } else {
            at + 1
        }
    }

    /// One with the fewest running exchanges for its weight; among several in turn.
    fn least_loaded(&mut self, skip: impl Fn(&Member) -> bool) -> Option<usize> {
        let candidates = self.members.iter().filter(|member| !skip(member));
        let least = candidates.min_by(|one, other| one.compare_load(other))?;
        let least = least.clone();
        self.in_turn(|member| skip(member) || member.compare_load(&least).is_gt())
    }

    /// Of two different ones, drawn by weight, the one with fewer running exchanges for its weight.
    fn better_of_two(&self, random: &mut Rng, skip: impl Fn(&Member) -> bool) -> Option<usize> {
        let first = self.draw(None, random, &skip)?;
        let Some(second) = self.draw(Some(first), random, &skip) else {
            return Some(first);
        };
        let order = self.members[first].compare_load(&self.members[second]);
        Some(if order.is_gt() { second } else { first })
    }

    /// Any but `other` and those to skip, each with a probability that is its part of their weights.
    fn draw(
        &self,
        other: Option<usize>,
        random: &mut Rng,
        skip: impl Fn(&Member) -> bool,
    ) -> Option<usize> {
        let left_out = other.map_or(0, |at| self.members[at].weight());
        let total = self.total() - left_out;
        if total == 0 {
            return None;
        }
        let mut point = random.u64(..total);
        if let Some(at) = other
            && point >= self.members[at].weights - left_out
        {
            point += left_out;
        }
        let at = self
            .members
            .partition_point(|member| member.weights <= point);
        if !skip(&self.members[at]) {
            return Some(at);
        }
        // A retry, rare enough to look at each.
        let candidates = || {
            let members = self.members.iter().enumerate();
            members.filter(|&(at, member)| Some(at) != other && !skip(member))
        };
        let total: u64 = candidates().map(|(_, member)| member.weight()).sum();
        let mut point = (total > 0).then(|| random.u64(..total))?;
        for (at, member) in candidates() {
            match point.checked_sub(member.weight()) {
                Some(rest) => point = rest,
                None => return Some(at),
            }
        }
        None
    }

    /// The first for the key that has not yet its part of the load: `percent` of what were fair, rounded up, the exchange to
    /// come included; 0 is no bound. There always is one, since not all can have more than what is fair.
    fn by_key(&self, key: u64, percent: u16, skip: impl Fn(&Member) -> bool) -> Option<usize> {
        let candidates = || {
            let members = self.members.iter().enumerate();
            members.filter(|(_, member)| !skip(member))
        };
        let (mut running, mut weights) = (1, 0);
        if percent > 0 {
            for (_, member) in candidates() {
                running += member.running();
                weights += member.weight();
            }
        }
        let has_room = |member: &Member| {
            let has = u128::from(member.running()) * u128::from(weights) * 100;
            let may = u128::from(percent) * u128::from(running) * u128::from(member.weight());
            percent == 0 || has < may
        };
        let candidates = candidates().filter(|(_, member)| has_room(member));
        if self.equal {
            let best = candidates.max_by_key(|(_, member)| meet(key, member.hash));
            best.map(|(at, _)| at)
        } else {
            // Once for each: a score costs far more than to compare two.
            let score = |member: &Member| score(meet(key, member.hash), member.turn.weight);
            let scores = candidates.map(|(at, member)| (at, score(member)));
            scores
                .max_by(|(_, one), (_, other)| one.total_cmp(other))
                .map(|(at, _)| at)
        }
    }

    /// A backend may be picked from now on. Whose turn it was, it stays, unless the newcomer stands right before that one:
    /// then the newcomer comes first.
    pub(super) fn join(&mut self, member: Member) {
        let place = |other: &Member| other.place;
        let found = self.members.binary_search_by_key(&member.place, place);
        let at = found.expect_err("a backend joins once");
        let before = self.total();
        self.members.insert(at, member);
        if at < self.next {
            self.next += 1;
        }
        self.settle();
        self.rescale(before);
    }

    /// A backend may not be picked any more. Whose turn it was, it stays, unless it was its turn.
    pub(super) fn leave(&mut self, place: usize) {
        let at = self
            .members
            .binary_search_by_key(&place, |member| member.place)
            .expect("only one that joined leaves");
        let before = self.total();
        self.members.remove(at);
        if at < self.next {
            self.next -= 1;
        }
        if self.next == self.members.len() {
            self.next = 0;
        }
        self.settle();
        self.rescale(before);
    }

    /// What all weigh.
    fn total(&self) -> u64 {
        self.members.last().map_or(0, |member| member.weights)
    }

    /// The members or their weights have changed: sums them up.
    fn settle(&mut self) {
        let mut weights = 0;
        for member in &mut self.members {
            weights += member.weight();
            member.weights = weights;
        }
        let mut pairs = self.members.windows(2);
        self.equal = pairs.all(|pair| pair[0].turn.weight == pair[1].turn.weight);
    }

    fn rescale(&mut self, before: u64) {
        let after = self.total();
        for member in &mut self.members {
            member.turn.rescale(before, after);
        }
    }
}
