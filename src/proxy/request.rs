//! Waiting for a request: from the end of the last one to a head that is complete, judged, and written anew for whoever its
//! route chooses.

use log::debug;

use crate::http::forward::{self, Facts};
use crate::http::head;
use crate::http::inquiry::Inquiry;
use crate::net::conn::Look;
use crate::net::stream::{Net, Stream};

use super::choose::choose;
use super::failure::Failure;
use super::session::{DRAIN_GRACE, Phase, Session, Step};
use super::shared::Shared;
use super::timers::Timer;

/// What a request head counts for in a turn at least, in bytes, so that a turn of tiny requests is short too.
const HEAD_COST_MIN: usize = 1024;

impl<S: Stream> Session<S> {
    /// The next request may come.
    pub(super) fn await_request<N: Net>(&mut self, cx: &Shared<N>) -> Step<S> {
        self.wait_for(Timer::ClientIdle, true, cx);
        if cx.draining {
            self.deadline = self.deadline.min(cx.now.instant + DRAIN_GRACE);
        }
        Step::Moved(Phase::Request)
    }

    /// [`Phase::Request`]: looks for a request head; when it is complete, it is on its way.
    pub(super) fn request<N: Net<Stream = S>>(&mut self, cx: &mut Shared<N>) -> Step<S> {
        if cx.budget == 0 {
            return Step::Spent(Phase::Request);
        }
        let holds_back = self.client.holds_back();
        let mut input = match self.client.look(&mut cx.scratch[..cx.read_bytes_max]) {
            Ok(Look::Bytes(input)) => input,
            _ if holds_back => return self.send_held_back(cx),
            Ok(Look::Blocked) => {
                if self.has_begun() {
                    self.wait_for(Timer::Head, false, cx);
                }
                return Step::Stuck(Phase::Request);
            }
            Ok(Look::Ended) | Err(_) => return Step::Moved(Phase::Closed),
        };
        let (bytes, stream) = input.parts();
        let forwarding = &cx.config.forwarding;
        let door = cx.doors[self.listener].as_ref();
        let door = door.expect("clients come in by a listener that is known");
        let listener = door.addr;
        let facts = Facts {
            client: self.addr.ip().to_canonical(),
            // Where it listens on all addresses, only the connection knows which one of them the client reached.
            local: || match listener.ip().is_unspecified() {
                true => stream.local_addr().unwrap_or(listener),
                false => listener,
            },
            trusts: |addr| forwarding.trusts(addr),
            name: &forwarding.name,
            forwarded: forwarding.forwarded,
            id: &cx.ids.make(cx.now.wall),
        };
        let (mut head, buffers) = (Vec::new(), &mut cx.buffers);
        let reserve = |head: &mut Vec<u8>, bytes| buffers.reserve(head, bytes);
        let (config, routes, splits, mut choice) = (&cx.config, &cx.routes, &mut cx.splits, None);
        let peer = facts.client;
        let mut client = peer;
        let choose = |inquiry: &Inquiry<'_>| {
            client = inquiry.client;
            let chosen = choose(config, routes, splits, door.place, inquiry)?;
            let edits = chosen.edits(routes);
            choice = Some(chosen);
            Ok(edits)
        };
        match forward::request(bytes, &facts, choose, &mut head, reserve) {
            Ok(Some((len, request))) => {
                input.keep(len, false, &mut cx.buffers);
                cx.budget = cx.budget.saturating_sub(len.max(HEAD_COST_MIN));
                if client != peer {
                    debug!("s{} {peer} sends for {client}", self.number);
                }
                let choice = choice.expect("a head that goes on has made its choice");
                self.serve(choice, request, head, cx)
            }
            Ok(None) => {
                input.keep(0, true, &mut cx.buffers);
                Step::Moved(Phase::Request)
            }
            Err(reject) => {
                cx.buffers.give(head);
                let head_only = head::asks_for_head_only(input.bytes());
                self.refuse(Failure::Rejected(reject), head_only, cx)
            }
        }
    }

    /// Whether a part of a request has come. An empty line is none yet.
    pub(super) fn has_begun(&self) -> bool {
        !head::without_empty_line(self.client.input()).is_empty()
    }
}
