//! Heads as bytes in, heads as bytes out. Every case is fed whole, cut at every byte, and with bytes behind it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::{Framing, Method, Version};
use super::*;

mod edits;
mod properties;
mod received;
mod responses;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const BEFORE: &[u8] = b"before";
/// What we write behind the fields of a request to `h` from [`CLIENT`].
const CHAIN: &str = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nVia: 1.1 rondel\r\n";
const ID: &str = "X-Request-Id: fresh\r\n";

type Trusts = fn(IpAddr) -> bool;
type Local = fn() -> SocketAddr;

/// Trusts clients in 10/8.
fn facts(client: IpAddr) -> Facts<'static, Trusts, Local> {
    Facts {
        client,
        local: || SocketAddr::from(([127, 0, 0, 1], 8080)),
        trusts: |addr| matches!(addr, IpAddr::V4(addr) if addr.octets()[0] == 10),
        name: "rondel",
        forwarded: false,
        id: b"fresh",
    }
}

/// What `request` makes of the whole; it must make the same, or nothing yet, of every part.
fn rewritten(input: &[u8], facts: &Facts<'_, Trusts, Local>) -> Result<(Request, String), Reject> {
    let run = |input: &[u8]| {
        let mut out = BEFORE.to_vec();
        let found = request(input, facts, unchanged, &mut out, Vec::reserve);
        assert!(out.starts_with(BEFORE));
        assert!(matches!(found, Ok(Some(_))) || out == BEFORE);
        found.map(|found| found.map(|(len, request)| (len, request, out[BEFORE.len()..].to_vec())))
    };
    let whole = run(input).map(|found| found.expect("a whole head"));
    for cut in 0..input.len() {
        match run(&input[..cut]) {
            Ok(None) => {}
            part => assert_eq!(
                part.err(),
                whole.as_ref().err().copied(),
                "{cut}: {}",
                input.escape_ascii()
            ),
        }
    }
    let behind = [input, b"GET / HTTP/1.1\r\n\r\n"].concat();
    assert_eq!(
        run(&behind).map(|found| found.expect("a whole head")),
        whole
    );
    let (len, request, out) = whole?;
    assert_eq!(len, input.len());
    let id = &out[usize::from(request.id.start)..][..usize::from(request.id.len)];
    let line = [b"-id: ", id, b"\r\n"].concat().to_ascii_lowercase();
    assert!(memchr::memmem::find(&out.to_ascii_lowercase(), &line).is_some());
    Ok((request, String::from_utf8(out).unwrap()))
}

/// A request with these lines, from anybody.
fn from(client: IpAddr, lines: &str) -> Result<(Request, String), Reject> {
    rewritten(format!("{lines}\r\n").as_bytes(), &facts(client))
}

fn said(lines: &str) -> Request {
    from(CLIENT, lines).expect(lines).0
}

fn refused(lines: &str, expected: Reject) {
    assert_eq!(
        from(CLIENT, lines).map(|(_, out)| out),
        Err(expected),
        "{lines:?}"
    );
}

/// What is written for these lines, with everything that we add spelt out.
fn check(lines: &str, expected: &str) {
    assert_eq!(
        from(CLIENT, lines).map(|(_, out)| out).as_deref(),
        Ok(expected),
        "{lines:?}"
    );
}

/// What becomes of fields in a 1.1 request for `h`, without what is always added.
fn fields(received: &str, expected: &str) {
    let lines = format!("POST / HTTP/1.1\r\nHost: h\r\n{received}");
    check(
        &lines,
        &format!("POST / HTTP/1.1\r\nHost: h\r\n{expected}{CHAIN}{ID}\r\n"),
    );
}

