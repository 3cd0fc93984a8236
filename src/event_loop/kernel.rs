//! The network of production: mio sockets behind the traits of `net/stream.rs`.
//!
//! A socket is registered once, for both directions and urgent bytes, edge-triggered, and never again. Its token is its
//! descriptor, and a plain table says whose events those of a descriptor are: lending an upstream is a store into that
//! table. Dropping a socket closes it, which takes it out of the poll; its place in the table is stale until the
//! descriptor is used again, which no event can see, for no socket is dropped between two events of a batch.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::net::buffer::OWN_MEMORY_BYTES;
use crate::net::stream::{Net, Owner, Stream};
use crate::proxy::Bound;

use super::diag;
use super::pipes::{Pipe, Pipes, is_about_splicing};

/// Connections that the kernel holds for us per listener until we accept them.
const BACKLOG: i32 = 4096;
/// Bytes that the kernel takes for a client beyond what is on its way to it, so that thousands of clients that take nothing
/// do not fill the memory that the kernel has for TCP, which is everybody's. A slow client then shows its progress in steps
/// of half as much; where that is later than a body timer, [`diag`] tells of smaller steps.
const UNSENT_BYTES_MAX: u32 = 256 * 1024;
/// A connection that was spliced to for so many bytes has shown that it takes them. There is no bound on what is unsent from
/// then on: with one, more of a large download is sent in our time, and less in that of its acknowledgements.
const TAKES_BYTES_MIN: u32 = 2 * 1024 * 1024;

/// Sockets, and whose they are.
#[derive(Debug)]
pub struct Kernel {
    registry: Registry,
    /// Those that are open, by number.
    listeners: BTreeMap<usize, TcpListener>,
    /// The number of the next one.
    listener_next: usize,
    /// By descriptor.
    owners: Vec<Option<Owner>>,
    pipes: Pipes,
}

/// A TCP connection.
#[derive(Debug)]
pub struct TcpSocket {
    stream: TcpStream,
    /// Holds what was spliced here and found no room yet.
    pipe: Option<Box<Pipe>>,
    /// Bytes spliced here, until they are [`TAKES_BYTES_MIN`].
    spliced: u32,
}

impl Kernel {
    /// No sockets yet; those to come are told to `registry`. At most so many pipes are made to splice through.
    #[must_use]
    pub fn new(registry: Registry, pipes_max: usize) -> Self {
        Self {
            registry,
            listeners: BTreeMap::new(),
            listener_next: 0,
            owners: Vec::with_capacity(OWN_MEMORY_BYTES / size_of::<Option<Owner>>()),
            pipes: Pipes::new(pipes_max),
        }
    }

    /// Listens on an address (port 0 lets the kernel choose). An unspecified IPv6 address takes IPv4 too, unless `only_v6`.
    ///
    /// # Errors
    /// The address is in use, not ours, or not permitted.
    pub fn listen(&mut self, addr: SocketAddr, only_v6: bool) -> io::Result<Bound> {
        let domain = Domain::for_address(addr);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(only_v6)?;
        }
        socket.bind(&addr.into())?;
        self.adopt(socket.into())
    }

    /// Listens on a socket that is bound to its address, and may listen already. Its number is never used again.
    ///
    /// # Errors
    /// Another socket listens there, or the system refuses something else.
    pub fn adopt(&mut self, socket: std::net::TcpListener) -> io::Result<Bound> {
        let options = SockRef::from(&socket);
        options.set_nonblocking(true)?;
        // Inherited by every connection that is accepted.
        options.set_tcp_nodelay(true)?;
        options.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        options.listen(BACKLOG)?;
        let addr = socket.local_addr()?;
        let mut socket = TcpListener::from_std(socket);
        let token = Token(descriptor(&socket));
        self.registry
            .register(&mut socket, token, Interest::READABLE)?;
        let listener = self.listener_next;
        self.listener_next += 1;
        self.own(token.0, Owner::Listener(listener));
        self.listeners.insert(listener, socket);
        Ok(Bound { listener, addr })
    }

    /// Another descriptor of a listener that is open, for another process.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn duplicate(&self, listener: usize) -> io::Result<OwnedFd> {
        let socket = self.listeners.get(&listener).ok_or(ErrorKind::NotFound)?;
        socket.as_fd().try_clone_to_owned()
    }

    /// Whose event it is.
    #[must_use]
    pub fn owner(&self, token: Token) -> Option<Owner> {
        self.owners.get(token.0).copied().flatten()
    }

    fn own(&mut self, descriptor: usize, owner: Owner) {
        if self.owners.len() <= descriptor {
            self.owners.resize(descriptor + 1, None);
        }
        self.owners[descriptor] = Some(owner);
    }

    fn watch(&mut self, mut stream: TcpStream) -> io::Result<TcpSocket> {
        let token = Token(descriptor(&stream));
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        self.registry.register(&mut stream, token, interest)?;
        Ok(TcpSocket {
            stream,
            pipe: None,
            spliced: 0,
        })
    }
}

