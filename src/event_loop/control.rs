//! The control socket: commands to the running program ([`admin`](crate::admin)), served by the loop without blocking.
//!
//! Whoever may open the socket may command, so that only its owner may. It is made beside its place and put there by
//! renaming: there is no moment in which others may open it, or in which nobody answers while one program takes over from
//! another.

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::info;
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::admin::{COMMAND_BYTES_MAX, Command, Reply};

/// Connections at a time; others wait.
pub(super) const CONNECTIONS_MAX: usize = 4;
/// How long a connection may take to say its command, and to take its reply.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait after a connection could not be taken, as when there is no descriptor to be had. No event tells that there
/// is one again.
const PAUSE: Duration = Duration::from_millis(200);
/// Connections that the kernel holds for us.
const BACKLOG: i32 = 16;

/// The socket and its connections.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    listener: UnixListener,
    /// Where it was made, until it is put in its place.
    beside: Option<PathBuf>,
    /// Device and inode in its place: by then it may be another one's.
    identity: Option<(u64, u64)>,
    connections: [Option<Connection>; CONNECTIONS_MAX],
    /// Whether an event came, or room was made.
    stirred: bool,
    /// When to look again, after a connection could not be taken.
    again: Option<Instant>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    phase: Phase,
    deadline: Instant,
}

#[derive(Debug)]
enum Phase {
    /// Its command comes in.
    Command(Vec<u8>),
    /// It is done when that reading of the configuration is.
    Waiting(u64),
    /// The rest of what it is told.
    Reply(Vec<u8>),
    Over,
}

impl Control {
    /// Makes the socket, not in its place yet. What is left there by a program that has ended may be replaced; what another
    /// one still answers at only if we take over from it.
    ///
    /// # Errors
    /// The place is taken, or the socket cannot be made there.
    pub(super) fn make(path: &Path, takes_over: bool) -> io::Result<Self> {
        look_at_place(path, takes_over)?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        // Of a program with our number that ended in between.
        let _ = fs::remove_file(&beside);
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.bind(&SockAddr::unix(&beside)?)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
        // Only now can it be connected to.
        socket.listen(BACKLOG)?;
        Ok(Self {
            path: path.to_owned(),
            listener: UnixListener::from_std(socket.into()),
            beside: Some(beside),
            identity: None,
            connections: [const { None }; CONNECTIONS_MAX],
            stirred: true,
            again: None,
        })
    }

