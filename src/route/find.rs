//! Where routes are looked for: by the request's host and by the domains above it, and there by its path. What is found still
//! has to be tested; what is not found cannot hold.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::test::{Asked, Compiled, PathTest};
use crate::config::HostPattern;

/// Most labels of a domain that are looked up: `*.c.b.a` has three. Patterns with more are tested one by one.
const LABELS_MAX: usize = 8;
/// Lists of candidates: two for each domain, for the whole host, and for routes that do not look at hosts.
const LISTS_MAX: usize = 2 * (LABELS_MAX + 2);

/// What is looked up comes from clients, but what is found there stands in the file: nobody else can make it slow.
type Map<V> = HashMap<Box<[u8]>, V, BuildHasherDefault<QuickHasher>>;

/// Hashes eight bytes at a time, in the manner of FNV, and mixes at the end. Not for keys that others choose.
#[derive(Debug, Default)]
struct QuickHasher(u64);

impl QuickHasher {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for QuickHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words
            .iter()
            .for_each(|word| self.add(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(last));
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    fn finish(&self) -> u64 {
        let hash = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 29)
    }
}

/// Places of routes, in their order.
type Places = Vec<u32>;

/// Routes by what they look at.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: Map<Shelf>,
    /// By the domain with the dot before it.
    suffix: Map<Shelf>,
    /// Most labels of a domain in `suffix`.
    labels_max: usize,
    /// Routes that do not look at hosts.
    any: Shelf,
}

/// Routes for one host or domain.
#[derive(Debug, Default)]
struct Shelf {
    /// Those that look at just these paths.
    paths: Map<Places>,
    /// All others.
    others: Places,
}

impl Shelf {
    fn add(&mut self, place: u32, paths: &[PathTest]) {
        let exact = |test: &PathTest| matches!(test, PathTest::Exact(_));
        if paths.is_empty() || !paths.iter().all(exact) {
            return add(&mut self.others, place);
        }
        for path in paths {
            if let PathTest::Exact(path) = path {
                add(self.paths.entry(path.as_slice().into()).or_default(), place);
            }
        }
    }
}

/// Puts a place in, once: places come in their order.
fn add(places: &mut Places, place: u32) {
    if places.last() != Some(&place) {
        places.push(place);
    }
}

/// How many labels a domain with a dot before it has.
fn labels(domain: &str) -> usize {
    domain.bytes().filter(|&byte| byte == b'.').count()
}

impl Index {
    pub(super) fn new(routes: &[Compiled]) -> Self {
        let mut index = Self::default();
        for (place, Compiled { route, paths, .. }) in (0..).zip(routes) {
            if route.when.hosts.is_empty() {
                index.any.add(place, paths);
            }
            for host in &route.when.hosts {
                let shelf = match host {
                    HostPattern::Exact(name) => {
                        index.exact.entry(name.as_bytes().into()).or_default()
                    }
                    HostPattern::Suffix(domain) if labels(domain) <= LABELS_MAX => {
                        index.labels_max = index.labels_max.max(labels(domain));
                        index.suffix.entry(domain.as_bytes().into()).or_default()
                    }
                    HostPattern::Suffix(_) => &mut index.any,
                };
                shelf.add(place, paths);
            }
        }
        index
    }

    /// Places of routes that may take a request, in their order.
    pub(super) fn candidates(&self, asked: &Asked<'_>) -> Candidates<'_> {
        let mut candidates = Candidates {
            lists: [&[]; LISTS_MAX],
            len: 0,
        };
        let host = asked.host();
        candidates.add(&self.any, asked);
        if !self.exact.is_empty()
            && let Some(shelf) = self.exact.get(host)
        {
            candidates.add(shelf, asked);
        }
        if self.labels_max > 0 {
            let dots = (1..host.len()).rev().filter(|&at| host[at] == b'.');
            for dot in dots.take(self.labels_max) {
                if let Some(shelf) = self.suffix.get(&host[dot..]) {
                    candidates.add(shelf, asked);
                }
            }
        }
        candidates
    }
}

/// Places out of several lists, each in its order, once.
pub(super) struct Candidates<'i> {
    lists: [&'i [u32]; LISTS_MAX],
    len: usize,
}

impl<'i> Candidates<'i> {
    fn add(&mut self, shelf: &'i Shelf, asked: &Asked<'_>) {
        self.push(&shelf.others);
        if !shelf.paths.is_empty()
            && let Some(places) = shelf.paths.get(asked.path())
        {
            self.push(places);
        }
    }

    fn push(&mut self, places: &'i [u32]) {
        if !places.is_empty() {
            self.lists[self.len] = places;
            self.len += 1;
        }
    }
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let lists = &mut self.lists[..self.len];
        let least = *lists.iter().filter_map(|list| list.first()).min()?;
        for list in lists {
            if let [first, rest @ ..] = list
                && *first == least
            {
                *list = rest;
            }
        }
        usize::try_from(least).ok()
    }
}
