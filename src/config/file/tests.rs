//! Files that are good, files that are not, and random configurations there and back.

mod problems;
mod random;

use std::fmt::Write as _;

use super::{Element, PROBLEMS_MAX, Read, print, read, reference};
use crate::config::{Action, Backend, Config, HashOn, Policy, Pool, Route, WhenAllDown};

fn good(text: &str) -> Read {
    read("f.toml", text).unwrap_or_else(|problems| {
        let all: String = problems.iter().map(ToString::to_string).collect();
        panic!("{all}\n{text}")
    })
}

#[test]
fn the_shortest_file_is_what_flags_say() {
    let text = "[[listener]]\naddress = \"127.0.0.1:8080\"\n[[pool]]\nname = \"web\"\nbackends = [\"127.0.0.1:3000\", \"localhost:3001\"]\n";
    let config = good(text).config;
    let backends = ["127.0.0.1:3000", "localhost:3001"].map(|name| {
        let server: crate::config::value::Server = name.parse().expect("a server");
        let addrs = server.addr().into_iter().collect();
        Backend::at(name, server, addrs)
    });
    assert_eq!(backends[0].addrs.len(), 1, "an address needs no resolver");
    assert_eq!(backends[1].addrs.len(), 0, "a name is not resolved");
    let listen = ["127.0.0.1:8080".parse().expect("an address")];
    assert_eq!(
        config,
        Config::simple(&listen, Pool::new("web", backends.to_vec()))
    );
}

#[test]
fn pools_inherit_from_the_top_and_say_their_own() {
    let config = good(
        r#"
        retries = 5
        connect-timeout = "1s"
        hold-timeout = "9s"
        drain-timeout = "7s"
        policy = "hash"
        hash-on = "header:X-User"
        [[listener]]
        address = ":80"
        [[route]]
        pools = { b = 2, a = 1 }
        [[pool]]
        name = "a"
        backends = ["a:1"]
        [[pool]]
        name = "b"
        backends = ["b:1"]
        retries = 0
        hash-load = 200
        connect-timeout = "2s"
        when-all-down = "hold"
        max-held = 4
        "#,
    )
    .config;
    let [a, b] = config.pools.as_slice() else {
        panic!("two pools");
    };
    assert_eq!((a.retries, b.retries), (5, 0));
    assert_eq!((a.held_max, b.held_max), (1000, 4));
    assert_eq!(b.when_all_down, WhenAllDown::Hold);
    let seconds = |pool: &Pool| {
        [
            pool.timeouts.connect,
            pool.timeouts.hold,
            pool.timeouts.drain,
        ]
        .map(|span| span.as_secs())
    };
    assert_eq!((seconds(a), seconds(b)), ([1, 9, 7], [2, 9, 7]));
    for (pool, load) in [(a, 125), (b, 200)] {
        let Policy::Hash(hash) = &pool.policy else {
            panic!("a hash");
        };
        assert_eq!(
            (&hash.on, hash.load_percent_max),
            (&HashOn::Field("X-User".to_owned()), load)
        );
    }
    let Action::Pools(shares) = &config.routes[0].action else {
        panic!("pools");
    };
    let shares: Vec<_> = shares
        .iter()
        .map(|share| (share.pool, share.weight))
        .collect();
    assert_eq!(shares, [(1, 2), (0, 1)], "in the order written");
}

#[test]
fn listeners_are_named_as_they_are_written() {
    let read = good(
        "[[listener]]\naddress = \":80\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[[route]]\nlistener = \":80\"\nreply = {}\n",
    );
    let names: Vec<_> = read
        .config
        .listeners
        .iter()
        .map(|l| l.name.as_str())
        .collect();
    assert_eq!(names, [":80", "127.0.0.1:0", "127.0.0.1:0"]);
}

#[test]
fn places_tell_where_things_stand() {
    let text = "retries = 1\n[[listener]]\naddress = \":80\"\n[[pool]]\nname = \"a\"\nbackends = [\"a:1\",\n  \"b:1\"]\n[[pool]]\nname = \"b\"\n[[pool.backend]]\naddress = \"c:1\"\nweight = 7\n[[route]]\npool = \"b\"\n";
    let places = good(text).places;
    assert_eq!(places.file(), "f.toml");
    assert_eq!(places.key(Element::Top, "retries"), Some((1, 11)));
    assert_eq!(places.of(Element::Listener(0)), Some((2, 1)));
    assert_eq!(places.key(Element::Pool(0), "name"), Some((5, 8)));
    assert_eq!(places.of(Element::Backend(0, 1)), Some((7, 3)));
    assert_eq!(places.of(Element::Backend(1, 0)), Some((10, 1)));
    assert_eq!(places.key(Element::Backend(1, 0), "weight"), Some((12, 10)));
    assert_eq!(places.of(Element::Route(0)), Some((13, 1)));
    assert_eq!(places.of(Element::Route(1)), None);
    assert_eq!(places.key(Element::Route(0), "host"), None);
    let shown = places.problem(Element::Route(0), Some("pool"), "odd".to_owned());
    assert_eq!(
        shown.to_string(),
        "f.toml:14:8: error: odd\n14 | pool = \"b\"\n   |        ^^^\n"
    );
}

