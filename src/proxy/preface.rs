//! Before the first request, where a listener says so: a PROXY protocol header, in which whoever stands before us tells who the
//! client is. From then on that is the client's address, for the log, for hashes and for what backends are told.

use crate::config::is_in;
use crate::net::conn::Look;
use crate::net::proxy_header;
use crate::net::stream::{Net, Stream};

use super::failure::Failure;
use super::session::{Phase, Session, Step};
use super::shared::Shared;
use super::timers::Timer;

impl<S: Stream> Session<S> {
    /// The phase in which a new client begins.
    pub(super) fn first_phase<N: Net>(&self, cx: &Shared<N>) -> Phase<S> {
        match &cx.doors[self.listener] {
            Some(door) if is_in(&door.configured.accept_proxy, self.addr.ip()) => Phase::Preface,
            _ => Phase::Request,
        }
    }

    /// [`Phase::Preface`]: looks for the header; when it is complete, requests may come.
    pub(super) fn preface<N: Net<Stream = S>>(&mut self, cx: &mut Shared<N>) -> Step<S> {
        if cx.budget == 0 {
            return Step::Spent(Phase::Preface);
        }
        let mut input = match self.client.look(&mut cx.scratch[..cx.read_bytes_max]) {
            Ok(Look::Bytes(input)) => input,
            Ok(Look::Blocked) => {
                if !self.client.input().is_empty() {
                    self.wait_for(Timer::Head, false, cx);
                }
                return Step::Stuck(Phase::Preface);
            }
            Ok(Look::Ended) | Err(_) => return Step::Moved(Phase::Closed),
        };
        match proxy_header::read(input.bytes()) {
            Ok(Some((len, source))) => {
                input.keep(len, false, &mut cx.buffers);
                cx.budget = cx.budget.saturating_sub(len);
                self.addr = source.unwrap_or(self.addr);
                Step::Moved(Phase::Request)
            }
            Ok(None) => {
                input.keep(0, true, &mut cx.buffers);
                Step::Moved(Phase::Preface)
            }
            Err(_) => {
                self.note(cx.meet(Failure::BadProxyHeader).reason);
                Step::Moved(Phase::Closed)
            }
        }
    }
}
