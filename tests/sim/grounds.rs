//! Two grounds for one small script: the simulated kernel, and the one of this machine over loopback.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use mio::{Events, Poll};
use rondel::event_loop::kernel::{Kernel, TcpSocket};
use rondel::net::stream::{Net, Owner, Readiness, Stream};
use socket2::{Domain, SockRef, Socket, Type};

use super::descriptors::Descriptors;
use super::faults::Faults;
use super::kernel::World;
use super::rng::Rng;
use super::sock::{Profile, SockId};
use super::stream::{SimNet, SimStream};

/// How long the real kernel may take to tell what it must tell.
const PATIENCE: Duration = Duration::from_secs(10);

/// One thing done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The peer sends so many bytes.
    PeerSends(usize),
    /// The peer takes all that was filled in.
    PeerTakesAll,
    PeerShuts,
    PeerCloses,
    PeerResets,
    /// An event comes that tells exactly this: r(eadable), w(ritable), c(losed for reading), d(ead).
    Told(&'static str),
    /// The peer sends one byte, and marks it as urgent.
    PeerSendsUrgent,
    /// We read at most so many bytes.
    Read(usize),
    /// We splice at most so many bytes to another connection, and send them on.
    Splice(usize),
    /// We write so many.
    Write(usize),
    /// We write until nothing more is taken.
    Fill,
    Shut,
    /// We look for a pending error.
    Check,
}

/// A connection between us and a peer, in one kernel or the other.
pub(super) trait Ground {
    type Stream: Stream;

    fn ours(&mut self) -> &mut Self::Stream;
    /// Splices from our socket to another of ours, and sends all of it on.
    fn splice(&mut self, most: usize) -> io::Result<usize>;
    fn peer(&mut self, step: Step, filled: usize);
    /// The next event of our socket; `None` when none comes.
    fn event(&mut self) -> Option<Readiness>;
}

/// Runs a script, and says what each of our calls came to.
pub(super) fn play<G: Ground>(mut ground: G, steps: &[Step]) -> Vec<String> {
    let (mut said, mut filled) = (Vec::new(), 0);
    for &step in steps {
        let outcome = match step {
            Step::Told(flags) => {
                wait_for(&mut ground, flags);
                continue;
            }
            Step::Read(most) => ground.ours().read(&mut vec![0; most]),
            Step::Splice(most) => ground.splice(most),
            Step::Write(bytes) => ground.ours().write(&vec![0; bytes]),
            Step::Fill => {
                filled = fill(ground.ours());
                continue;
            }
            Step::Shut => ground.ours().shut_write().map(|()| 0),
            Step::Check => ground.ours().check().map(|()| 0),
            Step::PeerSends(_)
            | Step::PeerSendsUrgent
            | Step::PeerTakesAll
            | Step::PeerShuts
            | Step::PeerCloses
            | Step::PeerResets => {
                ground.peer(step, filled);
                continue;
            }
        };
        said.push(match outcome {
            Ok(count) => count.to_string(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => "would block".to_owned(),
            Err(error) => format!("errno {}", error.raw_os_error().unwrap_or_default()),
        });
    }
    said
}

fn wait_for(ground: &mut impl Ground, expected: &str) {
    let mut seen = Vec::new();
    while let Some(hint) = ground.event() {
        let flags = [
            (hint.readable, 'r'),
            (hint.writable, 'w'),
            (hint.read_closed, 'c'),
            (hint.dead, 'd'),
        ];
        let told: String = flags
            .into_iter()
            .filter_map(|(set, flag)| set.then_some(flag))
            .collect();
        if told == expected {
            return;
        }
        seen.push(told);
    }
    panic!("no event told {expected}; those that came told {seen:?}");
}

/// Sends on what was spliced.
fn send_on(sink: &mut impl Stream, count: usize) -> io::Result<usize> {
    let mut left = count;
    while left > 0 {
        left -= sink.send_spliced()?;
    }
    Ok(count)
}

fn fill(stream: &mut impl Stream) -> usize {
    let mut filled = 0;
    loop {
        match stream.write(&[0; 1000]) {
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return filled,
            Err(error) => panic!("it breaks while it is filled: {error}"),
        }
    }
}

/// The kernel of this machine, by the network of production.
pub(super) struct Real {
    kernel: Kernel,
    poll: Poll,
    ours: Option<TcpSocket>,
    peer: Option<TcpStream>,
    addr: Option<SocketAddr>,
    /// An address that refuses.
    held: Option<Socket>,
}

impl Real {
    fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let kernel = Kernel::new(poll.registry().try_clone()?, 1);
        Ok(Self {
            kernel,
            poll,
            ours: None,
            peer: None,
            addr: None,
            held: None,
        })
    }

    /// A client that calls, does something before it is accepted, and is accepted.
    pub(super) fn accept(before: &[Step]) -> io::Result<Self> {
        let mut real = Self::new()?;
        let addr = real
            .kernel
            .listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false)?
            .addr;
        real.addr = Some(addr);
        real.peer = Some(TcpStream::connect(addr)?);
        before.iter().for_each(|&step| real.peer(step, 0));
        let ours = real.take()?;
        real.kernel.assign(&ours, Owner::Client(0));
        real.ours = Some(ours);
        Ok(real)
    }

    /// Accepts whoever called.
    fn take(&mut self) -> io::Result<TcpSocket> {
        loop {
            match self.kernel.accept(0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other.map(|(stream, _)| stream),
            }
        }
    }

    /// A connection to where nobody listens.
    pub(super) fn refused() -> io::Result<Self> {
        let mut real = Self::new()?;
        // Bound, so that nobody else is given it, and never listened on.
        let held = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        held.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let addr = held.local_addr()?.as_socket().expect("it is an address");
        real.held = Some(held);
        let ours = real.kernel.connect(addr)?;
        real.kernel.assign(&ours, Owner::Upstream(0));
        real.ours = Some(ours);
        Ok(real)
    }
}

