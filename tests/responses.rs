//! Responses that are none, or not whole: never passed on as if they were.

mod support;

use support::{Backend, Client, Message, Rondel, Stage, get, ok};

/// What a client gets that asks for this and whose backend says that, and closes.
fn answered(rondel: &Rondel, stage: &Stage, request: &str, response: &[u8]) -> (Client, Message) {
    let mut client = rondel.connect();
    client.send(request);
    let (mut upstream, _) = stage.request();
    upstream.send(response);
    drop(upstream);
    let message = client.response(request.starts_with("HEAD"));
    (client, message)
}

#[test]
fn a_malformed_response_is_502_and_not_passed_on() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--fail-after", "1000"]);
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}Secret: 1\r\n\r\n",
        "A: b\r\n".repeat(100)
    );
    let long = format!(
        "HTTP/1.1 200 OK\r\nSecret: {}\r\n\r\n",
        "a".repeat(16 * 1024)
    );
    for response in [
        &b"HTTP/1.1 200 OK\nSecret: 1\n\n"[..],
        b"HTTP/1.1 200 OK\r\nSecret: 1\n\r\n",
        b"HTTP/1.1 200 OK\r\nSecret : 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSecret: 1\r\n 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSecret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: Secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSecret: a\0b\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\nSecret: 1\r\n\r\n",
        b"HTTP/1.1 000 Secret\r\n\r\n",
        b"HTTP/1.1 099 Secret\r\n\r\n",
        b"HTTP/1.1 20 Secret\r\n\r\n",
        b"HTTP/1.1 2000 Secret\r\n\r\n",
        b"HTTP/2.0 200 Secret\r\n\r\n",
        b"HTTP/1.2 200 Secret\r\n\r\n",
        b"ICY 200 Secret\r\n\r\n",
        b"Secret, and no HTTP at all",
        b"\r\nHTTP/1.1 200 Secret\r\n\r\n",
        b"SSH-2.0-Secret\r\n",
        b"HTTP/1.1 200 Secret\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 Secret\r\nContent-Length: +1\r\n\r\nx",
        b"HTTP/1.1 200 Secret\r\nContent-Length: 1, 1\r\n\r\nx",
        b"HTTP/1.1 200 Secret\r\nContent-Length: 9223372036854775808\r\n\r\nx",
        b"HTTP/1.1 200 Secret\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 Secret\r\nTransfer-Encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200 Secret\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 Secret\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        many.as_bytes(),
        long.as_bytes(),
    ] {
        let shown = response.escape_ascii().to_string();
        for request in [
            get("/"),
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
        ] {
            let (mut client, message) = answered(&rondel, &stage, &request, response);
            assert_eq!(message.status(), 502, "{shown}");
            assert!(
                message.text().contains("bad-response-head"),
                "{shown}: {}",
                message.text()
            );
            assert!(!message.head.contains("Secret") && !message.text().contains("Secret"));
            // The client did nothing wrong: it goes on.
            client.send(get("/next"));
            let (mut fresh, _) = stage.request();
            fresh.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(client.response(false).status(), 200, "{shown}");
        }
    }
}

#[test]
fn a_malformed_response_after_interim_ones_is_502_too() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    let response = b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 999999\r\n\r\n";
    let (mut client, early) = answered(&rondel, &stage, &get("/"), response);
    assert_eq!(early.status(), 103);
    assert_eq!(client.response(false).status(), 502);
}

#[test]
fn unknown_statuses_and_odd_reasons_pass() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &[]);
    for line in [
        "HTTP/1.1 599 What",
        "HTTP/1.1 999 Nine",
        "HTTP/1.1 200 ",
        "HTTP/1.1 404 nicht gefunden\t!",
    ] {
        let response = format!("{line}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        let (_, message) = answered(&rondel, &stage, &get("/"), response.as_bytes());
        assert_eq!(
            (message.first_line(), message.text().as_str()),
            (line, "ok")
        );
    }
}

