//! Any bytes as what decides in the simulation: the plan, the network, clients and backends, what goes wrong and when.
//! Every check of the simulation holds: clients get their bytes or a failure that a fault explains, nothing stalls, and
//! all of it ends.

#![no_main]

use std::panic::{catch_unwind, take_hook};
use std::process::abort;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/sim/mod.rs"]
#[expect(dead_code, reason = "there are no seeds here")]
mod sim;
#[path = "../../tests/strict/mod.rs"]
mod strict;

fuzz_target!(
    init: {
        // The fuzzer's own hook would abort before the simulation can tell what happened.
        drop(take_hook());
    },
    |input: &[u8]| {
        if catch_unwind(|| sim::bytes::run(input, Instant::now())).is_err() {
            abort();
        }
    }
);
