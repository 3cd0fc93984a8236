//! The simulation: the proxy that ships runs over a simulated network with a simulated clock, among scripted clients and
//! backends, and everything that chance decides comes from one seed.
//!
//! `cargo test --test sim` runs 200 seeds, `SEEDS=2000` more, `SEED=42` one, with what happened last when it fails.

#[path = "sim/mod.rs"]
mod sim;
mod strict;

use std::collections::BTreeMap;
use std::time::Instant;

use sim::run::{Totals, run};

/// Seeds run when nobody says otherwise.
const SEEDS: u64 = 200;

#[test]
fn whatever_happens_clients_get_their_bytes_or_a_failure_that_a_fault_explains() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("SEED and SEEDS are numbers"))
    };
    let (base, mut sum) = (now(), Sum::default());
    match number("SEED") {
        Some(seed) => sum.add(run(seed, base)),
        None => (0..number("SEEDS").unwrap_or(SEEDS)).for_each(|seed| sum.add(run(seed, base))),
    }
    sum.print();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the simulated clock needs one moment to count from"
)]
fn now() -> Instant {
    Instant::now()
}

/// What all seeds came to.
#[derive(Debug, Default)]
struct Sum {
    seeds: usize,
    totals: Totals,
    faults: BTreeMap<String, usize>,
    reasons: BTreeMap<String, usize>,
}

impl Sum {
    fn add(&mut self, totals: Totals) {
        self.seeds += 1;
        self.totals.clients += totals.clients;
        self.totals.requests += totals.requests;
        self.totals.served += totals.served;
        self.totals.ticks += totals.ticks;
        for (fault, count) in totals.faults {
            *self.faults.entry(format!("{fault:?}")).or_default() += count;
        }
        for (reason, count) in totals.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }

    fn print(&self) {
        println!("faults injected: {:?}", self.faults);
        println!("failures told: {:?}", self.reasons);
        let faults: usize = self.faults.values().sum();
        let Totals {
            clients,
            requests,
            served,
            ticks,
            ..
        } = self.totals;
        println!(
            "sim: {} seeds, {clients} clients, {requests} requests ({served} served), {faults} faults, {ticks} ticks",
            self.seeds
        );
    }
}
