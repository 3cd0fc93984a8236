//! What is foretold of a request, and what becomes of it.

use std::net::{IpAddr, SocketAddr};

use rondel::config::file::Element;
use rondel::config::{Config, Policy, Pool, ProxyVersion, WhenAllDown};
use rondel::http::Reject;
use rondel::inspect::explain::{Delivery, Outcome, Question, explain};
use rondel::inspect::plan::Part;
use rondel::inspect::{Lint, lint};
use rondel::net::proxy_header;
use rondel::proxy::Doing;
use rondel::proxy::failure::Failure;

use super::downs::{self, Down, is_down};
use super::requests::Asked;
use crate::fake::Fake;

/// What the proxy did with a request.
struct Done {
    /// Whom it turned to.
    connects: Vec<SocketAddr>,
    /// What it said to the last of them, if that one listens.
    sent: Vec<u8>,
    /// What it said to the client.
    reply: String,
    /// Its last phase.
    doing: Option<Doing>,
    failures: Vec<Failure>,
}

impl Done {
    fn status(&self) -> Option<u16> {
        self.reply.get(9..12)?.parse().ok()
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.reply.lines().take_while(|line| !line.is_empty());
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn body(&self) -> &str {
        let parts = self.reply.split_once("\r\n\r\n");
        parts.map_or("", |(_, body)| body)
    }
}

/// What there is to compare.
struct Case<'a> {
    config: &'a Config,
    asked: &'a Asked,
    down: &'a [Down],
    refusing: &'a [SocketAddr],
    done: Done,
}

/// Sends a request on its way, and looks whether it goes as foretold: what kinds of things were met, or the difference. The
/// backends that are down are out already; those that refuse are not.
pub(crate) fn compare(
    fake: &mut Fake,
    config: &Config,
    asked: &Asked,
    down: &[Down],
    refusing: &[SocketAddr],
) -> Result<Vec<&'static str>, String> {
    let names: Vec<String> = down.iter().map(|down| downs::name(config, down)).collect();
    let question = Question {
        head: &asked.head,
        listener: asked.listener,
        from: asked.from.ip(),
        down: &names,
        now: fake.now.instant,
    };
    let foretold = explain(config, &question).map_err(|unknown| unknown.to_string())?;
    let taken = foretold.route.as_ref().map(|(place, _)| *place);
    let hidden = lint(config, None).into_iter().find(|finding| {
        finding.lint == Lint::UnreachableRoute
            && taken.is_some_and(|place| finding.about == Element::Route(place))
    });
    if hidden.is_some() {
        return Err("a route takes it that is called unreachable".to_owned());
    }
    let done = send(fake, config, asked, refusing);
    let routes = config.routes.iter();
    let before: Vec<String> = routes
        .take(taken.unwrap_or(usize::MAX))
        .map(|route| route.name.clone())
        .collect();
    let passed: Vec<&str> = foretold.passed.iter().map(|(name, _)| bare(name)).collect();
    let judged = !matches!(foretold.outcome, Outcome::Refused(_) | Outcome::Unfinished);
    if judged {
        let before: Vec<&str> = before.iter().map(|name| bare(name)).collect();
        same("the routes passed", passed, before)?;
    }
    let case = Case {
        config,
        asked,
        down,
        refusing,
        done,
    };
    case.compare(&foretold.outcome)
}

/// A route's name without the noun, however often it stands there.
fn bare(name: &str) -> &str {
    name.trim_start_matches("route ")
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, foretold: T, done: T) -> Result<(), String> {
    if foretold == done {
        return Ok(());
    }
    Err(format!("{what}: foretold {foretold:?}, but {done:?}"))
}

/// The address that a client has reached, of those that a listener stands for.
fn local(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".parse(),
        IpAddr::V6(ip) if ip.is_unspecified() => "::1".parse(),
        ip => Ok(ip),
    };
    SocketAddr::new(ip.expect("an address"), listener.port())
}

fn send(fake: &mut Fake, config: &Config, asked: &Asked, refusing: &[SocketAddr]) -> Done {
    fake.refuse(refusing);
    let local = local(config.listeners[asked.listener].addr);
    let before = fake.proxy.failures().to_vec();
    let client = fake.call_at(asked.listener, asked.peer, local);
    let mut bytes = Vec::new();
    if asked.is_introduced(config) {
        proxy_header::write(ProxyVersion::V2, asked.from, local, &mut bytes);
    }
    bytes.extend_from_slice(&asked.head);
    bytes.extend_from_slice(asked.body);
    fake.say(client, &bytes);
    let upstream = Some(fake.newest()).filter(|newest| *newest != client);
    if let Some(upstream) = upstream {
        fake.hint(upstream, false, true);
    }
    let failures = fake.proxy.failures().iter();
    let failures = failures
        .filter(|met| !before.contains(met))
        .map(|(failure, _)| *failure)
        .collect();
    let reply = String::from_utf8_lossy(&fake.taken(client)).into_owned();
    let doing = fake.proxy.sessions().last().map(|session| session.doing);
    Done {
        connects: fake.connects(),
        sent: upstream.map(|id| fake.taken(id)).unwrap_or_default(),
        reply,
        doing,
        failures,
    }
}

