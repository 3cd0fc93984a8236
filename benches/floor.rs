//! The floor: the least that a relay must do, to measure proxies against. No limits, no timers, no checks, no rewriting:
//! never put it in front of anything but a benchmark.
//!
//! `floor l4 LISTEN BACKEND...` opens a connection to a backend for each client and moves bytes. `floor l7` finds the end of
//! each message besides (a head, a length or a last chunk) and picks a backend for each request; connections to backends are
//! kept and shared, whether or not the client keeps its own. Both make the four system calls that a kept-alive exchange needs. It prints where it listens; with no
//! arguments (as under `cargo bench`) it ends at once.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;

use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;

/// How a client asks for its connection to be closed, and how it is told that it will be.
const CLOSE: &[u8] = b"Connection: close\r\n";
/// Bytes read at once.
const READ_BYTES_MAX: usize = 64 * 1024;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let addrs: Result<Vec<SocketAddr>, _> = args.iter().skip(1).map(|arg| arg.parse()).collect();
    match (args.first().map(String::as_str), addrs) {
        (None, _) => ExitCode::SUCCESS,
        (Some(mode @ ("l4" | "l7")), Ok(addrs)) if addrs.len() > 1 => {
            let end = Floor::new(mode == "l7", addrs[0], &addrs[1..]).and_then(Floor::run);
            eprintln!("floor: {}", end.expect_err("it never ends by itself"));
            ExitCode::FAILURE
        }
        _ => {
            eprintln!("usage: floor l4|l7 LISTEN BACKEND...");
            ExitCode::from(2)
        }
    }
}

/// Whose events a descriptor's events are.
#[derive(Clone, Copy)]
enum Owner {
    Nobody,
    Listener,
    Client(usize),
    Upstream(usize),
    /// Waits for reuse at the backend of that index.
    Idle(usize),
}

/// One socket, and what it has no room for.
struct Side {
    stream: TcpStream,
    waiting: Vec<u8>,
}

/// A client with its upstream.
struct Pair {
    client: Side,
    upstream: Option<Side>,
    backend: usize,
    /// Bytes of the client that belong to no request yet.
    input: Vec<u8>,
    /// Bytes of the request that are still to be sent.
    up_left: usize,
    down: Down,
    /// The client asked for its connection to be closed.
    closes: bool,
}

/// What is left of a response.
#[derive(Clone, Copy)]
enum Down {
    Head,
    Length(usize),
    /// Up to the last chunk: good enough for bodies without `0\r\n\r\n` at the end of a read.
    Chunked,
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    backends: Vec<SocketAddr>,
    next: usize,
    owners: Vec<Owner>,
    pairs: Slab<Pair>,
    idle: Vec<Vec<TcpStream>>,
    l7: bool,
}

