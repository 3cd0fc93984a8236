//! One request and its response: two flows and their joint state.
//!
//! The *upload* takes the request's body from the client to the upstream, the *download* the response from the upstream
//! to the client. They are independent; what follows from both stands in one `match` ([`Session::join`]). What moves the
//! bytes of either is in `pump.rs`.

use std::time::Duration;

use crate::http::body::Body;
use crate::http::forward::{self, Asked};
use crate::http::{Framing, Method, Request, Response, Version};
use crate::net::conn::{Conn, Look};
use crate::net::stream::{Net, Owner, Stream};

use super::connect::Attempt;
use super::failure::{Failure, Retry};
use super::pump::{Stop, pass_on, pump};
use super::session::{Phase, Session, Step};
use super::shared::Shared;
use super::timers::Timer;
use super::tunnel::Tunnel;

/// Interim responses passed on in one exchange at most.
pub const INTERIM_MAX: u8 = 16;
/// How long a client's rate is watched before it is judged.
pub const RATE_WINDOW: Duration = Duration::from_secs(30);

/// One request and its response.
#[derive(Debug)]
pub(super) struct Exchange<S> {
    pub(super) upstream: Conn<S>,
    attempt: Attempt,
    download: Download,
    interims: u8,
    /// Whether any byte of a response has come.
    answered: bool,
    /// Whether the upstream broke while it was sent to; its response may still be there to be read.
    deaf: bool,
    /// Bytes that went on since the client's rate was judged last.
    rate_bytes: u64,
}

/// How far the request has gone.
#[derive(Debug)]
pub(super) enum Upload {
    /// Its body comes in.
    Flowing(Body),
    /// It has come in whole.
    Done,
}

/// How far the response has gone.
#[derive(Debug)]
enum Download {
    /// Its head is waited for, also while interim responses pass.
    Head,
    /// Its head is out; its body follows.
    Body { response: Response, body: Body },
    /// It has come in whole.
    Done(Response),
    /// It was a 101.
    Switched,
}

impl Upload {
    /// Nothing of the request's body has come in yet.
    pub(super) fn new(request: &Request) -> Self {
        let body = Body::request(request);
        if body.is_done() {
            Self::Done
        } else {
            Self::Flowing(body)
        }
    }

    /// Whether the request has come in whole.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

impl<S> Exchange<S> {
    /// A request whose head waits in the upstream's outbox.
    pub(super) fn new(upstream: Conn<S>, attempt: Attempt) -> Self {
        Self {
            upstream,
            attempt,
            download: Download::Head,
            interims: 0,
            answered: false,
            deaf: false,
            rate_bytes: 0,
        }
    }
}

impl<S: Stream> Exchange<S> {
    /// What the exchange waits for. The client's own slowness is told from the backend's.
    fn awaits(&self, client: &Conn<S>) -> Timer {
        match (&self.download, &self.attempt.upload) {
            _ if client.is_blocked() => Timer::ClientWrite,
            (Download::Body { .. } | Download::Done(_) | Download::Switched, _) => {
                Timer::ResponseBody
            }
            (Download::Head, _) if self.deaf => Timer::Response,
            (Download::Head, _) if self.upstream.is_blocked() => Timer::UpstreamWrite,
            (Download::Head, Upload::Flowing(_)) => Timer::RequestBody,
            (Download::Head, Upload::Done) => Timer::Response,
        }
    }

    /// Whether the request has come in and gone out whole.
    fn is_sent(&self) -> bool {
        self.attempt.upload.is_done() && !self.upstream.is_blocked()
    }

    /// Whether the request may be sent once more on a fresh connection.
    fn may_repeat(&self) -> bool {
        let idempotent = matches!(
            self.attempt.request.method,
            Method::Head | Method::Idempotent
        );
        idempotent && self.attempt.reused && !self.answered && self.upstream.is_replayable()
    }

    /// What it means that the upstream is gone before the response head was complete.
    fn upstream_gone(&self) -> Failure {
        let stale = self.attempt.reused && !self.answered;
        if stale {
            Failure::ReusedUpstreamClosed
        } else {
            Failure::UpstreamClosed
        }
    }
}

impl<S: Stream> Session<S> {
    /// [`Phase::Exchange`]: bytes flow both ways.
    pub(super) fn exchange<N: Net<Stream = S>>(
        &mut self,
        mut exchange: Exchange<S>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        match self.flow(&mut exchange, cx) {
            Ok(moved) => self.join(exchange, moved, cx),
            Err(failure) => self.exchange_failed(exchange, failure, cx),
        }
    }

