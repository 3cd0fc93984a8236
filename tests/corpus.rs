//! The corpus of hostile bytes (`tests/corpus/README.md`): each case through the real binary on a connection that is kept,
//! with a marker request behind it, in one write and in pieces. Whatever reached the backend is read by the strict reader
//! as exactly the requests that were judged, with no byte left over; each request, and the marker, got its own answer and
//! nobody else's; after a refusal the connection is closed and the marker goes nowhere.

#[path = "corpus/check.rs"]
mod check;
#[path = "corpus/format.rs"]
mod format;
#[path = "corpus/pure.rs"]
mod pure;
#[path = "corpus/stage.rs"]
mod stage;
mod strict;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use format::Case;
use stage::Stage;

/// Binaries that share the work. Each plays one case at a time.
const STAGES: usize = 4;

/// What requests must be tried in: the corners in which proxies and backends are known to read differently.
const REQUEST_TOPICS: &[&str] = &[
    "te-and-cl",
    "te-in-1.0",
    "te-other",
    "several-cl",
    "cl-syntax",
    "no-framing",
    "chunk-size",
    "chunk-end",
    "chunk-extension",
    "trailers",
    "line-end",
    "request-line",
    "version",
    "method",
    "field-name",
    "obs-fold",
    "controls",
    "host",
    "duplicates",
    "underscore",
    "limits",
    "absolute-form",
    "target-forms",
    "target-bytes",
    "method-refused",
    "max-forwards",
    "hop-by-hop",
    "expect",
    "upgrade",
    "http-1.0",
    "via-date",
    "forwarding",
    "pipelining",
    "half-close",
    "cut-short",
];

/// What responses must be tried in.
const RESPONSE_TOPICS: &[&str] = &[
    "status-line",
    "response-te-and-cl",
    "response-cl",
    "response-fields",
    "response-hop-by-hop",
    "response-chunks",
    "premature-close",
    "retry",
    "until-close",
    "bodiless",
    "bytes-behind",
    "interim",
    "switching",
    "response-1.0",
    "early-response",
];

fn requests() -> Vec<Case> {
    [
        include_str!("corpus/requests-framing.txt"),
        include_str!("corpus/requests-heads.txt"),
        include_str!("corpus/requests-meaning.txt"),
    ]
    .into_iter()
    .flat_map(|content| format::cases(content).expect("a sound file"))
    .collect()
}

fn responses() -> Vec<Case> {
    format::cases(include_str!("corpus/responses.txt")).expect("a sound file")
}

#[test]
fn each_request_of_the_corpus_comes_to_what_its_verdict_says() {
    play(&requests());
}

#[test]
fn each_response_of_the_corpus_comes_to_what_its_verdict_says() {
    play(&responses());
}

/// Plays all cases, twice each: in one write, and in pieces. Tells all that fail.
fn play(cases: &[Case]) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..STAGES {
            scope.spawn(|| {
                let stage = Stage::start();
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for in_pieces in [false, true] {
                        if let Err(why) = check::check(case, &stage, in_pieces) {
                            let failure = format!("{} (in pieces: {in_pieces}): {why}", case.id);
                            failures
                                .lock()
                                .expect("nobody panics with it")
                                .push(failure);
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nobody panicked with it");
    let count = failures.len();
    assert!(
        failures.is_empty(),
        "{count} failed:\n{}\n",
        failures.join("\n")
    );
}

#[test]
fn each_case_comes_to_the_same_wherever_it_is_cut() {
    let requests = requests()
        .iter()
        .map(|case| (case.id.clone(), pure::check_request(case)))
        .collect();
    let responses = responses()
        .iter()
        .map(|case| (case.id.clone(), pure::check_response(case)))
        .collect();
    let checked: [Vec<(String, Result<(), String>)>; 2] = [requests, responses];
    let failures: Vec<String> = checked
        .into_iter()
        .flatten()
        .filter_map(|(id, checked)| checked.err().map(|why| format!("{id}: {why}")))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_corpus_is_large_and_covers_every_topic() {
    let (requests, responses) = (requests(), responses());
    assert!(requests.len() >= 300, "{} requests", requests.len());
    assert!(responses.len() >= 100, "{} responses", responses.len());
    let mut ids = BTreeSet::new();
    for case in requests.iter().chain(&responses) {
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        assert!(case.id.chars().all(kebab), "{}", case.id);
        assert!(
            ids.insert(case.id.as_str()),
            "{} stands there twice",
            case.id
        );
        assert!(case.section.contains(" §"), "{}: which section?", case.id);
        assert!(!case.outcomes.is_empty(), "{}: what comes of it?", case.id);
    }
    covers(&requests, REQUEST_TOPICS);
    covers(&responses, RESPONSE_TOPICS);
}

/// Whether each of these topics has cases, and no other has.
fn covers(cases: &[Case], topics: &[&str]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases {
        *counts.entry(case.topic.as_str()).or_default() += 1;
    }
    let found: BTreeSet<&str> = counts.keys().copied().collect();
    assert_eq!(found, topics.iter().copied().collect());
    println!("{} cases: {counts:?}", cases.len());
}
