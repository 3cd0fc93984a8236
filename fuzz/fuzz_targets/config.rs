//! Any text as a configuration file: nothing panics, what is wrong has a place in it, and what is good prints and reads back equal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rondel::config::file::{self, Element, PROBLEMS_MAX};

fuzz_target!(|text: &str| {
    let read = match file::read("f.toml", text) {
        Ok(read) => read,
        Err(problems) => {
            assert!((1..=PROBLEMS_MAX + 1).contains(&problems.len()));
            for problem in problems {
                let lines = text.matches('\n').count() + 1;
                assert!((1..=lines).contains(&problem.line) && problem.column >= 1);
                assert!(!problem.summary().is_empty());
                assert_eq!(problem.excerpt.lines().count(), 2, "{problem}");
                let is_plain = |c: char| c == '\n' || !c.is_control();
                assert!(problem.excerpt.chars().all(is_plain), "{problem:?}");
                assert!(
                    problem.summary().chars().all(|c| !c.is_control()),
                    "{problem:?}"
                );
            }
            return;
        }
    };
    for i in 0..read.config.listeners.len() {
        assert!(read.places.of(Element::Listener(i)).is_some());
    }
    for (i, pool) in read.config.pools.iter().enumerate() {
        assert!(read.places.key(Element::Pool(i), "name").is_some());
        for j in 0..pool.backends.len() {
            assert!(read.places.key(Element::Backend(i, j), "address").is_some());
        }
    }
    let printed = file::print(&read.config);
    match file::read("printed", &printed) {
        Ok(again) => assert_eq!(again.config, read.config, "{printed}"),
        Err(problems) => {
            let all: String = problems.iter().map(ToString::to_string).collect();
            panic!("{all}\n{printed}");
        }
    }
});
