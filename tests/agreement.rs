//! What `rondel explain` tells and what the proxy does are the same: random requests to random configurations, each asked of both.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod dice;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use dice::Dice;
use rondel::config::file::Element;
use rondel::config::{Config, Policy, WhenAllDown};
use rondel::inspect::explain::{Delivery, Explanation, Outcome, Question};
use rondel::inspect::{Lint, explain, lint};
use rondel::net::stream::{Net, Owner, Readiness, Stream};
use rondel::proxy::{Bound, Now, Proxy, Setup};

/// Configurations, and requests to each.
const CONFIGS: u64 = 500;
const REQUESTS: usize = 20;
/// The client.
const CLIENT: ([u8; 4], u16) = ([192, 0, 2, 7], 40_000);
/// Ticks after which a proxy that is still in a hurry spins.
const TICKS_MAX: usize = 10_000;

/// One end of a connection, as the proxy sees it.
#[derive(Debug, Default)]
struct Sock {
    incoming: VecDeque<u8>,
    written: Vec<u8>,
    owner: Option<Owner>,
}

/// A network on which one client calls, and backends take what they get and say nothing, or refuse.
#[derive(Debug, Default)]
struct World {
    /// The client's, then one for each upstream.
    socks: Vec<Sock>,
    /// The listener where the client still waits.
    calls: Option<usize>,
    refuses: bool,
    /// Where connections were to go, in turn.
    reached: Vec<SocketAddr>,
}

#[derive(Debug)]
struct OneStream(usize, Rc<RefCell<World>>);

#[derive(Debug)]
struct OneNet(Rc<RefCell<World>>);

impl Stream for OneStream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let incoming = &mut self.1.borrow_mut().socks[self.0].incoming;
        if incoming.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = room.len().min(incoming.len());
        for (to, from) in room.iter_mut().zip(incoming.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.borrow_mut().socks[self.0]
            .written
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        pieces.iter().map(|piece| self.write(piece)).sum()
    }

    fn connected(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(ErrorKind::Unsupported.into())
    }

    fn unacknowledged(&self) -> Option<u64> {
        None
    }

    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn shut_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reset_on_close(&mut self) {}
}

impl Net for OneNet {
    type Stream = OneStream;

    fn accept(&mut self, listener: usize) -> io::Result<(OneStream, SocketAddr)> {
        if self
            .0
            .borrow_mut()
            .calls
            .take_if(|at| *at == listener)
            .is_some()
        {
            Ok((OneStream(0, Rc::clone(&self.0)), CLIENT.into()))
        } else {
            Err(ErrorKind::WouldBlock.into())
        }
    }

