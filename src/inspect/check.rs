//! All that can be said of a configuration before it runs: what is hardly meant, with its place in the file, and what it needs.

use std::fmt;

use serde_json::{Value, json};

use super::budget::Budget;
use super::lint::{Finding, Lint, lint};
use super::words;
use crate::config::Config;
use crate::config::file::{Places, Problem};

/// What is said of a valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is hardly meant, each with its place in the file if it has one.
    pub findings: Vec<(Finding, Option<Problem>)>,
    /// What the configuration needs.
    pub budget: Budget,
    /// One line: how many there are of what.
    pub summary: String,
}

/// Checks a valid configuration; `places` says where in the file it stands, if it came from one. There may be `descriptors`;
/// `None` is any number.
#[must_use]
pub fn check(config: &Config, places: Option<&Places>, descriptors: Option<usize>) -> Check {
    let place = |finding: &Finding| {
        let places = places.filter(|places| places.of(finding.about).is_some())?;
        Some(places.problem(finding.about, finding.key, finding.to_string()))
    };
    let findings = lint(config, descriptors).into_iter();
    let findings = findings.filter(|finding| is_meant(finding, places));
    let findings = findings.map(|finding| {
        let place = place(&finding);
        (finding, place)
    });
    let backends: usize = config.pools.iter().map(|pool| pool.backends.len()).sum();
    Check {
        findings: findings.collect(),
        budget: Budget::of(config, descriptors),
        summary: [
            words::counted(config.listeners.len(), "listener"),
            words::counted(config.routes.len(), "route"),
            words::counted(config.pools.len(), "pool"),
            words::counted(backends, "backend"),
        ]
        .join(", "),
    }
}

/// Whether whoever wrote the file meant the thing that is found. What stands at the top for all pools need not make a
/// difference to each of them.
fn is_meant(finding: &Finding, places: Option<&Places>) -> bool {
    match (finding.lint, finding.key, places) {
        (Lint::PoolWithoutChecks, Some(key), Some(places)) => {
            places.key(finding.about, key).is_some()
        }
        _ => true,
    }
}

impl Check {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let finding = |(finding, place): &(Finding, Option<Problem>)| {
            let mut told = json!({
                "severity": "warning",
                "lint": finding.lint.name(),
                "message": finding.text,
            });
            if let Some(place) = place {
                at(&mut told, place);
            }
            told
        };
        let findings: Vec<Value> = self.findings.iter().map(finding).collect();
        json!({ "valid": true, "problems": findings, "budget": self.budget.json() })
    }
}

/// That a file cannot be read, for programs: as [`problems_json`], without a place.
#[must_use]
pub fn unreadable_json(message: &str) -> Value {
    json!({ "valid": false, "problems": [{ "severity": "error", "message": message }] })
}

/// What is wrong with a file, for programs: the same object as [`Check::json`] gives, without a budget.
#[must_use]
pub fn problems_json(problems: &[Problem]) -> Value {
    let problem = |problem: &Problem| {
        let mut told = json!({
            "severity": "error",
            "message": problem.message,
            "expected": problem.expected,
            "suggestion": problem.suggestion,
        });
        at(&mut told, problem);
        told
    };
    let problems: Vec<Value> = problems.iter().map(problem).collect();
    json!({ "valid": false, "problems": problems })
}

/// Adds a place in the file, counted from 1.
fn at(told: &mut Value, place: &Problem) {
    told["file"] = json!(place.file);
    told["line"] = json!(place.line);
    told["column"] = json!(place.column);
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (finding, place) in &self.findings {
            match place {
                Some(Problem {
                    file,
                    line,
                    column,
                    excerpt,
                    ..
                }) => {
                    write!(f, "{file}:{line}:{column}: warning: {finding}\n{excerpt}")?;
                }
                None => writeln!(f, "warning: {finding}")?,
            }
        }
        let warnings = match self.findings.len() {
            0 => "no warnings".to_owned(),
            1 => "1 warning".to_owned(),
            count => format!("{count} warnings"),
        };
        writeln!(f, "valid: {}; {warnings}", self.summary)?;
        self.budget.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::read;
    use crate::inspect::tests::plain;

    const FILE: &str = "\
[[listener]]
address = \"127.0.0.1:8080\"

[[pool]]
name = \"api\"
retries = 1

[[pool.backend]]
address = \"127.0.0.1:3000\"

[[pool.backend]]
address = \"127.0.0.1:3001\"
weight = 0
";

    #[test]
    fn what_is_found_has_its_place_in_the_file() {
        let read = read("rondel.toml", FILE).expect("it is valid");
        let check = check(&read.config, Some(&read.places), None);
        let text = check.to_string();
        assert!(
            text.starts_with(
                "rondel.toml:13:10: warning: pool api: backend 127.0.0.1:3001 has weight 0 and gets no requests [backend-in-no-use]\n\
                 13 | weight = 0\n   |          ^\n\
                 valid: 1 listener, 1 route, 1 pool, 2 backends; 1 warning\n"
            ),
            "{text}"
        );
        let told = &check.json()["problems"][0];
        assert_eq!(
            (&told["line"], &told["lint"]),
            (&json!(13), &json!("backend-in-no-use"))
        );
    }

    #[test]
    fn what_does_not_stand_in_a_file_is_told_without_a_place() {
        let mut config = plain();
        config.limits.sessions_max = 5000;
        let text = check(&config, None, Some(64)).to_string();
        assert!(
            text.starts_with("warning: 5000 clients at a time need "),
            "{text}"
        );
        assert!(
            text.contains("\nvalid: 1 listener, 1 route, 1 pool, 2 backends; 1 warning\n"),
            "{text}"
        );
        assert!(
            check(&plain(), None, None)
                .to_string()
                .contains("; no warnings\n")
        );
    }

    #[test]
    fn failures_that_take_nobody_out_are_told_where_the_pool_itself_counts_them() {
        const SECTIONS: &str =
            "[[listener]]\naddress = \":80\"\n[[pool]]\nname = \"a\"\nbackends = [\"h:1\"]\n";
        let told = |text: &str| {
            let read = read("f.toml", text).expect("it is valid");
            check(&read.config, Some(&read.places), None).to_string()
        };
        let text = told(&format!("fail-after = 5\n{SECTIONS}"));
        assert!(text.contains("; no warnings\n"), "{text}");
        let text = told(&format!("{SECTIONS}fail-after = 5\n"));
        assert!(text.contains("[pool-without-checks]"), "{text}");
        assert!(text.starts_with("f.toml:6:14: "), "{text}");
    }

    #[test]
    fn errors_are_told_to_programs_with_their_place() {
        let problems = read("f.toml", "bogus = 1\n").expect_err("it is no key");
        let told = problems_json(&problems);
        assert_eq!(told["valid"], json!(false));
        assert_eq!(told["problems"][0]["line"], json!(1));
        assert_eq!(told["problems"][0]["severity"], json!("error"));
    }
}
