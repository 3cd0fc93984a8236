//! What became of every request, and whether that may be.
//!
//! A request ends at its client in one of a few ways ([`Outcome`]). Whatever is not the planned answer, byte for byte, must
//! be paid for by a fault that the simulation injected: a failure that nobody caused is a bug of the proxy.

use std::collections::BTreeMap;
use std::time::Duration;

use rondel::config::{Config, Policy, WhenAllDown};

use super::exchange::Exchange;
use super::faults::Fault;
use super::kernel::World;
use super::losses::Loss;
use super::plan::Plan;
use super::sock::{Home, Peer, SockId};
use super::turns;

/// How a request ended at its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The planned answer came, every byte of it.
    Served,
    /// The proxy answered itself, for a reason; none is told where there is no body.
    Own(u16, String),
    /// An answer began and was cut short, and the client could tell.
    Cut,
    /// The connection was closed without an answer.
    Nothing,
    /// No connection could be made.
    Refused,
    /// The client did not wait for the answer.
    Left,
}

/// One time that a backend got the head of a request.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) sock: SockId,
    /// Whether the connection had carried requests before.
    pub(crate) reused: bool,
    /// How many bytes of earlier answers had arrived on the connection.
    before: usize,
    /// What the backend did wrong.
    pub(crate) faults: Vec<Fault>,
    /// Whether the backend closed without an answer's end.
    pub(crate) died: bool,
    /// What came through the tunnel, and whether a plain end came behind it.
    pub(crate) tunneled: Vec<u8>,
    pub(crate) ended: bool,
}

impl Attempt {
    /// Whether anything of an answer has arrived at the proxy.
    pub(crate) fn is_answered(&self, world: &World) -> bool {
        world.delivered(self.sock) > self.before
    }

    /// Whether the proxy cannot know more than that the connection has ended.
    pub(crate) fn is_silent_death(&self, world: &World) -> bool {
        self.died && !self.is_answered(world)
    }

    /// Which backend got it.
    fn backend(&self, world: &World) -> Option<usize> {
        match world.socks[self.sock.0].home {
            Home::Script(Peer::Backend(backend, _)) => Some(backend),
            _ => None,
        }
    }

    /// Whether the backend broke it after the answer had begun.
    pub(crate) fn is_broken_off(&self, world: &World) -> bool {
        !self.faults.is_empty() && self.is_answered(world)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) exchange: Exchange,
    /// When the client began to send it.
    pub(crate) sent: Option<Duration>,
    /// The proxy's end of the connection that it was sent on last.
    pub(crate) far: Option<SockId>,
    /// What was done wrong around it, other than by backends.
    pub(crate) excuses: Vec<Fault>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) losses: Vec<Loss>,
    pub(crate) outcome: Option<Outcome>,
}

/// Every request of a run.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) entries: Vec<Entry>,
    /// How often each reason word was told to a client.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Failures that only a fault at a backend's door explains: which ones each may have met.
    pub(crate) claims: Vec<Vec<usize>>,
    /// Which claim has which of those faults for its own.
    pub(crate) claimed: BTreeMap<usize, usize>,
    pub(crate) retries: usize,
    pub(crate) backends: usize,
    pub(crate) failures_max: usize,
    pub(crate) may_lose_last: bool,
    /// How long requests are held while no backend is live, if they are.
    pub(crate) holds: Option<Duration>,
    /// When what still runs is cut short.
    pub(crate) cut_at: Option<Duration>,
}

impl Ledger {
    pub(crate) fn new(plan: &Plan) -> Self {
        let pool = |config: &Config| config.pools[0].clone();
        Self {
            entries: Vec::new(),
            reasons: BTreeMap::new(),
            claims: Vec::new(),
            claimed: BTreeMap::new(),
            retries: usize::from(plan.least(|config| pool(config).retries)),
            backends: plan.least(|config| pool(config).backends.len()),
            failures_max: usize::try_from(plan.least(|config| pool(config).failures_max))
                .expect("small"),
            may_lose_last: plan.config.pools[0].take_out_last,
            holds: (plan.config.pools[0].when_all_down == WhenAllDown::Hold)
                .then_some(plan.config.timeouts.hold),
            cut_at: plan
                .drain_at
                .map(|at| at + plan.config.timeouts.drain)
                .into_iter()
                .chain(plan.cut_at)
                .min(),
        }
    }

    pub(crate) fn add(&mut self, exchange: Exchange) {
        assert_eq!(exchange.id, self.entries.len(), "ids count up");
        let entry = Entry {
            exchange,
            sent: None,
            far: None,
            excuses: Vec::new(),
            attempts: Vec::new(),
            losses: Vec::new(),
            outcome: None,
        };
        self.entries.push(entry);
    }

    pub(crate) fn exchange(&self, id: usize) -> &Exchange {
        &self.entries[id].exchange
    }

    /// A client begins to send a request: for the first time, or again because nobody ever looked at it.
    pub(crate) fn begin(&mut self, id: usize, now: Duration, far: Option<SockId>) {
        let entry = &mut self.entries[id];
        assert!(
            entry.attempts.is_empty(),
            "request {id} went to a backend although its client had been told to go"
        );
        entry.sent = entry.sent.or(Some(now));
        entry.far = far;
    }

    pub(crate) fn has_reached_a_backend(&self, id: usize) -> bool {
        !self.entries[id].attempts.is_empty()
    }

    /// Whether a backend did something wrong to a request.
    pub(crate) fn is_spoilt(&self, id: usize) -> bool {
        let mut attempts = self.entries[id].attempts.iter();
        attempts.any(|attempt| !attempt.faults.is_empty())
    }

