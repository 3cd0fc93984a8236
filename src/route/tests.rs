//! Requests as they come in, and the route that takes them. An index that is too clever shows against the plainest reading of
//! the same conditions.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::*;
use crate::config::{
    Action, Condition, FieldEdits, HashOn, HostPattern, Listener, PathPattern, Pool, Share, Test,
};
use crate::http::forward::{self, Edits, Facts};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// What `look` sees of a request with this head.
fn ask<R>(head: &str, look: impl FnOnce(&Inquiry<'_>) -> R) -> R {
    let facts = Facts {
        client: CLIENT,
        local: || SocketAddr::from(([127, 0, 0, 1], 8080)),
        trusts: |_: IpAddr| false,
        name: "rondel",
        forwarded: false,
        id: b"id",
    };
    let mut seen = None;
    let choose = |inquiry: &Inquiry<'_>| {
        seen = Some(look(inquiry));
        Ok(Edits::default())
    };
    let found = forward::request(
        head.as_bytes(),
        &facts,
        choose,
        &mut Vec::new(),
        Vec::reserve,
    );
    assert!(matches!(found, Ok(Some(_))), "{head:?}: {found:?}");
    seen.expect("a whole head is looked at")
}

/// A head with this method, target and host, and these further lines.
fn head(method: &str, target: &str, host: &str, lines: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")
}

fn config(whens: Vec<Match>, ambiguous_paths: AmbiguousPaths) -> Config {
    let listeners = [80, 81].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let mut config = Config::simple(&listeners, Pool::new("p", Vec::new()));
    config.listeners[0] = Listener {
        name: "front".to_owned(),
        ..config.listeners[0].clone()
    };
    let routes = whens.into_iter().enumerate().map(|(nth, when)| {
        Arc::new(Route {
            name: format!("route {nth}"),
            when,
            action: Action::Pools(vec![Share { pool: 0, weight: 1 }]),
            rewrite: None,
            request_fields: FieldEdits::default(),
            response_fields: FieldEdits::default(),
        })
    });
    config.routes = routes.collect();
    config.ambiguous_paths = ambiguous_paths;
    config
}

fn routes(whens: Vec<Match>) -> Routes {
    Routes::new(&config(whens, AmbiguousPaths::Allow))
}

fn hosts(patterns: &[&str]) -> Match {
    let host = |pattern: &&str| match pattern.strip_prefix('*') {
        Some(suffix) => HostPattern::Suffix(suffix.to_owned()),
        None => HostPattern::Exact((*pattern).to_owned()),
    };
    Match {
        hosts: patterns.iter().map(host).collect(),
        ..Match::default()
    }
}

fn paths(patterns: &[PathPattern]) -> Match {
    Match {
        paths: patterns.to_vec(),
        ..Match::default()
    }
}

fn exact(path: &str) -> PathPattern {
    PathPattern::Exact(path.to_owned())
}

fn prefix(path: &str) -> PathPattern {
    PathPattern::Prefix(path.to_owned())
}

fn globbed(path: &str) -> PathPattern {
    PathPattern::Glob(path.to_owned())
}

fn field(name: &str, test: Test) -> Match {
    Match {
        fields: vec![condition(name, test)],
        ..Match::default()
    }
}

fn condition(name: &str, test: Test) -> Condition {
    Condition {
        name: name.to_owned(),
        test,
    }
}

fn is(text: &str) -> Test {
    Test::Is(text.to_owned())
}

fn like(text: &str) -> Test {
    Test::Like(text.to_owned())
}

/// Whether a request is taken by the only route with this condition, and what is said if not.
fn check(when: &Match, head: &str, expected: Result<(), &str>) {
    let routes = routes(vec![when.clone()]);
    let (found, why) = ask(head, |inquiry| {
        (routes.find(0, inquiry), routes.why_not(0, 0, inquiry))
    });
    let why = why.map(|why| why.to_string());
    assert_eq!(why.as_deref(), expected.err(), "{when:?} {head:?}");
    assert_eq!(found, Ok(why.is_none().then_some(0)), "{when:?} {head:?}");
}

