//! Which route takes a request: a pure function of the compiled configuration and of what is asked for.
//!
//! Architecture invariant: the route is the first in the order written whose conditions all hold, and `rondel explain` asks the
//! same function that the proxy asks. What it costs does not grow with the number of hosts, nor with the number of exact paths
//! below one host.

mod find;
mod glob;
mod key;
mod mismatch;
mod test;

use std::sync::Arc;

use self::find::Index;
use self::test::{Asked, Compiled};
use crate::config::{AmbiguousPaths, Config, Match, Rewrite, Route};
use crate::http::inquiry::Inquiry;
use crate::http::{Reject, path};

pub use self::key::{cookie, key};
pub use self::mismatch::Mismatch;

/// The routes, ready to be asked.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Compiled>,
    index: Index,
    /// The names of the listeners, by their places.
    listeners: Vec<String>,
    /// The first route takes everything.
    first_takes_all: bool,
    /// Paths that programs read differently are refused.
    refuses_ambiguous: bool,
}

impl Routes {
    /// The routes of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let listeners: Vec<String> = config
            .listeners
            .iter()
            .map(|listener| listener.name.clone())
            .collect();
        let routes: Vec<Compiled> = config
            .routes
            .iter()
            .map(|route| Compiled::new(route, &listeners))
            .collect();
        let look_at_paths = config.routes.iter().any(|route| looks_at_path(route));
        let refuses_ambiguous = look_at_paths && config.ambiguous_paths == AmbiguousPaths::Reject;
        let first = config.routes.first();
        Self {
            index: Index::new(&routes),
            first_takes_all: first.is_some_and(|route| route.when == Match::default()),
            routes,
            listeners,
            refuses_ambiguous,
        }
    }

    /// The place of the first route that takes a request which came in at the listener of this place; `None` if none does. A
    /// listener's place is the one in [`Config::listeners`]; at a place beyond, no condition on listeners holds.
    ///
    /// # Errors
    ///
    /// [`Reject::AmbiguousPath`] where the routes look at paths, and the operator has not allowed such.
    pub fn find(&self, listener: usize, inquiry: &Inquiry<'_>) -> Result<Option<usize>, Reject> {
        if self.refuses_ambiguous && path::is_ambiguous(inquiry.path()) {
            return Err(Reject::AmbiguousPath);
        }
        if self.first_takes_all {
            return Ok(Some(0));
        }
        Ok(self.search(&Asked::new(listener, inquiry)))
    }

    fn search(&self, asked: &Asked<'_>) -> Option<usize> {
        let mut candidates = self.index.candidates(asked);
        candidates.find(|&place| self.routes[place].unmet(asked).is_none())
    }

    /// Why the route at this place does not take a request; `None` if its conditions all hold. Paths count as if ambiguous ones
    /// were allowed.
    ///
    /// # Panics
    ///
    /// If there is no such route.
    #[must_use]
    pub fn why_not(
        &self,
        place: usize,
        listener: usize,
        inquiry: &Inquiry<'_>,
    ) -> Option<Mismatch> {
        let route = &self.routes[place];
        let asked = Asked::new(listener, inquiry);
        let unmet = route.unmet(&asked)?;
        let listener = self.listeners.get(listener).map_or("", String::as_str);
        Some(Mismatch::new(unmet, &route.route, listener, &asked))
    }

    /// The route at this place.
    ///
    /// # Panics
    ///
    /// If there is no such route.
    #[must_use]
    pub fn get(&self, place: usize) -> &Arc<Route> {
        &self.routes[place].route
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

/// Whether a route compares the path with anything.
fn looks_at_path(route: &Route) -> bool {
    !route.when.paths.is_empty() || matches!(route.rewrite, Some(Rewrite::Prefix { .. }))
}

#[cfg(test)]
mod tests;