    pub(crate) fn excuse(&mut self, id: usize, fault: Fault) {
        self.entries[id].excuses.push(fault);
    }

    /// A backend has the head of a request. Says which attempt it is.
    pub(crate) fn arrive(&mut self, world: &World, id: usize, sock: SockId) -> usize {
        let (before, reused) = (world.delivered(sock), world.socks[sock.0].served > 0);
        let entry = &mut self.entries[id];
        assert!(entry.sent.is_some(), "request {id} came before it was sent");
        let wrong = entry.exchange.wrong.filter(|wrong| !wrong.is_of_the_body());
        assert!(wrong.is_none(), "request {id} went to a backend: {wrong:?}");
        entry.attempts.push(Attempt {
            sock,
            reused,
            before,
            faults: Vec::new(),
            died: false,
            tunneled: Vec::new(),
            ended: false,
        });
        entry.attempts.len() - 1
    }

    pub(crate) fn attempt(&mut self, id: usize, attempt: usize) -> &mut Attempt {
        &mut self.entries[id].attempts[attempt]
    }

    /// Notes what the proxy sent to connections that were gone.
    pub(crate) fn take_losses(&mut self, world: &mut World) {
        for loss in world.losses.drain(..) {
            self.entries[loss.id].losses.push(loss);
        }
    }

    /// A request has ended at its client.
    pub(crate) fn finish(&mut self, world: &mut World, id: usize, outcome: Outcome) {
        self.take_losses(world);
        world.note("client: request {} has ended", [id, 0, 0]);
        let explained = self.is_explained(world, id, &outcome);
        let entry = &mut self.entries[id];
        assert!(
            explained,
            "request {id} ended with {outcome:?}, which no injected fault explains:\n{entry:#?}"
        );
        assert!(entry.outcome.is_none(), "request {id} ended twice");
        assert!(
            entry.exchange.wrong.is_none() || outcome != Outcome::Served,
            "request {id} was served: {:?}",
            entry.exchange.wrong
        );
        if let Outcome::Own(_, reason) = &outcome {
            *self.reasons.entry(reason.clone()).or_default() += 1;
        }
        entry.outcome = Some(outcome);
    }

    /// Every request has ended, none was sent twice without need, and, where nothing went wrong, the backends took
    /// turns.
    pub(crate) fn close(&mut self, world: &mut World, plan: &Plan, cut_short: usize) {
        let faultless = plan.is_faultless();
        self.take_losses(world);
        for (id, entry) in self.entries.iter().enumerate() {
            assert!(
                entry.outcome.is_some(),
                "request {id} has not ended: {entry:#?}"
            );
            assert!(
                entry.repeats_are_allowed(world),
                "request {id} was sent again although it must not be: {entry:#?}"
            );
            assert!(
                !faultless || entry.attempts.len() <= 1,
                "request {id} was sent twice: {entry:#?}"
            );
            assert!(
                entry.has_no_false_end(),
                "a tunnel was cut short, and its end looks like any other: {entry:#?}"
            );
            assert!(
                entry.is_tunneled() || (cut_short > 0 && entry.is_tunneled_at_first()),
                "something was lost in the tunnel: {entry:#?}"
            );
        }
        let in_turn = plan.config.pools[0].policy == Policy::RoundRobin;
        if faultless && in_turn {
            turns::check(&world.picks, plan);
        }
    }

    pub(crate) fn served(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| entry.outcome == Some(Outcome::Served))
            .count()
    }
}

impl Entry {
    /// Whether a backend saw a plain end only behind all that its client had to say, or where that client left.
    fn has_no_false_end(&self) -> bool {
        let sent = self.exchange.tunnel_bytes();
        let left = self.excuses.contains(&Fault::Vanish);
        let mut attempts = self.attempts.iter();
        attempts.all(|attempt| !attempt.ended || left || attempt.tunneled == sent)
    }

    /// Whether what came through a tunnel is what was sent, as far as it goes.
    fn is_tunneled_at_first(&self) -> bool {
        let sent = self.exchange.tunnel_bytes();
        let mut attempts = self.attempts.iter();
        attempts.all(|attempt| sent.starts_with(&attempt.tunneled))
    }

    /// Whether all tunnel bytes came through, or only the first ones and something went wrong.
    fn is_tunneled(&self) -> bool {
        let sent = self.exchange.tunnel_bytes();
        let smooth = self.excuses.is_empty()
            && self.outcome == Some(Outcome::Served)
            && self.exchange.tunnels();
        let whole = |attempt: &Attempt| !attempt.faults.is_empty() || attempt.tunneled == sent;
        self.is_tunneled_at_first() && (!smooth || self.attempts.iter().all(whole))
    }

    /// Whether it may be sent again, and surely can: nothing of it but its head.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.exchange.is_idempotent() && self.exchange.body_bytes == 0 && !self.exchange.upgrade
    }

    /// Whatever reached a backend or was given to a connection may be repeated once, and only when the connection died
    /// without an answer, and the method is idempotent. A backend gets it twice only if the first connection had been used
    /// before.
    fn repeats_are_allowed(&self, world: &World) -> bool {
        let sent = self.losses.iter().filter(|loss| loss.sent);
        let total = self.attempts.len() + sent.clone().count();
        if total <= 1 {
            return true;
        }
        let dead = self
            .attempts
            .iter()
            .filter(|attempt| attempt.is_silent_death(world));
        let deaths = dead.count() + sent.count();
        let apart = match self.attempts.as_slice() {
            [first, second] => first.reused || first.backend(world) != second.backend(world),
            _ => true,
        };
        total == 2 && deaths >= 1 && apart && self.exchange.is_idempotent()
    }
}
