//! Sockets that another process opened for us: the service manager (socket activation, sd_listen_fds(3)), or the program
//! that we take over from.
//!
//! They are told in the environment: `LISTEN_FDS` says how many there are, `LISTEN_FDNAMES` what they are called, `LISTEN_PID`,
//! if it is there, whom they are for.

use std::env;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use listenfd::ListenFd;
use log::{info, warn};

/// What the channel is called on which we say that we are ready.
pub(super) const READY_NAME: &str = "rondel-ready";
/// What is said there.
pub(super) const READY_WORD: &[u8] = b"ready\n";

/// What was inherited.
#[derive(Debug, Default)]
pub struct Inherited {
    pub(super) sockets: Vec<Socket>,
    ready: Option<UnixStream>,
    /// What was there and is of no use.
    refused: Vec<String>,
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Socket {
    /// As the environment has it.
    pub(super) name: String,
    pub(super) addr: SocketAddr,
    pub(super) listener: TcpListener,
}

impl Inherited {
    /// Takes what the environment tells of, once. To be called before there are threads, for the environment is changed.
    #[must_use]
    pub fn take() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut fds = ListenFd::from_env();
        let mut inherited = Self::default();
        for i in 0..fds.len() {
            let name = names.next().unwrap_or_default();
            if let Err(why) = inherited.take_one(&mut fds, i, name) {
                inherited.refused.push(format!(
                    "inherited socket {i} ({name:?}) is left alone: {why}"
                ));
            }
        }
        inherited
    }

    fn take_one(&mut self, fds: &mut ListenFd, i: usize, name: &str) -> io::Result<()> {
        if name == READY_NAME {
            // It is no listener, but a stream: the package knows no other way to take one.
            let stream = fds.take_unix_listener(i)?;
            self.ready = stream.map(|stream| UnixStream::from(OwnedFd::from(stream)));
        } else if let Some(listener) = fds.take_tcp_listener(i)? {
            self.sockets.push(Socket {
                name: name.to_owned(),
                addr: listener.local_addr()?,
                listener,
            });
        }
        Ok(())
    }

    /// Whether another process waits for us to take over.
    pub(super) fn takes_over(&self) -> bool {
        self.ready.is_some()
    }

    /// Closes what nobody wanted, and says so.
    pub(super) fn close_rest(&mut self) {
        for line in self.refused.drain(..) {
            warn!("{line}");
        }
        for socket in self.sockets.drain(..) {
            warn!(
                "the inherited socket {:?} at {} is closed: no listener is configured there",
                socket.name, socket.addr
            );
        }
    }

    /// Says to the process that we take over from that we are ready.
    pub(super) fn say_ready(&mut self) {
        if let Some(mut ready) = self.ready.take() {
            match ready.write_all(READY_WORD) {
                Ok(()) => info!("taking over from the program that ran until now"),
                Err(error) => warn!("the program that ran until now is not there: {error}"),
            }
        }
    }
}

/// A listener's name, as it can stand between colons.
pub(super) fn fd_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_graphic() && c != ':' {
            c
        } else {
            '_'
        }
    };
    name.chars().map(plain).collect()
}
