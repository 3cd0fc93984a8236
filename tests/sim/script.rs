//! What a client is about to do on one connection, drawn before it begins.

use std::collections::VecDeque;
use std::time::Duration;

use rondel::proxy::RATE_WINDOW;

use super::announced;
use super::exchange::Exchange;
use super::faults::Fault;
use super::kernel::World;
use super::ledger::Ledger;
use super::plan::Plan;
use super::rng::Rng;

/// One thing that a client does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// From here on it sends this request.
    Begin(usize),
    Send(Vec<u8>),
    Pause(Duration),
    /// It does nothing for so long that the proxy may lose patience.
    Stall(Fault, Duration),
    /// It waits for a 100, a final answer, or until it has had enough.
    Continue(usize, Duration),
    /// It waits for the answer.
    Answer(usize),
    /// It shuts its sending side.
    Shut,
    /// It disappears.
    Vanish(Manner),
    /// It closes.
    Leave,
    /// It waits for the proxy to close.
    Stay,
}

/// How somebody leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Close,
    Reset,
    /// Only the sending side is shut; it stays and listens.
    Shut,
    /// Nothing more is heard of it, not even a close: its machine is gone.
    Dead,
}

impl Manner {
    /// How a client leaves.
    pub(crate) const CLIENTS: [Self; 4] = [Self::Close, Self::Reset, Self::Shut, Self::Dead];
    /// How a backend does; one whose machine is gone is one that hangs.
    pub(crate) const BACKENDS: [Self; 3] = [Self::Close, Self::Reset, Self::Shut];
}

/// How a client is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Temper {
    pipelines: bool,
    /// Heads and bodies leave in small pieces with pauses.
    trickles: bool,
    /// Shuts its sending side behind its last request.
    half_closes: bool,
    /// Stays until the proxy closes.
    stays: bool,
    /// Reads nothing before its request has left.
    pub(crate) reads_late: bool,
    /// Most bytes read at once, and the pause after it.
    pub(crate) reads: (usize, Duration),
}

impl Temper {
    pub(crate) fn draw(plan: &Plan, rng: &mut Rng) -> Self {
        // A few bytes at a time, with pauses, may be too slow even for a reply of the proxy's own.
        let slowly = plan.profile.window.0 >= 16 && rng.chance(150);
        let some = (plan.body_max / 20).max(40);
        // A smaller window is emptied as much more often: a reply of the proxy's own must go out within one body timer.
        let share = |part: usize| u32::try_from(part).unwrap_or(u32::MAX);
        let pause = plan.think_max * share(plan.profile.window.0.min(some)) / share(some);
        Self {
            pipelines: rng.chance(plan.pipelines),
            trickles: rng.chance(200),
            half_closes: rng.chance(150),
            stays: rng.chance(150),
            // Into a window without room even for a reply of the proxy's own, this would never end.
            reads_late: plan.profile.window.0 >= 300 && rng.chance(200),
            reads: if slowly {
                (some, pause)
            } else {
                (64 * 1024, Duration::ZERO)
            },
        }
    }
}

/// Writes scripts.
pub(crate) struct Author<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) temper: Temper,
    /// What it has to say first of all.
    pub(crate) announces: Option<Vec<u8>>,
    /// Whether it may say something else, or say it too late.
    pub(crate) offends: bool,
    pub(crate) world: &'a mut World,
    pub(crate) steps: VecDeque<Step>,
}

