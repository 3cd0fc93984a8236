//! The response, from the upstream to the client: its head, the interim ones before it, and its body.

use crate::balance::{Balance, Pick};
use crate::config::Sticky;
use crate::http::Response;
use crate::http::body::Body;
use crate::http::forward::{self, Asked};
use crate::net::conn::Look;
use crate::net::stream::{Net, Stream};

use super::connect::Serving;
use super::exchange::{Cut, Exchange};
use super::failure::Failure;
use super::pump::{Stop, pass_on, pump};
use super::session::Session;
use super::shared::Shared;

/// Interim responses passed on in one exchange at most.
pub const INTERIM_MAX: u8 = 16;

/// How far the response has gone.
#[derive(Debug)]
pub(super) enum Download {
    /// Its head is waited for, also while interim responses pass.
    Head,
    /// Its head is out; its body follows.
    Body { response: Response, body: Body },
    /// It has come in whole.
    Done(Response),
    /// It was a 101.
    Switched,
}

impl Download {
    /// A final response whose head is out, and what is left of its body.
    fn new(response: Response, body: Body) -> Self {
        match response.status {
            101 => Self::Switched,
            _ if body.is_done() => Self::Done(response),
            _ => Self::Body { response, body },
        }
    }
}

impl<S: Stream> Session<S> {
    /// The response's head, and the interim ones before it, from the upstream to the client.
    pub(super) fn response_head<N: Net<Stream = S>>(
        &mut self,
        exchange: &mut Exchange<S>,
        cx: &mut Shared<N>,
    ) -> Result<(), Failure> {
        loop {
            self.client
                .flush(&mut cx.buffers)
                .map_err(|_| Failure::ClientGone)?;
            if self.client.is_blocked() {
                return Ok(());
            }
            if cx.budget == 0 {
                cx.spent = true;
                return Ok(());
            }
            let sent = exchange.is_sent();
            let close = self.must_close(cx) || !sent;
            let mut input = match exchange.upstream.look(&mut cx.scratch[..cx.read_bytes_max]) {
                Ok(Look::Bytes(input)) => input,
                Ok(Look::Blocked) => return Ok(()),
                Ok(Look::Ended) | Err(_) => return Err(exchange.upstream_gone()),
            };
            exchange.answered = true;
            let request = &exchange.attempt.request;
            let serving = &exchange.attempt.serving;
            let set_cookie = match self.pool.as_ref().and_then(|pool| pool.sticky.as_ref()) {
                Some(sticky) => stick(sticky, serving, exchange.attempt.pick, &cx.balance),
                None => None,
            };
            let asked = Asked {
                request,
                close,
                date: cx.date.text(cx.now.wall),
                edits: serving.route.as_ref().map(|route| &route.response_fields),
                set_cookie: set_cookie.as_deref(),
            };
            let (out, buffers) = (self.client.compose(), &mut cx.buffers);
            let before = out.len();
            let reserve = |out: &mut Vec<u8>, bytes| buffers.reserve(out, bytes);
            match forward::response(input.bytes(), &asked, out, reserve) {
                Err(reject) => return Err(Failure::BadResponseHead(reject)),
                Ok(None) => input.keep(0, true, &mut cx.buffers),
                Ok(Some((len, response))) if response.is_interim() => {
                    input.keep(len, false, &mut cx.buffers);
                    cx.budget = cx.budget.saturating_sub(len);
                    exchange.interims += 1;
                    if exchange.interims > INTERIM_MAX {
                        self.client.compose().truncate(before);
                        return Err(Failure::TooManyInterim);
                    }
                }
                Ok(Some((len, mut response))) => {
                    // A response that came before the request was out leaves a doubt what the upstream reads next.
                    response.keep_upstream &= sent;
                    let mut body = Body::response(&response, request);
                    // Whoever has asked for more already gets one response with the next, if that comes at once.
                    if sent && response.keep_client && self.client.has_input() {
                        self.client.hold_back();
                    } else {
                        self.client.hold_nothing_back();
                    }
                    let (bytes, stop) =
                        pass_on(input, len, &mut body, &mut self.client, &mut cx.buffers);
                    exchange.download = Download::new(response, body);
                    if !matches!(exchange.download, Download::Done(_)) {
                        self.client.hold_nothing_back();
                    }
                    exchange.upstream.release(&mut cx.buffers);
                    if exchange.attempt.pick.trial {
                        // It may be long until the response is whole: that it began is enough to be live again.
                        cx.praise(exchange.attempt.pick);
                    }
                    cx.budget = cx.budget.saturating_sub(len + bytes);
                    return response_stop(stop);
                }
            }
        }
    }

    /// The response's body, from the upstream to the client.
    pub(super) fn response_body<N: Net<Stream = S>>(
        &mut self,
        exchange: &mut Exchange<S>,
        cx: &mut Shared<N>,
    ) -> Result<(), Failure> {
        let Exchange {
            upstream,
            download,
            cut,
            ..
        } = exchange;
        let Download::Body { response, body } = download else {
            return Ok(());
        };
        let (_, stop) = pump(upstream, &mut self.client, body, cx);
        // When sending met the reset first, reading meets a plain end: that is not the end of a body.
        let ended = stop == Stop::SourceEnded && body.may_end() && *cut != Some(Cut::Upstream);
        if stop == Stop::Done || ended {
            if ended
                && self
                    .client
                    .send(body.last_chunk(), &mut cx.buffers)
                    .is_err()
            {
                return Err(Failure::ClientGone);
            }
            *download = Download::Done(*response);
            return Ok(());
        }
        response_stop(Some(stop))
    }
}

/// The cookie that keeps a client at its backend, unless it has brought it.
fn stick(sticky: &Sticky, serving: &Serving, pick: Pick, balance: &Balance) -> Option<Vec<u8>> {
    let token = balance.token(pick.id)?;
    (serving.asker.token != Some(token)).then(|| {
        let (name, digits) = (sticky.cookie.as_bytes(), token.digits());
        [name, b"=", &digits, b"; Path=/; HttpOnly; SameSite=Lax"].concat()
    })
}

/// What it means for the response that its pump stopped so.
fn response_stop(stop: Option<Stop>) -> Result<(), Failure> {
    match stop {
        None | Some(Stop::Done | Stop::SourceBlocked | Stop::SinkBlocked | Stop::Spent) => Ok(()),
        Some(Stop::SourceEnded | Stop::SourceBroke) => Err(Failure::ResponseTruncated),
        Some(Stop::SinkBroke) => Err(Failure::ClientGone),
        Some(Stop::Rejected(reject)) => Err(Failure::BadResponseBody(reject)),
    }
}