impl Floor {
    fn new(l7: bool, listen: SocketAddr, backends: &[SocketAddr]) -> io::Result<Self> {
        let poll = Poll::new()?;
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(listen),
            socket2::Type::STREAM.nonblocking(),
            None,
        )?;
        socket.set_reuse_address(true)?;
        // Inherited by every connection that is accepted.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&listen.into())?;
        socket.listen(4096)?;
        let mut listener = TcpListener::from_std(socket.into());
        println!("{}", listener.local_addr()?);
        let fd = number(listener.as_raw_fd());
        poll.registry()
            .register(&mut listener, Token(fd), Interest::READABLE)?;
        let mut floor = Self {
            poll,
            listener,
            backends: backends.to_vec(),
            next: 0,
            owners: Vec::new(),
            pairs: Slab::new(),
            idle: backends.iter().map(|_| Vec::new()).collect(),
            l7,
        };
        floor.own(fd, Owner::Listener);
        Ok(floor)
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut room = vec![0; READ_BYTES_MAX];
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                let fd = event.token().0;
                match self.owners[fd] {
                    Owner::Listener => self.accept()?,
                    Owner::Client(key) | Owner::Upstream(key) => {
                        if self.turn(key, &mut room).is_err()
                            && let Some(pair) = self.pairs.try_remove(key)
                        {
                            self.disown(&pair);
                        }
                    }
                    Owner::Idle(backend) if event.is_readable() => {
                        self.idle[backend].retain(|stream| number(stream.as_raw_fd()) != fd);
                        self.own(fd, Owner::Nobody);
                    }
                    Owner::Idle(_) | Owner::Nobody => {}
                }
            }
        }
    }

    fn own(&mut self, fd: usize, owner: Owner) {
        if self.owners.len() <= fd {
            self.owners.resize(fd + 1, Owner::Nobody);
        }
        self.owners[fd] = owner;
    }

    fn disown(&mut self, pair: &Pair) {
        self.own(number(pair.client.stream.as_raw_fd()), Owner::Nobody);
        if let Some(upstream) = &pair.upstream {
            self.own(number(upstream.stream.as_raw_fd()), Owner::Nobody);
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let key = self.pairs.vacant_key();
            let fd = register(self.poll.registry(), &mut stream)?;
            self.own(fd, Owner::Client(key));
            self.pairs.insert(Pair {
                client: Side::new(stream),
                upstream: None,
                backend: 0,
                input: Vec::new(),
                up_left: 0,
                down: Down::Head,
                closes: false,
            });
            if !self.l7 {
                self.reach(key)?;
            }
        }
        Ok(())
    }

    /// Gives a pair an upstream: one that waits, or a new one.
    fn reach(&mut self, key: usize) -> io::Result<()> {
        self.next = (self.next + 1) % self.backends.len();
        let backend = self.next;
        let (stream, fd) = if let Some(stream) = self.idle[backend].pop() {
            let fd = number(stream.as_raw_fd());
            (stream, fd)
        } else {
            let mut stream = TcpStream::connect(self.backends[backend])?;
            stream.set_nodelay(true)?;
            let fd = register(self.poll.registry(), &mut stream)?;
            (stream, fd)
        };
        self.own(fd, Owner::Upstream(key));
        let pair = &mut self.pairs[key];
        (pair.backend, pair.upstream) = (backend, Some(Side::new(stream)));
        Ok(())
    }

    /// Moves bytes both ways as far as they go; an error ends the pair.
    fn turn(&mut self, key: usize, room: &mut [u8]) -> io::Result<()> {
        if self.l7 {
            return self.turn_l7(key, room);
        }
        let Pair {
            client, upstream, ..
        } = &mut self.pairs[key];
        let upstream = upstream.as_mut().expect("each client has one");
        relay(client, upstream, room)?;
        relay(upstream, client, room)
    }

    fn turn_l7(&mut self, key: usize, room: &mut [u8]) -> io::Result<()> {
        self.upload(key, room)?;
        loop {
            let pair = &mut self.pairs[key];
            let Some(upstream) = &mut pair.upstream else {
                return Ok(());
            };
            upstream.flush()?;
            pair.client.flush()?;
            if !pair.client.waiting.is_empty() {
                return Ok(());
            }
            let Some(count) = upstream.read(room)? else {
                return Ok(());
            };
            let (begins, bytes) = (matches!(pair.down, Down::Head), &room[..count]);
            let whole = pair.down.judge(bytes)?;
            if begins && pair.closes {
                let end = memmem::find(bytes, b"\r\n\r\n").expect("it was judged") + 2;
                let rest = &bytes[end..];
                pair.client.send(&[&bytes[..end], CLOSE, rest].concat())?;
            } else {
                pair.client.send(bytes)?;
            }
            if whole && pair.up_left == 0 {
                let upstream = pair.upstream.take().expect("it was there");
                let backend = pair.backend;
                pair.down = Down::Head;
                self.own(number(upstream.stream.as_raw_fd()), Owner::Idle(backend));
                self.idle[backend].push(upstream.stream);
                if self.pairs[key].closes {
                    return Err(ErrorKind::ConnectionAborted.into());
                }
                self.upload(key, room)?;
            } else if count < room.len() {
                return Ok(());
            }
        }
    }

    /// Requests, as far as they have come, one at a time.
    fn upload(&mut self, key: usize, room: &mut [u8]) -> io::Result<()> {
        loop {
            let pair = &mut self.pairs[key];
            let busy = pair.upstream.is_some();
            if busy && (pair.up_left == 0 || pair.is_full()) {
                return Ok(());
            }
            // Read only when what there is has been used up.
            let fresh = if pair.input.is_empty() || memmem::find(&pair.input, b"\r\n\r\n").is_none()
            {
                pair.client.read(room)?
            } else {
                Some(0)
            };
            let Some(count) = fresh else {
                return Ok(());
            };
            let short = count < room.len() && count > 0;
            pair.input.extend_from_slice(&room[..count]);
            if !busy {
                let Some(end) = memmem::find(&pair.input, b"\r\n\r\n") else {
                    return Ok(());
                };
                pair.up_left = end + 4 + number_behind(&pair.input[..end + 2], b"Content-Length: ");
                if let Some(at) = memmem::find(&pair.input[..end + 2], CLOSE) {
                    pair.input.drain(at..at + CLOSE.len());
                    pair.up_left -= CLOSE.len();
                    pair.closes = true;
                }
                self.reach(key)?;
            }
            let pair = &mut self.pairs[key];
            let mut input = mem::take(&mut pair.input);
            let count = pair.up_left.min(input.len());
            pair.up_left -= count;
            let upstream = pair.upstream.as_mut().expect("it was reached");
            upstream.send(&input[..count])?;
            input.drain(..count);
            pair.input = input;
            if short {
                return Ok(());
            }
        }
    }
}

