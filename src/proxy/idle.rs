//! Upstreams that wait for reuse, shared by all clients.
//!
//! Per backend a list through the slab: the newest is taken first (it is the least likely to be closed just then), the
//! oldest leaves first. Whatever happens on an idle upstream ends it: nobody asked, so it is nobody's answer.

use std::net::SocketAddr;
use std::time::Instant;

use slab::Slab;

use crate::balance::BackendId;
use crate::config::Pool;
use crate::net::stream::{Net, Owner, Readiness, Stream};

use super::exchange::Kept;

/// Room for so many idle upstreams is kept in any case.
pub const UPSTREAMS_KEPT: usize = 64;

/// One idle upstream, linked to its neighbours.
#[derive(Debug)]
struct Upstream<S> {
    kept: Kept<S>,
    backend: BackendId,
    since: Instant,
    expiry: Instant,
    newer: Option<usize>,
    older: Option<usize>,
}

/// The idle upstreams of one backend.
#[derive(Clone, Copy, Debug, Default)]
struct List {
    newest: Option<usize>,
    oldest: Option<usize>,
    len: usize,
}

/// All idle upstreams.
#[derive(Debug)]
pub(crate) struct Idle<S> {
    upstreams: Slab<Upstream<S>>,
    /// By [`BackendId::index`].
    lists: Vec<List>,
    /// Those that an event was told of.
    suspects: Vec<usize>,
    /// No upstream expires before this; `None` when none is idle.
    expiry_next: Option<Instant>,
    /// How many were dropped since room was given back.
    dropped: usize,
}

impl<S: Stream> Idle<S> {
    pub(crate) fn new() -> Self {
        Self {
            upstreams: Slab::new(),
            lists: Vec::new(),
            suspects: Vec::new(),
            expiry_next: None,
            dropped: 0,
        }
    }

    /// The key that the next upstream put here gets, to say whose it is.
    pub(crate) fn key_next(&self) -> usize {
        self.upstreams.vacant_key()
    }

    /// Keeps a silent upstream as its pool says; where there are too many, the oldest of its backend go.
    pub(crate) fn put(&mut self, kept: Kept<S>, backend: BackendId, pool: &Pool, now: Instant) {
        if pool.idle_per_backend_max == 0 {
            return;
        }
        let expiry = now + pool.timeouts.upstream_idle;
        let at = backend.index();
        if self.lists.len() <= at {
            self.lists.resize(at + 1, List::default());
        }
        let older = self.lists[at].newest;
        let key = self.upstreams.insert(Upstream {
            kept,
            backend,
            since: now,
            expiry,
            newer: None,
            older,
        });
        match older {
            Some(older) => self.upstreams[older].newer = Some(key),
            None => self.lists[at].oldest = Some(key),
        }
        self.lists[at].newest = Some(key);
        self.lists[at].len += 1;
        // Where a reload made the time shorter, it is for those that wait already too: the oldest still leaves first.
        let mut before = older;
        while let Some(key) = before.filter(|&key| self.upstreams[key].expiry > expiry) {
            self.upstreams[key].expiry = expiry;
            before = self.upstreams[key].older;
        }
        while self.lists[at].len > pool.idle_per_backend_max
            && let Some(oldest) = self.lists[at].oldest
        {
            self.remove(oldest);
        }
        self.expiry_next = Some(self.expiry_next.map_or(expiry, |next| next.min(expiry)));
    }

    /// The newest idle upstream of a backend.
    pub(crate) fn take(&mut self, backend: BackendId) -> Option<Kept<S>> {
        let newest = self.lists.get(backend.index())?.newest?;
        let upstream = self.remove(newest);
        (upstream.backend == backend).then_some(upstream.kept)
    }

    /// An event was told of an idle upstream. Sets flags, nothing else.
    pub(crate) fn notify(&mut self, key: usize, hint: Readiness) {
        if let Some(upstream) = self.upstreams.get_mut(key) {
            upstream.kept.upstream_mut().hint(hint);
            if hint.readable || hint.read_closed || hint.dead {
                self.suspects.push(key);
            }
        }
    }

