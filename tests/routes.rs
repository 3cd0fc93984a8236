//! Routes of a file, as clients and backends see them.

mod support;

use std::collections::BTreeMap;

use support::{Backend, Rondel, get};

/// A pool of one backend, named as that answers.
fn pool(name: &str, backend: &Backend) -> String {
    format!(
        "[[pool]]\nname = \"{name}\"\nbackends = [\"{}\"]\n",
        backend.addr
    )
}

/// Who answers: the backend's name, or the body of a fixed reply.
fn asked(rondel: &Rondel, request: &str) -> String {
    let response = rondel.connect().ask(request);
    let text = response.text();
    text.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn the_first_route_whose_conditions_all_hold_takes_a_request() {
    let (api, web) = (Backend::echo("api"), Backend::echo("web"));
    let reply = |when: &str, body: &str| {
        format!("[[route]]\n{when}\nreply = {{ status = 200, body = \"{body}\" }}\n")
    };
    let routes = [
        reply("host = \"old.test\"\npath = \"/exactly\"", "host and path"),
        reply("path-pattern = \"/**/*.js\"", "pattern"),
        reply("method = [\"DELETE\", \"PURGE\"]", "method"),
        reply("header = { X-Canary = \"1\" }", "header"),
        reply(
            "header = { Cookie = { pattern = \"*beta=1*\" } }",
            "header like",
        ),
        reply("query = { debug = { present = true } }", "query"),
        "[[route]]\nhost = [\"api.test\", \"*.api.test\"]\npath-prefix = \"/v1\"\npool = \"api\"\n"
            .to_owned(),
        "[[route]]\nhost = \"*.api.test\"\npool = \"web\"\n".to_owned(),
        reply("listener = \"main\"\npath-prefix = \"/v1\"", "below"),
    ];
    let text = routes.concat() + &pool("api", &api) + &pool("web", &web);
    let rondel = Rondel::configured(&format!("log-level = \"debug\"\n{text}"));
    let check = |target: &str, host: &str, fields: &str, taker: &str| {
        let request = format!("{target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        assert_eq!(asked(&rondel, &request), taker, "{request}");
    };
    check("GET /exactly?q=1", "OLD.test:81", "", "host and path");
    check("GET /exactly/", "old.test", "", "404 Not Found: no-route");
    check("GET /a/b/c.js", "api.test", "", "pattern");
    check("GET /c.js/x", "h", "", "404 Not Found: no-route");
    check("PURGE /v1", "api.test", "", "method");
    check("delete /v1", "api.test", "", "api");
    check("GET /v1", "api.test", "x-canary: 1\r\n", "header");
    check("GET /v1", "api.test", "X-Canary: 2\r\n", "api");
    check(
        "GET /v1",
        "api.test",
        "Cookie: a=b; beta=1; c=d\r\n",
        "header like",
    );
    check("GET /v1?a=b&%64ebug", "api.test", "", "query");
    check("GET /v1/x", "api.test", "", "api");
    check("GET /v1", "x.api.test", "", "api");
    check("GET /%761/x", "x.api.test", "", "api");
    check("GET /v1x", "x.api.test", "", "web");
    check("GET /v1", "other.test", "", "below");
    check("GET /", "api.test", "", "404 Not Found: no-route");
    rondel
        .wait_for_line("\"GET / HTTP/1.1\" \"Host: api.test\" at listener main: no route takes it");
}

#[test]
fn a_path_that_programs_read_differently_is_refused_unless_it_is_allowed() {
    let route = "[[route]]\npath-prefix = \"/v1\"\npool = \"web\"\n";
    for (top, status) in [("", 400), ("ambiguous-paths = \"allow\"\n", 200)] {
        let web = Backend::echo("web");
        let rondel = Rondel::configured(&format!("{top}{route}{}", pool("web", &web)));
        let response = rondel.connect().ask(&get("/v2/..//%76%31/x"));
        assert_eq!(response.status(), status);
        let text = response.text();
        if status == 400 {
            assert!(text.contains("ambiguous-path"), "{text}");
            assert_eq!(web.connections(), 0);
        } else {
            assert!(text.contains("GET /v2/..//%76%31/x HTTP/1.1"), "{text}");
        }
    }
}

#[test]
fn a_client_is_sent_elsewhere() {
    let rondel = Rondel::configured(
        "[[route]]\npath-prefix = \"/old\"\nredirect = { status = 308, to = \"https://{host}/new{path}{query}\" }\n",
    );
    let mut client = rondel.connect();
    // The connection goes on behind it.
    for (target, location) in [
        ("/old/a?b=c", "https://h.test/new/old/a?b=c"),
        ("/old", "https://h.test/new/old"),
    ] {
        let response = client.ask(&format!("GET {target} HTTP/1.1\r\nHost: h.test:81\r\n\r\n"));
        assert_eq!(response.status(), 308);
        assert_eq!(response.field("location"), Some(location));
    }
}

#[test]
fn a_client_that_names_no_host_is_not_sent_to_one_of_its_choice() {
    let rondel = Rondel::configured(
        "[[route]]\npath-prefix = \"/here\"\nredirect = { to = \"/there\" }\n\
         [[route]]\nredirect = { to = \"https://{host}{path}\" }\n",
    );
    let asked = |path: &str, version: &str| {
        let request = format!("GET {path} HTTP/{version}\r\nHost:\r\n\r\n");
        rondel.connect().ask(&request)
    };
    for version in ["1.0", "1.1"] {
        let response = asked("/evil.example/", version);
        assert_eq!(response.status(), 400);
        assert!(response.text().contains("bad-host"), "{}", response.text());
        assert_eq!(asked("/here", version).field("location"), Some("/there"));
    }
}

#[test]
fn a_route_answers_by_itself() {
    let rondel = Rondel::configured(
        "[[route]]\nreply = { status = 418, body = \"{}\", content-type = \"application/json\" }\n",
    );
    let mut client = rondel.connect();
    let response = client.ask(&get("/"));
    assert_eq!((response.status(), response.text()), (418, "{}".to_owned()));
    assert_eq!(response.field("content-type"), Some("application/json"));
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    let response = client.response(true);
    assert_eq!(response.field("content-length"), Some("2"));
    client.ask(&get("/"));
}

#[test]
fn paths_are_rewritten() {
    let web = Backend::echo("web");
    let route = |path: &str, what: &str| {
        format!("[[route]]\npath-prefix = \"{path}\"\n{what}\npool = \"web\"\n")
    };
    let text = [
        route("/strip", "strip-prefix = \"/strip\""),
        route(
            "/swap",
            "replace-prefix = { from = \"/swap\", to = \"/v2\" }",
        ),
        route("/set", "set-path = \"/index.html\""),
    ];
    let rondel = Rondel::configured(&(text.concat() + &pool("web", &web)));
    for (target, rewritten) in [
        ("/strip/a/b?c=d", "/a/b?c=d"),
        ("/strip", "/"),
        ("/strip?c", "/?c"),
        ("/swap/caf%c3%a9", "/v2/caf%C3%A9"),
        ("/swap", "/v2"),
        ("/set/x?c=/d", "/index.html?c=/d"),
    ] {
        let text = rondel.connect().ask(&get(target)).text();
        let line = text.lines().nth(1).unwrap();
        assert_eq!(line, format!("GET {rewritten} HTTP/1.1"), "{target}");
    }
}

#[test]
fn fields_are_changed_both_ways() {
    let web = Backend::start(|mut conn, _| {
        while let Some(request) = conn.request() {
            let head = request.head.replace("\r\n", "\n");
            let (length, fields) = (head.len(), "Server: web\r\nX-Kept: a\r\nX-Secret: 1\r\n");
            conn.send(format!(
                "HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n{head}"
            ));
        }
    });
    let route = "[[route]]\npool = \"web\"\n\
        request-headers = { set = { X-Env = \"live\", Host = \"inner.test\" }, add = { X-Via = \"b\" }, remove = [\"X-Debug\"] }\n\
        response-headers = { set = { Server = \"rondel\" }, add = { X-Kept = \"b\" }, remove = [\"X-Secret\"] }\n";
    let rondel = Rondel::configured(&format!("{route}{}", pool("web", &web)));
    let request = "GET / HTTP/1.1\r\nHost: h\r\nx-env: test\r\nX-Env: two\r\nX-Via: a\r\nx-debug: 1\r\nX-Secret: 2\r\n\r\n";
    let response = rondel.connect().ask(request);
    let seen = support::Message {
        head: response.text(),
        body: Vec::new(),
    };
    for (name, values) in [
        ("host", &["inner.test"][..]),
        ("x-env", &["live"]),
        ("x-via", &["a", "b"]),
        ("x-debug", &[]),
        ("x-secret", &["2"]),
    ] {
        assert_eq!(seen.fields(name), values, "{name}");
    }
    for (name, values) in [
        ("server", &["rondel"][..]),
        ("x-kept", &["a", "b"]),
        ("x-secret", &[]),
    ] {
        assert_eq!(response.fields(name), values, "{name}");
    }
}

#[test]
fn a_split_gives_each_pool_exactly_its_share() {
    let (web, canary, off) = (
        Backend::echo("web"),
        Backend::echo("canary"),
        Backend::echo("off"),
    );
    let route = "[[route]]\npools = { web = 93, canary = 7, off = 0 }\n";
    let pools = pool("web", &web) + &pool("canary", &canary) + &pool("off", &off);
    let rondel = Rondel::configured(&format!("{route}{pools}"));
    // Any hundred in a row, wherever they begin.
    for _ in 0..2 {
        let mut got = BTreeMap::new();
        let mut client = rondel.connect();
        for _ in 0..100 {
            let text = client.ask(&get("/")).text();
            let name = text.lines().next().unwrap_or_default().to_owned();
            *got.entry(name).or_insert(0) += 1;
        }
        let expected = BTreeMap::from([("web".to_owned(), 93), ("canary".to_owned(), 7)]);
        assert_eq!(got, expected);
        client.finish();
        client.expect_end();
    }
}
