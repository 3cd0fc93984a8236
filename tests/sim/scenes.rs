//! Plans made for what chance reaches rarely: each has a few faults at full strength, and names what it must reach. Seeds
//! draw them too, now and then.

use std::time::Duration;

use rondel::config::{Policy, ProxyVersion, Timeouts, WhenAllDown};

use super::faults::{Fault, Faults};
use super::plan::{CLIENTS, Plan};
use super::rng::Rng;

/// One directed plan.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// The rows of the failure table that its runs must reach, by name.
    pub(crate) reaches: &'static [&'static str],
    /// How many runs it has at least.
    pub(crate) runs: u64,
    faults: &'static [(Fault, usize)],
    prepare: fn(&mut Plan),
}

pub(crate) static SCENES: [Scene; 28] = [
    Scene {
        name: "clients send their bodies a byte at a time",
        reaches: &["request-body-slow"],
        runs: 10,
        faults: &[(Fault::Trickle, 1000)],
        prepare: |plan| {
            narrow(plan);
            plan.config.timeouts = Timeouts::default();
            plan.config.limits.body_rate_min = 64;
            plan.expects = 0;
        },
    },
    Scene {
        name: "clients take responses a few bytes at a time",
        reaches: &["client-write-slow"],
        runs: 10,
        faults: &[(Fault::Sip, 1000)],
        prepare: |plan| {
            narrow(plan);
            plan.config.timeouts = Timeouts::default();
            plan.config.limits.body_rate_min = 64;
        },
    },
    Scene {
        name: "clients stop reading and sending",
        reaches: &[
            "client-write-timeout",
            "request-body-timeout",
            "head-timeout",
            "client-idle",
        ],
        runs: 3,
        faults: &[
            (Fault::SlowRead, 50),
            (Fault::SlowBody, 200),
            (Fault::SlowHead, 100),
            (Fault::Silence, 400),
        ],
        prepare: |plan| {
            narrow(plan);
            (plan.pipelines, plan.requests_max) = (0, 6);
        },
    },
    Scene {
        name: "backends hang and clients wait for a 100",
        reaches: &["continue-timeout", "response-timeout"],
        runs: 10,
        faults: &[(Fault::Hang, 700)],
        prepare: |plan| {
            (plan.clients, plan.requests_max) = (20, 8);
            plan.config.limits.sessions_max = 100;
            plan.http10 = 0;
            plan.expects = 1000;
            plan.early = 0;
            plan.body_max = plan.body_max.max(300);
        },
    },
    Scene {
        name: "backends hang in the middle of a request",
        reaches: &["upstream-write-timeout"],
        runs: 10,
        faults: &[(Fault::Hang, 1000)],
        prepare: |plan| {
            narrow(plan);
            (plan.expects, plan.early) = (0, 0);
        },
    },
    Scene {
        name: "tunnels break",
        reaches: &["tunnel-broken", "tunnel-idle"],
        runs: 10,
        faults: &[
            (Fault::TunnelCut, 500),
            (Fault::SlowBody, 300),
            (Fault::Vanish, 50),
        ],
        prepare: |plan| (plan.upgrades, plan.http10) = (1000, 0),
    },
    Scene {
        name: "requests that must be refused, in narrow windows",
        reaches: &["malformed-head", "bad-host", "bad-framing"],
        runs: 4,
        faults: &[(Fault::Wrong, 1000)],
        prepare: |plan| {
            plan.profile.window = (16, 60);
            plan.config.limits.sessions_max = 100;
            plan.clients = plan.clients.max(4);
        },
    },
    Scene {
        name: "requests that must be refused, of any size",
        reaches: &[
            "malformed-head",
            "bad-target",
            "ambiguous-path",
            "no-route",
            "bad-host",
            "bad-framing",
            "bad-chunk",
            "bad-trailer",
            "body-too-large",
            "target-too-long",
            "head-too-large",
            "trailer-too-large",
            "method-refused",
            "expectation-unknown",
            "coding-unknown",
            "version-unknown",
            "loop-detected",
            "max-forwards-spent",
        ],
        runs: 6,
        faults: &[(Fault::Wrong, 900)],
        prepare: |plan| {
            wide(plan);
            (plan.clients, plan.requests_max) = (20, 8);
        },
    },
    Scene {
        name: "responses that must not be passed on",
        reaches: &[
            "bad-response-head/malformed-head",
            "bad-response-head/bad-framing",
            "bad-response-head/body-too-large",
            "bad-response-head/head-too-large",
            "bad-response-head/coding-unknown",
            "too-many-interim",
        ],
        runs: 6,
        faults: &[(Fault::Garbage, 900)],
        prepare: |plan| {
            wide(plan);
            (plan.clients, plan.requests_max) = (20, 8);
        },
    },
    Scene {
        name: "bodies of responses that go wrong",
        reaches: &[
            "bad-response-body/bad-chunk",
            "bad-response-body/bad-trailer",
            "bad-response-body/trailer-too-large",
            "response-truncated",
            "response-body-timeout",
        ],
        runs: 6,
        faults: &[
            (Fault::Mangled, 700),
            (Fault::BodyCut, 200),
            (Fault::Stall, 200),
        ],
        prepare: |plan| {
            wide(plan);
            (plan.clients, plan.requests_max, plan.pipelines) = (20, 8, 800);
            // A head and the wrong bytes behind it come at once.
            (plan.profile.segment, plan.tick_max) = (16_000, Duration::from_millis(5));
        },
    },
    Scene {
        name: "bodies that are spliced and wait in pipes",
        reaches: &["client-write-timeout", "response-truncated", "client-gone"],
        runs: 6,
        faults: &[
            (Fault::SlowRead, 150),
            (Fault::BodyCut, 150),
            (Fault::Vanish, 150),
        ],
        prepare: |plan| {
            plan.profile.window = (150_000, 400_000);
            plan.profile.segment = 16_000;
            plan.profile.pipes = plan.profile.pipes.max(1);
            plan.profile.latency.1 = Duration::from_micros(200);
            (plan.body_max, plan.bulky) = (900_000, 700);
            (plan.clients, plan.requests_max, plan.pipelines) = (6, 4, 700);
            (plan.batch_max, plan.tick_max) = (1024, Duration::from_millis(5));
            (plan.expects, plan.early) = (0, 0);
        },
    },
    Scene {
        name: "backends that close at the wrong time",
        reaches: &[
            "upstream-closed-before-head",
            "upstream-closed-during-request",
            "upstream-spoke-first",
        ],
        runs: 4,
        faults: &[
            (Fault::NoHead, 300),
            (Fault::HeadCut, 200),
            (Fault::Unwelcome, 300),
        ],
        prepare: |plan| plan.clients = plan.clients.max(10),
    },
    Scene {
        name: "backends that shut, and die, before they are asked",
        reaches: &["upstream-spoke-first", "connect-refused"],
        runs: 10,
        faults: &[(Fault::Unwelcome, 1000), (Fault::Restart, 1000)],
        prepare: |plan| {
            (plan.clients, plan.requests_max) = (40, 8);
            (plan.batch_max, plan.tick_max) = (1024, Duration::from_millis(5));
            plan.profile.latency.1 = Duration::from_micros(200);
            plan.config.pool_mut(0).take_out_last = false;
        },
    },
    Scene {
        name: "backends that spoil idle connections",
        reaches: &["reused-upstream-closed"],
        runs: 6,
        faults: &[
            (Fault::IdleFin, 300),
            (Fault::IdleReset, 300),
            (Fault::IdleTalk, 200),
            (Fault::Behind, 100),
        ],
        prepare: |plan| {
            let pool = plan.config.pool_mut(0);
            (pool.idle_per_backend_max, pool.send_proxy) = (1024, None);
            (plan.clients, plan.requests_max) = (plan.clients.max(6), 8);
        },
    },
    Scene {
        name: "backends that cannot be reached",
        reaches: &[
            "connect-refused",
            "connect-unreachable",
            "connect-timeout",
            "no-backend",
        ],
        runs: 4,
        faults: &[
            (Fault::Refused, 400),
            (Fault::Unreachable, 300),
            (Fault::Silent, 200),
        ],
        prepare: |plan| {
            let pool = plan.config.pool_mut(0);
            (pool.take_out_last, pool.when_all_down) = (true, WhenAllDown::Refuse);
            plan.clients = plan.clients.max(6);
        },
    },
    Scene {
        name: "descriptors, memory and ports run out",
        reaches: &["out-of-resources"],
        runs: 3,
        faults: &[
            (Fault::Descriptors, 1000),
            (Fault::Shortage, 100),
            (Fault::Aborted, 100),
        ],
        prepare: |plan| plan.clients = plan.clients.max(10),
    },
    Scene {
        name: "backends die and return",
        reaches: &["client-gone"],
        runs: 4,
        faults: &[(Fault::Restart, 1000), (Fault::Vanish, 200)],
        prepare: |plan| plan.clients = plan.clients.max(10),
    },
    Scene {
        name: "a drain that hangs",
        reaches: &["drain-timeout"],
        runs: 4,
        faults: &[(Fault::Drain, 1000), (Fault::Hang, 500)],
        prepare: |plan| plan.config.timeouts.drain = Duration::from_millis(1500),
    },
    Scene {
        name: "two signals",
        reaches: &["drain-timeout"],
        runs: 4,
        faults: &[(Fault::Drain, 1000), (Fault::Cut, 1000)],
        prepare: |plan| plan.clients = plan.clients.max(10),
    },
    Scene {
        name: "one backend is dead and the others take turns",
        reaches: &["connect-refused"],
        runs: 6,
        faults: &[],
        prepare: |plan| {
            let spare = plan.config.pools[0].backends[0].clone();
            let backends = &mut plan.config.pool_mut(0).backends;
            backends.resize(4, spare);
            for (index, backend) in backends.iter_mut().enumerate() {
                let addr = super::plan::backend_addr(index, 0);
                (backend.name, backend.addrs) = (format!("b{index}"), vec![addr]);
            }
            plan.clients = plan.clients.max(5);
            plan.config.pool_mut(0).policy = Policy::RoundRobin;
            plan.dead = Some(plan.requests_max % 4);
        },
    },
    Scene {
        name: "reloads, and nothing else goes wrong",
        reaches: &[],
        runs: 20,
        faults: &[],
        prepare: reloaded,
    },
    Scene {
        name: "reloads while backends die and connections are refused",
        reaches: &["reused-upstream-closed", "connect-refused"],
        runs: 10,
        faults: &[
            (Fault::Restart, 500),
            (Fault::Refused, 100),
            (Fault::IdleFin, 100),
            (Fault::Vanish, 50),
        ],
        prepare: reloaded,
    },
    Scene {
        name: "requests are held until backends are back",
        reaches: &["hold-timeout", "queue-full"],
        runs: 10,
        faults: &[(Fault::Refused, 700), (Fault::Restart, 500)],
        prepare: held,
    },
    Scene {
        name: "clients leave while their requests are held, and the proxy is told to stop",
        reaches: &["client-gone"],
        runs: 10,
        faults: &[
            (Fault::Refused, 900),
            (Fault::Vanish, 300),
            (Fault::Drain, 1000),
        ],
        prepare: held,
    },
    Scene {
        name: "requests are held, and reloads bring backends",
        reaches: &["connect-refused"],
        runs: 10,
        faults: &[(Fault::Refused, 800), (Fault::Vanish, 30)],
        prepare: |plan| {
            held(plan);
            plan.config.pool_mut(0).held_max = 1000;
            plan.reloads_max = 20;
        },
    },
    Scene {
        name: "clients say who they are, and some say it wrongly or too late",
        reaches: &["bad-proxy-header", "head-timeout"],
        runs: 6,
        faults: &[(Fault::Stranger, 300), (Fault::SlowHead, 50)],
        prepare: |plan| {
            plan.clients = plan.clients.max(12);
            for listener in &mut plan.config.listeners {
                listener.accept_proxy = vec![CLIENTS.parse().expect("it is a network")];
            }
        },
    },
    Scene {
        name: "backends are told whose each connection is, and fail",
        reaches: &["connect-refused", "upstream-closed-before-head"],
        runs: 10,
        faults: &[
            (Fault::Refused, 200),
            (Fault::NoHead, 200),
            (Fault::Unwelcome, 100),
            (Fault::Restart, 200),
        ],
        prepare: |plan| {
            plan.clients = plan.clients.max(12);
            let version = match plan.clients % 2 {
                0 => ProxyVersion::V1,
                _ => ProxyVersion::V2,
            };
            plan.config.pool_mut(0).send_proxy = Some(version);
            for listener in plan.config.listeners.iter_mut().take(1) {
                listener.accept_proxy = vec![CLIENTS.parse().expect("it is a network")];
            }
        },
    },
    Scene {
        name: "a crowd comes and leaves",
        reaches: &[],
        runs: 3,
        faults: &[],
        prepare: |plan| {
            wide(plan);
            plan.clients = 200;
            plan.start_max = Duration::ZERO;
            plan.config.limits.sessions_max = 400;
        },
    },
];

