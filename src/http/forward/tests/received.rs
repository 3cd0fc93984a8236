//! Through whose hands a request went: what is believed of it, and what is added.

use super::super::super::{HEAD_BYTES_MAX, WRITTEN_HEAD_BYTES_MAX};
use super::*;

#[test]
fn what_strangers_say_of_others_is_dropped() {
    fields(
        "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Anything: x\r\n\
         Forwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\nX_Forwarded_For: 1.1.1.1\r\nx_real-ip: 1.1.1.1\r\n",
        "",
    );
}

#[test]
fn what_the_trusted_say_of_others_is_kept_and_carried_on() {
    let lines = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 9.9.9.9, 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 10.0.0.9\r\n\
        X-Forwarded-Port: 443\r\nX-Real-IP: 1.1.1.1\r\nX_Forwarded_For: 2.2.2.2\r\nForwarded: for=8.8.8.8, for=1.1.1.1\r\n";
    let kept = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 1.1.1.1\r\n";
    let chain = "X-Forwarded-For: 1.1.1.1, 10.0.0.9, 10.0.0.1\r\nX-Forwarded-Host: h\r\n";
    let (_, out) = from(PROXY, lines).unwrap();
    let believed = "Forwarded: for=1.1.1.1\r\n";
    assert_eq!(
        out,
        format!("{kept}{chain}{believed}Via: 1.1 rondel\r\n{ID}\r\n")
    );
    let told = Facts {
        forwarded: true,
        ..facts(PROXY)
    };
    let (_, out) = rewritten(format!("{lines}\r\n").as_bytes(), &told).unwrap();
    let element = "Forwarded: for=1.1.1.1, for=10.0.0.1;host=\"h\";proto=http\r\n";
    assert_eq!(
        out,
        format!("{kept}{chain}{element}Via: 1.1 rondel\r\n{ID}\r\n")
    );
    let (_, out) = from(
        PROXY,
        "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: t\r\n",
    )
    .unwrap();
    let chain = "X-Forwarded-Host: t\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\n";
    assert_eq!(
        out,
        format!("GET / HTTP/1.1\r\nHost: h\r\n{chain}Via: 1.1 rondel\r\n{ID}\r\n")
    );
}

#[test]
fn of_forwarded_no_more_is_believed_where_none_is_written() {
    for (received, believed) in [
        (
            "Forwarded: for=9.9.9.9\r\nForwarded: for=1.1.1.1;proto=https, for=10.0.0.9\r\n",
            "Forwarded: for=1.1.1.1;proto=https, for=10.0.0.9\r\n",
        ),
        ("Forwarded: for=1.1.1.1, for=_hidden\r\n", ""),
        ("Forwarded: for=\"1.1.1.1\r\n", ""),
        ("Forwarded:\r\nforwarded: ,\r\n", ""),
    ] {
        let lines = format!("GET / HTTP/1.1\r\nHost: h\r\n{received}");
        let (_, out) = from(PROXY, &lines).unwrap();
        let chain =
            "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n";
        assert_eq!(
            out,
            format!("GET / HTTP/1.1\r\nHost: h\r\n{chain}{believed}Via: 1.1 rondel\r\n{ID}\r\n")
        );
    }
}

#[test]
fn forwarded_names_the_client_where_it_is_wanted() {
    let client = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let told = Facts {
        forwarded: true,
        ..facts(client)
    };
    let (_, out) = rewritten(
        b"GET / HTTP/1.1\r\nHost: \r\nForwarded: for=10.0.0.1\r\n\r\n",
        &told,
    )
    .unwrap();
    assert!(out.contains("\r\nX-Forwarded-For: ::1\r\n"));
    assert!(out.contains("\r\nForwarded: for=\"[::1]\";proto=http\r\n"));
    assert_eq!(out.matches("Forwarded: for").count(), 1);
}

#[test]
fn the_longest_head_is_written_no_longer_than_is_reckoned_with() {
    let told = Facts {
        forwarded: true,
        name: &"n".repeat(64),
        id: &[b'i'; 32],
        ..facts(IpAddr::V6(
            "1111:2222:3333:4444:5555:6666:7777:8888".parse().unwrap(),
        ))
    };
    let host = format!("{}:65535", "h".repeat(255));
    let lead = format!(
        "GET http://{host} HTTP/1.1\r\nHost:h\r\nTE:trailers\r\nConnection:upgrade\r\nUpgrade:x\r\n"
    );
    let many = "a:\r\n".repeat(95);
    let rest = HEAD_BYTES_MAX - lead.len() - many.len() - "b:\r\n\r\n".len();
    let head = format!("{lead}{many}b:{}\r\n\r\n", "v".repeat(rest));
    let mut out = Vec::new();
    let found = request(head.as_bytes(), &told, unchanged, &mut out, Vec::reserve);
    assert!(matches!(found, Ok(Some((HEAD_BYTES_MAX, _)))), "{found:?}");
    let grown = out.len() - HEAD_BYTES_MAX;
    assert!(grown <= ADDED_BYTES_MAX + 64 + 32, "{grown}");
    // The target's host went, and so did lines that came.
    let gone = host.len() + "http://".len() + lead.len() - lead.find("TE:").unwrap();
    assert!(
        grown + gone + 100 > ADDED_BYTES_MAX + 64 + 32,
        "the reckoning is not idle: {grown}"
    );
}

#[test]
fn a_chain_that_grows_beyond_what_is_reckoned_with_is_refused() {
    let mut all = facts(PROXY);
    all.trusts = |_| true;
    for (elements, fits) in [(1_000, true), (5_400, false)] {
        let chain = "::,".repeat(elements);
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {chain}\r\n\r\n");
        let mut out = Vec::new();
        match request(head.as_bytes(), &all, unchanged, &mut out, Vec::reserve) {
            Ok(Some(_)) => assert!(fits && out.len() <= WRITTEN_HEAD_BYTES_MAX),
            found => assert!(!fits && found == Err(Reject::HeadTooLarge) && out.is_empty()),
        }
    }
}

#[test]
fn a_request_that_was_here_already_is_a_loop() {
    for via in [
        "1.1 rondel",
        "1.0 a, 1.1 RONDEL (x)",
        "HTTP/1.1\trondel",
        "1.1 a\r\nVia: 1.1 rondel",
    ] {
        refused(
            &format!("GET / HTTP/1.1\r\nHost: h\r\nVia: {via}\r\n"),
            Reject::Loop,
        );
    }
    fields(
        "Via: 1.0 a, 1.1 rondel2 (rondel)\r\nVia: rondel\r\n",
        "Via: 1.0 a, 1.1 rondel2 (rondel)\r\nVia: rondel\r\n",
    );
}

#[test]
fn a_good_request_id_is_kept_and_a_bad_one_replaced() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\n";
    let good = "!".repeat(128);
    check(
        &format!("{head}x-request-ID: {good}\r\nA: b\r\n"),
        &format!("{head}x-request-ID: {good}\r\nA: b\r\n{CHAIN}\r\n"),
    );
    for bad in [
        String::new(),
        "a b".into(),
        "a\u{e9}".into(),
        "!".repeat(129),
        "a\r\nX-Request-Id: a".into(),
    ] {
        check(
            &format!("{head}X-Request-Id: {bad}\r\n"),
            &format!("{head}{CHAIN}{ID}\r\n"),
        );
    }
}
