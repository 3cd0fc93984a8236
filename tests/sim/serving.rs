//! One connection to a backend: requests are read, compared with what their clients sent, and answered.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::announced;
use super::content::{echo, find_mark};
use super::exchange::Exchange;
use super::faults::Fault;
use super::kernel::World;
use super::ledger::Ledger;
use super::link::Went;
use super::misdeeds::{self, Out};
use super::plan::Plan;
use super::requests;
use super::script::Manner;
use super::sock::{Home, Peer, SockId};
use crate::strict::reader::{Found, Reader};

/// One connection to a backend.
#[derive(Debug)]
pub(crate) struct Link {
    pub(super) sock: SockId,
    pub(super) reader: Reader,
    /// What has come of the header before all requests, and whose connection it says this is.
    preface: Vec<u8>,
    client: Option<SocketAddr>,
    /// The request that is read or answered.
    pub(super) current: Option<Current>,
    /// The one before it.
    pub(super) last: Option<Current>,
    pub(super) out: VecDeque<Out>,
    taken: usize,
    until: Option<Duration>,
    pub(super) served: usize,
    /// When the idle connection is treated badly, and how.
    pub(super) idle_fault: Option<(Duration, Fault)>,
    /// It said what nobody asked for: whatever comes next on it may suffer.
    pub(super) tainted: Option<Fault>,
    tunnel: Option<Talks>,
    /// It closes once the request is in.
    closing: bool,
    /// It closes even before.
    abrupt: bool,
    /// It has said its last, and throws away what still comes.
    pub(super) deaf: bool,
    /// The proxy has shut its side, or is not listened to any more.
    ended: bool,
}

/// How a backend behaves in a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talks {
    Echoes,
    Listens,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    pub(super) id: usize,
    pub(super) attempt: usize,
    /// The request is in.
    whole: bool,
    /// The answer is on its way.
    begun: bool,
    /// The answer is out.
    answered: bool,
}

impl Link {
    pub(crate) fn open(sock: SockId, world: &mut World) -> Self {
        let mut out = VecDeque::new();
        if world.faults.strikes(Fault::Unwelcome, &mut world.rng) {
            let pause = world.latency();
            out.extend([
                Out::Pause(pause),
                Out::Kill(Fault::Unwelcome, world.rng.pick(&Manner::BACKENDS)),
            ]);
        }
        Self {
            sock,
            reader: Reader::new(),
            preface: Vec::new(),
            client: None,
            current: None,
            last: None,
            out,
            taken: 0,
            until: None,
            served: 0,
            idle_fault: None,
            tainted: None,
            tunnel: None,
            closing: false,
            abrupt: false,
            deaf: false,
            ended: false,
        }
    }

    pub(crate) fn receive(
        &mut self,
        backend: usize,
        plan: &Plan,
        world: &mut World,
        ledger: &mut Ledger,
    ) -> Went {
        if self.ended
            || self
                .out
                .iter()
                .any(|out| matches!(out, Out::Kill(Fault::Unwelcome, _)))
        {
            return Went::Nowhere;
        }
        let mut bytes = vec![0; 64 * 1024];
        match world.read(self.sock, &mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Went::Nowhere,
            Err(_) => return Went::Off,
            Ok(0) if self.tunnel.is_some() && !self.deaf => {
                self.ended = true;
                if let Some(current) = self.current {
                    ledger.attempt(current.id, current.attempt).ended = true;
                }
                self.out.push_back(Out::Close);
                return Went::On;
            }
            Ok(0) => return Went::Off,
            Ok(count) => bytes.truncate(count),
        }
        world.note(
            "backend {} reads {} of sock {}",
            [backend, bytes.len(), self.sock.0],
        );
        if self.deaf {
            world.lose(self.sock, &bytes, true);
            return Went::On;
        }
        self.idle_fault = None;
        if let Some(talks) = self.tunnel {
            self.hear(talks, &bytes, ledger);
            return Went::On;
        }
        let Some(bytes) = self.without_header(bytes, plan, world) else {
            return Went::On;
        };
        self.reader.push(&bytes);
        loop {
            if let Some(current) = self.current
                && current.whole
            {
                let rest = self.reader.rest().len();
                assert!(
                    rest == 0,
                    "{rest} bytes behind request {} before it was answered",
                    current.id
                );
                return Went::On;
            }
            let found = self.reader.advance();
            let found = found
                .unwrap_or_else(|why| panic!("backend {backend} got a malformed request: {why}"));
            match found {
                Found::Nothing => return Went::On,
                Found::Head => self.head(backend, plan, world, ledger),
                Found::End => self.whole(plan, world, ledger),
            }
        }
    }

