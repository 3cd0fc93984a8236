//! Pools: which backends, and how one of them is picked.

use std::net::SocketAddr;

use super::Timeouts;
use super::value::Server;

/// Largest weight of a backend or a share.
pub const WEIGHT_MAX: u16 = 256;
/// The name of the pool that flags configure.
pub const POOL_OF_FLAGS: &str = "default";

/// A set of backends with one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its backends, in the order given; at least one, their names unique in the pool.
    pub backends: Vec<Backend>,
    /// How one is picked.
    pub policy: Policy,
    /// Whether a client stays with its backend by a cookie.
    pub sticky: Option<Sticky>,
    /// What becomes of requests when no backend is live.
    pub when_all_down: WhenAllDown,
    /// Whether each connection to a backend begins with a PROXY protocol header. It is then for one client only.
    pub send_proxy: Option<ProxyVersion>,
    /// How long things may take for requests that this pool serves.
    pub timeouts: Timeouts,
    /// How often a request may be tried again.
    pub retries: u8,
    /// Idle upstreams kept for each backend. By default as many as there may be clients: with fewer, thousands of busy clients
    /// make connections anew which others have just closed.
    pub idle_per_backend_max: usize,
    /// Failures in a row that take a backend out.
    pub failures_max: u32,
    /// Whether failures may take out even the last live backend.
    pub take_out_last: bool,
    /// Requests that wait at a time while no backend is live, where they are held.
    pub held_max: usize,
}

/// One configured server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name: what was typed as its address, if it has none of its own.
    pub name: String,
    /// Where it is, as it was typed.
    pub server: Server,
    /// Its addresses; none before they are [resolved](super::Config::resolve). They are one backend: the next is tried when one cannot
    /// be reached.
    pub addrs: Vec<SocketAddr>,
    /// Its share beside the others, 0 to [`WEIGHT_MAX`]; at 0 it gets no new clients.
    pub weight: u16,
    /// Whether it gets requests only while no other is live.
    pub backup: bool,
}

/// How a backend is picked. All but [`Policy::Hash`] take the weights as they are; equal weights are the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Each in turn, by smooth weighted round robin.
    #[default]
    RoundRobin,
    /// The one with the fewest running exchanges for its weight; among equals in turn.
    LeastConnections,
    /// Of two at random, by weight, the one with fewer running exchanges for its weight.
    RandomTwo,
    /// The same for the same key (rendezvous hashing), as long as it has not more than its share.
    Hash(Hash),
}

/// What a hash is of, and how far a backend may be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash {
    /// The key.
    pub on: HashOn,
    /// How many running exchanges a backend may have, in percent of its fair share; beyond it the next one for the key is
    /// taken. 100 to 1000; 0 is no bound.
    pub load_percent_max: u16,
}

/// What a hash is of. A request without it is picked for in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    Client,
    /// The value of the first field of this name.
    Field(String),
    /// The value of this cookie.
    Cookie(String),
    /// The path, as it came.
    Path,
}

/// A cookie that keeps a client at its backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// The cookie's name, a token.
    pub cookie: String,
    /// The key with which the backend's name is signed; without one it is only hashed.
    pub secret: Option<String>,
}

/// What becomes of requests when no backend is live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenAllDown {
    /// They are answered with a 503.
    #[default]
    Refuse,
    /// They are tried at those that are out, as if all were live.
    TryAll,
    /// They wait, so many and so long at most, until one is live again; then a 503.
    Hold,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl Pool {
    /// A pool with these backends and all defaults.
    #[must_use]
    pub fn new(name: &str, backends: Vec<Backend>) -> Self {
        Self {
            name: name.to_owned(),
            backends,
            policy: Policy::default(),
            sticky: None,
            when_all_down: WhenAllDown::default(),
            send_proxy: None,
            timeouts: Timeouts::default(),
            retries: 2,
            idle_per_backend_max: 10_000,
            failures_max: 3,
            take_out_last: false,
            held_max: 1000,
        }
    }
}

impl Backend {
    /// A server with these addresses, of weight 1.
    #[must_use]
    pub fn at(name: &str, server: Server, addrs: Vec<SocketAddr>) -> Self {
        Self {
            name: name.to_owned(),
            server,
            addrs,
            weight: 1,
            backup: false,
        }
    }
}
