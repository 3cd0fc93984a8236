//! Before the first request, where a listener says so: a PROXY protocol header, in which whoever stands before us tells who the
//! client is. From then on that is the client's address, for the log, for hashes and for what backends are told.

use std::net::SocketAddr;

use crate::config::is_in;
use crate::net::conn::Look;
use crate::net::proxy_header;
use crate::net::stream::{Net, Stream};

use super::failure::Failure;
use super::session::{Phase, Session, Step};
use super::shared::Shared;
use super::timers::Timer;

impl<N: Net> Shared<N> {
    /// Whether a client that comes in by this listener from this address begins with a header.
    pub(super) fn expects_preface(&self, listener: usize, addr: SocketAddr) -> bool {
        let door = self.doors[listener].as_ref();
        door.is_some_and(|door| {
            let from = &door.configured.accept_proxy;
            !from.is_empty() && is_in(from, addr.ip())
        })
    }
}

impl<S: Stream> Session<S> {
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
                // The time for a head was the header's; the request has its own.
                self.await_request(cx)
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