    /// Takes the one header away that must come first, where the pool sends one; `None` while it is not whole.
    fn without_header(&mut self, bytes: Vec<u8>, plan: &Plan, world: &World) -> Option<Vec<u8>> {
        let Some(version) = plan.config.pools[0].send_proxy else {
            return Some(bytes);
        };
        if self.client.is_some() {
            return Some(bytes);
        }
        let near = world.socks[self.sock.0].peer.expect("it is connected");
        let far = world.socks[near.0].client.expect("it is somebody's");
        let client = world.client_addr(far);
        let header = announced::header(version, client);
        self.preface.extend(bytes);
        let len = header.len().min(self.preface.len());
        assert_eq!(
            self.preface[..len],
            header[..len],
            "a connection of {client} begins otherwise"
        );
        if len < header.len() {
            return None;
        }
        self.client = Some(client);
        Some(self.preface.split_off(len))
    }

    /// Tunnel bytes.
    fn hear(&mut self, talks: Talks, bytes: &[u8], ledger: &mut Ledger) {
        if talks == Talks::Echoes {
            self.out.push_back(Out::Bytes(echo(bytes)));
        }
        if let Some(current) = self.current {
            let tunneled = &mut ledger.attempt(current.id, current.attempt).tunneled;
            tunneled.extend_from_slice(bytes);
        }
    }

    /// A request's head is there.
    fn head(&mut self, backend: usize, plan: &Plan, world: &mut World, ledger: &mut Ledger) {
        let message = &self.reader.message;
        let found = find_mark(message.start.as_bytes());
        let (id, _) = found.unwrap_or_else(|| {
            panic!(
                "backend {backend} got a request of nobody: {:?}",
                message.start
            )
        });
        world.note(
            "backend {} has the head of request {} on sock {}",
            [backend, id, self.sock.0],
        );
        let far = ledger.entries[id].far.expect("it was sent");
        let client = world.client_addr(far);
        assert!(
            self.client.is_none_or(|only| only == client),
            "request {id} of {client} came on a connection that was announced as that of {:?}",
            self.client
        );
        let exchange = ledger.exchange(id);
        let ending = requests::judge_head(message, exchange, &plan.config, client.ip());
        self.reader.expect(
            ending.unwrap_or_else(|why| panic!("request {id} at backend {backend}: {why}")),
        );
        assert!(
            !self.closing,
            "request {id} came on a connection that was to be closed"
        );
        let attempt = ledger.arrive(world, id, self.sock);
        self.served += 1;
        world.socks[self.sock.0].served = self.served;
        ledger.attempt(id, attempt).faults.extend(self.tainted);
        self.current = Some(Current {
            id,
            attempt,
            whole: false,
            begun: false,
            answered: false,
        });
        let exchange = ledger.exchange(id).clone();
        if exchange.body_bytes > 0
            && world.rng.chance(500)
            && world.faults.strikes(Fault::NoHead, &mut world.rng)
        {
            self.out
                .push_back(Out::Kill(Fault::NoHead, world.rng.pick(&Manner::BACKENDS)));
        } else if exchange.body_bytes > 0
            && world.rng.chance(300)
            && world.faults.strikes(Fault::Hang, &mut world.rng)
        {
            // It does not even take the body.
            self.out.extend([Out::Fault(Fault::Hang), Out::Silence]);
            self.ended = true;
        } else if exchange.is_continued() {
            self.out.push_back(Out::Bytes(
                b"HTTP/1.1 100 Continue\r\nX-Back: gone\r\n\r\n".to_vec(),
            ));
        } else if exchange.answer.early {
            self.answer(&exchange, plan, world);
        }
    }

    /// A request is there, whole.
    fn whole(&mut self, plan: &Plan, world: &mut World, ledger: &mut Ledger) {
        let message = self.reader.take();
        let Some(current) = &mut self.current else {
            return;
        };
        current.whole = true;
        let (id, begun) = (current.id, current.begun);
        let exchange = ledger.exchange(id).clone();
        assert!(
            message.body == exchange.body(),
            "request {id} came with another body of {} bytes",
            message.body.len()
        );
        if !begun {
            self.answer(&exchange, plan, world);
        }
        self.finish(world);
    }

