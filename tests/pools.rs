//! Pools of a file: who gets a request, and what becomes of it when nobody can.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::mpsc::channel;
use std::thread;

use socket2::SockRef;
use support::{Backend, Client, Later, Message, PATIENCE, Rondel, Stage, echo, get, ok};

/// A pool, with what holds for it, of backends with what holds for each.
fn pool(keys: &str, backends: &[(&str, SocketAddr, &str)]) -> String {
    let backend = |(name, addr, keys): &(&str, SocketAddr, &str)| {
        format!("[[pool.backend]]\nname = \"{name}\"\naddress = \"{addr}\"\n{keys}\n")
    };
    let backends: String = backends.iter().map(backend).collect();
    format!("[[pool]]\nname = \"web\"\n{keys}\n{backends}")
}

/// Two backends that answer with their names.
fn two() -> [Backend; 2] {
    [Backend::echo("a"), Backend::echo("b")]
}

/// A pool of these two.
fn pool_of(keys: &str, [a, b]: &[Backend; 2]) -> String {
    pool(keys, &[("a", a.addr, ""), ("b", b.addr, "")])
}

/// Who answers a request with these fields.
fn taker(client: &mut Client, target: &str, fields: &str) -> String {
    let response = client.ask(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
    assert_eq!(response.status(), 200, "{}", response.text());
    response.field("x-backend").unwrap().to_owned()
}

/// The reason word of a reply of our own.
fn refusal(response: &Message) -> (u16, String) {
    let text = response.text();
    let line = text.lines().next().unwrap_or_default();
    let reason = line.rsplit(": ").next().unwrap_or_default();
    (response.status(), reason.to_owned())
}

#[test]
fn each_backend_gets_its_weight_in_turn() {
    let [a, b] = two();
    let pool = pool("", &[("a", a.addr, "weight = 3"), ("b", b.addr, "")]);
    let rondel = Rondel::configured(&pool);
    let mut client = rondel.connect();
    let takers: String = (0..12).map(|_| taker(&mut client, "/", "")).collect();
    assert_eq!(takers, "aabaaabaaaba");
}

#[test]
fn a_backend_of_weight_0_gets_nobody_new() {
    let [a, b] = two();
    let pool = pool("", &[("a", a.addr, "weight = 0"), ("b", b.addr, "")]);
    let rondel = Rondel::configured(&pool);
    let mut client = rondel.connect();
    let takers: String = (0..4).map(|_| taker(&mut client, "/", "")).collect();
    assert_eq!(takers, "bbbb");
}

#[test]
fn who_has_fewer_running_requests_gets_the_next() {
    for policy in ["least-connections", "random-two"] {
        let (asked, slow) = channel();
        let backend = |name: &'static str| {
            let asked = asked.clone();
            Backend::start(move |mut conn, _| {
                while let Some(request) = conn.request() {
                    if request.first_line().contains("/slow") {
                        // It is not answered, and so it runs to the end of the test.
                        let _ = asked.send(name);
                    } else {
                        conn.send(format!(
                            "HTTP/1.1 200 OK\r\nX-Backend: {name}\r\nContent-Length: 0\r\n\r\n"
                        ));
                    }
                }
            })
        };
        let backends = [backend("a"), backend("b")];
        let keys = format!("policy = \"{policy}\"");
        let rondel = Rondel::configured(&pool_of(&keys, &backends));
        let (mut waiting, mut client) = (rondel.connect(), rondel.connect());
        waiting.send(get("/slow"));
        let busy = slow.recv_timeout(PATIENCE).unwrap();
        for _ in 0..20 {
            assert_ne!(taker(&mut client, "/", ""), busy, "{policy}");
        }
    }
}

#[test]
fn a_hash_sends_what_is_alike_to_the_same_backend() {
    for (key, fields) in [
        ("header:X-User", "X-User: "),
        ("cookie:user", "Cookie: a=b; user="),
        ("path", ""),
    ] {
        let backends = two();
        let keys = format!("policy = \"hash\"\nhash-on = \"{key}\"");
        let rondel = Rondel::configured(&pool_of(&keys, &backends));
        let mut client = rondel.connect();
        let mut round = || -> Vec<String> {
            let ask = |nth: u32| match fields {
                "" => taker(&mut client, &format!("/{nth}"), ""),
                fields => taker(&mut client, "/", &format!("{fields}{nth}\r\n")),
            };
            (0..40).map(ask).collect()
        };
        let first = round();
        for name in ["a", "b"] {
            assert!(first.iter().any(|taker| taker == name), "{key}: {first:?}");
        }
        assert_eq!(round(), first, "{key}");
    }
}

#[test]
fn a_hash_of_the_client_sends_all_that_it_asks_to_the_same_backend() {
    let backends = two();
    let rondel = Rondel::configured(&pool_of("policy = \"hash\"", &backends));
    let first = taker(&mut rondel.connect(), "/", "");
    for nth in 0..10 {
        assert_eq!(taker(&mut rondel.connect(), &format!("/{nth}"), ""), first);
    }
}