impl Pair {
    fn is_full(&self) -> bool {
        self.upstream
            .as_ref()
            .is_some_and(|upstream| !upstream.waiting.is_empty())
    }
}

impl Down {
    /// Reads on; whether the response is whole.
    fn judge(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        if let Self::Head = self {
            let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
                return Err(io::Error::other("a response head in two reads"));
            };
            let head = &bytes[..end + 2];
            *self = if memmem::find(head, b"Transfer-Encoding: chunked").is_some() {
                Self::Chunked
            } else {
                Self::Length(number_behind(head, b"Content-Length: "))
            };
            bytes = &bytes[end + 4..];
        }
        match self {
            Self::Length(left) => {
                *left = left.saturating_sub(bytes.len());
                Ok(*left == 0)
            }
            Self::Chunked | Self::Head => Ok(bytes.ends_with(b"0\r\n\r\n")),
        }
    }
}

impl Side {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            waiting: Vec::new(),
        }
    }

    /// How many bytes came; `None` when there are none now. The end is an error.
    fn read(&mut self, room: &mut [u8]) -> io::Result<Option<usize>> {
        match self.stream.read(room) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = if self.waiting.is_empty() {
            self.write(bytes)?
        } else {
            0
        };
        self.waiting.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            let waiting = mem::take(&mut self.waiting);
            let taken = self.write(&waiting)?;
            self.waiting.extend_from_slice(&waiting[taken..]);
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while taken < bytes.len() {
            match self.stream.write(&bytes[taken..]) {
                Ok(count) => taken += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The connection is not made yet.
                Err(error) if error.kind() == ErrorKind::NotConnected => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }
}

/// Moves bytes one way until the source is drained or the sink is full.
fn relay(source: &mut Side, sink: &mut Side, room: &mut [u8]) -> io::Result<()> {
    sink.flush()?;
    while sink.waiting.is_empty() {
        let Some(count) = source.read(room)? else {
            break;
        };
        sink.send(&room[..count])?;
        if count < room.len() {
            break;
        }
    }
    Ok(())
}

fn register(registry: &Registry, stream: &mut TcpStream) -> io::Result<usize> {
    let fd = number(stream.as_raw_fd());
    registry.register(stream, Token(fd), Interest::READABLE | Interest::WRITABLE)?;
    Ok(fd)
}

/// The number behind `name`; 0 when it is not there.
fn number_behind(head: &[u8], name: &[u8]) -> usize {
    let Some(at) = memmem::find(head, name) else {
        return 0;
    };
    head[at + name.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
}

fn number(fd: i32) -> usize {
    usize::try_from(fd).expect("descriptors are not negative")
}
