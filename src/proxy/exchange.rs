//! One request and its response: two flows and their joint state.
//!
//! The *upload* takes the request's body from the client to the upstream, the *download* the response from the upstream
//! to the client. They are independent; what follows from both stands in one `match` ([`Session::join`]). What moves the
//! bytes of either is in `pump.rs`.

use std::net::SocketAddr;

use crate::balance::Load;
use crate::http::body::Body;
use crate::http::{Framing, Method, Request, Response};
use crate::net::conn::Conn;
use crate::net::stream::{Net, Owner, Stream};

use super::connect::Attempt;
use super::download::Download;
use super::failure::{Blame, Failure, Retry};
use super::pace::Pace;
use super::progress::Moved;
use super::pump::{Stop, pump};
use super::session::{Phase, Session, Step};
use super::shared::Shared;
use super::timers::Timer;
use super::tunnel::Tunnel;

/// One request and its response.
#[derive(Debug)]
pub(super) struct Exchange<S> {
    pub(super) upstream: Conn<S>,
    pub(super) attempt: Attempt,
    pub(super) download: Download,
    /// Why no more of the request goes on, although it did not go out whole.
    pub(super) cut: Option<Cut>,
    /// Whether any byte of the request's body has come.
    body_begun: bool,
    pub(super) interims: u8,
    /// Whether any byte of a response has come.
    pub(super) answered: bool,
    pub(super) pace: Pace,
}

/// An upstream that is kept, in the storage of the exchange that is over. The next one is begun there.
#[derive(Debug)]
pub(super) struct Kept<S>(Box<Exchange<S>>);

/// How much of the request has come in.
#[derive(Debug)]
pub(super) enum Upload {
    /// Its body comes in.
    Flowing(Body),
    /// It has come in whole.
    Done,
}

/// Who ended a request in its midst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The upstream broke while it was sent to; its response may still be there to be read.
    Upstream,
    /// The client shut its sending side when it saw the response begin.
    Client,
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
            cut: None,
            body_begun: false,
            interims: 0,
            answered: false,
            pace: Pace::default(),
        }
    }
}

impl<S: Stream> Kept<S> {
    /// Where it goes to.
    pub(super) fn addr(&self) -> Option<SocketAddr> {
        self.0.attempt.addr
    }

    pub(super) fn upstream(&self) -> &Conn<S> {
        &self.0.upstream
    }

    pub(super) fn upstream_mut(&mut self) -> &mut Conn<S> {
        &mut self.0.upstream
    }

    /// The next request: nothing of the last one stays but the connection.
    pub(super) fn begin(self, next: Attempt) -> Box<Exchange<S>> {
        let Self(mut exchange) = self;
        let Exchange {
            upstream: _,
            attempt,
            download,
            cut,
            body_begun,
            interims,
            answered,
            pace,
        } = &mut *exchange;
        let addr = attempt.addr;
        *attempt = next;
        attempt.addr = addr;
        *download = Download::Head;
        *cut = None;
        (*body_begun, *interims, *answered) = (false, 0, false);
        *pace = Pace::default();
        exchange
    }
}

impl<S: Stream> Exchange<S> {
    /// What the exchange waits for. Whose turn it is decides who is to blame when nothing comes.
    fn awaits(&self, client: &Conn<S>) -> Timer {
        let has_head = !matches!(self.download, Download::Head);
        match self.attempt.upload {
            _ if client.is_blocked() => Timer::ClientWrite,
            _ if self.cut.is_none() && self.upstream.is_blocked() => Timer::UpstreamWrite,
            Upload::Flowing(_) if self.cut.is_none() => {
                let held_back =
                    self.attempt.request.expects_continue && self.interims == 0 && !self.body_begun;
                if held_back && !has_head {
                    Timer::Continue
                } else {
                    Timer::RequestBody
                }
            }
            Upload::Flowing(_) | Upload::Done if has_head => Timer::ResponseBody,
            Upload::Flowing(_) | Upload::Done => Timer::Response,
        }
    }

    /// Whether the request has come in and gone out whole.
    pub(super) fn is_sent(&self) -> bool {
        self.cut.is_none() && self.attempt.upload.is_done() && !self.upstream.is_blocked()
    }

    /// Whether the request may be sent once more on a fresh connection: if it does no harm twice, or never arrived.
    fn may_repeat(&self) -> bool {
        let idempotent = matches!(
            self.attempt.request.method,
            Method::Head | Method::Idempotent
        );
        let harmless = idempotent || self.upstream.taken() == 0;
        harmless && !self.attempt.repeated && !self.answered && self.upstream.is_replayable()
    }

