//! The top of the file: what holds for the whole program, the listeners, and what pools inherit.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use log::LevelFilter;

use super::names::{self, Names};
use super::places::Places;
use super::pool::{self, Defaults};
use super::route;
use super::section::{Absent, Key, Section};
use crate::config::value;
use crate::config::{AmbiguousPaths, Config, Forwarding, Limits, Listener, Route, Timeouts};

/// Reads everything.
pub(super) fn read(mut top: Section<'_>, places: &mut Places) -> (Config, LevelFilter) {
    let log_level = log_level(&mut top);
    let control = control(&mut top);
    let forwarding = forwarding(&mut top);
    let ambiguous_paths = ambiguous_paths(&mut top);
    let limits = limits(&mut top);
    let mut timeouts = timeouts(&mut top);
    let defaults = pool::defaults(&mut top);
    timeouts = Timeouts {
        head: timeouts.head,
        client_idle: timeouts.client_idle,
        linger: timeouts.linger,
        drain: timeouts.drain,
        hand_over: timeouts.hand_over,
        ..defaults.pool.timeouts
    };
    let (listeners, listener_names) = listeners(&mut top, places);
    let defaults = Defaults {
        pool: crate::config::Pool {
            timeouts,
            ..defaults.pool
        },
        ..defaults
    };
    let (pools, pool_names) = pool::read_all(&mut top, &defaults, places);
    let mut routes = route::read_all(&mut top, &listener_names, &pool_names, places);
    if routes.is_empty() {
        match pools.len() {
            0 => top.absent(
                &["pool"],
                "a [[pool]] is missing",
                "expected at least one with a backend, or routes that need none",
            ),
            1 => routes.push(Arc::new(Route::all_to(0))),
            _ => top.absent(
                &["route"],
                "a [[route]] is missing",
                "expected routes that say which of the pools gets what",
            ),
        }
    }
    places.top = top.finish();
    let config = Config {
        listeners,
        routes,
        pools,
        timeouts,
        limits,
        forwarding,
        ambiguous_paths,
        control,
    };
    (config, log_level)
}

fn log_level(top: &mut Section<'_>) -> LevelFilter {
    let words = [
        ("error", LevelFilter::Error),
        ("warn", LevelFilter::Warn),
        ("info", LevelFilter::Info),
        ("debug", LevelFilter::Debug),
        ("trace", LevelFilter::Trace),
    ];
    let level = top.choice(
        "log-level",
        &words,
        Absent::Is(&"\"info\""),
        "Lines that are logged to standard error: these and more urgent ones. `trace` in debug builds only.",
    );
    level.unwrap_or(LevelFilter::Info)
}

fn control(top: &mut Section<'_>) -> Option<PathBuf> {
    let key = Key {
        name: "control",
        kind: "a path",
        absent: Absent::Means("no socket"),
        meaning: "Where the socket for commands to the running program is made, such as `/run/rondel.sock`.",
    };
    top.parse(&key, |text| match text {
        "" => Err("expected a path such as /run/rondel.sock"),
        _ if text.contains('\0') => Err("expected a path without a zero byte"),
        _ => Ok(PathBuf::from(text)),
    })
}

fn forwarding(top: &mut Section<'_>) -> Forwarding {
    let default = Forwarding::default();
    let name = Key {
        name: "name",
        kind: "a token",
        absent: Absent::Is(&"\"rondel\""),
        meaning: "What we call ourselves in `Via`. A request that carries it already goes round in circles and is refused.",
    };
    let trust = Key {
        name: "trust",
        kind: "networks",
        absent: Absent::Means("no one is believed"),
        meaning: "Networks or addresses whose clients are believed what they say in `X-Forwarded-*`, `Forwarded` and `X-Real-IP`.",
    };
    Forwarding {
        name: top.parse(&name, value::pseudonym).unwrap_or(default.name),
        trust: top.parse_all(&trust, value::network),
        forwarded: top.truth(
            "forwarded",
            default.forwarded,
            "Whether a `Forwarded` field (RFC 7239) is written too, beside `X-Forwarded-*`.",
        ),
    }
}

