//! Whole messages and what they mean: how many there are, where each ends, whether one says what was meant.

use super::reader::{Ending, Found, Message, Reader, is_token};

/// What a response answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// The client spoke 1.0.
    pub(crate) http10: bool,
}

/// How a stream of bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It did not: more may come.
    Open,
    /// In order.
    Closed,
    /// With a reset: what came before may be a part.
    Reset,
}

/// A final response and the interim ones before it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) interims: Vec<Message>,
    pub(crate) message: Message,
}

/// Reads requests that follow each other: all of them whole, and no byte left over.
pub(crate) fn requests(bytes: &[u8]) -> Result<Vec<Message>, String> {
    let (messages, rest) = whole_requests(bytes)?;
    match rest {
        0 => Ok(messages),
        rest => Err(format!(
            "{rest} bytes, and no whole request, behind {} requests",
            messages.len()
        )),
    }
}

/// Reads exactly one request.
pub(crate) fn one_request(bytes: &[u8]) -> Result<Message, String> {
    let mut messages = requests(bytes)?;
    match (messages.pop(), messages.len()) {
        (Some(message), 0) => Ok(message),
        (_, others) => Err(format!("not one request: {others} more")),
    }
}

/// Reads requests as far as they are whole, and says how many bytes of one that is not whole are left.
pub(crate) fn whole_requests(bytes: &[u8]) -> Result<(Vec<Message>, usize), String> {
    let mut reader = Reader::new();
    reader.push(bytes);
    let (mut messages, mut end) = (Vec::new(), 0);
    loop {
        match reader.advance()? {
            Found::Nothing => return Ok((messages, bytes.len() - end)),
            Found::Head => {
                let ending = request_ending(&reader.message)?;
                reader.expect(ending);
            }
            Found::End => {
                messages.push(reader.take());
                end = bytes.len() - reader.rest().len();
            }
        }
    }
}

/// How a request's body ends, from its head; `Err` for a head that not every strict parser reads in one way.
pub(crate) fn request_ending(message: &Message) -> Result<Ending, String> {
    request_line(message)?;
    if message.one("host")?.is_none() {
        return Err("no Host".to_owned());
    }
    Ok(message.framing()?.unwrap_or(Ending::Length(0)))
}

/// Method and target of a request.
pub(crate) fn request_line(message: &Message) -> Result<(&str, &str), String> {
    let mut parts = message.start.split(' ');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(method), Some(target), Some("HTTP/1.1"), None)
            if is_token(method)
                && !target.is_empty()
                && target.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok((method, target))
        }
        _ => Err(format!("request line {:?}", message.start)),
    }
}

/// How a response's body ends, from its head and what was asked (RFC 9112 §6.3).
pub(crate) fn response_ending(message: &Message, asked: Asked<'_>) -> Result<Ending, String> {
    let status = message.status()?;
    let framing = message.framing()?;
    if asked.http10 && (framing == Some(Ending::Chunked) || status < 200) {
        return Err(format!("{status} with {framing:?} to an HTTP/1.0 client"));
    }
    if (status < 200 || status == 204) && framing.is_some() {
        return Err(format!("{status} with {framing:?}"));
    }
    if asked.method == "HEAD" || status < 200 || status == 204 || status == 304 {
        return Ok(Ending::Length(0));
    }
    Ok(framing.unwrap_or(Ending::Close))
}

/// Reads the responses to these requests, in their order: each whole, and no byte left over. What follows a 101 belongs
/// to another protocol and is the body of that response.
pub(crate) fn responses(
    bytes: &[u8],
    asked: &[Asked<'_>],
    end: End,
) -> Result<Vec<Answer>, String> {
    let mut reader = Reader::new();
    reader.push(bytes);
    let mut answers: Vec<Answer> = Vec::new();
    let mut interims = Vec::new();
    while answers.len() < asked.len() {
        match reader.advance()? {
            Found::Nothing => break,
            Found::Head => {
                let ending = response_ending(&reader.message, asked[answers.len()])?;
                let switched = reader.message.status()? == 101;
                reader.expect(if switched { Ending::Close } else { ending });
            }
            Found::End => {
                let message = reader.take();
                if message.status()? < 200 {
                    interims.push(message);
                } else {
                    let interims = std::mem::take(&mut interims);
                    answers.push(Answer { interims, message });
                }
            }
        }
    }
    if reader.ends_with_connection() && end == End::Closed {
        let message = reader.take();
        answers.push(Answer { interims, message });
    } else if reader.is_within() || !reader.rest().is_empty() || !interims.is_empty() {
        return Err(format!(
            "{} whole responses, and then something that is none; {end:?}",
            answers.len()
        ));
    }
    Ok(answers)
}

/// Reads exactly the response to one request.
pub(crate) fn one_response(bytes: &[u8], asked: Asked<'_>, end: End) -> Result<Answer, String> {
    let mut answers = responses(bytes, &[asked], end)?;
    answers.pop().ok_or_else(|| "no response".to_owned())
}

/// Reads a final response that was cut short: its head, and as much of its body as is there. `Err` if it is whole.
pub(crate) fn part_of_response(
    bytes: &[u8],
    asked: Asked<'_>,
    end: End,
) -> Result<Message, String> {
    if let Ok(answer) = one_response(bytes, asked, end) {
        return Err(format!("a whole response: {:?}", answer.message));
    }
    let mut reader = Reader::new();
    reader.push(bytes);
    loop {
        match reader.advance()? {
            Found::Nothing => return Ok(reader.message),
            Found::Head => {
                let ending = response_ending(&reader.message, asked)?;
                reader.expect(ending);
            }
            Found::End if reader.message.status()? < 200 => drop(reader.take()),
            Found::End => return Err(format!("a whole response: {:?}", reader.message)),
        }
    }
}

/// What a message is meant to say. Names of fields are in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meant {
    /// Method, target and host of a request.
    pub(crate) request: Option<(String, String, String)>,
    /// The status of a response.
    pub(crate) status: Option<u16>,
    /// What its framing field says; `None` when it has none.
    pub(crate) framing: Option<Ending>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Fields that are there, in this order if they share a name.
    pub(crate) has: Vec<(String, String)>,
    /// Names of fields that are not there.
    pub(crate) lacks: Vec<String>,
}

