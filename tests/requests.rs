//! What a backend is told: the head written anew, the target as it came, the fields that name the client, bodies in one
//! sound framing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{Backend, Client, Rondel, Stage, get, ok};

/// What reaches the backend of a request, given to the binary run with these flags.
fn forwarded(flags: &[&str], request: &str) -> Vec<String> {
    let rondel = Rondel::start(&[Backend::echo("a").addr], flags);
    let response = rondel.connect().ask(request);
    assert_eq!(response.status(), 200, "{}", response.text());
    let text = response.text();
    let (head, _) = text.split_once("\n\n").unwrap();
    head.lines().skip(1).map(str::to_owned).collect()
}

/// The lines of a head without those that name the client and the request.
fn without_ours(head: &[String]) -> Vec<&str> {
    let ours = |line: &&str| {
        let name = line.split(':').next().unwrap().to_ascii_lowercase();
        !(name.starts_with("x-forwarded-") || name == "via" || name == "x-request-id")
    };
    head.iter().map(String::as_str).filter(ours).collect()
}

fn values<'a>(head: &'a [String], name: &str) -> Vec<&'a str> {
    let fields = head.iter().filter_map(|line| line.split_once(':'));
    let named = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.trim()).collect()
}

#[test]
fn names_values_and_order_stay_as_they_came() {
    let head = forwarded(
        &[],
        "pAtCh /x HTTP/1.1\r\nzULU: 1\r\nHOST: Some.Host:81\r\nunder_score:a,b\r\nAccept:  x \t y \r\nzULU: 2\r\ncookie: a=\"b\"\r\nEmpty:\r\n\r\n",
    );
    assert_eq!(
        without_ours(&head),
        [
            "pAtCh /x HTTP/1.1",
            "zULU: 1",
            "HOST: Some.Host:81",
            "under_score: a,b",
            "Accept: x \t y",
            "zULU: 2",
            "cookie: a=\"b\"",
            "Empty: ",
        ]
    );
}

#[test]
fn fields_of_one_connection_stay_behind() {
    let head = forwarded(
        &[],
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nX-Hop: 1\r\nx-hop: 2\r\nTE: gzip\r\nTrailer: X\r\nUpgrade: h2c\r\nX-Stays: 1\r\n\r\n",
    );
    assert_eq!(
        without_ours(&head),
        ["GET / HTTP/1.1", "Host: h", "X-Stays: 1"]
    );
}

#[test]
fn connection_cannot_remove_what_a_request_lives_by() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &[]);
    let mut client = rondel.connect();
    let names = "Host, Content-Length, Authorization, X-Forwarded-For, X-Request-Id, Via, Cookie, Content-Type";
    let text = client
        .ask(&format!(
            "POST / HTTP/1.1\r\nHost: h\r\nConnection: {names}\r\nContent-Length: 2\r\nAuthorization: a\r\nX-Request-Id: me\r\n\r\nab"
        ))
        .text();
    for line in [
        "Host: h",
        "Content-Length: 2",
        "Authorization: a",
        "X-Request-Id: me",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
    }
    assert!(text.contains("\nX-Forwarded-For: 127.0.0.1\n") && text.contains("\nVia: "));
    assert!(text.ends_with("\n\nab"));
    let text = client
        .ask("POST / HTTP/1.1\r\nHost: h\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ncd\r\n0\r\n\r\n")
        .text();
    assert!(
        text.contains("\nTransfer-Encoding: chunked\n") && text.ends_with("\n\ncd"),
        "{text}"
    );
}

#[test]
fn a_target_passes_byte_for_byte() {
    for target in [
        "/a/../b/./c//d",
        "/%2e%2E/%zz?x=%00&y=/?",
        "/\\\"<>{}|^`'",
        "//h/x",
        "/?",
        "/;a=b,c",
    ] {
        let head = forwarded(&[], &get(target));
        assert_eq!(head[0], format!("GET {target} HTTP/1.1"));
    }
    let head = forwarded(&[], "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(head[0], "OPTIONS * HTTP/1.1");
}

#[test]
fn an_absolute_target_is_sent_in_origin_form_and_its_host_wins() {
    for (target, sent, host) in [
        ("http://other:81/a?b", "/a?b", "other:81"),
        ("HTTP://other?b", "/?b", "other"),
        ("https://[::1]", "/", "[::1]"),
    ] {
        let head = forwarded(&[], &get(target));
        assert_eq!(
            without_ours(&head),
            [format!("GET {sent} HTTP/1.1"), format!("Host: {host}")]
        );
        assert_eq!(values(&head, "x-forwarded-host"), [host]);
    }
}

#[test]
fn a_1_0_request_without_a_host_gets_ours() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &[]);
    let text = rondel.connect().ask("GET / HTTP/1.0\r\n\r\n").text();
    assert!(text.starts_with("a\nGET / HTTP/1.1\n"), "{text}");
    assert!(
        text.contains(&format!("\nHost: {}\n", rondel.addr)),
        "{text}"
    );
    assert!(text.contains("\nVia: 1.0 rondel\n"), "{text}");
}