#[test]
fn a_plain_request_passes_with_its_names_and_order() {
    let (request, out) = from(
        CLIENT,
        "GET /a?b HTTP/1.1\r\naccept:*/*\r\nHost: h\r\nB_c:  \t\r\nCookie: a\r\nCookie: b\r\nUser-Agent: x  y \r\n",
    )
    .unwrap();
    let fields =
        "accept: */*\r\nHost: h\r\nB_c: \r\nCookie: a\r\nCookie: b\r\nUser-Agent: x  y\r\n";
    assert_eq!(out, format!("GET /a?b HTTP/1.1\r\n{fields}{CHAIN}{ID}\r\n"));
    let expected = Request {
        method: Method::Idempotent,
        version: Version::Http11,
        framing: Framing::None,
        keep_alive: true,
        trailers: false,
        upgrade: false,
        expects_continue: false,
        id: request.id,
    };
    assert_eq!(request, expected);
}

#[test]
fn methods_are_told_apart_by_their_exact_name() {
    let method = |name: &str| said(&format!("{name} / HTTP/1.1\r\nHost: h\r\n")).method;
    assert_eq!(method("HEAD"), Method::Head);
    for name in ["GET", "OPTIONS", "PUT", "DELETE"] {
        assert_eq!(method(name), Method::Idempotent);
    }
    for name in ["POST", "PATCH", "get", "head", "PROPFIND", "M-SEARCH", "!"] {
        assert_eq!(method(name), Method::Other);
    }
    refused(
        "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n",
        Reject::MethodRefused,
    );
    refused("TRACE / HTTP/1.1\r\nHost: h\r\n", Reject::MethodRefused);
}

#[test]
fn the_authority_of_a_target_replaces_the_host() {
    let chain = CHAIN.replace(": h\r", ": t:8\r");
    check(
        "GET http://t:8/a HTTP/1.1\r\nA: b\r\nhOST: h\r\n",
        &format!("GET /a HTTP/1.1\r\nA: b\r\nhOST: t:8\r\n{chain}{ID}\r\n"),
    );
    let old = chain.replace("1.1 rondel", "1.0 rondel");
    check(
        "OPTIONS http://t:8 HTTP/1.0\r\nA: b\r\n",
        &format!("OPTIONS * HTTP/1.1\r\nHost: t:8\r\nA: b\r\n{old}{ID}\r\n"),
    );
    refused("GET http://t/ HTTP/1.1\r\n", Reject::BadHost);
    refused("GET http://t/ HTTP/1.1\r\nHost: a b\r\n", Reject::BadHost);
}

#[test]
fn there_is_exactly_one_good_host() {
    for lines in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a, b\r\n",
        "Host: a/b\r\n",
        "Host: a:x\r\n",
    ] {
        refused(&format!("GET / HTTP/1.1\r\n{lines}"), Reject::BadHost);
    }
    refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n", Reject::BadHost);
    let (chain, none) = (
        CHAIN.replace("1.1 rondel", "1.0 rondel"),
        CHAIN.replace("X-Forwarded-Host: h\r\n", ""),
    );
    let listener = chain.replace(": h\r", ": 127.0.0.1:8080\r");
    check(
        "GET / HTTP/1.0\r\n",
        &format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n{listener}{ID}\r\n"),
    );
    check(
        "GET / HTTP/1.1\r\nHost:\r\n",
        &format!("GET / HTTP/1.1\r\nHost: \r\n{none}{ID}\r\n"),
    );
    let mut facts = facts(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let locals: [(Local, &str); 2] = [
        (|| "[fe80::1%3]:80".parse().unwrap(), "[fe80::1]:80"),
        (|| "[::ffff:10.0.0.9]:8".parse().unwrap(), "10.0.0.9:8"),
    ];
    for (local, host) in locals {
        facts.local = local;
        let (_, out) = rewritten(b"GET / HTTP/1.0\r\n\r\n", &facts).unwrap();
        let lines = format!("\r\nHost: {host}\r\nX-Forwarded-For: ::1\r\n");
        assert!(out.contains(&lines), "{out}");
    }
}

#[test]
fn where_a_request_came_in_is_asked_only_for_a_host_that_is_left_out() {
    let mut facts = facts(CLIENT);
    facts.local = || panic!("it has a host, or is refused");
    for head in [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.0\r\nHost:\r\n\r\n",
        "GET http://h/ HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ] {
        let _ = rewritten(head.as_bytes(), &facts);
    }
}

