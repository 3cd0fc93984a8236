use super::*;
use crate::config::WEIGHT_MAX;
use crate::inspect::tests::{backend, plain, pool, route, routes};
use std::sync::Arc;
use std::time::Duration;

fn check(old: &Config, new: &Config, expected: &[&str]) {
    let diff = diff(old, new);
    let lines: Vec<String> = diff.changes.iter().map(ToString::to_string).collect();
    assert_eq!(lines, expected);
    assert_eq!(diff.json().as_array().map(Vec::len), Some(expected.len()));
}

/// What changes when `edit` does it to the plain configuration.
fn check_edit(edit: impl FnOnce(&mut Config), expected: &[&str]) {
    let old = plain();
    let mut new = old.clone();
    edit(&mut new);
    check(&old, &new, expected);
}

#[test]
fn the_same_changes_nothing() {
    check_edit(|_| {}, &[]);
    assert_eq!(diff(&plain(), &plain()).to_string(), "nothing changes\n");
}

#[test]
fn a_pool_and_its_backends_change_key_by_key() {
    check_edit(
        |new| {
            let pool = new.pool_mut(0);
            pool.backends[0].weight = WEIGHT_MAX;
            pool.backends[1] = backend("b3");
            pool.backends[1].backup = true;
            pool.retries = 0;
            pool.timeouts.connect = Duration::from_millis(500);
        },
        &[
            "~ pool default: retries 2 → 0",
            "~ pool default: connect-timeout 3s → 500ms",
            "- pool default: backend b2: drains: it gets no new requests and finishes those that it has",
            "~ pool default: backend b1: weight 1 → 256",
            "+ pool default: backend b3: b3:80, weight 1, backup",
        ],
    );
    check_edit(
        |new| {
            let backends = &mut new.pool_mut(0).backends;
            backends[0].weight = 0;
            backends[1].server = "c:81".parse().unwrap();
        },
        &[
            "~ pool default: backend b1: weight 1 → 0; it gets no new clients",
            "~ pool default: backend b2: address b2:80 → c:81; the one there drains, and this one begins anew",
        ],
    );
}

#[test]
fn what_pools_inherit_is_told_once() {
    check_edit(
        |new| {
            new.timeouts.response = Duration::from_secs(5);
            new.pool_mut(0).timeouts.response = Duration::from_secs(5);
        },
        &["~ response-timeout 1m → 5s"],
    );
}

#[test]
fn listeners_and_pools_come_and_go() {
    check_edit(
        |new| {
            new.listeners[0] = Listener::at("127.0.0.1:81".parse().unwrap());
            new.pools[0] = Arc::new(pool("api", "b1"));
        },
        &[
            "- listener 127.0.0.1:8080: closes; its clients finish what they have begun",
            "+ listener 127.0.0.1:81: opens at 127.0.0.1:81",
            "- pool default: its 2 backends drain",
            "+ pool api: 1 backend",
            "- route 1: every request → pool default",
            "+ route 1: at place 1, every request → pool api",
        ],
    );
}

#[test]
fn routes_come_move_and_hide_each_other() {
    check(
        &routes(&["a: /a", "b: /b", "c: /c", "-: /d"]),
        &routes(&["c: /c", "a: /a", "all: /", "b: /b/c", "-: /d"]),
        &[
            "~ route c moves from place 3 to 1",
            "+ route all: at place 3, paths / (prefix) → pool default",
            "~ route b: when paths /b (prefix) → paths /b/c (prefix)",
            "! route b gets no requests any more: route all, before it, takes them all",
            "! route 5 gets no requests any more: route all, before it, takes them all",
        ],
    );
}

#[test]
fn a_route_without_a_name_is_known_by_what_it_says() {
    check(
        &routes(&["-: /a", "-: /b", "-: /b"]),
        &routes(&["-: /new", "-: /a", "-: /b"]),
        &[
            "- route 3: paths /b (prefix) → pool default",
            "+ route 1: at place 1, paths /new (prefix) → pool default",
        ],
    );
}

#[test]
fn a_change_is_an_object_in_json() {
    let mut new = plain();
    new.pool_mut(0).backends[0].weight = 3;
    let expected = json!([{
        "change": "changed", "thing": "backend", "pool": "default", "name": "b1",
        "key": "weight", "old": "1", "new": "3",
    }]);
    assert_eq!(diff(&plain(), &new).json(), expected);
}

#[test]
fn thousands_of_routes_are_compared_in_linear_time() {
    let many = |count: usize| Config {
        routes: (0..count)
            .map(|n| Arc::new(route(n, &format!("r{n}: h{n}.example.com /v{n}"))))
            .collect(),
        ..plain()
    };
    let mut new = many(20_000);
    new.routes.rotate_left(1);
    check(
        &many(20_000),
        &new,
        &["~ route r0 moves from place 1 to 20000"],
    );
}
