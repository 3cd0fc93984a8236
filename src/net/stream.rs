//! The two traits between us and the kernel.
//!
//! [`Net`] makes streams and says whose events are whose; [`Stream`] is one TCP connection. In production both are mio
//! (`event_loop.rs`); in `tests/sim` they are a simulated network, so that the code that ships runs through partial reads,
//! tiny windows, resets and reordered events. Nothing else in the program talks to a socket.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

/// Whose events a socket's events are. The network keeps it per socket in a plain table, so changing hands costs no
/// system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The listener of that number, which no other listener ever has.
    Listener(usize),
    /// The client of the session with that key.
    Client(usize),
    /// The upstream that the session with that key uses.
    Upstream(usize),
    /// The idle upstream with that key.
    Idle(usize),
}

/// What an event said of a socket. Each is a hint to look; looking is always safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Bytes may be there to be read, or the end of the stream.
    pub readable: bool,
    /// The kernel may have room for bytes, or a connection attempt has ended.
    pub writable: bool,
    /// The peer has shut its sending side: after a short read there may still be an end of stream to be read.
    pub read_closed: bool,
    /// An urgent byte has come (RFC 9293 §3.8.5). A read stops before it, so that a short one does not mean that nothing
    /// more is there.
    pub urgent: bool,
    /// The connection may be dead in both directions (reset, or an error is pending).
    pub dead: bool,
}

/// One TCP connection that never blocks.
pub trait Stream {
    /// Reads into `room`; 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there now; anything else ends the connection.
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize>;

    /// Writes some of `bytes` and says how many.
    ///
    /// # Errors
    /// `WouldBlock` when the kernel has no room now; anything else ends the connection.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes some of `pieces`, one after the other, in one system call, and says how many bytes.
    ///
    /// # Errors
    /// As [`Stream::write`].
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Whether the connection attempt has succeeded; `false` while it is still under way.
    ///
    /// # Errors
    /// Why the attempt failed.
    fn connected(&mut self) -> io::Result<bool>;

    /// Our own address in this connection, which a listener on all addresses does not tell.
    ///
    /// # Errors
    /// The connection was gone already.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Sends on what [`Net::splice`] brought here and the kernel had no room for yet; says how many bytes.
    ///
    /// # Errors
    /// As [`Stream::write`].
    fn send_spliced(&mut self) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// How many bytes of what was written the peer's kernel has not acknowledged; `None` where ours does not tell. Asking
    /// costs several system calls.
    fn unacknowledged(&self) -> Option<u64> {
        None
    }

    /// Looks for a pending error without reading a byte.
    ///
    /// # Errors
    /// The pending error, which ends the connection.
    fn check(&mut self) -> io::Result<()>;

    /// Shuts our sending side: the peer reads the end of the stream after what was written.
    ///
    /// # Errors
    /// The connection was gone already.
    fn shut_write(&mut self) -> io::Result<()>;

    /// Makes the coming close (drop) a reset, so that the peer cannot take what it got for the whole.
    fn reset_on_close(&mut self);
}

/// The kernel as the proxy sees it. Dropping a stream closes it.
pub trait Net {
    /// What connections are made of.
    type Stream: Stream;

    /// Takes the next waiting connection of a listener, with the client's address. The caller must
    /// [`assign`](Net::assign) it before the next poll.
    ///
    /// # Errors
    /// `WouldBlock` when none is waiting. Out of descriptors or memory: the listener must be looked at again later, for
    /// no further event will come. Others concern that one connection only.
    fn accept(&mut self, listener: usize) -> io::Result<(Self::Stream, SocketAddr)>;

    /// Starts a connection to `addr`. An event that says writable tells that the attempt has ended, one way or the other.
    /// The caller must [`assign`](Net::assign) it before the next poll.
    ///
    /// # Errors
    /// When not even the attempt can be made: no descriptor is left, or no route.
    fn connect(&mut self, addr: SocketAddr) -> io::Result<Self::Stream>;

    /// Moves up to `most` bytes that `source` has for us towards `sink`, without their passing through our memory: they wait
    /// in the kernel until [`Stream::send_spliced`] sends them on. Nothing may wait there already. It may stop before an urgent
    /// byte and not go on behind it, as a read does. So 0 is the end of the stream, or that the end stands somewhere behind
    /// such a byte.
    ///
    /// # Errors
    /// `WouldBlock` when `source` has nothing now. `Unsupported` when it cannot be done, or not now: they must be read. Anything
    /// else ends the connection of `source`.
    fn splice(
        &mut self,
        source: &mut Self::Stream,
        sink: &mut Self::Stream,
        most: usize,
    ) -> io::Result<usize> {
        let _ = (source, sink, most);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// From now on events of `stream` are told as `owner`'s. A store into a table, not a system call.
    fn assign(&mut self, stream: &Self::Stream, owner: Owner);

    /// Forgets whose the streams are, so that room for those that were closed can be given back. The caller
    /// [`assigns`](Net::assign) all that are open anew before the next poll.
    fn forget_owners(&mut self);

    /// Closes a listener; what it had not accepted is refused, unless another process listens on the same socket.
    fn close_listener(&mut self, listener: usize);
}

/// Whether an error says that descriptors or memory have run out, so that a later attempt may succeed.
#[must_use]
pub fn is_exhausted(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    matches!(
        error.raw_os_error(),
        Some(ENOMEM | ENFILE | EMFILE | ENOBUFS)
    )
}

/// Whether an accept failed because of the one connection that it was about: accept(2) hands on what befell it.
#[must_use]
pub fn is_about_one(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable,
    };
    const ENONET: i32 = 64;
    const EPROTO: i32 = 71;
    const ENOPROTOOPT: i32 = 92;
    const EOPNOTSUPP: i32 = 95;
    const EHOSTDOWN: i32 = 112;
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
    ) || matches!(
        error.raw_os_error(),
        Some(ENONET | EPROTO | ENOPROTOOPT | EOPNOTSUPP | EHOSTDOWN)
    )
}
