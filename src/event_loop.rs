//! The one loop: poll, hand events on as hints, tick. It alone reads the clocks and hears signals.
//!
//! [`kernel`] is the network of production: mio behind the traits of `net/stream.rs`. `diag` asks what mio cannot tell.

mod diag;
pub mod kernel;
mod pipes;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Instant, SystemTime};

use log::{info, warn};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals;

use crate::config::{Config, Listener};
use crate::inspect::budget::{pipes_max, sessions_fitting};
use crate::net::buffer::held_bytes_max;
use crate::net::stream::Readiness;
use crate::proxy::{Bound, Now, Proxy, Setup};

use self::kernel::Kernel;

/// Events taken from the kernel at once at most; the rest comes with the next poll. Of thousands of busy sockets those that
/// are looked at together are then still in the cache when they have their turns.
const EVENTS_PER_POLL_MAX: usize = 128;
/// The token of the signals; sockets have their descriptor.
const SIGNALS: Token = Token(usize::MAX);

/// Everything that is needed to run, made ready: listeners bound, signals caught.
pub struct EventLoop {
    config: Config,
    poll: Poll,
    signals: Signals,
    kernel: Kernel,
    listen_addrs: Vec<SocketAddr>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything that had begun was finished.
    Drained,
    /// Some of it was cut short, by the drain timeout or a second signal.
    CutShort,
}

/// Why the loop cannot start.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The system refuses something else.
    Os {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind { addr, error } => write!(f, "cannot listen on {addr}: {error}"),
            Self::Os { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl EventLoop {
    /// Raises the descriptor limit, makes the session limit fit, and binds the listeners.
    ///
    /// # Errors
    /// An address cannot be bound, or the system refuses something that every program needs.
    pub fn new(mut config: Config) -> Result<Self, StartError> {
        let os = |what| move |error| StartError::Os { what, error };
        let descriptors = raise_descriptors();
        let pipes = pipes_max(descriptors);
        fit_sessions(&mut config, descriptors, pipes);
        let poll = Poll::new().map_err(os("create the poll"))?;
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2])
            .map_err(os("catch signals"))?;
        let registry = poll.registry().try_clone().map_err(os("clone the poll"))?;
        registry
            .register(&mut signals, SIGNALS, Interest::READABLE)
            .map_err(os("watch signals"))?;
        let mut kernel = Kernel::new(registry, pipes);
        let mut listen_addrs = Vec::new();
        for &Listener { addr, .. } in &config.listeners {
            let only_v6 = is_split(addr, &config.listeners);
            listen_addrs.push(
                kernel
                    .listen(addr, only_v6)
                    .map_err(|error| StartError::Bind { addr, error })?,
            );
        }
        Ok(Self {
            config,
            poll,
            signals,
            kernel,
            listen_addrs,
        })
    }

    /// The addresses as bound, in the order configured.
    #[must_use]
    pub fn listen_addrs(&self) -> &[SocketAddr] {
        &self.listen_addrs
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// The poll itself fails.
    pub fn run(self) -> io::Result<Ending> {
        let Self {
            config,
            mut poll,
            mut signals,
            kernel,
            listen_addrs,
        } = self;
        log_start(&config, &listen_addrs);
        let mut events = Events::with_capacity(EVENTS_PER_POLL_MAX);
        let mut now = read_clocks();
        let setup = Setup::new(config.clone());
        let mut proxy = Proxy::new(kernel, setup, &Bound::in_order(&listen_addrs), now);
        loop {
            match poll.poll(&mut events, proxy.wait(now.instant)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => now = read_clocks(),
            }
            let mut signalled = false;
            for event in &events {
                if event.token() == SIGNALS {
                    signalled = true;
                } else if let Some(owner) = proxy.net().owner(event.token()) {
                    proxy.notify(owner, readiness(event));
                }
            }
            if signalled {
                signals
                    .pending()
                    .for_each(|signal| obey(signal, &mut proxy, &config, now));
            }
            proxy.tick(now);
            if proxy.is_finished() {
                return Ok(log_end(&proxy));
            }
        }
    }
}

/// Whether IPv4 at this IPv6 address is for another listener.
fn is_split(addr: SocketAddr, listeners: &[Listener]) -> bool {
    addr.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        && listeners
            .iter()
            .any(|other| other.addr.is_ipv4() && other.addr.port() == addr.port())
}

/// The only reading of the clocks, once per tick.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the clocks are read"
)]
fn read_clocks() -> Now {
    Now {
        instant: Instant::now(),
        wall: SystemTime::now(),
    }
}

/// What an event says, as hints.
fn readiness(event: &Event) -> Readiness {
    let read_closed = event.is_read_closed();
    Readiness {
        readable: event.is_readable(),
        writable: event.is_writable(),
        read_closed,
        urgent: event.is_priority(),
        dead: event.is_error() || (read_closed && event.is_write_closed()),
    }
}

/// The first signal to stop drains, the second ends at once.
fn obey(signal: i32, proxy: &mut Proxy<Kernel>, config: &Config, now: Now) {
    match signal {
        SIGTERM | SIGINT if !proxy.is_draining() => {
            proxy.drain(now);
            let sessions = proxy.counts().sessions;
            info!(
                "stopping: {sessions} clients connected, at most {:?} left; signal again to end at once",
                config.timeouts.drain
            );
        }
        SIGTERM | SIGINT | SIGQUIT => {
            proxy.drain(now);
            proxy.cut_short();
        }
        _ => info!("signal {signal} ignored: there is nothing to reload or reopen"),
    }
}

fn log_start(config: &Config, listen_addrs: &[SocketAddr]) {
    for addr in listen_addrs {
        info!("listening on {addr}");
    }
    for backend in config.pools.iter().flat_map(|pool| &pool.backends) {
        info!("backend {} at {:?}", backend.name, backend.addrs);
    }
    let sessions = config.limits.sessions_max;
    info!(
        "at most {sessions} clients at a time and {} MiB of buffers; rondel {} is ready",
        held_bytes_max(sessions) >> 20,
        env!("CARGO_PKG_VERSION")
    );
}

fn log_end(proxy: &Proxy<Kernel>) -> Ending {
    match proxy.counts().cut_short {
        0 => {
            info!("stopped: everything was finished");
            Ending::Drained
        }
        count => {
            // At info: a client can bring it about.
            info!("stopped: {count} clients were cut short");
            Ending::CutShort
        }
    }
}

/// Raises the descriptor limit as far as it may go, and says how far.
fn raise_descriptors() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            warn!("the descriptor limit cannot be raised: {error}");
            limit = getrlimit(Resource::Nofile);
        }
    }
    let limit = limit.current.and_then(|count| usize::try_from(count).ok());
    limit.unwrap_or(usize::MAX)
}

/// Lowers the session limit to what so many descriptors allow beside so many pipes: a client and an upstream each.
fn fit_sessions(config: &mut Config, descriptors: usize, pipes: usize) {
    let fitting = sessions_fitting(descriptors, config.listeners.len(), pipes);
    if fitting < config.limits.sessions_max {
        info!(
            "{descriptors} descriptors allow {fitting} clients at a time, not {}",
            config.limits.sessions_max
        );
        config.limits.sessions_max = fitting;
    }
}
