//! The simulated world: a network, a clock, scripted clients and backends, and what must hold among them.
//!
//! Reading order: `plan` (what a seed draws) and `scenes` (what is made on purpose), `reloads` (what comes to be configured), `faults`, `kernel` with `sock`,
//! `losses`, `descriptors`, `doors` and `stream` (the network), `exchange` with `content`, `wrongs` and `announced` (what is said),
//! `script`, `clients` and `link` (who says it), `misdeeds`, `backends`, `serving` and `ends` (who answers), `requests` and
//! `answers` (whether it is what was to come), `ledger` and `excuses` (whether that may be), `checks` (what holds after
//! every tick), `turns` (whose turn it was), `coverage` (what was reached), `run`, `bytes` (what a fuzzer gives it); `verified` with `grounds` (whether
//! the kernel is like the real one). What is read, `strict::reader` reads.

mod agenda;
mod announced;
mod answers;
mod backends;
pub(crate) mod bytes;
mod checks;
mod clients;
mod content;
mod coverage;
mod descriptors;
mod doors;
mod ends;
mod exchange;
mod excuses;
mod faults;
#[cfg(test)]
mod grounds;
mod kernel;
mod ledger;
mod link;
mod losses;
mod misdeeds;
mod plan;
mod reloads;
mod requests;
mod rng;
pub(crate) mod run;
pub(crate) mod scenes;
mod script;
mod serving;
mod sock;
mod stream;
mod trace;
mod turns;
#[cfg(test)]
mod verified;
mod wrongs;