    /// Plans the answer.
    fn answer(&mut self, exchange: &Exchange, plan: &Plan, world: &mut World) {
        self.abrupt = exchange.answer.abrupt;
        if let Some(current) = &mut self.current {
            current.begun = true;
        }
        // What was planned to go wrong before the answer goes first.
        if !self.out.iter().any(|out| matches!(out, Out::Kill(..))) {
            misdeeds::answer(exchange, plan, world, &mut self.out);
        }
    }

    /// Does the next thing, as far as that is possible now.
    pub(crate) fn transmit(
        &mut self,
        backend: usize,
        world: &mut World,
        ledger: &mut Ledger,
    ) -> Went {
        let Some(out) = self.out.front().cloned() else {
            return if self.deaf {
                Went::Nowhere
            } else {
                self.idle(backend, world)
            };
        };
        match out {
            Out::Bytes(bytes) => match world.write(self.sock, &bytes[self.taken..]) {
                Ok(count) => {
                    self.taken += count;
                    if self.taken < bytes.len() {
                        return Went::On;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Went::Nowhere,
                Err(_) => return Went::Off,
            },
            Out::Pause(pause) => {
                if self.waits(pause, backend, world) {
                    return Went::Nowhere;
                }
            }
            Out::Fault(fault) => self.blame(fault, world, ledger),
            Out::Kill(fault, manner) => return self.kill(fault, manner, world, ledger),
            Out::Tunnel => {
                assert!(
                    self.reader.rest().is_empty(),
                    "tunnel bytes came before the 101"
                );
                let swaps = self
                    .current
                    .is_some_and(|current| ledger.exchange(current.id).swaps);
                self.tunnel = Some(if swaps { Talks::Listens } else { Talks::Echoes });
            }
            Out::Done(close) => {
                self.closing |= close;
                if let Some(current) = &mut self.current {
                    current.answered = true;
                }
                self.finish(world);
            }
            Out::Talk(bytes) => {
                world.doors.slam(world.now, Fault::IdleTalk, None);
                // Half of it would make something else of what comes behind.
                if world.write(self.sock, &bytes).ok() != Some(bytes.len()) {
                    // An answer that has not arrived, or a request that is not in, suffers too.
                    return self.kill(Fault::BodyCut, Manner::Close, world, ledger);
                }
            }
            Out::Shut => drop(world.shut_write(self.sock)),
            Out::Settle if !world.is_delivered(self.sock) => {
                world.wake_after(Duration::from_millis(1), Peer::Backend(backend, self.sock));
                return Went::Nowhere;
            }
            Out::Settle => {}
            Out::Close => return Went::Off,
            Out::Reset => {
                world.reset(self.sock);
                return Went::Off;
            }
            Out::Silence => return Went::Nowhere,
        }
        self.out.pop_front();
        (self.taken, self.until) = (0, None);
        Went::On
    }

    /// After an answer: closes, or waits for the next request once this one is in.
    fn finish(&mut self, world: &mut World) {
        let Some(current) = self.current else { return };
        if current.answered && self.closing && !current.whole {
            let _gone = world.shut_write(self.sock);
            if self.abrupt {
                self.out.extend([Out::Settle, Out::Close]);
            }
        }
        if !(current.answered && current.whole) {
            return;
        }
        self.last = self.current.take();
        if self.closing {
            self.out.push_back(Out::Close);
            return;
        }
        for fault in [Fault::IdleFin, Fault::IdleReset, Fault::IdleTalk] {
            if self.idle_fault.is_none() && world.faults.strikes(fault, &mut world.rng) {
                let most = world.rng.pick(&[0, 1, 50, 1000]);
                let pause = world
                    .rng
                    .duration(Duration::ZERO, Duration::from_millis(most));
                self.idle_fault = Some((world.now + pause, fault));
                let home = world.socks[self.sock.0].home;
                if let Home::Script(peer) = home {
                    world.wake_after(pause, peer);
                }
            }
        }
    }

    pub(super) fn waits(&mut self, pause: Duration, backend: usize, world: &mut World) -> bool {
        if self.until.is_none() {
            self.until = Some(world.now + pause);
            world.wake_after(pause, Peer::Backend(backend, self.sock));
        }
        self.until.is_some_and(|until| world.now < until)
    }
}
