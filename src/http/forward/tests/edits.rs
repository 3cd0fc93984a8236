//! What an operator has changed in heads, and who the client is to those who choose it.

use super::properties::{REQUESTS, Random};
use super::responses::{ASKED, DATE, DATED};
use super::*;
use crate::config::Rewrite;
use crate::http::WRITTEN_HEAD_BYTES_MAX;

fn fields(remove: &[&str], set: &[(&str, &str)], add: &[(&str, &str)]) -> FieldEdits {
    let lines = |lines: &[(&str, &str)]| {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        lines.iter().map(owned).collect()
    };
    FieldEdits {
        remove: remove.iter().map(|&name| name.to_owned()).collect(),
        set: lines(set),
        add: lines(add),
    }
}

/// What is written of the whole with these edits; of a part nothing, and nobody is asked.
fn edited(client: IpAddr, input: &str, edits: Edits<'_>) -> Result<String, Reject> {
    for cut in 0..input.len() {
        let ask = |_: &Inquiry<'_>| panic!("{cut}: no whole head");
        let mut out = BEFORE.to_vec();
        let found = request(
            &input.as_bytes()[..cut],
            &facts(client),
            ask,
            &mut out,
            Vec::reserve,
        );
        assert_eq!((found, out.as_slice()), (Ok(None), BEFORE), "{cut}");
    }
    let mut out = BEFORE.to_vec();
    let behind = [input, "GET / HTTP/1.1\r\n\r\n"].concat();
    let choose = |_: &Inquiry<'_>| Ok(edits);
    let found = request(
        behind.as_bytes(),
        &facts(client),
        choose,
        &mut out,
        Vec::reserve,
    );
    let out = out.strip_prefix(BEFORE).expect("what was there stays");
    match found {
        Ok(found) => {
            let (len, request) = found.expect("a whole head");
            assert_eq!(len, input.len());
            let id = &out[usize::from(request.id.start)..][..usize::from(request.id.len)];
            assert!(!id.is_empty() && memchr::memmem::find(out, id).is_some());
            // The next of our kind reads the same message.
            let next = Facts {
                name: "next",
                ..facts(client)
            };
            let again = self::request(out, &next, unchanged, &mut Vec::new(), Vec::reserve);
            let (len, again) = again.expect("what we write passes").expect("as a whole");
            assert_eq!((len, again.framing), (out.len(), request.framing));
            Ok(String::from_utf8(out.to_vec()).unwrap())
        }
        Err(reject) => {
            assert!(out.is_empty());
            Err(reject)
        }
    }
}

/// What becomes of a request for `h` with these lines.
fn check(received: &str, edits: &FieldEdits, expected: &str) {
    let edits = Edits {
        fields: Some(edits),
        ..Edits::default()
    };
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\n{received}\r\n");
    let found = edited(CLIENT, &head, edits);
    let expected = format!("POST / HTTP/1.1\r\n{expected}\r\n");
    assert_eq!(found, Ok(expected), "{received:?} {edits:?}");
}

#[test]
fn fields_are_removed_then_set_then_added() {
    let edits = fields(
        &["X-A", "cookie"],
        &[("X-B", "set"), ("x-d", "new")],
        &[("X-A", "added"), ("X-B", "added")],
    );
    check(
        "x-a: 1\r\nX-C: 2\r\nx-B: 3\r\nCookie: c\r\nX-A: 4\r\nX-E:5\r\n",
        &edits,
        &format!(
            "Host: h\r\nX-C: 2\r\nX-E: 5\r\nX-B: set\r\nx-d: new\r\nX-A: added\r\nX-B: added\r\n{CHAIN}{ID}"
        ),
    );
    check(
        "",
        &edits,
        &format!("Host: h\r\nX-B: set\r\nx-d: new\r\nX-A: added\r\nX-B: added\r\n{CHAIN}{ID}"),
    );
    check(
        "A: b\r\n",
        &fields(&[], &[], &[]),
        &format!("Host: h\r\nA: b\r\n{CHAIN}{ID}"),
    );
}

