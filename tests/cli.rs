//! The binary as a person at a terminal, or a supervisor, sees it: flags, help, exit codes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;
use std::net::TcpListener;
use std::process::{Command, Stdio};

const RONDEL: &str = env!("CARGO_BIN_EXE_rondel");

/// Runs it to its end: exit code, standard output, standard error.
fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(RONDEL).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// `flags`, its words split at spaces, is refused with this one line.
fn check(flags: &str, line: &str) {
    let args: Vec<&str> = flags.split(' ').filter(|word| !word.is_empty()).collect();
    let (code, stdout, stderr) = run(&args);
    assert_eq!(
        (stderr, code),
        (format!("rondel: {line}\n"), Some(2)),
        "{flags}"
    );
    assert_eq!(stdout, "", "{flags}");
}

#[test]
fn what_is_missing_is_named_with_an_example() {
    check(
        "",
        "--listen and --backend are missing: expected both, such as rondel --listen :8080 --backend localhost:3000 \
         (or try rondel demo, or rondel --help)",
    );
    check(
        "--listen :0",
        "--backend is missing: expected a server to forward to, such as --backend localhost:3000",
    );
    check(
        "--backend a:1",
        "--listen is missing: expected where to accept clients, such as --listen :8080",
    );
}

#[test]
fn wrong_flags_are_one_line_each() {
    for (flags, line) in [
        (
            "--lisen :0",
            r#""--lisen": no such flag; did you mean --listen?"#,
        ),
        (
            "--listen :0 --conect-timeout 3s",
            r#""--conect-timeout": no such flag; did you mean --connect-timeout?"#,
        ),
        (
            "--zzz",
            r#""--zzz": no such flag; rondel --help shows what there is"#,
        ),
        (
            "-x",
            r#""-x": no such flag; rondel --help shows what there is"#,
        ),
        (
            "8080",
            r#""8080": no such command; rondel --help shows what there is"#,
        ),
        (
            "--listen :0 8080",
            r#""8080": no such command; rondel --help shows what there is"#,
        ),
        ("dmeo", r#""dmeo": no such command; did you mean demo?"#),
        ("--retries", "--retries: expected a value behind it"),
        (
            "--listen --backend a:1",
            "--listen: expected a value behind it",
        ),
        (
            "--forwarded=yes",
            r#"--forwarded "yes": expected no value behind it"#,
        ),
        (
            "--retries 1 --retries 2",
            "--retries: expected at most once",
        ),
        (
            "--forwarded --forwarded",
            "--forwarded: expected at most once",
        ),
        (
            "--retries 1 demo",
            "--retries: expected behind the command, not before it",
        ),
        (
            "demo --backend a:1",
            r#""--backend": no such flag; rondel --help shows what there is"#,
        ),
    ] {
        check(flags, line);
    }
}

#[test]
fn wrong_durations_are_one_line_each() {
    let expected = "expected a duration such as 3s or 500ms";
    let flags = [
        "connect",
        "head",
        "response",
        "body",
        "client-idle",
        "upstream-idle",
        "tunnel",
        "linger",
        "drain",
    ];
    for flag in flags {
        check(
            &format!("--{flag}-timeout 3"),
            &format!(r#"--{flag}-timeout "3": {expected}"#),
        );
        check(
            &format!("--{flag}-timeout 0s"),
            &format!(r#"--{flag}-timeout "0s": {expected}, at least 1ms"#),
        );
    }
    check(
        "--drain-timeout -3s",
        &format!(r#"--drain-timeout "-3s": {expected}"#),
    );
    check(
        "--drain-timeout 2years",
        &format!(r#"--drain-timeout "2years": {expected}, at most 365days"#),
    );
    check(
        "demo --head-timeout x",
        &format!(r#"--head-timeout "x": {expected}"#),
    );
}

#[test]
fn wrong_values_are_one_line_each() {
    for (flags, line) in [
        (
            "--retries 11",
            r#"--retries "11": expected a whole number from 0 to 10"#,
        ),
        (
            "--retries -1",
            r#"--retries "-1": expected a whole number from 0 to 10"#,
        ),
        (
            "--retries=",
            r#"--retries "": expected a whole number from 0 to 10"#,
        ),
        (
            "--max-sessions 0",
            r#"--max-sessions "0": expected a whole number from 1 to 1000000"#,
        ),
        (
            "--max-idle-per-backend x",
            r#"--max-idle-per-backend "x": expected a whole number from 0 to 65535"#,
        ),
        (
            "--min-body-rate 64k",
            r#"--min-body-rate "64k": expected a whole number from 0 to 1000000000"#,
        ),
        (
            "--fail-after 0",
            r#"--fail-after "0": expected a whole number from 1 to 1000000"#,
        ),
        (
            "--trust 10.0.0.0/33",
            r#"--trust "10.0.0.0/33": expected an address or a network such as 10.0.0.0/8, 192.0.2.7 or fd00::/8"#,
        ),
        (
            "--name a/b",
            r#"--name "a/b": expected a name of letters, digits, - and _, 64 at most, such as rondel or edge-1"#,
        ),
        (
            "--log-level loud",
            r#"--log-level "loud": expected error, warn, info, debug or trace"#,
        ),
        (
            "--listen a\u{1b}\nb",
            "--listen \"a\\u{1b}\\nb\": expected an IP address and a port such as 127.0.0.1:8080, [::1]:8080, \
             or :8080 for all IPv4 interfaces",
        ),
        (
            "--listen :8080 --listen 8080 --backend 127.0.0.1:1",
            r#"--listen "0.0.0.0:8080": expected each address once"#,
        ),
    ] {
        check(flags, line);
    }
}

#[test]
fn wrong_backends_are_one_line_each() {
    let expected = "expected HOST:PORT such as 10.0.0.1:3000, [::1]:3000 or localhost:3000";
    check(
        "--backend a",
        &format!(r#"--backend "a": the port is missing; {expected}"#),
    );
    check(
        "--backend http://a:1",
        &format!(
            r#"--backend "http://a:1": a backend is a host and a port, not a URL; {expected}"#
        ),
    );
    check(
        "--backend a:0",
        r#"--backend "a:0": nothing can be reached at port 0; expected a port from 1 to 65535"#,
    );
    check(
        "--listen :0 --backend 127.0.0.1:1 --backend [::1]:1 --backend 127.0.0.1:1",
        r#"--backend "127.0.0.1:1": expected each server once, and "127.0.0.1:1" is the same"#,
    );
}

#[test]
fn a_name_that_does_not_resolve_is_told_with_its_flag() {
    let (code, _, stderr) = run(&[
        "--listen",
        "127.0.0.1:0",
        "--backend",
        "nonexistent.invalid:80",
    ]);
    assert_eq!(code, Some(2));
    let start = r#"rondel: --backend "nonexistent.invalid:80": the name does not resolve: "#;
    assert!(
        stderr.starts_with(start) && stderr.lines().count() == 1,
        "{stderr}"
    );
}

#[test]
fn help_shows_every_flag_with_its_default() {
    let (code, help, stderr) = run(&["--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for (flag, default) in [
        ("--listen <ADDR>", "[required]"),
        ("--backend <HOST:PORT>", "[required]"),
        ("--connect-timeout <TIME>", "[default: 3s]"),
        ("--head-timeout <TIME>", "[default: 10s]"),
        ("--response-timeout <TIME>", "[default: 1m]"),
        ("--body-timeout <TIME>", "[default: 1m]"),
        ("--client-idle-timeout <TIME>", "[default: 1m]"),
        ("--upstream-idle-timeout <TIME>", "[default: 30s]"),
        ("--tunnel-timeout <TIME>", "[default: 1h]"),
        ("--linger-timeout <TIME>", "[default: 5s]"),
        ("--drain-timeout <TIME>", "[default: 30s]"),
        ("--retries <N>", "[default: 2]"),
        ("--max-sessions <N>", "[default: 10000]"),
        ("--max-idle-per-backend <N>", "[default: 10000]"),
        ("--min-body-rate <BYTES>", "[default: 64]"),
        ("--fail-after <N>", "[default: 3]"),
        ("--take-out-last", "[default: it stays in]"),
        ("--trust <CIDR>", "[default: no one is believed]"),
        ("--forwarded", "[default: X-Forwarded-* only]"),
        ("--name <NAME>", "[default: rondel]"),
        ("--log-level <LEVEL>", "[default: info]"),
    ] {
        let about = help.split_once(&format!("  {flag} ")).expect(flag).1;
        let about = about.split("\n      --").next().unwrap();
        assert!(about.contains(default), "{flag}: {about}");
    }
    for code in [
        "0  stopped",
        "1  failed",
        "2  wrong flags",
        "4  an address",
        "5  stopped",
    ] {
        assert!(help.contains(code), "{code}");
    }
    assert!(run(&["demo", "--help"]).1.contains("127.0.0.1:8080"));
    assert_eq!(run(&["-h"]).1, help);
}

#[test]
fn the_version_is_the_packages() {
    let version = concat!("rondel ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(
        run(&["--version"]),
        (Some(0), version.to_owned(), String::new())
    );
    assert_eq!(run(&["-V"]).1, version);
}

#[test]
fn help_into_a_pipe_nobody_reads_ends_well() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let child = Command::new(RONDEL)
        .arg("--help")
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn();
    let output = child.unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_port_in_use_is_told_with_the_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for args in [
        vec!["--listen", &addr, "--backend", "127.0.0.1:1"],
        vec!["demo", "--listen", &addr],
    ] {
        let (code, stdout, stderr) = run(&args);
        let line = stderr.lines().last().unwrap_or_default();
        assert_eq!((code, stdout.as_str()), (Some(4), ""), "{stderr}");
        assert!(
            line.starts_with(&format!("rondel: --listen {addr}: Address already in use")),
            "{stderr}"
        );
    }
}
