//! What must be true after every tick, whatever has happened.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rondel::net::buffer::{SESSION_BYTES_MAX, held_bytes_max};
use rondel::proxy::{Counts, Doing, Glance, Proxy};

use super::coverage::{Coverage, Turn};
use super::kernel::World;
use super::plan::Plan;
use super::stream::SimNet;

/// Connections that the proxy may accept in one tick.
const ACCEPTS_MAX: usize = 64;
/// Ticks in one simulated second in which nothing happens and nothing is done.
const FRUITLESS_TICKS_MAX: usize = 200;
/// Ticks in a row in which the proxy could not wait, and did nothing.
const SPINS_MAX: usize = 3;
/// Within so many ticks a request that is held goes to a backend that is live.
const WAKE_TICKS_MAX: usize = 4;
/// How often it is looked who does nothing for too long.
const PATROL_INTERVAL: Duration = Duration::from_millis(250);

/// One tick, as it went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    /// The proxy had asked not to sleep.
    pub(crate) hurried: bool,
    /// It was told of something.
    pub(crate) eventful: bool,
    /// It did something.
    pub(crate) progress: bool,
}

/// What is remembered from tick to tick to judge the next.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Ticks in a row in which the proxy was in a hurry and did nothing.
    spins: usize,
    /// Since when fruitless ticks are counted, and how many.
    fruitless: (Duration, usize),
    /// By the session's number.
    phases: BTreeMap<u64, Found>,
    patrolled: Duration,
    /// Backends that were live in the tick before.
    live: Option<usize>,
    /// For so many ticks one has been.
    ticks_live: usize,
    pub(crate) drained_at: Option<Duration>,
    /// Most storage in use at a time, in bytes.
    pub(crate) held_bytes_max: usize,
    pub(crate) coverage: Coverage,
}

/// How a session was found last.
#[derive(Clone, Copy, Debug)]
struct Found {
    doing: Doing,
    /// Since when it does that.
    since: Duration,
    key: usize,
    /// For so many ticks.
    ticks: usize,
}

impl Watch {
    /// The proxy's own sums are right, and within their bounds.
    pub(crate) fn sums(&mut self, plan: &Plan, world: &World, proxy: &Proxy<SimNet>) {
        let counts = proxy.counts();
        let sessions_max = plan.most(|config| config.limits.sessions_max);
        assert_eq!(
            counts.reminders, counts.sessions,
            "one reminder for each session"
        );
        let held: usize = proxy.sessions().map(|glance| glance.held_bytes).sum();
        assert_eq!(counts.held_bytes, held, "storage was miscounted");
        assert_eq!(counts.idle_bytes, 0, "an idle upstream holds storage");
        let bound = held_bytes_max(sessions_max);
        assert!(
            held <= bound,
            "{held} bytes are held, {bound} were promised"
        );
        for glance in proxy.sessions() {
            assert!(glance.held_bytes <= SESSION_BYTES_MAX, "{glance:?}");
        }
        self.held_bytes_max = self.held_bytes_max.max(held);
        let open = world.descriptors.open_socks().count();
        assert!(
            open <= 2 * counts.sessions + counts.idle_upstreams,
            "{open} descriptors are open, {counts:?}"
        );
        let backends = plan.most(|config| config.pools[0].backends.len());
        assert!(
            counts.idle_upstreams
                <= plan
                    .most(|config| config.pools[0].idle_per_backend_max)
                    .saturating_mul(backends),
            "too many idle upstreams: {counts:?}"
        );
        assert!(
            counts.sessions <= sessions_max,
            "too many sessions: {counts:?}"
        );
        let live_min = usize::from(!plan.config.pools[0].take_out_last);
        assert!(
            (live_min..=backends).contains(&counts.live_backends),
            "{counts:?} of {backends} backends"
        );
        assert!(
            counts.idle_upstreams == 0 || plan.config.pools[0].send_proxy.is_none(),
            "upstreams that are somebody's are kept: {counts:?}"
        );
        for glance in proxy.sessions() {
            assert!(
                glance.doing != Doing::Hold || glance.held_bytes > 0,
                "a request is held without its head: {glance:?}"
            );
        }
        let held = proxy
            .sessions()
            .filter(|glance| glance.doing == Doing::Hold);
        assert!(
            held.count() <= plan.config.pools[0].held_max,
            "more requests are held than may be"
        );
        self.turns(world, counts, backends, sessions_max);
    }

    /// What the proxy has come to in this tick.
    fn turns(&mut self, world: &World, counts: Counts, backends: usize, sessions_max: usize) {
        self.ticks_live = if counts.live_backends > 0 {
            self.ticks_live + 1
        } else {
            0
        };
        let before = self.live.replace(counts.live_backends).unwrap_or(backends);
        match counts.live_backends.cmp(&before) {
            Ordering::Less => self.coverage.turn(Turn::BackendOut),
            Ordering::Greater => self.coverage.turn(Turn::BackendIn),
            Ordering::Equal => {}
        }
        if counts.live_backends == 0 {
            self.coverage.turn(Turn::AllOut);
        }
        if counts.sessions == sessions_max {
            self.coverage.turn(Turn::Full);
        }
        if counts.idle_upstreams > 0 {
            self.coverage.turn(Turn::Idle);
        }
        if world.splices > 0 {
            self.coverage.turn(Turn::Spliced);
        }
        if world.pipes_lent > 0 {
            self.coverage.turn(Turn::Piped);
        }
        if counts.cut_short > 0 {
            self.coverage.turn(Turn::CutShort);
        }
    }

