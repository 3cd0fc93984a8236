//! Three small backends inside this process, to see a load balancer at work: they say their name, can be taken down and
//! brought back, and answer slowly when asked to. Plain threads and blocking sockets; nothing of the proxy is in here.
//!
//! All that they share is under one lock, [`Desk`]: who is up, and which connections are idle, so that taking a backend
//! down ends those at once and lets the others finish what they answer.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

mod server;

/// The names of the backends.
pub(crate) const NAMES: [&str; 3] = ["b1", "b2", "b3"];
/// Connections that one backend serves at a time, a thread each; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
const STACK_BYTES: usize = 256 * 1024;
/// How long our own wake-up call may take to reach a listener on loopback.
const WAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// The backends, shared by all their threads.
pub(crate) struct Backends {
    addrs: [SocketAddr; NAMES.len()],
    desks: Mutex<[Desk; NAMES.len()]>,
    /// Told when a connection ends or a backend goes down.
    changed: Condvar,
    /// Held while a backend is taken down or brought back, so that only one thing happens at a time.
    turn: Mutex<()>,
}

/// What is known of one backend.
#[derive(Default)]
struct Desk {
    /// The thread that accepts; none while the backend is down.
    acceptor: Option<JoinHandle<()>>,
    connections: HashMap<u64, Connection>,
    connections_ever: u64,
    requests: u64,
}

struct Connection {
    stream: TcpStream,
    /// Whether it waits for a request.
    idle: bool,
}

/// What became of a wish to take down or bring back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// It was so already.
    Already,
    /// It is the last one up.
    Last,
    /// Its port could not be bound again.
    Failed(io::ErrorKind),
}

