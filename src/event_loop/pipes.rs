//! Pipes through which bytes go from one socket to another without passing through our memory: splice(2).
//!
//! A pipe is lent to the socket that its bytes are for, and comes back once they are gone. Where none is left, or the kernel
//! gives none of a useful size, or does not splice at all, the bytes are read and written as ever.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::{Rc, Weak};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// Bytes that a pipe is asked to hold. It has a slot for each 4 KiB of that, and each piece that the network brought takes
/// one, so that it may hold less. All pipes together are half of what a user may have without privilege (pipe(7)).
const PIPE_BYTES: usize = 512 * 1024;

/// All pipes.
#[derive(Debug)]
pub(super) struct Pipes(Rc<RefCell<Pool>>);

#[derive(Debug)]
struct Pool {
    #[expect(
        clippy::vec_box,
        reason = "a free pipe is lent as it lies, in a box that costs an idle socket one word"
    )]
    free: Vec<Box<Pipe>>,
    /// How many more may be made.
    left: usize,
}

/// A pipe that is lent, or free.
#[derive(Debug)]
pub(super) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    /// Bytes in it.
    waiting: usize,
    home: Weak<RefCell<Pool>>,
}

impl Pipes {
    /// None yet, and so many at most.
    pub(super) fn new(most: usize) -> Self {
        Self(Rc::new(RefCell::new(Pool {
            free: Vec::new(),
            left: most,
        })))
    }

    /// An empty pipe, if there is one to be had.
    pub(super) fn lend(&self) -> Option<Box<Pipe>> {
        let mut pool = self.0.borrow_mut();
        if let Some(pipe) = pool.free.pop() {
            return Some(pipe);
        }
        pool.left = pool.left.checked_sub(1)?;
        match Pipe::new(Rc::downgrade(&self.0)) {
            Ok(pipe) => Some(Box::new(pipe)),
            Err(error) => {
                // Where this user has too many pages in pipes already (pipe(7)), there is no use in asking again.
                if error.kind() == ErrorKind::PermissionDenied {
                    pool.left = 0;
                } else {
                    pool.left += 1;
                }
                None
            }
        }
    }
}

impl Pipe {
    fn new(home: Weak<RefCell<Pool>>) -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        fcntl_setpipe_size(&writer, PIPE_BYTES)?;
        Ok(Self {
            reader,
            writer,
            waiting: 0,
            home,
        })
    }

    /// Takes what a socket has, at most so much; 0 is the end of the stream, or that it stands behind an urgent byte. To be
    /// asked of an empty pipe, so that would-block is about the socket.
    pub(super) fn fill(&mut self, source: impl AsFd, most: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let count = splice(source, None, &self.writer, None, most, flags)?;
        self.waiting += count;
        Ok(count)
    }

    /// Gives a socket what it has room for.
    pub(super) fn drain(&mut self, sink: impl AsFd) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let count = splice(&self.reader, None, sink, None, self.waiting, flags)?;
        self.waiting -= count;
        Ok(count)
    }

    /// Whether nothing waits in it.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Back to the others; one that still holds bytes is closed instead.
    pub(super) fn give_back(self: Box<Self>) {
        let Some(home) = self.home.upgrade() else {
            return;
        };
        let mut pool = home.borrow_mut();
        if self.is_empty() {
            pool.free.push(self);
        } else {
            pool.left += 1;
        }
    }
}

/// Whether a splice failed because there is none here, or not now, and not because of its socket: a kernel may know none, a
/// sandbox may forbid it.
pub(super) fn is_about_splicing(error: &io::Error) -> bool {
    use ErrorKind::{Interrupted, InvalidInput, OutOfMemory, PermissionDenied, Unsupported};
    matches!(
        error.kind(),
        Interrupted | InvalidInput | OutOfMemory | PermissionDenied | Unsupported
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().expect("two sockets")
    }

    #[test]
    fn what_goes_into_a_pipe_comes_out_of_it() {
        let pipes = Pipes::new(1);
        let (mut peer, ours) = pair();
        let (sink, mut far) = pair();
        peer.write_all(b"abcde").unwrap();
        let mut pipe = pipes.lend().expect("there is one");
        assert_eq!(pipe.fill(&ours, 4).unwrap(), 4);
        assert!(!pipe.is_empty());
        assert_eq!(pipe.drain(&sink).unwrap(), 4);
        assert!(pipe.is_empty());
        let mut got = [0; 4];
        far.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"abcd");
    }

    #[test]
    fn there_are_so_many_pipes_and_no_more() {
        let pipes = Pipes::new(2);
        let (first, second) = (pipes.lend().unwrap(), pipes.lend().unwrap());
        assert!(pipes.lend().is_none());
        first.give_back();
        second.give_back();
        assert_eq!(pipes.0.borrow().free.len(), 2);
        assert!(pipes.lend().is_some());
    }

    #[test]
    fn a_pipe_that_holds_bytes_is_lent_to_nobody() {
        let pipes = Pipes::new(1);
        let (mut peer, ours) = pair();
        peer.write_all(b"secret").unwrap();
        let mut pipe = pipes.lend().unwrap();
        pipe.fill(&ours, 9).unwrap();
        pipe.give_back();
        assert_eq!(pipes.0.borrow().free.len(), 0);
        assert!(pipes.lend().expect("another one").is_empty());
    }

    #[test]
    fn a_kernel_that_does_not_splice_is_no_socket_that_broke() {
        const EPERM: i32 = 1;
        const EINTR: i32 = 4;
        const EAGAIN: i32 = 11;
        const ENOMEM: i32 = 12;
        const EINVAL: i32 = 22;
        const EPIPE: i32 = 32;
        const ENOSYS: i32 = 38;
        const ECONNRESET: i32 = 104;
        const ETIMEDOUT: i32 = 110;
        for errno in [EPERM, EINTR, ENOMEM, EINVAL, ENOSYS] {
            let error = io::Error::from_raw_os_error(errno);
            assert!(is_about_splicing(&error), "{error}");
        }
        for errno in [EAGAIN, EPIPE, ECONNRESET, ETIMEDOUT] {
            let error = io::Error::from_raw_os_error(errno);
            assert!(!is_about_splicing(&error), "{error}");
        }
    }
}