    /// The upstream is about to close before the exchange is over. A backend that was asked to switch to another protocol may
    /// have done so, or do so yet: an end in order would be the client's to it.
    fn forsake(&mut self) {
        if self.attempt.request.upgrade {
            self.upstream.reset_on_close();
        }
    }

    /// Closes the upstream; what was asked of it may go elsewhere.
    pub(super) fn give_up(mut self) -> (Attempt, Vec<u8>) {
        let mut head = self.upstream.unload();
        self.attempt.take_preface(&mut head);
        (self.attempt, head)
    }

    /// What it means that the upstream is gone before the response head was complete.
    pub(super) fn upstream_gone(&self) -> Failure {
        match self.attempt.upload {
            _ if self.attempt.reused && !self.answered => Failure::ReusedUpstreamClosed,
            Upload::Flowing(_) => Failure::UpstreamClosedDuringRequest,
            Upload::Done => Failure::UpstreamClosed,
        }
    }
}

impl<S: Stream> Session<S> {
    /// [`Phase::Exchange`]: bytes flow both ways.
    pub(super) fn exchange<N: Net<Stream = S>>(
        &mut self,
        mut exchange: Box<Exchange<S>>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        let (up, down) = (exchange.upstream.taken(), self.client.taken());
        match self.flow(&mut exchange, cx) {
            Ok(()) => {
                let moved = Moved {
                    up: exchange.upstream.taken() - up,
                    down: self.client.taken() - down,
                };
                self.join(exchange, moved, cx)
            }
            Err(failure) => self.exchange_failed(exchange, failure, cx),
        }
    }

    /// Both flows, as far as they go.
    fn flow<N: Net<Stream = S>>(
        &mut self,
        exchange: &mut Exchange<S>,
        cx: &mut Shared<N>,
    ) -> Result<(), Failure> {
        self.client.check().map_err(|_| Failure::ClientGone)?;
        cx.spent = false;
        // Each direction has its half of the turn, so that none starves the other.
        let half = cx.budget / 2;
        cx.budget -= half;
        self.upload(exchange, cx)?;
        cx.budget += half;
        if matches!(exchange.download, Download::Head) {
            self.response_head(exchange, cx)?;
        }
        if matches!(exchange.download, Download::Body { .. }) {
            self.response_body(exchange, cx)?;
        }
        self.client
            .flush(&mut cx.buffers)
            .map_err(|_| Failure::ClientGone)?;
        // Before a response the request may still go elsewhere, or the client's connection go on behind it.
        let has_head = !matches!(exchange.download, Download::Head);
        if has_head && exchange.cut == Some(Cut::Upstream) && self.client.is_blocked() {
            self.discard_upload(cx)?;
        }
        Ok(())
    }

    /// The request, from the client to the upstream.
    fn upload<N: Net<Stream = S>>(
        &mut self,
        exchange: &mut Exchange<S>,
        cx: &mut Shared<N>,
    ) -> Result<(), Failure> {
        if exchange.cut.is_some() {
            return Ok(());
        }
        let Exchange {
            upstream,
            attempt,
            cut,
            ..
        } = exchange;
        let Upload::Flowing(body) = &mut attempt.upload else {
            if upstream.flush(&mut cx.buffers).is_err() {
                *cut = Some(Cut::Upstream);
            }
            return Ok(());
        };
        let (moved, stop) = pump(&mut self.client, upstream, body, cx);
        exchange.body_begun |= moved > 0;
        if body.is_done() {
            attempt.upload = Upload::Done;
        }
        match stop {
            Stop::SinkBroke => *cut = Some(Cut::Upstream),
            Stop::SourceEnded if !matches!(exchange.download, Download::Head) => {
                *cut = Some(Cut::Client)
            }
            Stop::SourceEnded | Stop::SourceBroke => return Err(Failure::ClientGone),
            Stop::Rejected(reject) => return Err(Failure::Rejected(reject)),
            Stop::Done | Stop::SourceBlocked | Stop::SinkBlocked | Stop::Spent => {}
        }
        Ok(())
    }

    /// Throws away what the client still sends for a backend that is gone, so that one that reads nothing before it has sent
    /// all gets to the response that came early.
    fn discard_upload<N: Net>(&mut self, cx: &mut Shared<N>) -> Result<(), Failure> {
        while cx.budget > 0 {
            match self.client.discard(&mut cx.scratch, &mut cx.buffers) {
                Ok(Some(count)) if count > 0 => cx.budget = cx.budget.saturating_sub(count),
                Ok(_) => return Ok(()),
                Err(_) => return Err(Failure::ClientGone),
            }
        }
        cx.spent = true;
        Ok(())
    }

