//! What a seed draws before anything happens: the network, the configuration, the crowd, and what may go wrong.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rondel::config::{
    Backend, Config, Forwarding, Hash, HashOn, Limits, Listener, PathPattern, Policy, Pool,
    ProxyVersion, Route, Timeouts, WhenAllDown,
};

use super::faults::{Fault, Faults};
use super::reloads::{self, BACKENDS_MAX, Reload};
use super::rng::Rng;
use super::scenes::SCENES;
use super::sock::Profile;

/// The plan of one run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) config: Config,
    /// How many other configurations follow it, and which.
    pub(crate) reloads_max: usize,
    pub(crate) reloads: Vec<Reload>,
    pub(crate) faults: Faults,
    pub(crate) profile: Profile,
    pub(crate) clients: usize,
    /// Most requests that a client has to make.
    pub(crate) requests_max: usize,
    /// Clients start within this time.
    pub(crate) start_max: Duration,
    /// Longest pause that nobody may complain about.
    pub(crate) think_max: Duration,
    pub(crate) body_max: usize,
    /// How many requests in a thousand are of HTTP/1.0, ask for a tunnel, expect 100, are answered early.
    pub(crate) http10: usize,
    pub(crate) upgrades: usize,
    pub(crate) expects: usize,
    pub(crate) early: usize,
    /// How many clients in a thousand send requests without waiting for answers.
    pub(crate) pipelines: usize,
    /// Whether the proxy is told of things that did not happen. Only in half the seeds: with them they prove that looking
    /// is safe, without them that nobody lives on being told.
    pub(crate) spurious: bool,
    /// Whether events come in any order.
    pub(crate) shuffled: bool,
    /// Most events told at once.
    pub(crate) batch_max: usize,
    /// How long a tick takes at most.
    pub(crate) tick_max: Duration,
    /// Descriptors that there are.
    pub(crate) descriptors_max: usize,
    pub(crate) drain_at: Option<Duration>,
    /// This backend is down from the beginning to the end.
    pub(crate) dead: Option<usize>,
    /// When the proxy is told to stop at once.
    pub(crate) cut_at: Option<Duration>,
    /// How many answers in a thousand come as slowly as they may.
    pub(crate) trickles: usize,
    /// How many bodies in a thousand are about as large as they may be.
    pub(crate) bulky: usize,
}

/// Where all clients call from.
pub(super) const CLIENTS: &str = "192.168.7.0/24";

/// Size classes: window from and to, largest body, most clients, longest latency in microseconds.
const SIZES: [(usize, usize, usize, usize, u64); 7] = [
    (4, 24, 60, 6, 400),
    (16, 200, 600, 20, 2000),
    (300, 4000, 6000, 60, 5000),
    (2000, 4000, 100, 200, 1000),
    (300, 4000, 6000, 60, 5000),
    (4000, 64_000, 100_000, 20, 5000),
    (60_000, 400_000, 900_000, 5, 5000),
];