#[test]
fn the_host_can_be_set_and_what_was_asked_for_is_still_told() {
    let edits = fields(&[], &[("HOST", "b.example:8")], &[]);
    check(
        "A: b\r\n",
        &edits,
        &format!("Host: b.example:8\r\nA: b\r\n{CHAIN}{ID}"),
    );
    let edits = Edits {
        fields: Some(&edits),
        ..Edits::default()
    };
    let absolute = edited(CLIENT, "GET http://h/ HTTP/1.1\r\nhost: x\r\n\r\n", edits);
    assert_eq!(
        absolute,
        Ok(format!(
            "GET / HTTP/1.1\r\nhost: b.example:8\r\n{CHAIN}{ID}\r\n"
        ))
    );
    let old = edited(CLIENT, "GET / HTTP/1.0\r\nA: b\r\n\r\n", edits).unwrap();
    assert!(
        old.starts_with("GET / HTTP/1.1\r\nHost: b.example:8\r\nA: b\r\n"),
        "{old}"
    );
    assert!(
        old.contains("\r\nX-Forwarded-Host: 127.0.0.1:8080\r\n"),
        "{old}"
    );
    for bad in ["a b", "a/b", "a\r\nb"] {
        check(
            "",
            &fields(&["Host"], &[("Host", bad)], &[("Host", "x")]),
            &format!("Host: h\r\n{CHAIN}{ID}"),
        );
    }
}

#[test]
fn what_frames_a_message_or_belongs_to_the_connection_is_not_touched() {
    let names = [
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "TE",
        "Trailer",
        "Upgrade",
        "Keep-Alive",
        "Proxy-Connection",
        "Expect",
        "Max-Forwards",
        "Via",
        "X-Request-Id",
    ];
    let values: Vec<(&str, &str)> = names.iter().map(|&name| (name, "7")).collect();
    let edits = fields(&names, &values, &values);
    check(
        "Content-Length: 3\r\nExpect: 100-continue\r\nVia: 1.1 a\r\n",
        &edits,
        &format!(
            "Host: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\nVia: 1.1 a\r\n{CHAIN}{ID}"
        ),
    );
    for (name, value) in [
        ("a b", "x"),
        ("", "x"),
        ("A:", "x"),
        ("A", "b\r\nC: d"),
        ("A", "b\0"),
    ] {
        check(
            "",
            &fields(&[], &[(name, value)], &[(name, value)]),
            &format!("Host: h\r\n{CHAIN}{ID}"),
        );
    }
}

#[test]
fn what_we_tell_of_the_client_can_be_taken_away_or_set() {
    let via = "Via: 1.1 rondel\r\n";
    check(
        "X-Forwarded-Proto: x\r\n",
        &fields(
            &["x-forwarded-for", "X-Forwarded-Host"],
            &[("X-Forwarded-Proto", "https")],
            &[],
        ),
        &format!("Host: h\r\nX-Forwarded-Proto: https\r\n{via}{ID}"),
    );
    let edits = fields(&["Forwarded"], &[], &[]);
    let edits = Edits {
        fields: Some(&edits),
        ..Edits::default()
    };
    let found = edited(
        PROXY,
        "GET / HTTP/1.1\r\nHost: h\r\nForwarded: for=1.1.1.1\r\n\r\n",
        edits,
    );
    assert!(!found.unwrap().contains("Forwarded: for"));
}

