//! What changes from one configuration to another, and what follows from it. In about linear time: a reload with thousands of
//! routes is told in milliseconds.
//!
//! A listener is known by its address, a pool and a backend by its name. A route is known by its name if it has one of its
//! own, else by what it says, so that one more route at the top does not make a change of all below it.

use std::collections::HashMap;
use std::fmt;

use serde_json::{Value, json};

use super::words::{self, Setting};
use crate::config::{Backend, Config, Listener, Pool};

mod routes;

/// All changes, in the order of the file: the whole program, listeners, pools, routes, and what follows for the routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// The changes.
    pub changes: Vec<Change>,
}

/// One change. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happens to the thing.
    pub what: What,
    /// What changes.
    pub thing: Thing,
    /// The pool that a backend is in; empty otherwise.
    pub pool: String,
    /// The name of what changes; empty for the whole program.
    pub name: String,
    /// What follows from it, or more about it; may be empty.
    pub note: String,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Added,
    /// It is not there any more.
    Removed,
    /// One of its keys has another value.
    Changed {
        /// The key, as in the file.
        key: &'static str,
        /// Its value before.
        old: String,
        /// Its value now.
        new: String,
    },
    /// It stands elsewhere among its kind, counted from 1.
    Moved {
        /// Where it stood.
        old: usize,
        /// Where it stands.
        new: usize,
    },
    /// A route that no request reaches any more.
    Unreachable,
}

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// The whole program.
    Program,
    /// A listener.
    Listener,
    /// A pool.
    Pool,
    /// A backend.
    Backend,
    /// A route.
    Route,
}

/// Everything that changes from `old` to `new`. Both may be unresolved: addresses are compared as they were typed.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Diff {
    let mut changes = Vec::new();
    keys(
        &mut changes,
        &Change::of(Thing::Program, "", ""),
        &words::top(old),
        &words::top(new),
    );
    listeners(&mut changes, old, new);
    pools(&mut changes, old, new);
    routes::compare(&mut changes, old, new);
    Diff { changes }
}

impl Diff {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// For programs: an array with an object for each change.
    #[must_use]
    pub fn json(&self) -> Value {
        self.changes.iter().map(Change::json).collect()
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        if self.is_empty() {
            f.write_str("nothing changes\n")?;
        }
        Ok(())
    }
}

impl Change {
    fn of(thing: Thing, pool: &str, name: &str) -> Self {
        Self {
            what: What::Added,
            thing,
            pool: pool.to_owned(),
            name: name.to_owned(),
            note: String::new(),
        }
    }

    fn with(&self, what: What, note: impl Into<String>) -> Self {
        Self {
            what,
            note: note.into(),
            ..self.clone()
        }
    }

    fn json(&self) -> Value {
        let mut object = json!({
            "change": self.what.word(),
            "thing": self.thing.word(),
            "name": self.name,
        });
        if self.thing == Thing::Backend {
            object["pool"] = json!(self.pool);
        }
        match &self.what {
            What::Changed { key, old, new } => {
                object["key"] = json!(key);
                object["old"] = json!(old);
                object["new"] = json!(new);
            }
            What::Moved { old, new } => {
                object["old"] = json!(old);
                object["new"] = json!(new);
            }
            What::Added | What::Removed | What::Unreachable => {}
        }
        if !self.note.is_empty() {
            object["note"] = json!(self.note);
        }
        object
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what.sign())?;
        match self.thing {
            Thing::Program => {}
            Thing::Backend => write!(f, " pool {}: backend {}", self.pool, self.name)?,
            // A route without a name of its own is called `route 3`.
            Thing::Route if self.name.starts_with("route ") => write!(f, " {}", self.name)?,
            Thing::Listener | Thing::Pool | Thing::Route => {
                write!(f, " {} {}", self.thing.word(), self.name)?;
            }
        }
        match &self.what {
            What::Added | What::Removed => {}
            What::Changed { key, old, new } => {
                let colon = if self.thing == Thing::Program {
                    ""
                } else {
                    ":"
                };
                write!(f, "{colon} {key} {old} → {new}")?;
            }
            What::Moved { old, new } => write!(f, " moves from place {old} to {new}")?,
            What::Unreachable => f.write_str(" gets no requests any more")?,
        }
        if !self.note.is_empty() {
            let colon = if matches!(self.what, What::Changed { .. }) {
                ";"
            } else {
                ":"
            };
            write!(f, "{colon} {}", self.note)?;
        }
        Ok(())
    }
}

impl What {
    /// The word for it in JSON.
    fn word(&self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed { .. } => "changed",
            Self::Moved { .. } => "moved",
            Self::Unreachable => "unreachable",
        }
    }

    /// What its line begins with.
    fn sign(&self) -> &'static str {
        match self {
            Self::Added => "+",
            Self::Removed => "-",
            Self::Changed { .. } | Self::Moved { .. } => "~",
            Self::Unreachable => "!",
        }
    }
}

impl Thing {
    fn word(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Listener => "listener",
            Self::Pool => "pool",
            Self::Backend => "backend",
            Self::Route => "route",
        }
    }
}

