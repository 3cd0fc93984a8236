//! A request's way to a backend: an idle upstream, or a connection attempt, or the next backend after one that failed.
//!
//! Nothing of the request has reached anyone before [`Phase::Connect`] is left, so a try that fails is repeated elsewhere
//! whatever the method (RFC 9110 §9.2.2 does not come into it).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use log::{Level, debug, log_enabled};

use crate::balance::{Asker, BackendId, Load, Pick, PoolId};
use crate::config::{ProxyVersion, Route};
use crate::http::Request;
use crate::net::conn::Conn;
use crate::net::proxy_header;
use crate::net::stream::{Net, Owner, Stream, is_exhausted};

use super::choose::Choice;
use super::exchange::{Exchange, Kept, Upload};
use super::failure::{Consequence, Failure, Retry};
use super::session::{Phase, Session, Step};
use super::shared::Shared;
use super::timers::Timer;

/// A connection attempt: an exchange that begins once its upstream is connected.
#[derive(Debug)]
pub(super) struct Connect<S>(Box<Exchange<S>>);

impl<S: Stream> Connect<S> {
    pub(super) fn upstream(&self) -> &Conn<S> {
        &self.0.upstream
    }

    pub(super) fn upstream_mut(&mut self) -> &mut Conn<S> {
        &mut self.0.upstream
    }
}

/// A request on its way to some backend, over all its tries.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) request: Request,
    /// How much of the request has come in.
    pub(super) upload: Upload,
    /// Whom it is for.
    pub(super) serving: Serving,
    /// The backend of this try.
    pub(super) pick: Pick,
    /// Counts it as running at that backend, as long as it is.
    pub(super) load: Load,
    /// Which of the backend's addresses its upstream goes to; `None` while it has no upstream.
    pub(super) addr: Option<SocketAddr>,
    /// Those that could not be reached in this try.
    addrs_failed: Vec<SocketAddr>,
    /// Whether the upstream of this try was used before.
    pub(super) reused: bool,
    /// Whether an earlier try may have reached a backend.
    pub(super) repeated: bool,
    /// Bytes of the PROXY header that stands before the head.
    preface_bytes: usize,
    /// When it is given up, if it was held.
    pub(super) held_until: Option<Instant>,
    /// The backends that could not be reached, or must not get it again.
    tried: Vec<BackendId>,
    /// How often it may be tried again.
    retries: u8,
}

/// Whom a request is for: chosen once, by its route.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) pool: PoolId,
    /// What the pool's policy must know of it.
    pub(super) asker: Asker,
    /// Its route, where that changes something in the response.
    pub(super) route: Option<Arc<Route>>,
}

impl<S: Stream> Session<S> {
    /// A request is complete as far as its head, and this was chosen for it.
    pub(super) fn serve<N: Net<Stream = S>>(
        &mut self,
        choice: Choice,
        request: Request,
        head: Vec<u8>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        let Choice::Pool { route, pool, asker } = choice else {
            return self.answer_by_route(choice, &request, head, cx);
        };
        let (route, pool) = (cx.routes.get(route), &cx.pools[pool]);
        let serving = Serving {
            pool: pool.id,
            asker,
            route: (!route.response_fields.is_empty()).then(|| Arc::clone(route)),
        };
        if !self
            .pool
            .as_ref()
            .is_some_and(|same| Arc::ptr_eq(same, &pool.pool))
        {
            self.pool = Some(Arc::clone(&pool.pool));
        }
        self.dispatch(request, serving, head, cx)
    }

    /// Finds a backend of its pool for a request.
    pub(super) fn dispatch<N: Net<Stream = S>>(
        &mut self,
        request: Request,
        serving: Serving,
        head: Vec<u8>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        let picked = cx
            .balance
            .pick(serving.pool, cx.now.instant, &[], &serving.asker);
        let retries = self.pool.as_ref().map_or(0, |pool| pool.retries);
        let mut attempt = Attempt::new(request, serving, retries);
        let Some(pick) = picked else {
            let consequence = cx.meet(Failure::NoBackend);
            return self.hold_or_answer(consequence, attempt, head, cx);
        };
        attempt.turn_to(pick, cx);
        self.set_out(attempt, head, cx)
    }

    /// A backend was picked: an idle upstream to it, or a new one.
    pub(super) fn set_out<N: Net<Stream = S>>(
        &mut self,
        attempt: Attempt,
        head: Vec<u8>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        let pick = attempt.pick;
        if log_enabled!(Level::Debug) {
            let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
            debug!(
                "s{} {} \"{}\" -> {}",
                self.number,
                self.addr,
                line.escape_ascii(),
                cx.balance.name(pick.id)
            );
        }
        // One that began with a PROXY header is for one client only, and one that did not cannot begin with one any more.
        let shared = self.send_proxy().is_none();
        if shared
            && !pick.trial
            && let Some(kept) = cx.idle.take(pick.id)
        {
            return Step::Moved(self.reuse(kept, attempt, head, cx));
        }
        self.reach(attempt, head, cx)
    }