#[test]
fn a_cookie_keeps_a_client_at_its_backend_and_does_not_tell_which_that_is() {
    for secret in ["", ", secret = \"s\""] {
        let backends = two();
        let keys = format!("sticky = {{ cookie = \"stick\"{secret} }}");
        let rondel = Rondel::configured(&pool_of(&keys, &backends));
        let mut client = rondel.connect();
        let mut cookies = BTreeMap::new();
        for _ in 0..2 {
            let response = client.ask(&get("/"));
            let set = response.field("set-cookie").unwrap();
            let (cookie, attributes) = set.split_once(';').unwrap();
            assert!(attributes.contains("Path=/"), "{set}");
            let digits = cookie.strip_prefix("stick=").unwrap();
            assert!(
                digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
                "{set}"
            );
            let name = response.field("x-backend").unwrap().to_owned();
            cookies.insert(name, cookie.to_owned());
        }
        assert_eq!(cookies.len(), 2, "without a cookie each in turn");
        for (name, cookie) in &cookies {
            for _ in 0..5 {
                let request = format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: x=y; {cookie}\r\n\r\n");
                let response = client.ask(&request);
                assert_eq!(response.field("x-backend"), Some(&**name));
                assert_eq!(response.field("set-cookie"), None, "it is set once");
            }
        }
    }
}

#[test]
fn a_client_whose_backend_is_gone_gets_another_and_its_cookie() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (leaving, staying) = (listener.local_addr().unwrap(), Backend::echo("staying"));
    let once = thread::spawn(move || {
        let mut conn = Client::new(listener.accept().unwrap().0);
        conn.request().unwrap();
        // It refuses from now on, and its address is nobody else's.
        SockRef::from(&listener).shutdown(Shutdown::Both).unwrap();
        conn.send("HTTP/1.1 200 OK\r\nX-Backend: leaving\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        listener
    });
    let backends = [("leaving", leaving, ""), ("staying", staying.addr, "")];
    let rondel = Rondel::configured(&pool("sticky = { cookie = \"stick\" }", &backends));
    let mut client = rondel.connect();
    let cookie = |response: &Message| {
        let set = response.field("set-cookie").unwrap();
        set.split(';').next().unwrap().to_owned()
    };
    let response = client.ask(&get("/"));
    assert_eq!(response.field("x-backend"), Some("leaving"));
    let _held = once.join().unwrap();
    let before = cookie(&response);
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: {before}\r\n\r\n");
    let response = client.ask(&request);
    assert_eq!(response.field("x-backend"), Some("staying"));
    assert_ne!(cookie(&response), before);
}

#[test]
fn a_backup_gets_requests_only_while_no_other_is_live() {
    let [a, b] = two();
    let backends = [("a", a.addr, ""), ("b", b.addr, "backup = true")];
    let rondel = Rondel::configured(&pool("", &backends));
    let mut client = rondel.connect();
    for _ in 0..5 {
        assert_eq!(taker(&mut client, "/", ""), "a");
    }
    let backends = [("a", Backend::nowhere(), ""), backends[1]];
    let rondel = Rondel::configured(&pool("", &backends));
    let mut client = rondel.connect();
    for _ in 0..5 {
        assert_eq!(taker(&mut client, "/", ""), "b");
    }
}

/// One failure takes out the only backend.
const FRAIL: &str = "fail-after = 1\ntake-out-last = true\n";

#[test]
fn while_no_backend_is_live_requests_are_refused_or_tried_at_all() {
    for (keys, next) in [
        ("", (503, "no-backend")),
        ("when-all-down = \"try-all\"\n", (502, "connect-refused")),
    ] {
        let backends = [("a", Backend::nowhere(), "")];
        let rondel = Rondel::configured(&pool(&format!("{FRAIL}{keys}"), &backends));
        let mut client = rondel.connect();
        // Together, so that no time for another trial passes between them.
        client.send(get("/").repeat(2));
        let expected = [(502, "connect-refused"), next];
        for (status, reason) in expected {
            let response = client.response(false);
            assert_eq!(refusal(&response), (status, reason.to_owned()), "{keys}");
        }
    }
}

#[test]
fn a_request_is_held_until_its_backend_is_back() {
    let later = Later::new();
    let keys = format!("{FRAIL}when-all-down = \"hold\"\nhold-timeout = \"1h\"\n");
    let text = pool(&keys, &[("a", later.addr, "")]);
    let rondel = Rondel::configured(&format!("log-level = \"info\"\n{text}"));
    let mut client = rondel.connect();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nwords");
    rondel.wait_for_line("backend a is out");
    let _backend = later.start(|conn, _| echo(conn, "a"));
    let response = client.response(false);
    assert_eq!(response.status(), 200);
    assert!(
        response.text().ends_with("\n\nwords"),
        "{}",
        response.text()
    );
}

