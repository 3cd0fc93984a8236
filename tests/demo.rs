//! The demo: backends that go and come behind the real proxy, and a log that nobody can read, which stops nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

const RONDEL: &str = env!("CARGO_BIN_EXE_rondel");

/// A demo that runs, on a free port, until told to stop.
struct Demo {
    child: Child,
    /// Kept open: what it prints goes somewhere.
    _stdout: BufReader<ChildStdout>,
    addr: SocketAddr,
}

impl Demo {
    fn start(stderr: impl Into<Stdio>) -> Self {
        let mut command = Command::new(RONDEL);
        command
            .args(["demo", "--listen", "127.0.0.1:0", "--log-level", "debug"])
            .stderr(stderr);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            assert_ne!(
                stdout.read_line(&mut line).unwrap(),
                0,
                "it ended before it said where it listens"
            );
        }
        let url = line.split("http://").nth(1).unwrap();
        let addr = url.split(' ').next().unwrap().trim().parse().unwrap();
        Self {
            child,
            _stdout: stdout,
            addr,
        }
    }

    /// One request on a connection of its own; the whole response.
    fn ask(&self, request_line: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        write!(
            stream,
            "{request_line} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    /// The names that answer so many requests, each once.
    fn names(&self, requests: usize) -> Vec<String> {
        let name = |response: String| {
            let hello = response.split("hello from ").nth(1);
            let hello = hello.unwrap_or_else(|| panic!("no hello: {response}"));
            hello.lines().next().unwrap().to_owned()
        };
        let mut names: Vec<_> = (0..requests).map(|_| name(self.ask("GET /"))).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Tells it to stop as Ctrl-C does; its exit code.
    fn stop(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Nothing is left to end when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_demo_shows_three_names_and_a_backend_that_goes_and_comes() {
    let demo = Demo::start(Stdio::null());
    assert_eq!(demo.names(3), ["b1", "b2", "b3"]);
    assert!(demo.ask("POST /demo/stop/b2").contains("b2 is down\n"));
    assert!(demo.ask("GET /demo/status").contains("b2 down "));
    assert_eq!(demo.names(12), ["b1", "b3"]);
    assert!(demo.ask("POST /demo/stop/b1").contains("b1 is down\n"));
    assert!(demo.ask("POST /demo/stop/b3").starts_with("HTTP/1.1 409 "));
    assert!(demo.ask("GET /demo/stop/b3").starts_with("HTTP/1.1 405 "));
    assert!(
        demo.ask("POST /demo/stop/b9")
            .contains("there are b1, b2, b3\n")
    );
    assert!(demo.ask("POST /demo/start/b2").contains("b2 is up\n"));
    assert!(
        demo.ask("POST /demo/start/b2")
            .contains("b2 is up already\n")
    );
    assert!(demo.ask("GET /demo/status").contains("b2 up "));
    assert!(demo.ask("GET /slow?ms=1").contains("hello from "));
    assert!(demo.ask("GET /slow?ms=60001").starts_with("HTTP/1.1 400 "));
    assert_eq!(demo.stop(), Some(0));
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let (reader, broken) = io::pipe().unwrap();
    drop(reader);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut closed = Command::new("sh");
    closed.args([
        "-c",
        "exec \"$0\" demo --listen 127.0.0.1:0 --log-level debug 2>&-",
        RONDEL,
    ]);
    for demo in [Demo::start(broken), Demo::start(full), Demo::spawn(closed)] {
        assert_eq!(demo.names(30), ["b1", "b2", "b3"]);
        assert_eq!(demo.stop(), Some(0));
    }
}

#[test]
fn a_log_that_nobody_reads_stalls_nothing_and_then_tells_what_was_lost() {
    let (mut reader, mut writer) = io::pipe().unwrap();
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut filled = 0;
    while poll(&mut [PollFd::new(&writer, PollFlags::OUT)], Some(&at_once)).unwrap() > 0 {
        filled += writer.write(&[b'.'; 4096]).unwrap();
    }
    let demo = Demo::start(writer);
    assert_eq!(demo.names(30), ["b1", "b2", "b3"]);

    let mut filling = vec![0; filled];
    reader.read_exact(&mut filling).unwrap();
    assert!(
        filling.iter().all(|&b| b == b'.'),
        "something was written into the full pipe"
    );
    assert_eq!(demo.stop(), Some(0));
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    let first = log.lines().next().unwrap_or_default();
    assert!(
        first.contains(" WARN ") && first.ends_with(" log lines were lost"),
        "{log}"
    );
    assert!(log.lines().count() > 1 && log.ends_with('\n'), "{log}");
}
