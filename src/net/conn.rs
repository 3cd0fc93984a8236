//! One socket: its stream, what is known of its readiness, and the bytes that wait. The only reads and writes in the program.
//!
//! The rules of readiness (epoll(7), edge-triggered): an event sets a flag; would-block clears it; so does a read shorter
//! than the room it was offered, unless the peer is known to have closed or to have sent an urgent byte. So the common
//! message costs no read that returns nothing, and nobody ever arms anything.
//!
//! Two kinds of bytes may wait: in the *inbox* what was read and could not be judged yet, in the *outbox* what was judged
//! and has no room in the kernel yet. While an outbox holds bytes, whoever fills it does not read: that is all the
//! backpressure there is.

use std::io::{self, ErrorKind, IoSlice};

use super::buffer::{Buffers, Inbox, Outbox};
use super::stream::{Readiness, Stream};

/// Bodies up to this size, in bytes, are copied behind a waiting head so that both leave in one plain write.
const COMBINE_BYTES_MAX: usize = 16 * 1024;

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
    /// How many bytes the kernel has taken since the last [`load`](Self::load).
    taken: u64,
}

/// What a look at a connection's input found.
#[derive(Debug)]
pub enum Look<'a, S> {
    /// Bytes to judge.
    Bytes(Input<'a, S>),
    /// Nothing now.
    Blocked,
    /// The end of the stream, with nothing or too little before it.
    Ended,
}

