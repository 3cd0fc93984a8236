//! A load generator for what wrk cannot do: tunnels, an open loop, thousands that are all busy, clients that only stay, and
//! clients that read slowly. One thread, nothing allocated for each request.
//!
//! ```text
//! load busy   ADDR CONNECTIONS PATH SECONDS              each asks again as soon as it is answered
//! load rate   ADDR CONNECTIONS PATH SECONDS PER_SECOND   asks when a request is due, whatever became of those before
//! load tunnel ADDR CONNECTIONS PATH SECONDS BYTES        sends so many through an upgraded connection, and awaits their echo
//! load idle   ADDR CONNECTIONS PATH                      asks once, and stays
//! load slow   ADDR CONNECTIONS PATH                      takes 40 KB of its answer a second
//! ```
//!
//! It prints `ready` once every connection has been answered (or upgraded). The first three begin at a line on standard
//! input, and end when all that they asked for has been answered, so that the proxy's work can be divided by a whole number
//! of requests; the last two stay until standard input closes. Then it prints JSON: how many were answered, how many
//! failed, how many connections live, and the latency, which `rate` counts from the time at which a request was due. With
//! no arguments (as under `cargo bench`) it ends at once.

#![expect(
    clippy::disallowed_methods,
    reason = "a load generator reads the clock itself"
)]

mod link;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;

use self::link::Link;

/// Connections that are begun and not answered yet, at most.
const OPENING_MAX: usize = 64;
/// Everything is to be answered so long after the end, or has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a slow client takes at a time, how often, and what its kernel takes for it.
const SLOW_BYTES: usize = 4 * 1024;
const SLOW_TICK: Duration = Duration::from_millis(100);
const SLOW_BUFFER_BYTES: usize = 32 * 1024;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    if args.is_empty() {
        return ExitCode::SUCCESS;
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match Plan::from_args(&args).map(Load::run) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("usage: load busy|rate|tunnel|idle|slow ADDR CONNECTIONS PATH [SECONDS [N]]");
            ExitCode::from(2)
        }
    }
}

/// What to do, to whom.
struct Plan {
    addr: SocketAddr,
    connections: usize,
    /// Sent first on each connection.
    request: Vec<u8>,
    seconds: f64,
    kind: Kind,
}

enum Kind {
    Busy,
    /// The time from one request to the next.
    Rate(Duration),
    /// What goes through.
    Tunnel(Vec<u8>),
    Idle,
    Slow,
}

impl Plan {
    fn from_args(args: &[&str]) -> Option<Self> {
        let (&[kind, addr, connections, path], rest) = args.split_first_chunk()?;
        let number = |nth: usize| rest.get(nth)?.parse::<f64>().ok();
        let kind = match (kind, rest.len()) {
            ("busy", 1) => Kind::Busy,
            ("rate", 2) => Kind::Rate(Duration::from_secs_f64(1.0 / number(1)?)),
            ("tunnel", 2) => Kind::Tunnel(vec![b'x'; rest[1].parse().ok()?]),
            ("idle", 0) => Kind::Idle,
            ("slow", 0) => Kind::Slow,
            _ => return None,
        };
        // The key is the example of RFC 6455 §1.3: nothing hangs on its being random here.
        let upgrade = match kind {
            Kind::Tunnel(_) => {
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
            Kind::Busy | Kind::Rate(_) | Kind::Idle | Kind::Slow => "",
        };
        Some(Self {
            addr: addr.parse().ok()?,
            connections: connections.parse().ok()?,
            request: format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n{upgrade}\r\n").into_bytes(),
            seconds: number(0).unwrap_or(0.0),
            kind,
        })
    }
}

struct Load {
    plan: Plan,
    /// Used directly, so that it can be slept on more precisely than mio does.
    epoll: OwnedFd,
    /// By the number that their events bear; the dead are gone.
    links: Vec<Option<Link>>,
    /// What each connection sends now.
    message: Vec<u8>,
    room: Vec<u8>,
    /// Those that await nothing, in the order in which they were answered.
    free: VecDeque<usize>,
    awaiting: usize,
    alive: usize,
    failed: usize,
    latencies: Vec<Duration>,
}

impl Load {
    fn run(plan: Plan) -> io::Result<()> {
        let room = match plan.kind {
            Kind::Slow => SLOW_BYTES,
            Kind::Busy | Kind::Rate(_) | Kind::Tunnel(_) | Kind::Idle => 256 * 1024,
        };
        let mut load = Self {
            message: plan.request.clone(),
            plan,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            links: Vec::new(),
            room: vec![0; room],
            free: VecDeque::new(),
            awaiting: 0,
            alive: 0,
            failed: 0,
            latencies: Vec::new(),
        };
        load.open()?;
        println!("ready");
        match load.plan.kind {
            Kind::Idle => while wait_for_line()? {},
            Kind::Slow => load.read_slowly()?,
            Kind::Busy | Kind::Rate(_) | Kind::Tunnel(_) => {
                wait_for_line()?;
                load.measure()?;
            }
        }
        load.print();
        Ok(())
    }

    /// Opens all connections, a few at a time, until each has been answered or has failed.
    fn open(&mut self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE * 3;
        let mut events = Vec::with_capacity(1024);
        loop {
            while self.links.len() < self.plan.connections && self.awaiting < OPENING_MAX {
                self.connect()?;
            }
            if self.awaiting == 0 {
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::other("connections are not answered"));
            }
            self.turns(&mut events, left)?;
        }
        self.latencies.clear();
        Ok(())
    }

