//! What `rondel explain` foretells is what the running proxy does: random requests to random configurations, byte for byte.
//!
//! `cargo test --test agree` runs 200 configurations with 50 requests each, `CONFIGS=5000` more, `SEED=42` that one. Each request
//! meets a proxy that has just started, since that is what `explain` speaks of.

#[path = "agree/mod.rs"]
mod agree;
mod fake;

use std::collections::BTreeMap;

use agree::compare::compare;
use agree::configs::{configuration, with_doors_for_warming};
use agree::downs::{downs, take_out};
use agree::requests::{Asked, request, some};
use fake::Fake;
use fastrand::Rng;
use rondel::config::Config;
use rondel::proxy::Setup;

/// Configurations tried when nobody says otherwise.
const CONFIGS: u64 = 200;
/// Requests to each of them.
const REQUESTS: usize = 50;
/// What must have become of some requests, so that nothing goes unseen.
const KINDS: &[&str] = &[
    "unfinished",
    "refused",
    "ambiguous path",
    "no host to be sent to",
    "no route",
    "redirect",
    "reply",
    "sent",
    "sent by cookie",
    "sent by key",
    "sent after a refusal",
    "sent with a PROXY header",
    "sent where some are down",
    "nobody answers",
    "nobody to pick",
    "held",
];

#[test]
fn explain_and_the_running_proxy_never_disagree() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("SEED and CONFIGS are numbers"))
    };
    let mut kinds = BTreeMap::new();
    if let Some(seed) = number("SEED") {
        run(seed, &mut kinds);
        return println!("{kinds:#?}");
    }
    let configs = number("CONFIGS").unwrap_or(CONFIGS);
    (0..configs).for_each(|seed| run(seed, &mut kinds));
    println!("{kinds:#?}");
    let unseen = KINDS.iter().filter(|kind| !kinds.contains_key(*kind));
    let unseen: Vec<_> = unseen.collect();
    assert!(configs < CONFIGS || unseen.is_empty(), "{unseen:?}");
}

/// One configuration, and its requests.
fn run(seed: u64, kinds: &mut BTreeMap<&'static str, usize>) {
    let rng = &mut Rng::with_seed(seed);
    let mut config = configuration(rng);
    // Every other one has backends that are down.
    let downs_happen = seed % 2 == 1;
    if downs_happen {
        with_doors_for_warming(&mut config);
    }
    let setup = Setup::new(config.clone());
    for nth in 0..REQUESTS {
        let down = if downs_happen {
            downs(&config, rng)
        } else {
            Vec::new()
        };
        let asked = request(&config, rng);
        let refusing = some(&all_addrs(&config), rng);
        let mut fake = Fake::remembering(setup.clone());
        take_out(&mut fake, &config, &down);
        match compare(&mut fake, &config, &asked, &down, &refusing) {
            Ok(met) => met.iter().for_each(|kind| {
                *kinds.entry(kind).or_default() += 1;
            }),
            Err(why) => fail(seed, nth, &config, &asked, &why),
        }
    }
}

fn all_addrs(config: &Config) -> Vec<std::net::SocketAddr> {
    let backends = config.pools.iter().flat_map(|pool| &pool.backends);
    backends
        .flat_map(|backend| backend.addrs.iter().copied())
        .collect()
}

fn fail(seed: u64, nth: usize, config: &Config, asked: &Asked, why: &str) -> ! {
    panic!(
        "SEED={seed}, request {nth}: {why}\n{}\nfrom {} at listener {}\n{config:#?}",
        asked.head.escape_ascii(),
        asked.from,
        asked.listener
    );
}
