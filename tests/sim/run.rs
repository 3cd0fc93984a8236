//! One run: the world and the proxy take turns until nothing is left to happen.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use rondel::config::Config;
use rondel::net::stream::{Owner, Readiness};
use rondel::proxy::{Bound, Doing, Now, Proxy, Setup};

use super::agenda::Due;
use super::backends::Backend;
use super::checks::{Tick, Watch};
use super::clients::Client;
use super::coverage::{Coverage, Turn};
use super::descriptors::Descriptors;
use super::exchange::Exchange;
use super::faults::Fault;
use super::kernel::World;
use super::ledger::Ledger;
use super::plan::{Plan, backend_addr};
use super::reloads::{Before, asks_who, indices};
use super::rng::Rng;
use super::scenes::Scene;
use super::sock::Peer;
use super::stream::SimNet;
use super::turns::Picked;

/// The scene in which the proxy is told to stop at once.
const SCENE_CUT: usize = usize::MAX;
const TICKS_MAX: u64 = 2_000_000;

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) clients: usize,
    pub(crate) requests: usize,
    pub(crate) served: usize,
    pub(crate) ticks: u64,
    /// Most storage in use at a time, in bytes.
    pub(crate) held_bytes_max: usize,
    pub(crate) coverage: Coverage,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.clients += other.clients;
        self.requests += other.requests;
        self.served += other.served;
        self.ticks += other.ticks;
        self.held_bytes_max = self.held_bytes_max.max(other.held_bytes_max);
        self.coverage.add(&other.coverage);
    }
}

/// Runs a seed.
pub(crate) fn run(seed: u64, base: Instant) -> Totals {
    let mut rng = Rng::new(seed);
    let plan = Plan::draw(&mut rng);
    run_plan(seed, &plan, rng, base)
}

/// Runs a directed plan.
pub(crate) fn run_scene(scene: &Scene, seed: u64, base: Instant) -> Totals {
    let mut rng = Rng::new(seed);
    let plan = scene.plan(&mut rng);
    println!("scene: {}, seed {seed}", scene.name);
    run_plan(seed, &plan, rng, base)
}

/// Runs a plan; when it fails, tells the seed, the plan and what happened last.
pub(crate) fn run_plan(seed: u64, plan: &Plan, mut rng: Rng, base: Instant) -> Totals {
    let descriptors = Descriptors::new(plan.descriptors_max);
    let world = World::new(
        rng.fork(),
        plan.faults.clone(),
        plan.profile.clone(),
        descriptors,
    );
    let world = Rc::new(RefCell::new(world));
    let run = AssertUnwindSafe(|| Sim::new(plan, &mut rng, Rc::clone(&world), base).run());
    let Ok(totals) = catch_unwind(run) else {
        if let Ok(world) = world.try_borrow() {
            eprintln!("seed {seed}, what happened last:\n{}", world.trace);
            eprintln!("seed {seed}:\n{plan}\n  done: {}", world.faults);
        }
        panic!(
            "seed {seed} failed; SEED={seed} cargo test --test sim replays it, a scene its own test"
        );
    };
    totals
}

struct Sim<'a> {
    plan: &'a Plan,
    world: Rc<RefCell<World>>,
    proxy: Proxy<SimNet>,
    clients: Vec<Client>,
    backends: Vec<Backend>,
    ledger: Ledger,
    rng: Rng,
    base: Instant,
    drain_asked: bool,
    cut_asked: bool,
    /// The configuration that is to be served next.
    reload_asked: VecDeque<usize>,
    /// The one that is served.
    config: &'a Config,
    watch: Watch,
    ticks: u64,
}

