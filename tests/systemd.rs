//! Under a service manager: sockets that it opened for us, and what it is told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::Signal;
use support::folder::Folder;
use support::{Backend, Client, PATIENCE, Rondel, get};

/// The binary with these arguments, in front of this backend.
fn rondel(listen: &[&str], backend: &Backend) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rondel"));
    for addr in listen {
        command.args(["--listen", addr]);
    }
    command.args(["--backend", &backend.addr.to_string()]);
    command
}

/// Hands these sockets down as a service manager does. They stay ours too, so that nobody else can bind their addresses.
fn hand_down(command: &mut Command, sockets: &[(&str, &TcpListener)]) {
    let mappings = (3..).zip(sockets).map(|(child_fd, (_, socket))| FdMapping {
        parent_fd: OwnedFd::from(socket.try_clone().unwrap()),
        child_fd,
    });
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    command
        .env("LISTEN_FDS", sockets.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        .fd_mappings(mappings.collect())
        .unwrap();
}

/// A manager that is told things.
fn manager(folder: &Folder) -> UnixDatagram {
    let socket = UnixDatagram::bind(folder.file("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn told(manager: &UnixDatagram) -> Vec<String> {
    let mut room = [0; 4096];
    let count = manager.recv(&mut room).expect("the manager is told");
    let text = String::from_utf8(room[..count].to_vec()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn managed(mut command: Command, folder: &Path) -> Rondel {
    command.env("NOTIFY_SOCKET", folder.join("notify"));
    Rondel::spawn(command)
}

#[test]
fn an_inherited_socket_serves_the_listener_of_its_address() {
    let backend = Backend::echo("a");
    let [first, second] = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let addrs = [&first, &second].map(|socket| socket.local_addr().unwrap());
    let mut command = rondel(
        &addrs
            .map(|addr| addr.to_string())
            .each_ref()
            .map(String::as_str),
        &backend,
    );
    // Their order does not matter.
    hand_down(&mut command, &[("y", &second), ("x", &first)]);
    let rondel = Rondel::spawn(command);
    assert_eq!(rondel.addr, addrs[0]);
    for addr in addrs {
        assert_eq!(Client::connect(addr).ask(&get("/")).status(), 200);
    }
    assert!(!rondel.log().iter().any(|line| line.contains("WARN")));
}

#[test]
fn a_listener_of_any_port_takes_the_first_socket_and_the_rest_is_closed() {
    let backend = Backend::echo("a");
    let [first, second] = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut command = rondel(&["127.0.0.1:0"], &backend);
    hand_down(&mut command, &[("x", &first), ("spare", &second)]);
    let rondel = Rondel::spawn(command);
    assert_eq!(rondel.addr, first.local_addr().unwrap());
    assert_eq!(rondel.connect().ask(&get("/")).status(), 200);
    let line = rondel.wait_for_line("is closed: no listener is configured there");
    let addr = second.local_addr().unwrap();
    assert!(
        line.contains(&format!("the inherited socket \"spare\" at {addr}")),
        "{line}"
    );
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let backend = Backend::echo("a");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = rondel(&["127.0.0.1:0"], &backend);
    hand_down(&mut command, &[("x", &socket)]);
    command.env("LISTEN_PID", "1");
    let rondel = Rondel::spawn(command);
    assert_ne!(rondel.addr, socket.local_addr().unwrap());
    assert_eq!(rondel.connect().ask(&get("/")).status(), 200);
}

#[test]
fn the_manager_is_told_of_start_and_end() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let manager = manager(&folder);
    let mut rondel = managed(rondel(&["127.0.0.1:0"], &backend), folder.path());
    assert_eq!(told(&manager), ["READY=1", "STATUS=serving"]);
    rondel.signal(Signal::TERM);
    assert_eq!(
        told(&manager),
        [
            "STOPPING=1",
            "STATUS=stopping: 0 clients connected, at most 30s left"
        ]
    );
    assert_eq!(rondel.wait().code(), Some(0));
}

#[test]
fn the_watchdog_hears_from_the_loop_as_often_as_it_wants() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let manager = manager(&folder);
    let mut command = rondel(&["127.0.0.1:0"], &backend);
    command.env("WATCHDOG_USEC", "100000");
    let _rondel = managed(command, folder.path());
    assert_eq!(told(&manager), ["READY=1", "STATUS=serving"]);
    for _ in 0..3 {
        assert_eq!(told(&manager), ["WATCHDOG=1"]);
    }
}

#[test]
fn a_manager_that_asks_for_a_reload_is_answered_even_if_there_is_none() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let manager = manager(&folder);
    let rondel = managed(rondel(&["127.0.0.1:0"], &backend), folder.path());
    assert_eq!(told(&manager), ["READY=1", "STATUS=serving"]);
    rondel.signal(Signal::HUP);
    let reloading = told(&manager);
    assert_eq!(reloading[0], "RELOADING=1");
    assert!(reloading[2].starts_with("MONOTONIC_USEC="), "{reloading:?}");
    let ready = told(&manager);
    assert_eq!(ready[0], "READY=1");
    assert!(ready[1].contains("nothing to reload"), "{ready:?}");
}

#[test]
fn the_manager_is_told_of_reloads_and_of_what_they_came_to() {
    let (folder, backend) = (Folder::new(), Backend::echo("a"));
    let manager = manager(&folder);
    let file = folder.file("rondel.toml");
    let says = |more: &str| {
        let addr = backend.addr;
        let text = format!(
            "{more}[[listener]]\naddress = \"127.0.0.1:0\"\n[[pool]]\nname = \"p\"\nbackends = [\"{addr}\"]\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    says("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rondel"));
    command.arg("-f").arg(&file);
    let rondel = managed(command, folder.path());
    assert_eq!(told(&manager), ["READY=1", "STATUS=serving"]);
    for (more, status) in [
        ("", "STATUS=serving"),
        (
            "nonsense = 1\n",
            "STATUS=reload refused, serving as before: ",
        ),
        ("", "STATUS=serving"),
    ] {
        says(more);
        rondel.signal(Signal::HUP);
        assert_eq!(told(&manager)[0], "RELOADING=1");
        let ready = told(&manager);
        assert_eq!(ready[0], "READY=1");
        assert!(ready[1].starts_with(status), "{ready:?}");
    }
    assert_eq!(rondel.connect().ask(&get("/")).status(), 200);
}
