//! How a backend's connection comes to a bad end: while nothing is asked, or whatever is under way.

use std::time::Duration;

use super::faults::Fault;
use super::kernel::World;
use super::ledger::Ledger;
use super::link::Went;
use super::misdeeds::{self, Out};
use super::script::Manner;
use super::serving::Link;
use super::sock::Peer;

impl Link {
    /// Nothing to say: time to be bad, maybe.
    pub(super) fn idle(&mut self, backend: usize, world: &mut World) -> Went {
        let Some((at, fault)) = self.idle_fault else {
            return Went::Nowhere;
        };
        if world.now < at || self.current.is_some() || !self.reader.rest().is_empty() {
            return Went::Nowhere;
        }
        if !world.is_delivered(self.sock) {
            // A reset would reach back into the answer.
            world.wake_after(Duration::from_millis(1), Peer::Backend(backend, self.sock));
            return Went::Nowhere;
        }
        self.idle_fault = None;
        world.note(
            "backend {}: fault {} on idle sock {}",
            [backend, fault as usize, self.sock.0],
        );
        world.faults.done(fault);
        world.socks[self.sock.0].fault = Some(fault);
        if fault != Fault::IdleTalk {
            if fault == Fault::IdleReset {
                world.reset(self.sock);
            }
            return Went::Off;
        }
        self.tainted = Some(fault);
        self.out.push_back(Out::Talk(misdeeds::talk(world)));
        if world.rng.chance(500) {
            self.out.push_back(Out::Close);
        }
        Went::On
    }

    /// A fault meets what is under way, and whatever comes later on this connection.
    pub(super) fn blame(&mut self, fault: Fault, world: &mut World, ledger: &mut Ledger) {
        world.note(
            "backend: fault {} on sock {}",
            [fault as usize, self.sock.0, 0],
        );
        world.faults.done(fault);
        world.socks[self.sock.0].fault = Some(fault);
        if fault == Fault::Behind {
            self.tainted = Some(fault);
        }
        // An answer that has not arrived is hit too; but what only comes behind an answer must not hurt it.
        let under_way = self.last.filter(|_| !world.is_delivered(self.sock));
        if let Some(current) = self
            .current
            .or(under_way)
            .filter(|_| fault != Fault::Behind)
        {
            ledger
                .attempt(current.id, current.attempt)
                .faults
                .push(fault);
        }
    }

    /// The backend closes the connection, whatever is under way.
    pub(crate) fn kill(
        &mut self,
        fault: Fault,
        manner: Manner,
        world: &mut World,
        ledger: &mut Ledger,
    ) -> Went {
        self.blame(fault, world, ledger);
        if fault == Fault::Restart {
            // It counted once, for the backend.
            world.faults.undo(fault);
        }
        if self.served == 0 {
            // Whose request it would have been, nobody knows.
            let near = world.socks[self.sock.0].peer;
            world.doors.slam(world.now, fault, near);
        }
        // Also the one whose answer is out but has not arrived: a reset may take all of it back.
        let under_way = self.last.filter(|_| !world.is_delivered(self.sock));
        if let Some(current) = self.current.or(under_way) {
            ledger.attempt(current.id, current.attempt).died = true;
        }
        let unread = self.reader.take_rest();
        world.lose(self.sock, &unread, true);
        match manner {
            Manner::Reset => world.reset(self.sock),
            Manner::Close | Manner::Dead => world.close(self.sock),
            Manner::Shut => {
                let _gone = world.shut_write(self.sock);
                self.deaf = true;
                self.out.clear();
                self.current = None;
                if world.rng.chance(300) {
                    // An end of stream, and then a reset.
                    let pause = world.latency();
                    self.out.extend([Out::Pause(pause), Out::Reset]);
                }
                return Went::On;
            }
        }
        Went::Off
    }
}
