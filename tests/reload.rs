//! Another configuration while all goes on, as the control socket tells it. The loop runs in this process, so that the test hands
//! out the configurations; nothing but its reading differs from the binary's.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use rondel::admin::{self, Reply};
use rondel::config::{Backend as Server, Config, Pool};
use rondel::event_loop::EventLoop;
use rondel::event_loop::inherit::Inherited;
use rondel::event_loop::reload::Loaded;
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use support::folder::Folder;
use support::{Backend, Client, PATIENCE, Rondel, get};

/// A loop in this process, whose next configurations the test decides on. It runs to the end of the process.
struct Running {
    addrs: Vec<SocketAddr>,
    control: PathBuf,
    next: Arc<Mutex<Result<Config, Vec<String>>>>,
    /// One word for each reading that begins.
    begun: Receiver<()>,
    /// Lets one reading end.
    go: Sender<()>,
}

impl Running {
    fn start(config: Config) -> Self {
        let control = config.control.clone().unwrap();
        let next = Arc::new(Mutex::new(Ok(config.clone())));
        let (begin, begun) = channel();
        let (go, gone) = channel::<()>();
        let (shared, gone) = (Arc::clone(&next), Mutex::new(gone));
        let (started, addrs) = channel();
        thread::spawn(move || {
            let event_loop = EventLoop::new(config, &mut Inherited::default()).unwrap();
            started.send(event_loop.listen_addrs()).unwrap();
            let event_loop = event_loop.reloading_by(Arc::new(move |_| {
                let _ = begin.send(());
                gone.lock().unwrap().recv().map_err(|_| Vec::new())?;
                let config = shared.lock().unwrap().clone()?;
                Ok(Loaded {
                    config,
                    report: vec!["as the test wants it".to_owned()],
                })
            }));
            event_loop.run()
        });
        let running = Self {
            addrs: addrs.recv().unwrap(),
            control,
            next,
            begun,
            go,
        };
        // It takes commands once it runs: what is asked is answered then.
        while UnixStream::connect(&running.control).is_err() {
            thread::yield_now();
        }
        running
    }

    /// Reloads, and lets the reading go on at once.
    fn reload(&self, next: Result<Config, Vec<String>>) -> Reply {
        *self.next.lock().unwrap() = next;
        self.go.send(()).unwrap();
        let reply = ask(&self.control);
        self.begun.recv_timeout(PATIENCE).unwrap();
        reply
    }
}

fn ask(control: &Path) -> Reply {
    admin::client::ask(control, admin::Command::Reload).unwrap()
}

/// These listeners in front of this backend.
fn config(listen: &[SocketAddr], backend: &Backend, control: &Path) -> Config {
    let server = Server::at("backend", backend.addr.into(), vec![backend.addr]);
    Config {
        control: Some(control.to_owned()),
        ..Config::simple(listen, Pool::new("pool", vec![server]))
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Whether clients are served there. A listener that was closed may live on for a moment in a process that another test is
/// just starting: whoever is let in there, and never answered, tries again.
fn serves(addr: SocketAddr) -> bool {
    loop {
        let mut stream = match TcpStream::connect(addr) {
            Ok(stream) => stream,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                return false;
            }
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let done = stream
            .write_all(request)
            .and_then(|()| stream.read_to_end(&mut answer));
        if !answer.is_empty() {
            assert!(
                answer.starts_with(b"HTTP/1.1 200 "),
                "{}",
                answer.escape_ascii()
            );
            return true;
        }
        let timed_out = |error: std::io::Error| error.kind() == ErrorKind::WouldBlock;
        assert!(!done.is_err_and(timed_out), "let in, and never answered");
    }
}

/// An address that is free, and stays so: nobody else listens on this IP address.
fn free() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let ip = [127, high | 128, low, NEXT.fetch_add(1, Ordering::SeqCst)];
    let socket = TcpListener::bind(SocketAddr::from((ip, 0))).unwrap();
    socket.local_addr().unwrap()
}

fn failed(line: &str) -> Reply {
    Reply::failed(vec![line.to_owned()])
}

#[test]
fn listeners_come_stay_and_go() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let control = folder.file("control");
    let running = Running::start(config(&[any_port(), free()], &backend, &control));
    let (stays, goes, comes) = (running.addrs[0], running.addrs[1], free());
    let mut of_the_one = Client::connect(stays);
    let mut of_the_other = Client::connect(goes);
    for client in [&mut of_the_one, &mut of_the_other] {
        assert_eq!(client.ask(&get("/")).status(), 200);
    }
    let reply = running.reload(Ok(config(&[comes, any_port()], &backend, &control)));
    assert_eq!(reply, Reply::done(vec!["as the test wants it".to_owned()]));
    assert_eq!([stays, goes, comes].map(serves), [true, false, true]);
    // Whoever is connected stays so.
    for client in [&mut of_the_one, &mut of_the_other] {
        assert_eq!(client.ask(&get("/")).status(), 200);
    }
    // And what has gone may come again.
    let reply = running.reload(Ok(config(&[goes, any_port()], &backend, &control)));
    assert!(reply.done, "{reply:?}");
    assert_eq!([stays, goes, comes].map(serves), [true, true, false]);
}