    /// Both flows, as far as they go; says how many bytes went on.
    fn flow<N: Net<Stream = S>>(
        &mut self,
        exchange: &mut Exchange<S>,
        cx: &mut Shared<N>,
    ) -> Result<usize, Failure> {
        self.client.check().map_err(|_| Failure::ClientGone)?;
        let up = self.upload(exchange, cx)?;
        let mut down = 0;
        if matches!(exchange.download, Download::Head) {
            down += self.response_head(exchange, cx)?;
        }
        if matches!(exchange.download, Download::Body { .. }) {
            down += self.response_body(exchange, cx)?;
        }
        self.client
            .flush(&mut cx.buffers)
            .map_err(|_| Failure::ClientGone)?;
        Ok(up + down)
    }

    /// The request, from the client to the upstream.
    fn upload<N: Net>(
        &mut self,
        exchange: &mut Exchange<S>,
        cx: &mut Shared<N>,
    ) -> Result<usize, Failure> {
        let Exchange {
            upstream,
            attempt,
            deaf,
            ..
        } = exchange;
        if *deaf {
            return Ok(0);
        }
        let Upload::Flowing(body) = &mut attempt.upload else {
            *deaf = upstream.flush(&mut cx.buffers).is_err();
            return Ok(0);
        };
        let (moved, stop) = pump(&mut self.client, upstream, body, cx);
        if body.is_done() {
            attempt.upload = Upload::Done;
        }
        match stop {
            Stop::SinkBroke => *deaf = true,
            Stop::SourceEnded | Stop::SourceBroke => return Err(Failure::ClientGone),
            Stop::Rejected(reject) => return Err(Failure::Rejected(reject)),
            Stop::Done | Stop::SourceBlocked | Stop::SinkBlocked | Stop::Spent => {}
        }
        Ok(moved)
    }

    /// The response's head, and the interim ones before it, from the upstream to the client.
    fn response_head<N: Net<Stream = S>>(
        &mut self,
        exchange: &mut Exchange<S>,
        cx: &mut Shared<N>,
    ) -> Result<usize, Failure> {
        let mut moved = 0;
        loop {
            self.client
                .flush(&mut cx.buffers)
                .map_err(|_| Failure::ClientGone)?;
            if self.client.is_blocked() || cx.budget == 0 {
                return Ok(moved);
            }
            let sent = exchange.is_sent();
            let mut input = match exchange.upstream.look(&mut cx.scratch[..cx.read_bytes_max]) {
                Ok(Look::Bytes(input)) => input,
                Ok(Look::Blocked) => return Ok(moved),
                Ok(Look::Ended) | Err(_) => return Err(exchange.upstream_gone()),
            };
            exchange.answered = true;
            let request = &exchange.attempt.request;
            let close = cx.draining || !sent;
            let asked = Asked {
                request,
                close,
                date: cx.date.text(cx.now.wall),
            };
            match forward::response(input.bytes(), &asked, self.client.compose(&mut cx.buffers)) {
                Err(reject) => return Err(Failure::BadResponseHead(reject)),
                Ok(None) => input.keep(0, true, &mut cx.buffers),
                Ok(Some((len, response))) if response.is_interim() => {
                    input.keep(len, false, &mut cx.buffers);
                    moved += len;
                    cx.budget = cx.budget.saturating_sub(len);
                    exchange.interims += 1;
                    if exchange.interims > INTERIM_MAX {
                        return Err(Failure::TooManyInterim);
                    }
                }
                Ok(Some((len, response))) => {
                    let mut body = Body::response(&response, request);
                    let passed = pass_on(input, len, &mut body, &mut self.client, &mut cx.buffers);
                    exchange.download = Download::new(response, body);
                    exchange.upstream.release(&mut cx.buffers);
                    cx.praise(exchange.attempt.pick);
                    let (bytes, stop) = passed;
                    cx.budget = cx.budget.saturating_sub(len + bytes);
                    return response_stop(stop).map(|()| moved + len + bytes);
                }
            }
        }
    }

    /// The response's body, from the upstream to the client.
    fn response_body<N: Net>(
        &mut self,
        exchange: &mut Exchange<S>,
        cx: &mut Shared<N>,
    ) -> Result<usize, Failure> {
        let Download::Body { response, body } = &mut exchange.download else {
            return Ok(0);
        };
        let (moved, stop) = pump(&mut exchange.upstream, &mut self.client, body, cx);
        if stop == Stop::Done || (stop == Stop::SourceEnded && body.may_end()) {
            exchange.download = Download::Done(*response);
            return Ok(moved);
        }
        response_stop(Some(stop)).map(|()| moved)
    }

    /// What follows from both flows.
    fn join<N: Net<Stream = S>>(
        &mut self,
        mut exchange: Exchange<S>,
        moved: usize,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        match (&exchange.download, exchange.is_sent()) {
            _ if self.client.is_blocked() => {}
            (Download::Switched, _) => {
                self.rate_check = None;
                self.wait_for(Timer::Tunnel, true, cx);
                return Step::Moved(Phase::Tunnel(Tunnel::new(exchange.upstream)));
            }
            (&Download::Done(response), true) => return self.finish(exchange, &response, cx),
            // The response is out and the request never came in whole: both connections end here.
            (Download::Done(_), false) => return self.start_linger(cx),
            (Download::Head | Download::Body { .. }, _) => {}
        }
        let timer = exchange.awaits(&self.client);
        self.watch_rate(&mut exchange, timer, moved, cx);
        self.wait_for(timer, moved > 0, cx);
        if cx.budget == 0 {
            Step::Spent(Phase::Exchange(exchange))
        } else {
            Step::Stuck(Phase::Exchange(exchange))
        }
    }

