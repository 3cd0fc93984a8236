//! One connection of a client: what it is about to do on it, and what it has heard so far.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use super::exchange::Exchange;
use super::faults::Fault;
use super::kernel::World;
use super::ledger::Ledger;
use super::plan::Plan;
use super::script::{Manner, Step};
use super::sock::{Home, Peer, SockId};
use crate::strict::reader::Reader;

/// What became of one thing tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Went {
    On,
    Nowhere,
    /// The connection is over.
    Off,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: usize,
    pub(crate) sock: SockId,
    pub(crate) steps: VecDeque<Step>,
    /// How much of the front step's bytes has left.
    taken: usize,
    /// The front step waits until then.
    until: Option<Duration>,
    /// Requests that have begun to leave and whose answers are awaited: id, and where in what was sent it begins.
    pub(crate) asked: VecDeque<(usize, usize)>,
    pub(crate) sent: usize,
    pub(crate) reader: Reader,
    pub(crate) interims: Vec<u16>,
    /// No reading before.
    pub(crate) read_at: Duration,
    /// The proxy said that it closes, or it was to be expected.
    pub(crate) ending: bool,
    pub(crate) tunnel: Option<Tunnel>,
    /// What the client did wrong on this connection.
    pub(crate) fault: Option<Fault>,
    /// The kernel told that the connection is broken, which it tells once.
    pub(crate) broken: bool,
    /// How often it has rested for too long.
    pub(crate) slow_reads: usize,
    /// So many reads are still small and far between.
    pub(crate) sips: usize,
    /// It does not care what else comes.
    pub(crate) deaf: bool,
}

/// The far side of a 101.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) id: usize,
    /// What came out of it.
    got: Vec<u8>,
    /// When something was said or heard last.
    last: Duration,
    /// The end came out of it before the client had said all.
    pub(crate) ended: bool,
}

impl Tunnel {
    pub(crate) fn new(id: usize, got: Vec<u8>, now: Duration) -> Self {
        Self {
            id,
            got,
            last: now,
            ended: false,
        }
    }

    pub(crate) fn hear(&mut self, bytes: &[u8], now: Duration) {
        self.got.extend_from_slice(bytes);
        self.last = now;
    }

    pub(crate) fn has_all(&self, exchange: &Exchange) -> bool {
        self.got == exchange.tunnel_answer()
    }

    /// Whether all came that was to come, and then the end: not because the proxy had waited long enough.
    pub(crate) fn is_whole(&self, exchange: &Exchange, plan: &Plan, now: Duration) -> bool {
        let patience = plan.timeouts().tunnel;
        let waited = !exchange.swaps && now >= self.last + patience;
        self.has_all(exchange) && !waited
    }
}

impl Link {
    pub(crate) fn new(client: usize, sock: SockId, steps: VecDeque<Step>) -> Self {
        Self {
            client,
            sock,
            steps,
            taken: 0,
            until: None,
            asked: VecDeque::new(),
            sent: 0,
            reader: Reader::new(),
            interims: Vec::new(),
            read_at: Duration::ZERO,
            ending: false,
            tunnel: None,
            fault: None,
            broken: false,
            slow_reads: 0,
            sips: 0,
            deaf: false,
        }
    }

    /// Does the next step, as far as that is possible now.
    pub(crate) fn transmit(&mut self, plan: &Plan, world: &mut World, ledger: &mut Ledger) -> Went {
        let Some(step) = self.steps.front().cloned() else {
            return Went::Nowhere;
        };
        let done = match step {
            Step::Begin(id) => {
                let far = world.socks[self.sock.0].peer;
                ledger.begin(id, world.now, far);
                self.asked.push_back((id, self.sent));
                if ledger.exchange(id).wrong.is_some() {
                    world.faults.done(Fault::Wrong);
                    ledger.excuse(id, Fault::Wrong);
                }
                if let Some(fault) = self.fault {
                    ledger.excuse(id, fault);
                }
                true
            }
            Step::Send(bytes) => {
                if let Some(went) = self.send(&bytes, world) {
                    return went;
                }
                true
            }
            Step::Pause(pause) => !self.waits(pause, world),
            Step::Stall(fault, pause) => {
                if self.until.is_none() {
                    self.blame(fault, world, ledger);
                }
                !self.waits(pause, world)
            }
            Step::Continue(id, patience) => {
                let answered = self.interims.contains(&100)
                    || self.asked.front().is_none_or(|asked| asked.0 != id);
                answered || !self.waits(patience, world)
            }
            Step::Answer(id) => self.asked.iter().all(|asked| asked.0 != id),
            Step::Shut => {
                let _gone = world.shut_write(self.sock);
                if let Some(tunnel) = &mut self.tunnel {
                    tunnel.last = world.now;
                }
                true
            }
            Step::Vanish(manner) => return self.vanish(manner, world, ledger),
            Step::Leave => return Went::Off,
            Step::Stay => self.stay(plan, world),
        };
        if !done {
            return Went::Nowhere;
        }
        self.steps.pop_front();
        self.restart_step();
        Went::On
    }

