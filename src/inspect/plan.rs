//! In which order a pool picks its backends: the picks of the balancer itself, for requests that come one after another.

use std::fmt;
use std::time::Instant;

use serde_json::{Value, json};

use super::start::{Start, Unknown, pool_place};
use super::words;
use crate::balance::{Asker, Candidate};
use crate::config::{Config, Policy};

/// The picks of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The pool.
    pub pool: String,
    /// How it picks, in words.
    pub policy: String,
    /// What must be known to read the picks, if anything must.
    pub note: Option<&'static str>,
    /// The backend of each request in turn; `None` where none can be picked.
    pub picks: Vec<Option<String>>,
    /// All backends as they are at first, in the order configured, and how many of the requests they get.
    pub shares: Vec<Part>,
}

/// What one backend gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The backend.
    pub backend: String,
    /// Its weight.
    pub weight: u16,
    /// Whether it is a backup.
    pub backup: bool,
    /// Whether it is live.
    pub live: bool,
    /// How many of the requests it gets.
    pub picks: usize,
}

/// The picks for so many requests, each over before the next comes, where the backends `down` are out. `pool` may be left out
/// where there is one.
///
/// # Errors
/// A name that no pool or no backend has.
pub fn plan(
    config: &Config,
    pool: Option<&str>,
    requests: usize,
    down: &[String],
    now: Instant,
) -> Result<Plan, Unknown> {
    let place = pool_place(config, pool)?;
    let Start { mut balance, pools } = Start::new(config, down, now)?;
    let id = pools[place];
    let mut shares: Vec<Part> = balance.candidates(id).map(Part::of).collect();
    let mut picks = Vec::new();
    for _ in 0..requests {
        let pick = balance.pick(id, now, &[], &Asker::default());
        let name = pick.map(|pick| balance.name(pick.id).to_owned());
        if let Some(part) = shares
            .iter_mut()
            .find(|part| Some(&part.backend) == name.as_ref())
        {
            part.picks += 1;
        }
        picks.push(name);
    }
    let policy = &config.pools[place].policy;
    Ok(Plan {
        pool: config.pools[place].name.clone(),
        policy: words::policy(policy),
        note: note(policy),
        picks,
        shares,
    })
}

fn note(policy: &Policy) -> Option<&'static str> {
    match policy {
        Policy::RoundRobin => None,
        Policy::LeastConnections => {
            Some("each request is over before the next comes, so that all are equal")
        }
        Policy::RandomTwo => Some("drawn at random: one possible order of many"),
        Policy::Hash(_) => Some(
            "for requests without a key, which go in turn; rondel explain tells of one that has it",
        ),
    }
}

impl Part {
    pub(super) fn of(candidate: Candidate<'_>) -> Self {
        Self {
            backend: candidate.name.to_owned(),
            weight: candidate.weight,
            backup: candidate.backup,
            live: candidate.health.trial_at().is_none(),
            picks: 0,
        }
    }

    /// For programs, as it is before any request.
    pub(super) fn json(&self) -> Value {
        json!({
            "backend": self.backend,
            "weight": self.weight,
            "backup": self.backup,
            "live": self.live,
        })
    }
}

impl Plan {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let shares = self.shares.iter().map(|part| {
            let mut share = part.json();
            share["picks"] = json!(part.picks);
            share
        });
        let shares: Vec<Value> = shares.collect();
        json!({
            "pool": self.pool,
            "policy": self.policy,
            "note": self.note,
            "picks": self.picks,
            "shares": shares,
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pool {}, {}", self.pool, self.policy)?;
        if let Some(note) = self.note {
            writeln!(f, "{note}")?;
        }
        for (n, pick) in self.picks.iter().enumerate() {
            writeln!(
                f,
                "{:4} {}",
                n + 1,
                pick.as_deref().unwrap_or("none: no backend is live")
            )?;
        }
        for part in &self.shares {
            let Part {
                backend,
                weight,
                picks,
                ..
            } = part;
            let backup = if part.backup { ", backup" } else { "" };
            let live = if part.live { "" } else { ", down" };
            writeln!(
                f,
                "{backend}: {picks} of {} (weight {weight}{backup}{live})",
                self.picks.len()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::{instant, plain, pool};

    /// The picks of a pool `api` of `a` with weight 2, `b`, `c` and a backup `d`.
    fn check(down: &str, expected: &str) -> Plan {
        let mut config = plain();
        *config.pool_mut(0) = pool("api", "a b c d");
        config.pool_mut(0).backends[0].weight = 2;
        config.pool_mut(0).backends[3].backup = true;
        let down: Vec<String> = down.split_whitespace().map(str::to_owned).collect();
        let plan = plan(&config, None, 8, &down, instant()).unwrap();
        let picks: Vec<_> = plan
            .picks
            .iter()
            .map(|pick| pick.as_deref().unwrap_or("-"))
            .collect();
        assert_eq!(picks.join(" "), expected);
        plan
    }

    #[test]
    fn picks_come_in_the_order_of_the_balancer() {
        let whole = check("", "a b c a a b c a");
        let shares: Vec<_> = whole.shares.iter().map(|part| part.picks).collect();
        assert_eq!(shares, [4, 2, 2, 0]);
        check("a", "b c b c b c b c");
        check("a api/b c", "d d d d d d d d");
        check("a b c d", "- - - - - - - -");
    }

    #[test]
    fn a_plan_shows_as_text_and_json() {
        let plan = check("b", "a c a a c a a c");
        let text = plan.to_string();
        assert!(
            text.starts_with("pool api, round-robin\n   1 a\n   2 c\n"),
            "{text}"
        );
        assert!(text.ends_with(
            "a: 5 of 8 (weight 2)\nb: 0 of 8 (weight 1, down)\nc: 3 of 8 (weight 1)\nd: 0 of 8 (weight 1, backup)\n"
        ), "{text}");
        assert_eq!(plan.json()["shares"][1]["live"], json!(false));
        assert_eq!(plan.json()["picks"][1], json!("c"));
    }

    #[test]
    fn names_that_nobody_has_are_told_with_those_that_there_are() {
        let told = |pool, down: &str| {
            let error = plan(&plain(), pool, 1, &[down.to_owned()], instant()).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            told(None, "b9"),
            "\"b9\": no such backend; expected one of b1, b2"
        );
        assert_eq!(
            told(Some("x"), "b1"),
            "\"x\": no such pool; expected default"
        );
        let mut two = plain();
        two.pools.push(pool("other", "b1 x").into());
        let told = |pool: Option<&str>, down: &[String]| {
            let error = plan(&two, pool, 1, down, instant()).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            told(None, &[]),
            "is missing: expected one of default, other"
        );
        assert_eq!(
            told(Some("other"), &["b9".to_owned()]),
            "\"b9\": no such backend; expected one of b1, b2, x"
        );
    }
}
