//! What was configured, as validated plain data. It imports nothing of ours.
//!
//! Flags and files come to the same [`Config`]. Every limit and timer of the program has its name and its default here;
//! [`value`] reads single values from text.
//!
//! A request is taken by a [`Listener`], its facts choose the first [`Route`] that matches, that one's [`Action`] says what is done
//! with it: mostly it goes to a [`Pool`], whose [`Policy`] picks one of its backends.

pub mod file;
mod pool;
mod route;
pub mod value;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use self::value::Invalid;

pub use self::pool::{
    Backend, Hash, HashOn, POOL_OF_FLAGS, Policy, Pool, ProxyVersion, Sticky, WEIGHT_MAX,
    WhenAllDown,
};
pub use self::route::{
    Action, AmbiguousPaths, Condition, FieldEdits, FixedReply, HostPattern, Match, PathPattern,
    Piece, REPLY_BODY_BYTES_MAX, Redirect, Rewrite, Route, Share, Test,
};

/// Everything that was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients are accepted, in the order given; at least one.
    pub listeners: Vec<Listener>,
    /// What is done with which requests: the first that matches. Shared with the exchanges that they began.
    pub routes: Vec<Arc<Route>>,
    /// The pools, in the order given, their names unique. Shared with the exchanges that they serve.
    pub pools: Vec<Arc<Pool>>,
    /// How long things may take where no pool is concerned; pools have their own, inherited from these.
    pub timeouts: Timeouts,
    /// How much there may be of things in the whole program.
    pub limits: Limits,
    /// What is told to backends about the client.
    pub forwarding: Forwarding,
    /// What becomes of paths that programs read differently, where routes look at paths.
    pub ambiguous_paths: AmbiguousPaths,
    /// The socket for commands to the running program, if there is one.
    pub control: Option<PathBuf>,
}

/// An address where clients are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name; the address as it was typed, if it has none of its own.
    pub name: String,
    /// Where; port 0 lets the kernel choose.
    pub addr: SocketAddr,
    /// Networks whose connections begin with a PROXY protocol header, version 1 or 2. From others none is taken.
    pub accept_proxy: Vec<IpNet>,
}

/// How long things may take. All finite, none zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the start of a connection attempt to a backend to its success.
    pub connect: Duration,
    /// From the first byte of a request head to its last.
    pub head: Duration,
    /// From the end of a request, or an interim response, to the next response head.
    pub response: Duration,
    /// Between two bytes of a body, in either direction.
    pub body: Duration,
    /// Between two requests of a client, and from its connection to its first byte.
    pub client_idle: Duration,
    /// How long an upstream waits for reuse.
    pub upstream_idle: Duration,
    /// Between two bytes of a tunnel, in either direction.
    pub tunnel: Duration,
    /// How long a request is held while no backend is live.
    pub hold: Duration,
    /// How long a closing connection is read and discarded, so that the last reply is not lost to a reset.
    pub linger: Duration,
    /// From the signal to stop until what still runs is cut short.
    pub drain: Duration,
    /// From the hand-over to a new program until what still runs in the old one is cut short.
    pub hand_over: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            head: Duration::from_secs(10),
            response: Duration::from_secs(60),
            body: Duration::from_secs(60),
            client_idle: Duration::from_secs(60),
            upstream_idle: Duration::from_secs(30),
            tunnel: Duration::from_secs(3600),
            hold: Duration::from_secs(5),
            linger: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            hand_over: Duration::from_secs(3600),
        }
    }
}

/// How much there may be of things in the whole program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Clients connected at a time; beyond it the listeners wait. Made to fit the descriptors that there are.
    pub sessions_max: usize,
    /// Slowest that a client may send or take a body, in bytes per second, judged over 30 s; 0 is no limit.
    pub body_rate_min: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_max: 10_000,
            body_rate_min: 64,
        }
    }
}

impl Listener {
    /// A listener named after its address.
    #[must_use]
    pub fn at(addr: SocketAddr) -> Self {
        Self {
            name: addr.to_string(),
            addr,
            accept_proxy: Vec::new(),
        }
    }
}

impl Config {
    /// All requests that come in at `listen` to one pool, everything else as it is by default.
    #[must_use]
    pub fn simple(listen: &[SocketAddr], pool: Pool) -> Self {
        Self {
            listeners: listen.iter().copied().map(Listener::at).collect(),
            routes: vec![Arc::new(Route::all_to(0))],
            timeouts: pool.timeouts,
            pools: vec![Arc::new(pool)],
            limits: Limits::default(),
            forwarding: Forwarding::default(),
            ambiguous_paths: AmbiguousPaths::default(),
            control: None,
        }
    }
}

impl Config {
    /// A pool, to be changed.
    pub fn pool_mut(&mut self, pool: usize) -> &mut Pool {
        Arc::make_mut(&mut self.pools[pool])
    }

    /// Asks the system's resolver for the addresses of all backends that have none yet. Blocks.
    ///
    /// # Errors
    /// A name that has no address, with what the resolver said. What was resolved before it stays so.
    pub fn resolve(&mut self) -> Result<(), Unresolved> {
        for pool in &mut self.pools {
            if pool
                .backends
                .iter()
                .all(|backend| !backend.addrs.is_empty())
            {
                continue;
            }
            for backend in &mut Arc::make_mut(pool).backends {
                if backend.addrs.is_empty() {
                    backend.addrs = backend.server.resolve().map_err(|why| Unresolved {
                        server: backend.server.to_string(),
                        why,
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// A server's name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// The server, as it was typed.
    pub server: String,
    /// What the resolver said.
    pub why: Invalid,
}

/// What is told to backends about the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// Our name in `Via`, a token (RFC 9110 §7.6.3). A request that carries it already goes round in circles.
    pub name: String,
    /// Networks whose clients are believed what they say in `X-Forwarded-*`, `Forwarded` and `X-Real-IP`.
    pub trust: Vec<IpNet>,
    /// Whether a `Forwarded` field (RFC 7239) is written too.
    pub forwarded: bool,
}

impl Default for Forwarding {
    fn default() -> Self {
        Self {
            name: "rondel".to_owned(),
            trust: Vec::new(),
            forwarded: false,
        }
    }
}

impl Forwarding {
    /// Whether what a client at `addr` says of others is believed.
    #[must_use]
    pub fn trusts(&self, addr: IpAddr) -> bool {
        is_in(&self.trust, addr)
    }
}

/// Whether an address is in one of these networks.
#[must_use]
pub fn is_in(networks: &[IpNet], addr: IpAddr) -> bool {
    let addr = addr.to_canonical();
    networks.iter().any(|net| net.contains(&addr))
}
