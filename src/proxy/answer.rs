//! Our own words: replies where no backend's can be had, and the close that does not lose the last of them.

use log::{Level, debug, log_enabled};

use crate::config::Action;
use crate::http::reply::{self, REPLY_BYTES_MAX, Reply};
use crate::http::{Method, Request, Version};
use crate::net::stream::{Net, Stream};

use super::choose::Choice;
use super::exchange::Upload;
use super::failure::{Consequence, Failure};
use super::session::{Phase, Session, Step};
use super::shared::Shared;
use super::timers::Timer;

/// Bytes thrown away at most after our last word, so that it is not lost to a reset.
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What follows a reply of our own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    Request,
    Linger,
}

impl<S: Stream> Session<S> {
    /// Our reply to something that is no request: the connection cannot go on. `head_only` if it looks like a HEAD.
    pub(super) fn refuse<N: Net<Stream = S>>(
        &mut self,
        failure: Failure,
        head_only: bool,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        let id = cx.ids.make(cx.now.wall);
        let consequence = cx.meet(failure);
        self.pool = None;
        self.write_reply(&consequence, &id, Version::Http11, head_only, false, cx)
    }

    /// Our reply to a request that cannot be served. `head` is the rewritten one, where the request's id stands.
    pub(super) fn answer<N: Net<Stream = S>>(
        &mut self,
        consequence: Consequence,
        request: &Request,
        upload: &Upload,
        head: Vec<u8>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        let id = id(request, &head);
        let wanted = consequence.keeps_client && request.keep_alive;
        let keep = wanted && upload.is_done() && !self.must_close(cx);
        let head_only = request.method == Method::Head;
        let step = self.write_reply(&consequence, id, request.version, head_only, keep, cx);
        cx.buffers.give(head);
        step
    }

    /// Our reply to a request that no backend is asked: what its route says, or that it has none.
    pub(super) fn answer_by_route<N: Net<Stream = S>>(
        &mut self,
        choice: Choice,
        request: &Request,
        head: Vec<u8>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        self.pool = None;
        let upload = Upload::new(request);
        let (route, location) = match choice {
            Choice::Redirect { route, location } => (route, location),
            Choice::Reply { route } => (route, Vec::new()),
            Choice::NoRoute | Choice::Pool { .. } => {
                if log_enabled!(Level::Debug) {
                    self.tell_of_no_route(&head, cx);
                }
                let consequence = cx.meet(Failure::NoRoute);
                return self.answer(consequence, request, &upload, head, cx);
            }
        };
        let route = cx.routes.get(route);
        let status = match &route.action {
            Action::Redirect(redirect) => redirect.status,
            Action::Reply(fixed) => fixed.status,
            Action::Pools(_) => 404,
        };
        self.note(&route.name);
        let keep = request.keep_alive && upload.is_done() && !self.must_close(cx);
        let reply = Reply {
            status,
            reason: "redirect",
            id: id(request, &head),
            date: cx.date.text(cx.now.wall),
            version: request.version,
            head_only: request.method == Method::Head,
            keep,
        };
        self.client.hold_nothing_back();
        let (out, buffers) = (self.client.compose(), &mut cx.buffers);
        let fields = &route.response_fields;
        match &route.action {
            Action::Reply(fixed) => {
                let bytes = REPLY_BYTES_MAX + fixed.content_type.len() + fixed.body.len();
                buffers.reserve(out, bytes);
                reply::write_fixed(&reply, &fixed.content_type, &fixed.body, fields, out);
            }
            Action::Redirect(_) | Action::Pools(_) => {
                buffers.reserve(out, REPLY_BYTES_MAX + location.len());
                reply::write_redirect(&reply, &location, fields, out);
            }
        }
        cx.buffers.give(head);
        self.reply_begins(keep, cx)
    }

