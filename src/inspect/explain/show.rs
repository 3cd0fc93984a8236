//! An explanation as text and as JSON.

use std::fmt;

use serde_json::{Map, Value, json};

use super::super::plan::Part;
use super::super::words;
use super::{Delivery, Explanation, Outcome};
use crate::config::WhenAllDown;
use crate::http::reply::phrase;
use crate::proxy::failure::Failure;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listener: {}", self.listener)?;
        if let Some(client) = self.client {
            writeln!(f, "client: {client}")?;
        }
        for (name, why) in &self.passed {
            writeln!(f, "not {name}: {why}")?;
        }
        if let Some((_, name)) = &self.route {
            writeln!(f, "{name} takes it")?;
        }
        match &self.outcome {
            Outcome::Unfinished => f.write_str("more of the head is waited for\n"),
            Outcome::Refused(reject) => {
                let (status, reason) = (reject.status(), reject.reason());
                writeln!(f, "refused: {status} {}: {reason}", phrase(status))
            }
            Outcome::NoRoute => {
                let (status, reason) = no_route();
                writeln!(
                    f,
                    "no route takes it: {status} {}: {reason}",
                    phrase(status)
                )
            }
            Outcome::Redirect { status, location } => {
                writeln!(f, "redirect: {status} to {location}")
            }
            Outcome::Reply {
                status,
                content_type,
                body,
            } => {
                writeln!(f, "reply: {status}, {} bytes of {content_type}", body.len())
            }
            Outcome::Pool(delivery) => delivery.fmt(f),
        }
    }
}

fn no_route() -> (u16, &'static str) {
    let consequence = Failure::NoRoute.consequence();
    (consequence.status.unwrap_or(404), consequence.reason)
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            action,
            policy,
            ..
        } = self;
        if *action == format!("pool {name}") {
            writeln!(f, "pool: {name}, {policy}")?;
        } else {
            writeln!(f, "pool: {name}, the first of the split {action}; {policy}")?;
        }
        if let Some(backend) = &self.sticky {
            writeln!(f, "the cookie stands for {backend}")?;
        }
        for part in &self.candidates {
            let backup = if part.backup { ", backup" } else { "" };
            let state = if part.live { "live" } else { "down" };
            writeln!(
                f,
                "backend {}: {state}, weight {}{backup}",
                part.backend, part.weight
            )?;
        }
        match self.tries.as_slice() {
            [] => writeln!(f, "pick: none; {}", self.without_pick())?,
            [pick] => writeln!(f, "pick: {pick}; nobody else if it cannot be reached")?,
            [pick, rest @ ..] => {
                writeln!(
                    f,
                    "pick: {pick}; if it cannot be reached, {}",
                    rest.join(", then ")
                )?;
            }
        }
        let timers: Vec<String> = self
            .timers
            .iter()
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        writeln!(f, "timers: {}", timers.join(", "))?;
        if self.response_edits != words::NONE {
            writeln!(f, "in the response: {}", self.response_edits)?;
        }
        f.write_str("head:\n")?;
        for line in String::from_utf8_lossy(&self.head).trim_end().lines() {
            writeln!(
                f,
                "    {}",
                line.escape_debug()
                    .to_string()
                    .replace("\\\"", "\"")
                    .replace("\\'", "'")
            )?;
        }
        Ok(())
    }
}

impl Delivery {
    fn without_pick(&self) -> String {
        let answer = |failure: Failure| {
            let refused = failure.consequence();
            format!("{} {}", refused.status.unwrap_or(503), refused.reason)
        };
        match self.when_all_down {
            WhenAllDown::Refuse | WhenAllDown::TryAll => answer(Failure::NoBackend),
            WhenAllDown::Hold => format!(
                "it is held for hold-timeout at most, then {}",
                answer(Failure::HoldTimeout)
            ),
        }
    }

    fn json(&self) -> Value {
        let candidates: Vec<Value> = self.candidates.iter().map(Part::json).collect();
        let timers: Map<String, Value> = self
            .timers
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect();
        json!({
            "pool": self.name,
            "policy": self.policy,
            "has-key": self.has_key,
            "sticky": self.sticky,
            "candidates": candidates,
            "pick": self.tries.first(),
            "tries": self.tries,
            "when-all-down": words::when_all_down(self.when_all_down),
            "head": String::from_utf8_lossy(&self.head),
            "timers": timers,
            "response-headers": self.response_edits,
        })
    }
}

impl Explanation {
    /// For programs: `outcome` is one of `unfinished`, `refused`, `no-route`, `redirect`, `reply` and `pool`.
    #[must_use]
    pub fn json(&self) -> Value {
        let passed: Vec<Value> = self
            .passed
            .iter()
            .map(|(name, why)| json!({ "route": name, "why": why.to_string() }))
            .collect();
        let mut told = json!({
            "listener": self.listener,
            "client": self.client.map(|client| client.to_string()),
            "passed": passed,
            "route": self.route.as_ref().map(|(_, name)| name),
        });
        let (outcome, more) = match &self.outcome {
            Outcome::Unfinished => ("unfinished", json!({})),
            Outcome::Refused(reject) => (
                "refused",
                json!({ "status": reject.status(), "reason": reject.reason() }),
            ),
            Outcome::NoRoute => {
                let (status, reason) = no_route();
                ("no-route", json!({ "status": status, "reason": reason }))
            }
            Outcome::Redirect { status, location } => (
                "redirect",
                json!({ "status": status, "location": location }),
            ),
            Outcome::Reply {
                status,
                content_type,
                body,
            } => (
                "reply",
                json!({ "status": status, "content-type": content_type, "body": body }),
            ),
            Outcome::Pool(delivery) => ("pool", delivery.json()),
        };
        told["outcome"] = json!(outcome);
        told[outcome] = more;
        told
    }
}
