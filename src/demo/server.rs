//! One connection to a demo backend: requests in, replies out, until either side has had enough.
//!
//! It believes what it is sent, for only the proxy is meant to talk to it; what it cannot read closes the connection.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{Backends, NAMES, Outcome};

/// Longest head read, in bytes: what the proxy lets through, and what it adds, with room to spare.
const HEAD_BYTES_MAX: u64 = 64 * 1024;
/// Longest line read within a chunked body, in bytes.
const CHUNK_LINE_BYTES_MAX: u64 = 4 * 1024;
/// How long a connection may say nothing, or take nothing.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest that an answer can be asked to take.
const SLOW_MAX: Duration = Duration::from_secs(60);

/// A connection's place in its backend, given up when dropped.
pub(super) struct Seat {
    pub(super) backends: Arc<Backends>,
    pub(super) at: usize,
    pub(super) id: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.backends.leave(self.at, self.id);
    }
}

impl Seat {
    /// Serves the connection until it ends. What goes wrong with it ends it; there is nobody else to tell.
    pub(super) fn serve(&self, stream: &TcpStream) {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.set_write_timeout(Some(PATIENCE));
        let mut input = BufReader::new(stream);
        while input.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
            self.backends.begin(self.at, self.id);
            let Ok(may_go_on) = self.exchange(&mut input, stream) else {
                break;
            };
            if !self.backends.finish(self.at, self.id) || !may_go_on {
                break;
            }
        }
    }

    /// One request and its reply; whether another may follow.
    fn exchange(&self, input: &mut impl BufRead, mut output: &TcpStream) -> io::Result<bool> {
        let request = Request::read(input, output)?;
        let reply = self.answer(&request);
        let closes = request.closes || !self.backends.is_up(self.at);
        let mut message = format!(
            "HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{}{}\r\n",
            reply.status,
            reply.text.len(),
            if reply.allows_post {
                "Allow: POST\r\n"
            } else {
                ""
            },
            if closes { "Connection: close\r\n" } else { "" },
        );
        if request.method != "HEAD" {
            message.push_str(&reply.text);
        }
        output.write_all(message.as_bytes())?;
        Ok(!closes)
    }

    fn answer(&self, request: &Request) -> Reply {
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments[..] {
            ["demo", "status"] => Reply::new("200 OK", self.backends.status()),
            ["demo", "stop" | "start", _] if request.method != "POST" => Reply {
                allows_post: true,
                ..Reply::new(
                    "405 Method Not Allowed",
                    "this takes a POST: curl -X POST …\n",
                )
            },
            ["demo", verb @ ("stop" | "start"), name] => self.command(verb == "stop", name),
            ["slow"] => match query.strip_prefix("ms=").and_then(|ms| ms.parse().ok()) {
                Some(ms) if Duration::from_millis(ms) <= SLOW_MAX => {
                    thread::sleep(Duration::from_millis(ms));
                    self.hello(request)
                }
                Some(_) | None => {
                    Reply::new("400 Bad Request", "expected /slow?ms=500, at most 60000\n")
                }
            },
            _ => self.hello(request),
        }
    }

    fn hello(&self, request: &Request) -> Reply {
        let name = NAMES[self.at];
        let mut text = format!("hello from {name}\n\n{}", request.head);
        if let Some(bytes) = request.body_bytes {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\nbody: {bytes} bytes");
        }
        Reply::new("200 OK", text)
    }

    fn command(&self, stop: bool, name: &str) -> Reply {
        let Some(at) = NAMES.iter().position(|&known| known == name) else {
            let text = format!("no backend has this name; there are {}\n", NAMES.join(", "));
            return Reply::new("404 Not Found", text);
        };
        let outcome = if stop {
            self.backends.stop(at)
        } else {
            self.backends.restart(at)
        };
        let state = if stop { "down" } else { "up" };
        match outcome {
            Outcome::Done => Reply::new("200 OK", format!("{name} is {state}\n")),
            Outcome::Already => Reply::new("200 OK", format!("{name} is {state} already\n")),
            Outcome::Last => {
                let text = format!(
                    "{name} is the last one up and stays up, or nobody could bring any back\n"
                );
                Reply::new("409 Conflict", text)
            }
            Outcome::Failed(kind) => Reply::new(
                "503 Service Unavailable",
                format!("{name} cannot have its port back: {kind}\n"),
            ),
        }
    }
}

