//! Routes: which come, go, change and move, and which are hidden by others from now on.

use std::collections::{HashMap, HashSet};

use super::super::cover;
use super::super::words::{self, Setting};
use super::{Change, Thing, What, keys};
use crate::config::{Config, Route};

/// A route in words, with which those that have no name of their own are found again.
fn told(route: &Route, config: &Config) -> [Setting; 5] {
    [
        ("when", words::when(&route.when)),
        ("action", words::action(&route.action, config)),
        ("rewrite", words::rewrite(route.rewrite.as_ref())),
        ("request-headers", words::edits(&route.request_fields)),
        ("response-headers", words::edits(&route.response_fields)),
    ]
}

/// What a route is known by: its own name, or else what it says and how many before it say the same.
#[derive(Clone, PartialEq, Eq, Hash)]
enum RouteKey {
    Name(String),
    Words([Setting; 5], usize),
}

fn route_keys(config: &Config) -> Vec<RouteKey> {
    let mut twins: HashMap<[Setting; 5], usize> = HashMap::new();
    let keys = config.routes.iter().enumerate().map(|(place, route)| {
        if route.name != format!("route {}", place + 1) {
            return RouteKey::Name(route.name.clone());
        }
        let words = told(route, config);
        let twin = twins.entry(words.clone()).or_default();
        *twin += 1;
        RouteKey::Words(words, *twin)
    });
    keys.collect()
}

pub(super) fn compare(changes: &mut Vec<Change>, old: &Config, new: &Config) {
    let (old_keys, new_keys) = (route_keys(old), route_keys(new));
    let places = |keys: &[RouteKey]| -> HashMap<RouteKey, usize> {
        keys.iter()
            .cloned()
            .enumerate()
            .map(|(place, key)| (key, place))
            .collect()
    };
    let (before, after) = (places(&old_keys), places(&new_keys));
    for (route, key) in old.routes.iter().zip(&old_keys) {
        if !after.contains_key(key) {
            let of = Change::of(Thing::Route, "", &route.name);
            changes.push(of.with(What::Removed, in_short(route, old)));
        }
    }
    let kept: Vec<usize> = new_keys
        .iter()
        .filter_map(|key| before.get(key).copied())
        .collect();
    let still: HashSet<usize> = longest_rising(&kept).into_iter().collect();
    for (place, (route, key)) in new.routes.iter().zip(&new_keys).enumerate() {
        let of = Change::of(Thing::Route, "", &route.name);
        let Some(&was) = before.get(key) else {
            changes.push(of.with(
                What::Added,
                format!("at place {}, {}", place + 1, in_short(route, new)),
            ));
            continue;
        };
        if !still.contains(&was) {
            let what = What::Moved {
                old: was + 1,
                new: place + 1,
            };
            changes.push(of.with(what, ""));
        }
        keys(
            changes,
            &of,
            &told(&old.routes[was], old),
            &told(route, new),
        );
    }
    unreachable(changes, (old, &old_keys), (new, &new_keys));
}

fn in_short(route: &Route, config: &Config) -> String {
    format!(
        "{} → {}",
        words::when(&route.when),
        words::action(&route.action, config)
    )
}

/// Routes that are covered now and were not before, new ones among them.
fn unreachable(
    changes: &mut Vec<Change>,
    (old, old_keys): (&Config, &[RouteKey]),
    (new, new_keys): (&Config, &[RouteKey]),
) {
    let before: HashSet<&RouteKey> = cover::covered(old)
        .iter()
        .map(|covered| &old_keys[covered.route])
        .collect();
    for covered in cover::covered(new) {
        if !before.contains(&new_keys[covered.route]) {
            let of = Change::of(Thing::Route, "", &new.routes[covered.route].name);
            changes.push(of.with(What::Unreachable, cover::in_words(&covered, new)));
        }
    }
}

/// Of distinct numbers, as many as rise in their order: what has not moved.
fn longest_rising(numbers: &[usize]) -> Vec<usize> {
    // For each length: where the row of that length ends that ends lowest.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(numbers.len());
    for (at, number) in numbers.iter().enumerate() {
        let len = ends.partition_point(|&end| numbers[end] < *number);
        before.push(len.checked_sub(1).map(|shorter| ends[shorter]));
        if len == ends.len() {
            ends.push(at);
        } else {
            ends[len] = at;
        }
    }
    let mut row = Vec::with_capacity(ends.len());
    let mut next = ends.last().copied();
    while let Some(at) = next {
        row.push(numbers[at]);
        next = before[at];
    }
    row
}