    /// What no route takes, and where it came in: what to ask `rondel explain`.
    fn tell_of_no_route<N: Net>(&self, head: &[u8], cx: &Shared<N>) {
        let door = cx.doors[self.listener].as_ref();
        let listener = door.map_or("", |door| &door.configured.name);
        let mut lines = head
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::trim_ascii_end);
        let first = lines.next().unwrap_or_default();
        let is_host = |line: &&[u8]| {
            line.get(..5)
                .is_some_and(|name| name.eq_ignore_ascii_case(b"host:"))
        };
        let host = lines.find(is_host).unwrap_or_default();
        debug!(
            "s{} {} \"{}\" \"{}\" at listener {listener}: no route takes it",
            self.number,
            self.addr,
            first.escape_ascii(),
            host.escape_ascii()
        );
    }

    fn write_reply<N: Net<Stream = S>>(
        &mut self,
        consequence: &Consequence,
        id: &[u8],
        version: Version,
        head_only: bool,
        keep: bool,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        self.note(consequence.reason);
        let Some(status) = consequence.status else {
            return Step::Moved(Phase::Closed);
        };
        let (reason, date) = (consequence.reason, cx.date.text(cx.now.wall));
        let reply = Reply {
            status,
            reason,
            id,
            date,
            version,
            head_only,
            keep,
        };
        self.client.hold_nothing_back();
        let out = self.client.compose();
        cx.buffers.reserve(out, REPLY_BYTES_MAX);
        reply::write(&reply, out);
        self.reply_begins(keep, cx)
    }

    /// A reply of our own waits to be sent.
    fn reply_begins<N: Net<Stream = S>>(&mut self, keep: bool, cx: &Shared<N>) -> Step<S> {
        self.wait_for(Timer::ClientWrite, true, cx);
        Step::Moved(Phase::Reply(if keep {
            Next::Request
        } else {
            Next::Linger
        }))
    }

    /// No request follows at once, so that responses which were held back for it go out.
    pub(super) fn send_held_back<N: Net<Stream = S>>(&mut self, cx: &mut Shared<N>) -> Step<S> {
        self.client.hold_nothing_back();
        self.wait_for(Timer::ClientWrite, true, cx);
        Step::Moved(Phase::Reply(Next::Request))
    }

    /// [`Phase::Reply`]: until the kernel has taken our reply, and what was held back before it.
    pub(super) fn reply<N: Net<Stream = S>>(&mut self, next: Next, cx: &mut Shared<N>) -> Step<S> {
        if self.client.flush(&mut cx.buffers).is_err() {
            return Step::Moved(Phase::Closed);
        }
        match next {
            _ if self.client.is_blocked() => Step::Stuck(Phase::Reply(next)),
            Next::Request => self.await_request(cx),
            Next::Linger => self.start_linger(cx),
        }
    }

    /// Our last word is out: shuts our side and reads on for a while, so that the word is not lost to a reset.
    pub(super) fn start_linger<N: Net>(&mut self, cx: &Shared<N>) -> Step<S> {
        if self.client.shut_write().is_err() {
            return Step::Moved(Phase::Closed);
        }
        self.wait_for(Timer::Linger, true, cx);
        Step::Moved(Phase::Linger(LINGER_BYTES_MAX))
    }

    /// [`Phase::Linger`]: throws away what comes.
    pub(super) fn linger<N: Net>(&mut self, mut left: usize, cx: &mut Shared<N>) -> Step<S> {
        while cx.budget > 0 && left > 0 {
            match self.client.discard(&mut cx.scratch, &mut cx.buffers) {
                Ok(Some(count)) if count > 0 => {
                    left = left.saturating_sub(count);
                    cx.budget = cx.budget.saturating_sub(count);
                }
                Ok(None) => return Step::Stuck(Phase::Linger(left)),
                Ok(Some(_)) | Err(_) => return Step::Moved(Phase::Closed),
            }
        }
        if left == 0 {
            Step::Moved(Phase::Closed)
        } else {
            Step::Spent(Phase::Linger(left))
        }
    }
}

/// The id of a request, which stands in its rewritten head.
fn id<'h>(request: &Request, head: &'h [u8]) -> &'h [u8] {
    let start = usize::from(request.id.start);
    head.get(start..start + usize::from(request.id.len))
        .unwrap_or_default()
}
