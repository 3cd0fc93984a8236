//! Random configurations: a few listeners, routes and pools, of all kinds that there are.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ipnet::IpNet;
use rondel::config::{
    Action, AmbiguousPaths, Backend, Condition, Config, Forwarding, Hash, HashOn, Limits, Listener,
    Match, Policy, Pool, ProxyVersion, Route, Share, Sticky, Test, Timeouts, WhenAllDown,
};

use super::requests::{one, some};
use super::routes::route;

/// The listener for those who find out that backends are down.
pub(crate) const WARMING: &str = "warming";
/// The field in which they name a pool by its place.
pub(crate) const WARMING_POOL: &str = "X-Warm";
/// Shorter than the back-off of a backend that is out, so that nobody tries it again meanwhile.
pub(crate) const HOLD: Duration = Duration::from_millis(100);
/// The networks that a configuration may name.
pub(crate) const NETWORKS: &[&str] = &["10.0.0.0/8", "2001:db8::/32"];

/// Any configuration.
pub(crate) fn configuration(rng: &mut Rng) -> Config {
    let listeners: Vec<Listener> = (0..rng.usize(1..=3)).map(|at| listener(at, rng)).collect();
    let pools: Vec<_> = (0..rng.usize(1..=4))
        .map(|at| Arc::new(pool(at, rng)))
        .collect();
    let names: Vec<String> = listeners.iter().map(|door| door.name.clone()).collect();
    let mut routes: Vec<_> = (0..rng.usize(0..=8))
        .map(|place| Arc::new(route(place, &names, pools.len(), rng)))
        .collect();
    if routes.is_empty() || rng.u8(..4) == 0 {
        routes.push(Arc::new(Route {
            name: "the rest".to_owned(),
            ..Route::all_to(rng.usize(..pools.len()))
        }));
    }
    Config {
        listeners,
        routes,
        pools,
        timeouts: Timeouts::default(),
        limits: Limits::default(),
        forwarding: Forwarding {
            name: one(&["rondel", "edge"], rng).to_owned(),
            trust: networks(rng),
            forwarded: rng.bool(),
        },
        ambiguous_paths: one(&[AmbiguousPaths::Reject, AmbiguousPaths::Allow], rng),
        control: None,
    }
}

fn networks(rng: &mut Rng) -> Vec<IpNet> {
    let nets = some(NETWORKS, rng);
    nets.iter()
        .map(|net| net.parse().expect("a network"))
        .collect()
}

fn listener(at: usize, rng: &mut Rng) -> Listener {
    let port = 8000 + u16::try_from(at).expect("few");
    let ip = one(&["192.0.2.1", "0.0.0.0", "2001:db8::1", "::"], rng);
    let addr = SocketAddr::new(ip.parse().expect("an address"), port);
    Listener {
        name: format!("door {at}"),
        accept_proxy: networks(rng),
        ..Listener::at(addr)
    }
}

fn pool(at: usize, rng: &mut Rng) -> Pool {
    let backends: Vec<Backend> = (0..rng.usize(1..=5))
        .map(|nth| backend(at, nth, rng))
        .collect();
    let policy = match rng.u8(..6) {
        0 | 1 => Policy::RoundRobin,
        2 => Policy::LeastConnections,
        3 => Policy::RandomTwo,
        _ => Policy::Hash(Hash {
            on: match rng.u8(..4) {
                0 => HashOn::Client,
                1 => HashOn::Field("X-User".to_owned()),
                2 => HashOn::Cookie("s".to_owned()),
                _ => HashOn::Path,
            },
            load_percent_max: one(&[0, 100, 125], rng),
        }),
    };
    let sticky = Sticky {
        cookie: "stick".to_owned(),
        secret: rng.bool().then(|| "a secret".to_owned()),
    };
    Pool {
        policy,
        sticky: rng.bool().then_some(sticky),
        when_all_down: one(
            &[WhenAllDown::Refuse, WhenAllDown::TryAll, WhenAllDown::Hold],
            rng,
        ),
        send_proxy: one(
            &[None, None, Some(ProxyVersion::V1), Some(ProxyVersion::V2)],
            rng,
        ),
        timeouts: Timeouts {
            hold: HOLD,
            ..Timeouts::default()
        },
        retries: rng.u8(..5),
        failures_max: rng.u32(1..=3),
        take_out_last: rng.bool(),
        ..Pool::new(&format!("pool{at}"), backends)
    }
}

/// Its addresses are nobody else's.
fn backend(pool: usize, nth: usize, rng: &mut Rng) -> Backend {
    let octet = |number: usize| u8::try_from(number).expect("few");
    let addrs = (0..rng.usize(1..=2)).map(|last| {
        let ip = Ipv4Addr::new(198, octet(pool), octet(nth), octet(last));
        SocketAddr::from((ip, 80))
    });
    let addrs: Vec<SocketAddr> = addrs.collect();
    Backend {
        weight: one(&[1, 1, 1, 1, 2, 5, 0], rng),
        backup: rng.u8(..4) == 0,
        ..Backend::at(&format!("b{nth}"), addrs[0].into(), addrs)
    }
}

/// Adds a listener, and before all routes one from there to each pool. There one failure takes out any backend.
pub(crate) fn with_doors_for_warming(config: &mut Config) {
    for at in 0..config.pools.len() {
        let pool = config.pool_mut(at);
        pool.failures_max = 1;
        pool.take_out_last = true;
    }
    config.listeners.push(Listener {
        name: WARMING.to_owned(),
        ..Listener::at(SocketAddr::from(([192, 0, 2, 1], 9999)))
    });
    let warm = |pool: usize| {
        Arc::new(Route {
            name: format!("warm {pool}"),
            when: Match {
                listeners: vec![WARMING.to_owned()],
                fields: vec![Condition {
                    name: WARMING_POOL.to_owned(),
                    test: Test::Is(pool.to_string()),
                }],
                ..Match::default()
            },
            action: Action::Pools(vec![Share { pool, weight: 1 }]),
            ..Route::all_to(pool)
        })
    };
    let places = 0..config.pools.len();
    config.routes.splice(0..0, places.map(warm));
}
