use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::config::{
    FieldEdits, FixedReply, Hash, HashOn, Listener, Piece, Policy, Redirect, Rewrite, Share, Sticky,
};
use crate::inspect::tests::{instant, pool, routes};

/// Two listeners; the routes `old`, `health`, `api` and `all`; the pools `default` and `api` with `a1`, `a2` and a backup `a3`.
fn config() -> Config {
    let mut config = routes(&[
        "old: old.example.com",
        "health: =/health at:127.0.0.1:8080",
        "api: api.example.com /v1 GET",
        "all: www.example.com api.example.com",
    ]);
    config
        .listeners
        .push(Listener::at("127.0.0.1:8081".parse().unwrap()));
    let mut api = pool("api", "a1 a2 a3");
    api.backends[2].backup = true;
    config.pools.push(Arc::new(api));
    let mut action = |place: usize, action: Action| {
        Arc::make_mut(&mut config.routes[place]).action = action;
    };
    action(
        0,
        Action::Redirect(Redirect {
            status: 301,
            location: vec![
                Piece::Text("https://www.example.com".to_owned()),
                Piece::Path,
                Piece::Query,
            ],
        }),
    );
    action(
        1,
        Action::Reply(FixedReply {
            status: 200,
            content_type: "text/plain".to_owned(),
            body: "ok\n".to_owned(),
        }),
    );
    action(2, Action::Pools(vec![Share { pool: 1, weight: 1 }]));
    let api = Arc::make_mut(&mut config.routes[2]);
    api.rewrite = Some(Rewrite::Prefix {
        from: "/v1".to_owned(),
        to: String::new(),
    });
    api.request_fields
        .set
        .push(("X-Env".to_owned(), "test".to_owned()));
    api.response_fields = FieldEdits {
        remove: vec!["Server".to_owned()],
        ..FieldEdits::default()
    };
    config
}

/// What would become of a request to `config`.
fn ask(config: &Config, url: &str, fields: &[&str], down: &str) -> Explanation {
    let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
    let down: Vec<String> = down.split_whitespace().map(str::to_owned).collect();
    let question = Question {
        head: &head("GET", url, &fields).unwrap(),
        listener: 0,
        from: "10.1.2.3".parse().unwrap(),
        down: &down,
        now: instant(),
    };
    explain(config, &question).unwrap()
}

fn check(url: &str, down: &str, expected: &str) {
    assert_eq!(ask(&config(), url, &[], down).to_string(), expected);
}

#[test]
fn a_request_to_a_pool_is_explained_whole() {
    check(
        "http://api.example.com/v1/x?y=1",
        "",
        "listener: 127.0.0.1:8080\n\
         client: 10.1.2.3\n\
         not route old: host \"api.example.com\" is not \"old.example.com\"\n\
         not route health: path \"/v1/x\" is not \"/health\"\n\
         route api takes it\n\
         pool: api, round-robin\n\
         backend a1: live, weight 1\n\
         backend a2: live, weight 1\n\
         backend a3: live, weight 1, backup\n\
         pick: a1; if it cannot be reached, a2, then a3\n\
         timers: connect-timeout 3s, response-timeout 1m, body-timeout 1m, upstream-idle-timeout 30s, tunnel-timeout 1h, hold-timeout 5s\n\
         in the response: remove Server\n\
         head:\n    \
             GET /x?y=1 HTTP/1.1\n    \
             Host: api.example.com\n    \
             X-Env: test\n    \
             X-Forwarded-For: 10.1.2.3\n    \
             X-Forwarded-Proto: http\n    \
             X-Forwarded-Host: api.example.com\n    \
             Via: 1.1 rondel\n    \
             X-Request-Id: 00000000000000000000000000000000\n",
    );
}

#[test]
fn what_does_not_go_to_a_pool_is_explained_too() {
    check(
        "old.example.com/a?b",
        "",
        "listener: 127.0.0.1:8080\nclient: 10.1.2.3\nroute old takes it\n\
         redirect: 301 to https://www.example.com/a?b\n",
    );
    check(
        "x.example.com/health",
        "",
        "listener: 127.0.0.1:8080\nclient: 10.1.2.3\n\
         not route old: host \"x.example.com\" is not \"old.example.com\"\n\
         route health takes it\nreply: 200, 3 bytes of text/plain\n",
    );
    check(
        "api.example.com/a//b",
        "",
        "listener: 127.0.0.1:8080\nclient: 10.1.2.3\nrefused: 400 Bad Request: ambiguous-path\n",
    );
    let told = ask(&config(), "x.example.com/x", &[], "").to_string();
    assert!(
        told.ends_with("no route takes it: 404 Not Found: no-route\n"),
        "{told}"
    );
    assert_eq!(told.matches("not route ").count(), 4, "{told}");
}