/// Keys whose values differ. Both lists have the same keys in the same order.
fn keys(changes: &mut Vec<Change>, of: &Change, old: &[Setting], new: &[Setting]) {
    for ((key, old), (_, new)) in old.iter().zip(new) {
        if old != new {
            let (old, new) = (old.clone(), new.clone());
            changes.push(of.with(What::Changed { key, old, new }, ""));
        }
    }
}

/// Things by their key, for look-ups.
fn by_key<'a, T, K: std::hash::Hash + Eq>(
    things: impl IntoIterator<Item = &'a T>,
    key: impl Fn(&'a T) -> K,
) -> HashMap<K, &'a T> {
    things
        .into_iter()
        .map(|thing| (key(thing), thing))
        .collect()
}

fn listeners(changes: &mut Vec<Change>, old: &Config, new: &Config) {
    let addr = |listener: &Listener| listener.addr;
    let (before, after) = (by_key(&old.listeners, addr), by_key(&new.listeners, addr));
    for listener in &old.listeners {
        if !after.contains_key(&listener.addr) {
            let of = Change::of(Thing::Listener, "", &listener.name);
            changes.push(of.with(
                What::Removed,
                "closes; its clients finish what they have begun",
            ));
        }
    }
    for listener in &new.listeners {
        let of = Change::of(Thing::Listener, "", &listener.name);
        match before.get(&listener.addr) {
            None => changes.push(of.with(What::Added, format!("opens at {}", listener.addr))),
            Some(same) => {
                let settings = |listener: &Listener| {
                    [
                        ("name", listener.name.clone()),
                        ("accept-proxy", words::list(&listener.accept_proxy)),
                    ]
                };
                keys(changes, &of, &settings(same), &settings(listener));
            }
        }
    }
}

fn pools(changes: &mut Vec<Change>, old: &Config, new: &Config) {
    let name = |pool: &std::sync::Arc<Pool>| pool.name.clone();
    let (before, after) = (by_key(&old.pools, name), by_key(&new.pools, name));
    for pool in &old.pools {
        if !after.contains_key(&pool.name) {
            let of = Change::of(Thing::Pool, "", &pool.name);
            let note = format!(
                "its {} drain",
                words::counted(pool.backends.len(), "backend")
            );
            changes.push(of.with(What::Removed, note));
        }
    }
    for pool in &new.pools {
        let of = Change::of(Thing::Pool, "", &pool.name);
        match before.get(&pool.name) {
            None => {
                let note = words::counted(pool.backends.len(), "backend");
                changes.push(of.with(What::Added, note));
            }
            Some(same) if *same == pool => {}
            Some(same) => {
                keys(changes, &of, &words::pool(same), &words::pool(pool));
                pool_timers(changes, &of, (old, same), (new, pool));
                backends(changes, same, pool);
            }
        }
    }
}

/// The timers of a pool, but for those that it has from the top before and after: these are told there.
fn pool_timers(
    changes: &mut Vec<Change>,
    of: &Change,
    (old, before): (&Config, &Pool),
    (new, after): (&Config, &Pool),
) {
    let timers = |pool: &Pool| words::pool_timers(&pool.timeouts);
    let top = |config: &Config| words::pool_timers(&config.timeouts);
    for (((key, old), (_, new)), ((_, old_top), (_, new_top))) in timers(before)
        .into_iter()
        .zip(timers(after))
        .zip(top(old).into_iter().zip(top(new)))
    {
        let is_inherited = old == old_top && new == new_top;
        if old != new && !is_inherited {
            changes.push(of.with(What::Changed { key, old, new }, ""));
        }
    }
}

fn backends(changes: &mut Vec<Change>, old: &Pool, new: &Pool) {
    let name = |backend: &'_ Backend| backend.name.clone();
    let (before, after) = (by_key(&old.backends, name), by_key(&new.backends, name));
    for backend in &old.backends {
        if !after.contains_key(&backend.name) {
            let of = Change::of(Thing::Backend, &new.name, &backend.name);
            changes.push(of.with(
                What::Removed,
                "drains: it gets no new requests and finishes those that it has",
            ));
        }
    }
    for backend in &new.backends {
        let of = Change::of(Thing::Backend, &new.name, &backend.name);
        match before.get(&backend.name) {
            None => {
                let what = if backend.backup { ", backup" } else { "" };
                let note = format!("{}, weight {}{what}", backend.server, backend.weight);
                changes.push(of.with(What::Added, note));
            }
            Some(same) => {
                let first = changes.len();
                keys(
                    changes,
                    &of,
                    &words::backend(same),
                    &words::backend(backend),
                );
                for change in &mut changes[first..] {
                    let note = match &change.what {
                        What::Changed {
                            key: "weight", new, ..
                        } if new == "0" => "it gets no new clients",
                        What::Changed { key: "address", .. } => {
                            "the one there drains, and this one begins anew"
                        }
                        _ => continue,
                    };
                    note.clone_into(&mut change.note);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