#[test]
fn an_address_that_is_taken_refuses_the_whole() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let control = folder.file("control");
    let running = Running::start(config(&[free()], &backend, &control));
    let fresh = free();
    let holder = TcpListener::bind(any_port()).unwrap();
    let busy = holder.local_addr().unwrap();
    let reply = running.reload(Ok(config(&[fresh, busy], &backend, &control)));
    let why = format!("cannot listen on {busy}: Address already in use (os error 98)");
    assert_eq!(reply, failed(&why));
    assert!(serves(running.addrs[0]));
    assert!(!serves(fresh), "what was bound for it is closed again");
}

#[test]
fn an_address_that_a_listener_of_our_own_covers_is_told_so() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let control = folder.file("control");
    let present = free();
    let running = Running::start(config(&[present], &backend, &control));
    let all = SocketAddr::from(([0, 0, 0, 0], present.port()));
    for (listen, advice) in [
        (vec![all], "reload without both first, or start rondel anew"),
        (vec![present, all], "leave one of the two out"),
    ] {
        let reply = running.reload(Ok(config(&listen, &backend, &control)));
        let why = format!("cannot listen on {all}: rondel itself listens on {present}; {advice}");
        assert_eq!(reply, failed(&why));
    }
    assert!(serves(present));
    let mut command = Command::new(env!("CARGO_BIN_EXE_rondel"));
    let port = free().port();
    for listen in ["127.0.0.1", "0.0.0.0"] {
        command.arg("--listen").arg(format!("{listen}:{port}"));
    }
    let ended = command.args(["--backend", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(4));
    let line = format!(
        "rondel: --listen 0.0.0.0:{port}: rondel itself listens on 127.0.0.1:{port}; leave one of the two out"
    );
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(told.lines().last(), Some(line.as_str()));
}

#[test]
fn a_file_that_is_no_good_changes_nothing_and_says_why() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let running = Running::start(config(&[free()], &backend, &folder.file("control")));
    let errors = vec!["rondel.toml:1:1: no".to_owned(), "and no".to_owned()];
    let reply = running.reload(Err(errors.clone()));
    assert_eq!(reply, Reply::failed(errors));
    assert!(serves(running.addrs[0]));
}

#[test]
fn all_is_served_while_a_file_is_read_and_who_asks_meanwhile_is_answered_by_the_next_reading() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let control = folder.file("control");
    let running = Running::start(config(&[free()], &backend, &control));
    let asking = || {
        let control = control.clone();
        thread::spawn(move || ask(&control))
    };
    let first = asking();
    running.begun.recv_timeout(PATIENCE).unwrap();
    assert!(serves(running.addrs[0]));
    let (mut second, mut third) = (raw(&control), raw(&control));
    for stream in [&mut second, &mut third] {
        stream.write_all(b"reload\n").unwrap();
    }
    // One at a time: an answer to this one says that those before it were understood.
    let mut last = raw(&control);
    last.write_all(b"nonsense\n").unwrap();
    assert!(rest(&mut last).contains("is no command"));
    *running.next.lock().unwrap() = Err(vec!["first".to_owned()]);
    running.go.send(()).unwrap();
    assert_eq!(first.join().unwrap(), failed("first"));
    running.begun.recv_timeout(PATIENCE).unwrap();
    *running.next.lock().unwrap() = Err(vec!["second".to_owned()]);
    running.go.send(()).unwrap();
    for stream in [&mut second, &mut third] {
        assert_eq!(rest(stream), "second\nfailed\n");
    }
    assert!(running.begun.try_recv().is_err(), "two readings for three");
    assert!(serves(running.addrs[0]));
}