impl Case<'_> {
    fn compare(&self, foretold: &Outcome) -> Result<Vec<&'static str>, String> {
        let done = &self.done;
        if !matches!(foretold, Outcome::Pool(_)) {
            same("connections", Vec::new(), done.connects.clone())?;
        }
        let kind = match foretold {
            Outcome::Unfinished => {
                same("the reply", "", &done.reply)?;
                same("the phase", Some(Doing::Request), done.doing)?;
                "unfinished"
            }
            Outcome::Refused(reject) => {
                same("the status", Some(reject.status()), done.status())?;
                same(
                    "failures",
                    &vec![Failure::Rejected(*reject)],
                    &done.failures,
                )?;
                match reject {
                    Reject::AmbiguousPath => "ambiguous path",
                    Reject::BadHost if self.asked.has_one_empty_host() => "no host to be sent to",
                    _ => "refused",
                }
            }
            Outcome::NoRoute => {
                same("the status", Some(404), done.status())?;
                same("failures", &vec![Failure::NoRoute], &done.failures)?;
                "no route"
            }
            Outcome::Redirect { status, location } => {
                same("the status", Some(*status), done.status())?;
                same("the location", Some(&**location), done.field("Location"))?;
                "redirect"
            }
            Outcome::Reply {
                status,
                content_type,
                body,
            } => {
                same("the status", Some(*status), done.status())?;
                // Without content there is no type of it either.
                let bodiless = *status == 204 || self.asked.head.starts_with(b"HEAD ");
                let has_type = *status != 204 && !body.is_empty();
                let content_type = has_type.then_some(&**content_type);
                same("the type", content_type, done.field("Content-Type"))?;
                same("the body", if bodiless { "" } else { body }, done.body())?;
                "reply"
            }
            Outcome::Pool(delivery) => return self.compare_delivery(delivery),
        };
        Ok(vec![kind])
    }

    fn compare_delivery(&self, delivery: &Delivery) -> Result<Vec<&'static str>, String> {
        let pool = &self.config.pools[delivery.pool];
        let live: Vec<bool> = delivery.candidates.iter().map(|part| part.live).collect();
        let up = |nth| !is_down(self.down, delivery.pool, nth);
        same(
            "who is live",
            live,
            (0..pool.backends.len()).map(up).collect(),
        )?;
        if delivery.tries.is_empty() {
            return self.compare_nobody(delivery, pool);
        }
        let tried = self.tried(pool)?;
        if self.is_certain(delivery, pool) {
            let foretold = self.until_one_listens(&delivery.tries, pool);
            same("the tries", foretold, tried.clone())?;
        } else {
            let mut tries = tried.iter().enumerate();
            let stranger = tries.find(|&(at, name)| !may_get(delivery, name, &tried[..at]));
            same("who gets it and must not", None, stranger)?;
        }
        let last = self.done.connects.last();
        if last.is_some_and(|addr| !self.refusing.contains(addr)) {
            return self.compare_sent(delivery, pool, tried.len());
        }
        if self.done.doing == Some(Doing::Hold) {
            same("what is done", WhenAllDown::Hold, delivery.when_all_down)?;
            return Ok(vec!["held"]);
        }
        let status = Failure::ConnectRefused.consequence().status;
        same("the status", status, self.done.status())?;
        Ok(vec!["nobody answers"])
    }

    fn compare_nobody(
        &self,
        delivery: &Delivery,
        pool: &Pool,
    ) -> Result<Vec<&'static str>, String> {
        same("connections", &Vec::new(), &self.done.connects)?;
        same("what is done", pool.when_all_down, delivery.when_all_down)?;
        if pool.when_all_down == WhenAllDown::Hold {
            same("the phase", Some(Doing::Hold), self.done.doing)?;
            return Ok(vec!["held"]);
        }
        same("the status", Some(503), self.done.status())?;
        same("failures", &vec![Failure::NoBackend], &self.done.failures)?;
        Ok(vec!["nobody to pick"])
    }

    fn compare_sent(
        &self,
        delivery: &Delivery,
        pool: &Pool,
        tries: usize,
    ) -> Result<Vec<&'static str>, String> {
        let mut foretold = Vec::new();
        if let Some(version) = pool.send_proxy {
            let local = local(self.config.listeners[self.asked.listener].addr);
            proxy_header::write(version, self.asked.from, local, &mut foretold);
        }
        foretold.extend_from_slice(&delivery.head);
        foretold.extend_from_slice(self.asked.body);
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let sent = without_new_id(&self.asked.head, &foretold, &self.done.sent);
        same("the head", text(&foretold), text(&sent))?;
        let mut kinds = vec!["sent"];
        let mut note = |met, kind| {
            if met {
                kinds.push(kind);
            }
        };
        note(delivery.sticky.is_some(), "sent by cookie");
        note(delivery.has_key, "sent by key");
        note(tries > 1, "sent after a refusal");
        note(pool.send_proxy.is_some(), "sent with a PROXY header");
        note(!self.down.is_empty(), "sent where some are down");
        Ok(kinds)
    }

    /// The backends that were tried, each with all its addresses that refuse, in their order.
    fn tried(&self, pool: &Pool) -> Result<Vec<String>, String> {
        let mut tried = Vec::new();
        let mut connects = self.done.connects.iter();
        while let Some(first) = connects.next() {
            let found = pool
                .backends
                .iter()
                .find(|backend| backend.addrs.first() == Some(first));
            let backend = found.ok_or(format!("{first} is the first of no backend"))?;
            tried.push(backend.name.clone());
            let mut reached = first;
            for addr in &backend.addrs[1..] {
                if self.refusing.contains(reached) {
                    same("the next address", Some(addr), connects.next())?;
                    reached = addr;
                }
            }
        }
        Ok(tried)
    }

    /// Whether what is foretold of the pick is all that can happen. What is drawn at random is drawn anew by each process, and
    /// whose turn it is has moved on where requests have found out who is down.
    fn is_certain(&self, delivery: &Delivery, pool: &Pool) -> bool {
        let by_key = matches!(pool.policy, Policy::Hash(_)) && delivery.has_key;
        let by_turn = pool.policy != Policy::RandomTwo && self.down.is_empty();
        by_key || by_turn
    }

    fn until_one_listens(&self, tries: &[String], pool: &Pool) -> Vec<String> {
        let refuses = |name: &String| {
            let mut backends = pool.backends.iter();
            let backend = backends.find(|backend| backend.name == *name);
            backend.is_some_and(|backend| {
                let mut addrs = backend.addrs.iter();
                addrs.all(|addr| self.refusing.contains(addr))
            })
        };
        let refused = tries.iter().take_while(|name| refuses(name)).count();
        tries.iter().take(refused + 1).cloned().collect()
    }
}