    fn connect(&mut self) -> io::Result<()> {
        let domain = socket2::Domain::for_address(self.plan.addr);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM.nonblocking(), None)?;
        socket.set_tcp_nodelay(true)?;
        if let Kind::Slow = self.plan.kind {
            socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
        }
        match socket.connect(&self.plan.addr.into()) {
            Ok(()) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let number = epoll::EventData::new_u64(self.links.len() as u64);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &socket, number, flags)?;
        self.links
            .push(Some(Link::new(socket.into(), Instant::now())));
        self.awaiting += 1;
        self.alive += 1;
        Ok(())
    }

    /// Asks for as long as the plan says, and until all is answered.
    fn measure(&mut self) -> io::Result<()> {
        if let Kind::Tunnel(payload) = &self.plan.kind {
            self.message.clone_from(payload);
        }
        // A sleep shall end when it is to end, not up to 50 µs later. Where that cannot be had, all proxies suffer alike.
        std::fs::write("/proc/self/timerslack_ns", "1").ok();
        let mut events = Vec::with_capacity(1024);
        let began = Instant::now();
        let until = began + Duration::from_secs_f64(self.plan.seconds);
        let mut due = began;
        loop {
            let now = Instant::now();
            let mut asks_more = now < until;
            let mut sleep = until.saturating_duration_since(now);
            if let Kind::Rate(interval) = self.plan.kind {
                while due <= now.min(until)
                    && let Some(key) = self.free.pop_front()
                {
                    if self.ask(key, due) {
                        due += interval;
                    }
                }
                asks_more = due < until;
                if !self.free.is_empty() {
                    sleep = due.saturating_duration_since(now);
                }
            } else if asks_more {
                while let Some(key) = self.free.pop_front() {
                    self.ask(key, now);
                }
            }
            if !asks_more && self.awaiting == 0 {
                return Ok(());
            }
            if now > until + PATIENCE || self.alive == 0 {
                self.failed += self.awaiting;
                return Ok(());
            }
            let sleep = if asks_more { sleep } else { PATIENCE };
            self.turns(&mut events, sleep)?;
        }
    }

    /// Asks on a connection; whether it was there.
    fn ask(&mut self, key: usize, since: Instant) -> bool {
        let tunnel = matches!(self.plan.kind, Kind::Tunnel(_));
        let Some(link) = &mut self.links[key] else {
            return false;
        };
        self.awaiting += 1;
        let asked = if tunnel {
            link.send(&self.message, since)
        } else {
            link.ask(&self.message, since)
        };
        if asked.is_err() {
            self.bury(key);
        }
        true
    }

    /// Sleeps until something can be done, at most so long, and does it.
    fn turns(&mut self, events: &mut Vec<epoll::Event>, sleep: Duration) -> io::Result<()> {
        // The wait of epoll, here as in mio, is of whole milliseconds.
        let mut ready = [PollFd::new(&self.epoll, PollFlags::IN)];
        match poll(&mut ready, Some(&timespec(sleep))) {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            other => other?,
        };
        events.clear();
        epoll::wait(
            &self.epoll,
            spare_capacity(events),
            Some(&timespec(Duration::ZERO)),
        )?;
        for event in events {
            let key = usize::try_from(event.data.u64()).expect("it was one");
            let Some(link) = &mut self.links[key] else {
                continue;
            };
            let whole = match self.plan.kind {
                Kind::Slow => link.begin_slowly(&self.message, &mut self.room),
                Kind::Busy | Kind::Rate(_) | Kind::Tunnel(_) | Kind::Idle => {
                    link.run(&self.message, &mut self.room)
                }
            };
            match whole {
                Ok(true) => {
                    self.latencies.push(link.since().elapsed());
                    self.awaiting -= 1;
                    self.free.push_back(key);
                }
                Ok(false) => {}
                Err(_) => self.bury(key),
            }
        }
        Ok(())
    }

    /// Takes a little of every answer again and again, until standard input closes.
    fn read_slowly(&mut self) -> io::Result<()> {
        let stdin = io::stdin();
        let mut closes = [PollFd::new(&stdin, PollFlags::IN)];
        while poll(&mut closes, Some(&timespec(SLOW_TICK)))? == 0 {
            for key in 0..self.links.len() {
                let Some(link) = &mut self.links[key] else {
                    continue;
                };
                if link.skim(&mut self.room).is_err() {
                    self.bury(key);
                }
            }
        }
        Ok(())
    }

    /// A connection broke.
    fn bury(&mut self, key: usize) {
        let link = self.links[key].take();
        self.failed += 1;
        self.alive -= 1;
        if link.is_some_and(|link| link.is_waiting()) {
            self.awaiting -= 1;
        }
    }

    fn print(&mut self) {
        let links = self.links.iter().flatten();
        let alive = links.filter(|link| link.lives()).count();
        self.latencies.sort_unstable();
        let at = |percent: usize| {
            let nth = self.latencies.len() * percent / 100;
            let latency = self.latencies.get(nth).copied().unwrap_or_default();
            latency.as_secs_f64() * 1e6
        };
        println!(
            "{{\"requests\": {}, \"failed\": {}, \"alive\": {}, \"p50_us\": {:.1}, \"p99_us\": {:.1}}}",
            self.latencies.len(),
            self.failed,
            alive,
            at(50),
            at(99),
        );
    }
}

/// Waits for a line on standard input; whether there was one, and not the end.
fn wait_for_line() -> io::Result<bool> {
    Ok(io::stdin().read_line(&mut String::new())? > 0)
}

fn timespec(time: Duration) -> Timespec {
    Timespec::try_from(time).expect("seconds are few")
}
