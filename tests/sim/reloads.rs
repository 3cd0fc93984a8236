//! Configurations that follow the first one while all goes on, and what must hold when one of them does.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rondel::config::{Backend, Config, Timeouts};
use rondel::net::stream::Owner;
use rondel::proxy::Counts;

use super::faults::Fault;
use super::kernel::World;
use super::plan::{Plan, backend_addr, listener, port};
use super::rng::Rng;
use super::sock::SockId;

/// Backends that there ever are, at most; each is the same in every configuration that has it.
pub(crate) const BACKENDS_MAX: usize = 6;
/// Listeners that there are at a time, at most.
const LISTENERS_MAX: usize = 3;

/// Another configuration, and when it is served from.
#[derive(Clone, Debug)]
pub(crate) struct Reload {
    pub(crate) at: Duration,
    pub(crate) config: Config,
    /// The network's numbers of its listeners.
    pub(crate) listeners: Vec<usize>,
}

/// So many configurations, each made of the one before.
pub(crate) fn draw(plan: &Plan, rng: &mut Rng) -> Vec<Reload> {
    let horizon = Duration::from_millis(rng.pick(&[5, 50, 500, 3000]));
    let mut times: Vec<Duration> = (0..plan.reloads_max)
        .map(|_| rng.duration(Duration::ZERO, horizon))
        .collect();
    times.sort();
    let mut config = plan.config.clone();
    let mut listeners: Vec<usize> = (0..config.listeners.len()).collect();
    let mut listeners_ever = listeners.len();
    let mut reloads = Vec::new();
    for at in times {
        // A reload that changes nothing is one too.
        for _ in 0..rng.between(0, 3) {
            match rng.below(8) {
                0 | 1 => add(&mut config, plan, rng),
                2 | 3 => remove(&mut config, rng),
                4 => reweigh(&mut config, rng),
                5 => change_timers(&mut config, rng),
                6 => change_limits(&mut config, rng),
                // Without a descriptor for a new one there is no reload.
                _ if plan.faults.can(Fault::Descriptors) => {}
                _ => move_listener(&mut config, &mut listeners, &mut listeners_ever, rng),
            }
        }
        reloads.push(Reload {
            at,
            config: config.clone(),
            listeners: listeners.clone(),
        });
    }
    reloads
}

/// A backend comes, or comes back, at any place.
fn add(config: &mut Config, plan: &Plan, rng: &mut Rng) {
    let absent: Vec<usize> = {
        let there = indices(config);
        (0..BACKENDS_MAX)
            .filter(|index| !there.contains(index))
            .collect()
    };
    if absent.is_empty() {
        return;
    }
    let index = rng.pick(&absent);
    let (addr, name) = (backend_addr(index, 0), format!("b{index}"));
    let mut first = plan.config.pools[0].backends.iter();
    let as_before = first.find(|backend| backend.name == name).cloned();
    let backend = as_before.unwrap_or_else(|| Backend::at(&name, addr.into(), vec![addr]));
    let backends = &mut config.pool_mut(0).backends;
    backends.insert(rng.below(backends.len() + 1), backend);
}

fn remove(config: &mut Config, rng: &mut Rng) {
    let backends = &mut config.pool_mut(0).backends;
    if backends.len() > 1 {
        backends.remove(rng.below(backends.len()));
    }
}

fn reweigh(config: &mut Config, rng: &mut Rng) {
    let backends = &mut config.pool_mut(0).backends;
    let at = rng.below(backends.len());
    backends[at].weight = rng.pick(&[1, 1, 2, 5]);
}

/// How long a drain, a lingering close and a tunnel may take stays: whoever looks from outside does not know since when
/// another time holds.
fn change_timers(config: &mut Config, rng: &mut Rng) {
    let mut time = || Duration::from_millis(rng.pick(&[1500, 2000, 4000, 20_000]));
    let timeouts = &mut config.timeouts;
    (timeouts.connect, timeouts.head) = (time(), time());
    (timeouts.response, timeouts.body) = (time(), time());
    (timeouts.client_idle, timeouts.upstream_idle) = (time(), time());
    config.pool_mut(0).timeouts = config.timeouts;
}

fn change_limits(config: &mut Config, rng: &mut Rng) {
    config.limits.sessions_max = rng.pick(&[1, 5, 10_000]);
    let (idle, retries) = (rng.pick(&[0, 1, 1024]), rng.pick(&[0, 1, 2]));
    let failures = rng.pick(&[1, 2, 3]);
    let pool = config.pool_mut(0);
    (pool.idle_per_backend_max, pool.retries) = (idle, retries);
    pool.failures_max = failures;
}

