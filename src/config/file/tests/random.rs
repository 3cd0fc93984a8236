//! Random configurations, of all that a file can say.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{
    Action, AmbiguousPaths, Backend, Condition, Config, FieldEdits, FixedReply, Forwarding, Hash,
    HashOn, HostPattern, Limits, Listener, Match, PathPattern, Piece, Policy, Pool, ProxyVersion,
    Redirect, Rewrite, Route, Share, Sticky, Test, Timeouts, WhenAllDown,
};

/// A configuration, the same for the same seed.
pub(super) fn config(seed: u64) -> Config {
    Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1).config()
}

/// Numbers by xorshift.
struct Dice(u64);

impl Dice {
    /// A number below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn upto(&mut self, n: u16) -> u16 {
        u16::try_from(self.below(u64::from(n) + 1)).expect("it is below")
    }

    fn flips(&mut self) -> bool {
        self.below(2) == 0
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        let i = self.below(of.len() as u64);
        of[usize::try_from(i).expect("it is below")].clone()
    }

    fn some<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flips().then(|| make(self))
    }

    /// Up to three.
    fn few<T>(&mut self, mut make: impl FnMut(&mut Self, u64) -> T) -> Vec<T> {
        (0..self.below(4)).map(|i| make(self, i)).collect()
    }

    fn text(&mut self) -> String {
        self.one(&[
            "",
            "x",
            "a \"b\" \\ c",
            "é = 'ü' # {}",
            "\ttab",
            "[[x]]",
            "1",
        ])
        .to_owned()
    }

    fn value(&mut self) -> String {
        self.text().trim().to_owned()
    }

    fn span(&mut self) -> Duration {
        let ms = [1, 500, 3000, 5000, 60_000, 90_061_001, 365 * 24 * 3_600_000];
        Duration::from_millis(self.one(&ms))
    }

    fn nets(&mut self) -> Vec<ipnet::IpNet> {
        let nets = ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8", "0.0.0.0/0"];
        self.few(|dice, _| dice.one(&nets).parse().expect("a network"))
    }

    fn config(&mut self) -> Config {
        let listeners: Vec<Listener> = (0..=self.below(3)).map(|i| self.listener(i)).collect();
        let timeouts = self.timeouts();
        let held_max = 1000 + usize::from(self.upto(1));
        let pools: Vec<Arc<Pool>> = (0..=self.below(3))
            .map(|i| Arc::new(self.pool(i, &timeouts, held_max)))
            .collect();
        let mut routes: Vec<Arc<Route>> = (0..=self.below(4))
            .map(|i| Arc::new(self.route(i, &listeners, pools.len())))
            .collect();
        if pools.len() == 1 && self.flips() {
            routes = vec![Arc::new(Route::all_to(0))];
        }
        Config {
            listeners,
            routes,
            pools,
            timeouts,
            limits: Limits {
                sessions_max: 1 + usize::from(self.upto(20_000)),
                body_rate_min: self.below(1000),
            },
            forwarding: Forwarding {
                name: self.one(&["rondel", "edge-1", "|~"]).to_owned(),
                trust: self.nets(),
                forwarded: self.flips(),
            },
            ambiguous_paths: self.one(&[AmbiguousPaths::Reject, AmbiguousPaths::Allow]),
            control: self.some(|dice| PathBuf::from(format!("/{}", dice.text()))),
        }
    }

    fn listener(&mut self, i: u64) -> Listener {
        let port = 8000 + u16::try_from(i).expect("it is small");
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let name = self.some(|dice| format!("l{i}{}", dice.value().replace('\t', "")));
        Listener {
            name: name.unwrap_or_else(|| addr.to_string()),
            addr,
            accept_proxy: self.nets(),
        }
    }

    fn timeouts(&mut self) -> Timeouts {
        Timeouts {
            connect: self.span(),
            head: self.span(),
            response: self.span(),
            body: self.span(),
            client_idle: self.span(),
            upstream_idle: self.span(),
            tunnel: self.span(),
            hold: self.span(),
            linger: self.span(),
            drain: self.span(),
            hand_over: self.span(),
        }
    }

    fn pool(&mut self, i: u64, timeouts: &Timeouts, held_max: usize) -> Pool {
        let when_all_down =
            self.one(&[WhenAllDown::Refuse, WhenAllDown::TryAll, WhenAllDown::Hold]);
        let holds = when_all_down == WhenAllDown::Hold;
        let is_plain = self.flips();
        let backends = (0..=self.below(3))
            .map(|i| self.backend(i, is_plain))
            .collect();
        Pool {
            name: format!("p{i}{}", self.value().replace('\t', "")),
            backends,
            policy: self.policy(),
            sticky: self.some(|dice| Sticky {
                cookie: dice.one(&["rondel", "a.b"]).to_owned(),
                secret: dice.some(|dice| format!("s{}", dice.text())),
            }),
            when_all_down,
            send_proxy: self.some(|dice| dice.one(&[ProxyVersion::V1, ProxyVersion::V2])),
            timeouts: Timeouts {
                connect: self.span(),
                response: self.span(),
                body: self.span(),
                upstream_idle: self.span(),
                tunnel: self.span(),
                hold: if holds { self.span() } else { timeouts.hold },
                ..*timeouts
            },
            retries: self.one(&[0, 2, 10]),
            idle_per_backend_max: self.upto(u16::MAX).into(),
            failures_max: 1 + u32::from(self.upto(9)),
            take_out_last: self.flips(),
            held_max: if holds {
                self.upto(999).into()
            } else {
                held_max
            },
        }
    }

    fn backend(&mut self, i: u64, is_plain: bool) -> Backend {
        let typed = self.one(&[
            format!("10.0.0.{i}:80"),
            format!("[::{i}]:80"),
            format!("App{i}:80"),
        ]);
        let server: crate::config::value::Server = typed.parse().expect("a server");
        let addrs = server.addr().into_iter().collect();
        let mut backend = Backend::at(&typed, server, addrs);
        if !is_plain {
            backend.name = self.some(|_| format!("b{i}")).unwrap_or(typed);
            backend.weight = self.upto(256);
            backend.backup = self.flips();
        }
        backend
    }

    fn policy(&mut self) -> Policy {
        let on = [
            HashOn::Client,
            HashOn::Path,
            HashOn::Field("X-User".to_owned()),
            HashOn::Cookie("id".to_owned()),
        ];
        let hash = Hash {
            on: self.one(&on),
            load_percent_max: self.one(&[0, 100, 125, 1000]),
        };
        self.one(&[
            Policy::RoundRobin,
            Policy::LeastConnections,
            Policy::RandomTwo,
            Policy::Hash(hash),
        ])
    }

    fn route(&mut self, i: u64, listeners: &[Listener], pools: usize) -> Route {
        let action = self.action(pools);
        let goes_on = matches!(action, Action::Pools(_));
        let rewrites = [
            Rewrite::Path("/x".to_owned()),
            Rewrite::Prefix {
                from: "/a".to_owned(),
                to: String::new(),
            },
            Rewrite::Prefix {
                from: self.one(&["", "/a"]).to_owned(),
                to: "/b".to_owned(),
            },
        ];
        Route {
            name: self
                .some(|_| format!("r{i}"))
                .unwrap_or_else(|| format!("route {}", i + 1)),
            when: self.when(listeners),
            action,
            rewrite: self.some(|dice| dice.one(&rewrites)).filter(|_| goes_on),
            request_fields: if goes_on {
                self.edits()
            } else {
                FieldEdits::default()
            },
            response_fields: self.edits(),
        }
    }

    fn when(&mut self, listeners: &[Listener]) -> Match {
        let mut paths =
            self.few(|dice, _| PathPattern::Exact(dice.one(&["/", "/a%20b"]).to_owned()));
        paths.extend(self.few(|dice, _| PathPattern::Prefix(dice.one(&["/a/", "/b"]).to_owned())));
        paths.extend(
            self.few(|dice, _| PathPattern::Glob(dice.one(&["**.png", "/*/x"]).to_owned())),
        );
        Match {
            listeners: self.few(|dice, _| dice.one(listeners).name),
            hosts: self.few(|dice, _| {
                dice.one(&[
                    HostPattern::Exact("a.example".to_owned()),
                    HostPattern::Suffix(".example".to_owned()),
                ])
            }),
            paths,
            methods: self.few(|dice, _| dice.one(&["GET", "PURGE"]).to_owned()),
            fields: self.conditions(&["X-A", "!"]),
            query: self.conditions(&["a", "é \"x\""]),
        }
    }

    /// Those of one name side by side, as the file has them.
    fn conditions(&mut self, names: &[&str]) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for name in names {
            conditions.extend(self.few(|dice, _| {
                let tests = [
                    Test::Present,
                    Test::Absent,
                    Test::Is(dice.text()),
                    Test::Like(dice.text()),
                ];
                Condition {
                    name: (*name).to_owned(),
                    test: dice.one(&tests),
                }
            }));
        }
        conditions
    }

    fn action(&mut self, pools: usize) -> Action {
        let pieces = [
            Piece::Text("https://a".to_owned()),
            Piece::Host,
            Piece::Path,
            Piece::Query,
        ];
        let len = 1 + usize::from(self.upto(3));
        let mut shares: Vec<Share> = (0..pools)
            .map(|pool| Share {
                pool,
                weight: self.upto(256),
            })
            .collect();
        shares[0].weight = 1;
        shares.truncate(len);
        let status = self.one(&[301, 302, 308]);
        let reply = FixedReply {
            status: self.one(&[200, 404, 599]),
            content_type: self
                .one(&["text/html", "text/plain; charset=utf-8"])
                .to_owned(),
            body: self.text(),
        };
        self.one(&[
            Action::Pools(shares),
            Action::Redirect(Redirect {
                status,
                location: pieces[..len].to_vec(),
            }),
            Action::Reply(reply),
        ])
    }

    fn edits(&mut self) -> FieldEdits {
        let mut add = self.few(|dice, _| ("X-Add".to_owned(), dice.value().replace('\t', "")));
        add.extend(self.few(|dice, i| (format!("X-More-{i}"), dice.value().replace('\t', ""))));
        FieldEdits {
            remove: self.few(|_, i| format!("X-Remove-{i}")),
            set: self.few(|dice, i| (format!("X-Set-{i}"), dice.value().replace('\t', ""))),
            add,
        }
    }
}
