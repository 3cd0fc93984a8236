//! The commands that ask about a configuration, as a person at a terminal or a program sees them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use support::terminal::run;

const FILE: &str = r#"max-sessions = 10

[[listener]]
address = "127.0.0.1:8080"

[[route]]
name = "old"
host = "old.example.com"
redirect = { status = 301, to = "https://www.example.com{path}" }

[[route]]
name = "api"
path-prefix = "/v1"
pool = "api"

[[route]]
name = "rest"
pool = "api"

[[pool]]
name = "api"
backends = ["nowhere.invalid:80", "10.0.0.2:80"]
"#;

/// A file with this text, of this name.
fn file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_valid_file_is_checked_without_resolving_anything() {
    for args in [
        &["check", "-f", "-"][..],
        &["-t", "-f", "-"],
        &["-c", "-f", "-"],
        &["-f", "-", "--check"],
    ] {
        let (code, stdout, stderr) = run(args, FILE);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}");
        let valid = "valid: 1 listener, 3 routes, 1 pool, 2 backends; no warnings\n";
        assert!(stdout.starts_with(valid), "{stdout}");
    }
    let flags = [
        "check",
        "--listen",
        ":80",
        "--backend",
        "nowhere.invalid:80",
    ];
    assert_eq!(run(&flags, "").0, Some(0));
}

#[test]
fn warnings_have_their_place_and_fail_where_they_are_taken_for_errors() {
    let file = FILE.replace("path-prefix = \"/v1\"\n", "");
    let (code, stdout, _) = run(&["check", "-f", "-"], &file);
    assert_eq!(code, Some(0));
    let warning = "<stdin>:15:1: warning: route rest gets no requests: route api, before it, takes them all [unreachable-route]\n";
    assert!(stdout.starts_with(warning), "{stdout}");
    assert_eq!(run(&["check", "-f", "-", "--strict"], &file).0, Some(3));
    assert_eq!(run(&["-t", "-f", "-", "--strict"], &file).0, Some(3));
    assert_eq!(run(&["-f", "-", "--strict"], &file).0, Some(2));
    let (code, stdout, _) = run(&["check", "-f", "-", "--json"], &file);
    assert_eq!(code, Some(0));
    for part in [
        "\"valid\": true",
        "\"line\": 15",
        "\"lint\": \"unreachable-route\"",
        "\"descriptors\": ",
    ] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
}

#[test]
fn the_file_that_ships_has_no_warnings_however_few_descriptors_there_may_be() {
    const SCRIPT: &str = "ulimit -n 1024 && exec \"$0\" check --strict -f \"$1\"";
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/rondel.toml");
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, env!("CARGO_BIN_EXE_rondel"), file]);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("; no warnings\n"), "{told}");
    assert!(told.contains(" of 1024"), "the budget tells it: {told}");
}

