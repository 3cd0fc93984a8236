//! Random configurations and requests to them, few of whose words differ, so that they meet often.

use std::net::SocketAddr;
use std::sync::Arc;

use rondel::balance::Balance;
use rondel::config::{
    Action, Backend, Condition, Config, FieldEdits, FixedReply, Forwarding, Hash, HashOn,
    HostPattern, Listener, Match, PathPattern, Piece, Policy, Pool, Redirect, Rewrite, Route,
    Share, Sticky, Test, WhenAllDown,
};

const HOSTS: [&str; 4] = ["a.example", "b.example", "x.a.example", "example"];
const DOMAINS: [&str; 3] = [".example", ".a.example", ".x.a.example"];
const PATHS: [&str; 6] = ["/", "/v1", "/v1/", "/v1/x", "/v2", "/é"];
const GLOBS: [&str; 4] = ["/v*/x", "/**", "/v1/**", "/*"];
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
const VALUES: [&str; 4] = ["1", "12", "", "2"];

/// Numbers by xorshift, the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        dice.below(2);
        dice
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 33) % n as u64).unwrap()
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    /// Mostly none, sometimes one or two.
    fn few<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.below(6).saturating_sub(3);
        (0..count).map(|_| make(self)).collect()
    }

    pub(crate) fn config(&mut self) -> Config {
        let listeners = ["192.0.2.1:80", "192.0.2.1:81"];
        let listeners: Vec<Listener> = listeners[..=self.below(2)]
            .iter()
            .map(|addr| Listener::at(addr.parse().unwrap()))
            .collect();
        let pools: Vec<Arc<Pool>> = (0..3).map(|n| Arc::new(self.pool(n))).collect();
        let count = 1 + self.below(5);
        let routes = (0..count).map(|place| Arc::new(self.route(place, &listeners)));
        let routes = routes.collect();
        let addrs: Vec<SocketAddr> = listeners.iter().map(|listener| listener.addr).collect();
        let trust = if self.once_in(2) {
            vec!["192.0.2.0/24".parse().unwrap()]
        } else {
            Vec::new()
        };
        Config {
            listeners,
            routes,
            pools,
            forwarding: Forwarding {
                trust,
                forwarded: self.once_in(2),
                ..Forwarding::default()
            },
            ..Config::simple(&addrs, Pool::new("", Vec::new()))
        }
    }

    fn pool(&mut self, n: u8) -> Pool {
        let count = 1 + u8::try_from(self.below(4)).unwrap();
        let backend = |dice: &mut Self, place: u8| {
            let addr = SocketAddr::from(([10, 0, n, place], 80));
            Backend {
                weight: dice.one(&[0, 1, 1, 2, 5]),
                backup: dice.once_in(4),
                ..Backend::at(&format!("b{place}"), addr.into(), vec![addr])
            }
        };
        let backends = (0..count).map(|place| backend(self, place)).collect();
        let on = self.one(&[
            HashOn::Client,
            HashOn::Path,
            HashOn::Field("X-A".to_owned()),
            HashOn::Cookie("c".to_owned()),
        ]);
        let hash = Policy::Hash(Hash {
            on,
            load_percent_max: self.one(&[0, 125]),
        });
        Pool {
            policy: self.one(&[
                Policy::RoundRobin,
                Policy::LeastConnections,
                Policy::RandomTwo,
                hash.clone(),
                hash,
            ]),
            sticky: self.once_in(2).then(|| Sticky {
                cookie: "c".to_owned(),
                secret: None,
            }),
            when_all_down: self.one(&[WhenAllDown::Refuse, WhenAllDown::TryAll, WhenAllDown::Hold]),
            retries: self.one(&[0, 1, 2, 5]),
            failures_max: self.one(&[1, 3]),
            take_out_last: self.once_in(2),
            ..Pool::new(&format!("p{n}"), backends)
        }
    }

    fn route(&mut self, place: usize, listeners: &[Listener]) -> Route {
        let owned = str::to_owned;
        Route {
            name: if self.once_in(2) {
                format!("route {}", place + 1)
            } else {
                format!("r{place}")
            },
            when: Match {
                listeners: self.few(|dice| dice.one(listeners).name),
                hosts: self.few(|dice| match dice.once_in(2) {
                    true => HostPattern::Exact(owned(dice.one(&HOSTS))),
                    false => HostPattern::Suffix(owned(dice.one(&DOMAINS))),
                }),
                paths: self.few(|dice| match dice.below(3) {
                    0 => PathPattern::Exact(owned(dice.one(&PATHS))),
                    1 => PathPattern::Prefix(owned(dice.one(&PATHS))),
                    _ => PathPattern::Glob(owned(dice.one(&GLOBS))),
                }),
                methods: self.few(|dice| owned(dice.one(&METHODS))),
                fields: if self.once_in(3) {
                    self.few(|dice| dice.condition(&["X-A", "x-b"]))
                } else {
                    Vec::new()
                },
                query: if self.once_in(3) {
                    self.few(|dice| dice.condition(&["q", "r"]))
                } else {
                    Vec::new()
                },
            },
            action: self.action(),
            rewrite: match self.below(6) {
                0 => Some(Rewrite::Path(owned(self.one(&PATHS)))),
                1 => Some(Rewrite::Prefix {
                    from: owned(self.one(&["/v1", ""])),
                    to: owned(self.one(&["/new", ""])),
                }),
                _ => None,
            },
            request_fields: FieldEdits {
                remove: self.few(|dice| owned(dice.one(&["X-A", "Cookie"]))),
                set: self
                    .few(|dice| (owned(dice.one(&["X-A", "X-Env"])), owned(dice.one(&VALUES)))),
                add: self.few(|_| (owned("X-B"), owned("3"))),
            },
            response_fields: FieldEdits::default(),
        }
    }

    fn condition(&mut self, names: &[&str]) -> Condition {
        let value = self.one(&VALUES).to_owned();
        Condition {
            name: self.one(names).to_owned(),
            test: self.one(&[
                Test::Present,
                Test::Absent,
                Test::Is(value.clone()),
                Test::Like(format!("{value}*")),
            ]),
        }
    }

    fn action(&mut self) -> Action {
        match self.below(6) {
            0 => Action::Redirect(Redirect {
                status: self.one(&[301, 308]),
                location: self.one(&[
                    vec![
                        Piece::Text("https://".to_owned()),
                        Piece::Host,
                        Piece::Path,
                        Piece::Query,
                    ],
                    vec![Piece::Path, Piece::Query],
                ]),
            }),
            1 => Action::Reply(FixedReply {
                status: self.one(&[200, 204, 503]),
                content_type: "text/plain".to_owned(),
                body: "x".to_owned(),
            }),
            2 => Action::Pools(
                (0..3)
                    .map(|pool| Share {
                        pool,
                        weight: self.one(&[1, 2]),
                    })
                    .collect(),
            ),
            _ => Action::Pools(vec![Share {
                pool: self.below(3),
                weight: 1,
            }]),
        }
    }

    /// A request, mostly a good one.
    pub(crate) fn request(&mut self, config: &Config) -> Vec<u8> {
        let method = self.one(&["GET", "POST", "PUT", "HEAD", "get"]);
        let path = self.one(&[
            "/",
            "/v1",
            "/v1/",
            "/v1/x",
            "/v2",
            "/v2/x/y",
            "/%C3%A9",
            "/v1//x",
            "/v2/../v1",
            "*",
        ]);
        let (method, query) = if path == "*" {
            ("OPTIONS", "")
        } else {
            (
                method,
                self.one(&["", "", "?", "?q=1", "?q=12&r", "?r=2&q"]),
            )
        };
        let version = self.one(&["1.1", "1.1", "1.1", "1.0"]);
        let mut request = format!("{method} {path}{query} HTTP/{version}\r\n");
        if !self.once_in(20) {
            let host = self.one(&HOSTS);
            let host = if self.once_in(5) {
                host.to_uppercase()
            } else {
                host.to_owned()
            };
            request += &format!("Host: {host}{}\r\n", self.one(&["", "", ":80", "."]));
        }
        for name in ["X-A", "x-a", "X-B"] {
            if self.once_in(3) {
                request += &format!("{name}: {}\r\n", self.one(&VALUES));
            }
        }
        if self.once_in(3) {
            request += &format!("Cookie: x=y; c={}\r\n", self.cookie(config));
        }
        if self.once_in(4) {
            request += self.one(&[
                "X-Forwarded-For: 203.0.113.9\r\n",
                "X-Request-Id: mine\r\n",
                "Connection: close\r\n",
                "Via: 1.1 rondel\r\n",
            ]);
        }
        if !self.once_in(20) {
            request += "\r\n";
        }
        request.into_bytes()
    }

    /// The token of some backend, or what is none.
    fn cookie(&mut self, config: &Config) -> String {
        let mut balance = Balance::new(0);
        let pools = balance.apply(&config.pools).pools;
        let tokens: Vec<String> = pools
            .iter()
            .flat_map(|&pool| balance.candidates(pool))
            .filter_map(|candidate| balance.token(candidate.id))
            .map(|token| String::from_utf8(token.digits().to_vec()).unwrap())
            .collect();
        if tokens.is_empty() || self.once_in(4) {
            "z".to_owned()
        } else {
            self.one(&tokens)
        }
    }
}
