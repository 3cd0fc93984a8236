//! Room of sessions that have left is given back.
//!
//! A session's key is its place in an array, which is as long as there ever were sessions at a time. When half of that is
//! vacant, the sessions behind get the keys of vacant places in front, and the rest of the array, and of whatever else is
//! kept by key, goes back to the system. That is one step of work for each session that has left since the last time, and
//! needs no clock: room falls back in the ticks in which sessions leave. No session holds another's room, however long it
//! stays.
//!
//! A key means something within a tick only, so that it may change between two: sockets are assigned anew, reminders and
//! the queue follow.

use std::collections::VecDeque;

use crate::net::stream::Net;

use super::Proxy;
use super::session::Session;

/// Room for so many sessions is kept in any case.
pub const SESSIONS_KEPT: usize = 64;
/// Sessions that get another key in one tick at most, so that it stays short (some 100 µs); the others follow in the next.
const MOVES_PER_TICK_MAX: usize = 1024;

impl<N: Net> Proxy<N> {
    /// Whether there is much room that no session needs.
    pub(super) fn has_vacant_room(&self) -> bool {
        self.keys > SESSIONS_KEPT && self.sessions.len() <= self.keys / 2
    }

    /// Storage that is kept for what may come, in bytes.
    pub(super) fn kept(&self) -> usize {
        self.sessions.capacity() * size_of::<Session<N::Stream>>()
            + self.ready.capacity() * size_of::<usize>()
            + self.timers.kept()
            + self.shared.idle.room()
            + self.shared.buffers.free_bytes()
    }

    /// Moves sessions together, and gives back the room behind them. Seldom, and no part of every tick's code.
    #[cold]
    pub(super) fn shrink(&mut self) {
        let Self {
            sessions,
            timers,
            shared,
            ..
        } = self;
        let mut moves = Vec::new();
        let mut keys = sessions.len();
        sessions.compact(|session, from, to| {
            if moves.len() == MOVES_PER_TICK_MAX {
                keys = from + 1;
                return false;
            }
            session.key = to;
            timers.rename(from, to);
            moves.push((from, to));
            true
        });
        timers.shrink(keys);
        self.keys = keys;
        follow(&mut self.ready, &moves);
        shared.net.forget_owners();
        for (_, session) in sessions {
            session.assign(&mut shared.net);
        }
        shared.idle.assign(&mut shared.net);
    }
}

/// The queue under the new keys. `moves` go from the last key to the first.
fn follow(ready: &mut VecDeque<usize>, moves: &[(usize, usize)]) {
    for key in &mut *ready {
        if let Ok(at) = moves.binary_search_by(|(from, _)| (*key).cmp(from)) {
            *key = moves[at].1;
        }
    }
    ready.shrink_to(SESSIONS_KEPT);
}
