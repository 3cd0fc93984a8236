//! Small configurations for the tests of this room.

use std::sync::Arc;

use crate::config::value::Server;
use crate::config::{
    Action, Backend, Condition, Config, HostPattern, Match, PathPattern, Pool, Route, Share, Test,
};

/// A pool `default` of two backends behind one listener, `127.0.0.1:8080`.
pub(super) fn plain() -> Config {
    Config::simple(
        &["127.0.0.1:8080".parse().unwrap()],
        pool("default", "b1 b2"),
    )
}

/// A pool with backends of these names.
pub(super) fn pool(name: &str, backends: &str) -> Pool {
    Pool::new(name, backends.split(' ').map(backend).collect())
}

/// A backend of this name, at this name and port 80, resolved to an address of its own.
pub(super) fn backend(name: &str) -> Backend {
    let server: Server = format!("{name}:80").parse().unwrap();
    let host = name
        .bytes()
        .fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    Backend::at(name, server, vec![([10, 0, 0, host], 80).into()])
}

/// A configuration with these routes, all to the pool `default`; each is `NAME: CONDITIONS`.
pub(super) fn routes(lines: &[&str]) -> Config {
    Config {
        routes: lines
            .iter()
            .enumerate()
            .map(|(place, line)| Arc::new(route(place, line)))
            .collect(),
        ..plain()
    }
}

/// `NAME: CONDITIONS`, to pool 0. Conditions are `at:LISTENER`, a host, `/prefix`, `=/exact`, `~/glob`, `GET`, `name=value`,
/// `name~pattern`, `name?` (is there), `name!` (is not there), `?name=value` (a query parameter). The name `-` is none.
pub(super) fn route(place: usize, line: &str) -> Route {
    let (name, conditions) = line.split_once(':').unwrap();
    let mut route = Route::all_to(0);
    route.action = Action::Pools(vec![Share { pool: 0, weight: 1 }]);
    route.name = if name == "-" {
        format!("route {}", place + 1)
    } else {
        name.to_owned()
    };
    conditions
        .split_whitespace()
        .for_each(|word| add(&mut route.when, word));
    route
}

fn add(when: &mut Match, word: &str) {
    let owned = str::to_owned;
    if let Some(name) = word.strip_prefix("at:") {
        when.listeners.push(owned(name));
    } else if let Some(path) = word.strip_prefix('=') {
        when.paths.push(PathPattern::Exact(owned(path)));
    } else if let Some(path) = word.strip_prefix('~') {
        when.paths.push(PathPattern::Glob(owned(path)));
    } else if word.starts_with('/') {
        when.paths.push(PathPattern::Prefix(owned(word)));
    } else if let Some(query) = word.strip_prefix('?') {
        when.query.push(condition(query));
    } else if let Some(suffix) = word.strip_prefix("*.") {
        when.hosts.push(HostPattern::Suffix(format!(".{suffix}")));
    } else if word.contains(['=', '~', '?', '!']) {
        when.fields.push(condition(word));
    } else if word.contains('.') {
        when.hosts.push(HostPattern::Exact(owned(word)));
    } else {
        when.methods.push(owned(word));
    }
}

fn condition(word: &str) -> Condition {
    let at = word.find(['=', '~', '?', '!']).unwrap();
    let value = word[at + 1..].to_owned();
    let test = match word.as_bytes()[at] {
        b'=' => Test::Is(value),
        b'~' => Test::Like(value),
        b'?' => Test::Present,
        _ => Test::Absent,
    };
    Condition {
        name: word[..at].to_owned(),
        test,
    }
}

/// Some time to count from.
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some instant to count from"
)]
pub(super) fn instant() -> std::time::Instant {
    std::time::Instant::now()
}