#[test]
fn fields_of_the_connection_stay_here() {
    fields(
        "Connection: keep-alive, x-a, ,\r\nX-A: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nConnection: X-B\r\nx-b: 2\r\nTE: gzip\r\n\
         Proxy-Authorization: x\r\nProxy-Authenticate: x\r\nTrailer: x\r\nUpgrade: x\r\nHTTP2-Settings: x\r\nX-C: 3\r\n",
        "X-C: 3\r\n",
    );
    let stays =
        "Authorization: a\r\nCookie: b\r\nContent-Type: c\r\nContent-Length: 3\r\nX-D: 4\r\n";
    fields(
        &format!(
            "Connection: host,authorization,cookie,content-type,content-length,via\r\n{stays}"
        ),
        stays,
    );
    refused(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: a b\r\n",
        Reject::Malformed,
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: {}\r\n",
        "a,".repeat(101)
    );
    refused(&many, Reject::HeadTooLarge);
}

#[test]
fn framing_is_written_anew_at_its_place() {
    fields(
        "Content-Length: 007\r\nA: b\r\n",
        "Content-Length: 7\r\nA: b\r\n",
    );
    fields(
        "content-length: 0\r\nA: b\r\n",
        "content-length: 0\r\nA: b\r\n",
    );
    fields(
        "Transfer-Encoding: CHUNKED\r\nA: b\r\n",
        "Transfer-Encoding: chunked\r\nA: b\r\n",
    );
    let framing = |line: &str| said(&format!("POST / HTTP/1.1\r\nHost: h\r\n{line}")).framing;
    assert_eq!(framing(""), Framing::None);
    assert_eq!(framing("Content-Length: 7\r\n"), Framing::Length(7));
    assert_eq!(framing("Transfer-Encoding: chunked\r\n"), Framing::Chunked);
    for (lines, reject) in [
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            Reject::BadFraming,
        ),
        ("Content-Length: 5, 5\r\n", Reject::BadFraming),
        ("Content-Length:\r\n", Reject::BadFraming),
        ("Content-Length: +5\r\n", Reject::BadFraming),
        (
            "Content-Length: 9223372036854775808\r\n",
            Reject::BodyTooLarge,
        ),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Reject::BadFraming,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Reject::BadFraming,
        ),
        ("Transfer-Encoding:\r\n", Reject::BadFraming),
        ("Transfer-Encoding: chunked,\r\n", Reject::BadFraming),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            Reject::CodingUnknown,
        ),
        ("Transfer-Encoding: \x0bchunked\r\n", Reject::Malformed),
        ("Transfer-Encoding : chunked\r\n", Reject::Malformed),
    ] {
        refused(&format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}"), reject);
    }
    refused(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
        Reject::BadFraming,
    );
}

#[test]
fn trailers_pass_where_the_client_takes_them() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let te = "TE: trailers\r\nConnection: TE\r\n";
    fields(
        &format!("te: gzip, Trailers;q=0.5\r\nTrailer: d\r\n{chunked}"),
        &format!("Trailer: d\r\n{chunked}{te}"),
    );
    fields("TE: trailers\r\nTrailer: d\r\n", te);
    for none in [
        "TE: trailers;q=0\r\n",
        "TE: trailers; q=0.000\r\n",
        "TE: xtrailers\r\n",
        "TE:\r\n",
    ] {
        fields(&format!("{none}Trailer: d\r\n{chunked}"), chunked);
    }
    assert!(!said("GET / HTTP/1.0\r\nTE: trailers\r\n").trailers);
}