#[test]
fn the_control_socket_may_move() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let (old, new) = (folder.file("old"), folder.file("new"));
    let running = Running::start(config(&[free()], &backend, &old));
    let next = config(&[running.addrs[0]], &backend, &new);
    assert!(running.reload(Ok(next.clone())).done);
    assert!(!old.exists());
    running.go.send(()).unwrap();
    assert!(ask(&new).done);
    let file = folder.file("file");
    std::fs::write(&file, "kept").unwrap();
    running.go.send(()).unwrap();
    *running.next.lock().unwrap() = Ok(Config {
        control: Some(file.clone()),
        ..next
    });
    let why = format!(
        "cannot take commands at {}: something other than a socket is there",
        file.display()
    );
    assert_eq!(ask(&new), failed(&why));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
}

fn raw(control: &Path) -> UnixStream {
    let stream = UnixStream::connect(control).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything up to the end.
fn rest(stream: &mut UnixStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The binary with a control socket.
fn controlled(backend: &Backend, control: &Path) -> Rondel {
    Rondel::start(&[backend.addr], &["--control", control.to_str().unwrap()])
}

fn reload_by_hand(control: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rondel"));
    command.arg("reload").arg("--control").arg(control);
    command.output().unwrap()
}

#[test]
fn only_the_owner_may_command_and_what_is_no_command_is_told_so() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let control = folder.file("control");
    let rondel = controlled(&backend, &control);
    let mode = std::fs::metadata(&control).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = raw(&control);
    stream.write_all(&[b'x'; admin::COMMAND_BYTES_MAX]).unwrap();
    let answer = rest(&mut stream);
    assert!(
        answer.contains("is no command; expected reload\nfailed\n"),
        "{answer}"
    );
    // More than there is room for: each has its turn.
    let waiting: Vec<UnixStream> = (0..9).map(|_| raw(&control)).collect();
    for mut stream in waiting {
        stream.write_all(b"reload").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(rest(&mut stream).starts_with("nothing to reload"));
    }
    assert_eq!(rondel.connect().ask(&get("/")).status(), 200);
}

#[test]
fn rondel_reload_says_what_it_came_to() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let control = folder.file("control");
    let output = reload_by_hand(&control);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.starts_with("rondel: no rondel answers at "),
        "{error}"
    );
    let mut rondel = controlled(&backend, &control);
    let output = reload_by_hand(&control);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        error,
        "nothing to reload: rondel was started without a file\n"
    );
    rondel.signal(rustix::process::Signal::TERM);
    assert_eq!(rondel.wait().code(), Some(0));
    assert!(!control.exists(), "it takes its socket with it");
}

#[test]
fn a_command_for_which_there_is_no_descriptor_is_answered_when_there_is_one() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let control = folder.file("control");
    let rondel = controlled(&backend, &control);
    let limit = |current| {
        let before = prlimit(Some(rondel.pid()), Resource::Nofile, current).unwrap();
        before.current
    };
    let present = getrlimit(Resource::Nofile);
    let least = Rlimit {
        current: Some(3),
        ..present
    };
    let before = limit(least);
    let mut stream = raw(&control);
    stream.write_all(b"nothing\n").unwrap();
    rondel.wait_for_line("cannot be taken yet: Too many open files");
    limit(Rlimit {
        current: before,
        ..present
    });
    assert!(rest(&mut stream).contains("nothing"));
    let told = rondel.log();
    let told = told.iter().filter(|line| line.contains("cannot be taken"));
    assert_eq!(told.count(), 1, "however often it is tried");
}