struct Reply {
    status: &'static str,
    text: String,
    /// Whether the reply is that only POST is allowed here.
    allows_post: bool,
}

impl Reply {
    fn new(status: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            allows_post: false,
        }
    }
}

#[derive(Debug)]
struct Request {
    method: String,
    target: String,
    /// The head as it came, without its empty line.
    head: String,
    /// How long the body was, if there was one.
    body_bytes: Option<u64>,
    /// Whether the connection closes after the reply.
    closes: bool,
}

impl Request {
    /// Reads a whole request, its body too. `output` is told to go on where the client asks for that first.
    fn read(input: &mut impl BufRead, mut output: impl Write) -> io::Result<Self> {
        let mut head = String::new();
        let mut lines = input.by_ref().take(HEAD_BYTES_MAX);
        loop {
            let line = line(&mut lines)?;
            if line.is_empty() {
                break;
            }
            head.push_str(&line);
            head.push('\n');
        }
        let mut words = head.lines().next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version)) =
            (words.next(), words.next(), words.next())
        else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let (method, target) = (method.to_owned(), target.to_owned());
        let closes = version != "HTTP/1.1"
            || field(&head, "connection").is_some_and(|v| v.contains("close"));
        let chunked = field(&head, "transfer-encoding").is_some();
        let length = match field(&head, "content-length") {
            Some(value) => Some(value.parse().map_err(|_| io::ErrorKind::InvalidData)?),
            None => None,
        };
        if (chunked || length.is_some()) && field(&head, "expect").is_some() {
            output.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body_bytes = match length {
            _ if chunked => Some(skip_chunks(input)?),
            Some(bytes) => Some(skip(input, bytes)?),
            None => None,
        };
        Ok(Self {
            method,
            target,
            head,
            body_bytes,
            closes,
        })
    }
}

/// The value of the first field of this name, in lower case.
fn field(head: &str, name: &str) -> Option<String> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut values = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    values
        .next()
        .map(|(_, value)| value.trim().to_ascii_lowercase())
}

/// Reads a line, and takes its end off. Bytes that are not UTF-8 are shown as such.
fn line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.pop_if(|last| *last == b'\r');
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn skip(input: &mut impl BufRead, bytes: u64) -> io::Result<u64> {
    match io::copy(&mut input.by_ref().take(bytes), &mut io::sink())? {
        skipped if skipped == bytes => Ok(bytes),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn skip_chunks(input: &mut impl BufRead) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let size = line(&mut input.by_ref().take(CHUNK_LINE_BYTES_MAX))?;
        let digits = size.split(';').next().unwrap_or_default().trim();
        let bytes = u64::from_str_radix(digits, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        total += skip(input, bytes)?;
        if bytes == 0 {
            break;
        }
        line(&mut input.by_ref().take(CHUNK_LINE_BYTES_MAX))?;
    }
    while !line(&mut input.by_ref().take(CHUNK_LINE_BYTES_MAX))?.is_empty() {}
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sent: &str, body_bytes: Option<u64>, left: &str) {
        let mut input = sent.as_bytes();
        let request = Request::read(&mut input, io::sink()).unwrap();
        assert_eq!(
            (request.target.as_str(), request.body_bytes),
            ("/x", body_bytes)
        );
        assert_eq!(input, left.as_bytes());
    }

    #[test]
    fn requests_are_read_to_their_end_and_no_further() {
        check("GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET", None, "GET");
        check(
            "POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET",
            Some(5),
            "GET",
        );
        check(
            "POST /x HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\nGET",
            Some(15),
            "GET",
        );
    }

    #[test]
    fn what_cannot_be_read_ends_the_connection() {
        let endless = "x".repeat(100_000);
        for sent in [
            "",
            "GET\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\n",
            "POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell",
            "POST /x HTTP/1.1\r\nContent-Length: five\r\n\r\n",
            "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            &endless,
        ] {
            assert!(
                Request::read(&mut sent.as_bytes(), io::sink()).is_err(),
                "{sent}"
            );
        }
    }
}