#[test]
fn a_response_that_breaks_off_is_never_taken_for_a_whole_one() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--fail-after", "1000"]);
    let http_1_1 = get("/");
    for reset in [false, true] {
        for (response, whole) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
                "shortshort",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
                "0\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsho",
                "0\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n",
                "0\r\n\r\n",
            ),
            ("HTTP/1.1 200 OK\r\n\r\nshort", "0\r\n\r\n"),
            ("HTTP/1.0 200 OK\r\n\r\nshort", "0\r\n\r\n"),
        ] {
            let until_close = response.ends_with("OK\r\n\r\nshort");
            if until_close && !reset {
                continue; // That is its end.
            }
            let mut client = rondel.connect();
            client.send(&http_1_1);
            let (mut upstream, _) = stage.request();
            upstream.send(response);
            assert_eq!(
                client.head().unwrap().lines().next(),
                Some("HTTP/1.1 200 OK")
            );
            client.exactly(3);
            if reset {
                upstream.reset()
            } else {
                drop(upstream)
            }
            let rest = client.rest();
            assert!(
                !rest.ends_with(whole.as_bytes()),
                "{response:?}: {}",
                rest.escape_ascii()
            );
        }
    }
}

#[test]
fn a_body_whose_end_only_a_close_can_tell_ends_with_a_reset_when_it_breaks_off() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--fail-after", "1000"]);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n";
    for (request, response, breaks) in [
        (
            "GET / HTTP/1.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nshort",
            true,
        ),
        // For HTTP/1.0 the chunks are taken out, so that only the close says where the end is.
        ("GET / HTTP/1.0\r\n\r\n", chunked, false),
        ("GET / HTTP/1.0\r\n\r\n", chunked, true),
    ] {
        let mut client = rondel.connect();
        client.send(request);
        let (mut upstream, _) = stage.request();
        upstream.send(response);
        client.head().unwrap();
        client.exactly(5);
        if breaks {
            upstream.reset()
        } else {
            drop(upstream)
        }
        assert_eq!(client.rest(), b"");
        assert!(client.was_reset, "{response:?}");
    }
}

#[test]
fn a_body_until_close_that_breaks_off_leaves_the_answer_before_it_alone() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--log-level", "debug"]);
    let mut client = rondel.connect();
    client.send([get("/a"), get("/b")].concat());
    let (mut upstream, _) = stage.request();
    // More than the client's kernel takes while nobody reads: the end of it is still under way.
    let first = "a".repeat(200_000);
    upstream.send(ok(&first));
    upstream.request().expect("the second request");
    upstream.send("HTTP/1.1 200 OK\r\n\r\nshort");
    upstream.reset();
    rondel.wait_for_line("response-truncated");
    assert!(client.response(false).text() == first);
    assert!(client.rest().ends_with(b"\r\n\r\n5\r\nshort\r\n"));
    assert!(!client.was_reset, "the missing chunk tells enough");
}

#[test]
fn a_broken_chunk_in_a_response_ends_it_unfinished() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--fail-after", "1000"]);
    for bad in [
        "\r\n",
        ";x\r\n",
        "z\r\n",
        "1\na\r\n",
        "1;x\ny\r\na\r\n0\r\n\r\n",
        "0\r\nX y: z\r\n\r\n",
    ] {
        let mut client = rondel.connect();
        client.send(get("/"));
        let (mut upstream, _) = stage.request();
        upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsound\r\n");
        client.head().unwrap();
        assert_eq!(client.exactly(10), b"5\r\nsound\r\n");
        upstream.send(bad);
        let rest = client.rest();
        assert!(
            !rest.ends_with(b"0\r\n\r\n"),
            "{bad:?}: {}",
            rest.escape_ascii()
        );
        upstream.expect_end();
    }
}

#[test]
fn broken_responses_take_a_backend_out() {
    let broken = Backend::says(b"no HTTP\r\n\r\n");
    let rondel = Rondel::start(&[broken.addr, Backend::echo("a").addr], &[]);
    let mut client = rondel.connect();
    let statuses: Vec<u16> = (0..10).map(|_| client.ask(&get("/")).status()).collect();
    assert_eq!(statuses, [502, 200, 502, 200, 502, 200, 200, 200, 200, 200]);
    assert!(
        rondel
            .wait_for_line("is out")
            .contains("3 failures in a row, last bad-response-head")
    );
}