impl Backends {
    /// Starts all of them on free loopback ports.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let mut addrs = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); NAMES.len()];
        let mut listeners = Vec::with_capacity(NAMES.len());
        for addr in &mut addrs {
            let listener = TcpListener::bind(*addr)?;
            *addr = listener.local_addr()?;
            listeners.push(listener);
        }
        let backends = Arc::new(Self {
            addrs,
            desks: Mutex::default(),
            changed: Condvar::new(),
            turn: Mutex::new(()),
        });
        for (at, listener) in listeners.into_iter().enumerate() {
            backends.open(at, listener)?;
        }
        Ok(backends)
    }

    /// Each with its name and address.
    pub(crate) fn list(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        NAMES.into_iter().zip(self.addrs)
    }

    fn open(self: &Arc<Self>, at: usize, listener: TcpListener) -> io::Result<()> {
        let shared = Arc::clone(self);
        // The desk is held until the thread is on it: the thread takes an empty place for a backend that is down.
        let mut desks = self.desks();
        desks[at].acceptor = Some(spawn(move || shared.accept(at, &listener))?);
        Ok(())
    }

    /// Accepts until the backend is down, then what had been promised until then; the listener closes on return.
    fn accept(self: &Arc<Self>, at: usize, listener: &TcpListener) {
        while self.has_room(at) {
            match listener.accept() {
                Ok((stream, _)) => self.serve(at, stream),
                // Out of descriptors: the next try may fare better, but not at once.
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
        if listener.set_nonblocking(true).is_ok() {
            while let Ok((stream, _)) = listener.accept() {
                self.serve(at, stream);
            }
        }
    }

    /// Waits for room for one more connection; false when the backend is down.
    fn has_room(&self, at: usize) -> bool {
        let full = |desks: &mut [Desk; NAMES.len()]| {
            desks[at].acceptor.is_some() && desks[at].connections.len() >= CONNECTIONS_MAX
        };
        let desks = self.changed.wait_while(self.desks(), full);
        desks.unwrap_or_else(PoisonError::into_inner)[at]
            .acceptor
            .is_some()
    }

    /// Serves a connection in a thread of its own. Without one to be had, the connection closes.
    fn serve(self: &Arc<Self>, at: usize, stream: TcpStream) {
        let Ok(copy) = stream.try_clone() else { return };
        let id = {
            let desk = &mut self.desks()[at];
            desk.connections_ever += 1;
            let connection = Connection {
                stream: copy,
                idle: true,
            };
            desk.connections.insert(desk.connections_ever, connection);
            desk.connections_ever
        };
        let seat = server::Seat {
            backends: Arc::clone(self),
            at,
            id,
        };
        // When no thread starts, the seat is dropped with the closure, and gives up its place.
        let _ = spawn(move || seat.serve(&stream));
    }

    /// A request has begun.
    fn begin(&self, at: usize, id: u64) {
        if let Some(connection) = self.desks()[at].connections.get_mut(&id) {
            connection.idle = false;
        }
    }

    /// A request was answered; whether the connection may wait for another.
    fn finish(&self, at: usize, id: u64) -> bool {
        let desk = &mut self.desks()[at];
        desk.requests += 1;
        if let Some(connection) = desk.connections.get_mut(&id) {
            connection.idle = true;
        }
        desk.acceptor.is_some()
    }

    fn leave(&self, at: usize, id: u64) {
        self.desks()[at].connections.remove(&id);
        self.changed.notify_all();
    }

    fn is_up(&self, at: usize) -> bool {
        self.desks()[at].acceptor.is_some()
    }

    /// Takes a backend down: its listener closes, idle connections close, the others after what they answer now.
    fn stop(&self, at: usize) -> Outcome {
        let _turn = self.turn();
        let acceptor = {
            let mut desks = self.desks();
            let up = desks.iter().filter(|desk| desk.acceptor.is_some()).count();
            if desks[at].acceptor.is_none() {
                return Outcome::Already;
            }
            if up == 1 {
                return Outcome::Last;
            }
            for connection in desks[at].connections.values().filter(|c| c.idle) {
                // Only the read side: a request that has just come is still read, and answered.
                let _ = connection.stream.shutdown(Shutdown::Read);
            }
            desks[at].acceptor.take()
        };
        self.changed.notify_all();
        // The acceptor waits in accept(2): a connection of our own makes it look up.
        let _ = TcpStream::connect_timeout(&self.addrs[at], WAKE_TIMEOUT);
        if let Some(acceptor) = acceptor {
            // A panic of the acceptor has closed its listener just as well.
            let _ = acceptor.join();
        }
        Outcome::Done
    }

    /// Brings a backend back, on the port that it had.
    fn restart(self: &Arc<Self>, at: usize) -> Outcome {
        let _turn = self.turn();
        if self.is_up(at) {
            return Outcome::Already;
        }
        match TcpListener::bind(self.addrs[at]).and_then(|listener| self.open(at, listener)) {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(error.kind()),
        }
    }

    /// A line for each backend.
    fn status(&self) -> String {
        let desks = self.desks();
        let mut text = String::new();
        for ((name, addr), desk) in self.list().zip(desks.iter()) {
            let state = if desk.acceptor.is_some() {
                "up"
            } else {
                "down"
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} {state:<4} {addr} requests={}", desk.requests);
        }
        text
    }

    // No thread leaves anything half done under these locks, so a panic in one is no reason to stop the others.

    fn desks(&self) -> MutexGuard<'_, [Desk; NAMES.len()]> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().stack_size(STACK_BYTES).spawn(run)
}

/// What to try, with the proxy at `addr`.
pub(crate) fn guide(addr: SocketAddr) -> String {
    let mut shown = addr;
    if addr.ip().is_unspecified() {
        shown.set_ip(if addr.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let url = format!("http://{shown}");
    format!(
        "rondel shares requests to {url} among three small backends: b1, b2, b3.

Try, in another terminal:

  curl {url}/
      three times: another name answers each time, and shows what it was sent
  curl -X POST {url}/demo/stop/b2
      takes b2 down; curl on: no request fails
  curl -X POST {url}/demo/start/b2
      brings it back; it is used again within seconds
  curl {url}/demo/status
      who is up, and how many requests each has answered
  curl -d hello {url}/
      sends a body; the backend counts its bytes
  curl '{url}/slow?ms=5000'
      takes 5 s; press Ctrl-C here meanwhile: it is still answered

Ctrl-C ends it.
"
    )
}