impl Plan {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        if rng.chance(80) {
            return SCENES[rng.below(SCENES.len())].plan(rng);
        }
        let mut plan = if rng.chance(250) {
            Self::with_faults(Faults::default(), rng)
        } else {
            Self::with_faults(Faults::draw(rng), rng)
        };
        let backends = plan.config.pools[0].backends.len();
        if plan.is_faultless() && backends > 1 && rng.chance(300) {
            plan.dead = Some(rng.below(backends));
        } else if rng.chance(300) {
            plan.reloads_max = rng.pick(&[1, 2, 5, 20]);
        }
        plan.complete(rng)
    }

    /// What follows from all that was drawn.
    pub(crate) fn complete(mut self, rng: &mut Rng) -> Self {
        self.config.pool_mut(0).timeouts = self.config.timeouts;
        self.reloads = reloads::draw(&self, rng);
        self
    }

    /// How many backends there ever are.
    pub(crate) fn backends_ever(&self) -> usize {
        if self.reloads.is_empty() {
            self.config.pools[0].backends.len()
        } else {
            BACKENDS_MAX
        }
    }

    /// A pause that every body timer allows, and nearly not.
    pub(crate) fn trickle_pause(&self) -> Duration {
        self.least(|config| config.timeouts.body) * 6 / 10
    }

    pub(crate) fn with_faults(faults: Faults, rng: &mut Rng) -> Self {
        let (window_min, window_max, body_max, clients_max, latency_max) = rng.pick(&SIZES);
        let latency = Duration::from_micros(rng.pick(&[10, 200, latency_max.max(200)]));
        let mut often = |permille| {
            if rng.chance(400) {
                0
            } else {
                rng.between(1, permille)
            }
        };
        let (http10, upgrades, expects, early) = (often(500), often(200), often(500), often(300));
        let (pipelines, short_writes, urgent) = (often(800), often(500), often(300));
        let listeners = rng.between(1, 2);
        let batch_max = rng.pick(&[1, 2, 16, 1024]);
        let drains = faults.can(Fault::Drain);
        let drain_max = Duration::from_millis(rng.pick(&[5, 100, 1000, 5000]));
        let drain_at = drains.then(|| rng.duration(Duration::ZERO, drain_max));
        let cut_at = faults
            .can(Fault::Cut)
            .then(|| drain_at.unwrap_or_default() + rng.duration(Duration::ZERO, drain_max));
        Self {
            config: config(rng, listeners, window_max),
            reloads_max: 0,
            reloads: Vec::new(),
            profile: Profile {
                latency: (Duration::ZERO, latency),
                window: (window_min, window_max),
                segment: rng.scaled(1, 16_000),
                short_writes,
                urgent,
                tells: rng.chance(700),
                pipes: rng.pick(&[0, 1, 64]),
                purges: rng.chance(500),
            },
            clients: rng.between(1, clients_max),
            requests_max: rng.between(1, 8),
            start_max: Duration::from_millis(rng.pick(&[0, 1, 50, 500])),
            think_max: Duration::from_millis(rng.pick(&[0, 1, 30])),
            body_max,
            http10,
            upgrades,
            expects,
            early,
            pipelines,
            spurious: rng.chance(500),
            shuffled: rng.chance(300),
            batch_max,
            // Where each tick takes long, it must get on with more than a few.
            tick_max: Duration::from_micros(rng.pick(if batch_max > 100 {
                &[0, 50, 1000, 5000]
            } else {
                &[0, 50, 500]
            })),
            descriptors_max: if faults.can(Fault::Descriptors) {
                listeners + rng.between(3, 14)
            } else {
                usize::MAX
            },
            drain_at,
            cut_at,
            dead: None,
            trickles: rng.pick(&[0, 0, 0, 50]),
            bulky: rng.pick(&[0, 0, 0, 500]),
            faults,
        }
    }

    /// How long a body is.
    pub(crate) fn body_bytes(&self, rng: &mut Rng) -> usize {
        if rng.chance(self.bulky) {
            rng.between(self.body_max / 2, self.body_max)
        } else {
            rng.scaled(0, self.body_max)
        }
    }

    /// Whether a long head could take too long, a few bytes at a time.
    pub(crate) fn is_cramped(&self) -> bool {
        self.profile.window.0 < 2000
    }

    /// Whether nothing goes wrong in this run.
    pub(crate) fn is_faultless(&self) -> bool {
        Fault::ALL.into_iter().all(|fault| !self.faults.can(fault))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            config, profile, ..
        } = self;
        writeln!(f, "  faults: {}", self.faults)?;
        writeln!(
            f,
            "  {} clients, {} backends, {} listeners",
            self.clients,
            config.pools[0].backends.len(),
            config.listeners.len()
        )?;
        writeln!(
            f,
            "  {:?}\n  {:?}\n  {profile:?}",
            config.timeouts, config.limits
        )?;
        writeln!(
            f,
            "  spurious {}, shuffled {}, batch {}",
            self.spurious, self.shuffled, self.batch_max
        )?;
        write!(
            f,
            "  body_max {}, think_max {:?}, ",
            self.body_max, self.think_max
        )?;
        write!(
            f,
            "descriptors {}, drain {:?}, cut {:?}, dead {:?}, {} reloads",
            self.descriptors_max,
            self.drain_at,
            self.cut_at,
            self.dead,
            self.reloads.len()
        )
    }
}