#[test]
fn a_host_is_compared_without_case_port_and_last_dot() {
    let get = |host: &str| head("GET", "/", host, "");
    let one = hosts(&["a.example"]);
    for host in [
        "a.example",
        "A.Example",
        "a.example:80",
        "a.EXAMPLE.:8080",
        "a.example:",
    ] {
        check(&one, &get(host), Ok(()));
    }
    check(
        &one,
        &get("b.a.example"),
        Err("host \"b.a.example\" is not \"a.example\""),
    );
    check(&one, &get(""), Err("host \"\" is not \"a.example\""));
    let below = hosts(&["*.example", "*.b.test"]);
    for host in ["a.example", "b.a.example:1", "A.B.Test."] {
        check(&below, &get(host), Ok(()));
    }
    let why = "host \"example\" is none of \"*.example\", \"*.b.test\"";
    check(&below, &get("example"), Err(why));
    check(
        &below,
        &get(".example"),
        Err(&why.replacen("example", ".example", 1)),
    );
    check(
        &below,
        &get("aexample"),
        Err(&why.replacen("example", "aexample", 1)),
    );
    check(&hosts(&["[::1]"]), &get("[::1]:80"), Ok(()));
    check(
        &hosts(&["h"]),
        "GET http://H:1/ HTTP/1.1\r\nHost: other\r\n\r\n",
        Ok(()),
    );
    check(&hosts(&["127.0.0.1"]), "GET / HTTP/1.0\r\n\r\n", Ok(()));
    let long = "a.".repeat(127) + "b";
    check(&hosts(&["*.b"]), &get(&long), Ok(()));
    check(&hosts(&[&long]), &get(&long.to_uppercase()), Ok(()));
    let deep = format!("*{}", &long[long.len() - 40..]);
    assert!(deep.starts_with("*."));
    check(&hosts(&[&deep]), &get(&long), Ok(()));
}

#[test]
fn a_path_is_compared_in_its_normalised_form() {
    let get = |target: &str| head("GET", target, "h", "");
    for (pattern, target, holds) in [
        (exact("/a"), "/a?b", true),
        (exact("/a"), "/%61", true),
        (exact("/a"), "/a/", false),
        (exact("/a"), "/A", false),
        (exact("/caf\u{e9}"), "/caf%c3%a9", true),
        (exact("/a%2fb"), "/a%2Fb", true),
        (exact("/a/b"), "/a%2Fb", false),
        (exact("/"), "http://h", true),
        (exact("/"), "http://h?q", true),
        (prefix("/api"), "/api", true),
        (prefix("/api"), "/api/x?y", true),
        (prefix("/api"), "/apix", false),
        (prefix("/api"), "/x/../api/y", true),
        (prefix("/api"), "/api/../x", false),
        (prefix("/api"), "//api", true),
        (prefix("/api/"), "/api", false),
        (prefix("/api/"), "/api/x", true),
        (prefix("/"), "/x", true),
        (globbed("/*/edit"), "/a/edit", true),
        (globbed("/*/edit"), "/a/b/edit", false),
        (globbed("/**/edit"), "/a/b/edit", true),
        (globbed("/%7Ea/*"), "/~a/b", true),
    ] {
        let when = paths(std::slice::from_ref(&pattern));
        let taken = ask(&get(target), |inquiry| routes(vec![when]).find(0, inquiry));
        assert_eq!(taken, Ok(holds.then_some(0)), "{pattern:?} {target}");
    }
    let two = paths(&[exact("/a"), prefix("/b"), prefix("/c/")]);
    let why = "path \"/x\" is none of \"/a\", \"/b/…\", \"/c/…\"";
    check(&two, &get("/%78"), Err(why));
    let star = "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n";
    check(
        &paths(&[prefix("/")]),
        star,
        Err("path \"*\" is not \"/…\""),
    );
    check(&Match::default(), star, Ok(()));
}