    /// Puts it in its place and answers there. Its connections have the tokens from this one on, itself the last.
    ///
    /// # Errors
    /// The system does not let us.
    pub(super) fn open(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        let token = Token(first.0 + CONNECTIONS_MAX);
        registry.register(&mut self.listener, token, Interest::READABLE)?;
        if let Some(beside) = &self.beside {
            fs::rename(beside, &self.path)?;
            let place = fs::symlink_metadata(&self.path)?;
            self.identity = Some((place.dev(), place.ino()));
            self.beside = None;
        }
        Ok(())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the place to the program that takes over.
    pub(super) fn leave(mut self) {
        self.identity = None;
    }

    /// An event came.
    pub(super) fn notify(&mut self) {
        self.stirred = true;
    }

    /// When to look again by ourselves.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        if self.stirred {
            return Some(now);
        }
        let deadlines = self.connections.iter().flatten();
        let deadlines = deadlines.filter_map(Connection::deadline);
        deadlines.chain(self.again).min()
    }

    /// Looks at all connections; says which of them have a command, to be answered by [`answer`](Self::answer) or kept
    /// waiting by [`wait_for`](Self::wait_for).
    pub(super) fn turn(
        &mut self,
        registry: &Registry,
        first: Token,
        now: Instant,
    ) -> Vec<(usize, Command)> {
        let mut commands = Vec::new();
        self.stirred |= self.again.is_some_and(|at| at <= now);
        if std::mem::take(&mut self.stirred) {
            self.accept(registry, first, now);
            for (i, connection) in self.connections.iter_mut().enumerate() {
                if let Some(command) = connection.as_mut().and_then(|one| one.turn(now)) {
                    commands.push((i, command));
                }
            }
        }
        for connection in &mut self.connections {
            let is_over = |one: &Connection| {
                matches!(one.phase, Phase::Over) || one.deadline().is_some_and(|at| at <= now)
            };
            if connection.take_if(|one| is_over(one)).is_some() {
                // Another one may have waited for this place.
                self.stirred = true;
            }
        }
        commands
    }

    /// The command of this connection came to that.
    pub(super) fn answer(&mut self, connection: usize, reply: &Reply, now: Instant) {
        if let Some(connection) = self.connections[connection].as_mut() {
            connection.reply(reply, now);
            self.stirred = true;
        }
    }

    /// This connection is answered when that reading of the configuration is done.
    pub(super) fn wait_for(&mut self, connection: usize, number: u64) {
        if let Some(connection) = self.connections[connection].as_mut() {
            connection.phase = Phase::Waiting(number);
        }
    }

    /// That reading of the configuration is done.
    pub(super) fn answer_all(&mut self, number: u64, reply: &Reply, now: Instant) {
        for connection in self.connections.iter_mut().flatten() {
            if matches!(connection.phase, Phase::Waiting(awaited) if awaited <= number) {
                connection.reply(reply, now);
                self.stirred = true;
            }
        }
    }

    fn accept(&mut self, registry: &Registry, first: Token, now: Instant) {
        let has_failed = self.again.take().is_some();
        for (i, place) in self.connections.iter_mut().enumerate() {
            if place.is_some() {
                continue;
            }
            let accepted = self.listener.accept().and_then(|(mut stream, _)| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                registry.register(&mut stream, Token(first.0 + i), interest)?;
                Ok(stream)
            });
            match accepted {
                Ok(stream) => {
                    *place = Some(Connection {
                        stream,
                        phase: Phase::Command(Vec::new()),
                        deadline: now + PATIENCE,
                    });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    if !has_failed {
                        info!("a connection to the control socket cannot be taken yet: {error}");
                    }
                    self.again = Some(now + PAUSE);
                    return;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let own = |path: &Path| {
            let place = fs::symlink_metadata(path).ok();
            place.is_some_and(|place| Some((place.dev(), place.ino())) == self.identity)
        };
        // Where it cannot be removed, the next program finds that nobody answers there.
        if let Some(beside) = &self.beside {
            let _ = fs::remove_file(beside);
        } else if own(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Connection {
    /// While it waits for us, it may wait long.
    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting(_) => None,
            _ => Some(self.deadline),
        }
    }

    /// Reads or writes what is possible; says the command once it is whole.
    fn turn(&mut self, now: Instant) -> Option<Command> {
        if let Phase::Command(_) = self.phase {
            match self.read() {
                Ok(None) => return None,
                Ok(Some(line)) => match Command::parse(&line) {
                    Ok(command) => return Some(command),
                    Err(why) => self.reply(&Reply::failed(vec![why]), now),
                },
                Err(_) => self.phase = Phase::Over,
            }
        }
        if self.write().is_err() {
            self.phase = Phase::Over;
        }
        None
    }

    /// A whole line, or what came before the end.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Phase::Command(line) = &mut self.phase else {
            return Ok(None);
        };
        let mut room = [0; COMMAND_BYTES_MAX];
        while line.len() < COMMAND_BYTES_MAX && !line.contains(&b'\n') {
            match self.stream.read(&mut room) {
                Ok(0) if line.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(0) => break,
                Ok(count) => line.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let line = line.split(|&byte| byte == b'\n').next();
        Ok(line.map(<[u8]>::to_vec))
    }

    fn reply(&mut self, reply: &Reply, now: Instant) {
        self.phase = Phase::Reply(reply.bytes());
        self.deadline = now + PATIENCE;
        // Mostly it goes out whole.
        if self.write().is_err() {
            self.phase = Phase::Over;
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let Phase::Reply(left) = &mut self.phase else {
            return Ok(());
        };
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => drop(left.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.phase = Phase::Over;
        Ok(())
    }
}

/// Whether a socket may be put there.
fn look_at_place(path: &Path, takes_over: bool) -> io::Result<()> {
    let place = match fs::symlink_metadata(path) {
        Ok(place) => place,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !place.file_type().is_socket() {
        let why = "something other than a socket is there";
        return Err(io::Error::new(ErrorKind::AlreadyExists, why));
    }
    if takes_over {
        return Ok(());
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => {
            let why = "another program answers there";
            Err(io::Error::new(ErrorKind::AddrInUse, why))
        }
    }
}
