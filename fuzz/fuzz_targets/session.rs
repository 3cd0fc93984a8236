//! Any bytes as what decides in the simulation: the plan, the network, clients and backends, what goes wrong and when.
//! Every check of the simulation holds: clients get their bytes or a failure that a fault explains, nothing stalls, and
//! all of it ends.

#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/sim/mod.rs"]
#[expect(dead_code, reason = "there are no seeds here")]
mod sim;
#[path = "../../tests/strict/mod.rs"]
mod strict;

fuzz_target!(
    init: {
        // The usual hook would abort before the simulation can tell what happened; it panics again when it has.
        drop(std::panic::take_hook());
    },
    |input: &[u8]| {
        sim::bytes::run(input, Instant::now());
    }
);
