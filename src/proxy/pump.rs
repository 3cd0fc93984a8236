//! Moves the bytes of a body from one connection to another: look, judge, send. Written once, for both directions and for
//! tunnels. It does not look while what it sent still waits: that is all the backpressure there is.

use std::io::ErrorKind;

use crate::http::Reject;
use crate::http::body::Body;
use crate::net::buffer::Buffers;
use crate::net::conn::{Conn, Input, Look};
use crate::net::stream::{Net, Stream};

use super::shared::Shared;

/// Bytes left of a body, that need not be seen, below which they are read: to splice fewer costs more.
const SPLICE_BYTES_MIN: u64 = 64 * 1024;
/// Bytes spliced at once at most: one splice is about as long a turn as one read.
const SPLICE_BYTES_MAX: u32 = 256 * 1024;

/// Why a pump stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The body is complete.
    Done,
    /// Nothing more to read now.
    SourceBlocked,
    /// The sink has no room now.
    SinkBlocked,
    /// The turn's budget is spent.
    Spent,
    /// The source's stream ended before the body was known to be complete.
    SourceEnded,
    /// The source broke.
    SourceBroke,
    /// The sink broke.
    SinkBroke,
    /// The body is none that we forward.
    Rejected(Reject),
}

/// Moves a body from `source` to `sink` as far as it goes; says how many bytes were taken, and why it stopped.
pub(super) fn pump<S: Stream, N: Net<Stream = S>>(
    source: &mut Conn<S>,
    sink: &mut Conn<S>,
    body: &mut Body,
    cx: &mut Shared<N>,
) -> (usize, Stop) {
    let mut moved = 0;
    loop {
        // A head that was not offered to the kernel yet waits for the body behind it, so that both leave in one write.
        if !(sink.is_fresh() && source.may_have_input()) && sink.flush(&mut cx.buffers).is_err() {
            return (moved, Stop::SinkBroke);
        }
        if sink.is_blocked() && !sink.is_fresh() {
            return (moved, Stop::SinkBlocked);
        }
        if cx.budget == 0 {
            cx.spent = true;
            return (moved, Stop::Spent);
        }
        if source.is_flooding() && body.unseen() >= SPLICE_BYTES_MIN && !sink.is_blocked() {
            match splice(source, sink, body, cx) {
                Ok(bytes) => {
                    moved += bytes;
                    cx.budget = cx.budget.saturating_sub(bytes);
                    if body.is_done() {
                        return (moved, Stop::Done);
                    }
                    continue;
                }
                Err(Some(stop)) => return (moved, stop),
                Err(None) => {}
            }
        }
        let input = match source.look(&mut cx.scratch[..cx.read_bytes_max]) {
            Ok(Look::Bytes(input)) => input,
            Ok(Look::Ended) => return (moved, Stop::SourceEnded),
            Err(_) => return (moved, Stop::SourceBroke),
            Ok(Look::Blocked) => {
                let sent = sink.flush(&mut cx.buffers);
                return (
                    moved,
                    if sent.is_ok() {
                        Stop::SourceBlocked
                    } else {
                        Stop::SinkBroke
                    },
                );
            }
        };
        let (bytes, stop) = pass_on(input, 0, body, sink, &mut cx.buffers);
        moved += bytes;
        cx.budget = cx.budget.saturating_sub(bytes);
        if let Some(stop) = stop {
            return (moved, stop);
        }
    }
}

/// Moves bytes that need not be seen without reading them; says how many, or why to stop, if not to read them instead.
fn splice<S: Stream, N: Net<Stream = S>>(
    source: &mut Conn<S>,
    sink: &mut Conn<S>,
    body: &mut Body,
    cx: &mut Shared<N>,
) -> Result<usize, Option<Stop>> {
    let most =
        u32::try_from(body.unseen()).map_or(SPLICE_BYTES_MAX, |left| left.min(SPLICE_BYTES_MAX));
    let count = match source.splice(sink, most, &mut cx.net) {
        Ok(Some(count)) => count,
        Ok(None) => return Err(Some(Stop::SourceBlocked)),
        Err(error) if error.kind() == ErrorKind::Unsupported => return Err(None),
        Err(_) => return Err(Some(Stop::SourceBroke)),
    };
    body.skip(count as u64);
    sink.flush(&mut cx.buffers)
        .map_err(|_| Some(Stop::SinkBroke))?;
    Ok(count)
}

/// Judges the input from `from` on and sends what is to go on; says how many bytes were taken, and why to stop.
pub(super) fn pass_on<S: Stream>(
    mut input: Input<'_, S>,
    from: usize,
    body: &mut Body,
    sink: &mut Conn<S>,
    buffers: &mut Buffers,
) -> (usize, Option<Stop>) {
    let bytes = &mut input.bytes()[from..];
    let available = bytes.len();
    let passed = match body.pass(bytes) {
        Ok(passed) => passed,
        Err(reject) => return (0, Some(Stop::Rejected(reject))),
    };
    let made = &bytes[..passed.made];
    let sent = match body.chunk(made.len()) {
        None => sink.send(made, buffers),
        Some(chunk) => sink.send_between(chunk.before(), made, chunk.behind(), buffers),
    };
    let done = body.is_done();
    input.keep(
        from + passed.taken,
        !done && passed.taken < available,
        buffers,
    );
    let stop = match sent {
        Err(_) => Some(Stop::SinkBroke),
        Ok(()) => done.then_some(Stop::Done),
    };
    (passed.taken, stop)
}