#[test]
fn an_upgrade_passes_only_when_nothing_else_can_be_meant() {
    let head = |version: &str, lines: &str| {
        said(&format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}")).upgrade
    };
    fields(
        "connection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n",
        "Upgrade: websocket\r\nA: b\r\nConnection: Upgrade\r\n",
    );
    fields(
        "Connection: keep-alive, upgrade, TE\r\nTE: trailers\r\nUpgrade: a/1\r\n",
        "Upgrade: a/1\r\nTE: trailers\r\nConnection: TE, Upgrade\r\n",
    );
    let asked = "Connection: upgrade\r\nUpgrade: a\r\n";
    assert!(head("1.1", asked) && head("1.1", &format!("{asked}Content-Length: 0\r\n")));
    assert!(!head("1.0", asked));
    for lines in [
        "Upgrade: a\r\n",
        "Connection: upgrade\r\n",
        "Connection: upgrade\r\nUpgrade: ,\r\n",
    ] {
        assert!(!head("1.1", lines));
    }
    fields(
        &format!("{asked}Content-Length: 1\r\n"),
        "Content-Length: 1\r\n",
    );
    fields(
        &format!("{asked}Transfer-Encoding: chunked\r\n"),
        "Transfer-Encoding: chunked\r\n",
    );
}

#[test]
fn an_expectation_goes_with_its_body() {
    let body = "Content-Length: 1\r\n";
    fields(
        &format!("Expect: 100-Continue\r\n{body}"),
        &format!("Expect: 100-Continue\r\n{body}"),
    );
    fields("Expect: 100-continue\r\n", "");
    fields(
        "Expect: 100-continue\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\n",
    );
    let expects = |version: &str| {
        said(&format!(
            "PUT / HTTP/{version}\r\nHost: h\r\nExpect: 100-continue\r\n{body}"
        ))
        .expects_continue
    };
    assert!(expects("1.1") && !expects("1.0"));
    for value in [
        "200-ok",
        "100-continue, x",
        "100-continue;a=b",
        "",
        "100-continue\r\nExpect: x",
    ] {
        refused(
            &format!("PUT / HTTP/1.1\r\nHost: h\r\nExpect: {value}\r\n{body}"),
            Reject::ExpectationUnknown,
        );
        assert!(!said(&format!("PUT / HTTP/1.0\r\nExpect: {value}\r\n{body}")).expects_continue);
    }
}

#[test]
fn hops_are_counted_for_options_only() {
    let options = |hops: &str| {
        from(CLIENT, &format!("OPTIONS * HTTP/1.1\r\nHost: h\r\n{hops}")).map(|(_, out)| out)
    };
    assert!(
        options("max-forwards: 010\r\n")
            .unwrap()
            .contains("\r\nmax-forwards: 9\r\n")
    );
    assert!(options("Max-Forwards: 99999999999999999999999\r\n").is_ok());
    assert_eq!(options("Max-Forwards: 0\r\n"), Err(Reject::HopsSpent));
    for bad in ["x", "-1", "", "1\r\nMax-Forwards: 1"] {
        assert_eq!(
            options(&format!("Max-Forwards: {bad}\r\n")),
            Err(Reject::Malformed)
        );
    }
    fields("Max-Forwards: 0\r\n", "Max-Forwards: 0\r\n");
    // The reason given does not depend on what else is wrong behind it.
    let both = "OPTIONS / HTTP/1.1\r\nMax-Forwards: x\r\n\r\n";
    refused(both, Reject::Malformed);
}

#[test]
fn a_connection_is_kept_by_the_rules_of_its_version() {
    let keeps = |version: &str, value: &str| {
        said(&format!(
            "GET / HTTP/{version}\r\nHost: h\r\nConnection: {value}\r\n"
        ))
        .keep_alive
    };
    assert!(keeps("1.1", "") && keeps("1.1", "keep-alive") && keeps("1.0", "x, Keep-Alive"));
    assert!(!keeps("1.0", "") && !keeps("1.1", "x, CLOSE") && !keeps("1.0", "keep-alive, close"));
}

#[test]
fn what_was_written_of_a_refused_head_is_taken_back() {
    let id = vec![b'a'; 1 << 16];
    let facts = Facts {
        id: &id,
        ..facts(CLIENT)
    };
    let found = rewritten(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", &facts);
    assert_eq!(found.map(|(_, out)| out), Err(Reject::HeadTooLarge));
}
