//! Another program takes over: the one that now stands where ours was started from.
//!
//! It is started with the same arguments and environment, and with our listening sockets, told as the service manager would
//! ([`inherit`](super::inherit)). Among them is one end of a channel on which it says that it is ready. Both
//! accept from the same queues then, so that closing ours refuses nobody. If it fails, nothing has changed.

use std::env;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use log::{error, info, warn};
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use rustix::process::{Pid, Signal, kill_process};

use super::inherit::{READY_NAME, READY_WORD, fd_name};

/// How long a new program may take until it is ready; then it is ended, and the old one goes on. Names are resolved in that
/// time, and a large file read.
pub const READY_TIME_MAX: Duration = Duration::from_secs(60);
/// The first descriptor that is handed down (sd_listen_fds(3)).
const FIRST_DESCRIPTOR: i32 = 3;

/// What is known of a new program.
#[derive(Debug)]
pub(super) struct Upgrade {
    program: PathBuf,
    arguments: Vec<OsString>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// There is none.
    Alone,
    /// It was started, and is not ready yet.
    Starting(Starting),
    /// It has taken over.
    HandedOver(Child),
}

#[derive(Debug)]
struct Starting {
    child: Child,
    channel: UnixStream,
    heard: Vec<u8>,
    deadline: Instant,
}

impl Upgrade {
    /// To be made at the start, when what started us still stands where it was.
    pub(super) fn new() -> Self {
        let mut arguments = env::args_os();
        // A name without a slash was looked for by whoever started us.
        let typed = arguments.next().map(PathBuf::from);
        let typed = typed
            .filter(|path| path.components().count() > 1)
            .and_then(|path| std::path::absolute(path).ok())
            .filter(|path| path.is_file());
        let program = typed.or_else(|| env::current_exe().ok());
        Self {
            program: program.unwrap_or_else(|| PathBuf::from("rondel")),
            arguments: arguments.collect(),
            state: State::Alone,
        }
    }

    /// Whether a new program was started, and is not ready yet.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.state, State::Starting(_))
    }

    /// When the new program is to be ready.
    pub(super) fn next(&self) -> Option<Instant> {
        match &self.state {
            State::Starting(starting) => Some(starting.deadline),
            _ => None,
        }
    }

    /// Starts the new program with these listeners. That it has something to say comes as an event for `token`.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start<'a>(
        &mut self,
        listeners: impl Iterator<Item = (&'a str, io::Result<OwnedFd>)>,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> io::Result<()> {
        let (mut channel, theirs) = UnixStream::pair()?;
        registry.register(&mut channel, token, Interest::READABLE)?;
        let mut names = Vec::new();
        let mut mappings = Vec::new();
        let listeners = listeners.map(|(name, socket)| (fd_name(name), socket));
        let ready = (READY_NAME.to_owned(), theirs.as_fd().try_clone_to_owned());
        for (child_fd, (name, socket)) in (FIRST_DESCRIPTOR..).zip(listeners.chain([ready])) {
            names.push(name);
            mappings.push(FdMapping {
                parent_fd: socket?,
                child_fd,
            });
        }
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env("LISTEN_FDS", mappings.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"));
        // These speak of us, or of another place.
        for name in ["LISTEN_PID", "LISTEN_FDS_FIRST_FD", "WATCHDOG_PID"] {
            command.env_remove(name);
        }
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        let child = command.spawn()?;
        info!(
            "a new program was started: {} as process {}",
            self.program.display(),
            child.id()
        );
        self.state = State::Starting(Starting {
            child,
            channel,
            heard: Vec::new(),
            deadline: now + READY_TIME_MAX,
        });
        Ok(())
    }

    /// What the new program was started from.
    pub(super) fn program(&self) -> std::path::Display<'_> {
        self.program.display()
    }

    /// Listens to the new program; once it is ready says which process it is.
    pub(super) fn hear(&mut self) -> Option<u32> {
        let State::Starting(starting) = &mut self.state else {
            return None;
        };
        if !starting.is_ready() {
            return None;
        }
        let State::Starting(Starting { child, .. }) =
            std::mem::replace(&mut self.state, State::Alone)
        else {
            return None;
        };
        let pid = child.id();
        self.state = State::HandedOver(child);
        Some(pid)
    }

    /// Tells the program that has taken over to read its file again. It hears signals before it says that it is ready.
    ///
    /// # Errors
    /// The system does not let us, or there is no such program.
    pub(super) fn tell_to_reload(&self) -> io::Result<()> {
        match &self.state {
            State::HandedOver(child) => Ok(kill_process(Pid::from_child(child), Signal::HUP)?),
            State::Alone | State::Starting(_) => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Some process of ours has ended. Says whether it is the new program, which failed.
    pub(super) fn look_for_end(&mut self) -> bool {
        let (State::Starting(Starting { child, .. }) | State::HandedOver(child)) = &mut self.state
        else {
            return false;
        };
        let pid = child.id();
        let Ok(Some(status)) = child.try_wait() else {
            return false;
        };
        let was_starting = self.is_under_way();
        if was_starting {
            error!(
                "the new program (process {pid}) ended before it was ready: {status}; this one goes on"
            );
        } else {
            warn!("the program that has taken over (process {pid}) has ended: {status}");
        }
        self.state = State::Alone;
        was_starting
    }

    /// Ends the new program if it is late, and says whether it was.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        if self.next().is_none_or(|deadline| now < deadline) {
            return false;
        }
        error!(
            "the new program is not ready after {READY_TIME_MAX:?} and is ended; this one goes on"
        );
        self.give_up();
        true
    }

    /// Ends the new program if it has not taken over yet.
    pub(super) fn give_up(&mut self) {
        if let State::Starting(Starting { child, .. }) = &mut self.state {
            // If it has ended already, that is what was wanted.
            let _ = child.kill();
            let _ = child.wait();
            self.state = State::Alone;
        }
    }
}

