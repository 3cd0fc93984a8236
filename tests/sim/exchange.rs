//! What is said: one request and the answer planned for it, both marked with the exchange's id, so that whoever gets
//! another's bytes knows.

use std::fmt::Write as _;
use std::time::Duration;

use super::content::{Salt, chunks, content, echo};
use super::faults::Fault;
use super::plan::Plan;
use super::rng::Rng;
use super::wrongs::{WRONGS, Wrong};

/// How a body is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// No body and no field about it.
    Bare,
    Length,
    Chunked,
    /// Responses only.
    UntilClose,
}

/// One request, and how it is to be answered.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) id: usize,
    pub(crate) method: &'static str,
    pub(crate) http10: bool,
    /// Whether the client wants to go on using its connection.
    pub(crate) keep: bool,
    pub(crate) coding: Coding,
    pub(crate) body_bytes: usize,
    /// `Expect: 100-continue`.
    pub(crate) expects: bool,
    /// A tunnel is asked for.
    pub(crate) upgrade: bool,
    /// In the tunnel the backend says its own at once and shuts its side, instead of echoing.
    pub(crate) swaps: bool,
    /// The target is in absolute-form.
    pub(crate) absolute: bool,
    /// Trailers are welcome (`TE: trailers`).
    pub(crate) trailers: bool,
    /// The client claims to speak for others.
    pub(crate) spoofs: bool,
    /// It must be refused.
    pub(crate) wrong: Option<&'static Wrong>,
    pub(crate) answer: Answer,
}

/// A planned response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) coding: Coding,
    pub(crate) body_bytes: usize,
    pub(crate) http10: bool,
    /// The backend closes after it.
    pub(crate) close: bool,
    pub(crate) interims: Vec<u16>,
    /// A 100 comes first if the request expects one.
    pub(crate) continues: bool,
    /// It comes as soon as the request's head is there.
    pub(crate) early: bool,
    /// After an early answer the backend does not wait for the rest of the request.
    pub(crate) abrupt: bool,
    pub(crate) think: Duration,
    /// Between two pieces of it.
    pub(crate) pause: Duration,
    /// Between two pieces of its body, long and still allowed.
    pub(crate) trickle: Option<Duration>,
}

impl Exchange {
    pub(crate) fn draw(id: usize, plan: &Plan, rng: &mut Rng) -> Self {
        let http10 = rng.chance(plan.http10);
        let method = rng.pick(&[
            "GET", "GET", "GET", "GET", "HEAD", "POST", "POST", "POST", "PUT", "DELETE", "OPTIONS",
        ]);
        let coding = match method {
            "POST" | "PUT" if !http10 && rng.chance(500) => Coding::Chunked,
            "POST" | "PUT" => Coding::Length,
            "GET" | "DELETE" if rng.chance(30) => Coding::Length,
            _ => Coding::Bare,
        };
        let body_bytes = if coding == Coding::Bare {
            0
        } else {
            plan.body_bytes(rng)
        };
        let upgrade =
            method == "GET" && coding == Coding::Bare && !http10 && rng.chance(plan.upgrades);
        let expects = body_bytes > 0 && !http10 && rng.chance(plan.expects);
        let mut answer = Answer::draw(plan, rng);
        answer.early = body_bytes > 0 && rng.chance(plan.early);
        if upgrade && rng.chance(700) {
            answer = Answer {
                status: 101,
                coding: Coding::Bare,
                body_bytes: 0,
                http10: false,
                close: false,
                ..answer
            };
        }
        let exchange = Self {
            id,
            method,
            http10,
            keep: rng.chance(if http10 { 500 } else { 900 }),
            coding,
            body_bytes,
            expects,
            upgrade,
            swaps: rng.chance(400),
            absolute: rng.chance(60),
            trailers: !http10 && rng.chance(200),
            spoofs: rng.chance(150),
            wrong: None,
            answer,
        };
        if plan.faults.strikes(Fault::Wrong, rng) {
            let fitting = |wrong: &&Wrong| !(plan.is_cramped() && wrong.is_long());
            let wrongs: Vec<&Wrong> = WRONGS.iter().filter(fitting).collect();
            exchange.made_wrong(rng.pick(&wrongs))
        } else {
            exchange
        }
    }