impl<'a> Sim<'a> {
    fn new(plan: &'a Plan, rng: &mut Rng, world: Rc<RefCell<World>>, base: Instant) -> Self {
        let mut ledger = Ledger::new(plan);
        let mut clients = Vec::new();
        let mut guard = world.borrow_mut();
        for place in 0..plan.config.listeners.len() {
            guard.listen(asks_who(&plan.config, place));
        }
        guard.configured = indices(&plan.config);
        for index in 0..plan.backends_ever() {
            let mut backends = plan.config.pools[0].backends.iter();
            let configured = backends.find(|backend| backend.name == format!("b{index}"));
            let addrs = configured.map(|backend| backend.addrs.clone());
            guard.settle(addrs.unwrap_or_else(|| vec![backend_addr(index, 0)]));
        }
        for index in 0..plan.clients {
            let mut todo = VecDeque::new();
            let requests = if rng.chance(50) {
                0
            } else {
                rng.between(1, plan.requests_max)
            };
            for _ in 0..requests {
                let id = ledger.entries.len();
                ledger.add(Exchange::draw(id, plan, rng));
                todo.push_back(id);
            }
            clients.push(Client::new(index, plan, todo, &mut guard));
            let at = rng.duration(Duration::ZERO, plan.start_max);
            guard.plan(at, Due::Wake(Peer::Client(index)));
        }
        if let Some(backend) = plan.dead {
            guard.set_down(backend, true);
        }
        plan_scenes(plan, &mut guard);
        drop(guard);
        let net = SimNet {
            world: Rc::clone(&world),
        };
        let now = Now {
            instant: base,
            wall: wall(Duration::ZERO),
        };
        let listeners: Vec<SocketAddr> = plan.config.listeners.iter().map(|l| l.addr).collect();
        Self {
            plan,
            proxy: Proxy::new(
                net,
                Setup::new(plan.config.clone()),
                &Bound::in_order(&listeners),
                now,
            ),
            world,
            clients,
            backends: (0..plan.backends_ever()).map(Backend::new).collect(),
            ledger,
            rng: rng.fork(),
            base,
            drain_asked: false,
            cut_asked: false,
            reload_asked: VecDeque::new(),
            config: &plan.config,
            watch: Watch::default(),
            ticks: 0,
        }
    }

    fn run(mut self) -> Totals {
        let mut wait = Some(Duration::ZERO);
        while self.skip_ahead(wait.map(|wait| self.now() + wait)) {
            self.tick(wait == Some(Duration::ZERO));
            if self.proxy.is_finished() {
                break;
            }
            wait = self.proxy.wait(self.base + self.now());
        }
        self.close()
    }

    fn now(&self) -> Duration {
        self.world.borrow().now
    }

    /// Lets the world go on until the proxy has an event or its time has come; false when nothing more will happen.
    fn skip_ahead(&mut self, wake_at: Option<Duration>) -> bool {
        let late = self.rng.duration(Duration::ZERO, self.plan.tick_max);
        loop {
            self.run_scripts();
            let mut world = self.world.borrow_mut();
            if world.descriptors.has_ready() || self.is_asked() {
                let until = world.now + late;
                drop(world);
                self.pass(until);
                return true;
            }
            match (world.next_at(), wake_at) {
                (None, None) => return false,
                (Some(next), wake_at) if wake_at.is_none_or(|at| next <= at) => {
                    let stepped = world.step(next);
                    assert!(stepped, "its time has come");
                }
                (_, Some(at)) => {
                    let until = world.now.max(at) + late;
                    drop(world);
                    self.pass(until);
                    return true;
                }
                (Some(_), None) => {}
            }
        }
    }

    /// Whether somebody wants something of the proxy.
    fn is_asked(&self) -> bool {
        self.drain_asked || self.cut_asked || !self.reload_asked.is_empty()
    }

    /// Time passes, whatever happens.
    fn pass(&mut self, until: Duration) {
        while self.world.borrow_mut().step(until) {
            self.run_scripts();
        }
        let mut world = self.world.borrow_mut();
        world.now = world.now.max(until);
    }

