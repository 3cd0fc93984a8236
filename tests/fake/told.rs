//! A network that remembers what it was told: whom the proxy turned to, and what it said.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use rondel::proxy::Setup;

use super::{Call, Fake, Sock};

/// What the network remembers.
#[derive(Debug, Default)]
pub(super) enum Told {
    /// Nothing, so that nothing is allocated.
    #[default]
    Nothing,
    /// All of it.
    All {
        /// The addresses to which connections were begun, in their order.
        connects: Vec<SocketAddr>,
        /// Where nobody listens.
        refusing: Vec<SocketAddr>,
    },
}

impl Told {
    /// A connection is begun: where its bytes are kept, if they are.
    pub(super) fn connects_to(&mut self, addr: SocketAddr) -> io::Result<Option<Vec<u8>>> {
        let Self::All { connects, refusing } = self else {
            return Ok(None);
        };
        connects.push(addr);
        if refusing.contains(&addr) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        Ok(Some(Vec::new()))
    }
}

impl Fake {
    /// A proxy of this configuration, each listener bound where it says, on a network that remembers.
    pub(crate) fn remembering(setup: Setup) -> Self {
        let told = Told::All {
            connects: Vec::new(),
            refusing: Vec::new(),
        };
        Self::of(setup, told)
    }

    /// From now on nobody listens at these addresses, and at no other is nobody.
    pub(crate) fn refuse(&mut self, addrs: &[SocketAddr]) {
        if let Told::All { refusing, .. } = &mut self.world.borrow_mut().told {
            *refusing = addrs.to_vec();
        }
    }

    /// The addresses to which connections were begun since this was asked last.
    pub(crate) fn connects(&mut self) -> Vec<SocketAddr> {
        match &mut self.world.borrow_mut().told {
            Told::All { connects, .. } => std::mem::take(connects),
            Told::Nothing => Vec::new(),
        }
    }

    /// A client calls from this address and has reached that one, at a listener.
    pub(crate) fn call_at(
        &mut self,
        listener: usize,
        from: SocketAddr,
        local: SocketAddr,
    ) -> usize {
        let sock = {
            let mut world = self.world.borrow_mut();
            world.socks.push(Sock {
                room: usize::MAX,
                taken: Some(Vec::new()),
                local: Some(local),
                ..Sock::default()
            });
            let sock = world.socks.len() - 1;
            world.calling.push_back(Call {
                sock,
                listener,
                from,
            });
            sock
        };
        self.let_in_at(listener);
        sock
    }

    /// What a socket took so far.
    pub(crate) fn taken(&self, id: usize) -> Vec<u8> {
        self.sock(id).taken.clone().unwrap_or_default()
    }
}