impl Ground for Real {
    type Stream = TcpSocket;

    fn ours(&mut self) -> &mut TcpSocket {
        self.ours.as_mut().expect("it is open")
    }

    fn splice(&mut self, most: usize) -> io::Result<usize> {
        let addr = self.addr.expect("it listens");
        let _far = TcpStream::connect(addr)?;
        let mut sink = self.take()?;
        // Its events are not those that a script waits for.
        self.kernel.assign(&sink, Owner::Idle(0));
        let source = self.ours.as_mut().expect("it is open");
        let count = self.kernel.splice(source, &mut sink, most)?;
        send_on(&mut sink, count)
    }

    fn peer(&mut self, step: Step, filled: usize) {
        let mut peer = self.peer.take().expect("it is still there");
        match step {
            Step::PeerSends(count) => peer.write_all(&vec![0; count]).expect("there is room"),
            Step::PeerSendsUrgent => {
                let sent = SockRef::from(&peer).send_out_of_band(b"!");
                assert_eq!(sent.expect("there is room"), 1);
            }
            Step::PeerTakesAll => peer.read_exact(&mut vec![0; filled]).expect("it comes"),
            Step::PeerShuts => peer
                .shutdown(std::net::Shutdown::Write)
                .expect("it is open"),
            Step::PeerResets => {
                let linger = Some(Duration::ZERO);
                SockRef::from(&peer).set_linger(linger).expect("it is open");
                return;
            }
            _ => return,
        }
        self.peer = Some(peer);
    }

    fn event(&mut self) -> Option<Readiness> {
        let mut events = Events::with_capacity(1);
        loop {
            self.poll
                .poll(&mut events, Some(PATIENCE))
                .expect("it polls");
            let event = events.iter().next()?;
            if let Some(Owner::Client(_) | Owner::Upstream(_)) = self.kernel.owner(event.token()) {
                let read_closed = event.is_read_closed();
                return Some(Readiness {
                    readable: event.is_readable(),
                    writable: event.is_writable(),
                    read_closed,
                    urgent: event.is_priority(),
                    dead: event.is_error() || (read_closed && event.is_write_closed()),
                });
            }
        }
    }
}

