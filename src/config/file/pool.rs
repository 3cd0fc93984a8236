//! Pools, and what the top says for all of them.

use std::sync::Arc;

use super::backend;
use super::names::{self, Names};
use super::places::{Marks, Places};
use super::section::{Absent, Key, Section};
use super::text;
use crate::config::{Hash, HashOn, Policy, Pool, ProxyVersion, Sticky, Timeouts, WhenAllDown};

/// How far a hash loads a backend by default, in percent of its fair share.
const HASH_LOAD_PERCENT: u16 = 125;
/// Least and most that can be said of it, besides 0 for no bound.
const HASH_LOAD_RANGE: (u16, u16) = (100, 1000);

/// What a pool is like where it says nothing itself. The hash counts if the policy is one.
pub(super) struct Defaults {
    pub(super) pool: Pool,
    pub(super) hash: Hash,
}

/// The hash that is meant where nothing is said of it.
pub(super) fn default_hash() -> Hash {
    Hash {
        on: HashOn::Client,
        load_percent_max: HASH_LOAD_PERCENT,
    }
}

/// What the top says of all pools.
pub(super) fn defaults(top: &mut Section<'_>) -> Defaults {
    let base = Defaults {
        pool: Pool::new("", Vec::new()),
        hash: default_hash(),
    };
    shared(top, &base)
}

/// The keys that stand at the top for all pools, or in a pool for itself.
fn shared(section: &mut Section<'_>, base: &Defaults) -> Defaults {
    let (policy, hash) = policy(section, base);
    let is_hash = matches!(policy, Policy::Hash(_));
    let pool = Pool {
        policy,
        when_all_down: when_all_down(section, base.pool.when_all_down),
        timeouts: timeouts(section, &base.pool.timeouts),
        retries: section.number(
            "retries",
            &(0..=10),
            base.pool.retries,
            "How often a request that no backend has seen is tried again.",
        ),
        idle_per_backend_max: section.number(
            "max-idle-per-backend",
            &(0..=65_535),
            base.pool.idle_per_backend_max,
            "Unused connections kept to each backend.",
        ),
        failures_max: section.number(
            "fail-after",
            &(1..=1_000_000),
            base.pool.failures_max,
            "Failures in a row that take a backend out; it is tried again after 1 s, doubling to 30 s.",
        ),
        take_out_last: section.truth(
            "take-out-last",
            base.pool.take_out_last,
            "Whether failures may take out even the last live backend.",
        ),
        held_max: section.number(
            "max-held",
            &(0..=1_000_000),
            base.pool.held_max,
            "Requests held at a time while no backend is live, where `when-all-down` is `\"hold\"`.",
        ),
        ..base.pool.clone()
    };
    if section.inherits() {
        if !is_hash {
            section.inert(&["hash-on", "hash-load"], "the policy is not \"hash\"");
        }
        if pool.when_all_down != WhenAllDown::Hold {
            section.inert(
                &["max-held", "hold-timeout"],
                "requests are held only where when-all-down is \"hold\"",
            );
        }
    }
    Defaults { pool, hash }
}

fn policy(section: &mut Section<'_>, base: &Defaults) -> (Policy, Hash) {
    let hash = |policy: &Policy| matches!(policy, Policy::Hash(_));
    let words = [
        ("round-robin", Policy::RoundRobin),
        ("least-connections", Policy::LeastConnections),
        ("random-two", Policy::RandomTwo),
        ("hash", Policy::Hash(default_hash())),
    ];
    let chosen = section.choice(
        "policy",
        &words,
        Absent::Is(&"\"round-robin\""),
        "How a backend is picked: each in turn by weight; the one with the fewest running requests for its weight; the better of \
         two at random; or the same for the same key.",
    );
    let on = section.parse(
        &Key {
            name: "hash-on",
            kind: "a key",
            absent: Absent::Is(&"\"client\""),
            meaning: "What the hash is of: `\"client\"` (its address), `\"path\"`, `\"header:NAME\"` or `\"cookie:NAME\"`. Only \
                      with the policy `\"hash\"`.",
        },
        hash_on,
    );
    let load = section.number(
        "hash-load",
        &(0..=HASH_LOAD_RANGE.1),
        base.hash.load_percent_max,
        "How many running requests a backend may have, in percent of its fair share (100 to 1000), before the next one for the \
         key is taken; 0 is no bound. Only with the policy `\"hash\"`.",
    );
    if (1..HASH_LOAD_RANGE.0).contains(&load) {
        section.wrong(
            "hash-load",
            "expected 0 for no bound, or 100 to 1000 percent",
        );
    }
    let meant = Hash {
        on: on.unwrap_or_else(|| base.hash.on.clone()),
        load_percent_max: load,
    };
    let policy = match chosen.unwrap_or_else(|| base.pool.policy.clone()) {
        policy if hash(&policy) => Policy::Hash(meant.clone()),
        policy => policy,
    };
    (policy, meant)
}