impl Meant {
    /// Whether a message says this, all of it.
    pub(crate) fn check(&self, message: &Message) -> Result<(), String> {
        self.check_head(message)?;
        if message.body != self.body {
            return Err(format!(
                "the body is {:?} instead of {:?}",
                message.body.escape_ascii().to_string(),
                self.body.escape_ascii().to_string()
            ));
        }
        same("trailers", &message.trailers, &self.trailers)
    }

    /// Whether a message's head says this.
    pub(crate) fn check_head(&self, message: &Message) -> Result<(), String> {
        if let Some((method, target, host)) = &self.request {
            let found = request_line(message)?;
            same("request", &found, &(method.as_str(), target.as_str()))?;
            same("host", &message.one("host")?, &Some(host.as_str()))?;
        }
        if let Some(status) = self.status {
            same("status", &message.status()?, &status)?;
        }
        same("framing", &message.framing()?, &self.framing)?;
        for (name, value) in &self.has {
            let values: Vec<&str> = message.all(name).collect();
            if !values.contains(&value.as_str()) {
                return Err(format!("{name} is {values:?}, without {value:?}"));
            }
        }
        for name in &self.lacks {
            same(name, &message.all(name).next(), &None)?;
        }
        Ok(())
    }
}

fn same<T: std::fmt::Debug + PartialEq>(what: &str, found: &T, meant: &T) -> Result<(), String> {
    if found == meant {
        Ok(())
    } else {
        Err(format!("{what}: {found:?} instead of {meant:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Asked<'static> = Asked {
        method: "GET",
        http10: false,
    };

    #[test]
    fn one_request_is_one_and_nothing_more() {
        let one = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        assert!(one_request(one).is_ok());
        for bytes in [
            &b""[..],
            &one[..one.len() - 1],
            &[&one[..], b"x"].concat(),
            &[&one[..], one].concat(),
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.0\r\nHost: h\r\n\r\n",
            b"GET /\xe9 HTTP/1.1\r\nHost: h\r\n\r\n",
            b"G(T / HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nX: \x7f\r\n\r\n",
        ] {
            assert!(one_request(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_part_of_a_response_is_never_a_whole() {
        let until_close = b"HTTP/1.1 200 OK\r\n\r\nhel";
        assert!(one_response(until_close, GET, End::Closed).is_ok());
        assert!(one_response(until_close, GET, End::Reset).is_err());
        let part = part_of_response(until_close, GET, End::Reset).expect("a part");
        assert_eq!(part.body, b"hel");
        let short = b"HTTP/1.1 103 \r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
        assert!(one_response(short, GET, End::Closed).is_err());
        assert!(part_of_response(short, GET, End::Closed).is_ok());
        let more = b"HTTP/1.1 204 \r\n\r\nx";
        assert!(one_response(more, GET, End::Closed).is_err());
    }

    #[test]
    fn what_is_not_as_meant_is_told() {
        let message = one_request(b"PUT /a HTTP/1.1\r\nHost: h\r\nX: \xe9\r\n\r\n").expect("one");
        let request = |target: &str| Some(("PUT".to_owned(), target.to_owned(), "h".to_owned()));
        let meant = Meant {
            request: request("/a"),
            has: vec![("x".to_owned(), "\u{e9}".to_owned())],
            ..Meant::default()
        };
        assert_eq!(meant.check(&message), Ok(()));
        for other in [
            Meant {
                request: request("/b"),
                ..meant.clone()
            },
            Meant {
                framing: Some(Ending::Length(0)),
                ..meant.clone()
            },
            Meant {
                body: b"x".to_vec(),
                ..meant.clone()
            },
            Meant {
                lacks: vec!["x".to_owned()],
                ..meant.clone()
            },
        ] {
            assert!(other.check(&message).is_err(), "{other:?}");
        }
    }
}
