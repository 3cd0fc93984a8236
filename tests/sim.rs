//! The simulation: the proxy that ships runs over a simulated network with a simulated clock, among scripted clients and
//! backends, and everything that chance decides comes from one seed.
//!
//! `cargo test --test sim` runs 200 seeds, `SEEDS=2000` more, `SEED=42` one, with what happened last when it fails.

#[path = "sim/mod.rs"]
mod sim;
mod strict;

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
}

impl Sum {
    fn add(&mut self, totals: Totals) {
        self.seeds += 1;
        self.totals.add(&totals);
    }

    fn print(&self) {
        let Totals {
            clients,
            requests,
            served,
            ticks,
            held_bytes_max,
            coverage,
        } = &self.totals;
        print!("{coverage}");
        for gap in coverage.gaps() {
            println!("GAP {gap}");
        }
        println!(
            "sim: {} runs, {clients} clients, {requests} requests ({served} served), {ticks} ticks, at most {held_bytes_max} bytes held",
            self.seeds
        );
    }
}
