//! The one table: what went wrong, and what follows from it.
//!
//! The *reason word* of a row is the same everywhere: in the body of our own reply, in the log, in the docs. A row says
//! what the client gets as long as no byte of a response has gone to it; after that every failure ends the connection
//! without finishing the message, so that a short response is never taken for a whole one.

use crate::http::Reject;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request is none that we forward.
    Rejected(Reject),
    /// The request head was not complete in time.
    HeadTimeout,
    /// No request came in time, or the client closed between two: nothing is wrong.
    ClientIdle,
    /// The client went away during an exchange.
    ClientGone,
    /// The client sent nothing of its body for too long.
    RequestBodyTimeout,
    /// The client sent its body more slowly than we allow.
    RequestBodySlow,
    /// The client took nothing of the response for too long, or not all of a reply of our own in that time.
    ClientWriteTimeout,
    /// The client took the response more slowly than we allow.
    ClientWriteSlow,
    /// No route takes the request.
    NoRoute,
    /// No backend is live that was not tried.
    NoBackend,
    /// No backend became live while the request was held.
    HoldTimeout,
    /// As many requests are held already as may be.
    QueueFull,
    /// What came is no PROXY protocol header, where there must be one.
    BadProxyHeader,
    /// We have no descriptor, port or memory left for a connection to a backend.
    Exhausted,
    /// The backend refused the connection.
    ConnectRefused,
    /// The backend cannot be reached.
    ConnectUnreachable,
    /// The connection to the backend was not made in time.
    ConnectTimeout,
    /// The backend spoke, or closed, before it was asked.
    UpstreamSpokeFirst,
    /// An upstream that was reused had died before any byte of the response.
    ReusedUpstreamClosed,
    /// The upstream closed or broke before the response head was complete.
    UpstreamClosed,
    /// The upstream closed or broke before all of the request had come in, and before the response head was complete.
    UpstreamClosedDuringRequest,
    /// The client held its body back for an interim response that never came.
    ContinueTimeout,
    /// The backend took nothing of the request for too long.
    UpstreamWriteTimeout,
    /// The response head is none that we forward.
    BadResponseHead(Reject),
    /// More interim responses than we pass on.
    TooManyInterim,
    /// The response head was not complete in time.
    ResponseTimeout,
    /// The upstream closed or broke in the midst of the response body.
    ResponseTruncated,
    /// The body of the response is broken.
    BadResponseBody(Reject),
    /// Nothing of the response body came for too long.
    ResponseBodyTimeout,
    /// Nothing went through a tunnel for too long.
    TunnelIdle,
    /// A side of a tunnel broke.
    TunnelBroken,
    /// We were told to stop, and the time for that is over.
    DrainTimeout,
}

/// Whether a failure counts against the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Never.
    Never,
    /// If the request had come in whole: otherwise a client that sends slowly enough, or stops, can bring it about.
    IfAsked,
    /// Always.
    Always,
}

/// Whether the request may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Never.
    Never,
    /// At another backend: nothing of the request has reached this one.
    Elsewhere,
    /// Once more on a fresh connection, if no byte of a response has come, the request is idempotent, or nothing of it went
    /// out, and it is at hand as a whole (RFC 9110 §9.2.2). To another backend; to the same one only if the connection had
    /// been used before, and none other is live.
    Again,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consequence {
    /// The status that the client gets; `None` closes without a word.
    pub status: Option<u16>,
    /// The stable word for it.
    pub reason: &'static str,
    /// Whether it counts against the backend.
    pub blame: Blame,
    /// Whether the request may be tried again.
    pub retry: Retry,
    /// Whether the client's connection may go on after our reply, if all of its request has come in.
    pub keeps_client: bool,
}

/// How often each failure was met since the start, whether the request was tried again after it or not.
#[derive(Debug)]
pub(crate) struct Tally {
    met: Vec<(Failure, u64)>,
}

impl Tally {
    /// More than there are kinds of failure, each reject by itself: counting allocates nothing.
    const KINDS: usize = 80;

    /// Once more.
    pub(crate) fn count(&mut self, failure: Failure) {
        match self.met.iter_mut().find(|(met, _)| *met == failure) {
            Some((_, times)) => *times += 1,
            None => self.met.push((failure, 1)),
        }
    }

    /// Those that were met.
    pub(crate) fn met(&self) -> &[(Failure, u64)] {
        &self.met
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            met: Vec::with_capacity(Self::KINDS),
        }
    }
}

