use std::sync::Arc;

use super::*;
use crate::config::value::network;
use crate::config::{Action, Hash, HashOn, Listener, Policy, Pool, Share, Sticky, WhenAllDown};
use crate::inspect::tests::{plain, pool, routes};

/// What is found after `edit`, as it displays.
fn found(edit: impl FnOnce(&mut Config)) -> Vec<String> {
    let mut config = plain();
    edit(&mut config);
    let found = lint(&config, Some(1_000_000));
    found.iter().map(ToString::to_string).collect()
}

/// What is found of a pool with these backends after `edit`.
fn of_pool(backends: &str, edit: impl FnOnce(&mut Pool)) -> Vec<String> {
    found(|config| {
        *config.pool_mut(0) = pool("api", backends);
        edit(config.pool_mut(0));
    })
}

fn check(found: Vec<String>, expected: &[&str]) {
    assert_eq!(found, expected);
}

#[test]
fn nothing_is_said_of_what_is_plain() {
    check(found(|_| {}), &[]);
    check(of_pool("b1", |_| {}), &[]);
}

#[test]
fn names_are_words_and_each_lint_is_listed_once() {
    let mut names: Vec<_> = Lint::ALL.iter().map(|lint| lint.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Lint::ALL.len());
    for lint in Lint::ALL {
        let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(lint.name().chars().all(is_word), "{}", lint.name());
        assert!(lint.meaning().ends_with('.'), "{}", lint.meaning());
        assert!(Lint::list().contains(lint.name()));
    }
}

#[test]
fn listeners_overlap() {
    let told = |addrs: &[&str]| {
        found(|config| {
            config.listeners = (addrs.iter())
                .map(|addr| Listener {
                    name: format!("at {addr}"),
                    addr: addr.parse().expect("an address"),
                    ..config.listeners[0].clone()
                })
                .collect();
        })
    };
    check(
        told(&["127.0.0.1:80", "0.0.0.0:80"]),
        &[
            "address 127.0.0.1:80: listener at 0.0.0.0:80 at 0.0.0.0:80 covers it, and both cannot be opened [listeners-overlap]",
        ],
    );
    assert_eq!(told(&["[::]:80", "0.0.0.0:80"]).len(), 1);
    assert_eq!(told(&["[::]:80", "[::1]:80"]).len(), 1);
    check(told(&["0.0.0.0:80", "[::1]:80"]), &[]);
    check(told(&["0.0.0.0:80", "127.0.0.1:81"]), &[]);
    check(told(&["0.0.0.0:0", "127.0.0.1:0"]), &[]);
}

#[test]
fn unreachable_route() {
    let told = |lines: &[&str]| found(|config| config.routes = routes(lines).routes);
    check(
        told(&["a: /v1", "-: /v1/x"]),
        &["route 2 gets no requests: route a, before it, takes them all [unreachable-route]"],
    );
    check(
        told(&["a: x! X?"]),
        &["route a gets no requests: x cannot be there and not be there [unreachable-route]"],
    );
    check(told(&["a: /v1/x", "-: /v1", "c: x! ?x=1"]), &[]);
}

#[test]
fn listener_without_routes() {
    let told = |line: &str| {
        found(|config| {
            let other = Listener {
                name: "other".to_owned(),
                ..config.listeners[0].clone()
            };
            config.listeners.push(other);
            config.routes = routes(&[line]).routes;
        })
    };
    check(
        told("a: at:127.0.0.1:8080"),
        &[
            "listener other: no route takes what comes in here, so that all of it is answered 404 [listener-without-routes]",
        ],
    );
    check(told("a: at:127.0.0.1:8080 at:other"), &[]);
    check(told("a:"), &[]);
}

#[test]
fn share_in_no_use_and_pool_unused() {
    let told = |weight: Option<u16>| {
        found(|config| {
            config.pools.push(Arc::new(pool("canary", "c1 c2")));
            let mut shares = vec![Share { pool: 0, weight: 1 }];
            shares.extend(weight.map(|weight| Share { pool: 1, weight }));
            Arc::make_mut(&mut config.routes[0]).action = Action::Pools(shares);
        })
    };
    check(
        told(Some(0)),
        &["route 1: pool canary has weight 0 and gets none of its requests [share-in-no-use]"],
    );
    check(
        told(None),
        &["pool canary: no route leads here [pool-unused]"],
    );
    check(told(Some(1)), &[]);
}

#[test]
fn pool_without_checks() {
    check(
        of_pool("b1", |pool| pool.failures_max = 5),
        &[
            "pool api: failures never take the only backend out; that takes take-out-last = true [pool-without-checks]",
        ],
    );
    check(of_pool("b1 b2", |pool| pool.failures_max = 5), &[]);
    check(
        of_pool("b1", |pool| {
            pool.failures_max = 5;
            pool.take_out_last = true;
        }),
        &[],
    );
}