#[test]
fn a_request_is_held_no_longer_than_the_file_says() {
    let keys = format!("{FRAIL}when-all-down = \"hold\"\nhold-timeout = \"50ms\"\n");
    let rondel = Rondel::configured(&pool(&keys, &[("a", Backend::nowhere(), "")]));
    let response = rondel.connect().ask(&get("/"));
    assert_eq!(refusal(&response), (503, "hold-timeout".to_owned()));
}

#[test]
fn no_more_requests_are_held_than_the_file_says() {
    let keys = format!("{FRAIL}when-all-down = \"hold\"\nhold-timeout = \"1h\"\nmax-held = 1\n");
    let rondel = Rondel::configured(&pool(&keys, &[("a", Backend::nowhere(), "")]));
    let (sent, got) = channel();
    for _ in 0..2 {
        let (mut client, sent) = (rondel.connect(), sent.clone());
        client.stream.set_read_timeout(None).unwrap();
        thread::spawn(move || {
            client.send(get("/"));
            // The other one is held to the end of the test.
            if client.more() {
                let _ = sent.send(refusal(&client.response(false)));
            }
        });
    }
    let first = got.recv_timeout(PATIENCE).unwrap();
    assert_eq!(first, (503, "queue-full".to_owned()));
}

/// A version 2 header from 203.0.113.9:4000 to 192.0.2.1:80.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc0\0\x02\x01\x0f\xa0\0\x50";
/// The same in version 1.
const V1: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.1 4000 80\r\n";

#[test]
fn whom_a_trusted_proxy_names_is_the_client_for_log_fields_and_hash() {
    let backends = two();
    let text = pool_of("policy = \"hash\"", &backends);
    let text = format!("log-level = \"debug\"\n{text}");
    let rondel = Rondel::configured_with("accept-proxy = \"127.0.0.0/8\"", &text);
    let mut takers = Vec::new();
    for header in [V1, V2] {
        let mut client = rondel.connect();
        // The header comes in pieces, the request with the last of them.
        client.send(&header[..9]);
        client.send([&header[9..], get("/").as_bytes()].concat());
        for _ in 0..2 {
            let text = client.response(false).text();
            assert!(text.contains("X-Forwarded-For: 203.0.113.9\n"), "{text}");
            takers.push(text.lines().next().unwrap().to_owned());
            client.send(get("/"));
        }
    }
    assert!(takers.iter().all(|taker| *taker == takers[0]), "{takers:?}");
    rondel.wait_for_lines("203.0.113.9:4000 \"GET / HTTP/1.1\"", 4);
    // All others are told apart just as well.
    let others = (0..40).map(|last| {
        let mut client = rondel.connect();
        client.send(format!("PROXY TCP4 203.0.113.{last} 192.0.2.1 4000 80\r\n"));
        taker(&mut client, "/", "")
    });
    let others: Vec<String> = others.collect();
    for name in ["a", "b"] {
        assert!(others.iter().any(|taker| taker == name), "{others:?}");
    }
}

#[test]
fn who_is_trusted_must_say_whose_connection_it_is() {
    let backends = two();
    let text = format!("log-level = \"debug\"\n{}", pool_of("", &backends));
    let rondel = Rondel::configured_with("accept-proxy = \"127.0.0.0/8\"", &text);
    let mut client = rondel.connect();
    client.send(get("/"));
    client.expect_end();
    rondel.wait_for_line("bad-proxy-header");
    assert_eq!(backends.each_ref().map(Backend::connections), [0, 0]);
}

#[test]
fn who_is_not_trusted_cannot_say_whose_connection_it_is() {
    for listener in ["", "accept-proxy = \"10.0.0.0/8\""] {
        for header in [V1, V2] {
            let backends = two();
            let rondel = Rondel::configured_with(listener, &pool_of("", &backends));
            let mut client = rondel.connect();
            client.send([header, get("/").as_bytes()].concat());
            assert_eq!(client.response(false).status(), 400);
            assert_eq!(backends.each_ref().map(Backend::connections), [0, 0]);
        }
    }
}

#[test]
fn each_connection_to_a_backend_begins_with_whose_it_is() {
    for version in ["v1", "v2"] {
        let stage = Stage::start();
        let keys = format!("send-proxy = \"{version}\"");
        let rondel = Rondel::configured(&pool(&keys, &[("a", stage.addr, "")]));
        let mut clients = [rondel.connect(), rondel.connect()];
        // Both stay connected, and neither gets the upstream that the other has left idle.
        let mut upstreams = Vec::new();
        for client in &mut clients {
            client.send(get("/"));
            let mut upstream = stage.accept();
            let source = client.stream.local_addr().unwrap();
            let header = match version {
                "v1" => format!(
                    "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
                    source.port(),
                    rondel.addr.port()
                )
                .into_bytes(),
                _ => [
                    &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01"[..],
                    &source.port().to_be_bytes(),
                    &rondel.addr.port().to_be_bytes(),
                ]
                .concat(),
            };
            assert_eq!(upstream.exactly(header.len()), header, "{version}");
            let request = upstream.request().unwrap();
            assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
            upstream.send(ok("words"));
            assert_eq!(client.response(false).text(), "words");
            upstreams.push(upstream);
        }
    }
}