/// Whether a backend may get the request at all, after these refused. With backends down, one refusal takes a backend out.
fn may_get(delivery: &Delivery, name: &str, refused: &[String]) -> bool {
    let is_left = |part: &&Part| part.live && part.weight > 0 && !refused.contains(&part.backend);
    let left: Vec<&Part> = delivery.candidates.iter().filter(is_left).collect();
    let found = delivery.candidates.iter().find(|part| part.backend == name);
    found.is_some_and(|part| {
        let by_cookie = delivery.sticky.as_deref() == Some(name);
        let is_needed = !part.backup || left.iter().all(|other| other.backup);
        let as_if_live = delivery.when_all_down == WhenAllDown::TryAll && left.is_empty();
        let in_turn = part.weight > 0 && (as_if_live || (part.live && is_needed));
        !refused.contains(&part.backend) && (by_cookie || in_turn)
    })
}

/// What was sent, the id that was made for it replaced by the one that is foretold.
fn without_new_id(asked: &[u8], foretold: &[u8], sent: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"X-Request-Id: ";
    let has_id = asked.to_ascii_lowercase();
    let find = |bytes: &[u8]| bytes.windows(NAME.len()).position(|name| name == NAME);
    let mut sent = sent.to_vec();
    if has_id.windows(13).any(|name| name == b"x-request-id:") {
        return sent;
    }
    if let (Some(from), Some(to)) = (find(foretold), find(&sent)) {
        let (from, to) = (from + NAME.len(), to + NAME.len());
        if let (Some(id), Some(room)) = (foretold.get(from..from + 32), sent.get_mut(to..to + 32)) {
            room.copy_from_slice(id);
        }
    }
    sent
}
