//! What would become of one request: which route takes it and why none before, which backend gets it, and what that one would
//! see.
//!
//! Architecture invariant: the head is judged and rewritten by `http::forward`, the way chosen by `proxy::choose`, the backend
//! picked by `balance`, just as in the running proxy. Nothing is decided here.

mod ask;
mod show;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use super::plan::Part;
use super::start::{Start, Unknown};
use super::words::{self, Setting};
use crate::balance::{Asker, BackendId, Load, PoolId};
use crate::config::{Action, Config, WhenAllDown};
use crate::http::Reject;
use crate::http::forward::{self, Facts};
use crate::http::inquiry::Inquiry;
use crate::proxy::{Choice, Splits, choose};
use crate::route::{Mismatch, Routes};

pub use self::ask::{Unclear, head, listener_for};

/// The request id that is shown, where the running proxy makes a new one.
const ID: &[u8] = b"00000000000000000000000000000000";

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The head of the request, as a client sends it.
    pub head: &'a [u8],
    /// The listener that it comes in at, by its place.
    pub listener: usize,
    /// Who sends it.
    pub from: IpAddr,
    /// Backends that are out: `b2` in whatever pools it is, `api/b2` in this one.
    pub down: &'a [String],
    /// Now.
    pub now: Instant,
}

/// What would become of a request, right after the start. Displays as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The listener, by its name.
    pub listener: String,
    /// The client that routes, hashes and fields see: who sent it, or whom a trusted proxy names. `None` if it is refused before
    /// that is known.
    pub client: Option<IpAddr>,
    /// The routes before the one that takes it, by name, and why each does not.
    pub passed: Vec<(String, Mismatch)>,
    /// The route that takes it, by its place and name; `None` if none does.
    pub route: Option<(usize, String)>,
    /// What is done with it.
    pub outcome: Outcome,
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is no whole head: more would be waited for.
    Unfinished,
    /// It is refused.
    Refused(Reject),
    /// No route takes it: 404.
    NoRoute,
    /// The client is sent elsewhere.
    Redirect {
        /// The status.
        status: u16,
        /// Where to.
        location: String,
    },
    /// The route has the answer.
    Reply {
        /// The status.
        status: u16,
        /// The type of the body.
        content_type: String,
        /// The body.
        body: String,
    },
    /// It goes to a pool.
    Pool(Box<Delivery>),
}

/// How a request goes to a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The pool, by its place.
    pub pool: usize,
    /// The pool, by its name.
    pub name: String,
    /// What the route says where to, with all pools of a split.
    pub action: String,
    /// How it picks, in words.
    pub policy: String,
    /// Whether the request has what the policy hashes on.
    pub has_key: bool,
    /// The backend that the client's sticky cookie stands for, if it brings one that stands for any.
    pub sticky: Option<String>,
    /// The backends as they are, in the order configured. `picks` says how many of the tries each would get.
    pub candidates: Vec<Part>,
    /// The backends that would be tried one after another, as long as none can be reached. The first is the pick; empty if
    /// there is none.
    pub tries: Vec<String>,
    /// What becomes of the request if there is nobody to pick.
    pub when_all_down: WhenAllDown,
    /// The head as it would go out.
    pub head: Vec<u8>,
    /// The timers that there are for it.
    pub timers: Vec<Setting>,
    /// What is changed in the fields of the response.
    pub response_edits: String,
}

/// What would become of a request.
///
/// # Errors
/// A name in `down` that no backend has.
///
/// # Panics
/// If there is no listener at that place.
pub fn explain(config: &Config, question: &Question<'_>) -> Result<Explanation, Unknown> {
    let mut start = Start::new(config, question.down, question.now)?;
    let (routes, mut splits) = (Routes::new(config), Splits::new(config));
    let listener = &config.listeners[question.listener];
    let mut seen = Seen::default();
    let mut head = Vec::new();
    let facts = Facts {
        client: question.from.to_canonical(),
        local: || reached(listener.addr),
        trusts: |addr| config.forwarding.trusts(addr),
        name: &config.forwarding.name,
        forwarded: config.forwarding.forwarded,
        id: ID,
    };
    let judged = forward::request(
        question.head,
        &facts,
        |inquiry: &Inquiry<'_>| {
            seen.client = Some(inquiry.client);
            // Asked apart from the choice, since that ends at the first route that takes it.
            for place in 0..routes.len() {
                match routes.why_not(place, question.listener, inquiry) {
                    Some(why) => seen
                        .passed
                        .push((words::route(&routes.get(place).name, place), why)),
                    None => break,
                }
            }
            let choice = choose(config, &routes, &mut splits, question.listener, inquiry)?;
            let edits = choice.edits(&routes);
            seen.choice = Some(choice);
            Ok(edits)
        },
        &mut head,
        Vec::reserve,
    );
    let Seen {
        client,
        mut passed,
        choice,
    } = seen;
    if choice.is_none() {
        passed.clear();
    }
    let route = choice.as_ref().and_then(place);
    let outcome = match judged {
        Ok(None) => Outcome::Unfinished,
        Err(reject) => Outcome::Refused(reject),
        Ok(Some(_)) => {
            let choice = choice.expect("a head that goes on was chosen for");
            outcome(config, &mut start, &choice, head, question.now)
        }
    };
    Ok(Explanation {
        listener: listener.name.clone(),
        client,
        passed,
        route: route.map(|place| (place, words::route(&config.routes[place].name, place))),
        outcome,
    })
}