impl Starting {
    /// Reads what the new program has said so far. That it says nothing more does not matter: either it ends, or it is late.
    fn is_ready(&mut self) -> bool {
        let mut room = [0; READY_WORD.len()];
        while self.heard.len() < READY_WORD.len() {
            match self.channel.read(&mut room) {
                Ok(count @ 1..) => self.heard.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        self.heard.starts_with(READY_WORD)
    }
}

#[cfg(test)]
mod tests {
    use mio::event::Event;
    use mio::{Events, Poll};

    use super::*;

    const TOKEN: Token = Token(7);

    /// A new program that does this; without listeners its channel is descriptor 3.
    struct Stage {
        upgrade: Upgrade,
        poll: Poll,
        start: Instant,
    }

    #[expect(clippy::disallowed_methods, reason = "the time of a real process")]
    fn stage(script: &str) -> Stage {
        let mut upgrade = Upgrade {
            program: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
            state: State::Alone,
        };
        let (poll, start) = (Poll::new().unwrap(), Instant::now());
        let none = std::iter::empty();
        upgrade.start(none, poll.registry(), TOKEN, start).unwrap();
        Stage {
            upgrade,
            poll,
            start,
        }
    }

    impl Stage {
        /// What is heard with the events of the channel, until it is closed.
        fn hear(&mut self) -> Option<u32> {
            let mut events = Events::with_capacity(8);
            loop {
                let patience = Some(Duration::from_secs(20));
                self.poll.poll(&mut events, patience).unwrap();
                assert!(!events.is_empty(), "nothing more is heard");
                let heard = self.upgrade.hear();
                if heard.is_some() || events.iter().any(Event::is_read_closed) {
                    return heard;
                }
            }
        }
    }

    #[test]
    fn it_has_taken_over_when_it_says_so() {
        let mut stage = stage("printf rea >&3; printf 'dy\\n' >&3; exec tail -f /dev/null");
        let heard = stage.hear();
        assert!(!stage.upgrade.is_under_way());
        assert_eq!(stage.upgrade.next(), None);
        let State::HandedOver(child) = &mut stage.upgrade.state else {
            panic!("{:?}", stage.upgrade);
        };
        assert_eq!(heard, Some(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!stage.upgrade.look_for_end(), "it did not fail to start");
    }

    #[test]
    fn one_that_says_less_and_ends_has_failed() {
        for script in ["printf read >&3", "exit 0"] {
            let mut stage = stage(script);
            assert_eq!(stage.hear(), None);
            assert!(stage.upgrade.is_under_way());
            while !stage.upgrade.look_for_end() {
                std::thread::yield_now();
            }
            assert!(!stage.upgrade.is_under_way());
        }
    }

    #[test]
    fn one_that_is_late_is_ended() {
        let mut stage = stage("exec tail -f /dev/null");
        let deadline = stage.start + READY_TIME_MAX;
        assert_eq!(stage.upgrade.next(), Some(deadline));
        assert!(!stage.upgrade.expire(deadline - Duration::from_millis(1)));
        assert!(stage.upgrade.is_under_way());
        assert!(stage.upgrade.expire(deadline));
        assert!(!stage.upgrade.is_under_way());
    }
}
