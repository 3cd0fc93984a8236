//! One socket: its stream, what is known of its readiness, and the bytes that wait. The only reads and writes in the program.
//!
//! The rules of readiness (epoll(7), edge-triggered): an event sets a flag; would-block clears it; so does a read shorter
//! than the room it was offered, unless the peer is known to have closed or to have sent an urgent byte. So the common
//! message costs no read that returns nothing, and nobody ever arms anything.
//!
//! Three kinds of bytes may wait: in the *inbox* what was read and could not be judged yet, in the *outbox* what was judged
//! and has no room in the kernel yet, and in a pipe of the kernel's what was *spliced*: it needed no judging, and was never
//! read. While anything waits to be sent, whoever sends it does not read: that is all the backpressure there is.
//!
//! `input` has what is read, `output` what is sent.

mod input;
mod output;

use std::io;

use super::buffer::{Inbox, Outbox};
use super::stream::{Readiness, Stream};

pub use self::input::{Input, Look};

/// One socket.
#[derive(Debug)]
pub struct Conn<S> {
    stream: S,
    inbox: Inbox,
    outbox: Outbox,
    readable: bool,
    writable: bool,
    /// A short read does not mean that nothing more is there: the peer was reported to have shut its side, so that an end
    /// may follow, or to have sent an urgent byte, where a read stops whatever follows.
    shorts_lie: bool,
    /// The connection was reported dead; to be looked at.
    dead: bool,
    /// The end of the stream was read.
    ended: bool,
    /// What the inbox holds is not enough by itself: more must be read behind it.
    starved: bool,
    /// All that was ever sent here still stands at the front of the outbox, and could be sent again elsewhere.
    replayable: bool,
    /// What waits in the outbox was offered to the kernel, which had no room for all of it. An event that says writable
    /// changes nothing of that: it may be wrong.
    offered: bool,
    /// The last read filled its room, or the last splice brought much: bytes come faster than we take them.
    flooding: bool,
    /// At the end of so many turns at the latest what waits in the outbox is sent; at once when it is 0.
    held_back: u8,
    /// How many bytes were spliced here and wait in the kernel until the connection has room for them. They come before
    /// those of the outbox.
    spliced: u32,
    /// How many bytes the kernel has taken since the last [`load`](Self::load).
    taken: u64,
}

impl<S: Stream> Conn<S> {
    /// A connection of which nothing is known yet: its first event tells.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            readable: false,
            writable: false,
            shorts_lie: false,
            dead: false,
            ended: false,
            starved: false,
            replayable: false,
            offered: false,
            flooding: false,
            held_back: 0,
            spliced: 0,
            taken: 0,
        }
    }

    /// The stream itself, to say whose it is.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// An event came. Sets flags, nothing else.
    pub fn hint(&mut self, hint: Readiness) {
        self.readable |= hint.readable | hint.read_closed | hint.urgent;
        self.writable |= hint.writable;
        self.shorts_lie |= hint.read_closed | hint.urgent;
        self.dead |= hint.dead;
    }

    /// Whether the connection attempt has succeeded; `false` while it is under way.
    ///
    /// # Errors
    /// Why it failed.
    pub fn connected(&mut self) -> io::Result<bool> {
        if !self.writable {
            return Ok(false);
        }
        let connected = self.stream.connected()?;
        self.writable = connected;
        Ok(connected)
    }

    /// Looks at a connection that was reported dead.
    ///
    /// # Errors
    /// It is dead, and why.
    pub fn check(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dead) {
            self.stream.check()
        } else {
            Ok(())
        }
    }

    /// Shuts our sending side, after what was written.
    ///
    /// # Errors
    /// The connection was gone already.
    pub fn shut_write(&mut self) -> io::Result<()> {
        self.stream.shut_write()
    }

    /// Makes the coming close a reset.
    pub fn reset_on_close(&mut self) {
        self.stream.reset_on_close();
    }

    /// Storage in use, in bytes.
    pub fn held(&self) -> usize {
        self.inbox.held() + self.outbox.held()
    }
}