    /// What follows from both flows.
    fn join<N: Net<Stream = S>>(
        &mut self,
        mut exchange: Box<Exchange<S>>,
        moved: Moved,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        match (&exchange.download, exchange.is_sent()) {
            _ if self.client.is_blocked() => {}
            (Download::Switched, _) => {
                cx.praise(exchange.attempt.pick);
                self.wait_for(Timer::Tunnel, true, cx);
                let tunnel = Tunnel::new(exchange.upstream, exchange.attempt.load);
                return Step::Moved(Phase::Tunnel(Box::new(tunnel)));
            }
            (&Download::Done(response), true) => return self.finish(exchange, response, cx),
            // The response is out and the request never came in whole: both connections end here.
            (Download::Done(_), false) => {
                cx.praise(exchange.attempt.pick);
                return self.start_linger(cx);
            }
            (Download::Head | Download::Body { .. }, _) => {}
        }
        let timer = exchange.awaits(&self.client);
        let moved = moved.for_the_sake_of(timer);
        self.watch_pace(&mut exchange.pace, timer, moved, cx);
        self.wait_for(timer, moved > 0, cx);
        if cx.spent {
            Step::Spent(Phase::Exchange(exchange))
        } else {
            Step::Stuck(Phase::Exchange(exchange))
        }
    }

    /// Request and response went through whole.
    fn finish<N: Net<Stream = S>>(
        &mut self,
        mut exchange: Box<Exchange<S>>,
        response: Response,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        self.note("done");
        cx.praise(exchange.attempt.pick);
        exchange.upstream.release(&mut cx.buffers);
        let (backend, keep_alive) = (
            exchange.attempt.pick.id,
            exchange.attempt.request.keep_alive,
        );
        if response.keep_upstream
            && !cx.draining
            && !exchange.upstream.has_spoken()
            && let Some(pool) = self.pool.as_ref().filter(|pool| pool.send_proxy.is_none())
            && let Some(addr) = exchange.attempt.addr
            && cx.balance.is_at(backend, addr)
        {
            exchange.attempt.load = Load::default();
            cx.net
                .assign(exchange.upstream.stream(), Owner::Idle(cx.idle.key_next()));
            cx.idle.put(Kept(exchange), backend, pool, cx.now.instant);
        }
        if response.keep_client {
            return self.await_request(cx);
        }
        // A client that asked for the close has promised to send nothing more that could reset our last bytes away
        // (RFC 9112 §9.6); to wait for it all the same would cost each such connection two system calls.
        let asked_for = !keep_alive && !self.client.may_have_input();
        if asked_for {
            Step::Moved(Phase::Closed)
        } else {
            self.start_linger(cx)
        }
    }

    /// The exchange cannot go on: once more, or our reply, or, where a response has begun, the end.
    pub(super) fn exchange_failed<N: Net<Stream = S>>(
        &mut self,
        mut exchange: Box<Exchange<S>>,
        failure: Failure,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        let consequence = cx.meet(failure);
        let to_blame = match consequence.blame {
            Blame::Never => false,
            Blame::IfAsked => exchange.attempt.upload.is_done(),
            Blame::Always => true,
        };
        if to_blame {
            cx.blame(exchange.attempt.pick, consequence.reason);
        }
        if !matches!(exchange.download, Download::Head) {
            self.note(consequence.reason);
            let resets = self.abort(&mut exchange);
            if resets || failure == Failure::ClientGone {
                return Step::Moved(Phase::Closed);
            }
            // What the client sends meanwhile would make of the close a reset, which takes back what had not reached it of
            // earlier responses.
            let sent = self.client.flush(&mut cx.buffers);
            return if sent.is_err() || self.client.is_blocked() {
                Step::Moved(Phase::Closed)
            } else {
                self.start_linger(cx)
            };
        }
        exchange.forsake();
        let may_repeat = consequence.retry == Retry::Again && exchange.may_repeat();
        let (mut attempt, head) = exchange.give_up();
        if may_repeat && attempt.begin_again(cx) {
            self.note("again");
            return self.reach(attempt, head, cx);
        }
        self.answer(consequence, &attempt.request, &attempt.upload, head, cx)
    }

    /// The client's connection is about to close before the response has gone out whole: sees to it that nobody takes what
    /// there is of it for the whole. A length or a last chunk that is missing tells; where the close is the end, as it is
    /// for 1.0, only a reset can. Says whether there is one.
    pub(super) fn abort(&mut self, exchange: &mut Exchange<S>) -> bool {
        exchange.forsake();
        let version = exchange.attempt.request.version;
        let close_ends = match &exchange.download {
            Download::Head => false,
            Download::Switched => true,
            Download::Body { response, .. } | Download::Done(response) => {
                response.framing.for_client(version) == Framing::UntilClose
            }
        };
        if close_ends {
            self.client.reset_on_close();
        }
        close_ends
    }
}
