//! A strict reader of HTTP/1.1 messages that shares no code with the proxy.
//!
//! It reads what the proxy wrote, on both sides, and takes nothing but the plainest form: CRLF line ends, one framing
//! field, sizes without extensions, no blank where none is needed. What it refuses, a stricter peer might misread.
//!
//! Heads are bytes. Here they are text all the same, each byte the character of its number (see [`text`]), so that no
//! byte is lost and none has two readings.

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// After so many bytes, maybe none.
    Length(usize),
    Chunked,
    Close,
}

/// A message as far as it was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// The request line or the status line.
    pub(crate) start: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Message {
    /// The values of a field, by its name in lower case.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields
            .iter()
            .filter(move |field| field.0 == name)
            .map(|field| field.1.as_str())
    }

    /// The value of a field that may stand there once.
    pub(crate) fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, String> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() {
            return Err(format!("{name} stands there twice"));
        }
        Ok(first)
    }

    /// Whether a field that is a list has this element.
    pub(crate) fn lists(&self, name: &str, element: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(element))
    }

    /// How the fields say that the body ends; `None` when they say nothing.
    pub(crate) fn framing(&self) -> Result<Option<Ending>, String> {
        let length = self.one("content-length")?;
        let coding = self.one("transfer-encoding")?;
        match (length, coding) {
            (None, None) => Ok(None),
            (None, Some("chunked")) => Ok(Some(Ending::Chunked)),
            (Some(digits), None)
                if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                let length = digits
                    .parse()
                    .map_err(|_| format!("Content-Length {digits}"))?;
                Ok(Some(Ending::Length(length)))
            }
            _ => Err(format!(
                "framing in doubt: length {length:?}, coding {coding:?}"
            )),
        }
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> Result<u16, String> {
        let rest = self
            .start
            .strip_prefix("HTTP/1.1 ")
            .ok_or_else(|| format!("status line {:?}", self.start))?;
        let (digits, after) = rest.split_at_checked(3).ok_or("no status")?;
        if !after.starts_with(' ') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("status line {:?}", self.start));
        }
        digits
            .parse()
            .map_err(|_| "a status of three digits".to_owned())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    /// The head was told; how the body ends was not said yet.
    Judged,
    Length(usize),
    ChunkSize,
    ChunkData(usize),
    ChunkEnd,
    Trailers,
    Close,
}

/// What reading on has brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// More bytes are needed.
    Nothing,
    /// A head; [`Reader::expect`] must say how its body ends.
    Head,
    /// The end of a message; [`Reader::take`] gives it.
    End,
}

/// Reads one message after the other from bytes as they come.
#[derive(Debug)]
pub(crate) struct Reader {
    bytes: Vec<u8>,
    stage: Stage,
    pub(crate) message: Message,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            stage: Stage::Head,
            message: Message::default(),
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What was pushed and not read.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Whether a head was read whose message has not ended.
    pub(crate) fn is_within(&self) -> bool {
        self.stage != Stage::Head
    }

    /// Whether the message ends with the connection.
    pub(crate) fn ends_with_connection(&self) -> bool {
        self.stage == Stage::Close
    }

    pub(crate) fn expect(&mut self, ending: Ending) {
        assert_eq!(self.stage, Stage::Judged, "a head was found");
        self.stage = match ending {
            Ending::Length(left) => Stage::Length(left),
            Ending::Chunked => Stage::ChunkSize,
            Ending::Close => Stage::Close,
        };
    }

    /// Takes the message and begins anew behind it.
    pub(crate) fn take(&mut self) -> Message {
        self.stage = Stage::Head;
        std::mem::take(&mut self.message)
    }

    /// Reads on.
    pub(crate) fn advance(&mut self) -> Result<Found, String> {
        loop {
            match self.stage {
                Stage::Judged => return Err("nobody said how the body ends".to_owned()),
                Stage::Head => return self.head(),
                Stage::Length(0) => return Ok(Found::End),
                Stage::ChunkData(0) => self.stage = Stage::ChunkEnd,
                Stage::Length(_) | Stage::ChunkData(_) if self.bytes.is_empty() => {
                    return Ok(Found::Nothing);
                }
                Stage::Length(left) => self.stage = Stage::Length(left - self.body(left)),
                Stage::ChunkData(left) => self.stage = Stage::ChunkData(left - self.body(left)),
                Stage::Close => {
                    self.message.body.append(&mut self.bytes);
                    return Ok(Found::Nothing);
                }
                Stage::ChunkSize => {
                    let Some(line) = self.line()? else {
                        return Ok(Found::Nothing);
                    };
                    self.stage = match chunk_size(&line)? {
                        0 => Stage::Trailers,
                        size => Stage::ChunkData(size),
                    };
                }
                Stage::ChunkEnd => match self.line()? {
                    None => return Ok(Found::Nothing),
                    Some(line) if line.is_empty() => self.stage = Stage::ChunkSize,
                    Some(line) => return Err(format!("{line:?} behind a chunk")),
                },
                Stage::Trailers => match self.line()? {
                    None => return Ok(Found::Nothing),
                    Some(line) if line.is_empty() => {
                        self.stage = Stage::Length(0);
                    }
                    Some(line) => self.message.trailers.push(trailer(&line)?),
                },
            }
        }
    }

