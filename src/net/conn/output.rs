//! What a connection is to bring to its peer: sent at once as far as there is room, the rest waits.

use std::io::{self, ErrorKind, IoSlice};

use super::super::buffer::Buffers;
use super::super::stream::Stream;
use super::Conn;

/// Bodies up to this size, in bytes, are copied behind a waiting head so that both leave in one plain write.
const COMBINE_BYTES_MAX: usize = 16 * 1024;

impl<S: Stream> Conn<S> {
    /// What comes now is not kept to be sent again.
    pub(super) fn expect_no_repeat(&mut self) {
        if std::mem::take(&mut self.replayable) {
            self.outbox.keep_loaded();
        }
    }

    /// Storage to append a message's head to, in which the writer is to [`reserve`](Buffers::reserve) room; it leaves with
    /// the next [`send`](Self::send) or [`flush`](Self::flush).
    pub fn compose(&mut self) -> &mut Vec<u8> {
        self.outbox.compose()
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
        if !bytes.is_empty() {
            self.expect_no_repeat();
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

    /// What little is sent from now on waits for more, until the end of the next turn.
    pub fn hold_back(&mut self) {
        self.held_back = 2;
    }

    /// What is sent from now on, and what was held back, is sent at once.
    pub fn hold_nothing_back(&mut self) {
        self.held_back = 0;
    }

    /// Whether something waits that the kernel was not even offered, for more to come.
    pub fn holds_back(&self) -> bool {
        self.held_back > 0
            && !self.offered
            && (1..=COMBINE_BYTES_MAX).contains(&self.outbox.bytes().len())
    }

    /// A turn ends: what nothing was added to is sent. Says whether there must be another turn.
    pub fn end_turn(&mut self, buffers: &mut Buffers) -> bool {
        self.held_back -= 1;
        // An error is met again by whoever looks next.
        self.held_back > 0 || self.flush(buffers).is_err()
    }

    /// Writes what waits as far as the kernel takes it.
    ///
    /// # Errors
    /// The connection is dead.
    pub fn flush(&mut self, buffers: &mut Buffers) -> io::Result<()> {
        if self.holds_back() {
            return Ok(());
        }
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
        if self.spliced > 0 && !self.send_spliced()? {
            return Ok(0);
        }
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

    /// Sends on what was spliced here; says whether all of it.
    fn send_spliced(&mut self) -> io::Result<bool> {
        self.offered = true;
        while self.writable && self.spliced > 0 {
            match self.stream.send_spliced() {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.taken += count as u64;
                    self.spliced -= u32::try_from(count).expect("no more than was there");
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.readable = true;
                    return Err(error);
                }
            }
        }
        Ok(self.spliced == 0)
    }

    /// Whether what waits was not offered to the kernel yet, and the kernel may have room.
    pub fn is_fresh(&self) -> bool {
        self.writable && !self.offered
    }

    /// Whether bytes wait for the kernel to take them.
    pub fn is_blocked(&self) -> bool {
        self.spliced > 0 || !self.outbox.is_empty() && !self.holds_back()
    }
}

/// What is left of two pieces of which the first `taken` bytes are gone.
fn rests<'a>(first: &'a [u8], second: &'a [u8], taken: usize) -> [&'a [u8]; 2] {
    match taken.checked_sub(first.len()) {
        None => [&first[taken..], second],
        Some(taken) => [b"", &second[taken..]],
    }
}
