//! After a 101 both sides are opaque: bytes go through as they are, each direction until its own end.
//!
//! An end of stream is handed on as an end of stream (half-close), behind all that came before it. A side that breaks
//! breaks the other.

use crate::balance::Load;
use crate::http::body::Body;
use crate::net::conn::Conn;
use crate::net::stream::{Net, Stream};

use super::failure::Failure;
use super::pump::{Stop, pump};
use super::session::{Phase, Session, Step};
use super::shared::Shared;
use super::timers::Timer;

/// Two directions of opaque bytes.
#[derive(Debug)]
pub(super) struct Tunnel<S> {
    pub(super) upstream: Conn<S>,
    /// Counts it as running at its backend.
    _load: Load,
    up: Direction,
    down: Direction,
}

/// How far one direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Open,
    /// The source has ended; what came before is still on its way.
    Ending,
    /// The sink was told the end.
    Shut,
}

/// One side of the tunnel broke.
struct Broken;

impl<S> Tunnel<S> {
    /// What the backend sent behind its 101 waits in `upstream`, what the client sent early in the client's connection.
    pub(super) fn new(upstream: Conn<S>, load: Load) -> Self {
        Self {
            upstream,
            _load: load,
            up: Direction::Open,
            down: Direction::Open,
        }
    }
}

impl<S: Stream> Session<S> {
    /// [`Phase::Tunnel`]: both directions, as far as they go.
    pub(super) fn tunnel<N: Net<Stream = S>>(
        &mut self,
        mut tunnel: Box<Tunnel<S>>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        let before = self.client.taken() + tunnel.upstream.taken();
        let Ok(()) = self.tunnel_both(&mut tunnel, cx) else {
            self.note(cx.meet(Failure::TunnelBroken).reason);
            self.break_off(&mut tunnel);
            return Step::Moved(Phase::Closed);
        };
        if (tunnel.up, tunnel.down) == (Direction::Shut, Direction::Shut) {
            self.note("done");
            return Step::Moved(Phase::Closed);
        }
        let moved = self.client.taken() + tunnel.upstream.taken() - before;
        self.wait_for(Timer::Tunnel, moved > 0, cx);
        if cx.spent {
            Step::Spent(Phase::Tunnel(tunnel))
        } else {
            Step::Stuck(Phase::Tunnel(tunnel))
        }
    }

    /// Each direction has its half of the turn. A side that is dead is found out also while the other takes nothing.
    fn tunnel_both<N: Net<Stream = S>>(
        &mut self,
        tunnel: &mut Tunnel<S>,
        cx: &mut Shared<N>,
    ) -> Result<(), Broken> {
        let Tunnel {
            upstream, up, down, ..
        } = tunnel;
        self.client
            .check()
            .and_then(|()| upstream.check())
            .map_err(|_| Broken)?;
        cx.spent = false;
        let half = cx.budget / 2;
        cx.budget -= half;
        up.run(&mut self.client, upstream, cx)?;
        cx.budget += half;
        down.run(upstream, &mut self.client, cx)
    }

    /// Ends a tunnel in its midst: neither side gets to take that for the other's end.
    pub(super) fn break_off(&mut self, tunnel: &mut Tunnel<S>) {
        self.client.reset_on_close();
        tunnel.upstream.reset_on_close();
    }
}

impl Direction {
    /// Moves bytes as far as they go.
    fn run<S: Stream, N: Net<Stream = S>>(
        &mut self,
        source: &mut Conn<S>,
        sink: &mut Conn<S>,
        cx: &mut Shared<N>,
    ) -> Result<(), Broken> {
        if *self == Self::Open {
            match pump(source, sink, &mut Body::until_close(), cx).1 {
                Stop::SourceEnded => *self = Self::Ending,
                Stop::SourceBlocked | Stop::SinkBlocked | Stop::Spent => {}
                Stop::Done | Stop::SourceBroke | Stop::SinkBroke | Stop::Rejected(_) => {
                    return Err(Broken);
                }
            }
        }
        if *self == Self::Ending {
            sink.flush(&mut cx.buffers).map_err(|_| Broken)?;
            if !sink.is_blocked() {
                sink.shut_write().map_err(|_| Broken)?;
                *self = Self::Shut;
            }
        }
        Ok(())
    }
}
