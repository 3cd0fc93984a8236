//! Any bytes as a request head: nothing panics, what is forwarded reads as the one request that was judged, also where the
//! operator has changed it, and the route that is found is the first of those whose conditions hold.

#![no_main]

#[path = "../../tests/strict/mod.rs"]
mod strict;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use rondel::config::{
    AmbiguousPaths, Condition, Config, HashOn, HostPattern, Match, PathPattern, Pool, Rewrite,
    Route, Test,
};
use rondel::http::body::Body;
use rondel::http::forward::{self, Edits, Facts};
use rondel::http::inquiry::Inquiry;
use rondel::http::{Framing, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, Reject, Request, TARGET_BYTES_MAX};
use rondel::route::{self, Routes};
use strict::meaning::{Meant, one_request};
use strict::reader::{Ending, text};

fuzz_target!(|input: &[u8]| {
    for believed in [false, true] {
        check(input, believed);
    }
});

fn check(input: &[u8], believed: bool) {
    let mut out = Vec::new();
    let (len, judged) = match rewrite(input, "rondel", believed, &mut out) {
        Ok(Some(found)) => found,
        Ok(None) | Err(_) => {
            return assert!(out.is_empty(), "nothing is written before all is judged");
        }
    };
    assert!(0 < len && len <= input.len());
    assert!(
        judged.framing != Framing::UntilClose,
        "a request never ends with its connection"
    );
    let id = &out[usize::from(judged.id.start)..][..usize::from(judged.id.len)];
    assert!(!id.is_empty() && id.iter().all(u8::is_ascii_graphic));

    // What stands behind a head is none of its business, and less than the head is no head.
    let mut alone = Vec::new();
    let found = rewrite(&input[..len], "rondel", believed, &mut alone);
    assert_eq!((found, &alone), (Ok(Some((len, judged))), &out));
    for cut in (0..len).step_by(1 + len / 256) {
        assert_eq!(
            rewrite(&input[..cut], "rondel", believed, &mut alone),
            Ok(None),
            "cut at {cut}"
        );
    }

    strictly(&input[..len], &input[len..], &out, &judged);
    routed(&input[..len], believed, &judged);

    // The next hop, as strict as we are, reads the same request and all of it. It may find that our own fields made it
    // too large, and that it was the last hop allowed.
    match rewrite(&out, "next", believed, &mut Vec::new()) {
        Ok(Some((len, read))) => {
            assert_eq!(len, out.len());
            assert_eq!(read.method, judged.method);
            assert_eq!(read.framing, judged.framing);
            assert_eq!(read.upgrade, judged.upgrade);
            assert_eq!(read.trailers, judged.trailers);
            assert_eq!(read.expects_continue, judged.expects_continue);
            assert!(read.keep_alive || judged.upgrade, "upstreams are kept");
        }
        Err(Reject::HeadTooLarge) => {
            let fields = out.iter().filter(|byte| **byte == b'\n').count() - 2;
            assert!(out.len() > HEAD_BYTES_MAX || fields > HEAD_FIELDS_MAX);
        }
        Err(Reject::TargetTooLong) => assert!(out.len() > TARGET_BYTES_MAX),
        Err(Reject::HopsSpent) => assert!(out.starts_with(b"OPTIONS ")),
        other => panic!("{other:?} from {:?}", String::from_utf8_lossy(&out)),
    }
}

/// What goes to the backend, head and body, is exactly one request for a strict reader that shares no code with us: the one
/// that came in. As a body serves what stands behind the head, and a plain one.
fn strictly(head: &[u8], behind: &[u8], out: &[u8], judged: &Request) {
    let plain: &[u8] = match judged.framing {
        Framing::Length(length) if length < 4096 => &[b'x'; 4096][..length as usize],
        Framing::Chunked => b"5;a=b\r\nhello\r\n00\r\nX-T: 1\r\n\r\n",
        Framing::None | Framing::Length(_) | Framing::UntilClose => b"",
    };
    for body in [behind, plain] {
        let (mut bytes, mut all) = (body.to_vec(), out.to_vec());
        let mut flow = Body::request(judged);
        if let Ok(passed) = flow.pass(&mut bytes) {
            all.extend_from_slice(&bytes[..passed.made]);
        }
        let read = one_request(&all);
        let shown = || String::from_utf8_lossy(&all).into_owned();
        if !flow.is_done() {
            assert!(
                read.is_err(),
                "less than a request passes for one: {:?}",
                shown()
            );
            continue;
        }
        let message = read.unwrap_or_else(|why| panic!("{why}: {:?}", shown()));
        let framing = match judged.framing {
            // An empty body may be told of or not.
            Framing::None => message.framing().expect("it was read"),
            Framing::Length(length) => Some(Ending::Length(length as usize)),
            Framing::Chunked | Framing::UntilClose => Some(Ending::Chunked),
        };
        assert!(judged.framing != Framing::None || message.body.is_empty());
        let body = match judged.framing {
            Framing::Length(length) => body[..length as usize].to_vec(),
            Framing::None | Framing::Chunked | Framing::UntilClose => message.body.clone(),
        };
        let meant = Meant {
            request: Some(meant_by(head)),
            framing,
            body,
            trailers: message.trailers.clone(),
            lacks: ["keep-alive", "proxy-connection"]
                .map(str::to_owned)
                .to_vec(),
            ..Meant::default()
        };
        meant
            .check(&message)
            .unwrap_or_else(|why| panic!("{why}: {:?}", shown()));
        assert!(judged.trailers || message.trailers.is_empty());
    }
}

