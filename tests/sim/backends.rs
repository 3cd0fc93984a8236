//! Scripted backends: they answer as planned, or fail as the seed has it.

use std::collections::BTreeMap;

use super::faults::Fault;
use super::kernel::World;
use super::ledger::Ledger;
use super::link::Went;
use super::plan::Plan;
use super::script::Manner;
use super::serving::Link;
use super::sock::SockId;

/// One backend with its connections.
#[derive(Debug)]
pub(crate) struct Backend {
    index: usize,
    links: BTreeMap<SockId, Link>,
}

impl Backend {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            index,
            links: BTreeMap::new(),
        }
    }

    /// Does all that can be done now on one connection.
    pub(crate) fn run(
        &mut self,
        sock: SockId,
        plan: &Plan,
        world: &mut World,
        ledger: &mut Ledger,
    ) {
        if world.socks[sock.0].closed {
            return;
        }
        let link = self
            .links
            .entry(sock)
            .or_insert_with(|| Link::open(sock, world));
        loop {
            let heard = link.receive(self.index, plan, world, ledger);
            let said = if heard == Went::Off {
                Went::Off
            } else {
                link.transmit(self.index, world, ledger)
            };
            match (heard, said) {
                (Went::Off, _) | (_, Went::Off) => {
                    self.links.remove(&sock);
                    if !world.socks[sock.0].closed {
                        world.note("backend {} closes sock {}", [self.index, sock.0, 0]);
                        world.close(sock);
                    }
                    return;
                }
                (Went::Nowhere, Went::Nowhere) => return,
                _ => {}
            }
        }
    }

    /// The backend dies with all its connections.
    pub(crate) fn die(&mut self, world: &mut World, ledger: &mut Ledger) {
        world.note("backend {} dies", [self.index, 0, 0]);
        world.faults.done(Fault::Restart);
        world.set_down(self.index, true);
        for link in std::mem::take(&mut self.links).into_values() {
            let mut link = link;
            link.kill(Fault::Restart, Manner::Reset, world, ledger);
        }
    }
}