#[test]
fn names_that_backends_may_take_for_one_another_are_edited_together() {
    let received = "X-User: 1\r\nX_User: 2\r\nx-USER_id: 3\r\nX-Users: 4\r\nXUser: 5\r\n";
    let rest = "X-Users: 4\r\nXUser: 5\r\n";
    for [user, id] in [["X-User", "x_user-ID"], ["X_USER", "X-User-Id"]] {
        check(
            received,
            &fields(&[user, id], &[], &[]),
            &format!("Host: h\r\n{rest}{CHAIN}{ID}"),
        );
        check(
            received,
            &fields(&[], &[(user, "a"), (id, "b")], &[]),
            &format!("Host: h\r\n{rest}{user}: a\r\n{id}: b\r\n{CHAIN}{ID}"),
        );
    }
    // Clients tell them apart.
    let head = "HTTP/1.1 204 No Content\r\nX_User: 2\r\nDate: x\r\n\r\n";
    let edits = fields(&["X-User"], &[], &[]);
    assert_eq!(answered(head, &edits, None).as_deref(), Ok(head));
}

#[test]
fn trailers_do_not_bring_in_what_is_taken_away_or_set() {
    let received = "TE: trailers\r\nTrailer: X-A\r\nTransfer-Encoding: chunked\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let te = "TE: trailers\r\nConnection: TE\r\n";
    check(
        received,
        &fields(&["X-A"], &[], &[]),
        &format!("Host: h\r\n{chunked}{CHAIN}{ID}"),
    );
    check(
        received,
        &fields(&[], &[("X-A", "b")], &[]),
        &format!("Host: h\r\n{chunked}X-A: b\r\n{CHAIN}{ID}"),
    );
    check(
        received,
        &fields(&[], &[], &[("X-A", "b")]),
        &format!("Host: h\r\nTrailer: X-A\r\n{chunked}X-A: b\r\n{te}{CHAIN}{ID}"),
    );
    let request = Request {
        trailers: true,
        ..ASKED
    };
    let head = "HTTP/1.1 200 OK\r\nTrailer: X-A\r\nTransfer-Encoding: chunked\r\nDate: x\r\n\r\n";
    for (edits, passes) in [
        (fields(&["X-A"], &[], &[]), false),
        (fields(&[], &[("X-A", "b")], &[]), false),
        (fields(&[], &[], &[("X-A", "b")]), true),
    ] {
        let asked = Asked {
            request: &request,
            close: false,
            date: DATE,
            edits: Some(&edits),
            set_cookie: None,
        };
        let mut out = Vec::new();
        let found = response(head.as_bytes(), &asked, &mut out, Vec::reserve);
        let (_, found) = found.expect("it goes on").expect("as a whole");
        let named = memchr::memmem::find(&out, b"\r\nTrailer: X-A\r\n").is_some();
        assert_eq!((found.trailers, named), (passes, passes), "{edits:?}");
    }
}

#[test]
fn edits_cannot_make_a_head_longer_than_is_written() {
    for bytes in [WRITTEN_HEAD_BYTES_MAX, WRITTEN_HEAD_BYTES_MAX - 20] {
        let edits = fields(&[], &[("A", &"a".repeat(bytes))], &[]);
        let edits = Edits {
            fields: Some(&edits),
            ..Edits::default()
        };
        let found = edited(CLIENT, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", edits);
        assert_eq!(found, Err(Reject::HeadTooLarge));
    }
}

#[test]
fn whatever_passes_of_mutated_requests_is_one_request_with_edits_too() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let names = [
        "Host",
        "A",
        "X-A",
        "Connection",
        "Content-Length",
        "Transfer-Encoding",
        "X-Forwarded-For",
        "Expect",
        "Cookie",
        "TE",
    ];
    let (mut passed, mut all) = (0, 0);
    for turn in 0..20_000 {
        let input = random.mutated(REQUESTS[turn % REQUESTS.len()]);
        let mut name = || names[random.below(names.len())];
        let fields = fields(&[name()], &[(name(), "9")], &[(name(), "chunked")]);
        let rewrite = Rewrite::Prefix {
            from: ["", "/a", "/"][random.below(3)].to_owned(),
            to: ["", "/new", "n"][random.below(3)].to_owned(),
        };
        let edits = Edits {
            rewrite: Some(&rewrite),
            fields: Some(&fields),
        };
        let facts = facts([CLIENT, PROXY][random.below(2)]);
        let mut plain = Vec::new();
        let without = request(&input, &facts, unchanged, &mut plain, Vec::reserve);
        let mut out = Vec::new();
        let found = request(&input, &facts, |_| Ok(edits), &mut out, Vec::reserve);
        all += 1;
        let Ok(Some((_, first))) = found else {
            assert_eq!(found, without, "edits alone are no reason to refuse");
            continue;
        };
        let next = Facts {
            name: "next",
            ..facts
        };
        let mut again = Vec::new();
        let second = request(&out, &next, unchanged, &mut again, Vec::reserve);
        if second == Err(Reject::HopsSpent) {
            continue;
        }
        let (len, second) = second.expect("what we write passes").expect("as a whole");
        assert_eq!(len, out.len(), "{}", out.escape_ascii());
        assert_eq!(
            (second.framing, second.method),
            (first.framing, first.method)
        );
        assert_eq!(
            (second.upgrade, second.trailers),
            (first.upgrade, first.trailers)
        );
        passed += 1;
    }
    assert!(passed > 1000 && passed < all, "{passed} of {all}");
}