    fn send_proxy(&self) -> Option<ProxyVersion> {
        self.pool.as_ref().and_then(|pool| pool.send_proxy)
    }

    fn reuse<N: Net<Stream = S>>(
        &mut self,
        kept: Kept<S>,
        attempt: Attempt,
        head: Vec<u8>,
        cx: &mut Shared<N>,
    ) -> Phase<S> {
        let mut exchange = kept.begin(attempt);
        let Exchange {
            upstream, attempt, ..
        } = &mut *exchange;
        cx.net.assign(upstream.stream(), Owner::Upstream(self.key));
        upstream.load(head);
        attempt.reused = true;
        Phase::Exchange(exchange)
    }

    /// Makes a connection for a try, to the first address that lets us begin one.
    pub(super) fn reach<N: Net<Stream = S>>(
        &mut self,
        mut attempt: Attempt,
        mut head: Vec<u8>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        attempt.reused = false;
        loop {
            attempt.addr = cx.balance.addr(attempt.pick.id, &attempt.addrs_failed);
            let failure = match attempt.addr.map(|addr| cx.net.connect(addr)) {
                Some(Ok(stream)) => {
                    let mut upstream = Conn::new(stream);
                    cx.net.assign(upstream.stream(), Owner::Upstream(self.key));
                    if let Some(version) = self.send_proxy() {
                        attempt.preface_bytes = self.introduce(version, &mut head, cx);
                    }
                    upstream.load(head);
                    self.wait_for(Timer::Connect, true, cx);
                    let exchange = Box::new(Exchange::new(upstream, attempt));
                    return Step::Moved(Phase::Connect(Connect(exchange)));
                }
                Some(Err(error)) if is_exhausted(&error) => {
                    if cx.idle.drop_one() {
                        continue;
                    }
                    Failure::Exhausted
                }
                Some(Err(error)) => connect_failure(&error),
                None => Failure::NoBackend,
            };
            let consequence = cx.meet(failure);
            if !attempt.turn_to_next(consequence, cx) {
                return self.hold_or_answer(consequence, attempt, head, cx);
            }
        }
    }

    /// Puts a PROXY header before a head; says how long it is.
    fn introduce<N: Net<Stream = S>>(
        &self,
        version: ProxyVersion,
        head: &mut Vec<u8>,
        cx: &mut Shared<N>,
    ) -> usize {
        let local = self.client.stream().local_addr().unwrap_or(self.addr);
        let before = head.len();
        cx.buffers.reserve(head, proxy_header::HEADER_BYTES_MAX);
        proxy_header::write(version, self.addr, local, head);
        let bytes = head.len() - before;
        head.rotate_right(bytes);
        bytes
    }

    /// [`Phase::Connect`]: waits for the attempt to end.
    pub(super) fn connect<N: Net<Stream = S>>(
        &mut self,
        mut connect: Connect<S>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        // What was held back of the responses before may find room only now.
        let alive = self.client.check().is_ok() && self.client.flush(&mut cx.buffers).is_ok();
        if !alive {
            self.note(cx.meet(Failure::ClientGone).reason);
            return Step::Moved(Phase::Closed);
        }
        match connect.upstream_mut().connected() {
            // Nobody has asked it yet: what it says is nobody's answer.
            Ok(true) if connect.upstream_mut().has_spoken() => {
                self.connect_failed(connect, Failure::UpstreamSpokeFirst, cx)
            }
            Ok(true) => {
                let Connect(exchange) = connect;
                let attempt = &exchange.attempt;
                if let Some(addr) = attempt.addr {
                    cx.balance.reached(attempt.pick.id, addr);
                }
                Step::Moved(Phase::Exchange(exchange))
            }
            Ok(false) => Step::Stuck(Phase::Connect(connect)),
            Err(error) => self.connect_failed(connect, connect_failure(&error), cx),
        }
    }

    /// A connection attempt came to nothing: nothing of the request has reached anyone, so it goes elsewhere.
    pub(super) fn connect_failed<N: Net<Stream = S>>(
        &mut self,
        connect: Connect<S>,
        failure: Failure,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        let consequence = cx.meet(failure);
        let (mut attempt, head) = connect.0.give_up();
        if attempt.turn_to_next(consequence, cx) {
            self.reach(attempt, head, cx)
        } else {
            self.hold_or_answer(consequence, attempt, head, cx)
        }
    }
}

