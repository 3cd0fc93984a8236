//! The simulation: the proxy that ships runs over a simulated network with a simulated clock, among scripted clients and
//! backends, and everything that chance decides comes from one seed.
//!
//! `cargo test --test sim` runs 200 seeds, `SEEDS=2000` more, `SEED=42` one, with what happened last when it fails.
//! The scenes always run, and must reach every phase of a session, every row of the failure table and every reason word.

#[path = "sim/mod.rs"]
mod sim;
mod strict;

use std::time::Instant;

use sim::run::{Totals, run, run_scene};
use sim::scenes::SCENES;

/// Seeds run when nobody says otherwise.
const SEEDS: u64 = 200;

/// Seeds that must reach whatever there is to be reached.
const SEEDS_FOR_ALL: u64 = 2000;

#[test]
fn whatever_happens_clients_get_their_bytes_or_a_failure_that_a_fault_explains() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("SEED and SEEDS are numbers"))
    };
    let (base, mut sum) = (now(), Sum::default());
    if let Some(seed) = number("SEED") {
        sum.add(&run(seed, base));
        return sum.print();
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    (0..seeds).for_each(|seed| sum.add(&run(seed, base)));
    sum.print();
    let gaps = sum.totals.coverage.gaps();
    assert!(seeds < SEEDS_FOR_ALL || gaps.is_empty(), "{gaps:#?}");
}

/// Chance reaches everything in the end; these get there at once, whatever a seed happens to draw.
#[test]
fn the_scenes_reach_every_phase_every_row_of_the_failure_table_and_every_word() {
    let (base, mut sum) = (now(), Sum::default());
    for (place, scene) in (0..).zip(&SCENES) {
        let mut totals = Totals::default();
        // What a seed draws shifts with every change of the simulation: a row that comes up late has not been missed.
        for nth in 0..PATIENCE * scene.runs {
            let run = run_scene(scene, 1000 * place + nth, base);
            totals.add(&run);
            sum.add(&run);
            let all_met = scene.reaches.iter().all(|row| totals.coverage.has_met(row));
            if nth + 1 >= scene.runs && all_met {
                break;
            }
        }
        for row in scene.reaches {
            assert!(
                totals.coverage.has_met(row),
                "{row} was not reached, although {}",
                scene.name
            );
        }
    }
    sum.print();
    let gaps = sum.totals.coverage.gaps();
    assert!(gaps.is_empty(), "{gaps:#?}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the simulated clock needs one moment to count from"
)]
fn now() -> Instant {
    Instant::now()
}

/// How many times as often as usual a scene is run at most, until it has reached what it is for.
const PATIENCE: u64 = 5;

/// What all runs came to.
#[derive(Debug, Default)]
struct Sum {
    runs: usize,
    totals: Totals,
}

impl Sum {
    fn add(&mut self, totals: &Totals) {
        self.runs += 1;
        self.totals.add(totals);
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
        println!(
            "sim: {} runs, {clients} clients, {requests} requests ({served} served), {ticks} ticks, at most {held_bytes_max} bytes held",
            self.runs
        );
    }
}
