//! What is wrong, and how it is said.

use crate::config::file::read;

/// The lines that are told of a file that has a listener and a pool behind `text`.
fn problems(text: &str) -> Vec<String> {
    let found = read("f.toml", text).expect_err(text);
    found
        .iter()
        .map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.summary()))
        .collect()
}

const LISTENER: &str = "[[listener]]\naddress = \":80\"\n";
const POOL: &str = "[[pool]]\nname = \"web\"\nbackends = [\"a:1\"]\n";

/// What is wrong with a top that says this.
fn top(text: &str, expected: &str) {
    let found = problems(&format!("{text}\n{LISTENER}{POOL}"));
    assert_eq!(found, [expected], "{text}");
}

/// What is wrong with a pool that says this, its first line the sixth.
fn pool(text: &str, expected: &str) {
    let found = problems(&format!("{LISTENER}{POOL}{text}\n"));
    assert_eq!(found, [expected], "{text}");
}

/// What is wrong with a route that says this, its first line the seventh.
fn route(text: &str, expected: &str) {
    let found = problems(&format!("{LISTENER}{POOL}[[route]]\n{text}\n"));
    assert_eq!(found, [expected], "{text}");
}

#[test]
fn an_unknown_key_is_shown_with_what_was_meant() {
    let text = format!(
        "{LISTENER}[[pool]]\nname = \"web\"\n[[pool.backend]]\naddress = \"a:1\"\nname = \"b1\"\nwieght = 3\n"
    );
    let found = read("rondel.toml", &text).expect_err("a typing error");
    assert_eq!(
        found[0].to_string(),
        "rondel.toml:8:1: error: unknown key \"wieght\" in backend \"b1\" in pool \"web\"; did you mean \"weight\"?\n\
         8 | wieght = 3\n  | ^^^^^^\n"
    );
    assert_eq!(found.len(), 1);
}

#[test]
fn all_problems_are_told_in_one_run_in_the_order_of_the_file() {
    let found = problems(
        "retries = 11\nnam = \"x\"\n[[listener]]\naddress = \"x\"\n[[pool]]\nbackends = []\nretires = 1\n[[route]]\npool = \"wbe\"\n",
    );
    assert_eq!(
        found,
        [
            "1:11 retries 11: expected a whole number from 0 to 10",
            "2:1 unknown key \"nam\"; did you mean \"name\"?",
            "4:11 address \"x\" in listener 1: expected an IP address and a port such as 127.0.0.1:8080, [::1]:8080, or :8080 for all IPv4 interfaces",
            "5:1 name is missing in pool 1",
            "5:1 there is no backend in pool 1: expected at least one",
            "7:1 unknown key \"retires\" in pool 1; did you mean \"retries\"?",
            "9:8 there is no pool \"wbe\", named in route 1",
        ]
    );
}

#[test]
fn what_is_no_toml_is_told_with_all_else_but_what_may_be_missing_by_it() {
    let found = problems("retries = \nhed-timeout = \"1s\"\n[[pool\nname = \"a\"\n");
    assert!(found.len() >= 3, "{found:#?}");
    assert!(found[0].starts_with("1:"), "{found:#?}");
    assert!(
        found.iter().any(|line| line.contains("\"head-timeout\"")),
        "{found:#?}"
    );
    assert!(
        !found.iter().any(|line| line.contains("is missing")),
        "{found:#?}"
    );
    assert!(problems("retries = 1\nretries = 2\n")[0].starts_with("2:1"));
}

#[test]
fn what_is_missing_is_not_told_where_a_slip_in_its_name_is() {
    let found = |text: &str| problems(&format!("{LISTENER}{text}"));
    for (text, expected) in [
        (
            "[[pool]]\nname = \"web\"\n[[pool.backend]]\naddres = \"a:1\"\n",
            "6:1 unknown key \"addres\" in backend 1 in pool \"web\"; did you mean \"address\"?",
        ),
        (
            "[[pool]]\nname = \"web\"\nbackend_s = [\"a:1\"]\n",
            "5:1 unknown key \"backend_s\" in pool \"web\"; did you mean \"backends\"?",
        ),
        (
            "[[pools]]\nname = \"web\"\nbackends = [\"a:1\"]\n",
            "3:3 unknown key \"pools\"; did you mean \"pool\"?",
        ),
        (
            "[[route]]\nrepl = {}\n",
            "4:1 unknown key \"repl\" in route 1; did you mean \"reply\"?",
        ),
    ] {
        assert_eq!(found(text), [expected], "{text}");
    }
    assert_eq!(found("[[pool]]\nname = \"web\"\nbogus = 1\n").len(), 2);
}

#[test]
fn backends_of_which_more_is_said_have_sections_of_their_own() {
    let text = "[[pool]]\nname = \"web\"\n[[pool.backends]]\naddress = \"a:1\"\n[[pool.backends]]\nadress = \"b:1\"\n";
    assert_eq!(
        problems(&format!("{LISTENER}{text}")),
        [
            "5:1 backends {…} in pool \"web\": expected HOST:PORT, in quotes; did you mean \"[[pool.backend]]\"?"
        ]
    );
}

