//! Questions about a configuration, answered without running it: nothing is bound and nothing resolved.

use std::path::Path;
use std::time::Instant;

use rondel::cli::{Origin, Question};
use rondel::config::Config;
use rondel::config::file::{self, Places, Unusable};
use rondel::inspect::explain::{Question as Asked, head, listener_for};
use rondel::inspect::{Check, check, diff, explain, plan, problems_json, unreadable_json};
use rustix::process::{Resource, getrlimit};

/// What to print, and what it means.
pub(crate) struct Answer {
    /// For standard output.
    pub(crate) text: String,
    /// Whether what was asked about can be used.
    pub(crate) is_good: bool,
}

/// Why there is no answer.
pub(crate) enum NoAnswer {
    /// What was asked cannot be, in one line.
    Usage(String),
    /// The file cannot be used.
    File(Unusable),
}

impl From<Unusable> for NoAnswer {
    fn from(error: Unusable) -> Self {
        Self::File(error)
    }
}

/// Answers a question; in JSON if it is for programs.
pub(crate) fn answer(origin: Origin, question: &Question, json: bool) -> Result<Answer, NoAnswer> {
    let (config, places) = match (read(origin), question) {
        (Err(error), Question::Check { .. }) if json => {
            let told = match error {
                Unusable::Problems(problems) => problems_json(&problems),
                Unusable::Io { .. } => unreadable_json(&error.to_string()),
            };
            return Ok(Answer {
                text: format!("{told:#}\n"),
                is_good: false,
            });
        }
        (read, _) => read?,
    };
    let mut is_good = true;
    let (text, value) = match question {
        Question::Check { strict } => {
            let check: Check = check(&config, places.as_ref(), descriptors());
            is_good = !strict || check.findings.is_empty();
            (check.to_string(), check.json())
        }
        Question::Explain {
            method,
            url,
            fields,
            from,
            listener,
            down,
        } => {
            let listener = listener_for(&config, listener.as_deref(), url)
                .map_err(|error| usage("--listener", &error))?;
            let head =
                head(method, url, fields).map_err(|error| NoAnswer::Usage(error.to_string()))?;
            let question = Asked {
                head: &head,
                listener,
                from: *from,
                down,
                now: now(),
            };
            let told = explain(&config, &question).map_err(|error| usage("--down", &error))?;
            (told.to_string(), told.json())
        }
        Question::Plan {
            pool,
            requests,
            down,
        } => {
            let told = plan(&config, pool.as_deref(), *requests, down, now()).map_err(|error| {
                usage(
                    if error.kind == "pool" {
                        "--pool"
                    } else {
                        "--down"
                    },
                    &error,
                )
            })?;
            (told.to_string(), told.json())
        }
        Question::Diff { new } => {
            let told = diff(&config, &load(new)?.0);
            (told.to_string(), told.json())
        }
    };
    let text = if json { format!("{value:#}\n") } else { text };
    Ok(Answer { text, is_good })
}

fn read(origin: Origin) -> Result<(Config, Option<Places>), Unusable> {
    match origin {
        Origin::Flags(config) => Ok((*config, None)),
        Origin::File(path) => load(&path),
    }
}

fn load(path: &Path) -> Result<(Config, Option<Places>), Unusable> {
    let read = file::load(path)?;
    Ok((read.config, Some(read.places)))
}

fn usage(flag: &str, error: &rondel::inspect::Unknown) -> NoAnswer {
    NoAnswer::Usage(format!("{flag} {error}"))
}

/// How many descriptors there may be: the event loop raises the limit as far as it may go.
fn descriptors() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile).maximum;
    limit.and_then(|count| usize::try_from(count).ok())
}

#[expect(
    clippy::disallowed_methods,
    reason = "no event loop runs here that could hand it down"
)]
fn now() -> Instant {
    Instant::now()
}
