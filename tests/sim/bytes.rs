//! Runs that given bytes decide instead of a seed: a fuzzer's.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use super::plan::Plan;
use super::rng::Rng;
use super::run::{Totals, run_plan};

/// Clients, requests of each, and bytes of a body at most: as few as show how they get into each other's way, so that a
/// second has room for many runs, and bodies that need more than one turn.
const CLIENTS_MAX: usize = 4;
const REQUESTS_MAX: usize = 4;
const BODY_BYTES_MAX: usize = 100_000;

/// Runs whatever the bytes decide.
pub(crate) fn run(bytes: &[u8], base: Instant) -> Totals {
    let mut rng = Rng::from_bytes(bytes);
    let mut plan = Plan::draw(&mut rng);
    plan.clients = (plan.clients - 1) % CLIENTS_MAX + 1;
    plan.requests_max = (plan.requests_max - 1) % REQUESTS_MAX + 1;
    plan.body_max = plan.body_max.min(BODY_BYTES_MAX);
    let run = AssertUnwindSafe(|| run_plan(0, &plan, rng, base));
    catch_unwind(run).unwrap_or_else(|panic| {
        eprintln!(
            "it was no seed, but {} given bytes that decided",
            bytes.len()
        );
        resume_unwind(panic)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws bytes from seeds and lets them decide.
    #[test]
    fn whatever_bytes_decide_all_checks_hold() {
        let (mut requests, mut served) = (0, 0);
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let len = rng.scaled(0, 400);
            let bytes: Vec<u8> = (0..len).flat_map(|_| rng.next().to_be_bytes()).collect();
            let totals = run(&bytes, crate::now());
            requests += totals.requests;
            served += totals.served;
        }
        assert!(
            served > 100 && served < requests,
            "{served} of {requests} served"
        );
    }
}
