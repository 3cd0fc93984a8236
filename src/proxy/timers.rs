//! What a session's deadline is for, and one reminder per session.
//!
//! A session's deadline moves later far more often than it comes: then its reminder is left alone, comes up early and is
//! renewed. Only a deadline that moves earlier moves the reminder. Architecture invariant: as many reminders as sessions.

use std::time::{Duration, Instant};

use crate::config::Timeouts;
use crate::net::buffer::OWN_MEMORY_BYTES;

use super::failure::Failure;
use super::shrink::SESSIONS_KEPT;

/// The place of a session that has no reminder.
const NOWHERE: u32 = u32::MAX;

/// The reminders of all sessions: a heap, whose first is the next to come. A new reminder mostly comes last, and is put
/// there in a few steps. Two plain arrays, so that what many sessions needed can be given back.
#[derive(Debug)]
pub(crate) struct Timers {
    /// None comes before the one in front of it, which is at half its place.
    heap: Vec<Reminder>,
    /// By key: where in the heap the session's reminder is.
    places: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Reminder {
    at: Instant,
    key: u32,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            heap: Vec::with_capacity(OWN_MEMORY_BYTES / size_of::<Reminder>() + 1),
            places: Vec::with_capacity(OWN_MEMORY_BYTES / size_of::<u32>()),
        }
    }

    /// Reminds of a new session.
    pub(crate) fn insert(&mut self, at: Instant, key: usize) {
        if self.places.len() <= key {
            self.places.resize(key + 1, NOWHERE);
        }
        assert!(self.places[key] == NOWHERE, "a session has one reminder");
        let key = u32::try_from(key).expect("there are no more sessions than descriptors");
        self.heap.push(Reminder { at, key });
        self.rise(self.heap.len() - 1);
    }

    /// The session's deadline is now `deadline`. If that is before its reminder, the reminder comes earlier too.
    pub(crate) fn hasten(&mut self, key: usize, deadline: Instant) {
        let place = self.place(key);
        if deadline < self.heap[place].at {
            self.heap[place].at = deadline;
            self.rise(place);
        }
    }

    /// A reminder came too early: the session's deadline is later.
    pub(crate) fn renew(&mut self, key: usize, deadline: Instant) {
        let place = self.place(key);
        self.heap[place].at = deadline;
        self.sink(place);
    }

    /// The session is gone.
    pub(crate) fn remove(&mut self, key: usize) {
        let place = self.place(key);
        self.places[key] = NOWHERE;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            // What was last comes from another branch: it may belong further to either end.
            let place = self.rise(place);
            self.sink(place);
        }
    }

    /// A session has another key from now on, one that is vacant.
    pub(crate) fn rename(&mut self, from: usize, to: usize) {
        let place = self.place(from);
        assert!(self.places[to] == NOWHERE, "a session has one reminder");
        self.places.swap(from, to);
        self.heap[place].key = u32::try_from(to).expect("it is below a key");
    }

    /// The first session whose reminder has come. It must be [`removed`](Self::remove) or renewed by the caller.
    pub(crate) fn first_due(&self, now: Instant) -> Option<usize> {
        self.heap
            .first()
            .filter(|reminder| reminder.at <= now)
            .map(|reminder| reminder.key as usize)
    }

    /// When the next reminder comes.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|reminder| reminder.at)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Keeps room for the reminders that there are; all sessions have keys below `keys`.
    pub(crate) fn shrink(&mut self, keys: usize) {
        self.heap.shrink_to(SESSIONS_KEPT);
        self.places.truncate(keys);
        self.places.shrink_to(SESSIONS_KEPT);
    }

    /// Storage kept, in bytes.
    pub(crate) fn kept(&self) -> usize {
        self.heap.capacity() * size_of::<Reminder>() + self.places.capacity() * size_of::<u32>()
    }

    fn place(&self, key: usize) -> usize {
        let place = self.places[key];
        assert!(place != NOWHERE, "a session has its reminder");
        place as usize
    }

    /// Moves the reminder at `place` to the front as far as it belongs there; says where it is then.
    fn rise(&mut self, mut place: usize) -> usize {
        let reminder = self.heap[place];
        while place > 0 {
            let before = (place - 1) / 2;
            if self.heap[before].at <= reminder.at {
                break;
            }
            self.put(place, self.heap[before]);
            place = before;
        }
        self.put(place, reminder);
        place
    }

    /// Moves the reminder at `place` to the end as far as it belongs there.
    fn sink(&mut self, mut place: usize) {
        let reminder = self.heap[place];
        loop {
            let mut behind = 2 * place + 1;
            if behind >= self.heap.len() {
                break;
            }
            if behind + 1 < self.heap.len() && self.heap[behind + 1].at < self.heap[behind].at {
                behind += 1;
            }
            if reminder.at <= self.heap[behind].at {
                break;
            }
            self.put(place, self.heap[behind]);
            place = behind;
        }
        self.put(place, reminder);
    }

    fn put(&mut self, place: usize, reminder: Reminder) {
        self.heap[place] = reminder;
        self.places[reminder.key as usize] =
            u32::try_from(place).expect("there are no more reminders than keys");
    }
}