    /// The same, to be refused.
    fn made_wrong(self, wrong: &'static Wrong) -> Self {
        let status = if self.answer.status == 101 {
            200
        } else {
            self.answer.status
        };
        Self {
            method: wrong.method,
            http10: false,
            coding: if wrong.is_of_the_body() {
                Coding::Chunked
            } else {
                Coding::Bare
            },
            body_bytes: 0,
            expects: false,
            upgrade: false,
            absolute: false,
            wrong: Some(wrong),
            answer: Answer {
                status,
                early: false,
                ..self.answer
            },
            ..self
        }
    }

    /// Whether a backend may get it twice (RFC 9110 §9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        self.method != "POST"
    }

    pub(crate) fn tunnels(&self) -> bool {
        self.answer.status == 101
    }

    /// The target as a backend is to see it.
    pub(crate) fn target(&self) -> String {
        format!("/~{}/path?q={}&x=%2F", self.id, self.id)
    }

    pub(crate) fn host(&self) -> String {
        format!("h{}.test:80", self.id)
    }

    /// The head, as the client sends it.
    pub(crate) fn head(&self) -> Vec<u8> {
        let (host, version) = (self.host(), if self.http10 { "1.0" } else { "1.1" });
        let mut head = format!("{} ", self.method);
        if self.absolute {
            let _ = write!(head, "http://{host}");
        }
        let _ = write!(head, "{} HTTP/{version}\r\nHost: ", self.target());
        let _ = write!(
            head,
            "{}\r\n",
            if self.absolute { "other.test" } else { &host }
        );
        let mut options = Vec::new();
        // Where fields are named, trailers could be meant, and stay.
        if !self.trailers {
            options.push("X-Hop");
            head.push_str("X-Hop: gone\r\n");
        }
        match (self.http10, self.keep) {
            (true, true) => options.push("Keep-Alive"),
            (false, false) => options.push("close"),
            _ => {}
        }
        if self.upgrade {
            options.push("Upgrade");
            head.push_str("Upgrade: echo\r\n");
        }
        if self.trailers {
            options.push("TE");
            head.push_str("TE: trailers\r\n");
        }
        let _ = write!(
            head,
            "Connection: {}\r\nX-Mark: {}\r\n",
            options.join(", "),
            self.id
        );
        if self.spoofs {
            head.push_str(
                "X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n",
            );
            head.push_str("x-forwarded-host: evil.test\r\nX-Forwarded-Proto: https\r\n");
            let _ = write!(
                head,
                "X-Request-Id: own-{}\r\nVia: 1.1 elsewhere\r\n",
                self.id
            );
        }
        if self.expects {
            head.push_str("Expect: 100-continue\r\n");
        }
        match self.coding {
            Coding::Length => {
                let _ = write!(head, "Content-Length: {}\r\n", self.body_bytes);
            }
            Coding::Chunked if self.wrong.is_none() => {
                head.push_str("Transfer-Encoding: chunked\r\n")
            }
            Coding::Chunked | Coding::Bare | Coding::UntilClose => {}
        }
        head.push_str("\r\n");
        match self.wrong {
            Some(wrong) => wrong.head(self, &head),
            None => head.into_bytes(),
        }
    }

    /// The body's content.
    pub(crate) fn body(&self) -> Vec<u8> {
        content(self.id, Salt::Request, self.body_bytes)
    }

    /// The body as the client sends it.
    pub(crate) fn coded_body(&self, rng: &mut Rng) -> Vec<u8> {
        if let Some(wrong) = self.wrong {
            return wrong.body();
        }
        match self.coding {
            Coding::Chunked => chunks(&self.body(), true, self.id, rng),
            Coding::Bare | Coding::Length | Coding::UntilClose => self.body(),
        }
    }

    /// What the client sends into its tunnel.
    pub(crate) fn tunnel_bytes(&self) -> Vec<u8> {
        content(self.id, Salt::Tunnel, self.id * 7919 % 3000)
    }

    /// What the client gets out of its tunnel.
    pub(crate) fn tunnel_answer(&self) -> Vec<u8> {
        if self.swaps {
            content(self.id, Salt::Greeting, self.id * 6133 % 3000)
        } else {
            echo(&self.tunnel_bytes())
        }
    }

    /// The response's body as the client is to get it.
    pub(crate) fn answer_body(&self) -> Vec<u8> {
        if self.answer_has_body() {
            content(self.id, Salt::Response, self.answer.body_bytes)
        } else {
            Vec::new()
        }
    }

    /// The interim responses as the client is to get them.
    pub(crate) fn interims(&self) -> Vec<u16> {
        let planned = self.answer.interims.iter().copied();
        let asked_for = self.is_continued().then_some(100);
        if self.http10 {
            Vec::new()
        } else {
            asked_for.into_iter().chain(planned).collect()
        }
    }

    /// Whether the backend sends a 100 as soon as it has the head.
    pub(crate) fn is_continued(&self) -> bool {
        self.expects && self.answer.continues && !self.answer.early && !self.answer.http10
    }

    pub(crate) fn answer_has_body(&self) -> bool {
        self.method != "HEAD"
            && !matches!(self.answer.status, 101 | 204 | 304)
            && self.answer.coding != Coding::Bare
    }

    /// The response's head, as the backend sends it.
    pub(crate) fn answer_head(&self) -> Vec<u8> {
        let answer = &self.answer;
        let version = if answer.http10 { "1.0" } else { "1.1" };
        let mut head = format!(
            "HTTP/{version} {} Because\r\nX-Mark: {}\r\n",
            answer.status, self.id
        );
        let option = match (answer.http10, answer.close) {
            _ if answer.status == 101 => "Upgrade",
            (true, false) => "keep-alive",
            (false, true) => "close",
            _ => "",
        };
        // As in requests; a gap in the list says nothing.
        let named = if self.trailers { "" } else { "X-Back" };
        let _ = write!(head, "Connection: {named}, {option}\r\n");
        if !self.trailers {
            head.push_str("X-Back: gone\r\n");
        }
        if answer.status == 101 {
            head.push_str("Upgrade: echo\r\n");
        }
        match answer.coding {
            _ if matches!(answer.status, 101 | 204) => {}
            Coding::Length => {
                let _ = write!(head, "Content-Length: {}\r\n", answer.body_bytes);
            }
            Coding::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Coding::Bare if self.method != "HEAD" && answer.status != 304 => {
                head.push_str("Content-Length: 0\r\n")
            }
            Coding::Bare | Coding::UntilClose => {}
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// The response's body, as the backend sends it.
    pub(crate) fn answer_coded_body(&self, rng: &mut Rng) -> Vec<u8> {
        let body = self.answer_body();
        match self.answer.coding {
            Coding::Chunked if self.answer_has_body() => chunks(&body, true, self.id, rng),
            _ => body,
        }
    }
}

impl Answer {
    fn draw(plan: &Plan, rng: &mut Rng) -> Self {
        let http10 = rng.chance(100);
        let mut coding = rng.pick(&[
            Coding::Length,
            Coding::Length,
            Coding::Chunked,
            Coding::UntilClose,
            Coding::Bare,
        ]);
        if http10 && coding == Coding::Chunked {
            coding = Coding::Length;
        }
        let bytes = if coding == Coding::Bare {
            0
        } else {
            plan.body_bytes(rng)
        };
        let interims = if rng.chance(150) {
            rng.between(1, 3)
        } else {
            0
        };
        Self {
            status: rng.pick(&[
                200, 200, 200, 200, 201, 204, 206, 304, 404, 418, 500, 502, 503,
            ]),
            coding,
            body_bytes: bytes,
            http10,
            close: coding == Coding::UntilClose || rng.chance(100),
            interims: (0..if http10 { 0 } else { interims })
                .map(|_| rng.pick(&[102, 103, 103, 100]))
                .collect(),
            continues: rng.chance(700),
            early: false,
            // Where only the end of the connection tells the end, a reset behind it leaves it in doubt.
            abrupt: coding != Coding::UntilClose && rng.chance(500),
            think: rng.duration(Duration::ZERO, plan.think_max),
            pause: if rng.chance(100) {
                rng.duration(Duration::ZERO, plan.think_max)
            } else {
                Duration::ZERO
            },
            trickle: rng.chance(plan.trickles).then_some(plan.trickle_pause()),
        }
    }
}