#[test]
fn ambiguous_paths_are_refused_where_routes_look_at_paths() {
    let find = |config: &Config, target: &str| {
        let routes = Routes::new(config);
        ask(&head("GET", target, "h", ""), |inquiry| {
            routes.find(0, inquiry)
        })
    };
    let whens = vec![paths(&[exact("/a")]), Match::default()];
    let mut strict = config(whens, AmbiguousPaths::Reject);
    for target in [
        "/a%2fb",
        "//",
        "/./a",
        "/a/%2e%2e",
        "/a%00",
        "/a\\b",
        "/%5c",
    ] {
        assert_eq!(
            find(&strict, target),
            Err(Reject::AmbiguousPath),
            "{target}"
        );
    }
    assert_eq!(find(&strict, "/a?/../%2f//"), Ok(Some(0)));
    assert_eq!(find(&strict, "/b/"), Ok(Some(1)));
    strict.routes.remove(0);
    assert_eq!(
        find(&strict, "/a/../b"),
        Ok(Some(0)),
        "no route looks at paths"
    );
    Arc::make_mut(&mut strict.routes[0]).rewrite = Some(Rewrite::Prefix {
        from: "/a".to_owned(),
        to: String::new(),
    });
    assert_eq!(find(&strict, "/a/../b"), Err(Reject::AmbiguousPath));
    strict.ambiguous_paths = AmbiguousPaths::Allow;
    assert_eq!(find(&strict, "/a/../b"), Ok(Some(0)));
}

#[test]
fn listeners_and_methods_are_one_of_a_list() {
    let at = |names: &[&str]| Match {
        listeners: names.iter().map(|&name| name.to_owned()).collect(),
        ..Match::default()
    };
    let routes = routes(vec![
        at(&["127.0.0.1:81"]),
        at(&["gone"]),
        at(&["x", "front"]),
    ]);
    let get = head("GET", "/", "h", "");
    for (listener, expected) in [(0, Some(2)), (1, Some(0)), (2, None), (usize::MAX, None)] {
        assert_eq!(
            ask(&get, |inquiry| routes.find(listener, inquiry)),
            Ok(expected)
        );
    }
    let why = ask(&get, |inquiry| routes.why_not(0, 0, inquiry));
    let why = why.map(|why| why.to_string());
    assert_eq!(
        why.as_deref(),
        Some("listener \"front\" is not \"127.0.0.1:81\"")
    );
    let when = Match {
        methods: vec!["GET".to_owned(), "PURGE".to_owned()],
        ..Match::default()
    };
    check(&when, &get, Ok(()));
    check(&when, &head("PURGE", "/", "h", ""), Ok(()));
    let why = "method \"get\" is none of \"GET\", \"PURGE\"";
    check(&when, &head("get", "/", "h", ""), Err(why));
}

#[test]
fn a_condition_on_a_field_looks_at_all_of_its_name() {
    let get = |lines: &str| head("GET", "/", "h", lines);
    let two = get("X-A: 1\r\nx-a: two\r\n");
    check(&field("x-A", Test::Present), &two, Ok(()));
    check(
        &field("X-B", Test::Present),
        &two,
        Err("field \"X-B\" is missing"),
    );
    check(&field("X-B", Test::Absent), &two, Ok(()));
    check(
        &field("X-A", Test::Absent),
        &two,
        Err("field \"X-A\" is there"),
    );
    check(&field("X-A", is("1")), &two, Ok(()));
    check(&field("X-A", is("two")), &two, Ok(()));
    let why = "field \"X-A\" \"1\", \"two\" is not \"Two\"";
    check(&field("X-A", is("Two")), &two, Err(why));
    check(&field("X-A", like("t*")), &two, Ok(()));
    let why = "field \"X-A\" \"1\", \"two\" does not fit \"t*/\"";
    check(&field("X-A", like("t*/")), &two, Err(why));
    check(
        &field("X-B", is("1")),
        &two,
        Err("field \"X-B\" is missing"),
    );
    check(
        &field("upgrade", like("web*")),
        &get("Upgrade: websocket\r\n"),
        Ok(()),
    );
    let mut both = field("X-A", is("1"));
    both.fields.push(condition("X-A", is("3")));
    check(
        &both,
        &two,
        Err("field \"X-A\" \"1\", \"two\" is not \"3\""),
    );
}

