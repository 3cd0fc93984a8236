//! Random routes, made of the words that requests are made of, so that they meet.

use fastrand::Rng;
use rondel::config::{
    Action, Condition, FieldEdits, FixedReply, HostPattern, Match, PathPattern, Piece, Redirect,
    Rewrite, Route, Share, Test,
};

use super::requests::{METHODS, one, some};

/// A route at this place, between these listeners and so many pools.
pub(crate) fn route(place: usize, listeners: &[String], pools: usize, rng: &mut Rng) -> Route {
    let action = match rng.u8(..8) {
        0 => Action::Redirect(redirect(rng)),
        1 => Action::Reply(FixedReply {
            status: one(&[200, 204, 403, 404, 503], rng),
            content_type: "text/plain".to_owned(),
            body: one(&["", "words", "{\"a\":1}\n"], rng).to_owned(),
        }),
        _ => Action::Pools(shares(pools, rng)),
    };
    let name = match rng.bool() {
        true => format!("route {}", place + 1),
        false => format!("r{place}"),
    };
    // What goes out tells which route it was.
    let mut request_fields = edits(rng);
    request_fields
        .add
        .push(("X-Route".to_owned(), name.clone()));
    Route {
        name,
        when: when(listeners, rng),
        action,
        rewrite: rewrite(rng),
        request_fields,
        response_fields: edits(rng),
    }
}

fn shares(pools: usize, rng: &mut Rng) -> Vec<Share> {
    let mut places: Vec<usize> = (0..pools).collect();
    rng.shuffle(&mut places);
    places.truncate(rng.usize(1..=pools));
    let mut shares: Vec<Share> = places
        .into_iter()
        .map(|pool| Share {
            pool,
            weight: rng.u16(..4),
        })
        .collect();
    if shares.iter().all(|share| share.weight == 0) {
        shares[0].weight = 1;
    }
    shares
}

fn redirect(rng: &mut Rng) -> Redirect {
    let all = [
        Piece::Text("https://".to_owned()),
        Piece::Host,
        Piece::Path,
        Piece::Query,
        Piece::Text("/new".to_owned()),
    ];
    let mut location = some(&all, rng);
    location.insert(0, Piece::Text("http://x".to_owned()));
    Redirect {
        status: one(&[301, 302, 303, 307, 308], rng),
        location,
    }
}

fn when(listeners: &[String], rng: &mut Rng) -> Match {
    Match {
        listeners: rarely(listeners, rng),
        hosts: hosts(rng),
        paths: paths(rng),
        methods: rarely(METHODS, rng)
            .iter()
            .map(ToString::to_string)
            .collect(),
        fields: conditions(&["X-User", "x-canary", "Cookie", "Accept"], rng),
        query: conditions(&["a", "debug", "q"], rng),
    }
}

/// Mostly nothing: routes with many conditions take no request at all.
fn rarely<T: Clone>(of: &[T], rng: &mut Rng) -> Vec<T> {
    if rng.u8(..4) == 0 {
        some(of, rng)
    } else {
        Vec::new()
    }
}

fn hosts(rng: &mut Rng) -> Vec<HostPattern> {
    let exact = ["a.example.com", "example.com", "other.test", "[::1]"];
    let suffixes = [".example.com", ".a.example.com", ".test"];
    let mut hosts: Vec<HostPattern> = exact.map(|host| HostPattern::Exact(host.into())).into();
    hosts.extend(suffixes.map(|end| HostPattern::Suffix(end.into())));
    rarely(&hosts, rng)
}

fn paths(rng: &mut Rng) -> Vec<PathPattern> {
    let exact = ["/", "/v1", "/v1/x", "/café", "/a%2fb", "/~user"];
    let prefixes = ["/", "/v1", "/v1/", "/static", "/caf%c3%a9"];
    let globs = ["/v*/x", "/**/b", "/static/*.js", "/v1/**", "*"];
    let mut paths: Vec<PathPattern> = exact.map(|path| PathPattern::Exact(path.into())).into();
    paths.extend(prefixes.map(|path| PathPattern::Prefix(path.into())));
    paths.extend(globs.map(|path| PathPattern::Glob(path.into())));
    rarely(&paths, rng)
}

fn conditions(names: &[&str], rng: &mut Rng) -> Vec<Condition> {
    if rng.u8(..6) != 0 {
        return Vec::new();
    }
    let test = |rng: &mut Rng| match rng.u8(..4) {
        0 => Test::Present,
        1 => Test::Absent,
        2 => Test::Is(one(&["1", "b", "", "s=1"], rng).to_owned()),
        _ => Test::Like(one(&["*", "*1", "s=*", "*b*"], rng).to_owned()),
    };
    let names = (0..rng.usize(1..=2)).map(|_| one(names, rng).to_owned());
    let names: Vec<String> = names.collect();
    names
        .into_iter()
        .map(|name| Condition {
            name,
            test: test(rng),
        })
        .collect()
}

fn rewrite(rng: &mut Rng) -> Option<Rewrite> {
    match rng.u8(..6) {
        0 => Some(Rewrite::Path(
            one(&["/", "/set", "/caf\u{e9}", "set"], rng).to_owned(),
        )),
        1 | 2 => Some(Rewrite::Prefix {
            from: one(&["", "/v1", "/v1/", "/static"], rng).to_owned(),
            to: one(&["", "/", "/new", "/new/"], rng).to_owned(),
        }),
        _ => None,
    }
}

/// Of fields that may be changed, and of those that may not.
fn edits(rng: &mut Rng) -> FieldEdits {
    let names = [
        "X-User",
        "x-canary",
        "Accept",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "Forwarded",
        "X-Real-IP",
        "Via",
        "Host",
        "Cookie",
        "Content-Length",
        "Connection",
        "X-Request-Id",
        "X-New",
    ];
    let mut lines = |values: &[&str]| -> Vec<(String, String)> {
        let names = rarely(&names, rng);
        let names = names.into_iter().take(3);
        names
            .map(|name| (name.to_owned(), one(values, rng).to_owned()))
            .collect()
    };
    let (set, add) = (lines(&["set", "inner.test", ""]), lines(&["added", "1"]));
    FieldEdits {
        remove: rarely(&names, rng).into_iter().map(str::to_owned).collect(),
        set,
        add,
    }
}
