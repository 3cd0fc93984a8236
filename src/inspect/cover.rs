//! Which conditions include which others: the routes that no request ever reaches.
//!
//! What is said here is certain: that a route is covered is claimed only where each request that it would match is matched
//! by one before it. Not every such case is seen: routes that cover another only by their patterns, or by their number, mostly
//! are not.
//!
//! A route is taken apart into its pairs of a host and a path. Those before it that may include a pair are found by look-ups,
//! so that thousands of routes are compared in about linear time.

use std::collections::HashMap;

use super::words;
use crate::config::{Condition, Config, HostPattern, Match, PathPattern, Route, Test};

/// Pairs of a host and a path that one route is taken apart into; of a route with more nothing is claimed.
const PAIRS_MAX: usize = 256;
/// Earlier routes with the same host and path that are looked at for one pair.
const PEERS_MAX: usize = 64;

/// A route that no request reaches, and those before it that take its requests: mostly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Covered {
    /// The route, by its place.
    pub(super) route: usize,
    /// The ones before it that take its requests, by their place.
    pub(super) by: Vec<usize>,
}

/// The host and the path of a pair; `None` is any.
type Key<'a> = (Option<&'a HostPattern>, Option<&'a PathPattern>);

/// All routes that no request reaches, in their order.
pub(super) fn covered(config: &Config) -> Vec<Covered> {
    let all_listeners: Vec<&str> = config.listeners.iter().map(|l| l.name.as_str()).collect();
    let mut seen: HashMap<Owned, Vec<usize>> = HashMap::new();
    let mut found = Vec::new();
    for (place, route) in config.routes.iter().enumerate() {
        let when = &route.when;
        let pairs = pairs(when);
        let mut by: Vec<usize> = Vec::new();
        let is_covered = pairs.len() <= PAIRS_MAX
            && pairs.iter().all(|&pair| {
                let first = wider(pair)
                    .filter_map(|key| {
                        let peers = seen.get(&key)?.iter().take(PEERS_MAX);
                        peers
                            .copied()
                            .find(|&peer| rest_includes(&config.routes[peer], when, &all_listeners))
                    })
                    .min();
                by.extend(first);
                first.is_some()
            });
        if is_covered {
            by.sort_unstable();
            by.dedup();
            found.push(Covered { route: place, by });
        } else {
            // What is covered covers nothing that the others do not.
            for pair in pairs {
                seen.entry(owned(pair)).or_default().push(place);
            }
        }
    }
    found
}

/// Who takes the requests of a covered route.
pub(super) fn in_words(covered: &Covered, config: &Config) -> String {
    let mut names: Vec<String> = Vec::new();
    for &place in &covered.by {
        names.push(words::route(&config.routes[place].name, place));
    }
    match names.as_slice() {
        [only] => format!("{only}, before it, takes them all"),
        _ => format!("{}, before it, take them all", names.join(" and ")),
    }
}

/// The pairs of a route.
fn pairs(when: &Match) -> Vec<Key<'_>> {
    let hosts: Vec<_> = some_or_any(&when.hosts);
    let paths: Vec<_> = some_or_any(&when.paths);
    hosts
        .iter()
        .flat_map(|&host| paths.iter().map(move |&path| (host, path)))
        .collect()
}

fn some_or_any<T>(list: &[T]) -> Vec<Option<&T>> {
    if list.is_empty() {
        return vec![None];
    }
    list.iter().map(Some).collect()
}

type Owned = (Option<HostPattern>, Option<PathPattern>);

fn owned((host, path): Key<'_>) -> Owned {
    (host.cloned(), path.cloned())
}

/// All pairs that include this one, itself first.
fn wider(pair: Key<'_>) -> impl Iterator<Item = Owned> {
    let paths = wider_paths(pair.1);
    wider_hosts(pair.0).into_iter().flat_map(move |host| {
        paths
            .clone()
            .into_iter()
            .map(move |path| (host.clone(), path))
    })
}

fn wider_hosts(host: Option<&HostPattern>) -> Vec<Option<HostPattern>> {
    let mut wider = Vec::new();
    if let Some(pattern) = host {
        wider.push(Some(pattern.clone()));
        let (HostPattern::Exact(name) | HostPattern::Suffix(name)) = pattern;
        // From the second byte on: `*.a` takes one label at least, and the suffix itself is there already.
        let dots = name.match_indices('.').filter(|&(at, _)| at > 0);
        wider.extend(dots.map(|(at, _)| Some(HostPattern::Suffix(name[at..].to_owned()))));
    }
    wider.push(None);
    wider
}

fn wider_paths(path: Option<&PathPattern>) -> Vec<Option<PathPattern>> {
    let mut wider = Vec::new();
    if let Some(pattern) = path {
        wider.push(Some(pattern.clone()));
        // What is sure to stand at the start of each path that fits.
        let (fixed, whole) = match pattern {
            PathPattern::Exact(path) | PathPattern::Prefix(path) => (path.as_str(), true),
            PathPattern::Glob(pattern) => {
                let fixed = pattern.split('*').next().unwrap_or_default();
                (fixed, fixed.len() == pattern.len())
            }
        };
        for (at, _) in fixed.match_indices('/') {
            if at > 0 {
                wider.push(Some(PathPattern::Prefix(fixed[..at].to_owned())));
            }
            wider.push(Some(PathPattern::Prefix(fixed[..=at].to_owned())));
        }
        if whole {
            wider.push(Some(PathPattern::Prefix(fixed.to_owned())));
        }
    }
    wider.push(None);
    wider
}