    /// Drops those that said something or closed. To be called before any of them could have been taken or put.
    pub(crate) fn drop_spoken(&mut self) {
        if self.suspects.is_empty() {
            return;
        }
        while let Some(key) = self.suspects.pop() {
            if self
                .upstreams
                .get_mut(key)
                .is_some_and(|upstream| upstream.kept.upstream_mut().has_spoken())
            {
                self.remove(key);
                self.dropped += 1;
            }
        }
        self.shrink();
    }

    /// Drops those that have waited too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.expiry_next.is_none_or(|at| at > now) {
            return;
        }
        let mut next: Option<Instant> = None;
        for at in 0..self.lists.len() {
            while let Some(oldest) = self.lists[at].oldest {
                let expiry = self.upstreams[oldest].expiry;
                if expiry > now {
                    next = Some(next.map_or(expiry, |other| other.min(expiry)));
                    break;
                }
                self.remove(oldest);
                self.dropped += 1;
            }
        }
        self.expiry_next = next;
        self.shrink();
    }

    /// When half of them may have gone, or all have, gives back the room behind the last that is left. From then on it is the places in
    /// front that are taken first, so that the last soon is one of them.
    fn shrink(&mut self) {
        let room = self.upstreams.capacity();
        let many = self.dropped > room / 2 || self.upstreams.is_empty();
        if room > UPSTREAMS_KEPT && many {
            self.upstreams.shrink_to_fit();
            self.dropped = 0;
        }
    }

    /// Drops the one that has waited longest, to free its descriptor; says whether there was one.
    pub(crate) fn drop_one(&mut self) -> bool {
        let oldest = self
            .lists
            .iter()
            .filter_map(|list| list.oldest)
            .min_by_key(|&key| self.upstreams[key].since);
        oldest.map(|key| self.remove(key)).is_some()
    }

    /// Drops those of a backend that is no more.
    pub(crate) fn drop_backend(&mut self, backend: BackendId) {
        while let Some(oldest) = self.lists.get(backend.index()).and_then(|list| list.oldest) {
            self.remove(oldest);
            self.dropped += 1;
        }
    }

    /// Drops those of a backend that go to an address which it has no more.
    pub(crate) fn drop_moved(&mut self, backend: BackendId, has_addr: impl Fn(SocketAddr) -> bool) {
        let mut next = self.lists.get(backend.index()).and_then(|list| list.oldest);
        while let Some(key) = next {
            let upstream = &self.upstreams[key];
            next = upstream.newer;
            if !upstream.kept.addr().is_some_and(&has_addr) {
                self.remove(key);
                self.dropped += 1;
            }
        }
    }

    /// Drops all.
    pub(crate) fn clear(&mut self) {
        self.upstreams.clear();
        self.lists.clear();
        self.expiry_next = None;
    }

    /// When [`expire`](Self::expire) has something to do again.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.expiry_next
    }

    pub(crate) fn len(&self) -> usize {
        self.upstreams.len()
    }

    /// Tells the network whose they are.
    pub(crate) fn assign<N: Net<Stream = S>>(&self, net: &mut N) {
        for (key, upstream) in &self.upstreams {
            net.assign(upstream.kept.upstream().stream(), Owner::Idle(key));
        }
    }

    /// Room for idle upstreams, in bytes.
    pub(crate) fn room(&self) -> usize {
        self.upstreams.capacity() * size_of::<Upstream<S>>()
    }

    /// Storage in use, in bytes.
    pub(crate) fn held(&self) -> usize {
        let upstreams = self.upstreams.iter();
        upstreams
            .map(|(_, upstream)| upstream.kept.upstream().held())
            .sum()
    }

    fn remove(&mut self, key: usize) -> Upstream<S> {
        let upstream = self.upstreams.remove(key);
        let list = &mut self.lists[upstream.backend.index()];
        list.len -= 1;
        match upstream.newer {
            Some(newer) => self.upstreams[newer].older = upstream.older,
            None => list.newest = upstream.older,
        }
        match upstream.older {
            Some(older) => self.upstreams[older].newer = upstream.newer,
            None => list.oldest = upstream.newer,
        }
        upstream
    }
}
