//! Lints of routes and of where their requests come in.

use std::collections::HashSet;

use super::super::{cover, words};
use super::{Finding, Lint};
use crate::config::file::Element;
use crate::config::{Action, Condition, Config, Match, Test};

pub(super) fn lint(found: &mut Vec<Finding>, config: &Config) {
    unreachable(found, config);
    listeners(found, config);
    shares(found, config);
}

fn unreachable(found: &mut Vec<Finding>, config: &Config) {
    let mut unreachable = |route: usize, why: &str| {
        let name = words::route(&config.routes[route].name, route);
        found.push(Finding {
            lint: Lint::UnreachableRoute,
            about: Element::Route(route),
            key: None,
            text: format!("{name} gets no requests: {why}"),
        });
    };
    for covered in cover::covered(config) {
        unreachable(covered.route, &cover::in_words(&covered, config));
    }
    for (place, route) in config.routes.iter().enumerate() {
        if let Some(name) = contradiction(&route.when) {
            unreachable(place, &format!("{name} cannot be there and not be there"));
        }
    }
}

/// A field or parameter that must be there and must not.
fn contradiction(when: &Match) -> Option<&str> {
    let of = |list: &'_ [Condition], same: fn(&str, &str) -> bool| {
        let absent = |condition: &Condition| condition.test == Test::Absent;
        list.iter().position(|wanted| {
            absent(wanted)
                && list
                    .iter()
                    .any(|other| !absent(other) && same(&other.name, &wanted.name))
        })
    };
    let field = of(&when.fields, str::eq_ignore_ascii_case).map(|at| &when.fields[at]);
    let parameter = of(&when.query, |a, b| a == b).map(|at| &when.query[at]);
    field.or(parameter).map(|condition| condition.name.as_str())
}

fn listeners(found: &mut Vec<Finding>, config: &Config) {
    if config
        .routes
        .iter()
        .any(|route| route.when.listeners.is_empty())
    {
        return;
    }
    let named: HashSet<&String> = config
        .routes
        .iter()
        .flat_map(|route| &route.when.listeners)
        .collect();
    for (place, listener) in config.listeners.iter().enumerate() {
        if !named.contains(&listener.name) {
            found.push(Finding {
                lint: Lint::ListenerWithoutRoutes,
                about: Element::Listener(place),
                key: None,
                text: format!(
                    "listener {}: no route takes what comes in here, so that all of it is answered 404",
                    listener.name
                ),
            });
        }
    }
}

fn shares(found: &mut Vec<Finding>, config: &Config) {
    for (place, route) in config.routes.iter().enumerate() {
        let Action::Pools(shares) = &route.action else {
            continue;
        };
        for share in shares.iter().filter(|share| share.weight == 0) {
            let pool = config.pools.get(share.pool).map_or("?", |pool| &pool.name);
            let name = words::route(&route.name, place);
            found.push(Finding {
                lint: Lint::ShareInNoUse,
                about: Element::Route(place),
                key: None,
                text: format!("{name}: pool {pool} has weight 0 and gets none of its requests"),
            });
        }
    }
}