/// The simulated one.
pub(super) struct Fake {
    pub(super) world: Rc<RefCell<World>>,
    pub(super) ours: SimStream,
    pub(super) peer: SockId,
}

impl Fake {
    pub(super) fn accept(before: &[Step]) -> io::Result<Self> {
        let world = Rc::new(RefCell::new(world()));
        world.borrow_mut().listen(false);
        let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
        let peer = world.borrow_mut().call(0, 0, from);
        settle(&world);
        for &step in before {
            act(&world, peer, step, 0);
        }
        let mut net = SimNet {
            world: Rc::clone(&world),
        };
        let (ours, _) = net.accept(0)?;
        net.assign(&ours, Owner::Client(0));
        Ok(Self { world, ours, peer })
    }

    pub(super) fn refused() -> io::Result<Self> {
        let world = Rc::new(RefCell::new(world()));
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 3000));
        world.borrow_mut().settle(vec![addr]);
        world.borrow_mut().configured = vec![0];
        world.borrow_mut().set_down(0, true);
        let mut net = SimNet {
            world: Rc::clone(&world),
        };
        let ours = net.connect(addr)?;
        net.assign(&ours, Owner::Upstream(0));
        let peer = SockId(usize::MAX);
        Ok(Self { world, ours, peer })
    }
}

impl Ground for Fake {
    type Stream = SimStream;

    fn ours(&mut self) -> &mut SimStream {
        &mut self.ours
    }

    fn splice(&mut self, most: usize) -> io::Result<usize> {
        let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_001));
        self.world.borrow_mut().call(0, 0, from);
        settle(&self.world);
        let mut net = SimNet {
            world: Rc::clone(&self.world),
        };
        let (mut sink, _) = net.accept(0)?;
        net.assign(&sink, Owner::Idle(0));
        let count = net.splice(&mut self.ours, &mut sink, most)?;
        send_on(&mut sink, count)
    }

    fn peer(&mut self, step: Step, filled: usize) {
        act(&self.world, self.peer, step, filled);
    }

    fn event(&mut self) -> Option<Readiness> {
        settle(&self.world);
        let mut world = self.world.borrow_mut();
        loop {
            match world.harvest()? {
                (Owner::Listener(_) | Owner::Idle(_), _) => {}
                (_, hint) => return Some(hint),
            }
        }
    }
}

fn act(world: &RefCell<World>, peer: SockId, step: Step, filled: usize) {
    settle(world);
    let mut guard = world.borrow_mut();
    match step {
        Step::PeerSends(count) => {
            assert_eq!(guard.write(peer, &vec![0; count]).ok(), Some(count));
        }
        Step::PeerSendsUrgent => guard.mark(peer),
        Step::PeerTakesAll => {
            let mut left = filled;
            while left > 0 {
                let taken = guard.read(peer, &mut vec![0; left]).unwrap_or_default();
                left -= taken;
                drop(guard);
                settle(world);
                guard = world.borrow_mut();
            }
        }
        Step::PeerShuts => guard.shut_write(peer).expect("it is open"),
        Step::PeerCloses => guard.close(peer),
        Step::PeerResets => guard.reset(peer),
        _ => {}
    }
    drop(guard);
    settle(world);
}

/// Lets everything arrive that is on its way.
pub(super) fn settle(world: &RefCell<World>) {
    let mut world = world.borrow_mut();
    let until = world.now + Duration::from_secs(1);
    while world.step(until) {}
}

/// A network without accidents.
fn world() -> World {
    let profile = Profile {
        latency: (Duration::ZERO, Duration::from_micros(10)),
        window: (3000, 3000),
        segment: 16_000,
        short_writes: 0,
        urgent: 0,
        tells: true,
        pipes: 1,
        purges: false,
    };
    World::new(
        Rng::new(1),
        Faults::default(),
        profile,
        Descriptors::new(usize::MAX),
    )
}