fn check_rewrite(target: &str, rewrite: &Rewrite, expected: Result<&str, Reject>) {
    let edits = Edits {
        rewrite: Some(rewrite),
        ..Edits::default()
    };
    for (version, tail) in [
        ("1.1", CHAIN.to_owned()),
        ("1.0", CHAIN.replace("1.1 r", "1.0 r")),
    ] {
        let head = format!("OPTIONS {target} HTTP/{version}\r\nHost: h\r\nA: b\r\n\r\n");
        let expected = expected.map(|target| {
            format!("OPTIONS {target} HTTP/1.1\r\nHost: h\r\nA: b\r\n{tail}{ID}\r\n")
        });
        assert_eq!(
            edited(CLIENT, &head, edits),
            expected,
            "{target} {rewrite:?}"
        );
    }
}

#[test]
fn a_path_is_rewritten_and_its_query_stays() {
    let to = |path: &str| Rewrite::Path(path.to_owned());
    check_rewrite("/a?b=/c?d", &to("/new"), Ok("/new?b=/c?d"));
    check_rewrite("/a", &to("new"), Ok("/new"));
    check_rewrite("/a", &to(""), Ok("/"));
    check_rewrite("http://h?q", &to("/caf\u{e9} b"), Ok("/caf%C3%A9%20b?q"));
    check_rewrite("*", &to("/new"), Ok("*"));
    check_rewrite("/a", &to("/new?x"), Err(Reject::BadTarget));
    check_rewrite("/a", &to("/new#x"), Err(Reject::BadTarget));
    let long = "/".to_owned() + &"a".repeat(crate::http::TARGET_BYTES_MAX);
    check_rewrite("/a", &to(&long), Err(Reject::TargetTooLong));
}

#[test]
fn a_prefix_is_rewritten_by_whole_segments() {
    let from = |from: &str, to: &str| Rewrite::Prefix {
        from: from.to_owned(),
        to: to.to_owned(),
    };
    for (target, rewrite, expected) in [
        ("/api/x?y", from("/api", "/v2"), "/v2/x?y"),
        ("/api/x", from("/api", ""), "/x"),
        ("/api", from("/api", ""), "/"),
        ("/api?q", from("/api", "/v2"), "/v2?q"),
        ("/api/", from("/api", "/v2"), "/v2/"),
        ("/apix", from("/api", "/v2"), "/v2/apix"),
        ("/api/x", from("/api/", "/v2"), "/v2/x"),
        ("/api/x", from("/api/", ""), "/x"),
        ("/api/x", from("/api", "/"), "/x"),
        ("/api/x", from("/api", "/v2/"), "/v2/x"),
        ("/x", from("", "/v2"), "/v2/x"),
        ("/x", from("/", "/v2"), "/v2/x"),
        ("/x", from("", "/"), "/x"),
        ("/%61pi/%7ex%2f", from("/api", "/v2"), "/v2/~x%2F"),
        ("/x/../api/y", from("/api", "/v2"), "/v2/y"),
        ("/caf%c3%a9/x", from("/caf\u{e9}", ""), "/x"),
        ("*", from("", "/v2"), "*"),
    ] {
        check_rewrite(target, &rewrite, Ok(expected));
    }
}