#[test]
fn query_parameters_are_compared_decoded() {
    let when = |name: &str, test: Test| Match {
        query: vec![condition(name, test)],
        ..Match::default()
    };
    let get = head("GET", "/p?a=1&b&%61=%32&c=x%2By&=e&&d==", "h", "");
    for (name, test) in [
        ("a", Test::Present),
        ("a", is("1")),
        ("a", is("2")),
        ("b", is("")),
        ("A", Test::Absent),
        ("c", is("x+y")),
        ("c", like("x*")),
        ("", is("e")),
        ("d", is("=")),
        ("p", Test::Absent),
    ] {
        check(&when(name, test), &get, Ok(()));
    }
    let why = "query parameter \"a\" \"1\", \"2\" is not \"3\"";
    check(&when("a", is("3")), &get, Err(why));
    check(
        &when("z", is("3")),
        &get,
        Err("query parameter \"z\" is missing"),
    );
    check(
        &when("z", Test::Absent),
        &head("GET", "/?", "h", ""),
        Ok(()),
    );
}

#[test]
fn the_first_that_matches_wins_wherever_it_is_found() {
    let mut both = hosts(&["a.example"]);
    both.paths = vec![exact("/x"), exact("/x"), exact("/y")];
    let mut below = hosts(&["*.example", "*.example"]);
    below.paths = vec![prefix("/y")];
    let routes = routes(vec![
        paths(&[exact("/first")]),
        both,
        below,
        hosts(&["b.example", "a.example"]),
        Match::default(),
        hosts(&["c.example"]),
    ]);
    for (host, target, expected) in [
        ("a.example", "/first", 0),
        ("a.example", "/x", 1),
        ("a.example", "/y", 1),
        ("a.example", "/y/z", 2),
        ("a.example", "/z", 3),
        ("b.example", "/y", 2),
        ("c.example", "/", 4),
        ("other", "/y", 4),
    ] {
        let found = ask(&head("GET", target, host, ""), |inquiry| {
            routes.find(0, inquiry)
        });
        assert_eq!(found, Ok(Some(expected)), "{host} {target}");
    }
}

/// A small xorshift: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn of<'s>(&mut self, texts: &[&'s str]) -> &'s str {
        texts[self.below(texts.len())]
    }

    /// Up to `most` of these, most often none.
    fn some<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.below(2) * self.below(most + 1);
        (0..count).map(|_| one(self)).collect()
    }
}

const HOSTS: [&str; 8] = [
    "a.b", "b", "c.a.b", "x.y", "d.c.a.b", "B", "c.A.b:80", "a.b.",
];
const TARGETS: [&str; 10] = [
    "/", "/a", "/a/", "/a/b", "/%61", "/a/../b", "/b?q=1", "/b?q", "//a", "/a%2fb",
];
const DOMAINS: [&str; 9] = [
    "a.b", "b", "c.a.b", "x.y", "*.b", "*.a.b", "*.y", "*.c.a.b", "*.x.y",
];

fn random_match(random: &mut Random) -> Match {
    let hosts: Vec<&str> = random.some(3, |random| random.of(&DOMAINS));
    let path = |random: &mut Random| {
        let text = random.of(&["/", "/a", "/a/", "/a/b", "/b", "/*", "/**", "/*/b"]);
        let kinds = [exact, prefix, globbed];
        let most = if text.contains('*') { 2..3 } else { 0..2 };
        kinds[most.start + random.below(most.len())](text)
    };
    Match {
        listeners: random.some(1, |random| random.of(&["front", "127.0.0.1:81"]).to_owned()),
        paths: random.some(3, path),
        methods: random.some(1, |random| random.of(&["GET", "PUT"]).to_owned()),
        fields: random.some(1, |random| condition("X", is(random.of(&["1", "2"])))),
        query: random.some(1, |_| condition("q", Test::Present)),
        ..self::hosts(&hosts)
    }
}