/// A listener opens, or closes, or does both.
fn move_listener(
    config: &mut Config,
    listeners: &mut Vec<usize>,
    listeners_ever: &mut usize,
    rng: &mut Rng,
) {
    if listeners.len() < LISTENERS_MAX && (listeners.len() == 1 || rng.chance(500)) {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port(8000, *listeners_ever)));
        let at = rng.below(listeners.len() + 1);
        config.listeners.insert(at, listener(addr, rng));
        listeners.insert(at, *listeners_ever);
        *listeners_ever += 1;
    }
    if listeners.len() > 1 && rng.chance(600) {
        let at = rng.below(listeners.len());
        config.listeners.remove(at);
        listeners.remove(at);
    }
}

/// Whether clients must say who they are at the listener of this place.
pub(crate) fn asks_who(config: &Config, place: usize) -> bool {
    !config.listeners[place].accept_proxy.is_empty()
}

/// Which backends a configuration has, in its order.
pub(crate) fn indices(config: &Config) -> Vec<usize> {
    let backends = config.pools[0].backends.iter();
    let index = |backend: &Backend| backend.name.trim_start_matches('b').parse().ok();
    backends.filter_map(index).collect()
}

impl Plan {
    /// Every configuration of the run, in order.
    pub(crate) fn configs(&self) -> impl Iterator<Item = &Config> {
        let reloads = self.reloads.iter().map(|reload| &reload.config);
        std::iter::once(&self.config).chain(reloads)
    }

    /// The largest of what each configuration has.
    pub(crate) fn most<T: Ord>(&self, of: impl Fn(&Config) -> T) -> T {
        self.configs().map(of).max().expect("there is one")
    }

    /// The smallest of what each configuration has.
    pub(crate) fn least<T: Ord>(&self, of: impl Fn(&Config) -> T) -> T {
        self.configs().map(of).min().expect("there is one")
    }

    /// For each thing the longest time that any configuration gives it.
    pub(crate) fn timeouts(&self) -> Timeouts {
        let longest = |of: fn(&Timeouts) -> Duration| self.most(|config| of(&config.timeouts));
        Timeouts {
            connect: longest(|timeouts| timeouts.connect),
            head: longest(|timeouts| timeouts.head),
            response: longest(|timeouts| timeouts.response),
            body: longest(|timeouts| timeouts.body),
            client_idle: longest(|timeouts| timeouts.client_idle),
            upstream_idle: longest(|timeouts| timeouts.upstream_idle),
            ..self.config.timeouts
        }
    }
}

/// What is to be found after a reload as it was before.
#[derive(Debug)]
pub(crate) struct Before {
    /// The idle upstreams of backends that stay; `None` where clients that are let in may need their descriptors.
    kept: Option<BTreeSet<SockId>>,
    /// How many backends can be live afterwards; any, where the last that are left are.
    live_max: Option<usize>,
}

impl Before {
    /// Opens the new listeners, and looks at what there is.
    pub(crate) fn look(
        reload: &Reload,
        counts: Counts,
        config: &Config,
        world: &mut World,
    ) -> Self {
        world.note("the proxy is given another configuration", [0; 3]);
        let last = reload.listeners.iter().max();
        while world.listeners() <= *last.expect("one is left") {
            let listener = world.listeners();
            let mut numbers = reload.listeners.iter();
            let place = numbers.position(|&number| number == listener);
            world.listen(place.is_some_and(|place| asks_who(&reload.config, place)));
            if place.is_none() {
                // It opened and closed before anybody served it.
                world.close_listener(listener);
            }
        }
        let closing = (0..world.listeners()).filter(|number| !reload.listeners.contains(number));
        let knocked: usize = closing.map(|number| world.queued(number)).sum();
        let is_short = world.faults.can(Fault::Descriptors) || world.faults.can(Fault::Shortage);
        world.doors.all_are_let_in =
            !is_short && counts.sessions + knocked <= config.limits.sessions_max;
        let stay = indices(&reload.config);
        let kept = idle(world).filter(|(_, backend)| stay.contains(backend));
        let before = indices(config);
        let added = stay.iter().filter(|backend| !before.contains(backend));
        let live_max = counts.live_backends + added.count();
        Self {
            live_max: config.pools[0].take_out_last.then_some(live_max),
            kept: (!is_short).then(|| kept.map(|(sock, _)| sock).collect()),
        }
    }

    /// Idle upstreams of backends that stay are all there, and no others.
    pub(crate) fn compare(&self, counts: Counts, world: &World) {
        assert!(
            self.live_max
                .is_none_or(|most| counts.live_backends <= most),
            "backends are live again by a reload: {counts:?} after {self:?}"
        );
        let Some(kept) = &self.kept else { return };
        let after: BTreeSet<SockId> = idle(world).map(|(sock, _)| sock).collect();
        assert_eq!(kept, &after, "idle upstreams before and after a reload");
    }
}

/// The proxy's idle upstreams, with their backends.
fn idle(world: &World) -> impl Iterator<Item = (SockId, usize)> {
    let owned = world.descriptors.owned_socks();
    owned.filter_map(|(owner, sock)| match owner {
        Owner::Idle(_) => world.socks[sock.0].backend.map(|backend| (sock, backend)),
        Owner::Listener(_) | Owner::Client(_) | Owner::Upstream(_) => None,
    })
}