#[test]
fn whoever_chooses_sees_what_is_asked_for_and_may_refuse() {
    let see = |head: &str| {
        let mut seen = None;
        let choose = |inquiry: &Inquiry<'_>| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let whole = [inquiry.host(), inquiry.path(), inquiry.query()].map(text);
            seen = Some((inquiry.method.to_owned(), whole, inquiry.fields().count()));
            Err(Reject::AmbiguousPath)
        };
        let mut out = BEFORE.to_vec();
        let found = request(
            head.as_bytes(),
            &facts(CLIENT),
            choose,
            &mut out,
            Vec::reserve,
        );
        assert_eq!(
            (found, out.as_slice()),
            (Err(Reject::AmbiguousPath), BEFORE)
        );
        let (method, whole, fields) = seen.expect("it is a whole head");
        format!("{method} {} {fields}", whole.join(" "))
    };
    for (line, host, expected) in [
        ("GET /a?b?c", "H.example:80", "GET H.example /a ?b?c 2"),
        ("PUT //%61", "h", "PUT h //%61  2"),
        ("GET /?", "[::1]:8", "GET [::1] / ? 2"),
        ("GET /", "[::1]", "GET [::1] /  2"),
        ("OPTIONS *", "h:", "OPTIONS h *  2"),
        ("GET http://t:8/x", "h", "GET t /x  2"),
        ("GET http://t", "h", "GET t /  2"),
        ("GET http://t?q", "h", "GET t / ?q 2"),
        ("OPTIONS http://t", "h", "OPTIONS t *  2"),
        ("GET /", "", "GET  /  2"),
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: x\r\n\r\n");
        assert_eq!(see(&head), expected, "{head}");
    }
}

#[test]
fn the_client_is_the_first_who_is_vouched_for() {
    let client = |peer: IpAddr, lines: &str| {
        let mut seen = None;
        let choose = |inquiry: &Inquiry<'_>| {
            seen = Some(inquiry.client.to_string());
            Ok(Edits::default())
        };
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let found = request(
            head.as_bytes(),
            &facts(peer),
            choose,
            &mut Vec::new(),
            Vec::reserve,
        );
        assert!(found.is_ok());
        seen.expect("it is a whole head")
    };
    let (own, peer) = ("192.0.2.7", "10.0.0.1");
    for (lines, from_client, from_proxy) in [
        ("", own, peer),
        ("X-Forwarded-For: 1.1.1.1\r\n", own, "1.1.1.1"),
        (
            "X-Forwarded-For: 9.9.9.9, 1.1.1.1:80\r\nX-Forwarded-For: 10.0.0.2\r\n",
            own,
            "1.1.1.1",
        ),
        ("X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", own, "10.0.0.3"),
        ("X-Forwarded-For: ::ffff:1.1.1.1\r\n", own, "1.1.1.1"),
        (
            "X-Forwarded-For: 1.1.1.1, unknown, 10.0.0.2\r\n",
            own,
            "10.0.0.2",
        ),
        ("X-Forwarded-For: 1.1.1.1, unknown\r\n", own, peer),
        ("X-Forwarded-For: 1.1.1.1, x\r\n", own, peer),
        ("X-Forwarded-For:\r\nForwarded: for=1.1.1.1\r\n", own, peer),
        (
            "Forwarded: for=9.9.9.9, for=\"[2001:db8::1]:7\", for=10.0.0.2\r\n",
            own,
            "2001:db8::1",
        ),
        (
            "Forwarded: for=1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n",
            own,
            "2.2.2.2",
        ),
        (
            "X_Forwarded_For: 1.1.1.1\r\nX-Real-IP: 2.2.2.2\r\n",
            own,
            peer,
        ),
    ] {
        assert_eq!(client(CLIENT, lines), from_client, "{lines}");
        assert_eq!(client(PROXY, lines), from_proxy, "{lines}");
    }
}

