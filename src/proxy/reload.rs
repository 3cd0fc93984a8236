//! What is configured, made ready to be served, and changed while all goes on.
//!
//! Making it ready ([`Setup::new`]) may take its time and happens elsewhere; to switch over ([`Proxy::reload`]) is one step
//! between two ticks. Whatever has begun keeps what it began with: exchanges and tunnels their pool's timers, their backend and
//! their route.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::{Config, Listener};
use crate::net::stream::Net;
use crate::route::Routes;

use super::Proxy;
use super::shared::Now;

/// A configuration, compiled. It can be made on any thread.
#[derive(Clone, Debug)]
pub struct Setup {
    pub(super) config: Arc<Config>,
    pub(super) routes: Arc<Routes>,
}

/// An address that is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The network's number for it, which is never used again for another.
    pub listener: usize,
    /// The address as bound.
    pub addr: SocketAddr,
}

/// The place of a listener that is closed: beyond all that are configured.
const NOWHERE: usize = usize::MAX;

/// A listener, as sessions know it. It stays known while any of its clients may be here: to the end.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// Its place in the configuration; beyond all of them once it is closed ([`is_closed`](Self::is_closed)).
    pub(crate) place: usize,
    pub(crate) addr: SocketAddr,
    pub(crate) configured: Listener,
}

impl Setup {
    /// Compiles a configuration whose backends have their addresses.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            routes: Arc::new(Routes::new(&config)),
            config: Arc::new(config),
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl Bound {
    /// Listeners whose numbers are their places.
    #[must_use]
    pub fn in_order(addrs: &[SocketAddr]) -> Vec<Self> {
        let numbered = addrs.iter().copied().enumerate();
        numbered
            .map(|(listener, addr)| Self { listener, addr })
            .collect()
    }
}

impl Door {
    fn new(place: usize, configured: &Listener, addr: SocketAddr) -> Self {
        Self {
            place,
            addr,
            configured: configured.clone(),
        }
    }

    /// Whether it is not configured any more: routes for it take nothing that its clients still ask for.
    pub(super) fn is_closed(&self) -> bool {
        self.place == NOWHERE
    }
}

/// Puts the listeners at the places of their numbers.
pub(super) fn set_doors(doors: &mut Vec<Option<Door>>, config: &Config, bound: &[Bound]) {
    assert!(
        bound.len() == config.listeners.len(),
        "each listener is bound"
    );
    for door in doors.iter_mut().flatten() {
        door.place = NOWHERE;
    }
    for (place, (configured, bound)) in config.listeners.iter().zip(bound).enumerate() {
        if doors.len() <= bound.listener {
            doors.resize(bound.listener + 1, None);
        }
        doors[bound.listener] = Some(Door::new(place, configured, bound.addr));
    }
}

impl<N: Net> Proxy<N> {
    /// Serves another configuration from now on. `bound` says of each of its listeners where it is; those that are not there
    /// any more are accepted from a last time and closed. Gives back what is not served any more: to take thousands of routes apart
    /// takes long, and can be done elsewhere.
    pub fn reload(&mut self, setup: Setup, bound: &[Bound], now: Now) -> Setup {
        self.shared.now = now;
        if self.is_draining() {
            return setup;
        }
        self.keep_listeners(bound);
        set_doors(&mut self.shared.doors, &setup.config, bound);
        self.accepting
            .readable
            .resize(self.shared.doors.len(), false);
        for bound in bound {
            // A new one may have clients by now, and to look is always safe.
            self.accepting.readable[bound.listener] = true;
        }
        for (_, session) in &mut self.sessions {
            session.forget_pool();
        }
        self.shared.configure(setup)
    }

    /// Closes the listeners that are not among these.
    fn keep_listeners(&mut self, bound: &[Bound]) {
        let closing = |listener: &usize| bound.iter().all(|kept| kept.listener != *listener);
        let gone: Vec<usize> = self
            .accepting
            .open
            .iter()
            .copied()
            .filter(closing)
            .collect();
        if gone.is_empty() {
            self.accepting.open = bound.iter().map(|bound| bound.listener).collect();
            return;
        }
        // Who has knocked already is let in, told of or not; who knocks elsewhere can wait.
        for &listener in &gone {
            self.accepting.readable[listener] = true;
        }
        self.accepting.paused_until = None;
        self.accepting.open.clone_from(&gone);
        self.accept(usize::MAX);
        for listener in gone {
            self.accepting.readable[listener] = false;
            self.shared.net.close_listener(listener);
        }
        self.accepting.open = bound.iter().map(|bound| bound.listener).collect();
    }
}
