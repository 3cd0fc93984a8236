//! The proxy's side of the fake kernel: [`Net`] and [`Stream`] over the shared [`World`].

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;

use rondel::net::stream::{Net, Owner, Stream};

use super::announced::DESTINATION;
use super::kernel::World;
use super::sock::SockId;

/// The network as the proxy sees it.
#[derive(Debug)]
pub(crate) struct SimNet {
    pub(crate) world: Rc<RefCell<World>>,
}

/// One connection of the proxy.
#[derive(Debug)]
pub(crate) struct SimStream {
    world: Rc<RefCell<World>>,
    sock: SockId,
    fd: usize,
    /// What was spliced here and waits in a pipe.
    pipe: Vec<u8>,
}

impl SimNet {
    fn stream(&self, sock: SockId, fd: usize) -> SimStream {
        SimStream {
            world: Rc::clone(&self.world),
            sock,
            fd,
            pipe: Vec::new(),
        }
    }
}

impl Net for SimNet {
    type Stream = SimStream;

    fn accept(&mut self, listener: usize) -> io::Result<(SimStream, SocketAddr)> {
        let (sock, fd, addr) = self.world.borrow_mut().accept(listener)?;
        Ok((self.stream(sock, fd), addr))
    }

    fn connect(&mut self, addr: SocketAddr) -> io::Result<SimStream> {
        let (sock, fd) = self.world.borrow_mut().connect(addr)?;
        Ok(self.stream(sock, fd))
    }

    fn splice(
        &mut self,
        source: &mut SimStream,
        sink: &mut SimStream,
        most: usize,
    ) -> io::Result<usize> {
        assert!(most > 0, "a splice of nothing tells nothing");
        assert!(
            sink.pipe.is_empty(),
            "only where nothing waits it is spliced to"
        );
        let mut world = self.world.borrow_mut();
        let bytes = world.splice(source.sock, most)?;
        world.note(
            "proxy splices {} of sock {} to sock {}",
            [bytes.len(), source.sock.0, sink.sock.0],
        );
        sink.pipe = bytes;
        Ok(sink.pipe.len())
    }

    fn assign(&mut self, stream: &SimStream, owner: Owner) {
        self.world
            .borrow_mut()
            .assign(stream.sock, stream.fd, owner);
    }

    fn forget_owners(&mut self) {
        self.world.borrow_mut().descriptors.forget_owners();
    }

    fn close_listener(&mut self, listener: usize) {
        self.world.borrow_mut().close_listener(listener);
    }
}

impl Stream for SimStream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        assert!(!room.is_empty(), "a read without room tells nothing");
        let mut world = self.world.borrow_mut();
        let result = world.read(self.sock, room);
        match &result {
            Ok(count) => world.note("proxy reads {} of sock {}", [*count, self.sock.0, 0]),
            Err(error) => {
                let errno = usize::try_from(error.raw_os_error().unwrap_or(0)).unwrap_or(0);
                world.note(
                    "proxy cannot read sock {} (errno {})",
                    [self.sock.0, errno, 0],
                );
            }
        }
        result
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!bytes.is_empty(), "a write of nothing tells nothing");
        let mut world = self.world.borrow_mut();
        let result = world.write(self.sock, bytes);
        match &result {
            Ok(count) => world.note(
                "proxy writes {} of {} to sock {}",
                [*count, bytes.len(), self.sock.0],
            ),
            Err(error) => {
                let errno = usize::try_from(error.raw_os_error().unwrap_or(0)).unwrap_or(0);
                world.note(
                    "proxy cannot write to sock {} (errno {})",
                    [self.sock.0, errno, 0],
                );
            }
        }
        result
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| piece.iter().copied())
            .collect();
        self.write(&bytes)
    }

    fn send_spliced(&mut self) -> io::Result<usize> {
        let pipe = std::mem::take(&mut self.pipe);
        let result = self.write(&pipe);
        let sent = *result.as_ref().unwrap_or(&0);
        self.pipe = pipe[sent..].to_vec();
        if self.pipe.is_empty() {
            self.world.borrow_mut().pipes_lent -= 1;
        }
        result
    }

    fn connected(&mut self) -> io::Result<bool> {
        let mut world = self.world.borrow_mut();
        let sock = &mut world.socks[self.sock.0];
        match sock.error.take() {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(!sock.connecting && !sock.reset),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(DESTINATION)
    }

    fn unacknowledged(&self) -> Option<u64> {
        self.world.borrow().unacknowledged(self.sock)
    }

    fn check(&mut self) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        world.socks[self.sock.0]
            .error
            .take()
            .map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    fn shut_write(&mut self) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        world.note("proxy shuts sock {}", [self.sock.0, 0, 0]);
        world.shut_write(self.sock)
    }

    fn reset_on_close(&mut self) {
        self.world.borrow_mut().socks[self.sock.0].reset_on_close = true;
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        // While a failed run unwinds, the world may be in the middle of something.
        if let Ok(mut world) = self.world.try_borrow_mut() {
            world.note("proxy closes sock {} (fd {})", [self.sock.0, self.fd, 0]);
            world.pipes_lent -= usize::from(!self.pipe.is_empty());
            world.close(self.sock);
        }
    }
}