/// What a client gets of a response with these edits and this cookie.
fn answered(input: &str, edits: &FieldEdits, cookie: Option<&[u8]>) -> Result<String, Reject> {
    let asked = Asked {
        request: &Request {
            upgrade: true,
            ..ASKED
        },
        close: false,
        date: DATE,
        edits: Some(edits),
        set_cookie: cookie,
    };
    for cut in 0..input.len() {
        let mut out = BEFORE.to_vec();
        let found = response(&input.as_bytes()[..cut], &asked, &mut out, Vec::reserve);
        assert_eq!((found, out.as_slice()), (Ok(None), BEFORE), "{cut}");
    }
    let mut out = BEFORE.to_vec();
    let found = response(input.as_bytes(), &asked, &mut out, Vec::reserve);
    let out = out.strip_prefix(BEFORE).expect("what was there stays");
    let out = String::from_utf8(out.to_vec()).unwrap();
    match found {
        Ok(found) => {
            assert_eq!(found.map(|(len, _)| len), Some(input.len()));
            Ok(out)
        }
        Err(reject) => {
            assert_eq!(out, "");
            Err(reject)
        }
    }
}

#[test]
fn a_response_is_edited_and_gets_a_cookie() {
    let names = [
        "Server",
        "Content-Length",
        "Connection",
        "Transfer-Encoding",
    ];
    let edits = fields(
        &names,
        &[("Cache-Control", "no-store"), ("Content-Length", "9")],
        &[("X-A", "b"), ("Upgrade", "x")],
    );
    let head = "HTTP/1.1 200 OK\r\nserver: x\r\nContent-Length: 5\r\ncache-control: a\r\nSet-Cookie: a\r\n\r\n";
    let kept = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a\r\nCache-Control: no-store\r\nX-A: b\r\n";
    assert_eq!(
        answered(head, &edits, None),
        Ok(format!("{kept}{DATED}\r\n"))
    );
    assert_eq!(
        answered(head, &edits, Some(b"rondel=x; Path=/")),
        Ok(format!("{kept}Set-Cookie: rondel=x; Path=/\r\n{DATED}\r\n"))
    );
    assert_eq!(
        answered(head, &edits, Some(b"x\r\nY: z")),
        Ok(format!("{kept}{DATED}\r\n"))
    );
    let interim = "HTTP/1.1 103 Early Hints\r\nServer: x\r\n\r\n";
    assert_eq!(
        answered(interim, &edits, Some(b"x")).as_deref(),
        Ok(interim)
    );
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n";
    assert_eq!(
        answered(switch, &fields(&["Upgrade"], &[], &[]), Some(b"x")).as_deref(),
        Ok(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nSet-Cookie: x\r\nConnection: Upgrade\r\n\r\n"
        )
    );
}

#[test]
fn a_response_has_one_date_whoever_sets_it() {
    let edits = fields(&[], &[("date", "mine")], &[]);
    for received in ["", "Date: x\r\n"] {
        let head = format!("HTTP/1.1 204 No Content\r\n{received}\r\n");
        let expected = "HTTP/1.1 204 No Content\r\ndate: mine\r\n\r\n";
        assert_eq!(answered(&head, &edits, None).as_deref(), Ok(expected));
    }
}

#[test]
fn an_edited_response_has_its_limit_too() {
    let head = "HTTP/1.1 204 No Content\r\n\r\n";
    for bytes in [WRITTEN_HEAD_BYTES_MAX, WRITTEN_HEAD_BYTES_MAX - 20] {
        let edits = fields(&[], &[("A", &"a".repeat(bytes))], &[]);
        assert_eq!(answered(head, &edits, None), Err(Reject::HeadTooLarge));
    }
}