/// Method, target and host of a head that was found good, by the shortest reading there is.
fn meant_by(head: &[u8]) -> (String, String, String) {
    let head = text(head);
    let mut lines = head.trim_start_matches("\r\n").split("\r\n");
    let mut parts = lines.next().unwrap_or_default().split(' ');
    let method = parts.next().unwrap_or_default().to_owned();
    let target = parts.next().unwrap_or_default();
    let host = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map_or("192.0.2.1:8080", |(_, value)| {
            value.trim_matches([' ', '\t'])
        });
    if target.starts_with('/') || target == "*" {
        return (method, target.to_owned(), host.to_owned());
    }
    let behind = target.split_once("://").map_or("", |(_, behind)| behind);
    let end = behind.find(['/', '?']).unwrap_or(behind.len());
    let (host, path) = behind.split_at(end);
    let path = match path.chars().next() {
        Some('/') => path.to_owned(),
        None if method == "OPTIONS" => "*".to_owned(),
        _ => format!("/{path}"),
    };
    (method, path, host.to_owned())
}

/// A route is found, what it changes is changed, and the next hop still reads the same request.
fn routed(head: &[u8], believed: bool, judged: &Request) {
    static ROUTES: LazyLock<Routes> = LazyLock::new(|| Routes::new(&config()));
    let choose = |inquiry: &Inquiry<'_>| {
        let mut places = 0..ROUTES.len();
        let first = places.find(|&place| ROUTES.why_not(place, 0, inquiry).is_none());
        assert_eq!(ROUTES.find(0, inquiry), Ok(first));
        for on in [
            HashOn::Client,
            HashOn::Path,
            HashOn::Cookie("a".to_owned()),
            HashOn::Field("A".to_owned()),
        ] {
            let _ = route::key(inquiry, &on);
        }
        Ok(first.map_or(Edits::default(), |place| Edits::of(ROUTES.get(place))))
    };
    let mut out = Vec::new();
    match forward::request(
        head,
        &facts("rondel", believed),
        choose,
        &mut out,
        Vec::reserve,
    ) {
        Ok(found) => assert_eq!(found.map(|(len, _)| len), Some(head.len())),
        Err(reject) => {
            let too_large = matches!(reject, Reject::HeadTooLarge | Reject::TargetTooLong);
            return assert!(too_large && out.is_empty(), "{reject:?}");
        }
    }
    // That it is too much for the next hop, or its last, is told above.
    if let Ok(found) = rewrite(&out, "next", believed, &mut Vec::new()) {
        let (len, read) = found.expect("it is whole");
        assert_eq!((len, read.method), (out.len(), judged.method));
        assert_eq!(
            (read.framing, read.upgrade),
            (judged.framing, judged.upgrade)
        );
    }
}

/// Routes with conditions of every kind.
fn config() -> Config {
    let text = str::to_owned;
    let condition = |name: &str, test: Test| Condition {
        name: text(name),
        test,
    };
    let whens = [
        Match {
            hosts: vec![
                HostPattern::Exact(text("a")),
                HostPattern::Suffix(text(".a")),
            ],
            paths: vec![
                PathPattern::Exact(text("/a")),
                PathPattern::Exact(text("/b/")),
            ],
            ..Match::default()
        },
        Match {
            paths: vec![
                PathPattern::Prefix(text("/a")),
                PathPattern::Glob(text("/*a/**b*/")),
            ],
            query: vec![condition("a", Test::Like(text("*a*b")))],
            ..Match::default()
        },
        Match {
            fields: vec![condition("A", Test::Is(text("a")))],
            methods: vec![text("GET")],
            ..Match::default()
        },
        Match {
            hosts: vec![HostPattern::Exact(text("h"))],
            fields: vec![condition("A", Test::Absent)],
            ..Match::default()
        },
        Match {
            query: vec![condition("a", Test::Present)],
            ..Match::default()
        },
    ];
    let mut config = Config::simple(&[], Pool::new("default", Vec::new()));
    config.ambiguous_paths = AmbiguousPaths::Allow;
    config.routes = whens
        .into_iter()
        .map(|when| {
            let mut route = Route::all_to(0);
            route.when = when;
            route.rewrite = Some(Rewrite::Prefix {
                from: text("/a"),
                to: text("/new"),
            });
            route.request_fields.remove = vec![text("A"), text("Content-Length")];
            route.request_fields.set = vec![(text("Host"), text("b")), (text("B"), text("c"))];
            Arc::new(route)
        })
        .collect();
    config
}

/// Rewrites the head as the proxy of that name, for a client that is `believed` about others or is not.
fn rewrite(
    input: &[u8],
    name: &str,
    believed: bool,
    out: &mut Vec<u8>,
) -> Result<Option<(usize, Request)>, Reject> {
    forward::request(
        input,
        &facts(name, believed),
        forward::unchanged,
        out,
        Vec::reserve,
    )
}

type Trusts = fn(IpAddr) -> bool;
type Local = fn() -> SocketAddr;

fn facts(name: &str, believed: bool) -> Facts<'_, Trusts, Local> {
    Facts {
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        local: || SocketAddr::from(([192, 0, 2, 1], 8080)),
        trusts: if believed { |_| true } else { |_| false },
        name,
        forwarded: believed,
        id: b"0123456789abcdef",
    }
}