impl Author<'_> {
    /// The script for one connection: the requests in order, until one that ends it.
    pub(crate) fn write(mut self, todo: &VecDeque<usize>, ledger: &Ledger) -> VecDeque<Step> {
        if let Some(header) = self.announces.take() {
            self.announce(header);
        }
        for (place, &id) in todo.iter().enumerate() {
            let exchange = ledger.exchange(id).clone();
            if place > 0 {
                self.pause();
                self.stall(Fault::Silence, self.plan.timeouts().client_idle);
            }
            self.steps.push_back(Step::Begin(id));
            self.request(&exchange);
            let last = place + 1 == todo.len() || !exchange.keep;
            if last && self.temper.half_closes && !exchange.upgrade {
                self.steps.push_back(Step::Shut);
            }
            if last || exchange.upgrade || !self.temper.pipelines {
                self.steps.push_back(Step::Answer(id));
            }
            if exchange.tunnels() {
                self.tunnel(&exchange);
                return self.steps;
            }
            if last {
                break;
            }
        }
        if todo.is_empty() && self.temper.half_closes {
            self.steps.push_back(Step::Shut);
        }
        self.steps
            .push_back(if self.temper.stays || self.temper.half_closes {
                Step::Stay
            } else {
                Step::Leave
            });
        self.steps
    }

    /// Who it is, in pieces, before all else.
    fn announce(&mut self, mut header: Vec<u8>) {
        let strikes = |fault, world: &mut World| world.faults.strikes(fault, &mut world.rng);
        if self.offends && strikes(Fault::Stranger, self.world) {
            header = announced::wrong(&mut self.world.rng);
            let offence = Step::Stall(Fault::Stranger, Duration::ZERO);
            self.steps.push_back(offence);
        }
        let mut rest = header.as_slice();
        while !rest.is_empty() {
            let (piece, after) =
                rest.split_at(self.world.rng.scaled(1, rest.len()).min(rest.len()));
            self.steps.push_back(Step::Send(piece.to_vec()));
            self.pause();
            if self.offends && strikes(Fault::SlowHead, self.world) {
                let pause = self.plan.timeouts().head + Duration::from_millis(500);
                self.steps.push_back(Step::Stall(Fault::SlowHead, pause));
            }
            rest = after;
        }
    }

    fn request(&mut self, exchange: &Exchange) {
        let timeouts = self.plan.timeouts();
        let mut head = exchange.head();
        let body = exchange.coded_body(&mut self.world.rng);
        if exchange.expects {
            self.pieces(head, Fault::SlowHead, timeouts.head);
            // Where a 100 is sure to come, some wait for as long as it takes.
            let patience = if exchange.is_continued() && self.world.rng.chance(500) {
                timeouts.response + timeouts.body
            } else {
                Duration::from_millis(700)
            };
            self.steps.push_back(Step::Continue(exchange.id, patience));
        } else if !body.is_empty() && self.world.rng.chance(500) {
            // One write, so that the body's beginning comes with the head.
            head.extend_from_slice(&body);
            self.pieces(head, Fault::SlowBody, timeouts.body.max(timeouts.head));
            return;
        } else {
            self.pieces(head, Fault::SlowHead, timeouts.head);
        }
        if !body.is_empty() {
            if self
                .world
                .faults
                .strikes(Fault::Trickle, &mut self.world.rng)
            {
                self.trickle(&body);
            } else {
                self.pieces(body, Fault::SlowBody, timeouts.body);
            }
        }
    }

    /// Byte by byte, each in time, for longer than two windows of the rate.
    fn trickle(&mut self, body: &[u8]) {
        let pause = (self.plan.trickle_pause()).min(Duration::from_secs(8));
        let lasts = 3 * RATE_WINDOW;
        let count = usize::try_from(lasts.as_millis() / pause.as_millis()).expect("few");
        let (drops, rest) = body.split_at(count.min(body.len()));
        self.steps
            .push_back(Step::Stall(Fault::Trickle, Duration::ZERO));
        for drop in drops.chunks(1) {
            self.steps.push_back(Step::Send(drop.to_vec()));
            self.steps.push_back(Step::Pause(pause));
        }
        if !rest.is_empty() {
            self.steps.push_back(Step::Send(rest.to_vec()));
        }
    }

    /// The other side of a 101: all bytes, maybe the first ones too early, and the end.
    fn tunnel(&mut self, exchange: &Exchange) {
        let bytes = exchange.tunnel_bytes();
        let early = if self.world.rng.chance(500) {
            self.world.rng.between(0, bytes.len())
        } else {
            0
        };
        let answer = self.steps.pop_back();
        if early > 0 {
            self.steps.push_back(Step::Send(bytes[..early].to_vec()));
        }
        self.steps.extend(answer);
        self.pieces(
            bytes[early..].to_vec(),
            Fault::SlowBody,
            self.plan.timeouts().tunnel,
        );
        self.steps.push_back(Step::Shut);
        self.steps.push_back(Step::Stay);
    }

    /// Bytes, whole or in pieces with pauses, and what may go wrong between them.
    fn pieces(&mut self, bytes: Vec<u8>, slow: Fault, patience: Duration) {
        let count = if self.temper.trickles {
            self.world.rng.between(1, 8)
        } else {
            1
        };
        let mut rest = bytes.as_slice();
        let vanishes = self
            .world
            .faults
            .strikes(Fault::Vanish, &mut self.world.rng);
        let stalls = self.world.faults.strikes(slow, &mut self.world.rng);
        let cut = self.world.rng.between(1, bytes.len().max(1));
        if vanishes || stalls {
            let (before, after) = rest.split_at(cut.min(rest.len()));
            self.steps.push_back(Step::Send(before.to_vec()));
            rest = after;
        }
        if vanishes {
            let manner = self.world.rng.pick(&Manner::CLIENTS);
            self.pause();
            self.steps.push_back(Step::Vanish(manner));
            return;
        }
        if stalls && !rest.is_empty() {
            self.steps
                .push_back(Step::Stall(slow, patience + Duration::from_millis(500)));
        }
        while !rest.is_empty() {
            let size = (bytes.len() / count).max(1) + self.world.rng.below(3);
            let (now, after) = rest.split_at(size.min(rest.len()));
            self.steps.push_back(Step::Send(now.to_vec()));
            rest = after;
            if !rest.is_empty() {
                self.pause();
            }
        }
    }

    fn pause(&mut self) {
        let pause = self.world.rng.duration(Duration::ZERO, self.plan.think_max);
        if !pause.is_zero() {
            self.steps.push_back(Step::Pause(pause));
        }
    }

    fn stall(&mut self, fault: Fault, patience: Duration) {
        if !self.temper.pipelines && self.world.faults.strikes(fault, &mut self.world.rng) {
            self.steps
                .push_back(Step::Stall(fault, patience + Duration::from_millis(500)));
        }
    }
}