#[test]
fn an_empty_file_lacks_the_least() {
    let found = problems("");
    assert_eq!(
        found,
        [
            "1:1 a [[listener]] is missing: expected at least one",
            "1:1 a [[pool]] is missing: expected at least one with a backend, or routes that need none",
        ]
    );
}

#[test]
fn values_at_the_top() {
    top(
        "head-timeout = 3",
        "1:16 head-timeout 3: expected a duration, in quotes",
    );
    top(
        "head-timeout = \"3\"",
        "1:16 head-timeout \"3\": expected a duration such as 3s or 500ms",
    );
    top(
        "max-sessions = 0",
        "1:16 max-sessions 0: expected a whole number from 1 to 1000000",
    );
    top(
        "retries = \"2\"",
        "1:11 retries \"2\": expected a whole number from 0 to 10",
    );
    top(
        "retries = 99999999999999999999999999999999999999999999",
        "1:11 retries 99999999999999999999999999999999999999999999: expected a whole number from 0 to 10",
    );
    top("forwarded = 1", "1:13 forwarded 1: expected true or false");
    top(
        "trust = []",
        "1:9 trust […]: expected at least one; leave the key out for none",
    );
    top(
        "trust = [\"10.0.0.0/8\", \"all\"]",
        "1:24 trust \"all\": expected an address or a network such as 10.0.0.0/8, 192.0.2.7 or fd00::/8",
    );
    top(
        "log-level = \"inof\"",
        "1:13 log-level \"inof\": expected one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"; did you mean \"info\"?",
    );
    top(
        "hash-on = \"path\"",
        "1:11 hash-on has no effect: no pool has the policy \"hash\"",
    );
    top(
        "pools = 1",
        "1:1 unknown key \"pools\"; did you mean \"pool\"?",
    );
    top(
        "control = \"\"",
        "1:11 control \"\": expected a path such as /run/rondel.sock",
    );
}

#[test]
fn keys_of_pools() {
    pool(
        "hash-on = \"path\"",
        "6:11 hash-on in pool \"web\" has no effect: the policy is not \"hash\"",
    );
    pool(
        "max-held = 3",
        "6:12 max-held in pool \"web\" has no effect: requests are held only where when-all-down is \"hold\"",
    );
    pool(
        "drain-timeout = \"1s\"",
        "6:1 unknown key \"drain-timeout\" in pool \"web\": it stands at the top, before the first section",
    );
    pool(
        "sticky = { secret = \"x\" }",
        "6:10 cookie is missing in sticky in pool \"web\"",
    );
    pool(
        "sticky = { cookie = \"a b\" }",
        "6:21 cookie \"a b\" in sticky in pool \"web\": expected the name of a cookie: letters, digits, - and _, 256 at most",
    );
    pool(
        "policy = \"hash\"\nhash-load = 50",
        "7:13 hash-load in pool \"web\": expected 0 for no bound, or 100 to 1000 percent",
    );
    pool(
        "policy = \"hash\"\nhash-on = \"header:\"",
        "7:11 hash-on \"header:\" in pool \"web\": expected a name: letters, digits, - and _, 256 at most",
    );
    pool(
        "[[pool.backend]]\naddress = \"b:1\"",
        "5:12 backends in pool \"web\": expected either this or [[pool.backend]]",
    );
    pool(
        "[[pool]]\nname = \"web\"\nbackends = [\"a:1\"]\n[[route]]\npool = \"web\"",
        "7:8 another pool is called \"web\": expected each name once",
    );
    pool(
        "[[pool]]\nname = \"b\"\nbackends = [\"c:1\", \"C:1\"]\n[[route]]\npool = \"web\"",
        "8:20 backends \"C:1\" in pool \"b\": expected each server once in a pool",
    );
    pool(
        "[[pool]]\nname = \"b\"\nbackends = [\"[::1]:1\", \"[0::1]:1\"]\n[[route]]\npool = \"web\"",
        "8:24 backends \"[0::1]:1\" in pool \"b\": expected each server once in a pool",
    );
    pool(
        "[[pool]]\nname = \"b\"\nbackends = [\"c:1\"]",
        "1:1 a [[route]] is missing: expected routes that say which of the pools gets what",
    );
}

#[test]
fn conditions_of_routes() {
    route(
        "pool = \"web\"\nlistener = \":81\"",
        "8:12 there is no listener \":81\", named in route 1; did you mean \":80\"?",
    );
    route(
        "pool = \"web\"\nmethod = \"get\"",
        "8:10 method \"get\" in route 1: expected \"GET\": methods are case-sensitive (RFC 9110 §9.1)",
    );
    route(
        "pool = \"web\"\nheader = { A = { presnt = true } }",
        "8:27 presnt true in route 1: expected a value in quotes, or one of { value = \"x\" }, { pattern = \"x*\" }, { present = true } and { present = false }",
    );
    route(
        "pool = \"web\"\nheader = { \"A B\" = \"1\" }",
        "8:20 \"A B\" \"1\" in route 1: expected the name of a field: letters, digits, - and _, 256 at most",
    );
    route(
        "pool = \"web\"\nhost = [\"a\", \"a:80\"]",
        "8:14 host \"a:80\" in route 1: expected a host such as example.com or *.example.com, without a port",
    );
}