fn ambiguous_paths(top: &mut Section<'_>) -> AmbiguousPaths {
    let words = [
        ("reject", AmbiguousPaths::Reject),
        ("allow", AmbiguousPaths::Allow),
    ];
    let chosen = top.choice(
        "ambiguous-paths",
        &words,
        Absent::Is(&"\"reject\""),
        "Where routes look at paths: whether a path that programs read differently (`//`, `..`, `%2F` and the like) is answered \
         400, or is matched in its normalised form and goes on as it came.",
    );
    chosen.unwrap_or_default()
}

fn limits(top: &mut Section<'_>) -> Limits {
    let default = Limits::default();
    Limits {
        sessions_max: top.number(
            "max-sessions",
            &(1..=1_000_000),
            default.sessions_max,
            "Clients served at a time, or as many as descriptors allow; more wait.",
        ),
        body_rate_min: top.number(
            "min-body-rate",
            &(0..=1_000_000_000),
            default.body_rate_min,
            "Clients whose bodies move slower than this, in bytes per second over 30 s, are closed; 0 is no limit.",
        ),
    }
}

/// The timers that belong to no pool; the others are as by default.
fn timeouts(top: &mut Section<'_>) -> Timeouts {
    let default = Timeouts::default();
    Timeouts {
        head: top.duration(
            "head-timeout",
            default.head,
            "From the first byte of a request head to its last.",
        ),
        client_idle: top.duration(
            "client-idle-timeout",
            default.client_idle,
            "How long a client stays connected without a request.",
        ),
        linger: top.duration(
            "linger-timeout",
            default.linger,
            "How long is read on after a last reply, so that the client gets it.",
        ),
        drain: top.duration(
            "drain-timeout",
            default.drain,
            "How long what runs may go on when told to stop; then it is cut.",
        ),
        hand_over: top.duration(
            "hand-over-timeout",
            default.hand_over,
            "How long what runs may go on after a new program has taken over; then it is cut.",
        ),
        ..default
    }
}

fn listeners(top: &mut Section<'_>, places: &mut Places) -> (Vec<Listener>, Names) {
    let key = Key {
        name: "listener",
        kind: "sections",
        absent: Absent::Means("an error"),
        meaning: "An address where clients are accepted. At least one.",
    };
    let mut names = Names::new("listener");
    let mut taken = HashSet::new();
    let mut listeners = Vec::new();
    for mut section in top.tables(&key, "listener") {
        let name = names::ask(
            &mut section,
            Absent::Means("its address, as it is written"),
            "How routes and the log call it; unique.",
        );
        let address = Key {
            name: "address",
            kind: "an address",
            absent: Absent::Required,
            meaning: "Where: `127.0.0.1:8080`; `:8080` is all IPv4 interfaces, `[::]:8080` is IPv6 too; port 0 is a free port.",
        };
        let accept = Key {
            name: "accept-proxy",
            kind: "networks",
            absent: Absent::Means("from no one"),
            meaning: "Networks or addresses whose connections begin with a PROXY protocol header, version 1 or 2.",
        };
        let written = section.ask(&address);
        let accept_proxy = section.parse_all(&accept, value::network);
        let parsed = written.as_ref().and_then(|item| {
            let typed =
                section.parse_item(item, address.kind, |text| Ok::<_, String>(text.to_owned()))?;
            let addr = section.parse_item(item, address.kind, value::listen_addr)?;
            if addr.port() != 0 && !taken.insert(addr) {
                section.refuse(item, "expected each address once");
            }
            Some((typed, addr))
        });
        // Several free ports may be asked for in the same words.
        if let Some((name, span)) = &name {
            names.add(section.book, name, span.clone(), "");
        } else if let Some((typed, addr)) = &parsed {
            if addr.port() != 0 {
                names.add(section.book, typed, section.span(), "");
            } else {
                names.add_again(typed);
            }
        }
        places.listeners.push(section.finish());
        if let Some((typed, addr)) = parsed {
            listeners.push(Listener {
                name: name.map_or(typed, |(name, _)| name),
                addr,
                accept_proxy,
            });
        }
    }
    if !top.has("listener") {
        top.absent(
            &["listener"],
            "a [[listener]] is missing",
            "expected at least one",
        );
    }
    (listeners, names)
}