#[test]
fn a_backend_is_told_who_asked_and_by_what_way() {
    let head = forwarded(
        &[],
        "GET / HTTP/1.1\r\nHost: h:8\r\nX-Forwarded-For: 6.6.6.6\r\nx-forwarded-proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nVia: 1.1 cdn\r\n\r\n",
    );
    assert_eq!(values(&head, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&head, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&head, "x-forwarded-host"), ["h:8"]);
    assert_eq!(values(&head, "via"), ["1.1 cdn", "1.1 rondel"]);
    for claimed in ["x-forwarded-port", "forwarded", "x-real-ip"] {
        assert_eq!(values(&head, claimed), [""; 0], "{claimed}");
    }
}

#[test]
fn a_trusted_client_is_believed_as_far_as_trust_reaches() {
    let request = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6, 1.2.3.4\r\nX-Forwarded-For: 10.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop\r\n\r\n";
    let head = forwarded(
        &["--trust", "127.0.0.0/8", "--trust", "10.0.0.0/8"],
        request,
    );
    // 10.1.1.1 is trusted, so 1.2.3.4 is believed; 1.2.3.4 is not, so nothing that it claimed.
    assert_eq!(
        values(&head, "x-forwarded-for"),
        ["1.2.3.4, 10.1.1.1, 127.0.0.1"]
    );
    assert_eq!(values(&head, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&head, "x-forwarded-host"), ["shop"]);
    let head = forwarded(&["--trust", "10.0.0.0/8"], request);
    assert_eq!(values(&head, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&head, "x-forwarded-proto"), ["http"]);
}

#[test]
fn forwarded_is_written_when_asked_for() {
    let request = "GET / HTTP/1.1\r\nHost: h:8\r\nForwarded: for=1.2.3.4;proto=https\r\n\r\n";
    assert_eq!(values(&forwarded(&[], request), "forwarded"), [""; 0]);
    let own = "for=127.0.0.1;host=\"h:8\";proto=http";
    assert_eq!(
        values(&forwarded(&["--forwarded"], request), "forwarded"),
        [own]
    );
    let head = forwarded(&["--forwarded", "--trust", "127.0.0.1"], request);
    assert_eq!(
        values(&head, "forwarded"),
        [format!("for=1.2.3.4;proto=https, {own}")]
    );
}

#[test]
fn every_request_has_an_id_its_own_or_ours() {
    let kept = forwarded(
        &[],
        "GET / HTTP/1.1\r\nHost: h\r\nx-request-ID: my-id.1\r\n\r\n",
    );
    assert_eq!(values(&kept, "x-request-id"), ["my-id.1"]);
    let rondel = Rondel::start(&[Backend::nowhere()], &[]);
    let mut client = rondel.connect();
    let own = client.ask("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: my-id.2\r\n\r\n");
    assert!(
        own.text().ends_with("\nrequest my-id.2\n"),
        "{}",
        own.text()
    );
    let made: Vec<String> = (0..2)
        .map(|_| {
            let head = forwarded(
                &[],
                "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: not one\r\n\r\n",
            );
            let ids = values(&head, "x-request-id");
            assert!(ids.len() == 1 && ids[0].len() == 32, "{ids:?}");
            assert!(
                ids[0].bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{ids:?}"
            );
            ids[0].to_owned()
        })
        .collect();
    assert_ne!(made[0], made[1]);
}

#[test]
fn our_name_in_via_can_be_chosen_and_tells_of_loops() {
    let head = forwarded(
        &["--name", "edge"],
        "GET / HTTP/1.1\r\nHost: h\r\nVia: 1.1 rondel\r\n\r\n",
    );
    assert_eq!(values(&head, "via"), ["1.1 rondel", "1.1 edge"]);
    // Two of the same name in a row are a loop.
    let inner = Rondel::start(&[Backend::echo("a").addr], &[]);
    let outer = Rondel::start(&[inner.addr], &[]);
    let response = outer.connect().ask(&get("/"));
    assert_eq!(response.status(), 508);
    assert!(response.text().contains("loop-detected"));
    let named = Rondel::start(&[inner.addr], &["--name", "outer"]);
    assert_eq!(named.connect().ask(&get("/")).status(), 200);
}

/// What the backend gets behind the head of a chunked request with these lines.
fn upload(rondel: &Rondel, stage: &Stage, lines: &str, body: &str) -> (String, Vec<u8>, Client) {
    let mut client = rondel.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n{lines}\r\n{body}"
    ));
    let mut upstream = stage.accept();
    let head = upstream.head().unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"0\r\n\r\n") && !got.ends_with(b"end\r\n\r\n") {
        got.extend(upstream.exactly(1));
    }
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    assert_eq!(client.response(false).text(), "ok");
    (head, got, client)
}