    /// The work of a tick is bounded, and none is done for nothing.
    pub(crate) fn work(&mut self, world: &World, tick: Tick) {
        assert!(
            world.accepts <= ACCEPTS_MAX || self.drained_at.is_some(),
            "{} accepted in one tick",
            world.accepts
        );
        let fruitless = !tick.eventful && !tick.progress;
        self.spins = if fruitless && tick.hurried {
            self.spins + 1
        } else {
            0
        };
        assert!(
            self.spins <= SPINS_MAX,
            "it is in a hurry again and again, and does nothing"
        );
        let (since, count) = self.fruitless;
        self.fruitless = match world.now.saturating_sub(since) > Duration::from_secs(1) {
            true => (world.now, 0),
            false => (since, count + usize::from(fruitless)),
        };
        assert!(
            self.fruitless.1 <= FRUITLESS_TICKS_MAX,
            "busy: so many ticks in a second for nothing"
        );
    }

    /// Nobody stays for longer than a deadline allows: neither by the proxy's own clock nor by ours.
    pub(crate) fn deadlines(
        &mut self,
        plan: &Plan,
        world: &World,
        proxy: &Proxy<SimNet>,
        base: Instant,
    ) {
        let (mut phases, mut moved) = (BTreeMap::new(), false);
        for glance in proxy.sessions() {
            assert!(
                glance.due > base + world.now,
                "its deadline has come, and the session goes on: {glance:?}"
            );
            self.coverage.see(glance.doing, 1);
            let before = self.phases.get(&glance.number);
            let since = before.filter(|before| before.doing == glance.doing);
            let since = since.map_or(world.now, |before| before.since);
            moved |= before.is_some_and(|before| before.key != glance.key);
            let (doing, key) = (glance.doing, glance.key);
            let ticks = before
                .filter(|before| before.doing == glance.doing)
                .map_or(0, |before| before.ticks + 1);
            assert!(
                glance.doing != Doing::Hold || ticks.min(self.ticks_live) < WAKE_TICKS_MAX,
                "it is held although there is a backend: {glance:?}"
            );
            let found = Found {
                doing,
                since,
                key,
                ticks,
            };
            phases.insert(glance.number, found);
        }
        self.phases = phases;
        if moved {
            self.coverage.turn(Turn::Moved);
        }
        if world.now >= self.patrolled + PATROL_INTERVAL {
            self.patrolled = world.now;
            let actives = world.actives();
            for glance in proxy.sessions() {
                let active = actives.get(&glance.key).copied().unwrap_or_default();
                self.patrol(plan, world, &glance, active);
                // What a client of a tunnel was told is progress of which both books know.
                assert!(
                    glance.doing != Doing::Tunnel
                        || glance.due >= base + active.told + plan.timeouts().tunnel,
                    "its tunnel goes on, but not its deadline: {glance:?}, {active:?}"
                );
            }
            let overdue = world.told_gone_before(world.now.saturating_sub(Duration::from_secs(1)));
            assert!(
                overdue.is_none(),
                "the client of {overdue:?} is gone, and the session goes on"
            );
        }
        if let Some(at) = self.drained_at {
            let end = at + plan.timeouts().drain + 2 * plan.tick_max;
            assert!(
                world.now <= end || proxy.is_finished(),
                "it was told to stop and goes on: {:?}",
                proxy.counts()
            );
        }
    }

    /// By our own book: when something last moved for a session, and how long it may wait in its phase.
    fn patrol(&self, plan: &Plan, world: &World, glance: &Glance, active: Active) {
        let timeouts = plan.timeouts();
        let since = self.phases[&glance.number].since;
        let (from, patience) = match glance.doing {
            // Bytes of a head buy no time but once.
            Doing::Preface | Doing::Request => (active.told, timeouts.client_idle + timeouts.head),
            // One request may follow the other within a tick.
            Doing::Hold => (active.told, timeouts.hold),
            Doing::Connect => (active.called, timeouts.connect),
            Doing::Exchange if active.arrived > active.moved => {
                // What arrives is found at the end of one wait, and makes another.
                (active.arrived, 2 * timeouts.body.max(timeouts.response))
            }
            Doing::Exchange => (active.moved, timeouts.body.max(timeouts.response)),
            Doing::Tunnel => (active.moved, timeouts.tunnel),
            // So it is here, and what the kernel takes meanwhile does not begin the wait anew.
            Doing::Reply if active.arrived > Duration::ZERO => {
                (active.told.max(active.arrived), 2 * timeouts.body)
            }
            Doing::Reply => (active.told, timeouts.body),
            Doing::Linger | Doing::Closed => (Duration::ZERO, timeouts.linger),
        };
        let end = from.max(since) + patience + 2 * plan.tick_max;
        assert!(
            world.now <= end,
            "it should have ended by {end:?}: {glance:?}, {active:?} in its phase since {since:?}"
        );
    }
}

/// When something last happened for a session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Active {
    /// The client got bytes, or was accepted.
    pub(crate) told: Duration,
    /// Bytes went in or out on either side.
    pub(crate) moved: Duration,
    /// Something that the proxy wrote arrived on either side, and the proxy's kernel tells of it.
    pub(crate) arrived: Duration,
    /// A connection to a backend was begun.
    pub(crate) called: Duration,
}