#[test]
fn all_that_is_wrong_is_told_with_exit_code_3() {
    let file = FILE.replace("pool = \"api\"", "pol = \"api\"");
    let (code, stdout, stderr) = run(&["check", "-f", "-"], &file);
    assert_eq!((code, stdout.as_str()), (Some(3), ""));
    assert_eq!(stderr.matches(": error: ").count(), 2, "{stderr}");
    let (code, stdout, _) = run(&["-c", "-f", "-", "--json"], &file);
    assert_eq!(code, Some(3));
    assert!(
        stdout.contains("\"valid\": false") && stdout.contains("\"line\": 14"),
        "{stdout}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told_in_json_too() {
    let (code, stdout, stderr) = run(&["check", "-f", "/nowhere/f.toml", "--json"], "");
    assert_eq!((code, stderr.as_str()), (Some(3), ""));
    assert!(stdout.contains("\"valid\": false"), "{stdout}");
    assert!(
        stdout.contains("/nowhere/f.toml: the file cannot be read"),
        "{stdout}"
    );
}

#[test]
fn the_warnings_that_there_are_are_listed() {
    let (code, stdout, _) = run(&["check", "--lints"], "");
    assert_eq!(code, Some(0));
    assert!(stdout.contains("\nsticky-one-backend "), "{stdout}");
}

#[test]
fn a_request_is_explained() {
    let args = [
        "explain",
        "-f",
        "-",
        "GET",
        "http://a.example/v1/x",
        "-H",
        "Cookie: a=b",
        "--from",
        "10.1.2.3",
        "--down",
        "10.0.0.2:80",
    ];
    let (code, stdout, stderr) = run(&args, FILE);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for line in [
        "client: 10.1.2.3",
        "not route old: host \"a.example\" is not \"old.example.com\"",
        "route api takes it",
        "backend 10.0.0.2:80: down, weight 1",
        "pick: nowhere.invalid:80; nobody else if it cannot be reached",
        "    GET /v1/x HTTP/1.1",
        "    Cookie: a=b",
    ] {
        assert!(stdout.lines().any(|told| told == line), "{line}: {stdout}");
    }
    let (code, stdout, _) = run(
        &["explain", "-f", "-", "GET", "old.example.com/x", "--json"],
        FILE,
    );
    assert_eq!(code, Some(0));
    assert!(
        stdout.contains("\"location\": \"https://www.example.com/x\""),
        "{stdout}"
    );
}

#[test]
fn picks_are_planned() {
    let (code, stdout, _) = run(&["plan", "-f", "-", "--requests", "3"], FILE);
    assert_eq!(code, Some(0));
    let expected = "   1 nowhere.invalid:80\n   2 10.0.0.2:80\n   3 nowhere.invalid:80\n";
    assert!(stdout.contains(expected), "{stdout}");
}

#[test]
fn what_changes_is_told_and_what_follows() {
    let old = file("old.toml", FILE);
    let new = file(
        "new.toml",
        &FILE
            .replace("path-prefix = \"/v1\"\n", "")
            .replace(", \"10.0.0.2:80\"", ""),
    );
    let (code, stdout, stderr) = run(&["diff", &old, &new], "");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(
        stdout,
        "- pool api: backend 10.0.0.2:80: drains: it gets no new requests and finishes those that it has\n\
         ~ route api: when paths /v1 (prefix) → every request\n\
         ! route rest gets no requests any more: route api, before it, takes them all\n"
    );
    assert_eq!(run(&["diff", &old, &old], "").1, "nothing changes\n");
    let (code, stdout, _) = run(&["diff", &old, &new, "--json"], "");
    assert_eq!(code, Some(0));
    assert!(stdout.contains("\"change\": \"unreachable\""), "{stdout}");
}

#[test]
fn what_cannot_be_asked_is_one_line() {
    for (args, line) in [
        (
            &["check"][..],
            "--file is missing: expected what to ask about, such as -f rondel.toml",
        ),
        (
            &["check", "-f", "-", "--listen", ":80"],
            "--listen: expected in the file, not beside --file",
        ),
        (
            &["explain", "GET"],
            "<URL> is missing; rondel --help shows what there is",
        ),
        (
            &["explain", "-f", "-", "GET", "/x"],
            "\"/x\": expected a URL such as http://api.example.com/v1/x",
        ),
        (
            &["explain", "-f", "-", "GET", "a", "--listener", "x"],
            "--listener \"x\": no such listener; expected 127.0.0.1:8080",
        ),
        (
            &["plan", "-f", "-", "--pool", "x"],
            "--pool \"x\": no such pool; expected api",
        ),
        (
            &["plan", "-f", "-", "--down", "x"],
            "--down \"x\": no such backend; expected one of nowhere.invalid:80, 10.0.0.2:80",
        ),
        (
            &["plan", "-f", "-", "--requests", "0"],
            "--requests \"0\": expected a whole number from 1 to 100000",
        ),
    ] {
        let told = run(args, FILE);
        assert_eq!(
            told,
            (Some(2), String::new(), format!("rondel: {line}\n")),
            "{args:?}"
        );
    }
}