#[test]
fn the_reference_tells_every_key_and_its_default() {
    let text = reference();
    for part in [
        "## `[[pool.backend]]`",
        "- `connect-timeout` (a duration; default `\"3s\"`)",
        "- `retries` (0 to 10; as at the top)",
        "- `cookie` (a token; required)",
        "## `request-headers`",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn what_flags_configure_prints_and_reads_back() {
    let addr = |text: &str| text.parse().expect("an address");
    let backend = |name: &str| {
        let server: crate::config::value::Server = name.parse().expect("a server");
        Backend::at(name, server, vec![addr(name)])
    };
    let mut pool = Pool::new(
        "default",
        vec![backend("127.0.0.1:3000"), backend("[::1]:3000")],
    );
    pool.held_max = 17;
    pool.retries = 0;
    pool.timeouts.hold *= 3;
    pool.timeouts.drain *= 3;
    let config = Config::simple(
        &[addr("0.0.0.0:80"), addr("127.0.0.1:0"), addr("127.0.0.1:0")],
        pool,
    );
    let text = print(&config);
    assert_eq!(good(&text).config, config, "{text}");
    assert!(
        !text.contains("[[route]]"),
        "the one route goes without saying: {text}"
    );
}

#[test]
fn random_configurations_print_and_read_back() {
    for seed in 0..500 {
        let config = random::config(seed);
        let text = print(&config);
        assert_eq!(good(&text).config, config, "seed {seed}\n{text}");
    }
}

#[test]
fn large_files_are_read_whole() {
    let mut text = String::from("[[listener]]\naddress = \":80\"\n");
    for i in 0..1000 {
        let _ = write!(
            text,
            "[[pool]]\nname = \"p{i}\"\nbackends = [\"10.0.{}.{}:80\"]\n",
            i / 250,
            i % 250
        );
    }
    for i in 0..10_000 {
        let _ = write!(
            text,
            "[[route]]\nhost = \"h{i}.example.com\"\npool = \"p{}\"\n",
            i % 1000
        );
    }
    let config = good(&text).config;
    assert_eq!((config.routes.len(), config.pools.len()), (10_000, 1000));
    assert_eq!(config.routes[9999].name, "route 10000");
    assert_ne!(*config.routes[0], Route::all_to(0));

    // All of them wrong: as many as are told, and how many more there are.
    let problems = read("f", &text.replace("pool = \"p", "pool = \"q")).expect_err("no such pools");
    assert_eq!(problems.len(), PROBLEMS_MAX + 1);
    assert!(
        problems[PROBLEMS_MAX].message.contains("9900 more"),
        "{}",
        problems[PROBLEMS_MAX]
    );
}

#[test]
fn of_too_many_problems_the_first_in_the_file_are_told() {
    // Keys are read in the order of their names: x10 before x9.
    let text: String = (0..5000).fold(String::new(), |mut text, i| {
        let _ = writeln!(text, "x{i} = 1");
        text
    });
    let problems = read("f", &text).expect_err("no such keys");
    let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
    // A listener and a pool are missing at the top.
    let first: Vec<usize> = [1, 1].into_iter().chain(1..=98).chain([98]).collect();
    assert_eq!(lines, first);
}

#[test]
fn what_follows_from_an_error_of_syntax_in_its_line_is_not_told() {
    let told = |text: &str| -> Vec<(usize, usize)> {
        let problems = read("f", text).expect_err("no TOML");
        problems
            .iter()
            .map(|told| (told.line, told.column))
            .collect()
    };
    assert_eq!(told("a = \nb = 1\n"), [(1, 5), (2, 1)]);
    // A list that is not closed: the place where another item was expected, and nothing about what the next line would be in it.
    let lines: Vec<usize> = (told("[[pool]]\nname = \"a\"\nbackends = [\"h:1\"\nname = \"q\"\n")
        .iter())
    .map(|(line, _)| *line)
    .collect();
    assert_eq!(lines, [4]);
    assert_eq!(told(&format!("a = {}", "[".repeat(1000))).len(), 1);
}

#[test]
fn no_nesting_is_too_deep() {
    for open in ["[", "{a=", "[[", "a."] {
        let text = format!("x = {}", open.repeat(100_000));
        assert!(read("f", &text).is_err());
        assert!(read("f", &open.repeat(100_000)).is_err());
    }
}

/// The file that ships, live and with all that is commented out.
#[test]
fn the_example_is_good_as_it_stands_and_with_all_its_examples() {
    let text = include_str!("../../../rondel.toml");
    let read = good(text);
    let backends: Vec<_> = (read.config.pools[0].backends.iter())
        .map(|backend| (backend.name.as_str(), backend.server.to_string()))
        .collect();
    let expected = [("b1", "127.0.0.1:3000"), ("b2", "127.0.0.1:3001")];
    assert_eq!(
        backends,
        expected.map(|(name, server)| (name, server.to_owned()))
    );
    assert_eq!(good(&print(&read.config)).config, read.config);

    let is_example = |line: &str| line.contains(" = ") || line.starts_with('[');
    let whole: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(example) if is_example(example) && !example.contains('`') => example,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let read = good(&whole);
    assert_eq!((read.config.routes.len(), read.config.pools.len()), (4, 2));
    assert_eq!(good(&print(&read.config)).config, read.config);
}
