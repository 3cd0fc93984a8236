//! Where things stand in the file, for those who have something to say of them later.

use std::ops::Range;

use super::problem::{Problem, Source};

/// A thing that a file configures. Numbers are places in [`Config`](crate::config::Config).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// The file as a whole, and the keys before its first section.
    Top,
    /// A listener.
    Listener(usize),
    /// A route.
    Route(usize),
    /// A pool.
    Pool(usize),
    /// A pool, and one of its backends.
    Backend(usize, usize),
}

/// Where everything stands that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    source: Source,
    pub(super) top: Marks,
    pub(super) listeners: Vec<Marks>,
    pub(super) routes: Vec<Marks>,
    pub(super) pools: Vec<Marks>,
    pub(super) backends: Vec<Vec<Marks>>,
}

/// Where a section and its keys stand, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) section: Range<usize>,
    /// Keys that were given, with their values.
    pub(super) keys: Vec<(&'static str, Range<usize>)>,
}

impl Places {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            top: Marks::default(),
            listeners: Vec::new(),
            routes: Vec::new(),
            pools: Vec::new(),
            backends: Vec::new(),
        }
    }

    /// The file's name, as it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// Where an element begins: line and character, both counted from 1. [`None`] if it does not stand in the file, as the route that
    /// is there when none is written.
    #[must_use]
    pub fn of(&self, element: Element) -> Option<(usize, usize)> {
        let marks = self.marks(element)?;
        Some(self.source.position(marks.section.start))
    }

    /// Where the value of an element's key begins, if the key was given.
    #[must_use]
    pub fn key(&self, element: Element, key: &str) -> Option<(usize, usize)> {
        let span = self.marks(element)?.key(key)?;
        Some(self.source.position(span.start))
    }

    /// Something to say of an element, or of a key of it if that was given: with the place, the line and a caret. Of what does not
    /// stand in the file it is said at the file's begin.
    #[must_use]
    pub fn problem(&self, element: Element, key: Option<&str>, message: String) -> Problem {
        let marks = self.marks(element);
        let span = marks.map_or(0..0, |marks| {
            let span = key.and_then(|key| marks.key(key));
            span.unwrap_or(&marks.section).clone()
        });
        self.source.problem(span, message)
    }

    fn marks(&self, element: Element) -> Option<&Marks> {
        match element {
            Element::Top => Some(&self.top),
            Element::Listener(i) => self.listeners.get(i),
            Element::Route(i) => self.routes.get(i),
            Element::Pool(i) => self.pools.get(i),
            Element::Backend(i, j) => self.backends.get(i)?.get(j),
        }
    }
}

impl Marks {
    fn key(&self, key: &str) -> Option<&Range<usize>> {
        let found = self.keys.iter().find(|(name, _)| *name == key);
        found.map(|(_, span)| span)
    }
}