/// The tries for a request to the pool `api`.
fn tries(config: &Config, fields: &[&str], down: &str) -> Vec<String> {
    match ask(config, "api.example.com/v1", fields, down).outcome {
        Outcome::Pool(delivery) => delivery.tries,
        other => panic!("not to a pool: {other:?}"),
    }
}

#[test]
fn backends_that_are_down_are_not_tried() {
    assert_eq!(tries(&config(), &[], "a1"), ["a2", "a3"]);
    assert_eq!(tries(&config(), &[], "a1 api/a2"), ["a3"]);
    let none = ask(&config(), "api.example.com/v1", &[], "a1 a2 a3");
    let text = none.to_string();
    assert!(text.contains("backend a2: down, weight 1\n"), "{text}");
    assert!(text.contains("pick: none; 503 no-backend\n"), "{text}");

    let mut config = config();
    config.pool_mut(1).when_all_down = WhenAllDown::Hold;
    let text = ask(&config, "api.example.com/v1", &[], "a1 a2 a3").to_string();
    let told = "pick: none; it is held for hold-timeout at most, then 503 hold-timeout\n";
    assert!(text.contains(told), "{text}");
}

#[test]
fn there_are_as_many_tries_as_retries_allow() {
    let mut config = config();
    config.pool_mut(1).retries = 0;
    assert_eq!(tries(&config, &[], ""), ["a1"]);
    let text = ask(&config, "api.example.com/v1", &[], "").to_string();
    assert!(
        text.contains("pick: a1; nobody else if it cannot be reached\n"),
        "{text}"
    );
}

#[test]
fn the_same_key_has_the_same_pick_and_the_cookie_its_own() {
    let mut config = config();
    config.pool_mut(1).policy = Policy::Hash(Hash {
        on: HashOn::Field("X-User".to_owned()),
        load_percent_max: 0,
    });
    let picks: std::collections::HashSet<String> = (0..32)
        .map(|n| tries(&config, &[&format!("X-User: {n}")], "")[0].clone())
        .collect();
    assert_eq!(picks.len(), 2, "{picks:?}");
    assert_eq!(
        tries(&config, &["x-user: 7"], ""),
        tries(&config, &["X-User: 7"], "")
    );

    config.pool_mut(1).sticky = Some(Sticky {
        cookie: "at".to_owned(),
        secret: None,
    });
    let start = Start::new(&config, &[], instant()).unwrap();
    let a3 = start.balance.candidates(start.pools[1]).nth(2).unwrap().id;
    let digits = start.balance.token(a3).unwrap().digits();
    let cookie = format!("Cookie: x=y; at={}", str::from_utf8(&digits).unwrap());
    assert_eq!(tries(&config, &[&cookie], "")[0], "a3");
    let told = ask(&config, "api.example.com/v1", &[&cookie], "").to_string();
    assert!(told.contains("the cookie stands for a3\n"), "{told}");
}

#[test]
fn an_explanation_is_an_object_in_json() {
    let told = ask(&config(), "api.example.com/v1", &[], "a1").json();
    assert_eq!(told["route"], json!("route api"));
    assert_eq!(told["passed"][1]["route"], json!("route health"));
    assert_eq!(told["outcome"], json!("pool"));
    assert_eq!(told["pool"]["pick"], json!("a2"));
    assert_eq!(told["pool"]["timers"]["connect-timeout"], json!("3s"));
    assert_eq!(told["pool"]["candidates"][0]["live"], json!(false));
    let told = ask(&config(), "old.example.com", &[], "").json();
    assert_eq!(
        told["redirect"],
        json!({ "status": 301, "location": "https://www.example.com/" })
    );
}

#[test]
fn a_head_without_its_end_is_waited_for() {
    let question = Question {
        head: b"GET / HTTP/1.1\r\n",
        listener: 1,
        from: "::ffff:10.1.2.3".parse().unwrap(),
        down: &[],
        now: instant(),
    };
    let told = explain(&config(), &question).unwrap().to_string();
    assert_eq!(
        told,
        "listener: 127.0.0.1:8081\nmore of the head is waited for\n"
    );
}
