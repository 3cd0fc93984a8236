//! What a connection brings: looked at, thrown away, or spliced to another without being looked at.

use std::io::{self, ErrorKind};

use super::super::buffer::Buffers;
use super::super::stream::{Net, Stream};
use super::Conn;

/// A splice that brings less, in bytes, tells that the flood is over.
const FLOOD_BYTES: usize = 64 * 1024;

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
                    self.flooding = count == room.len();
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether so much comes that it had better be spliced than read. Not where a short read may lie: an urgent byte stops a
    /// splice for good.
    pub fn is_flooding(&self) -> bool {
        self.flooding && self.readable && !self.shorts_lie && self.inbox.is_empty()
    }

    /// Moves at most so many bytes from here to a `sink` on which nothing waits, and sends them on as far as it has room.
    /// `None` is would-block.
    ///
    /// # Errors
    /// This connection is dead; what befalls the sink, its next [`flush`](Self::flush) tells. `Unsupported`: read it.
    pub fn splice<N: Net<Stream = S>>(
        &mut self,
        sink: &mut Self,
        most: u32,
        net: &mut N,
    ) -> io::Result<Option<usize>> {
        match net.splice(&mut self.stream, &mut sink.stream, most as usize) {
            // The end, or an urgent byte with bytes and the end behind it, of which no event has told yet: a read knows.
            Ok(0) => {
                self.flooding = false;
                Err(ErrorKind::Unsupported.into())
            }
            Ok(count) => {
                self.flooding = count >= FLOOD_BYTES;
                sink.spliced = u32::try_from(count).expect("no more than was asked for");
                sink.expect_no_repeat();
                Ok(Some(count))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(None)
            }
            Err(error) => {
                self.flooding = false;
                Err(error)
            }
        }
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
