//! The configuration file, as a person at a terminal sees it: `-f`, `--print-config`, `config-reference`.

mod support;

use std::net::TcpListener;

use support::terminal::run;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rondel.toml");

#[test]
fn all_that_is_wrong_with_a_file_is_told_with_its_place() {
    let text = "[[listener]]\naddress = \":0\"\n[[pool]]\nname = \"web\"\nbackends = [\"a\"]\nretires = 1\n";
    for args in [
        &["-f", "-"][..],
        &["--file", "-"],
        &["-f", "-", "--print-config"],
    ] {
        let (code, stdout, stderr) = run(args, text);
        assert_eq!((code, stdout.as_str()), (Some(3), ""), "{args:?}");
        assert_eq!(
            stderr,
            "<stdin>:5:13: error: backends \"a\" in pool \"web\": the port is missing; expected HOST:PORT such as 10.0.0.1:3000, \
             [::1]:3000 or localhost:3000\n\
             5 | backends = [\"a\"]\n  \
               |             ^^^\n\
             <stdin>:6:1: error: unknown key \"retires\" in pool \"web\"; did you mean \"retries\"?\n\
             6 | retires = 1\n  \
               | ^^^^^^^\n"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_line() {
    let (code, _, stderr) = run(&["-f", "/nonexistent/rondel.toml"], "");
    assert_eq!(code, Some(3));
    let start = "rondel: /nonexistent/rondel.toml: the file cannot be read: ";
    assert!(
        stderr.starts_with(start) && stderr.lines().count() == 1,
        "{stderr}"
    );
    assert_eq!(run(&["-f", "/"], "").0, Some(3));
}

#[test]
fn names_that_do_not_resolve_are_told_with_their_place() {
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"web\"\nbackends = [\"x.invalid:1\",\n\"y.invalid:1\"]\n";
    let (code, _, stderr) = run(&["-f", "-"], text);
    assert_eq!(code, Some(3));
    for start in [
        "<stdin>:5:13: error: address \"x.invalid:1\": the name does not resolve",
        "<stdin>:6:1: error: address \"y.invalid:1\": the name does not resolve",
    ] {
        assert!(
            stderr.lines().any(|line| line.starts_with(start)),
            "{stderr}"
        );
    }
    let (code, printed, _) = run(&["-f", "-", "--print-config"], text);
    assert_eq!(code, Some(0), "to print it, nothing is resolved");
    assert!(printed.contains("x.invalid:1"), "{printed}");
}

#[test]
fn a_file_and_flags_do_not_go_together() {
    for flag in [
        "--listen=:0",
        "--backend=a:1",
        "--retries=1",
        "--drain-timeout=1s",
        "--forwarded",
        "--log-level=warn",
    ] {
        for args in [[flag, "--file=x"], ["--file=x", flag]] {
            let (code, _, stderr) = run(&args, "");
            let name = flag.split('=').next().unwrap();
            assert_eq!(
                (code, stderr),
                (
                    Some(2),
                    format!("rondel: {name}: expected in the file, not beside --file\n")
                ),
                "{args:?}"
            );
        }
    }
}

#[test]
fn the_file_listens_where_it_says_and_logs_what_it_says() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let text = format!(
        "[[listener]]\naddress = \"{addr}\"\n[[pool]]\nname = \"web\"\nbackends = [\"127.0.0.1:1\"]\n"
    );
    let (code, _, stderr) = run(&["-f", "-"], &text);
    let start = format!("rondel: listener {addr}: Address already in use");
    assert_eq!(code, Some(4));
    assert!(
        stderr.lines().last().unwrap().starts_with(&start),
        "{stderr}"
    );
}

#[test]
fn flags_print_as_the_file_that_says_the_same() {
    let flags = [
        "--listen=127.0.0.1:8080",
        "--backend=127.0.0.1:3000",
        "--backend=x.invalid:3001",
        "--retries=0",
        "--drain-timeout=7s",
        "--log-level=debug",
        "--print-config",
    ];
    let (code, printed, stderr) = run(&flags, "");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(
        printed,
        "log-level = \"debug\"\n\
         drain-timeout = \"7s\"\n\
         retries = 0\n\
         \n\
         [[listener]]\n\
         address = \"127.0.0.1:8080\"\n\
         \n\
         [[pool]]\n\
         name = \"default\"\n\
         backends = [\"127.0.0.1:3000\", \"x.invalid:3001\"]\n"
    );
    let (code, again, _) = run(&["-f", "-", "--print-config"], &printed);
    assert_eq!((code, again), (Some(0), printed));
}

#[test]
fn the_example_is_good() {
    let (code, printed, stderr) = run(&["-f", EXAMPLE, "--print-config"], "");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(printed.contains("name = \"everything else\""), "{printed}");
}

#[test]
fn the_reference_is_printed() {
    let (code, text, stderr) = run(&["config-reference"], "");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(text.contains("## `[[pool.backend]]`"), "{text}");
}

#[test]
fn the_example_in_the_readme_is_valid() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, behind) = readme.split_once("```toml\n").unwrap();
    let (example, _) = behind.split_once("```").unwrap();
    let (code, stdout, stderr) = run(&["check", "-f", "-"], example);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(
        stdout.contains("valid: 1 listener, 2 routes, 2 pools, 3 backends"),
        "{stdout}"
    );
}