/// What is learned while the head is at hand.
#[derive(Default)]
struct Seen {
    client: Option<IpAddr>,
    passed: Vec<(String, Mismatch)>,
    choice: Option<Choice>,
}

/// The address that a client has reached, of those that a listener stands for: of all of them, that of this machine.
fn reached(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// The place of the route that was chosen.
fn place(choice: &Choice) -> Option<usize> {
    match *choice {
        Choice::NoRoute => None,
        Choice::Pool { route, .. } | Choice::Redirect { route, .. } | Choice::Reply { route } => {
            Some(route)
        }
    }
}

fn outcome(
    config: &Config,
    start: &mut Start,
    choice: &Choice,
    head: Vec<u8>,
    now: Instant,
) -> Outcome {
    let Some(route) = place(choice).map(|place| &config.routes[place]) else {
        return Outcome::NoRoute;
    };
    match (choice, &route.action) {
        (Choice::Redirect { location, .. }, Action::Redirect(redirect)) => Outcome::Redirect {
            status: redirect.status,
            location: String::from_utf8_lossy(location).into_owned(),
        },
        (Choice::Reply { .. }, Action::Reply(reply)) => Outcome::Reply {
            status: reply.status,
            content_type: reply.content_type.clone(),
            body: reply.body.clone(),
        },
        (Choice::Pool { pool, asker, .. }, _) => {
            let (configured, id) = (&config.pools[*pool], start.pools[*pool]);
            let mut candidates: Vec<Part> = start.balance.candidates(id).map(Part::of).collect();
            let tries = tries(start, id, asker, configured.retries, now);
            for part in &mut candidates {
                part.picks = tries.iter().filter(|name| **name == part.backend).count();
            }
            Outcome::Pool(Box::new(Delivery {
                pool: *pool,
                name: configured.name.clone(),
                action: words::action(&route.action, config),
                policy: words::policy(&configured.policy),
                has_key: asker.key.is_some(),
                sticky: sticky(start, id, asker),
                candidates,
                tries,
                when_all_down: configured.when_all_down,
                head,
                timers: words::pool_timers(&configured.timeouts).to_vec(),
                response_edits: words::edits(&route.response_fields),
            }))
        }
        (Choice::NoRoute | Choice::Redirect { .. } | Choice::Reply { .. }, _) => Outcome::NoRoute,
    }
}

/// The backend that the client's cookie stands for.
fn sticky(start: &Start, pool: PoolId, asker: &Asker) -> Option<String> {
    let token = asker.token?;
    let mut candidates = start.balance.candidates(pool);
    let found = candidates.find(|candidate| start.balance.token(candidate.id) == Some(token));
    found.map(|candidate| candidate.name.to_owned())
}

/// Who would be tried, if nobody can be reached: as many as `retries` allow. As in the proxy each failure counts, and each try
/// runs until the next is picked.
fn tries(start: &mut Start, pool: PoolId, asker: &Asker, retries: u8, now: Instant) -> Vec<String> {
    let balance = &mut start.balance;
    let mut tried: Vec<BackendId> = Vec::new();
    let mut load = Load::default();
    while tried.len() <= usize::from(retries) {
        let Some(pick) = balance.pick(pool, now, &tried, asker) else {
            break;
        };
        drop(std::mem::replace(&mut load, balance.begin(pick.id)));
        balance.failed(pick, now);
        tried.push(pick.id);
    }
    let name = |id: BackendId| balance.name(id).to_owned();
    tried.into_iter().map(name).collect()
}

#[cfg(test)]
mod tests;