    /// Takes body bytes, at most `left`, and says how many.
    fn body(&mut self, left: usize) -> usize {
        let count = left.min(self.bytes.len());
        self.message.body.extend(self.bytes.drain(..count));
        count
    }

    fn head(&mut self) -> Result<Found, String> {
        let Some(end) = self
            .bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
        else {
            return if self.bytes.len() > 64 * 1024 {
                Err("a head without end".to_owned())
            } else {
                Ok(Found::Nothing)
            };
        };
        let head: Vec<u8> = self.bytes.drain(..end + 4).collect();
        let head = text(&head[..end]);
        let mut lines = head.split("\r\n");
        self.message = Message {
            start: plain(lines.next().unwrap_or_default())?.to_owned(),
            ..Message::default()
        };
        for line in lines {
            self.message.fields.push(field(line)?);
        }
        self.stage = Stage::Judged;
        Ok(Found::Head)
    }

    /// The next line; `None` when its end has not come.
    fn line(&mut self) -> Result<Option<String>, String> {
        let Some(end) = self.bytes.windows(2).position(|window| window == b"\r\n") else {
            return if self.bytes.len() > 8192 {
                Err("a line without end".to_owned())
            } else {
                Ok(None)
            };
        };
        let line: Vec<u8> = self.bytes.drain(..end + 2).take(end).collect();
        let line = text(&line);
        plain(&line)?;
        Ok(Some(line))
    }
}

/// Bytes as text: the character of each byte has its number.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Whether all bytes of a token may stand in one (RFC 9110 §5.6.2), and there are some.
pub(crate) fn is_token(text: &str) -> bool {
    let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(in_token)
}

/// Refuses what no line may hold: controls other than HTAB.
fn plain(line: &str) -> Result<&str, String> {
    if line
        .chars()
        .all(|c| c == '\t' || (' '..='~').contains(&c) || c >= '\u{80}')
    {
        Ok(line)
    } else {
        Err(format!("controls in {line:?}"))
    }
}

fn chunk_size(line: &str) -> Result<usize, String> {
    if line.is_empty() || line.len() > 15 || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("chunk size {line:?}"));
    }
    usize::from_str_radix(line, 16).map_err(|_| format!("chunk size {line:?}"))
}

/// A field of a head, its name in lower case: as we write them, with one blank behind the colon and none else around.
fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = name_and_value(line)?;
    let value = value.strip_prefix(' ').unwrap_or(value);
    if value.trim_matches(BLANKS) != value {
        return Err(format!("field {line:?}"));
    }
    Ok((name, value.to_owned()))
}

/// A trailer, its name in lower case. Those go on as they came, with blanks around the value if there were any.
fn trailer(line: &str) -> Result<(String, String), String> {
    let (name, value) = name_and_value(line)?;
    Ok((name, value.trim_matches(BLANKS).to_owned()))
}

/// What may stand around a value.
const BLANKS: [char; 2] = [' ', '\t'];

fn name_and_value(line: &str) -> Result<(String, &str), String> {
    let colon = plain(line)?.split_once(':');
    let (name, value) = colon.ok_or_else(|| format!("field {line:?}"))?;
    if is_token(name) {
        Ok((name.to_ascii_lowercase(), value))
    } else {
        Err(format!("field {line:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Found, Reader};

    /// Reads messages split at every byte; a head without framing has no body.
    fn check(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut reader = Reader::new();
        let mut messages = Vec::new();
        for &byte in bytes {
            reader.push(&[byte]);
            loop {
                match reader.advance()? {
                    Found::Nothing => break,
                    Found::Head => {
                        let ending = reader.message.framing()?.unwrap_or(Ending::Length(0));
                        reader.expect(ending);
                    }
                    Found::End => {
                        let message = reader.take();
                        messages.push((message.start, message.body));
                    }
                }
            }
        }
        if reader.is_within() || !reader.rest().is_empty() {
            Err("cut short".to_owned())
        } else {
            Ok(messages)
        }
    }

    #[test]
    fn messages_follow_each_other() {
        let bytes = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi\
            PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX-T:a: 1\t\r\n\r\n";
        let found = check(bytes).expect("three messages");
        let bodies: Vec<&[u8]> = found.iter().map(|message| message.1.as_slice()).collect();
        assert_eq!(bodies, [&b""[..], b"hi", b"abc"]);
    }

    #[test]
    fn whatever_could_be_misread_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"[..],
            b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\nx",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            b"GET / HTTP/1.1\r\n folded: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: a \r\n\r\n",
            b"GET / HTTP/1.1\r\nA:  a\r\n\r\n",
            b"GET / HTTP/1.1\r\nA B: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc",
        ] {
            assert!(
                check(bytes).is_err(),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}