/// What the session's deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    ClientIdle,
    Head,
    Hold,
    Connect,
    RequestBody,
    UpstreamWrite,
    Response,
    Continue,
    ResponseBody,
    ClientWrite,
    Tunnel,
    Linger,
}

impl Timer {
    /// How long it is: those of the client's connection are `ours`, those of an exchange its pool's.
    pub(super) fn duration(self, ours: &Timeouts, pools: &Timeouts) -> Duration {
        match self {
            Self::ClientIdle => ours.client_idle,
            Self::Head => ours.head,
            Self::Linger => ours.linger,
            Self::Hold => pools.hold,
            Self::Connect => pools.connect,
            Self::RequestBody | Self::UpstreamWrite | Self::ResponseBody | Self::ClientWrite => {
                pools.body
            }
            Self::Response | Self::Continue => pools.response,
            Self::Tunnel => pools.tunnel,
        }
    }

    /// Whether it is looked whether the peer goes on after all.
    pub(super) fn has_looks(self) -> bool {
        matches!(self, Self::UpstreamWrite | Self::ClientWrite)
    }

    /// What it means that the deadline has come.
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::ClientIdle | Self::Linger => Failure::ClientIdle,
            Self::Head => Failure::HeadTimeout,
            Self::Hold => Failure::HoldTimeout,
            Self::Connect => Failure::ConnectTimeout,
            Self::RequestBody => Failure::RequestBodyTimeout,
            Self::UpstreamWrite => Failure::UpstreamWriteTimeout,
            Self::Response => Failure::ResponseTimeout,
            Self::Continue => Failure::ContinueTimeout,
            Self::ResponseBody => Failure::ResponseBodyTimeout,
            Self::ClientWrite => Failure::ClientWriteTimeout,
            Self::Tunnel => Failure::TunnelIdle,
        }
    }

    /// What it means that less than the least allowed went on; `None` where no rate is asked for.
    pub(super) fn slow_failure(self) -> Option<Failure> {
        match self {
            Self::RequestBody => Some(Failure::RequestBodySlow),
            Self::ClientWrite => Some(Failure::ClientWriteSlow),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "times need a moment to count from"
    )]
    fn whatever_is_done_the_first_reminder_is_the_one_that_comes_first() {
        let (base, mut random) = (Instant::now(), fastrand::Rng::with_seed(1));
        let (mut timers, mut model) = (Timers::new(), BTreeMap::new());
        for _ in 0..20_000 {
            let (key, at) = (
                random.usize(..50),
                base + Duration::from_secs(random.u64(..100)),
            );
            match (model.get(&key).copied(), random.u8(..4)) {
                (None, _) => {
                    timers.insert(at, key);
                    model.insert(key, at);
                }
                (Some(_), 0) => {
                    timers.remove(key);
                    model.remove(&key);
                }
                (Some(before), 1) => {
                    timers.hasten(key, at);
                    model.insert(key, before.min(at));
                }
                (Some(before), 2) => {
                    timers.renew(key, at.max(before));
                    model.insert(key, at.max(before));
                }
                (Some(at), _) => {
                    let to =
                        (0..50).find(|to| !model.contains_key(to) && *to < timers.places.len());
                    if let Some(to) = to {
                        timers.rename(key, to);
                        model.remove(&key);
                        model.insert(to, at);
                    }
                }
            }
            assert_eq!(timers.len(), model.len());
            assert_eq!(timers.next(), model.values().min().copied());
            if let Some(first) = timers.next() {
                let key = timers.first_due(first).expect("it has come");
                assert_eq!(model[&key], first);
                assert_eq!(timers.first_due(first - Duration::from_secs(1)), None);
            }
        }
    }
}
