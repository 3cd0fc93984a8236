//! What was configured, as validated plain data. It imports nothing of ours.
//!
//! Every limit and timer of the program has its name and its default here; [`value`] reads single values from text.

pub mod value;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

/// Everything that was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients are accepted, in the order given; port 0 lets the kernel choose.
    pub listen: Vec<SocketAddr>,
    /// The backends that share the requests, in the order given; at least one.
    pub backends: Vec<Backend>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How much there may be of things.
    pub limits: Limits,
    /// What is told to backends about the client.
    pub forwarding: Forwarding,
}

/// One configured server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name in logs: what was typed.
    pub name: String,
    /// Its addresses, at least one. They are one backend: the next is tried when one cannot be reached.
    pub addrs: Vec<SocketAddr>,
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
    /// How long a closing connection is read and discarded, so that the last reply is not lost to a reset.
    pub linger: Duration,
    /// From the signal to stop until what still runs is cut short.
    pub drain: Duration,
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
            linger: Duration::from_secs(5),
            drain: Duration::from_secs(30),
        }
    }
}

/// How much there may be of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Clients connected at a time; beyond it the listeners wait. Made to fit the descriptors that there are.
    pub sessions_max: usize,
    /// Idle upstreams kept for each backend. By default as many as there may be clients: with fewer, thousands of busy clients
    /// make connections anew which others have just closed.
    pub idle_per_backend_max: usize,
    /// How often a request may be tried again.
    pub retries: u8,
    /// Slowest that a client may send or take a body, in bytes per second, judged over 30 s; 0 is no limit.
    pub body_rate_min: u64,
    /// Failures in a row that take a backend out.
    pub failures_max: u32,
    /// Whether failures may take out even the last live backend.
    pub take_out_last: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_max: 10_000,
            idle_per_backend_max: 10_000,
            retries: 2,
            body_rate_min: 64,
            failures_max: 3,
            take_out_last: false,
        }
    }
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
        let addr = addr.to_canonical();
        self.trust.iter().any(|net| net.contains(&addr))
    }
}