impl Net for Kernel {
    type Stream = TcpSocket;

    fn accept(&mut self, listener: usize) -> io::Result<(TcpSocket, SocketAddr)> {
        let Some(listener) = self.listeners.get(&listener) else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let (stream, addr) = listener.accept()?;
        Ok((self.watch(stream)?, addr))
    }

    fn connect(&mut self, addr: SocketAddr) -> io::Result<TcpSocket> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        self.watch(stream)
    }

    fn splice(
        &mut self,
        source: &mut TcpSocket,
        sink: &mut TcpSocket,
        most: usize,
    ) -> io::Result<usize> {
        let mut pipe = self.pipes.lend().ok_or(ErrorKind::Unsupported)?;
        let result = pipe.fill(&source.stream, most);
        sink.keep(pipe);
        if let Ok(count) = result {
            sink.has_taken(count);
        }
        result.map_err(|error| match is_about_splicing(&error) {
            true => ErrorKind::Unsupported.into(),
            false => error,
        })
    }

    fn assign(&mut self, stream: &TcpSocket, owner: Owner) {
        self.own(descriptor(&stream.stream), owner);
    }

    fn forget_owners(&mut self) {
        let listeners = self
            .owners
            .iter()
            .rposition(|owner| matches!(owner, Some(Owner::Listener(_))));
        self.owners.truncate(listeners.map_or(0, |last| last + 1));
        self.owners.shrink_to_fit();
    }

    fn close_listener(&mut self, listener: usize) {
        let Some(mut socket) = self.listeners.remove(&listener) else {
            return;
        };
        self.owners[descriptor(&socket)] = None;
        // Closing does not take it out of the poll where another process has it too.
        let _ = self.registry.deregister(&mut socket);
    }
}

impl TcpSocket {
    /// Keeps a pipe in which something waits for room here.
    fn keep(&mut self, pipe: Box<Pipe>) {
        if pipe.is_empty() {
            pipe.give_back();
        } else {
            self.pipe = Some(pipe);
        }
    }

    /// So many more bytes were spliced here, and those before them are gone.
    fn has_taken(&mut self, count: usize) {
        if self.spliced < TAKES_BYTES_MIN {
            self.spliced = self
                .spliced
                .saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
            if self.spliced >= TAKES_BYTES_MIN {
                // Where this fails the bound stays, and the download is a little dearer.
                let _ = SockRef::from(&self.stream).set_tcp_notsent_lowat(u32::MAX);
            }
        }
    }
}

impl Drop for TcpSocket {
    fn drop(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            pipe.give_back();
        }
    }
}

impl Stream for TcpSocket {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.stream.read(room)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(pieces)
    }

    fn send_spliced(&mut self) -> io::Result<usize> {
        let Some(mut pipe) = self.pipe.take() else {
            return Ok(0);
        };
        let result = pipe.drain(&self.stream);
        self.keep(pipe);
        result
    }

    fn connected(&mut self) -> io::Result<bool> {
        self.check()?;
        match self.stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    fn unacknowledged(&self) -> Option<u64> {
        let (local, peer) = (
            self.stream.local_addr().ok()?,
            self.stream.peer_addr().ok()?,
        );
        diag::unacknowledged(local, peer).ok().map(u64::from)
    }

    fn check(&mut self) -> io::Result<()> {
        self.stream.take_error()?.map_or(Ok(()), Err)
    }

    fn shut_write(&mut self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }

    fn reset_on_close(&mut self) {
        // Where this fails the connection is gone already.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

fn descriptor(socket: &impl AsRawFd) -> usize {
    usize::try_from(socket.as_raw_fd()).expect("a descriptor is not negative")
}
