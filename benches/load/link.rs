//! One connection of the load: a message out, its answer in.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use memchr::memmem;

/// What a connection waits for.
enum Awaits {
    Nothing,
    Head,
    /// So many bytes.
    Body(usize),
}

/// One connection.
pub(crate) struct Link {
    stream: TcpStream,
    awaits: Awaits,
    /// The head of an answer, as far as it has come.
    head: Vec<u8>,
    /// Bytes of the message that are written.
    written: usize,
    /// From when its latency counts: it was asked then, or should have been.
    since: Instant,
}

impl Link {
    /// A connection that asks first as soon as it can.
    pub(crate) fn new(stream: TcpStream, since: Instant) -> Self {
        Self {
            stream,
            awaits: Awaits::Head,
            head: Vec::new(),
            written: 0,
            since,
        }
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !matches!(self.awaits, Awaits::Nothing)
    }

    /// Sends a request.
    pub(crate) fn ask(&mut self, request: &[u8], since: Instant) -> io::Result<()> {
        (self.written, self.since, self.awaits) = (0, since, Awaits::Head);
        self.write(request)
    }

    /// Sends bytes through a tunnel, of which as many are to come back.
    pub(crate) fn send(&mut self, bytes: &[u8], since: Instant) -> io::Result<()> {
        (self.written, self.since, self.awaits) = (0, since, Awaits::Body(bytes.len()));
        self.write(bytes)
    }

    /// Writes and reads what can be; whether its answer is whole now.
    pub(crate) fn run(&mut self, message: &[u8], room: &mut [u8]) -> io::Result<bool> {
        self.write(message)?;
        let mut whole = false;
        loop {
            match self.stream.read(room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    whole |= self.take(&room[..count])?;
                    // A short read has drained the socket.
                    if count < room.len() {
                        return Ok(whole);
                    }
                }
                Err(error) if is_for_later(&error) => return Ok(whole),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes, and reads a little; whether the answer has begun now.
    pub(crate) fn begin_slowly(&mut self, message: &[u8], room: &mut [u8]) -> io::Result<bool> {
        self.write(message)?;
        if !matches!(self.awaits, Awaits::Head) {
            return Ok(false);
        }
        match self.stream.read(room) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.take(&room[..count])?;
                let begun = !matches!(self.awaits, Awaits::Head);
                if begun {
                    self.awaits = Awaits::Nothing;
                }
                Ok(begun)
            }
            Err(error) if is_for_later(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes what there is room for of an answer that never ends.
    pub(crate) fn skim(&mut self, room: &mut [u8]) -> io::Result<()> {
        match self.stream.read(room) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if !is_for_later(&error) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn write(&mut self, message: &[u8]) -> io::Result<()> {
        while self.written < message.len() {
            match self.stream.write(&message[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if is_for_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes bytes of an answer; whether it is whole.
    fn take(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let (left, came) = match self.awaits {
            Awaits::Nothing => return Err(io::Error::other("bytes that nobody asked for")),
            Awaits::Body(left) => (left, bytes.len()),
            Awaits::Head => {
                self.head.extend_from_slice(bytes);
                let Some(end) = memmem::find(&self.head, b"\r\n\r\n") else {
                    return Ok(false);
                };
                let came = self.head.len() - end - 4;
                let left = body_of(&mut self.head[..end + 2])?;
                self.head.clear();
                (left, came)
            }
        };
        let left = left
            .checked_sub(came)
            .ok_or_else(|| io::Error::other("more bytes than were announced"))?;
        self.awaits = match left {
            0 => Awaits::Nothing,
            left => Awaits::Body(left),
        };
        Ok(left == 0)
    }

    /// Whether the peer has not closed.
    pub(crate) fn lives(&self) -> bool {
        match self.stream.peek(&mut [0]) {
            Ok(count) => count > 0,
            Err(error) => is_for_later(&error),
        }
    }
}

/// How long the body behind a head is. Anything but 200 and 101 is an error.
fn body_of(head: &mut [u8]) -> io::Result<usize> {
    head.make_ascii_lowercase();
    if head.starts_with(b"http/1.1 101") {
        return Ok(0);
    }
    if !head.starts_with(b"http/1.1 200") {
        return Err(io::Error::other("not 200"));
    }
    let name = b"\r\ncontent-length:";
    let at = memmem::find(head, name).ok_or_else(|| io::Error::other("no length"))?;
    let rest = head[at + name.len()..].trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')))
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected
    )
}
