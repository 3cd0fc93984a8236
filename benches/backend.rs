//! A backend for the benchmarks: one thread, no allocation per request, as little of HTTP as they need.
//!
//! `backend ADDR...` listens on each address and prints where. `GET /b/N` is answered with N bytes, `/c/N` with N bytes in
//! chunks of 8 KiB, anything else with 1 KiB; bodies of requests are thrown away, `Upgrade` gets a 101 and an echo of the
//! bytes behind it. With no address (as under `cargo bench`) it ends at once.

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
            upgrade: None,
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
    /// The answer to a request for an upgrade.
    upgrade: Option<String>,
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
                if memchr::memmem::find(&self.head, b"\r\nupgrade:").is_some() {
                    self.upgrade = Some(switching(&self.head, &rest[..end + 4]));
                }
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
        if let Some(switching) = self.upgrade.take() {
            self.output.extend_from_slice(switching.as_bytes());
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

/// The answer to a request for an upgrade; `lower` is its head in lower case. A WebSocket's key is answered as RFC 6455
/// §4.2.2 has it, for a proxy may look.
fn switching(lower: &[u8], head: &[u8]) -> String {
    let name = b"\r\nsec-websocket-key:";
    let Some(at) = memchr::memmem::find(lower, name) else {
        return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
            .into();
    };
    let rest = head[at + name.len()..].trim_ascii_start();
    let key = rest.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let digest = sha1(&[key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        base64(&digest)
    )
}

/// RFC 3174.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((message.len() + 9).next_multiple_of(64) - 8, 0);
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    let mut sum: [u32; 5] = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    for block in padded.chunks_exact(64) {
        let mut words = [0; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes(bytes.try_into().expect("four bytes"));
        }
        for nth in 16..80 {
            let mixed = words[nth - 3] ^ words[nth - 8] ^ words[nth - 14] ^ words[nth - 16];
            words[nth] = mixed.rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = sum;
        for (nth, word) in words.into_iter().enumerate() {
            let (mixed, constant) = match nth {
                0..20 => (b & c | !b & d, 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = [mixed, e, constant, word]
                .into_iter()
                .fold(a.rotate_left(5), u32::wrapping_add);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (sum, word) in sum.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(word);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(sum) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let value = (0..3).fold(0, |sum, nth| {
            sum << 8 | usize::from(group.get(nth).copied().unwrap_or(0))
        });
        for nth in 0..4 {
            text.push(if nth <= group.len() {
                char::from(DIGITS[value >> (18 - 6 * nth) & 63])
            } else {
                '='
            });
        }
    }
    text
}
