//! Scripted clients: they send their requests as the script says, and read whatever comes with the strict reader.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::announced;
use super::answers::{self, Answered};
use super::faults::Fault;
use super::kernel::World;
use super::ledger::{Ledger, Outcome};
use super::link::{Link, Tunnel, Went};
use super::plan::Plan;
use super::script::{Author, Manner, Step, Temper};
use super::sock::{Home, Peer};
use crate::strict::reader::Found;

/// Most bytes of a sip, and the pause after it: a third of the least rate that a client may be held to.
const SIP: (usize, Duration) = (8, Duration::from_millis(400));
/// Sips in a row: longer than two windows of the rate.
const SIPS: usize = 300;

/// On so many connections a client may say wrongly who it is.
const OFFENCES_MAX: usize = 3;

/// Long rests of one connection.
const SLOW_READS_MAX: usize = 10;

/// One client: some requests, made on one connection after the other.
#[derive(Debug)]
pub(crate) struct Client {
    index: usize,
    listener: usize,
    temper: Temper,
    /// Requests that have not ended, in order.
    todo: VecDeque<usize>,
    link: Option<Link>,
    /// Connections made so far.
    calls: usize,
    pub(crate) done: bool,
}

impl Client {
    pub(crate) fn new(index: usize, plan: &Plan, todo: VecDeque<usize>, world: &mut World) -> Self {
        Self {
            index,
            listener: world.rng.below(plan.config.listeners.len()),
            temper: Temper::draw(plan, &mut world.rng),
            todo,
            link: None,
            calls: 0,
            done: false,
        }
    }

    /// The address that the client of this index calls from.
    pub(crate) fn addr(index: usize) -> SocketAddr {
        let last = u8::try_from(index).expect("few clients");
        SocketAddr::from((Ipv4Addr::new(192, 168, 7, last), 40_000))
    }

    /// Does all that can be done now.
    pub(crate) fn run(&mut self, plan: &Plan, world: &mut World, ledger: &mut Ledger) {
        if self.done {
            return;
        }
        if self.link.is_none() {
            self.call(plan, world, ledger);
        }
        loop {
            let Some(link) = &mut self.link else { return };
            if world.socks[link.sock.0].connecting {
                return;
            }
            let late = self.temper.reads_late && link.is_sending_a_body(ledger);
            let heard = if late {
                Went::Nowhere
            } else {
                self.receive(plan, world, ledger)
            };
            let said = match &mut self.link {
                Some(link) if heard != Went::Off => link.transmit(plan, world, ledger),
                _ => Went::Off,
            };
            match (heard, said) {
                (Went::Off, _) | (_, Went::Off) => return self.hang_up(world, ledger),
                (Went::Nowhere, Went::Nowhere) => return,
                _ => {}
            }
        }
    }

    fn call(&mut self, plan: &Plan, world: &mut World, ledger: &Ledger) {
        if !world.is_open(self.listener) {
            let open = (0..world.listeners()).filter(|&listener| world.is_open(listener));
            let open: Vec<usize> = open.collect();
            if !open.is_empty() {
                self.listener = world.rng.pick(&open);
            }
        }
        let sock = world.call(self.index, self.listener, Self::addr(self.index));
        world.note(
            "client {} calls with sock {}, {} to do",
            [self.index, sock.0, self.todo.len()],
        );
        self.calls += 1;
        assert!(
            self.calls < 100,
            "client {} is sent away again and again",
            self.index
        );
        let announces = world.asks_who(self.listener).then(|| {
            let (header, addr) = announced::by_client(self.index);
            if let Some(far) = world.socks[sock.0].peer {
                world.socks[far.0].announced = addr;
            }
            header
        });
        let author = Author {
            plan,
            announces,
            // Whoever is sent away for what it said says it rightly in the end.
            offends: self.calls <= OFFENCES_MAX,
            temper: self.temper,
            world,
            steps: VecDeque::new(),
        };
        let steps = author.write(&self.todo, ledger);
        self.link = Some(Link::new(self.index, sock, steps));
    }

    /// Closes what is left of a connection; the next one follows if there is more to do.
    fn hang_up(&mut self, world: &mut World, ledger: &mut Ledger) {
        let Some(link) = self.link.take() else { return };
        if link.fault == Some(Fault::Vanish) {
            for id in link.open() {
                self.end_request(id, Outcome::Left, world, ledger);
            }
        }
        let sock = &world.socks[link.sock.0];
        if !sock.closed && sock.home != Home::Nowhere {
            world.note("client {} closes sock {}", [self.index, link.sock.0, 0]);
            world.close(link.sock);
        }
        self.done = self.todo.is_empty();
        if !self.done {
            world.wake_after(Duration::from_millis(1), Peer::Client(self.index));
        }
    }

    fn end_request(&mut self, id: usize, outcome: Outcome, world: &mut World, ledger: &mut Ledger) {
        self.todo.retain(|&todo| todo != id);
        ledger.finish(world, id, outcome);
    }