    /// Request and response went through whole.
    fn finish<N: Net<Stream = S>>(
        &mut self,
        mut exchange: Exchange<S>,
        response: &Response,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        self.note("done");
        exchange.upstream.release(&mut cx.buffers);
        if response.keep_upstream && !cx.draining && exchange.upstream.is_silent() {
            cx.net
                .assign(exchange.upstream.stream(), Owner::Idle(cx.idle.key_next()));
            cx.idle
                .put(exchange.upstream, exchange.attempt.pick.id, cx.now.instant);
        }
        if response.keep_client {
            return self.await_request(cx);
        }
        // A client that asked for the close sends nothing more that could reset our last bytes away.
        let asked_for = !exchange.attempt.request.keep_alive && !self.client.may_have_input();
        if asked_for {
            Step::Moved(Phase::Closed)
        } else {
            self.start_linger(cx)
        }
    }

    /// The exchange cannot go on: once more, or our reply, or, where a response has begun, the end.
    pub(super) fn exchange_failed<N: Net<Stream = S>>(
        &mut self,
        mut exchange: Exchange<S>,
        failure: Failure,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        let consequence = failure.consequence();
        if consequence.blames {
            cx.blame(exchange.attempt.pick, consequence.reason);
        }
        if !matches!(exchange.download, Download::Head) {
            self.note(consequence.reason);
            self.abort(&exchange);
            return Step::Moved(Phase::Closed);
        }
        let may_repeat = consequence.retry == Retry::Fresh && exchange.may_repeat();
        let head = exchange.upstream.unload();
        let Exchange {
            upstream,
            mut attempt,
            ..
        } = exchange;
        drop(upstream);
        if may_repeat {
            attempt.begin_again();
            self.note("again");
            return self.reach(attempt, head, cx);
        }
        self.answer(failure, &attempt.request, &attempt.upload, head, cx)
    }

    /// The client's connection is about to close before the response has gone out whole: sees to it that nobody takes what
    /// there is of it for the whole. A length or a last chunk that is missing tells; where the close is the end, a reset.
    pub(super) fn abort(&mut self, exchange: &Exchange<S>) {
        let framing = match &exchange.download {
            Download::Head => return,
            Download::Switched => Framing::UntilClose,
            Download::Body { response, .. } | Download::Done(response) => response.framing,
        };
        let version = exchange.attempt.request.version;
        if framing == Framing::UntilClose
            || (framing, version) == (Framing::Chunked, Version::Http10)
        {
            self.client.reset_on_close();
        }
    }

    /// Counts what went on while it is the client that is waited for.
    fn watch_rate<N: Net>(
        &mut self,
        exchange: &mut Exchange<S>,
        timer: Timer,
        moved: usize,
        cx: &Shared<N>,
    ) {
        let watched = timer.slow_failure().is_some() && cx.limits.body_rate_min > 0;
        if !watched {
            self.rate_check = None;
        } else if self.rate_check.is_none() || self.timer() != timer {
            self.rate_check = Some(cx.now.instant + RATE_WINDOW);
            exchange.rate_bytes = 0;
        } else {
            exchange.rate_bytes += moved as u64;
        }
    }

    /// The client's rate was watched long enough. One that sent nothing at all is left to the body's own timer.
    pub(super) fn judge_rate<N: Net<Stream = S>>(
        &mut self,
        mut exchange: Exchange<S>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        let least = cx
            .limits
            .body_rate_min
            .saturating_mul(RATE_WINDOW.as_secs());
        match self.timer().slow_failure() {
            Some(failure) if (1..least).contains(&exchange.rate_bytes) => {
                self.exchange_failed(exchange, failure, cx)
            }
            _ => {
                exchange.rate_bytes = 0;
                self.rate_check = Some(cx.now.instant + RATE_WINDOW);
                Step::Stuck(Phase::Exchange(exchange))
            }
        }
    }
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

/// What it means for the response that its pump stopped so.
fn response_stop(stop: Option<Stop>) -> Result<(), Failure> {
    match stop {
        None | Some(Stop::Done | Stop::SourceBlocked | Stop::SinkBlocked | Stop::Spent) => Ok(()),
        Some(Stop::SourceEnded | Stop::SourceBroke) => Err(Failure::ResponseTruncated),
        Some(Stop::SinkBroke) => Err(Failure::ClientGone),
        Some(Stop::Rejected(reject)) => Err(Failure::BadResponseBody(reject)),
    }
}