fn config(rng: &mut Rng, listeners: usize, window_max: usize) -> Config {
    let backends = rng.between(1, 4);
    let addrs_max = rng.pick(&[1, 1, 2]);
    let listen: Vec<SocketAddr> = (0..listeners)
        .map(|index| SocketAddr::from((Ipv4Addr::LOCALHOST, port(8000, index))))
        .collect();
    let backends = (0..backends).map(|index| {
        let addrs: Vec<SocketAddr> = (0..rng.between(1, addrs_max))
            .map(|extra| backend_addr(index, extra))
            .collect();
        Backend::at(&format!("b{index}"), addrs[0].into(), addrs)
    });
    let backends = backends.collect();
    let timeouts = timeouts(rng);
    let sessions_max = rng.pick(&[1, 2, 3, 10, 10_000, 10_000]);
    let pool = Pool {
        timeouts,
        idle_per_backend_max: rng.pick(&[0, 1, 2, 1024, 1024]),
        retries: rng.pick(&[0, 1, 2, 2]),
        ..Pool::new("default", backends)
    };
    let body_rate_min = if window_max < 1000 {
        0
    } else {
        rng.pick(&[0, 64])
    };
    let pool = Pool {
        failures_max: rng.pick(&[1, 2, 3, 3]),
        take_out_last: rng.chance(300),
        when_all_down: rng.pick(&[
            WhenAllDown::Refuse,
            WhenAllDown::TryAll,
            WhenAllDown::Hold,
            WhenAllDown::Hold,
        ]),
        policy: policy(rng),
        held_max: rng.pick(&[1, 3, 1000]),
        send_proxy: rng.pick(&[
            None,
            None,
            None,
            None,
            Some(ProxyVersion::V1),
            Some(ProxyVersion::V2),
        ]),
        ..pool
    };
    let mut route = Route::all_to(0);
    route.when.paths = vec![PathPattern::Glob("/~*/path".to_owned())];
    Config {
        listeners: listen.into_iter().map(|addr| listener(addr, rng)).collect(),
        routes: vec![Arc::new(route)],
        limits: Limits {
            sessions_max,
            body_rate_min,
        },
        forwarding: Forwarding {
            forwarded: rng.chance(200),
            ..Forwarding::default()
        },
        ..Config::simple(&[], pool)
    }
}

/// Either the defaults, or so short that whoever stalls is found out; always much longer than any pause that is none.
fn timeouts(rng: &mut Rng) -> Timeouts {
    let usual = Timeouts::default();
    let mut short = |timeout| {
        if rng.chance(500) {
            timeout
        } else {
            Duration::from_millis(rng.pick(&[1500, 2000, 4000]))
        }
    };
    Timeouts {
        connect: short(usual.connect),
        head: short(usual.head),
        response: short(usual.response),
        body: short(usual.body),
        client_idle: short(usual.client_idle),
        upstream_idle: short(usual.upstream_idle).min(Duration::from_secs(30)),
        tunnel: short(usual.tunnel),
        hold: short(usual.hold),
        linger: short(usual.linger),
        drain: short(usual.drain),
        hand_over: usual.hand_over,
    }
}

/// Mostly the one whose order is known.
fn policy(rng: &mut Rng) -> Policy {
    match rng.below(10) {
        0 => Policy::LeastConnections,
        1 => Policy::Hash(Hash {
            on: HashOn::Client,
            load_percent_max: rng.pick(&[0, 125]),
        }),
        _ => Policy::RoundRobin,
    }
}

/// A listener; at some, clients must say who they are.
pub(super) fn listener(addr: SocketAddr, rng: &mut Rng) -> Listener {
    let mut listener = Listener::at(addr);
    if rng.chance(200) {
        listener.accept_proxy = vec![CLIENTS.parse().expect("it is a network")];
    }
    listener
}

pub(super) fn port(base: u16, index: usize) -> u16 {
    base + u16::try_from(index).expect("few")
}

pub(super) fn backend_addr(backend: usize, extra: usize) -> SocketAddr {
    let last = u8::try_from(backend).expect("few");
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), port(3000, extra)))
}