/// Bytes at hand: in the loop's read buffer, or still in the inbox.
#[derive(Debug)]
pub struct Input<'a, S> {
    conn: &'a mut Conn<S>,
    scratch: &'a mut [u8],
    /// How many bytes of `scratch` were filled; 0 when the bytes are those of the inbox.
    filled: usize,
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

    /// Bytes to judge: those of the inbox, or else what one read brings. The inbox's bytes come first, always.
    ///
    /// # Errors
    /// The connection is dead.
    pub fn look<'a>(&'a mut self, scratch: &'a mut [u8]) -> io::Result<Look<'a, S>> {
        if !self.starved && !self.inbox.is_empty() {
            return Ok(Look::Bytes(Input {
                conn: self,
                scratch,
                filled: 0,
            }));
        }
        if self.ended {
            return Ok(Look::Ended);
        }
        let before = self.inbox.bytes().len();
        assert!(
            before < scratch.len(),
            "whoever starves bounds what it leaves"
        );
        let Some(count) = self.read(&mut scratch[before..])? else {
            return Ok(Look::Blocked);
        };
        if count == 0 {
            return Ok(Look::Ended);
        }
        scratch[..before].copy_from_slice(self.inbox.bytes());
        Ok(Look::Bytes(Input {
            conn: self,
            scratch,
            filled: before + count,
        }))
    }

    /// Reads and throws away, at most `scratch` and the inbox; says how much, `None` when nothing is there now, 0 at the end.
    ///
    /// # Errors
    /// The connection is dead.
    pub fn discard(
        &mut self,
        scratch: &mut [u8],
        buffers: &mut Buffers,
    ) -> io::Result<Option<usize>> {
        self.inbox.replace(b"", buffers);
        self.starved = false;
        if self.ended {
            Ok(Some(0))
        } else {
            self.read(scratch)
        }
    }

    /// The one read. `None` is would-block.
    fn read(&mut self, room: &mut [u8]) -> io::Result<Option<usize>> {
        while self.readable {
            match self.stream.read(room) {
                Ok(count) => {
                    self.ended = count == 0;
                    self.readable = !self.ended && (count == room.len() || self.shorts_lie);
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Storage to append a message's head to; it leaves with the next [`send`](Self::send) or [`flush`](Self::flush).
    pub fn compose(&mut self, buffers: &mut Buffers) -> &mut Vec<u8> {
        self.outbox.compose(buffers)
    }

    /// Fills the outbox of a connection on which nothing waits with a request that may have to be sent again.
    pub fn load(&mut self, message: Vec<u8>) {
        self.outbox.load_kept(message);
        self.replayable = true;
        self.taken = 0;
    }

    /// What was loaded, with all that was sent behind it if it can be sent again.
    pub fn unload(&mut self) -> Vec<u8> {
        self.replayable = false;
        self.outbox.unload_kept()
    }

    /// What was loaded.
    pub fn loaded(&self) -> &[u8] {
        self.outbox.kept()
    }

    /// Whether all that was sent here is still at hand.
    pub fn is_replayable(&self) -> bool {
        self.replayable
    }

    /// How many bytes the kernel has taken; counted anew from each [`load`](Self::load).
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// How many of those bytes the peer's kernel has acknowledged, where ours tells; system calls, to be asked seldom.
    pub fn acknowledged(&self) -> Option<u64> {
        let unacknowledged = self.stream.unacknowledged()?;
        Some(self.taken.saturating_sub(unacknowledged))
    }

    /// What was loaded need not be sent again.
    pub fn release(&mut self, buffers: &mut Buffers) {
        if self.replayable || !self.outbox.kept().is_empty() {
            self.replayable = false;
            self.outbox.release(buffers);
        }
    }

    /// Sends bytes behind whatever waits: at once as far as the kernel takes them, the rest waits.
    ///
    /// # Errors
    /// The connection is dead.
    pub fn send(&mut self, bytes: &[u8], buffers: &mut Buffers) -> io::Result<()> {
        let small = bytes.len() <= COMBINE_BYTES_MAX;
        if self.replayable && small && self.loaded().len() <= COMBINE_BYTES_MAX {
            self.outbox.push(bytes, buffers);
            self.outbox.keep_all();
            return self.flush(buffers);
        }
        if self.replayable && !bytes.is_empty() {
            self.replayable = false;
            self.outbox.keep_loaded();
        }
        if !self.outbox.is_empty() && small {
            self.outbox.push(bytes, buffers);
            return self.flush(buffers);
        }
        let taken = self.write_behind_outbox(bytes, b"", buffers)?;
        if taken < bytes.len() {
            self.outbox.push(&bytes[taken..], buffers);
        }
        Ok(())
    }

    /// Sends bytes behind whatever waits, with something small before and behind them, all in one write.
    ///
    /// # Errors
    /// The connection is dead.
    pub fn send_between(
        &mut self,
        before: &[u8],
        bytes: &[u8],
        behind: &[u8],
        buffers: &mut Buffers,
    ) -> io::Result<()> {
        self.replayable = false;
        self.outbox.push(before, buffers);
        if bytes.len() <= COMBINE_BYTES_MAX {
            self.outbox.push(bytes, buffers);
            self.outbox.push(behind, buffers);
            return self.flush(buffers);
        }
        let taken = self.write_behind_outbox(bytes, behind, buffers)?;
        for rest in rests(bytes, behind, taken) {
            if !rest.is_empty() {
                self.outbox.push(rest, buffers);
            }
        }
        Ok(())
    }

    /// Writes what waits as far as the kernel takes it.
    ///
    /// # Errors
    /// The connection is dead.
    pub fn flush(&mut self, buffers: &mut Buffers) -> io::Result<()> {
        self.write_behind_outbox(b"", b"", buffers)?;
        self.outbox.tidy(buffers);
        Ok(())
    }

    /// The one write: the outbox, then `bytes`, then `behind`, until all is taken or would-block. Says how many of those
    /// two were taken. Inlined, so that whoever has nothing to send, or nothing behind it, does not pay for the choice.
    #[inline(always)]
    fn write_behind_outbox(
        &mut self,
        bytes: &[u8],
        behind: &[u8],
        buffers: &mut Buffers,
    ) -> io::Result<usize> {
        let mut taken = 0;
        let len = bytes.len() + behind.len();
        while self.writable && !(self.outbox.is_empty() && taken == len) {
            let waiting = self.outbox.bytes();
            self.offered = true;
            let [bytes, behind] = rests(bytes, behind, taken);
            let result = match (waiting.is_empty(), bytes.is_empty(), behind.is_empty()) {
                (true, _, true) => self.stream.write(bytes),
                (_, true, true) => self.stream.write(waiting),
                (_, _, true) => self
                    .stream
                    .write_vectored(&[IoSlice::new(waiting), IoSlice::new(bytes)]),
                (_, _, false) => self.stream.write_vectored(&[
                    IoSlice::new(waiting),
                    IoSlice::new(bytes),
                    IoSlice::new(behind),
                ]),
            };
            match result {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.taken += count as u64;
                    let first = count.min(waiting.len());
                    if first > 0 {
                        self.outbox.advance(first, buffers);
                    }
                    taken += count - first;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // Whatever the peer said before it went is still to be read.
                    self.readable = true;
                    return Err(error);
                }
            }
        }
        self.offered &= !self.outbox.is_empty() || taken < len;
        Ok(taken)
    }

    /// Whether what waits was not offered to the kernel yet, and the kernel may have room.
    pub fn is_fresh(&self) -> bool {
        self.writable && !self.offered
    }

    /// Whether bytes wait for the kernel to take them.
    pub fn is_blocked(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Whether bytes wait in the inbox.
    pub fn has_input(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// What waits in the inbox.
    pub fn input(&self) -> &[u8] {
        self.inbox.bytes()
    }

    /// Whether there may be more to read.
    pub fn may_have_input(&self) -> bool {
        self.has_input() || self.readable
    }

    /// Whether the peer has said something that was not taken, or has gone: a read is tried only where a hint asks for it.
    /// To be asked of a connection on which nothing is due; what it said is lost.
    pub fn has_spoken(&mut self) -> bool {
        if self.check().is_err() || self.ended || self.has_input() {
            return true;
        }
        let mut byte = [0];
        self.readable && !matches!(self.read(&mut byte), Ok(None))
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

impl<S> Input<'_, S> {
    /// The bytes, to be judged and rewritten in place.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.parts().0
    }

    /// The bytes, and the stream that they came from.
    pub fn parts(&mut self) -> (&mut [u8], &S) {
        let bytes = if self.filled == 0 {
            self.conn.inbox.bytes_mut()
        } else {
            &mut self.scratch[..self.filled]
        };
        (bytes, &self.conn.stream)
    }

    /// `taken` bytes were judged; the rest waits. `starved` when the rest means nothing before more is read behind it.
    pub fn keep(self, taken: usize, starved: bool, buffers: &mut Buffers) {
        let Input {
            conn,
            scratch,
            filled,
        } = self;
        if filled == 0 {
            conn.inbox.advance(taken, buffers);
        } else {
            conn.inbox.replace(&scratch[taken..filled], buffers);
        }
        conn.starved = starved && !conn.inbox.is_empty();
    }
}

/// What is left of two pieces of which the first `taken` bytes are gone.
fn rests<'a>(first: &'a [u8], second: &'a [u8], taken: usize) -> [&'a [u8]; 2] {
    match taken.checked_sub(first.len()) {
        None => [&first[taken..], second],
        Some(taken) => [b"", &second[taken..]],
    }
}