#[test]
fn weight_of_all_zero_and_backend_in_no_use() {
    let weights = |weights: [u16; 2], is_sticky: bool| {
        of_pool("b1 b2", |pool| {
            pool.backends[0].weight = weights[0];
            pool.backends[1].weight = weights[1];
            pool.sticky = is_sticky.then(|| sticky(Some("secret")));
        })
    };
    check(
        weights([0, 0], true),
        &["pool api: all weights are 0, so that new clients get no backend [weight-of-all-zero]"],
    );
    check(
        weights([1, 0], false),
        &["pool api: backend b2 has weight 0 and gets no requests [backend-in-no-use]"],
    );
    check(weights([1, 0], true), &[]);
    check(weights([1, 2], false), &[]);
}

#[test]
fn only_backups() {
    check(
        of_pool("b1 b2", |pool| {
            pool.backends.iter_mut().for_each(|b| b.backup = true)
        }),
        &["pool api: all backends are backups, which is as if none were [only-backups]"],
    );
    check(of_pool("b1 b2", |pool| pool.backends[1].backup = true), &[]);
}

#[test]
fn hash_with_one_backend() {
    let hash = |pool: &mut Pool| {
        pool.policy = Policy::Hash(Hash {
            on: HashOn::Client,
            load_percent_max: 0,
        });
    };
    check(
        of_pool("b1", hash),
        &[
            "pool api: a hash has nothing to choose where there is one backend [hash-with-one-backend]",
        ],
    );
    check(of_pool("b1 b2", hash), &[]);
}

fn sticky(secret: Option<&str>) -> Sticky {
    Sticky {
        cookie: "at".to_owned(),
        secret: secret.map(str::to_owned),
    }
}

#[test]
fn sticky_one_backend_and_without_secret() {
    check(
        of_pool("b1", |pool| pool.sticky = Some(sticky(Some("s")))),
        &[
            "pool api: clients stay with the one backend that there is without a cookie too [sticky-one-backend]",
        ],
    );
    check(
        of_pool("b1 b2", |pool| pool.sticky = Some(sticky(None))),
        &[
            "pool api: cookie at is not signed, so that clients can choose their backend; give it a secret [sticky-without-secret]",
        ],
    );
    check(
        of_pool("b1 b2", |pool| pool.sticky = Some(sticky(Some("s")))),
        &[],
    );
}

#[test]
fn timer_never_fires() {
    let hold = |held_max, take_out_last| {
        of_pool("b1 b2", |pool| {
            pool.when_all_down = WhenAllDown::Hold;
            pool.held_max = held_max;
            pool.take_out_last = take_out_last;
        })
    };
    check(
        hold(0, true),
        &[
            "pool api: hold-timeout never fires: max-held is 0, so that no request is held [timer-never-fires]",
        ],
    );
    check(
        hold(9, false),
        &[
            "pool api: hold-timeout never fires: the last live backend stays in; that takes take-out-last = true [timer-never-fires]",
        ],
    );
    check(hold(9, true), &[]);
    // Where nobody has a weight, nobody counts as live, and new clients are held.
    let nobody = of_pool("b1", |pool| {
        pool.when_all_down = WhenAllDown::Hold;
        pool.backends[0].weight = 0;
    });
    assert!(!nobody.concat().contains("timer-never-fires"), "{nobody:?}");
    check(
        of_pool("b1 b2", |pool| pool.idle_per_backend_max = 0),
        &[
            "pool api: upstream-idle-timeout never fires: max-idle-per-backend is 0, so that no upstream is idle [timer-never-fires]",
        ],
    );
}

#[test]
fn descriptors_over_limit() {
    let told = |sessions, limit| {
        let mut config = plain();
        config.limits.sessions_max = sessions;
        lint(&config, limit)
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    check(
        told(9_999, Some(1024)),
        &[
            "9999 clients at a time need 20047 descriptors, and there may be 1024: 487 clients are served; raise the limit (ulimit -n) [descriptors-over-limit]",
        ],
    );
    check(told(9_999, Some(20_143)), &[]);
    check(told(9_999, None), &[]);
    check(told(10_000, Some(1024)), &[]);
}

#[test]
fn trust_everyone() {
    let told = |text: &str| {
        found(|config| {
            config.forwarding.trust.push(network(text).unwrap());
            config.listeners[0]
                .accept_proxy
                .push(network(text).unwrap());
        })
    };
    let line = |key: &str| {
        format!(
            "{key} ::/0: anyone can pass for anyone; name the networks of your own proxies [trust-everyone]"
        )
    };
    check(told("::/0"), &[&line("trust"), &line("accept-proxy")]);
    assert_eq!(told("0.0.0.0/0").len(), 2);
    check(told("10.0.0.0/8"), &[]);
}