    fn run_scripts(&mut self) {
        let mut guard = self.world.borrow_mut();
        let world = &mut *guard;
        while let Some(peer) = world.wakes.pop_front() {
            match peer {
                Peer::Client(index) => self.clients[index].run(self.plan, world, &mut self.ledger),
                Peer::Backend(index, sock) => {
                    self.backends[index].run(sock, self.plan, world, &mut self.ledger)
                }
                Peer::Reload(nth) => self.reload_asked.push_back(nth),
                Peer::Scene(0) => self.drain_asked = true,
                Peer::Scene(SCENE_CUT) => self.cut_asked = true,
                Peer::Scene(scene) if scene % 2 == 1 => {
                    self.backends[scene / 2].die(world, &mut self.ledger)
                }
                Peer::Scene(scene) => world.set_down(scene / 2 - 1, false),
            }
        }
    }

    fn tick(&mut self, hurried: bool) {
        self.ticks += 1;
        assert!(self.ticks < TICKS_MAX, "the run does not end");
        let mut events = self.harvest();
        let eventful = !events.is_empty();
        if self.plan.spurious && self.rng.chance(200) {
            self.invent(&mut events);
        }
        let before = {
            let mut world = self.world.borrow_mut();
            world.tick = self.ticks;
            world.accepts = 0;
            world.progress
        };
        for &(owner, hint) in &events {
            self.proxy.notify(owner, hint);
        }
        let now = Now {
            instant: self.base + self.now(),
            wall: wall(self.now()),
        };
        if let Some(nth) = self.reload_asked.pop_front() {
            self.reload(nth, now);
        }
        if std::mem::take(&mut self.drain_asked) {
            self.drain(now);
        }
        if std::mem::take(&mut self.cut_asked) {
            self.world.borrow_mut().faults.done(Fault::Cut);
            if self.watch.drained_at.is_none() {
                self.drain(now);
            }
            self.proxy.cut_short();
        }
        self.proxy.tick(now);
        let progress = self.world.borrow().progress != before;
        self.check(Tick {
            hurried,
            eventful: eventful || !events.is_empty(),
            progress,
        });
    }

    /// What epoll tells at once.
    fn harvest(&mut self) -> Vec<(Owner, Readiness)> {
        let mut world = self.world.borrow_mut();
        if self.plan.shuffled {
            world.descriptors.shuffle(&mut self.rng);
        }
        let mut events = Vec::new();
        let batch = self.rng.between(1, self.plan.batch_max);
        while events.len() < batch
            && let Some((owner, flags)) = world.harvest()
        {
            events.push((owner, flags));
        }
        events
    }

    /// Events of nothing, for owners that exist and for others.
    fn invent(&mut self, events: &mut Vec<(Owner, Readiness)>) {
        for _ in 0..self.rng.between(1, 4) {
            let key = self.rng.below(self.plan.clients + 2);
            let any = self.rng.pick(&[
                Owner::Client(key),
                Owner::Upstream(key),
                Owner::Idle(key),
                Owner::Listener(key),
            ]);
            let owners: Vec<Owner> = self.world.borrow().descriptors.owners().collect();
            let owner = if owners.is_empty() || self.rng.chance(300) {
                any
            } else {
                self.rng.pick(&owners)
            };
            let hint = Readiness {
                readable: self.rng.chance(500),
                writable: self.rng.chance(500),
                read_closed: self.rng.chance(200),
                urgent: self.rng.chance(100),
                dead: self.rng.chance(200),
            };
            events.insert(self.rng.below(events.len() + 1), (owner, hint));
        }
    }

    /// Another configuration is served from now on, unless the proxy is to stop.
    fn reload(&mut self, nth: usize, now: Now) {
        if self.proxy.is_draining() {
            return;
        }
        let reload = &self.plan.reloads[nth];
        let mut world = self.world.borrow_mut();
        let before = Before::look(reload, self.proxy.counts(), self.config, &mut world);
        drop(world);
        let listeners = reload.config.listeners.iter().zip(&reload.listeners);
        let bound: Vec<Bound> = listeners
            .map(|(configured, &listener)| Bound {
                listener,
                addr: configured.addr,
            })
            .collect();
        let setup = Setup::new(reload.config.clone());
        self.proxy.reload(setup, &bound, now);
        self.config = &reload.config;
        self.watch.coverage.turn(Turn::Reloaded);
        let mut world = self.world.borrow_mut();
        world.doors.all_are_let_in = false;
        world.accepts = 0;
        world.configured = indices(&reload.config);
        world.picks.push(Picked::Reload(nth));
        before.compare(self.proxy.counts(), &world);
    }

