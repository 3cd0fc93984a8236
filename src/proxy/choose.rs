//! What is done with a request: its route, and whom that gives it to. `rondel explain` asks the same function.

use std::collections::HashMap;

use crate::balance::{Asker, Split, Token};
use crate::config::{Action, Config, Piece, Policy, Pool, Redirect, Route};
use crate::http::Reject;
use crate::http::forward::Edits;
use crate::http::inquiry::Inquiry;
use crate::http::reply;
use crate::route::{self, Routes};

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// No route takes it.
    NoRoute,
    /// It goes to a pool.
    Pool {
        /// The place of its route.
        route: usize,
        /// The place of the pool.
        pool: usize,
        /// What the pool's policy must know of it.
        asker: Asker,
    },
    /// The client is sent elsewhere.
    Redirect {
        /// The place of its route.
        route: usize,
        /// Where to.
        location: Vec<u8>,
    },
    /// The client gets the answer that the route has.
    Reply {
        /// The place of its route.
        route: usize,
    },
}

impl Choice {
    /// What is changed in the request.
    #[must_use]
    pub fn edits<'r>(&self, routes: &'r Routes) -> Edits<'r> {
        match *self {
            Self::Pool { route, .. } => Edits::of(routes.get(route)),
            Self::NoRoute | Self::Redirect { .. } | Self::Reply { .. } => Edits::default(),
        }
    }
}

/// Whose turn it is among the pools of each route that splits its requests.
#[derive(Debug, Default)]
pub struct Splits(Vec<Option<Split>>);

impl Splits {
    /// For these routes, from the start.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let split = |action: &Action| match action {
            Action::Pools(shares) if shares.len() > 1 => Some(Split::new(shares)),
            Action::Pools(_) | Action::Redirect(_) | Action::Reply(_) => None,
        };
        let routes = config.routes.iter();
        Self(routes.map(|route| split(&route.action)).collect())
    }

    /// Goes on where those of another configuration were, in routes of the same name that split as they did.
    pub fn resume(&mut self, config: &Config, before: &Self, config_before: &Config) {
        let routes_before = config_before.routes.iter().zip(&before.0);
        let before: HashMap<&str, (&Route, &Split)> = routes_before
            .filter_map(|(route, split)| Some((route.name.as_str(), (&**route, split.as_ref()?))))
            .collect();
        for (route, split) in config.routes.iter().zip(&mut self.0) {
            if let (Some(split), Some((old, before))) = (split, before.get(route.name.as_str()))
                && pool_names(config, route) == pool_names(config_before, old)
            {
                split.resume(before);
            }
        }
    }

    /// The pool whose turn it is.
    fn next(&mut self, route: usize, action: &Action) -> Option<usize> {
        match (self.0.get_mut(route), action) {
            (Some(Some(split)), _) => Some(split.pick()),
            (_, Action::Pools(shares)) => shares.first().map(|share| share.pool),
            (_, Action::Redirect(_) | Action::Reply(_)) => None,
        }
    }
}

/// The pools between which a route splits.
fn pool_names<'c>(config: &'c Config, route: &Route) -> Vec<&'c str> {
    let Action::Pools(shares) = &route.action else {
        return Vec::new();
    };
    let shares = shares.iter();
    shares
        .map(|share| config.pools[share.pool].name.as_str())
        .collect()
}

/// Chooses what is done with a request that came in at the listener of this place.
///
/// # Errors
/// [`Reject::AmbiguousPath`]: see [`Routes::find`]. [`Reject::BadHost`]: the client is to be sent to a host, and names none.
pub fn choose(
    config: &Config,
    routes: &Routes,
    splits: &mut Splits,
    listener: usize,
    inquiry: &Inquiry<'_>,
) -> Result<Choice, Reject> {
    let Some(route) = routes.find(listener, inquiry)? else {
        return Ok(Choice::NoRoute);
    };
    let action = &routes.get(route).action;
    Ok(match action {
        Action::Pools(_) => match splits.next(route, action) {
            Some(pool) => Choice::Pool {
                route,
                pool,
                asker: asker(&config.pools[pool], inquiry),
            },
            None => Choice::NoRoute,
        },
        Action::Redirect(redirect) if lacks_host(redirect, inquiry) => return Err(Reject::BadHost),
        Action::Redirect(redirect) => Choice::Redirect {
            route,
            location: reply::location(&redirect.location, inquiry),
        },
        Action::Reply(_) => Choice::Reply { route },
    })
}

/// Whether a location has no host to be put in: browsers take the first segment of the path for it then, and that is the choice
/// of whoever wrote the link.
fn lacks_host(redirect: &Redirect, inquiry: &Inquiry<'_>) -> bool {
    redirect.location.contains(&Piece::Host) && inquiry.host().is_empty()
}

/// What a pool must know of a request.
fn asker(pool: &Pool, inquiry: &Inquiry<'_>) -> Asker {
    let token = |name: &str| route::cookie(inquiry, name).and_then(Token::parse);
    Asker {
        key: match &pool.policy {
            Policy::Hash(hash) => route::key(inquiry, &hash.on),
            Policy::RoundRobin | Policy::LeastConnections | Policy::RandomTwo => None,
        },
        token: pool
            .sticky
            .as_ref()
            .and_then(|sticky| token(&sticky.cookie)),
    }
}