impl Failure {
    /// The table.
    #[must_use]
    pub fn consequence(self) -> Consequence {
        use Blame::{Always, IfAsked};
        use Retry::{Again, Elsewhere, Never};
        const NONE: Blame = Blame::Never;
        const KEEP: bool = true;
        let (status, reason, blame, retry, keeps_client) = match self {
            Self::Rejected(reject) => (Some(reject.status()), reject.reason(), NONE, Never, !KEEP),
            Self::HeadTimeout => (Some(408), "head-timeout", NONE, Never, !KEEP),
            Self::ClientIdle => (None, "client-idle", NONE, Never, !KEEP),
            Self::ClientGone => (None, "client-gone", NONE, Never, !KEEP),
            Self::RequestBodyTimeout => (Some(408), "request-body-timeout", NONE, Never, !KEEP),
            Self::RequestBodySlow => (Some(408), "request-body-slow", NONE, Never, !KEEP),
            Self::ClientWriteTimeout => (None, "client-write-timeout", NONE, Never, !KEEP),
            Self::ClientWriteSlow => (None, "client-write-slow", NONE, Never, !KEEP),
            Self::NoRoute => (Some(404), "no-route", NONE, Never, KEEP),
            Self::NoBackend => (Some(503), "no-backend", NONE, Never, KEEP),
            Self::HoldTimeout => (Some(503), "hold-timeout", NONE, Never, KEEP),
            Self::QueueFull => (Some(503), "queue-full", NONE, Never, KEEP),
            Self::BadProxyHeader => (None, "bad-proxy-header", NONE, Never, !KEEP),
            Self::Exhausted => (Some(503), "out-of-resources", NONE, Never, KEEP),
            Self::ConnectRefused => (Some(502), "connect-refused", Always, Elsewhere, KEEP),
            Self::ConnectUnreachable => (Some(502), "connect-unreachable", Always, Elsewhere, KEEP),
            Self::ConnectTimeout => (Some(504), "connect-timeout", Always, Elsewhere, KEEP),
            Self::UpstreamSpokeFirst => {
                (Some(502), "upstream-spoke-first", Always, Elsewhere, KEEP)
            }
            Self::ReusedUpstreamClosed => (Some(502), "reused-upstream-closed", NONE, Again, KEEP),
            Self::UpstreamClosed => (
                Some(502),
                "upstream-closed-before-head",
                Always,
                Again,
                KEEP,
            ),
            // Whoever sends slowly enough can bring these two about, so nobody is blamed.
            Self::UpstreamClosedDuringRequest => (
                Some(502),
                "upstream-closed-during-request",
                NONE,
                Never,
                !KEEP,
            ),
            Self::ContinueTimeout => (Some(504), "continue-timeout", NONE, Never, !KEEP),
            Self::UpstreamWriteTimeout => {
                (Some(504), "upstream-write-timeout", Always, Never, !KEEP)
            }
            Self::BadResponseHead(_) => (Some(502), "bad-response-head", Always, Never, KEEP),
            Self::TooManyInterim => (Some(502), "too-many-interim", Always, Never, KEEP),
            Self::ResponseTimeout => (Some(504), "response-timeout", Always, Never, KEEP),
            Self::ResponseTruncated => (None, "response-truncated", IfAsked, Never, !KEEP),
            Self::BadResponseBody(_) => (None, "bad-response-body", Always, Never, !KEEP),
            Self::ResponseBodyTimeout => (None, "response-body-timeout", IfAsked, Never, !KEEP),
            Self::TunnelIdle => (None, "tunnel-idle", NONE, Never, !KEEP),
            Self::TunnelBroken => (None, "tunnel-broken", NONE, Never, !KEEP),
            Self::DrainTimeout => (None, "drain-timeout", NONE, Never, !KEEP),
        };
        Consequence {
            status,
            reason,
            blame,
            retry,
            keeps_client,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_counted_by_its_kind_and_by_what_was_wrong() {
        let mut tally = Tally::default();
        for failure in [
            Failure::ClientGone,
            Failure::Rejected(Reject::BadHost),
            Failure::ClientGone,
            Failure::BadResponseHead(Reject::Malformed),
            Failure::Rejected(Reject::BadTarget),
        ] {
            tally.count(failure);
        }
        assert_eq!(
            tally.met(),
            [
                (Failure::ClientGone, 2),
                (Failure::Rejected(Reject::BadHost), 1),
                (Failure::BadResponseHead(Reject::Malformed), 1),
                (Failure::Rejected(Reject::BadTarget), 1),
            ]
        );
    }
}
