//! What is allowed and yet hardly meant. Every lint has a name that never changes, and is true where it is told.

mod pools;
mod routes;

use std::fmt;

use super::budget::Budget;
use crate::config::file::Element;
use crate::config::{Config, Limits, Listener};

/// What can be said of a configuration that is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "each is explained where it is listed, for users too"
)]
pub enum Lint {
    UnreachableRoute,
    ListenerWithoutRoutes,
    ListenersOverlap,
    ShareInNoUse,
    PoolUnused,
    PoolWithoutChecks,
    WeightOfAllZero,
    BackendInNoUse,
    OnlyBackups,
    HashWithOneBackend,
    StickyOneBackend,
    StickyWithoutSecret,
    TimerNeverFires,
    DescriptorsOverLimit,
    TrustEveryone,
}

impl Lint {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::UnreachableRoute,
        Self::ListenerWithoutRoutes,
        Self::ListenersOverlap,
        Self::ShareInNoUse,
        Self::PoolUnused,
        Self::PoolWithoutChecks,
        Self::WeightOfAllZero,
        Self::BackendInNoUse,
        Self::OnlyBackups,
        Self::HashWithOneBackend,
        Self::StickyOneBackend,
        Self::StickyWithoutSecret,
        Self::TimerNeverFires,
        Self::DescriptorsOverLimit,
        Self::TrustEveryone,
    ];

    /// Its name, which never changes, and what it means, in one sentence.
    #[must_use]
    pub fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::UnreachableRoute => (
                "unreachable-route",
                "No request reaches the route: routes before it take all of them, or its conditions contradict each other.",
            ),
            Self::ListenerWithoutRoutes => (
                "listener-without-routes",
                "Every route is for other listeners, so that each request that comes in here is answered 404.",
            ),
            Self::ListenersOverlap => (
                "listeners-overlap",
                "One listener's address covers another's, so that both cannot be opened.",
            ),
            Self::ShareInNoUse => (
                "share-in-no-use",
                "A pool has no weight in the split, so that it gets none of the requests.",
            ),
            Self::PoolUnused => ("pool-unused", "No route leads to the pool."),
            Self::PoolWithoutChecks => (
                "pool-without-checks",
                "Failures never take the only backend out, yet it is configured after how many they would.",
            ),
            Self::WeightOfAllZero => (
                "weight-of-all-zero",
                "No backend of the pool has a weight, so that new clients get none of them.",
            ),
            Self::BackendInNoUse => (
                "backend-in-no-use",
                "The backend has no weight, and no cookie keeps clients with it, so that it gets no requests.",
            ),
            Self::OnlyBackups => (
                "only-backups",
                "All backends of the pool are backups, which is as if none were.",
            ),
            Self::HashWithOneBackend => (
                "hash-with-one-backend",
                "The pool has one backend to pick, whatever the hash is.",
            ),
            Self::StickyOneBackend => (
                "sticky-one-backend",
                "The pool has one backend, so that there is no other to keep clients from.",
            ),
            Self::StickyWithoutSecret => (
                "sticky-without-secret",
                "Without a secret anyone who guesses a backend's name can choose that backend.",
            ),
            Self::TimerNeverFires => (
                "timer-never-fires",
                "What the timer limits cannot happen as the rest is configured.",
            ),
            Self::DescriptorsOverLimit => (
                "descriptors-over-limit",
                "The clients that max-sessions asks for need more descriptors than there may be: fewer are served at a time.",
            ),
            Self::TrustEveryone => (
                "trust-everyone",
                "Every client is believed what it says of whom it is.",
            ),
        }
    }

    /// Its name, which never changes.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// What it means, in one sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.entry().1
    }

    /// All lints with what they mean, for people.
    #[must_use]
    pub fn list() -> String {
        let line = |lint: Self| format!("{:24} {}\n", lint.name(), lint.meaning());
        Self::ALL.into_iter().map(line).collect()
    }
}

/// One thing that is hardly meant. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is said.
    pub lint: Lint,
    /// Of what.
    pub about: Element,
    /// The key that is meant, if it is one.
    pub key: Option<&'static str>,
    /// The thing, what is the matter with it, and what could be done.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.text, self.lint.name())
    }
}

/// Everything that is hardly meant, where there may be `descriptors`; `None` is any number.
#[must_use]
pub fn lint(config: &Config, descriptors: Option<usize>) -> Vec<Finding> {
    let mut found = Vec::new();
    program(&mut found, config, descriptors);
    overlaps(&mut found, config);
    routes::lint(&mut found, config);
    pools::lint(&mut found, config);
    found
}

fn program(found: &mut Vec<Finding>, config: &Config, descriptors: Option<usize>) {
    let budget = Budget::of(config, descriptors);
    // The default is as many as there may be, and nobody has asked for so many; the budget tells what there is.
    let asked = config.limits.sessions_max != Limits::default().sessions_max;
    if let (true, Some(fitting), Some(limit)) = (asked, budget.sessions_instead(), budget.limit) {
        found.push(Finding {
            lint: Lint::DescriptorsOverLimit,
            about: Element::Top,
            key: Some("max-sessions"),
            text: format!(
                "{} clients at a time need {} descriptors, and there may be {limit}: {fitting} clients are served; raise the limit (ulimit -n)",
                budget.sessions, budget.descriptors
            ),
        });
    }
    let everyone = |key: &'static str, about, network: &dyn fmt::Display| Finding {
        lint: Lint::TrustEveryone,
        about,
        key: Some(key),
        text: format!(
            "{key} {network}: anyone can pass for anyone; name the networks of your own proxies"
        ),
    };
    for network in &config.forwarding.trust {
        if network.prefix_len() == 0 {
            found.push(everyone("trust", Element::Top, network));
        }
    }
    for (place, listener) in config.listeners.iter().enumerate() {
        for network in &listener.accept_proxy {
            if network.prefix_len() == 0 {
                found.push(everyone("accept-proxy", Element::Listener(place), network));
            }
        }
    }
}

/// Addresses at which the system lets only one of two listen. Not an error: who starts us may have opened both in its own way.
fn overlaps(found: &mut Vec<Finding>, config: &Config) {
    let wide = config.listeners.iter().filter(|listener| {
        let addr = listener.addr;
        addr.ip().is_unspecified() && addr.port() != 0
    });
    for (place, listener) in config.listeners.iter().enumerate() {
        let covers = |other: &&Listener| {
            let (wide, addr) = (other.addr, listener.addr);
            let takes = wide.is_ipv6() || addr.is_ipv4();
            wide != addr && wide.port() == addr.port() && takes
        };
        if let Some(other) = wide.clone().find(covers) {
            found.push(Finding {
                lint: Lint::ListenersOverlap,
                about: Element::Listener(place),
                key: Some("address"),
                text: format!(
                    "address {}: listener {} at {} covers it, and both cannot be opened",
                    listener.addr, other.name, other.addr
                ),
            });
        }
    }
}

#[cfg(test)]
mod tests;
