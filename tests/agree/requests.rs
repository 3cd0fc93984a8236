//! Random requests: mostly good ones, some that nobody can make sense of.

use std::net::{IpAddr, SocketAddr};

use fastrand::Rng;
use rondel::balance::Balance;
use rondel::config::{Config, is_in};

use super::configs::WARMING;

/// The methods that requests have.
pub(crate) const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get"];
const HOSTS: &[&str] = &[
    "a.example.com",
    "x.a.example.com",
    "Example.COM:8080",
    "example.com.",
    "other.test",
    "[::1]:80",
    "192.0.2.1",
    "",
];
const PATHS: &[&str] = &[
    "/",
    "/v1",
    "/v1/",
    "/v1/x",
    "/v1x",
    "/v2/x",
    "/v1/a/b",
    "/static/app.js",
    "/static/deep/app.js",
    "/caf%C3%A9",
    "/caf%c3%a9/x",
    "/%7Euser",
    "/%76%31/x",
    "/~user",
];
/// Paths that programs read differently.
const AMBIGUOUS: &[&str] = &[
    "//v1",
    "/v2/../v1",
    "/a%2Fb",
    "/v1/%2e%2e/x",
    "/v1/./x",
    "/a%00",
];
const QUERIES: &[&str] = &[
    "",
    "",
    "?",
    "?a=b",
    "?a=1&a=b",
    "?debug",
    "?q=%62&debug=1",
    "?%61=b",
];
/// Fields that many requests have.
const FIELDS: &[&str] = &[
    "X-User: 1",
    "X-User: anna",
    "x-user:b",
    "X-Canary:  1 ",
    "Accept: */*",
    "Cookie: s=1",
    "Cookie: t=2; s=17",
    "Connection: close",
    "Connection: keep-alive, X-User",
    "X-Forwarded-For: 203.0.113.9",
    "X-Forwarded-For: 10.9.9.9, 203.0.113.9, 10.1.1.1",
    "X-Forwarded-Proto: https",
    "Forwarded: for=203.0.113.9;proto=https",
    "X-Real-IP: 203.0.113.8",
    "Via: 1.0 fred",
    "TE: trailers",
    "Date: Sun, 06 Nov 1994 08:49:37 GMT",
];
/// Fields that few requests have, and that some are refused for.
const RARE: &[&str] = &[
    "Via: 1.1 rondel",
    "Host: second.test",
    "Expect: the unexpected",
    "Content-Length: x",
    "Content-Length: 0",
    "Transfer-Encoding: gzip",
    "Max-Forwards: 0",
    "Max-Forwards: 7",
    "Connection: upgrade\r\nUpgrade: websocket",
    "Bad Name: 1",
    "X-Null: \0",
    "X-Folded: 1\r\n 2",
];

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The place of the listener that it comes in at.
    pub(crate) listener: usize,
    /// Who makes the connection.
    pub(crate) peer: SocketAddr,
    /// Who sends it: whoever makes the connection, or who that one says.
    pub(crate) from: SocketAddr,
    pub(crate) head: Vec<u8>,
    pub(crate) body: &'static [u8],
}

impl Asked {
    /// Whether it names a host once, and that is none.
    pub(crate) fn has_one_empty_host(&self) -> bool {
        let head = String::from_utf8_lossy(&self.head);
        let mut hosts = head.lines().filter_map(|line| line.strip_prefix("Host: "));
        hosts.next() == Some("") && hosts.next().is_none()
    }

    /// Whether a PROXY header comes before it.
    pub(crate) fn is_introduced(&self, config: &Config) -> bool {
        is_in(
            &config.listeners[self.listener].accept_proxy,
            self.peer.ip(),
        )
    }
}

/// One of these.
pub(crate) fn one<T: Clone>(of: &[T], rng: &mut Rng) -> T {
    of[rng.usize(..of.len())].clone()
}

