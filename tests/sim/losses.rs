//! What the proxy sent and nobody read: which requests it was.

use std::collections::VecDeque;

use super::content::find_mark;
use super::faults::Fault;
use super::kernel::World;
use super::sock::{Home, Peer, Segment, SockId};

/// A request, or the beginning of one, that the proxy gave to a connection which was gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    pub(crate) id: usize,
    /// Whether the kernel had taken bytes of it; otherwise the write failed.
    pub(crate) sent: bool,
    /// Whether the proxy had been told that the connection had ended.
    pub(crate) told: bool,
    /// Whether other requests had been sent on the connection before.
    pub(crate) reused: bool,
    /// The injected fault that ended the connection.
    pub(crate) fault: Option<Fault>,
}

impl World {
    /// The proxy's bytes reached nobody at backend socket `id`: which requests were they?
    pub(crate) fn lose(&mut self, id: SockId, bytes: &[u8], sent: bool) {
        let sock = &mut self.socks[id.0];
        if !matches!(sock.home, Home::Script(Peer::Backend(..))) || bytes.is_empty() {
            return;
        }
        let sent = sent || !sock.lost.is_empty();
        sock.lost.extend_from_slice(bytes);
        let (reused, fault) = (sock.served > 0, sock.fault);
        let mut marks = Vec::new();
        while let Some((mark, end)) = find_mark(&sock.lost) {
            sock.lost.drain(..end);
            marks.push(mark);
        }
        let peer = sock.peer.map(|peer| &self.socks[peer.0]);
        let told = peer.is_some_and(|peer| peer.told_at.is_some());
        let losses = marks.into_iter().map(|id| Loss {
            id,
            sent,
            told,
            reused,
            fault,
        });
        self.losses.extend(losses);
    }
}

/// The bytes among what is under way.
pub(crate) fn bytes_of(wire: &VecDeque<Segment>) -> Vec<u8> {
    let bytes = wire.iter().map(|segment| match segment {
        Segment::Bytes(bytes) => bytes.as_slice(),
        Segment::Fin | Segment::Rst => &[],
    });
    bytes.collect::<Vec<_>>().concat()
}