    fn drain(&mut self, now: Now) {
        let mut world = self.world.borrow_mut();
        world.note("the proxy is told to stop", [0; 3]);
        world.faults.done(Fault::Drain);
        for client in &self.clients {
            client.drain(&world, &mut self.ledger);
        }
        self.watch.drained_at = Some(world.now);
        drop(world);
        self.proxy.drain(now);
    }

    /// What must be true after every tick.
    fn check(&mut self, tick: Tick) {
        let world = self.world.borrow();
        let watch = &mut self.watch;
        watch.sums(self.plan, &world, &self.proxy);
        watch.work(&world, tick);
        watch.deadlines(self.plan, &world, &self.proxy, self.base);
    }

    /// Nothing more will happen, or the proxy has stopped: everything must have come to its end.
    fn close(mut self) -> Totals {
        let counts = self.proxy.counts();
        let rest = (counts.sessions, counts.reminders, counts.held_bytes);
        assert_eq!(rest, (0, 0, 0), "something is left: {counts:?}");
        if self.watch.drained_at.is_none() {
            assert_eq!(counts.idle_upstreams, 0, "idle upstreams are left");
            assert_eq!(
                self.world.borrow().descriptors.open_socks().count(),
                0,
                "descriptors are left"
            );
        }
        let wait = self.proxy.wait(self.base + self.now());
        assert!(
            wait.is_none() || self.watch.drained_at.is_some(),
            "it waits for nothing: {wait:?}"
        );
        // What the world still does to clients after the proxy has gone.
        self.pass(Duration::from_secs(1_000_000));
        assert_eq!(counts.idle_upstreams, 0, "no idle upstream outlives us");
        for (index, client) in self.clients.iter().enumerate() {
            assert!(client.done, "client {index} has not come to its end");
        }
        let mut world = self.world.borrow_mut();
        self.ledger.close(&mut world, self.plan, counts.cut_short);
        let mut coverage = self.watch.coverage;
        coverage.see(Doing::Closed, world.accepted);
        for &(failure, times) in self.proxy.failures() {
            coverage.meet(failure, times);
        }
        for (reason, &times) in &self.ledger.reasons {
            coverage.hear(reason, times);
        }
        for fault in Fault::ALL {
            coverage.inject(fault, world.faults.count(fault) as u64);
        }
        Totals {
            clients: self.clients.len(),
            requests: self.ledger.entries.len(),
            served: self.ledger.served(),
            ticks: self.ticks,
            held_bytes_max: self.watch.held_bytes_max,
            coverage,
        }
    }
}

/// When the proxy is told to stop, and when backends die and return.
fn plan_scenes(plan: &Plan, world: &mut World) {
    if let Some(at) = plan.drain_at {
        world.plan(at, Due::Wake(Peer::Scene(0)));
    }
    for (nth, reload) in plan.reloads.iter().enumerate() {
        world.plan(reload.at, Due::Wake(Peer::Reload(nth)));
    }
    if let Some(at) = plan.cut_at {
        world.plan(at, Due::Wake(Peer::Scene(SCENE_CUT)));
    }
    for backend in 0..plan.backends_ever() {
        let mut at = Duration::ZERO;
        for _ in 0..3 {
            if world.faults.can(Fault::Restart) && world.rng.chance(300) {
                at += world
                    .rng
                    .duration(Duration::ZERO, Duration::from_millis(300));
                world.plan(at, Due::Wake(Peer::Scene(1 + 2 * backend)));
                at += world
                    .rng
                    .duration(Duration::ZERO, Duration::from_millis(300));
                world.plan(at, Due::Wake(Peer::Scene(2 + 2 * backend)));
            }
        }
    }
}

/// The wall clock: a quiet evening in 2026.
fn wall(now: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000) + now
}
