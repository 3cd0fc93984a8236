//! What happens when: the moments to come, in order, those of the same time in the order in which they were planned.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use super::sock::{Peer, SockId};

/// What happens at a moment to come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    Arrive(SockId),
    Space(SockId),
    Connected(SockId, usize),
    ConnectFailed(SockId, i32),
    Queued(usize, SockId),
    Wake(Peer),
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    serial: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Agenda {
    entries: BinaryHeap<Reverse<Entry>>,
    serial: u64,
}

impl Agenda {
    pub(crate) fn plan(&mut self, at: Duration, due: Due) {
        self.serial += 1;
        self.entries.push(Reverse(Entry {
            at,
            serial: self.serial,
            due,
        }));
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.entries.peek().map(|Reverse(entry)| entry.at)
    }

    /// The next thing, if its time has come by `until`.
    pub(crate) fn next(&mut self, until: Duration) -> Option<(Duration, Due)> {
        if self.next_at().is_none_or(|at| at > until) {
            return None;
        }
        self.entries
            .pop()
            .map(|Reverse(entry)| (entry.at, entry.due))
    }
}