    /// The front step begins anew.
    pub(crate) fn restart_step(&mut self) {
        (self.taken, self.until) = (0, None);
    }

    /// Sends on; `None` when all has left.
    fn send(&mut self, bytes: &[u8], world: &mut World) -> Option<Went> {
        match world.write(self.sock, &bytes[self.taken..]) {
            Ok(count) => {
                self.sent += count;
                self.taken += count;
                (self.taken < bytes.len()).then_some(Went::On)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(Went::Nowhere),
            // Whoever cannot send reads what there is, and keeps in mind that its end is none.
            Err(_) => {
                self.broken = true;
                self.steps = VecDeque::from([Step::Stay]);
                self.restart_step();
                Some(Went::On)
            }
        }
    }

    /// Waits for the proxy to close; it must do so in time.
    fn stay(&mut self, plan: &Plan, world: &mut World) -> bool {
        let timeouts = plan.timeouts();
        let patience = timeouts.client_idle.max(timeouts.linger) + Duration::from_secs(1);
        if self.waits(patience, world) {
            return false;
        }
        let far = world.socks[self.sock.0].peer.map(|far| &world.socks[far.0]);
        let accepted_at = far
            .filter(|far| !far.closed)
            .and_then(|far| far.accepted_at);
        let kept = accepted_at.is_some_and(|at| at + patience <= world.now);
        let idle = self.asked.is_empty() && self.tunnel.is_none();
        assert!(!(idle && kept), "client {} is idle and kept", self.client);
        self.until = None;
        self.waits(patience, world);
        false
    }

    pub(crate) fn vanish(
        &mut self,
        manner: Manner,
        world: &mut World,
        ledger: &mut Ledger,
    ) -> Went {
        self.blame(Fault::Vanish, world, ledger);
        match manner {
            Manner::Close => return Went::Off,
            Manner::Dead => {
                world.note(
                    "client {} is gone from sock {}",
                    [self.client, self.sock.0, 0],
                );
                world.socks[self.sock.0].home = Home::Nowhere;
                return Went::Off;
            }
            Manner::Reset => {
                world.note("client {} resets sock {}", [self.client, self.sock.0, 0]);
                world.reset(self.sock);
                return Went::Off;
            }
            Manner::Shut => {
                world.note("client {} shuts sock {}", [self.client, self.sock.0, 0]);
                let _gone = world.shut_write(self.sock);
                self.steps = VecDeque::from([Step::Stay]);
                if world.rng.chance(300) {
                    // An end of stream, and then a reset.
                    let pause = world.latency();
                    self.steps = [Step::Pause(pause), Step::Vanish(Manner::Reset)].into();
                }
                self.restart_step();
            }
        }
        Went::On
    }

    /// Whether the front step, which lasts for `pause`, goes on.
    fn waits(&mut self, pause: Duration, world: &mut World) -> bool {
        if self.until.is_none() {
            self.until = Some(world.now + pause);
            world.wake_after(pause, Peer::Client(self.client));
        }
        self.until.is_some_and(|until| world.now < until)
    }

    /// Something is wrong by the client's doing, or done to it: whatever is under way, or begins later on this
    /// connection, may suffer.
    pub(crate) fn blame(&mut self, fault: Fault, world: &mut World, ledger: &mut Ledger) {
        if fault.is_the_clients() {
            world.faults.done(fault);
        }
        world.note(
            "client {}: fault {} on sock {}",
            [self.client, fault as usize, self.sock.0],
        );
        self.fault = Some(fault);
        for id in self.open() {
            ledger.excuse(id, fault);
        }
    }

    /// Requests that have begun and not ended.
    pub(crate) fn open(&self) -> Vec<usize> {
        let tunnel = self.tunnel.as_ref().map(|tunnel| tunnel.id);
        tunnel
            .into_iter()
            .chain(self.asked.iter().map(|asked| asked.0))
            .collect()
    }

    pub(crate) fn is_sending_a_body(&self, ledger: &Ledger) -> bool {
        let sending = matches!(self.steps.front(), Some(Step::Send(_) | Step::Pause(_)));
        sending && self.asked.len() == 1 && ledger.exchange(self.asked[0].0).body_bytes > 0
    }

    /// What is left to do once the proxy has said that it closes. Some finish sending before they notice.
    pub(crate) fn wind_up(&mut self, notices: bool, world: &mut World) {
        let sending = |step: &&Step| matches!(step, Step::Send(_) | Step::Pause(_));
        let begun = self.steps.iter().take_while(sending).count();
        let rest = if notices || !self.asked.is_empty() {
            0
        } else {
            begun
        };
        self.steps.truncate(rest);
        self.steps.push_back(if world.rng.chance(500) {
            Step::Leave
        } else {
            Step::Stay
        });
        if rest == 0 {
            self.restart_step();
        }
    }
}