/// Some of these, in their order: perhaps all, perhaps none.
pub(crate) fn some<T: Clone>(of: &[T], rng: &mut Rng) -> Vec<T> {
    let share = rng.u8(..=4);
    let picked = of.iter().filter(|_| rng.u8(..4) < share);
    picked.cloned().collect()
}

/// Any request to this configuration.
pub(crate) fn request(config: &Config, rng: &mut Rng) -> Asked {
    let doors = config.listeners.iter();
    let doors = doors.filter(|door| door.name != WARMING).count();
    let listener = rng.usize(..doors);
    let addr = |rng: &mut Rng| {
        let ips = [
            "192.0.2.7",
            "10.1.2.3",
            "203.0.113.5",
            "2001:db8::7",
            "2001:db9::7",
            "::ffff:10.1.2.3",
        ];
        let ip: IpAddr = one(&ips, rng).parse().expect("an address");
        SocketAddr::new(ip, rng.u16(1024..))
    };
    let peer = addr(rng);
    let introduced = is_in(&config.listeners[listener].accept_proxy, peer.ip());
    let (head, body) = message(config, rng);
    Asked {
        listener,
        peer,
        from: if introduced { addr(rng) } else { peer },
        head,
        body,
    }
}

fn message(config: &Config, rng: &mut Rng) -> (Vec<u8>, &'static [u8]) {
    let method = one(METHODS, rng);
    let path = one(if rng.u8(..8) == 0 { AMBIGUOUS } else { PATHS }, rng);
    let (host, query) = (one(HOSTS, rng), one(QUERIES, rng));
    let target = match rng.u8(..20) {
        0 => format!("http://{host}{path}{query}"),
        1 => format!("http://{host}"),
        2 => "*".to_owned(),
        3 => "no target".to_owned(),
        _ => format!("{path}{query}"),
    };
    let (version, modern) = match rng.u8(..8) {
        0 => ("1.0", false),
        _ => ("1.1", true),
    };
    let mut lines = vec![format!("{method} {target} HTTP/{version}")];
    if (modern && rng.u8(..40) != 0) || rng.bool() {
        lines.push(format!("Host: {host}"));
    }
    if rng.u8(..30) != 0 {
        lines.push(format!(
            "{}: {:032x}",
            one(&["X-Request-Id", "x-request-id"], rng),
            rng.u128(..)
        ));
    }
    let fields = if rng.bool() {
        some(FIELDS, rng)
    } else {
        Vec::new()
    };
    lines.extend(fields.into_iter().take(6).map(str::to_owned));
    if rng.u8(..12) == 0 {
        lines.push(one(RARE, rng).to_owned());
    }
    if rng.u8(..3) == 0 {
        lines.push(format!("Cookie: a=b; stick={}", token(config, rng)));
    }
    let body: &[u8] = match rng.u8(..8) {
        0 => b"some words",
        1 => b"5\r\nwords\r\n0\r\n\r\n",
        _ => b"",
    };
    match body.len() {
        0 => {}
        10 => lines.push("content-length:10".to_owned()),
        _ => lines.push("Transfer-Encoding: Chunked".to_owned()),
    }
    let mut text = lines.join("\r\n") + "\r\n\r\n";
    if rng.u8(..60) == 0 {
        text.truncate(rng.usize(..text.len()));
        return (text.into_bytes(), b"");
    }
    (text.into_bytes(), body)
}

/// What the sticky cookie of some backend says, or something else.
fn token(config: &Config, rng: &mut Rng) -> String {
    let mut balance = Balance::new(0);
    let applied = balance.apply(&config.pools);
    let ids = applied.pools.iter();
    let ids: Vec<_> = ids
        .flat_map(|&pool| balance.candidates(pool).map(|candidate| candidate.id))
        .collect();
    let token = balance.token(one(&ids, rng));
    match token {
        Some(token) => String::from_utf8_lossy(&token.digits()).into_owned(),
        None => "nobody".to_owned(),
    }
}