    /// Reads once and makes of it what can be made.
    fn receive(&mut self, plan: &Plan, world: &mut World, ledger: &mut Ledger) -> Went {
        let Some(link) = &mut self.link else {
            return Went::Off;
        };
        if world.now < link.read_at {
            return Went::Nowhere;
        }
        if link.tunnel.as_ref().is_some_and(|tunnel| tunnel.ended) {
            let said_all = matches!(link.steps.front(), None | Some(Step::Stay));
            return if said_all {
                self.end(plan, world, ledger, false)
            } else {
                Went::Nowhere
            };
        }
        if link.reader.is_within()
            && link.fault.is_none()
            && world.rng.chance(100)
            && world.faults.strikes(Fault::Vanish, &mut world.rng)
        {
            let manner = world.rng.pick(&Manner::CLIENTS);
            return link.vanish(manner, world, ledger);
        }
        let (room, pause) = if link.sips > 0 {
            link.sips -= 1;
            SIP
        } else {
            self.temper.reads
        };
        let mut bytes = vec![0; room];
        match world.read(link.sock, &mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Went::Nowhere,
            Ok(0) => return self.end(plan, world, ledger, false),
            Err(_) => return self.end(plan, world, ledger, true),
            Ok(count) => bytes.truncate(count),
        }
        world.note(
            "client {} reads {} of sock {}",
            [self.index, bytes.len(), link.sock.0],
        );
        link.read_at = world.now + pause;
        let may = link.slow_reads < SLOW_READS_MAX && !link.asked.is_empty();
        if may && world.faults.strikes(Fault::SlowRead, &mut world.rng) {
            link.slow_reads += 1;
            link.blame(Fault::SlowRead, world, ledger);
            let timeouts = plan.timeouts();
            link.read_at = world.now + timeouts.body.max(timeouts.tunnel) + Duration::from_secs(1);
        }
        if link.sips == 0
            && !link.asked.is_empty()
            && world.faults.strikes(Fault::Sip, &mut world.rng)
        {
            link.blame(Fault::Sip, world, ledger);
            link.sips = SIPS;
        }
        if link.read_at > world.now {
            world.wake_after(link.read_at - world.now, Peer::Client(self.index));
        }
        if let Some(tunnel) = &mut link.tunnel {
            tunnel.hear(&bytes, world.now);
            return Went::On;
        }
        link.reader.push(&bytes);
        self.understand(world, ledger);
        Went::On
    }

    /// Takes from the reader what it has.
    fn understand(&mut self, world: &mut World, ledger: &mut Ledger) {
        loop {
            let Some(link) = &mut self.link else { return };
            if link.tunnel.is_some() {
                return;
            }
            let Some(&(id, _)) = link.asked.front() else {
                let unasked = link.reader.rest().len();
                assert!(
                    link.deaf || unasked == 0,
                    "client {} got {unasked} bytes that it never asked for",
                    self.index
                );
                return;
            };
            let exchange = ledger.exchange(id);
            let found = link.reader.advance();
            match found
                .unwrap_or_else(|why| panic!("the answer to {exchange:?} is malformed: {why}"))
            {
                Found::Nothing => return,
                Found::Head => {
                    let ending = answers::judge_head(&link.reader.message, exchange);
                    link.reader.expect(
                        ending.unwrap_or_else(|why| panic!("the answer to {exchange:?}: {why}")),
                    );
                }
                Found::End => {
                    let message = link.reader.take();
                    let status = message.status().expect("it was judged");
                    if (100..200).contains(&status) && status != 101 {
                        link.interims.push(status);
                    } else {
                        self.complete(
                            world,
                            ledger,
                            &Answered {
                                message,
                                by_close: false,
                            },
                        );
                    }
                }
            }
        }
    }

    /// A final response is there.
    fn complete(&mut self, world: &mut World, ledger: &mut Ledger, answered: &Answered) {
        let Some(link) = &mut self.link else { return };
        let Some((id, _)) = link.asked.pop_front() else {
            return;
        };
        let exchange = ledger.exchange(id);
        let interims = std::mem::take(&mut link.interims);
        let verdict = answers::judge(answered, &interims, exchange);
        let verdict = verdict.unwrap_or_else(|why| panic!("the answer to {exchange:?}: {why}"));
        link.ending |= verdict.closes;
        if verdict.outcome == Outcome::Served && exchange.tunnels() {
            link.tunnel = Some(Tunnel::new(id, link.reader.take_rest(), world.now));
            return;
        }
        // Who asked for a tunnel and did not get it cannot go on: its next bytes are not requests.
        let stranded = exchange.tunnels();
        // A request that was refused before its method was known is answered with a body even if it was HEAD.
        let blind = exchange.method == "HEAD" && matches!(verdict.outcome, Outcome::Own(408, _));
        link.deaf |= stranded || blind;
        if stranded {
            link.steps = VecDeque::from([Step::Leave]);
            link.restart_step();
        } else if link.ending {
            link.wind_up(!self.temper.reads_late, world);
        }
        self.end_request(id, verdict.outcome, world, ledger);
    }