impl Attempt {
    /// No backend is picked yet.
    fn new(request: Request, serving: Serving, retries: u8) -> Self {
        Self {
            request,
            upload: Upload::new(&request),
            serving,
            pick: Pick::NOBODY,
            load: Load::default(),
            addr: None,
            addrs_failed: Vec::new(),
            reused: false,
            repeated: false,
            preface_bytes: 0,
            held_until: None,
            tried: Vec::new(),
            retries,
        }
    }

    /// A backend was picked: from now on it counts as running there.
    pub(super) fn turn_to<N: Net>(&mut self, pick: Pick, cx: &Shared<N>) {
        self.pick = pick;
        self.load = cx.balance.begin(pick.id);
        self.addr = None;
        self.addrs_failed.clear();
    }

    /// No backend is running it, and those that have gone out may be tried again once they are back. One that refused and is live
    /// all the same, as one of weight 0 may be that a cookie stands for, would be tried without end.
    pub(super) fn forget_tries<N: Net>(&mut self, cx: &Shared<N>) {
        self.load = Load::default();
        self.tried.retain(|&id| cx.balance.is_live(id));
    }

    /// From now on it may be tried again so often at most.
    pub(super) fn allow_retries(&mut self, retries: u8) {
        self.retries = retries;
    }

    /// The backend for a request that was held, if there is one now.
    pub(super) fn pick_after_hold<N: Net>(&self, cx: &mut Shared<N>) -> Option<Pick> {
        self.pick_another(&self.tried, cx)
    }

    /// This try could not reach its backend: turns to the backend's next address, else to another backend. False when
    /// there is none, or when it was tried often enough.
    fn turn_to_next<N: Net>(&mut self, consequence: Consequence, cx: &mut Shared<N>) -> bool {
        if consequence.retry != Retry::Elsewhere {
            return false;
        }
        self.addrs_failed.extend(self.addr.take());
        let next = cx.balance.addr(self.pick.id, &self.addrs_failed);
        if next.is_some() {
            return true;
        }
        cx.blame(self.pick, consequence.reason);
        self.tried.push(self.pick.id);
        if self.tried.len() > usize::from(self.retries) {
            return false;
        }
        let next = self.pick_another(&self.tried, cx);
        if let Some(pick) = next {
            self.turn_to(pick, cx);
        }
        next.is_some()
    }

    /// Once more, on a fresh connection: to another backend where there is one. A backend that dies takes its connections
    /// with it before its listener, so that for a moment it still accepts what it will never read. Only what a kept
    /// connection may have lost by its age goes to the same one, if need be. False when there is nowhere to go.
    pub(super) fn begin_again<N: Net>(&mut self, cx: &mut Shared<N>) -> bool {
        let other = self.pick_another(&[self.pick.id], cx);
        if !self.reused {
            if other.is_none() {
                return false;
            }
            self.tried.push(self.pick.id);
        }
        self.turn_to(other.unwrap_or(self.pick), cx);
        self.repeated = true;
        true
    }

    /// Takes the PROXY header away from before the head.
    pub(super) fn take_preface(&mut self, head: &mut Vec<u8>) {
        let bytes = std::mem::take(&mut self.preface_bytes);
        head.drain(..bytes.min(head.len()));
    }

    fn pick_another<N: Net>(&self, tried: &[BackendId], cx: &mut Shared<N>) -> Option<Pick> {
        let serving = &self.serving;
        cx.balance
            .pick(serving.pool, cx.now.instant, tried, &serving.asker)
    }
}

/// What it means that a connection attempt failed.
fn connect_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
            Failure::ConnectRefused
        }
        // It was made, and ended in order; the reset came behind that.
        io::ErrorKind::BrokenPipe => Failure::UpstreamSpokeFirst,
        io::ErrorKind::TimedOut => Failure::ConnectTimeout,
        // No port of ours is left: no fault of the backend's.
        io::ErrorKind::AddrNotAvailable => Failure::Exhausted,
        _ => Failure::ConnectUnreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_failed_is_called_what_it_was() {
        const EPIPE: i32 = 32;
        const EADDRNOTAVAIL: i32 = 99;
        const ENETUNREACH: i32 = 101;
        const ECONNRESET: i32 = 104;
        const ETIMEDOUT: i32 = 110;
        const ECONNREFUSED: i32 = 111;
        const EHOSTUNREACH: i32 = 113;
        for (errno, failure) in [
            (ECONNREFUSED, Failure::ConnectRefused),
            (ECONNRESET, Failure::ConnectRefused),
            // An end of stream and then a reset, before we looked.
            (EPIPE, Failure::UpstreamSpokeFirst),
            (ETIMEDOUT, Failure::ConnectTimeout),
            (EADDRNOTAVAIL, Failure::Exhausted),
            (ENETUNREACH, Failure::ConnectUnreachable),
            (EHOSTUNREACH, Failure::ConnectUnreachable),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(connect_failure(&error), failure, "{error}");
        }
    }
}
