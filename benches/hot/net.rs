//! A network without a kernel: what is written to a backend is answered at once, what is sent to a client is counted.
//!
//! It does as little as it can, so that a whole exchange over it costs what the proxy costs. It models nothing else; that
//! is what `tests/sim` is for.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use rondel::net::stream::{Net, Owner, Readiness, Stream};

/// What every socket has.
#[derive(Debug, Default)]
struct Sock {
    /// Bytes to be read.
    incoming: Vec<u8>,
    /// The peer has ended.
    ended: bool,
    /// How many bytes were written to it.
    written: usize,
    /// Whose events its events are.
    owner: Option<Owner>,
}

/// All sockets, by number.
#[derive(Debug, Default)]
struct Socks {
    socks: Vec<Sock>,
    free: Vec<usize>,
    /// The one opened last.
    newest: usize,
    /// Clients that wait to be accepted.
    calling: usize,
    /// Sockets that have an event.
    events: Vec<usize>,
    answer: Vec<u8>,
}

/// The network, shared by the proxy and whoever drives it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loopback(Rc<RefCell<Socks>>);

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    net: Loopback,
    id: usize,
    /// It leads to a backend.
    answers: bool,
}

impl Loopback {
    /// A network whose backends all give this answer to whatever is written to them.
    pub(crate) fn new(answer: &[u8]) -> Self {
        let net = Self::default();
        net.0.borrow_mut().answer = answer.to_vec();
        net
    }

    /// Lets so many clients call.
    pub(crate) fn call(&self, clients: usize) {
        self.0.borrow_mut().calling += clients;
    }

    /// The client that was accepted as socket `id` sends these bytes.
    pub(crate) fn send(&self, id: usize, bytes: &[u8]) {
        let mut socks = self.0.borrow_mut();
        socks.socks[id].incoming.extend_from_slice(bytes);
        socks.events.push(id);
    }

    /// The client that was accepted last ends.
    pub(crate) fn end_newest(&self) {
        let mut socks = self.0.borrow_mut();
        let id = socks.newest;
        socks.socks[id].ended = true;
        socks.events.push(id);
    }

    /// How many bytes the client that was accepted as socket `id` got.
    pub(crate) fn written(&self, id: usize) -> usize {
        self.0.borrow().socks[id].written
    }

    /// The next event.
    pub(crate) fn event(&self) -> Option<(Owner, Readiness)> {
        let mut socks = self.0.borrow_mut();
        let id = socks.events.pop()?;
        let sock = &socks.socks[id];
        let hint = Readiness {
            readable: !sock.incoming.is_empty() || sock.ended,
            writable: true,
            read_closed: sock.ended,
            urgent: false,
            dead: false,
        };
        Some((sock.owner.expect("a socket has an owner"), hint))
    }

    fn open(&self, answers: bool) -> Wire {
        let mut socks = self.0.borrow_mut();
        let id = socks.free.pop().unwrap_or_else(|| {
            socks.socks.push(Sock::default());
            socks.socks.len() - 1
        });
        socks.newest = id;
        Wire {
            net: self.clone(),
            id,
            answers,
        }
    }
}

impl Net for Loopback {
    type Stream = Wire;

    fn accept(&mut self, _listener: usize) -> io::Result<(Wire, SocketAddr)> {
        let left = self.0.borrow().calling.checked_sub(1);
        self.0.borrow_mut().calling = left.ok_or(ErrorKind::WouldBlock)?;
        let addr = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 7), 40_000));
        Ok((self.open(false), addr))
    }

    fn connect(&mut self, _addr: SocketAddr) -> io::Result<Wire> {
        let wire = self.open(true);
        self.0.borrow_mut().events.push(wire.id);
        Ok(wire)
    }

    fn assign(&mut self, stream: &Wire, owner: Owner) {
        self.0.borrow_mut().socks[stream.id].owner = Some(owner);
    }

    fn forget_owners(&mut self) {}

    fn close_listener(&mut self, _listener: usize) {}
}

impl Stream for Wire {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([192, 0, 2, 1], 8080)))
    }

    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut socks = self.net.0.borrow_mut();
        let sock = &mut socks.socks[self.id];
        let count = room.len().min(sock.incoming.len());
        if count == 0 && !sock.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        room[..count].copy_from_slice(&sock.incoming[..count]);
        sock.incoming.drain(..count);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut socks = self.net.0.borrow_mut();
        let Socks {
            socks,
            events,
            answer,
            ..
        } = &mut *socks;
        let sock = &mut socks[self.id];
        sock.written += bytes.len();
        if self.answers {
            sock.incoming.extend_from_slice(answer);
            events.push(self.id);
        }
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        self.net.0.borrow_mut().socks[self.id].written += bytes;
        Ok(bytes)
    }

    fn connected(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn shut_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reset_on_close(&mut self) {}
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut socks = self.net.0.borrow_mut();
        let empty = mem::take(&mut socks.socks[self.id].incoming);
        // The storage stays with the socket, so that none is allocated for the next.
        socks.socks[self.id] = Sock {
            incoming: empty,
            ..Sock::default()
        };
        socks.socks[self.id].incoming.clear();
        socks.free.push(self.id);
    }
}
