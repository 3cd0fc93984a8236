//! Whether a response is the one that the client is to get.

use super::exchange::{Coding, Exchange};
use super::ledger::Outcome;
use crate::strict::meaning::{Asked, response_ending};
use crate::strict::reader::{Ending, Message};

/// A final response, as it was read.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) message: Message,
    /// The end of the connection was its end.
    pub(crate) by_close: bool,
}

/// What follows from a response.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// The connection ends after it.
    pub(crate) closes: bool,
}

/// How a response's body ends, from its head (RFC 9112 §6.3).
pub(crate) fn judge_head(message: &Message, exchange: &Exchange) -> Result<Ending, String> {
    let asked = Asked {
        method: exchange.method,
        http10: exchange.http10,
    };
    response_ending(message, asked)
}

/// Compares a final response with the planned one; `Err` when it is neither that nor the proxy's own.
pub(crate) fn judge(
    answered: &Answered,
    interims: &[u16],
    exchange: &Exchange,
) -> Result<Verdict, String> {
    let Answered { message, by_close } = answered;
    let status = message.status()?;
    if *by_close && !exchange.http10 {
        return Err(format!("only the close tells where it ends: {message:?}"));
    }
    let persists = if exchange.http10 {
        message.lists("connection", "keep-alive")
    } else {
        exchange.keep
    };
    let closes = *by_close || message.lists("connection", "close") || !persists;
    if message
        .all("x-hop")
        .chain(message.all("x-back"))
        .next()
        .is_some()
        || message.lists("connection", "x-back")
    {
        return Err(format!("a hop-by-hop field was passed on: {message:?}"));
    }
    let Some(mark) = message.one("x-mark")? else {
        let outcome = Outcome::Own(status, own_reason(message)?);
        return Ok(Verdict { outcome, closes });
    };
    if mark != exchange.id.to_string() {
        return Err(format!("it is the answer to request {mark}"));
    }
    let answer = &exchange.answer;
    if status != answer.status {
        return Err(format!(
            "its status is {status} instead of {}",
            answer.status
        ));
    }
    let expected = exchange.answer_body();
    if message.body != expected {
        return Err(format!(
            "its body of {} bytes is not the one of {} bytes",
            message.body.len(),
            expected.len()
        ));
    }
    let planned = exchange.interims();
    if interims != planned {
        return Err(format!(
            "interim responses {interims:?} instead of {planned:?}"
        ));
    }
    let trailer_allowed = exchange.trailers && answer.coding == Coding::Chunked;
    if message
        .trailers
        .iter()
        .any(|trailer| !trailer_allowed || *trailer != ("x-trail".to_owned(), mark.to_owned()))
    {
        return Err(format!("trailers {:?}", message.trailers));
    }
    Ok(Verdict {
        outcome: Outcome::Served,
        closes,
    })
}

/// The reason word in a reply of the proxy's own; empty when there is no body to tell it.
fn own_reason(message: &Message) -> Result<String, String> {
    if message.one("content-length")?.is_none() || message.one("date")?.is_none() {
        return Err(format!(
            "a reply of our own without length or date: {message:?}"
        ));
    }
    let text = String::from_utf8_lossy(&message.body);
    let words = text
        .split_once(": ")
        .and_then(|(_, words)| words.split_whitespace().next());
    Ok(words.unwrap_or_default().to_owned())
}