/// Whether what is left of the conditions of `wide`, without hosts and paths, holds for every request for which those of
/// `narrow` do.
fn rest_includes(wide: &Route, narrow: &Match, all_listeners: &[&str]) -> bool {
    let wide = &wide.when;
    let names = |list: &[String], name: &str| list.iter().any(|item| item == name);
    let listeners = wide.listeners.is_empty()
        || if narrow.listeners.is_empty() {
            all_listeners
                .iter()
                .all(|name| names(&wide.listeners, name))
        } else {
            narrow
                .listeners
                .iter()
                .all(|name| names(&wide.listeners, name))
        };
    let methods = wide.methods.is_empty()
        || !narrow.methods.is_empty()
            && narrow
                .methods
                .iter()
                .all(|method| names(&wide.methods, method));
    listeners
        && methods
        && all_implied(&wide.fields, &narrow.fields, str::eq_ignore_ascii_case)
        && all_implied(&wide.query, &narrow.query, |a, b| a == b)
}

fn all_implied(wide: &[Condition], narrow: &[Condition], same: fn(&str, &str) -> bool) -> bool {
    wide.iter().all(|wide| {
        narrow
            .iter()
            .any(|narrow| same(&wide.name, &narrow.name) && implied(&wide.test, &narrow.test))
    })
}

/// Whether `wide` holds wherever `narrow` does.
fn implied(wide: &Test, narrow: &Test) -> bool {
    match (wide, narrow) {
        (Test::Absent, Test::Absent) => true,
        (Test::Absent, _) | (_, Test::Absent) => false,
        (Test::Present, Test::Present | Test::Is(_) | Test::Like(_)) => true,
        (Test::Like(pattern), _) if pattern.bytes().all(|b| b == b'*') && !pattern.is_empty() => {
            true
        }
        (Test::Is(wide), Test::Is(narrow)) | (Test::Like(wide), Test::Like(narrow)) => {
            wide == narrow
        }
        (Test::Like(pattern), Test::Is(value)) => is_like(pattern, value),
        (Test::Is(value), Test::Like(pattern)) => !pattern.contains('*') && value == pattern,
        (Test::Is(_) | Test::Like(_), Test::Present) => false,
    }
}

/// Whether a value fits a pattern in which `*` stands for any bytes.
fn is_like(pattern: &str, value: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = value.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::routes;

    /// Which of these routes are covered, by which.
    fn check(lines: &[&str], expected: &[(usize, &[usize])]) {
        let found = covered(&routes(lines));
        let found: Vec<_> = found.iter().map(|c| (c.route, c.by.as_slice())).collect();
        assert_eq!(found, expected, "{lines:?}");
    }

    #[test]
    fn a_route_is_covered_by_one_whose_conditions_include_its_own() {
        for (wide, narrow) in [
            ("a:", "b: /v1"),
            ("a:", "b:"),
            ("a: /v1", "b: /v1/x"),
            ("a: /v1/", "b: /v1/x"),
            ("a: /v1", "b: =/v1"),
            ("a: /v1", "b: /v1/"),
            ("a: /", "b: =/x GET"),
            ("a: /v1", "b: ~/v1/*/x"),
            ("a: ~/v1/*/x", "b: ~/v1/*/x"),
            ("a: x.example.com", "b: x.example.com /v1"),
            ("a: *.example.com", "b: x.y.example.com"),
            ("a: *.example.com", "b: *.y.example.com"),
            ("a: GET POST", "b: POST"),
            ("a: /v1 /v2", "b: /v2/x /v1"),
            ("a: x?", "b: X=1"),
            ("a: x~a*c", "b: X=abc y?"),
            ("a: x~*", "b: x~a*"),
            ("a: x!", "b: x!"),
            ("a: ?q=1", "b: ?q=1 ?r="),
            ("a: at:127.0.0.1:8080", "b:"),
        ] {
            check(&[wide, narrow], &[(1, &[0])]);
        }
    }

    #[test]
    fn a_route_that_some_request_can_reach_is_not_covered() {
        for (before, after) in [
            ("a: /v1", "b: /v10"),
            ("a: /v1/", "b: =/v1"),
            ("a: /v1/", "b: /v1"),
            ("a: =/v1", "b: /v1"),
            // `OPTIONS *` has no path that begins so.
            ("a: /", "b:"),
            ("a: ~/v1/*", "b: ~/v1/**"),
            ("a: *.example.com", "b: example.com"),
            ("a: *.y.example.com", "b: *.example.com"),
            ("a: x.example.com", "b:"),
            ("a: GET", "b:"),
            ("a: GET", "b: get"),
            ("a: x=1", "b: x=2"),
            ("a: x=1", "b: x?"),
            ("a: x!", "b: x=1"),
            ("a: x~a*", "b: x=ba"),
            ("a: x~a*a", "b: x=a"),
            ("a: ?q=1", "b: ?Q=1"),
            ("a: ?q=1", "b: q=1"),
            ("a: /v1 GET", "b: /v1 /v2 GET"),
            ("a: at:other", "b:"),
        ] {
            check(&[before, after], &[]);
        }
    }

    #[test]
    fn several_routes_can_cover_one_and_what_is_covered_is_told_once() {
        check(
            &[
                "a: /v1",
                "b: x.example.com /v2",
                "c: x.example.com /v1/y /v2/z",
                "d: x.example.com /v2/z/q",
            ],
            &[(2, &[0, 1]), (3, &[1])],
        );
    }

    #[test]
    fn a_route_of_too_many_pairs_is_left_alone() {
        let hosts: Vec<String> = (0..PAIRS_MAX)
            .map(|n| format!("h{n}.example.com"))
            .collect();
        let few = format!("b: {}", hosts.join(" "));
        check(&["a:", &few], &[(1, &[0])]);
        check(&["a:", &format!("{few} one.more")], &[]);
    }
}