impl Scene {
    /// The plan of one run.
    pub(crate) fn plan(&self, rng: &mut Rng) -> Plan {
        let mut plan = Plan::with_faults(Faults::only(self.faults), rng);
        plan.clients = plan.clients.min(20);
        (self.prepare)(&mut plan);
        plan.complete(rng)
    }
}

/// A pool that holds requests, for a short time.
fn held(plan: &mut Plan) {
    (plan.clients, plan.requests_max) = (20, 8);
    plan.start_max = Duration::from_millis(500);
    plan.config.limits.sessions_max = 100;
    plan.config.timeouts.hold = Duration::from_millis(1500);
    let pool = plan.config.pool_mut(0);
    (pool.when_all_down, pool.take_out_last) = (WhenAllDown::Hold, true);
    (pool.failures_max, pool.held_max) = (1, 2);
}

/// Many reloads among many clients.
fn reloaded(plan: &mut Plan) {
    (plan.clients, plan.requests_max) = (plan.clients.max(12), 8);
    plan.reloads_max = 30;
}

/// Windows that a body does not fit into.
fn narrow(plan: &mut Plan) {
    plan.profile.window = (300, 900);
    plan.profile.segment = plan.profile.segment.max(100);
    plan.body_max = 8000;
    plan.clients = plan.clients.clamp(4, 10);
}

/// Windows that every head fits into.
fn wide(plan: &mut Plan) {
    plan.profile.window = (30_000, 100_000);
    plan.body_max = 3000;
}