#[test]
fn the_index_finds_what_reading_from_top_to_bottom_finds() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut found = [0; 3];
    for _ in 0..400 {
        let whens: Vec<Match> = (0..1 + random.below(12))
            .map(|_| random_match(&mut random))
            .collect();
        let routes = routes(whens.clone());
        for _ in 0..25 {
            let lines = random.of(&["", "X: 1\r\n", "x: 2\r\nX: 1\r\n"]);
            let (method, target) = (random.of(&["GET", "PUT"]), random.of(&TARGETS));
            let head = head(method, target, random.of(&HOSTS), lines);
            let listener = random.below(2);
            let (indexed, first) = ask(&head, |inquiry| {
                let mut places = 0..whens.len();
                let holds = |&place: &usize| routes.why_not(place, listener, inquiry).is_none();
                (routes.find(listener, inquiry), places.find(holds))
            });
            assert_eq!(indexed, Ok(first), "{whens:#?} {head:?} {listener}");
            found[first.map_or(2, |place| place.min(1))] += 1;
        }
    }
    assert!(found.iter().all(|&times| times > 500), "{found:?}");
}

#[test]
fn keys_are_the_same_for_the_same_and_hashed_in_a_way_that_never_changes() {
    let on = |lines: &str, on: &HashOn| {
        ask(&head("GET", "/p?q", "h", lines), |inquiry| key(inquiry, on))
    };
    let field = HashOn::Field("X-User".to_owned());
    let cookie = HashOn::Cookie("id".to_owned());
    assert_eq!(on("", &field), None);
    assert_eq!(on("", &cookie), None);
    assert_eq!(
        on("x-user: a\r\nX-User: b\r\n", &field),
        on("Cookie: x=y; id=a\r\n", &cookie)
    );
    assert_ne!(on("X-User: a\r\n", &field), on("X-User: b\r\n", &field));
    assert_eq!(on("", &HashOn::Path), on("X-User: /p\r\n", &field));
    assert_eq!(on("", &HashOn::Client), on("X-User: \r\n", &HashOn::Client));
    assert_eq!(on("", &HashOn::Path), Some(PATH_KEY));
    assert_eq!(on("", &HashOn::Client), Some(CLIENT_KEY));
}

/// Of `/p` and of 192.0.2.7, reckoned by another program.
const PATH_KEY: u64 = 13_716_538_462_735_223_325;
const CLIENT_KEY: u64 = 2_516_330_309_676_661_609;

#[test]
fn every_bit_of_a_key_changes_about_half_of_its_hash() {
    let hash = |text: &str| {
        ask(&head("GET", text, "h", ""), |inquiry| {
            key(inquiry, &HashOn::Path)
        })
        .expect("a path")
    };
    let mut changed = 0;
    for nth in 0..1000 {
        changed += (hash(&format!("/{nth}")) ^ hash(&format!("/{}", nth ^ 1))).count_ones();
    }
    assert!((31_000..33_000).contains(&changed), "{changed}");
}

#[test]
fn the_first_cookie_of_a_name_counts() {
    for (lines, expected) in [
        ("", None),
        ("Cookie: sid=a\r\n", Some("a")),
        ("cookie: x=1; sid=a; sid=b\r\n", Some("a")),
        ("Cookie: x=1\r\nCookie: sid=a\r\n", Some("a")),
        ("Cookie: sid=\"a b\"\r\n", Some("a b")),
        ("Cookie: sid=\r\n", Some("")),
        ("Cookie: sid=a=b\r\n", Some("a=b")),
        ("Cookie: ;;x;sid=a;\r\n", Some("a")),
        ("Cookie: SID=a; xsid=b; sidx=c; sid\r\n", None),
        ("Cookie: sid=\"\r\n", Some("\"")),
        ("Cookie: x=sid=a\r\n", None),
    ] {
        let found = ask(&head("GET", "/", "h", lines), |inquiry| {
            cookie(inquiry, "sid").map(|value| String::from_utf8_lossy(value).into_owned())
        });
        assert_eq!(found.as_deref(), expected, "{lines:?}");
    }
}