#[test]
fn chunks_are_framed_anew_without_extensions() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let body = "3;name=value;x\r\nabc\r\n00A \r\n".replace(' ', ";q=\"z\"")
        + "0123456789\r\n0;last\r\n\r\n";
    let (_, got, mut client) = upload(&rondel, &stage, "", &body);
    assert_eq!(
        got.escape_ascii().to_string(),
        r"3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n"
    );
    client.send(get("/next"));
    assert!(
        stage.request().1.head.starts_with("GET /next "),
        "the connection goes on"
    );
}

#[test]
fn trailers_pass_only_when_asked_for_and_harmless() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let trailers = "X-Sum: 1\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\nHost: evil\r\nAuthorization: x\r\nX-Forwarded-For: 6\r\nX-End: end\r\n";
    let body = format!("1\r\na\r\n0\r\n{trailers}\r\n");
    let (head, got, _) = upload(&rondel, &stage, "Trailer: X-Sum\r\n", &body);
    assert_eq!(got, b"1\r\na\r\n0\r\n\r\n");
    assert!(
        !head.contains("\r\nTE:") && !head.contains("\r\nTrailer:"),
        "{head}"
    );
    let (head, got, _) = upload(
        &rondel,
        &stage,
        "Trailer: X-Sum\r\nTE: trailers\r\nConnection: TE\r\n",
        &body,
    );
    assert_eq!(got, b"1\r\na\r\n0\r\nX-Sum: 1\r\nX-End: end\r\n\r\n");
    assert!(
        head.contains("\r\nTE: trailers") && head.contains("\r\nTrailer: X-Sum"),
        "{head}"
    );
    // And the same for what a backend says.
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a\r\nContent-Length: 3\r\n\r\n";
    for (te, expected) in [
        ("", vec![]),
        ("TE: trailers\r\nConnection: TE\r\n", vec!["X-Sum: 1"]),
    ] {
        let mut client = rondel.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{te}\r\n"));
        let (mut upstream, _) = stage.request();
        upstream.send(response);
        client.head().unwrap();
        let (data, trailers) = client.chunks();
        let passed = trailers.iter().filter(|line| *line != "Set-Cookie: a");
        assert_eq!(passed.collect::<Vec<_>>(), expected);
        assert_eq!(data, b"a");
        drop(upstream);
    }
}

#[test]
fn a_broken_chunk_is_400_and_its_upstream_is_not_used_again() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    for bad in [
        "\r\n",
        ";x\r\n",
        "3\nabc\r\n",
        "g\r\n",
        "0x3\r\n",
        "+3\r\n",
        " 3\r\n",
        "3 \r\n",
        "1000000000000000\r\n",
        "1;x\x00\r\na\r\n",
        "1;x\ny\r\na\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "0\r\nX y: z\r\n\r\n",
        "0\r\nX: a\n\r\n",
        "0\r\n: a\r\n\r\n",
    ] {
        let shown = bad.escape_default().to_string();
        let mut client = rondel.connect();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
        let mut upstream = stage.accept();
        upstream.head().unwrap();
        assert_eq!(upstream.exactly(6), b"1\r\na\r\n", "{shown}");
        client.send(bad);
        let response = client.response(false);
        assert_eq!(response.status(), 400, "{shown}");
        let text = response.text();
        assert!(
            text.contains(": bad-chunk\n") || text.contains(": bad-trailer\n"),
            "{shown}: {text}"
        );
        client.expect_end();
        let rest = upstream.rest();
        assert!(
            !rest.ends_with(b"0\r\n\r\n"),
            "never a whole request: {shown}"
        );
    }
}

#[test]
fn hops_are_counted_for_options() {
    let head = forwarded(
        &[],
        "OPTIONS /x HTTP/1.1\r\nHost: h\r\nMax-Forwards: 5\r\n\r\n",
    );
    assert_eq!(values(&head, "max-forwards"), ["4"]);
    let head = forwarded(&[], "GET /x HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n");
    assert_eq!(values(&head, "max-forwards"), ["0"]);
    let backend = Backend::echo("a");
    let rondel = Rondel::start(&[backend.addr], &[]);
    let mut client = rondel.connect();
    let response = client.ask("OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n");
    assert_eq!(response.status(), 200);
    assert!(response.field("allow").is_some());
    assert_eq!(backend.connections(), 0);
}

#[test]
fn what_a_backend_says_of_its_connection_stays_behind() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let mut client = rondel.connect();
    client.send(get("/"));
    let (mut upstream, _) = stage.request();
    upstream.send("HTTP/1.1 299 Any thing\r\nserver: S\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nDate: then\r\nContent-Length: 1\r\nset-COOKIE: a\r\nset-COOKIE: b\r\n\r\nx");
    let response = client.response(false);
    assert_eq!(
        response.head.lines().collect::<Vec<_>>(),
        [
            "HTTP/1.1 299 Any thing",
            "server: S",
            "Date: then",
            "Content-Length: 1",
            "set-COOKIE: a",
            "set-COOKIE: b"
        ]
    );
    client.send(get("/next"));
    let (mut upstream, _) = stage.request();
    upstream.send(ok("next"));
    assert_eq!(client.response(false).text(), "next");
}
