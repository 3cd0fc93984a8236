//! Why a route does not take a request, in words and for programs.

use std::fmt::{self, Display, Formatter};

use super::test::{Asked, Unmet};
use crate::config::{Condition, HostPattern, PathPattern, Route, Test};

/// The first condition of a route that does not hold. As a sentence: `host "a.example" is not "b.example"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What the condition is on: `listener`, `host`, `path`, `method`, `field` or `query`.
    pub on: &'static str,
    /// The name of the field or parameter; empty for all others.
    pub name: String,
    /// What the request has: one value, for fields and parameters as many as there are.
    pub found: Vec<String>,
    /// What would hold: one of these. `/api/…` is what is below `/api`, and itself.
    pub expected: Vec<String>,
    /// How the two are compared.
    verb: Verb,
}

/// How what is found and what is expected are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Is,
    Fits,
    Present,
    Absent,
}

impl Mismatch {
    pub(super) fn new(unmet: Unmet<'_>, route: &Route, listener: &str, asked: &Asked<'_>) -> Self {
        let when = &route.when;
        match unmet {
            Unmet::Listener => Self::plain("listener", listener, when.listeners.clone()),
            Unmet::Host => {
                let hosts = when.hosts.iter().map(|host| match host {
                    HostPattern::Exact(name) => name.clone(),
                    HostPattern::Suffix(domain) => format!("*{domain}"),
                });
                Self::plain("host", &text(asked.host()), hosts.collect())
            }
            Unmet::Path => {
                let paths = when.paths.iter().map(|path| match path {
                    PathPattern::Exact(text) | PathPattern::Glob(text) => text.clone(),
                    PathPattern::Prefix(text) if text.ends_with('/') => format!("{text}…"),
                    PathPattern::Prefix(text) => format!("{text}/…"),
                });
                Self::plain("path", &text(asked.path()), paths.collect())
            }
            Unmet::Method => Self::plain("method", asked.inquiry.method, when.methods.clone()),
            Unmet::Field(condition) => {
                let values = asked.inquiry.values(&condition.name).map(text);
                Self::named("field", condition, values.collect())
            }
            Unmet::Query(condition) => {
                let values = asked.parameters(&condition.name);
                Self::named(
                    "query",
                    condition,
                    values.map(|value| text(&value)).collect(),
                )
            }
        }
    }

    fn plain(on: &'static str, found: &str, expected: Vec<String>) -> Self {
        Self {
            on,
            name: String::new(),
            found: vec![found.to_owned()],
            expected,
            verb: Verb::Is,
        }
    }

    fn named(on: &'static str, condition: &Condition, found: Vec<String>) -> Self {
        let (verb, expected) = match &condition.test {
            Test::Present => (Verb::Present, None),
            Test::Absent => (Verb::Absent, None),
            Test::Is(text) => (Verb::Is, Some(text)),
            Test::Like(text) => (Verb::Fits, Some(text)),
        };
        Self {
            on,
            name: condition.name.clone(),
            found,
            expected: expected.into_iter().cloned().collect(),
            verb,
        }
    }
}

/// Bytes of a request as text that shows them.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Display for Mismatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let on = match self.on {
            "query" => "query parameter",
            on => on,
        };
        f.write_str(on)?;
        if !self.name.is_empty() {
            write!(f, " {:?}", self.name)?;
        }
        let listed = |texts: &[String]| {
            let quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
            quoted.join(", ")
        };
        match (self.verb, self.found.is_empty()) {
            (Verb::Absent, _) => return f.write_str(" is there"),
            (Verb::Present, _) | (_, true) => return f.write_str(" is missing"),
            (Verb::Is | Verb::Fits, false) => write!(f, " {}", listed(&self.found))?,
        }
        let verb = match (self.verb, self.expected.len()) {
            (Verb::Fits, _) => "does not fit",
            (_, 0 | 1) => "is not",
            _ => "is none of",
        };
        write!(f, " {verb} {}", listed(&self.expected))
    }
}
