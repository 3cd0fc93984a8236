//! The one loop: poll, hand events on as hints, tick. It alone reads the clocks and hears signals.
//!
//! [`kernel`] is the network of production: mio behind the traits of `net/stream.rs`; `diag` asks what mio cannot tell, `pipes`
//! moves bytes past us, `room` says how many clients there may be. `running` is what goes on in the loop. While it does,
//! [`reload`] brings another configuration and `listeners` those addresses that come and go with it, `control` takes commands,
//! [`upgrade`] lets a new program take over, which finds in [`inherit`] what it was given, and `systemd` tells the service manager.

mod control;
mod diag;
pub mod inherit;
pub mod kernel;
mod listeners;
mod pipes;
pub mod reload;
mod room;
mod running;
mod systemd;
pub mod upgrade;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use log::info;
use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals;

use crate::config::Config;
use crate::net::buffer::held_bytes_max;
use crate::net::stream::Readiness;
use crate::proxy::{Now, Proxy, Setup};

use self::control::{CONNECTIONS_MAX, Control};
use self::inherit::Inherited;
use self::kernel::Kernel;
use self::listeners::{Listeners, NotBound};
use self::reload::{Load, Reload};
use self::room::Room;
use self::running::{Running, Stage};
use self::systemd::Manager;
use self::upgrade::Upgrade;

/// Events taken from the kernel at once at most; the rest comes with the next poll. Of thousands of busy sockets those that
/// are looked at together are then still in the cache when they have their turns.
const EVENTS_PER_POLL_MAX: usize = 128;
// Clients, upstreams and listeners have their descriptors for tokens; these are for all else.
/// The token of the signals.
const SIGNALS: Token = Token(usize::MAX);
/// The token of another thread that has read a configuration.
const WAKER: Token = Token(usize::MAX - 1);
/// The token of a new program that is starting.
const NEW_PROGRAM: Token = Token(usize::MAX - 2);
/// The tokens of the control socket: first those of its connections, then its own.
const CONTROL_FIRST: Token = Token(usize::MAX - 3 - CONNECTIONS_MAX);

/// Everything that is needed to run, made ready: listeners bound, signals caught.
pub struct EventLoop {
    /// As it was configured, and as there is room for.
    config: Arc<Config>,
    fitting: Config,
    room: Room,
    load: Option<Load>,
    poll: Poll,
    signals: Signals,
    kernel: Kernel,
    listeners: Listeners,
    inherited: Inherited,
    upgrade: Upgrade,
    control: Option<Control>,
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
    /// Commands cannot be taken at the configured place.
    Control {
        /// The place.
        path: PathBuf,
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
            Self::Control { path, error } => {
                write!(f, "cannot take commands at {}: {error}", path.display())
            }
            Self::Os { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl EventLoop {
    /// Raises the descriptor limit, makes the session limit fit, and binds the listeners, those that were inherited excepted:
    /// they are taken from there.
    ///
    /// # Errors
    /// An address cannot be bound, or the system refuses something that every program needs. What was inherited and not
    /// taken is still there.
    pub fn new(config: Config, inherited: &mut Inherited) -> Result<Self, StartError> {
        let os = |what| move |error| StartError::Os { what, error };
        let room = Room::make();
        let mut fitting = config.clone();
        room.fit(&mut fitting);
        let poll = Poll::new().map_err(os("create the poll"))?;
        let mut signals =
            Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD])
                .map_err(os("catch signals"))?;
        let registry = poll.registry().try_clone().map_err(os("clone the poll"))?;
        registry
            .register(&mut signals, SIGNALS, Interest::READABLE)
            .map_err(os("watch signals"))?;
        let mut kernel = Kernel::new(registry, room.pipes);
        let listeners = Listeners::default()
            .change(&config.listeners, &mut inherited.sockets, &mut kernel)
            .map_err(|NotBound { addr, error }| StartError::Bind { addr, error })?;
        let control =
            match &config.control {
                None => None,
                Some(path) => Some(Control::make(path, inherited.takes_over()).map_err(
                    |error| StartError::Control {
                        path: path.clone(),
                        error,
                    },
                )?),
            };
        Ok(Self {
            config: Arc::new(config),
            fitting,
            room,
            load: None,
            poll,
            signals,
            kernel,
            listeners,
            inherited: std::mem::take(inherited),
            upgrade: Upgrade::new(),
            control,
        })
    }

    /// Where a configuration comes from when one is asked for. Without it there is nothing to reload.
    #[must_use]
    pub fn reloading_by(mut self, load: Load) -> Self {
        self.load = Some(load);
        self
    }

    /// The addresses as bound, in the order configured.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<SocketAddr> {
        let bound = self.listeners.bound();
        bound.iter().map(|bound| bound.addr).collect()
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// The poll itself fails.
    pub fn run(self) -> io::Result<Ending> {
        log_start(&self.fitting, &self.listen_addrs());
        let sessions = self.fitting.limits.sessions_max;
        let Self {
            mut poll,
            mut signals,
            mut inherited,
            ..
        } = self;
        let mut now = read_clocks();
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let bound = self.listeners.bound();
        let mut running = Running {
            proxy: Proxy::new(self.kernel, Setup::new(self.fitting), &bound, now),
            listeners: self.listeners,
            reload: Reload::new(self.load, self.config, self.room, waker),
            upgrade: self.upgrade,
            control: self.control,
            manager: Manager::new(now.instant),
            registry: poll.registry().try_clone()?,
            stage: Stage::Serving,
            reload_wanted: false,
        };
        inherited.close_rest();
        running.begin(&mut inherited);
        info!(
            "at most {sessions} clients at a time and {} MiB of buffers; rondel {} is ready",
            held_bytes_max(sessions) >> 20,
            env!("CARGO_PKG_VERSION")
        );
        let mut events = Events::with_capacity(EVENTS_PER_POLL_MAX);
        loop {
            match poll.poll(&mut events, running.wait(now.instant)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => now = read_clocks(),
            }
            let mut signalled = false;
            for event in &events {
                if event.token() == SIGNALS {
                    signalled = true;
                } else {
                    running.notify(event);
                }
            }
            if signalled {
                for signal in signals.pending() {
                    running.obey(signal, now);
                }
            }
            running.tick(now);
            if let Some(ending) = running.ending() {
                return Ok(ending);
            }
        }
    }
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

fn log_start(config: &Config, listen_addrs: &[SocketAddr]) {
    for addr in listen_addrs {
        info!("listening on {addr}");
    }
    for pool in &config.pools {
        for backend in &pool.backends {
            let (name, addrs) = (&backend.name, &backend.addrs);
            info!("pool {}: backend {name} at {addrs:?}", pool.name);
        }
    }
}
