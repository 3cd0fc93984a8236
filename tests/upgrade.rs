//! SIGUSR2: a new program takes over the listening sockets, and the old one finishes what it began.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use support::folder::Folder;
use support::{Backend, Client, PATIENCE, Rondel, Stage, get, ok};

/// A program that has taken over from the one under test. Ended when dropped.
struct Heir(Pid);

impl Heir {
    /// The one of that number among those that have taken over.
    fn nth(rondel: &Rondel, nth: usize) -> Self {
        rondel.wait_for_lines("has taken over", nth);
        let log = rondel.log();
        let mut lines = log.iter().filter(|line| line.contains("has taken over"));
        let words = lines
            .nth(nth - 1)
            .unwrap()
            .split("process ")
            .nth(1)
            .unwrap();
        let pid = words.split(' ').next().unwrap().parse().unwrap();
        Self(Pid::from_raw(pid).unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.0, signal).expect("it runs");
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// The binary, started through a link that can be set to something else.
fn linked(folder: &Folder, backends: &[&str], flags: &[&str]) -> Rondel {
    let program = folder.file("rondel");
    symlink(env!("CARGO_BIN_EXE_rondel"), &program).unwrap();
    let mut command = Command::new(program);
    command.args(["--listen", "127.0.0.1:0"]);
    for backend in backends {
        command.args(["--backend", backend]);
    }
    command.args(flags);
    Rondel::spawn(command)
}

/// What the link leads to from now on.
fn relink(folder: &Folder, program: &str) {
    let link = folder.file("rondel");
    fs::remove_file(&link).unwrap();
    symlink(program, &link).unwrap();
}

/// The sockets that a process has open.
fn sockets(pid: Pid) -> BTreeSet<String> {
    let folder = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap();
    let links = folder.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links
        .map(|link| link.to_string_lossy().into_owned())
        .filter(|link| link.starts_with("socket:"))
        .collect()
}

#[test]
fn what_runs_goes_on_in_the_old_program_and_what_comes_is_served_by_the_new_one() {
    let stage = Stage::start();
    // Whatever is not finished by then is cut short: not by the drain timeout.
    let mut rondel = Rondel::start(&[stage.addr], &["--drain-timeout", "1ms"]);
    let mut slow = rondel.connect();
    slow.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc");
    let mut upstream = stage.accept();
    upstream.head().unwrap();
    let mut tunnel = rondel.connect();
    tunnel.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n");
    let (mut far, _) = stage.request();
    far.send("HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n");
    assert_eq!(tunnel.response(false).status(), 101);
    let mut idle = rondel.connect();
    idle.send(get("/idle"));
    let (mut last, _) = stage.request();
    last.send(ok("idle"));
    assert_eq!(idle.response(false).text(), "idle");

    rondel.signal(Signal::USR2);
    let heir = Heir::nth(&rondel, 1);
    idle.expect_end();
    let shared = &sockets(rondel.pid()) & &sockets(heir.0);
    assert!(shared.is_empty(), "no client leaks: {shared:?}");

    let mut new = rondel.connect();
    new.send("GET /new HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let (mut newest, _) = stage.request();
    tunnel.send("to");
    assert_eq!(far.exactly(2), b"to");
    far.send("fro");
    assert_eq!(tunnel.exactly(3), b"fro");
    slow.send("def");
    assert_eq!(upstream.exactly(6), b"abcdef");
    upstream.send(ok("slow"));
    assert_eq!(slow.response(false).text(), "slow");
    drop((slow, tunnel, far));
    rondel.wait_for_line("stopped: everything was finished");
    newest.send(ok("new"));
    assert_eq!(new.response(false).text(), "new");
    new.expect_end();
    drop(new);

    heir.signal(Signal::TERM);
    rondel.wait_for_lines("stopped: everything was finished", 2);
    assert_eq!(rondel.wait().code(), Some(0));
}

#[test]
fn told_to_stop_while_it_hands_over_the_old_program_drains() {
    let stage = Stage::start();
    let mut rondel = Rondel::start(&[stage.addr], &["--drain-timeout", "1500ms"]);
    let mut slow = rondel.connect();
    slow.send(get("/"));
    let (_upstream, _) = stage.request();
    rondel.signal(Signal::USR2);
    let heir = Heir::nth(&rondel, 1);
    for signal in [Signal::HUP, Signal::USR2] {
        rondel.signal(signal);
        rondel.wait_for_line(&format!(
            "signal {} ignored: a new program has taken over",
            signal.as_raw()
        ));
    }
    rondel.signal(Signal::TERM);
    rondel.wait_for_line("stopped: 1 clients were cut short");
    slow.expect_end();
    drop(heir);
    assert_eq!(rondel.wait().code(), Some(5));
}

#[test]
fn if_the_new_program_fails_the_old_one_goes_on() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let rondel = linked(&folder, &[&backend.addr.to_string()], &[]);
    let mut client = rondel.connect();
    relink(&folder, "/bin/false");
    rondel.signal(Signal::USR2);
    rondel.wait_for_line("ended before it was ready: exit status: 1; this one goes on");
    assert_eq!(client.ask(&get("/")).status(), 200);
    relink(&folder, "/nowhere");
    rondel.signal(Signal::USR2);
    rondel.wait_for_line("cannot be started: No such file");
    assert_eq!(client.ask(&get("/")).status(), 200);
    assert_eq!(rondel.connect().ask(&get("/")).status(), 200);
    // And the next one may succeed.
    relink(&folder, env!("CARGO_BIN_EXE_rondel"));
    rondel.signal(Signal::USR2);
    let _heir = Heir::nth(&rondel, 1);
    assert_eq!(rondel.connect().ask(&get("/")).status(), 200);
}

#[test]
fn one_new_program_is_started_at_a_time_and_ended_if_the_old_one_is_told_to_stop() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let mut rondel = linked(&folder, &[&backend.addr.to_string()], &[]);
    let script = folder.file("hangs");
    fs::write(&script, "#!/bin/sh\nexec tail -f /dev/null\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    relink(&folder, script.to_str().unwrap());
    rondel.signal(Signal::USR2);
    rondel.wait_for_line("a new program was started");
    rondel.signal(Signal::USR2);
    rondel.wait_for_line("signal 12 ignored: a new program is starting already");
    assert_eq!(rondel.connect().ask(&get("/")).status(), 200);
    rondel.signal(Signal::TERM);
    // The log ends only when both have: they write to the same pipe.
    assert_eq!(rondel.wait().code(), Some(0));
}

/// A program with a control socket, whose next one first waits for a word: at `serve` it is one like this, else it fails.
fn followed_by_one_that_waits(folder: &Folder, backend: &Backend) -> Rondel {
    let [file, script, fifo, control] =
        ["f.toml", "waits", "word", "control"].map(|name| folder.file(name));
    let text = format!(
        "control = {control:?}\n[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"p\"\nbackends = [\"{}\"]\n",
        backend.addr
    );
    fs::write(&file, text).unwrap();
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let (program, binary) = (folder.file("rondel"), env!("CARGO_BIN_EXE_rondel"));
    let text = format!(
        "#!/bin/sh\nread word < {fifo:?}\n[ $word = serve ] && exec {binary:?} \"$@\"\nexit 1\n"
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    symlink(binary, &program).unwrap();
    let mut command = Command::new(program);
    command.arg("-f").arg(&file);
    let rondel = Rondel::spawn(command);
    relink(folder, script.to_str().unwrap());
    rondel
}

/// Starts the next program, the `nth`, and asks for a reload in both ways while it waits.
fn ask_meanwhile(folder: &Folder, rondel: &Rondel, nth: usize) -> Child {
    const REMEMBERED: &str = "will be read again when the new program serves";
    rondel.signal(Signal::USR2);
    rondel.wait_for_lines("a new program was started", nth);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rondel"));
    command
        .args(["reload", "--control"])
        .arg(folder.file("control"));
    let asked = command.stderr(Stdio::piped()).spawn().unwrap();
    rondel.wait_for_lines(REMEMBERED, 2 * nth - 1);
    rondel.signal(Signal::HUP);
    rondel.wait_for_lines(REMEMBERED, 2 * nth);
    asked
}

/// What `rondel reload` said when it had failed.
fn refusal(asked: Child) -> String {
    let told = asked.wait_with_output().unwrap();
    assert_eq!(told.status.code(), Some(3));
    String::from_utf8(told.stderr).unwrap()
}

#[test]
fn a_reload_that_is_asked_for_meanwhile_comes_from_whoever_serves_then() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let rondel = followed_by_one_that_waits(&folder, &backend);
    let asked = ask_meanwhile(&folder, &rondel, 1);
    fs::write(folder.file("word"), "fail\n").unwrap();
    rondel.wait_for_line("ended before it was ready");
    rondel.wait_for_lines("the configuration was reloaded", 1);
    assert!(asked.wait_with_output().unwrap().status.success());

    let asked = ask_meanwhile(&folder, &rondel, 2);
    fs::write(folder.file("word"), "serve\n").unwrap();
    let _heir = Heir::nth(&rondel, 1);
    rondel.wait_for_line("serves now, and was told to read its file again");
    rondel.wait_for_lines("the configuration was reloaded", 2);
    let told = refusal(asked);
    assert!(told.contains("was told to read its file again"), "{told}");
}

#[test]
fn whoever_asked_for_a_reload_meanwhile_is_told_that_the_program_stops() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let mut rondel = followed_by_one_that_waits(&folder, &backend);
    let asked = ask_meanwhile(&folder, &rondel, 1);
    rondel.signal(Signal::TERM);
    assert_eq!(rondel.wait().code(), Some(0));
    let told = refusal(asked);
    assert!(told.contains("rondel is stopping"), "{told}");
}

#[test]
fn the_manager_is_told_who_serves_now() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let manager = UnixDatagram::bind(folder.file("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rondel"));
    command
        .args([
            "--listen",
            "127.0.0.1:0",
            "--backend",
            &backend.addr.to_string(),
        ])
        .env("NOTIFY_SOCKET", folder.file("notify"));
    let rondel = Rondel::spawn(command);
    rondel.signal(Signal::USR2);
    let heir = Heir::nth(&rondel, 1);
    let expected = format!("MAINPID={}", heir.0.as_raw_nonzero());
    let mut room = [0; 4096];
    loop {
        let count = manager.recv(&mut room).expect("the manager is told");
        let text = String::from_utf8_lossy(&room[..count]);
        if text.lines().next() == Some(&expected) {
            return;
        }
        assert!(!text.contains("STOPPING"), "{text}");
    }
}

#[test]
fn under_load_no_request_is_lost_from_one_program_to_the_next() {
    const UPGRADES: usize = 3;
    let backend = Backend::echo("a");
    let rondel = Rondel::start(&[backend.addr], &[]);
    let (ended, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (ended, answered, addr) = (Arc::clone(&ended), Arc::clone(&answered), rondel.addr);
            thread::spawn(move || {
                while !ended.load(Ordering::SeqCst) {
                    let mut client = Client::connect(addr);
                    assert_eq!(client.ask(&get("/")).status(), 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let mut heirs: Vec<Heir> = Vec::new();
    for nth in 1..=UPGRADES {
        let before = answered.load(Ordering::SeqCst);
        while answered.load(Ordering::SeqCst) < before + 50 {
            thread::yield_now();
        }
        match heirs.last() {
            None => rondel.signal(Signal::USR2),
            Some(heir) => heir.signal(Signal::USR2),
        }
        heirs.push(Heir::nth(&rondel, nth));
    }
    ended.store(true, Ordering::SeqCst);
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    rondel.wait_for_lines("stopped: everything was finished", UPGRADES);
}