#[test]
fn actions_of_routes() {
    route(
        "pool = \"wep\"",
        "7:8 there is no pool \"wep\", named in route 1; did you mean \"web\"?",
    );
    route(
        "host = \"a\"",
        "6:1 nothing is done in route 1: expected one of pool, pools, redirect and reply",
    );
    route(
        "pool = \"web\"\nreply = { status = 200 }",
        "8:9 reply in route 1: expected one of pool, pools, redirect and reply, and pool is there",
    );
    route(
        "pools = { web = 3 }",
        "7:9 pools {…} in route 1: expected two pools or more; one is said with pool, and has no weight",
    );
    route(
        "redirect = { status = 304, to = \"/\" }",
        "7:23 status in redirect in route 1: expected 301, 302, 303, 307 or 308",
    );
    route(
        "reply = { status = 204, body = \"x\" }",
        "7:32 body in reply in route 1: expected none with this status",
    );
    route(
        "reply = { status = 200 }\nset-path = \"/\"",
        "8:12 set-path in route 1 has no effect: the request goes to no backend",
    );
    route(
        "pool = \"web\"\nset-path = \"/\"\nstrip-prefix = \"/a\"",
        "8:12 set-path in route 1: expected one of strip-prefix, replace-prefix and set-path",
    );
    route(
        "reply = 3",
        "7:9 reply 3 in route 1: expected a table such as { status = 200, body = \"ok\" }",
    );
}

#[test]
fn fields_that_frame_messages_stay_as_they_are() {
    let kept = |name: &str| {
        format!(
            "{name} frames messages, belongs to one connection, or is written by rondel: expected another field"
        )
    };
    for name in [
        "Content-Length",
        "transfer-encoding",
        "TE",
        "Transfer_Encoding",
        "Connection",
        "Via",
        "X-Request-Id",
    ] {
        let plain = name.to_lowercase().replace('_', "-");
        let line = format!("pool = \"web\"\nrequest-headers = {{ remove = [\"{name}\"] }}");
        route(
            &line,
            &format!(
                "8:31 remove {name:?} in request-headers in route 1: {}",
                kept(&plain)
            ),
        );
    }
    let edit = |edit: &str, expected: &str| route(&format!("pool = \"web\"\n{edit}"), expected);
    edit(
        "request-headers = { add = { Host = \"a\" } }",
        "8:36 Host \"a\" in request-headers in route 1: Host can only be set, and only in a request",
    );
    edit(
        "response-headers = { set = { Host = \"a\" } }",
        "8:37 Host \"a\" in response-headers in route 1: Host can only be set, and only in a request",
    );
    edit(
        "request-headers = { set = { A = \"x\\r\\ny\" } }",
        "8:33 A \"x\\r\\ny\" in request-headers in route 1: expected a value without control characters",
    );
    edit(
        "request-headers = { set = { A = \"1\" }, remove = [\"a\"] }",
        "8:27 set in request-headers in route 1: \"a\" is there twice: expected each field once, removed or set",
    );
    edit(
        "request-headers = {}",
        "8:19 nothing is changed in request-headers in route 1: expected set, add or remove",
    );
}

#[test]
fn what_stands_in_a_file_cannot_disturb_a_terminal() {
    let text =
        "\"k\\u001b[2J\" = 1\n[[route]]\nheader = { \"a\\n\" = \"\\u0000\" }\npool = \"\\u001b\"\n";
    for problem in read("f", text).expect_err("much is wrong") {
        let shown = problem.to_string();
        assert!(
            !shown.contains(|c: char| c.is_control() && c != '\n'),
            "{shown:?}"
        );
        assert_eq!(shown.lines().count(), 3, "{shown:?}");
    }
}

#[test]
fn names_are_short_and_visible() {
    let long = "x".repeat(261);
    let found = problems(&format!(
        "[[listener]]\nname = \"{long}\"\naddress = \":80\"\n{POOL}"
    ));
    assert!(
        found[0].starts_with("2:8 name \"xxx") && found[0].len() < 250,
        "{found:?}"
    );
    assert!(
        problems(&format!(
            "[[listener]]\nname = \"a\\u001b\"\naddress = \":80\"\n{POOL}"
        ))[0]
            .contains("control characters")
    );
}

#[test]
fn letters_that_changed_places_are_recognised_in_short_names_too() {
    let text = "[[listener]]\nname = \"web\"\naddress = \":80\"\n[[route]]\nlistener = \"wbe\"\nreply = {}\n";
    let problems = read("f", text).expect_err("no such listener");
    assert_eq!(problems[0].suggestion.as_deref(), Some("web"));
}
