//! What an operator reads, and what no client can make them read. What becomes of a log that nobody takes is in `demo.rs`.

mod support;

use support::{Backend, Rondel, Stage, get};

#[test]
fn the_start_is_told_with_its_addresses_and_limits() {
    let backend = Backend::echo("a");
    let name = format!("localhost:{}", backend.addr.port());
    let plain = backend.addr.to_string();
    let other = Backend::nowhere().to_string();
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
        "--backend",
        &name,
        "--backend",
        &other,
    ];
    let rondel = Rondel::start_with(&args.map(str::to_owned));
    rondel.wait_for_lines("listening on 127.0.0.1:", 2);
    let line = rondel.wait_for_line(&format!("pool default: backend {name} at ["));
    assert!(line.contains(&plain), "all addresses of a name: {line}");
    rondel.wait_for_line(&format!("pool default: backend {other} at [{other}]"));
    rondel.wait_for_line(&format!("rondel {} is ready", env!("CARGO_PKG_VERSION")));
    let log = rondel.log();
    assert!(log.iter().all(|line| line.contains(" INFO ")), "{log:#?}");
    for line in log.iter().filter(|line| line.contains("listening on ")) {
        let addr = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(support::Client::connect(addr).ask(&get("/")).status(), 200);
    }
}

#[test]
fn requests_have_no_line_of_their_own() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &[]);
    let before = rondel.log();
    let mut client = rondel.connect();
    (0..5).for_each(|_| assert_eq!(client.ask(&get("/")).status(), 200));
    assert_eq!(rondel.log(), before);
}

#[test]
fn a_backend_that_stays_out_is_told_with_its_numbers() {
    let addr = Backend::nowhere();
    let rondel = Rondel::start(&[addr, Backend::echo("b").addr], &["--fail-after", "1"]);
    let mut client = rondel.connect();
    client.ask(&get("/"));
    client.ask(&get("/"));
    let out = rondel.wait_for_line("is out");
    assert!(
        out.contains("1 failures in a row, last connect-refused; tried again in 1s; 1 live"),
        "{out}"
    );
    let stays = |line: &String| line.contains("stays out: connect-refused; tried again in 2s");
    while !rondel.log().iter().any(stays) {
        assert_eq!(client.ask(&get("/")).status(), 200);
    }
}

#[test]
fn where_there_are_several_pools_a_backend_is_told_with_its_own() {
    let text = format!(
        "fail-after = 1\ntake-out-last = true\n[[pool]]\nname = \"app\"\n[[pool.backend]]\nname = \"b1\"\naddress = \"{}\"\n",
        Backend::nowhere()
    );
    let lines = [
        (String::new(), " backend b1 is out: 1 failures"),
        (
            "[[pool]]\nname = \"other\"\nbackends = [\"127.0.0.1:1\"]\n[[route]]\npool = \"app\"\n"
                .to_owned(),
            " pool app: backend b1 is out: 1 failures",
        ),
    ];
    for (more, line) in lines {
        let rondel = Rondel::configured(&format!("{text}{more}"));
        assert_eq!(rondel.connect().ask(&get("/")).status(), 502);
        let out = rondel.wait_for_line("is out");
        assert!(out.contains(line), "{out}");
        assert_eq!(out.contains("pool "), line.contains("pool "), "{out}");
    }
}

/// Everything that a client may do to be noticed.
const NOISE: &[&[u8]] = &[
    b"\x1b[31mGET / HTTP/1.1\r\n\r\n",
    b"GET /\x1b]0;title\x07 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /\"\\\n<b>%0a%1b[0m HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /a\"b\\c`%0a%1b[0m HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: \x1b[2J\r\nUser-Agent: \x9b31m\xe2\x80\xae\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xe2\x80\xae\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\x1b\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nx",
    b"\x16\x03\x01\x02\x00",
    b"",
    b"GE",
];

#[test]
fn nothing_that_a_client_sends_is_shown_raw_or_as_a_warning() {
    let rondel = Rondel::start(&[Backend::echo("a").addr], &["--log-level", "debug"]);
    for noise in NOISE {
        let mut client = rondel.connect();
        client.send(noise);
        client.finish();
        client.rest();
        let mut rude = rondel.connect();
        rude.send(noise);
        rude.reset();
    }
    assert_eq!(rondel.connect().ask(&get("/last")).status(), 200);
    rondel.wait_for_line("GET /last");
    for line in rondel.log() {
        assert!(
            line.bytes().all(|byte| matches!(byte, b' '..=b'~')),
            "{line:?}"
        );
        assert!(
            !line.contains(" WARN ") && !line.contains(" ERROR "),
            "{line}"
        );
    }
    let quoted = rondel.wait_for_line("/a");
    assert!(
        quoted.contains(r#""GET /a\"b\\c`%0a%1b[0m HTTP/1.1""#),
        "{quoted}"
    );
}

#[test]
fn nothing_that_a_backend_sends_is_shown_raw_or_as_an_error() {
    let stage = Stage::start();
    let rondel = Rondel::start(&[stage.addr], &["--log-level", "debug"]);
    for noise in [
        &b"\x1b[31m\r\n\r\n"[..],
        b"HTTP/1.1 200 \x1b[31m\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\x1b: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \x9b\r\n\r\n",
        b"",
    ] {
        let mut client = rondel.connect();
        client.send(get("/"));
        let (mut upstream, _) = stage.request();
        upstream.send(noise);
        drop(upstream);
        assert_eq!(client.response(false).status(), 502);
    }
    for line in rondel.log() {
        assert!(
            line.bytes().all(|byte| matches!(byte, b' '..=b'~')),
            "{line:?}"
        );
        assert!(!line.contains(" ERROR "), "{line}");
    }
}