    /// The connection has ended, in order or with a reset.
    fn end(&mut self, plan: &Plan, world: &mut World, ledger: &mut Ledger, reset: bool) -> Went {
        let Some(link) = &mut self.link else {
            return Went::Off;
        };
        let reset = reset || link.broken;
        world.note(
            "client {} sees the end of sock {} (reset {})",
            [self.index, link.sock.0, usize::from(reset)],
        );
        if let Some(Fault::Aborted) = world.socks[link.sock.0].fault {
            link.blame(Fault::Aborted, world, ledger);
        }
        if let Some(tunnel) = &mut link.tunnel
            && !reset
            && ledger.exchange(tunnel.id).swaps
            && !std::mem::replace(&mut tunnel.ended, true)
        {
            return Went::On;
        }
        if link.tunnel.is_some() {
            return self.end_tunnel(plan, world, ledger, reset);
        }
        if link.reader.ends_with_connection() && !reset {
            let message = link.reader.take();
            self.complete(
                world,
                ledger,
                &Answered {
                    message,
                    by_close: true,
                },
            );
            return Went::Off;
        }
        if reset && world.is_lingered_out(link.sock, plan.timeouts().linger) {
            // More cannot be done for a reader that is slower than the lingering close.
            for id in link.open() {
                ledger.excuse(id, Fault::SlowRead);
            }
        }
        if link.sent == 0 && reset && link.asked.is_empty() {
            return self.turned_away(world, ledger);
        }
        let begun =
            link.reader.is_within() || !link.reader.rest().is_empty() || !link.interims.is_empty();
        let announced = link.ending && !begun;
        let to_blame = link.fault.is_some_and(Fault::is_the_clients);
        let asked = Vec::from(std::mem::take(&mut link.asked));
        if reset {
            ledger.excuse_for_later(&asked);
        }
        for (place, (id, _)) in asked.into_iter().enumerate() {
            if place == 0 && !announced {
                self.end_request(
                    id,
                    if begun {
                        Outcome::Cut
                    } else {
                        Outcome::Nothing
                    },
                    world,
                    ledger,
                );
            } else if to_blame || ledger.has_reached_a_backend(id) {
                // What was sent ahead is sent again, unless it may have been taken up already.
                self.end_request(id, Outcome::Nothing, world, ledger);
            }
        }
        Went::Off
    }

    /// The end has come out of a tunnel: nobody may take what was cut short for the whole.
    fn end_tunnel(
        &mut self,
        plan: &Plan,
        world: &mut World,
        ledger: &mut Ledger,
        reset: bool,
    ) -> Went {
        let Some((link, tunnel)) = self
            .link
            .as_mut()
            .and_then(|link| link.tunnel.take().map(|tunnel| (link, tunnel)))
        else {
            return Went::Off;
        };
        let exchange = ledger.exchange(tunnel.id);
        let to_blame = link.fault == Some(Fault::Vanish) || ledger.is_spoilt(tunnel.id);
        assert!(
            reset || to_blame || tunnel.has_all(exchange),
            "a tunnel was cut short, and its end looks like any other: {exchange:?}"
        );
        let whole = !reset && tunnel.is_whole(exchange, plan, world.now);
        let outcome = if whole { Outcome::Served } else { Outcome::Cut };
        self.end_request(tunnel.id, outcome, world, ledger);
        Went::Off
    }

    /// Not even a connection: it gives up once the proxy drains, and calls again otherwise.
    fn turned_away(&mut self, world: &mut World, ledger: &mut Ledger) -> Went {
        if world.faults.count(Fault::Drain) > 0 {
            for id in std::mem::take(&mut self.todo) {
                ledger.excuse(id, Fault::Drain);
                ledger.finish(world, id, Outcome::Refused);
            }
        }
        Went::Off
    }

    /// The proxy begins to drain: whatever has not reached it need not be served.
    pub(crate) fn drain(&self, world: &World, ledger: &mut Ledger) {
        let reached = self.link.as_ref().map_or(Vec::new(), |link| {
            let far = world.socks[link.sock.0].peer.map(|far| &world.socks[far.0]);
            let arrived = far
                .filter(|far| far.home != Home::Nowhere)
                .map_or(0, |far| far.arrived);
            let reached = link.asked.iter().filter(|asked| asked.1 < arrived);
            let tunnel = link.tunnel.as_ref().map(|tunnel| tunnel.id);
            reached.map(|asked| asked.0).chain(tunnel).collect()
        });
        for &id in self.todo.iter().filter(|id| !reached.contains(id)) {
            ledger.excuse(id, Fault::Drain);
        }
    }
}