#[test]
fn the_place_of_a_dead_program_is_taken_and_that_of_a_live_one_is_not() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let control = folder.file("control");
    drop(UnixListener::bind(&control).unwrap());
    let rondel = controlled(&backend, &control);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rondel"));
    command.args(["--listen", "127.0.0.1:0", "--backend", "127.0.0.1:1"]);
    let output = command.arg("--control").arg(&control).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(error.contains("another program answers there"), "{error}");
    assert_eq!(reload_by_hand(&control).status.code(), Some(3));
    drop(rondel);
}

#[test]
fn a_new_program_takes_the_control_socket_over() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let control = folder.file("control");
    let mut rondel = controlled(&backend, &control);
    let place = |control: &Path| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(control).map(|place| place.ino()).ok()
    };
    let before = place(&control);
    rondel.signal(rustix::process::Signal::USR2);
    let line = rondel.wait_for_line("has taken over");
    while [None, before].contains(&place(&control)) {
        thread::yield_now();
    }
    rondel.wait_for_line("stopped: everything was finished");
    assert_eq!(reload_by_hand(&control).status.code(), Some(3));
    let pid = line.split("process ").nth(1).unwrap().split(' ').next();
    let pid = rustix::process::Pid::from_raw(pid.unwrap().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(rondel.wait().code(), Some(0));
    assert!(!control.exists());
}

#[test]
fn under_load_no_request_is_lost_to_reloads() {
    const RELOADS: usize = 50;
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let control = folder.file("control");
    let running = Running::start(config(&[free()], &backend, &control));
    let (stays, other) = (running.addrs[0], free());
    let ended = Arc::new(AtomicBool::new(false));
    let ask_on = |anew: bool| {
        let ended = Arc::clone(&ended);
        thread::spawn(move || {
            let mut client = Client::connect(stays);
            while !ended.load(Ordering::SeqCst) {
                if anew {
                    client = Client::connect(stays);
                }
                assert_eq!(client.ask(&get("/")).status(), 200);
            }
        })
    };
    let clients = [true, true, false, false].map(ask_on);
    for nth in 0..RELOADS {
        let mut listen = vec![stays];
        if nth % 2 == 0 {
            listen.insert(0, other);
        }
        let reply = running.reload(Ok(config(&listen, &backend, &control)));
        assert!(reply.done, "{reply:?}");
        assert_eq!(serves(other), nth % 2 == 0);
    }
    ended.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn the_binary_reads_its_file_again() {
    let (folder, backends) = (Folder::new(), ["a", "b"].map(Backend::echo));
    let (file, control) = (folder.file("rondel.toml"), folder.file("control"));
    let says = |backend: &Backend, more: &str| {
        let text = format!(
            "control = \"{}\"\n{more}[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"p\"\nbackends = [\"{}\"]\n",
            control.display(),
            backend.addr
        );
        std::fs::write(&file, text).unwrap();
    };
    let reload = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rondel"));
        command.arg("reload").arg("-f").arg(&file);
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), error)
    };
    says(&backends[0], "");
    let rondel = Rondel::start_with(&["-f".to_owned(), file.display().to_string()]);
    let mut client = rondel.connect();
    assert_eq!(client.ask(&get("/")).field("x-backend"), Some("a"));
    says(&backends[1], "");
    assert_eq!(reload(), (Some(0), String::new()));
    rondel.wait_for_line("the configuration was reloaded");
    assert_eq!(client.ask(&get("/")).field("x-backend"), Some("b"));
    // What is wrong is told as when it is read for the first time.
    says(&backends[0], "nonsense = 1\n");
    let (code, error) = reload();
    assert_eq!(code, Some(3));
    assert!(error.contains("rondel.toml:2:1: "), "{error}");
    rondel.signal(rustix::process::Signal::HUP);
    rondel.wait_for_line("reload refused: ");
    assert_eq!(client.ask(&get("/")).status(), 200);
}
