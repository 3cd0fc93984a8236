//! A backend for the benchmarks: one thread, no allocation per request, as little of HTTP as they need.
//!
//! `backend ADDR...` listens on each address and prints where. `GET /b/N` is answered with N bytes, `/c/N` with N bytes in
//! chunks of 8 KiB, anything else with 1 KiB; bodies of requests are thrown away, `Upgrade` gets a 101 and an echo. With
//! no address (as under `cargo bench`) it ends at once.

use std::io::{self, ErrorKind, Read as _, Write as _};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

/// A response up to this is put together whole; of a larger one the body is written from `FILL`.
const SMALL_MAX: usize = 256 * 1024;
/// What bodies are made of.
static FILL: [u8; 256 * 1024] = [b'x'; 256 * 1024];
/// The bytes of one chunk.
const CHUNK_BYTES: usize = 8 * 1024;

fn main() -> io::Result<()> {
    let addrs: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    if addrs.is_empty() {
        return Ok(());
    }
    let mut poll = Poll::new()?;
    let mut listeners = Vec::new();
    for (nth, addr) in addrs.iter().enumerate() {
        let addr = addr
            .parse()
            .map_err(|_| io::Error::other(format!("{addr:?}: expected IP:PORT")))?;
        let mut listener = TcpListener::bind(addr)?;
        poll.registry()
            .register(&mut listener, Token(nth), Interest::READABLE)?;
        println!("{}", listener.local_addr()?);
        listeners.push(listener);
    }
    let mut links: Slab<Link> = Slab::new();
    let mut events = Events::with_capacity(1024);
    let mut room = vec![0; 256 * 1024];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            let token = event.token().0;
            let Some(key) = token.checked_sub(listeners.len()) else {
                accept(&listeners[token], listeners.len(), &poll, &mut links)?;
                continue;
            };
            let over = links
                .get_mut(key)
                .is_some_and(|link| link.run(&mut room).is_err());
            if over {
                links.remove(key);
            }
        }
    }
}

/// Takes whoever waits.
fn accept(
    listener: &TcpListener,
    listeners: usize,
    poll: &Poll,
    links: &mut Slab<Link>,
) -> io::Result<()> {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nodelay(true)?;
        let entry = links.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut stream, Token(entry.key() + listeners), both)?;
        entry.insert(Link {
            stream,
            input: Vec::new(),
            head: Vec::new(),
            body_in: BodyIn::None,
            output: Vec::new(),
            written: 0,
            fill_left: 0,
            echoes: false,
            closes: false,
        });
    }
    Ok(())
}

/// What is left of a request's body.
enum BodyIn {
    None,
    Length(usize),
    /// Until the last chunk: good enough for bodies without `0\r\n\r\n` in their data.
    Chunked,
}

/// One connection.
struct Link {
    stream: TcpStream,
    /// Bytes of requests that are not answered yet.
    input: Vec<u8>,
    /// The head of the request whose body comes in, in lower case.
    head: Vec<u8>,
    body_in: BodyIn,
    /// Bytes to be written, so many of which are.
    output: Vec<u8>,
    written: usize,
    /// Bytes of a large body that follow `output`.
    fill_left: usize,
    /// After a 101.
    echoes: bool,
    closes: bool,
}

