//! What a configuration comes to, told before it runs: pure functions of [`Config`](crate::config::Config). Nothing is bound,
//! resolved or printed here; what comes out shows as text, and as JSON for programs.
//!
//! Architecture invariant: where the running proxy decides (which route, which backend, what head), the same function is asked
//! here. What is told can then not differ from what is done.
//!
//! Reading order: `words` (parts of a configuration as they are written), `cover` (which conditions include which others),
//! then one file for each question.

pub mod budget;
pub mod check;
mod cover;
pub mod diff;
pub mod explain;
pub mod lint;
pub mod plan;
mod start;
mod words;

#[cfg(test)]
mod tests;

pub use self::budget::Budget;
pub use self::check::{Check, check, problems_json, unreadable_json};
pub use self::diff::{Diff, diff};
pub use self::explain::{Explanation, explain};
pub use self::lint::{Finding, Lint, lint};
pub use self::plan::{Plan, plan};
pub use self::start::Unknown;