    fn connect(&mut self, addr: SocketAddr) -> io::Result<OneStream> {
        let mut world = self.0.borrow_mut();
        world.reached.push(addr);
        if world.refuses {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        world.socks.push(Sock::default());
        Ok(OneStream(world.socks.len() - 1, Rc::clone(&self.0)))
    }

    fn splice(&mut self, _: &mut OneStream, _: &mut OneStream, _: usize) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    fn assign(&mut self, stream: &OneStream, owner: Owner) {
        self.0.borrow_mut().socks[stream.0].owner = Some(owner);
    }

    fn forget_owners(&mut self) {
        for sock in &mut self.0.borrow_mut().socks {
            sock.owner = None;
        }
    }

    fn close_listener(&mut self, _listener: usize) {}
}

/// What the proxy did with a request.
#[derive(Debug)]
struct Deed {
    /// What the client got.
    answer: String,
    /// Where connections were to go, in turn.
    reached: Vec<SocketAddr>,
    /// What the first upstream got.
    head: String,
}

/// What a new proxy does with one request, on a network whose backends take it, or all refuse.
fn done(config: &Config, listener: usize, request: &[u8], refuses: bool, now: Now) -> Deed {
    let client = Sock {
        incoming: request.iter().copied().collect(),
        ..Sock::default()
    };
    let world = Rc::new(RefCell::new(World {
        socks: vec![client],
        calls: Some(listener),
        refuses,
        reached: Vec::new(),
    }));
    let listen: Vec<SocketAddr> = config
        .listeners
        .iter()
        .map(|listener| listener.addr)
        .collect();
    let net = OneNet(Rc::clone(&world));
    let mut proxy = Proxy::new(
        net,
        Setup::new(config.clone()),
        &Bound::in_order(&listen),
        now,
    );
    let readable = Readiness {
        readable: true,
        writable: true,
        ..Readiness::default()
    };
    proxy.notify(Owner::Listener(listener), readable);
    settle(&mut proxy, now);
    let owners: Vec<Owner> = world
        .borrow()
        .socks
        .iter()
        .filter_map(|sock| sock.owner)
        .collect();
    owners
        .into_iter()
        .for_each(|owner| proxy.notify(owner, readable));
    settle(&mut proxy, now);
    // An upstream is connected once it says so.
    let newest = world.borrow().socks.last().and_then(|sock| sock.owner);
    newest
        .into_iter()
        .for_each(|owner| proxy.notify(owner, readable));
    settle(&mut proxy, now);
    let world = world.borrow();
    Deed {
        answer: String::from_utf8_lossy(&world.socks[0].written).into_owned(),
        reached: world.reached.clone(),
        head: world
            .socks
            .get(1)
            .map(|sock| without_id(&sock.written))
            .unwrap_or_default(),
    }
}

fn settle(proxy: &mut Proxy<OneNet>, now: Now) {
    for _ in 0..TICKS_MAX {
        proxy.tick(now);
        if proxy.wait(now.instant) != Some(Duration::ZERO) {
            return;
        }
    }
    panic!("it spins: {:?}", proxy.counts());
}

/// A head without the one value that is new each time.
fn without_id(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(head);
    let lines = text.split("\r\n").map(|line| match line.split_once(": ") {
        Some((name, _)) if name.eq_ignore_ascii_case("x-request-id") => "X-Request-Id: …",
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\r\n")
}

/// Where the backends stand that would be tried in turn.
fn addrs(config: &Config, delivery: &Delivery) -> Vec<SocketAddr> {
    let backends = &config.pools[delivery.pool].backends;
    let addr = |name: &String| {
        backends
            .iter()
            .find(|backend| backend.name == *name)
            .unwrap()
            .addrs[0]
    };
    delivery.tries.iter().map(addr).collect()
}

/// Holds what is told against what is done.
fn compare(config: &Config, listener: usize, request: &[u8], now: Now) -> Explanation {
    let question = Question {
        head: request,
        listener,
        from: SocketAddr::from(CLIENT).ip(),
        down: &[],
        now: now.instant,
    };
    let told = explain(config, &question).unwrap();
    let deed = done(config, listener, request, false, now);
    let refused = done(config, listener, request, true, now);
    // Whoever asks for the head only is not told why.
    let says = |reason: &str| request.starts_with(b"HEAD ") || deed.answer.contains(reason);
    let begins = |status: u16| deed.answer.starts_with(&format!("HTTP/1.1 {status} "));
    let agrees = match &told.outcome {
        Outcome::Unfinished => deed.answer.is_empty() && deed.reached.is_empty(),
        Outcome::Refused(reject) => begins(reject.status()) && says(reject.reason()),
        Outcome::NoRoute => begins(404) && says("no-route"),
        Outcome::Redirect { status, location } => {
            begins(*status)
                && deed
                    .answer
                    .contains(&format!("\r\nLocation: {location}\r\n"))
        }
        Outcome::Reply { status, .. } => begins(*status) && deed.reached.is_empty(),
        Outcome::Pool(delivery) => {
            let tries = addrs(config, delivery);
            let pool = &config.pools[delivery.pool];
            match tries.first() {
                None if pool.when_all_down == WhenAllDown::Hold => {
                    deed.answer.is_empty() && deed.reached.is_empty()
                }
                None => begins(503) && deed.reached.is_empty(),
                // Whom chance picks is not to be told.
                Some(_) if pool.policy == Policy::RandomTwo => {
                    deed.head == without_id(&delivery.head) && refused.reached.len() == tries.len()
                }
                Some(pick) => {
                    deed.reached == [*pick]
                        && deed.head == without_id(&delivery.head)
                        && refused.reached == tries
                }
            }
        }
    };
    assert!(
        agrees,
        "{:#?}\ntold:\n{told}\ndone: {deed:#?}\nwhere all refuse: {:?}\nrequest: {}",
        config.routes,
        refused.reached,
        request.escape_ascii()
    );
    told
}

#[test]
fn what_is_told_is_what_is_done() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock needs one moment to count from"
    )]
    let instant = Instant::now();
    let now = Now {
        instant,
        wall: SystemTime::UNIX_EPOCH,
    };
    let mut met = [0; 7];
    for seed in 0..CONFIGS {
        let mut dice = Dice::new(seed);
        let config = dice.config();
        let unreachable: Vec<Element> = lint(&config, None)
            .into_iter()
            .filter(|finding| finding.lint == Lint::UnreachableRoute)
            .map(|finding| finding.about)
            .collect();
        for _ in 0..REQUESTS {
            let listener = dice.below(config.listeners.len());
            let request = dice.request(&config);
            let told = compare(&config, listener, &request, now);
            if let Some((place, _)) = told.route {
                assert_eq!(told.passed.len(), place, "seed {seed}: {told}");
                let is_hidden = unreachable.contains(&Element::Route(place));
                assert!(
                    !is_hidden,
                    "seed {seed}: a route that is called unreachable: {told}"
                );
            }
            met[match told.outcome {
                Outcome::Unfinished => 0,
                Outcome::Refused(_) => 1,
                Outcome::NoRoute => 2,
                Outcome::Redirect { .. } => 3,
                Outcome::Reply { .. } => 4,
                Outcome::Pool(delivery) if delivery.tries.is_empty() => 5,
                Outcome::Pool(_) => 6,
            }] += 1;
        }
        met[0] += unreachable.len();
    }
    assert!(
        met.iter().all(|&count| count > 50),
        "hardly ever met: {met:?}"
    );
}