impl Link {
    /// Does all that can be done now; an error is the end.
    fn run(&mut self, room: &mut [u8]) -> io::Result<()> {
        loop {
            self.flush()?;
            if self.is_behind() {
                return Ok(());
            }
            if self.closes {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            if !self.input.is_empty() {
                // What came behind the request for a large body.
                self.take(&[]);
                self.flush()?;
            }
            match self.stream.read(room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.take(&room[..count]);
                    self.flush()?;
                    // A short read has drained the socket: whatever comes later is told by another event.
                    if count < room.len() {
                        return if self.closes && !self.is_behind() {
                            Err(ErrorKind::ConnectionAborted.into())
                        } else {
                            Ok(())
                        };
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn is_behind(&self) -> bool {
        self.written < self.output.len() || self.fill_left > 0
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.echoes {
            self.output.extend_from_slice(bytes);
            return;
        }
        self.input.extend_from_slice(bytes);
        let mut at = 0;
        while self.fill_left == 0 {
            if self.head.is_empty() {
                let rest = &self.input[at..];
                let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") else {
                    break;
                };
                self.head.extend_from_slice(&rest[..end + 4]);
                self.head.make_ascii_lowercase();
                at += end + 4;
                self.expect_body();
            }
            // The answer comes behind the whole request.
            if !self.skip_body(&mut at) {
                break;
            }
            let mut head = std::mem::take(&mut self.head);
            self.answer(&head);
            head.clear();
            self.head = head;
        }
        self.input.drain(..at);
    }

    /// Throws away what there is of a request's body; whether that was all of it.
    fn skip_body(&mut self, at: &mut usize) -> bool {
        let rest = &self.input[*at..];
        match self.body_in {
            BodyIn::None => true,
            BodyIn::Length(left) => {
                let count = left.min(rest.len());
                *at += count;
                self.body_in = match left - count {
                    0 => BodyIn::None,
                    left => BodyIn::Length(left),
                };
                left == count
            }
            BodyIn::Chunked => {
                let Some(end) = memchr::memmem::find(rest, b"0\r\n\r\n") else {
                    *at += rest.len().saturating_sub(4);
                    return false;
                };
                *at += end + 5;
                self.body_in = BodyIn::None;
                true
            }
        }
    }

    fn expect_body(&mut self) {
        if let Some(length) = value(&self.head, b"content-length:") {
            self.body_in = BodyIn::Length(length);
        } else if memchr::memmem::find(&self.head, b"transfer-encoding: chunked").is_some() {
            self.body_in = BodyIn::Chunked;
        }
    }

    /// Answers a request, its head in lower case.
    fn answer(&mut self, head: &[u8]) {
        if memchr::memmem::find(head, b"\r\nupgrade:").is_some() {
            self.output.extend_from_slice(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
            );
            self.echoes = true;
            return;
        }
        self.closes = memchr::memmem::find(head, b"connection: close").is_some();
        let chunked = memchr::memmem::find(head, b" /c/");
        let size = value(head, b" /b/").or_else(|| value(head, b" /c/"));
        let size = size.unwrap_or(1024);
        self.output
            .extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n");
        if self.closes {
            self.output.extend_from_slice(b"Connection: close\r\n");
        }
        if chunked.is_some() {
            self.answer_chunked(size);
            return;
        }
        let length = format!("Content-Length: {size}\r\n\r\n");
        self.output.extend_from_slice(length.as_bytes());
        if size <= SMALL_MAX {
            self.output.extend_from_slice(&FILL[..size]);
        } else {
            self.fill_left = size;
        }
    }

    fn answer_chunked(&mut self, mut size: usize) {
        self.output
            .extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        while size > 0 {
            let count = size.min(CHUNK_BYTES);
            self.output
                .extend_from_slice(format!("{count:x}\r\n").as_bytes());
            self.output.extend_from_slice(&FILL[..count]);
            self.output.extend_from_slice(b"\r\n");
            size -= count;
        }
        self.output.extend_from_slice(b"0\r\n\r\n");
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.is_behind() {
            let waiting = &self.output[self.written..];
            let bytes = if waiting.is_empty() {
                &FILL[..self.fill_left.min(FILL.len())]
            } else {
                waiting
            };
            match self.stream.write(bytes) {
                Ok(count) if waiting.is_empty() => self.fill_left -= count,
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }
}

/// The number behind `name`.
fn value(head: &[u8], name: &[u8]) -> Option<usize> {
    let at = memchr::memmem::find(head, name)? + name.len();
    let rest = head[at..].trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}
