//! The simulated world: a network, a clock, scripted clients and backends, and what must hold among them.
//!
//! Reading order: `plan` (what a seed draws), `faults`, `kernel` with `descriptors`, `doors` and `stream` (the network),
//! `exchange` (what is said), `script` and `clients`, `misdeeds` and `backends`, `requests` and `answers` (whether it is
//! what was to come), `ledger` (whether that may be), `run`. What is read, `strict::reader` reads.

mod agenda;
mod answers;
mod backends;
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
mod kernel;
mod ledger;
mod link;
mod losses;
mod misdeeds;
mod plan;
mod requests;
mod rng;
pub(crate) mod run;
mod script;
mod serving;
mod sock;
mod stream;
mod trace;
mod wrongs;