fn hash_on(text: &str) -> Result<HashOn, String> {
    let token = |name: &str| text::token(name, "a name");
    match text.split_once(':') {
        None if text == "client" => Ok(HashOn::Client),
        None if text == "path" => Ok(HashOn::Path),
        Some(("header", name)) => token(name).map(HashOn::Field),
        Some(("cookie", name)) => token(name).map(HashOn::Cookie),
        None | Some(_) => {
            Err("expected \"client\", \"path\", \"header:NAME\" or \"cookie:NAME\"".to_owned())
        }
    }
}

fn when_all_down(section: &mut Section<'_>, base: WhenAllDown) -> WhenAllDown {
    let words = [
        ("503", WhenAllDown::Refuse),
        ("try-all", WhenAllDown::TryAll),
        ("hold", WhenAllDown::Hold),
    ];
    let chosen = section.choice(
        "when-all-down",
        &words,
        Absent::Is(&"\"503\""),
        "What becomes of requests while no backend is live: they are answered 503, tried at those that are out as if all were \
         live, or held until one is live again.",
    );
    chosen.unwrap_or(base)
}

fn timeouts(section: &mut Section<'_>, base: &Timeouts) -> Timeouts {
    Timeouts {
        connect: section.duration(
            "connect-timeout",
            base.connect,
            "From the start of a connection attempt to a backend to its success; then another is tried.",
        ),
        response: section.duration(
            "response-timeout",
            base.response,
            "From the end of a request, or an interim response, to the next response head.",
        ),
        body: section.duration(
            "body-timeout",
            base.body,
            "Between two pieces of a body, in either direction; a slow reader may take it in steps of up to 128 KiB.",
        ),
        upstream_idle: section.duration(
            "upstream-idle-timeout",
            base.upstream_idle,
            "How long an unused connection to a backend is kept.",
        ),
        tunnel: section.duration(
            "tunnel-timeout",
            base.tunnel,
            "How long a tunnel (WebSocket) is kept without a byte in it.",
        ),
        hold: section.duration(
            "hold-timeout",
            base.hold,
            "How long a request is held while no backend is live, where `when-all-down` is `\"hold\"`.",
        ),
        ..*base
    }
}

/// All pools, and their names.
pub(super) fn read_all(
    top: &mut Section<'_>,
    defaults: &Defaults,
    places: &mut Places,
) -> (Vec<Arc<Pool>>, Names) {
    let key = Key {
        name: "pool",
        kind: "sections",
        absent: Absent::Means("none, if every route answers itself"),
        meaning: "A set of backends that serve the same. What it does not say is as at the top.",
    };
    let mut names = Names::new("pool");
    let mut pools = Vec::new();
    for section in top.tables(&key, "pool") {
        let (pool, marks) = read(section, defaults, &mut names, places);
        places.pools.push(marks);
        pools.push(Arc::new(pool));
    }
    if !pools
        .iter()
        .any(|pool| matches!(pool.policy, Policy::Hash(_)))
    {
        top.inert(&["hash-on", "hash-load"], "no pool has the policy \"hash\"");
    }
    (pools, names)
}

fn read(
    mut section: Section<'_>,
    defaults: &Defaults,
    names: &mut Names,
    places: &mut Places,
) -> (Pool, Marks) {
    let name = names::ask(
        &mut section,
        Absent::Required,
        "How routes and the log call it; unique.",
    );
    if let Some((name, span)) = &name {
        names.add(section.book, name, span.clone(), "");
    } else {
        names.add_unnamed();
    }
    let (backends, marks) = backend::read_all(&mut section);
    places.backends.push(marks);
    let sticky = sticky(&mut section);
    let versions = [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
    let send_proxy = section.choice(
        "send-proxy",
        &versions,
        Absent::Means("none is sent"),
        "The version of the PROXY protocol with which each connection to a backend begins. It is then for one client only.",
    );
    section.inherit();
    let own = shared(&mut section, defaults);
    let pool = Pool {
        name: name.map(|(name, _)| name).unwrap_or_default(),
        backends,
        sticky,
        send_proxy,
        ..own.pool
    };
    (pool, section.finish())
}

fn sticky(section: &mut Section<'_>) -> Option<Sticky> {
    let key = Key {
        name: "sticky",
        kind: "a table",
        absent: Absent::Means("any backend gets any client"),
        meaning: "Keeps a client at its backend by a cookie, as long as that is live.",
    };
    let mut table = section.table(&key)?;
    let cookie = Key {
        name: "cookie",
        kind: "a token",
        absent: Absent::Required,
        meaning: "The cookie's name.",
    };
    let secret = Key {
        name: "secret",
        kind: "text",
        absent: Absent::Means("the name of the backend is only hashed"),
        meaning: "The key with which the name of the backend is signed, so that clients cannot choose.",
    };
    let cookie = table.parse(&cookie, |name| text::token(name, "the name of a cookie"));
    let secret = table.parse(&secret, |secret| match secret {
        "" => Err("expected a secret; leave the key out for none"),
        _ => Ok(secret.to_owned()),
    });
    table.finish();
    Some(Sticky {
        cookie: cookie?,
        secret,
    })
}
