//! Another configuration is read, checked and made ready beside the loop, so that neither a slow resolver nor thousands of
//! routes keep anyone waiting.
//!
//! What is left to do once it is in use is done there too. One is read at a time. Whoever asks meanwhile may know of a newer
//! file, so that it is read once more, for all of them.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use log::{error, info};
use mio::Waker;

use crate::config::Config;
use crate::proxy::Setup;

use super::room::Room;

/// Reads the configuration anew, resolves its names and compares it with the one that is in use. It may take its time, and
/// runs in a thread of its own. Errors are lines for the log, each whole.
pub type Load = Arc<dyn Fn(&Config) -> Result<Loaded, Vec<String>> + Send + Sync>;

/// A configuration that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration; its backends have their addresses.
    pub config: Config,
    /// What changes and what follows from it, as lines for the log.
    pub report: Vec<String>,
}

/// A configuration that can be switched to.
#[derive(Debug)]
pub(super) struct Ready {
    /// As it was read.
    pub(super) config: Arc<Config>,
    pub(super) setup: Setup,
    pub(super) report: Vec<String>,
    /// Whoever does the rest once it is in use.
    pub(super) rest: Sender<Rest>,
}

/// What is left to do when another configuration is in use. With thousands of routes that takes long, and the loop must not be
/// the one that does it: each change is a line for the log, and each piece of memory is given back by itself.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) report: Vec<String>,
    /// How long the loop did nothing else.
    pub(super) waited: Duration,
    /// What was in use until now, as it was read.
    pub(super) config: Arc<Config>,
    /// As it was served.
    pub(super) served: Setup,
}

impl Rest {
    /// Tells the log what has changed, and takes apart what was in use before.
    pub(super) fn finish(self) {
        let Self {
            report,
            waited,
            config,
            served,
        } = self;
        for line in report {
            info!("reload: {line}");
        }
        info!("the configuration was reloaded; everybody waited {waited:.1?} for it");
        drop((config, served));
    }
}

/// Where the next configuration comes from.
pub(super) struct Reload {
    load: Option<Load>,
    /// The configuration in use, as it was read.
    config: Arc<Config>,
    room: Room,
    waker: Arc<Waker>,
    results: (Sender<Outcome>, Receiver<Outcome>),
    /// How many were begun.
    begun: u64,
    under_way: bool,
    /// Whether to begin anew when this one is read.
    again: bool,
}

type Outcome = Result<Ready, Vec<String>>;

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload")
            .field("begun", &self.begun)
            .field("under_way", &self.under_way)
            .field("again", &self.again)
            .finish_non_exhaustive()
    }
}

impl Reload {
    /// Nothing is read yet; the waker wakes the loop when something was.
    pub(super) fn new(
        load: Option<Load>,
        config: Arc<Config>,
        room: Room,
        waker: Arc<Waker>,
    ) -> Self {
        Self {
            load,
            config,
            room,
            waker,
            results: channel(),
            begun: 0,
            under_way: false,
            again: false,
        }
    }

    /// Whether a configuration is being read.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Begins to read, now or when the reading that is under way has ended. Says the number of that reading.
    ///
    /// # Errors
    /// There is nothing to read, or no thread to be had.
    pub(super) fn begin(&mut self) -> Result<u64, String> {
        let number = self.next()?;
        if self.under_way {
            self.again = true;
        } else {
            self.start()?;
        }
        Ok(number)
    }

    /// The number of the reading that would begin next.
    ///
    /// # Errors
    /// There is nothing to read.
    pub(super) fn next(&self) -> Result<u64, String> {
        if self.load.is_none() {
            return Err("nothing to reload: rondel was started without a file".to_owned());
        }
        Ok(self.begun + 1)
    }

    /// The configuration in use, as it was read.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The configuration that was switched to; gives back the one before.
    pub(super) fn switched(&mut self, config: Arc<Config>) -> Arc<Config> {
        mem::replace(&mut self.config, config)
    }

    /// What was read, once it is, with the number of that reading. Then is the time to [`go_on`](Self::go_on).
    pub(super) fn take(&mut self) -> Option<(u64, Outcome)> {
        if !self.under_way {
            return None;
        }
        let outcome = self.results.1.try_recv().ok()?;
        self.under_way = false;
        Some((self.begun, outcome))
    }

    /// Begins the reading that was asked for while another one was under way. Says whether it has.
    ///
    /// # Errors
    /// There is no thread to be had; with the number of the reading that does not happen.
    pub(super) fn go_on(&mut self) -> Result<bool, (u64, String)> {
        if !mem::take(&mut self.again) {
            return Ok(false);
        }
        match self.start() {
            Ok(()) => Ok(true),
            Err(why) => {
                self.begun += 1;
                Err((self.begun, why))
            }
        }
    }

    fn start(&mut self) -> Result<(), String> {
        let Some(load) = self.load.clone() else {
            return Ok(());
        };
        let (config, room) = (Arc::clone(&self.config), self.room);
        let (sender, waker) = (self.results.0.clone(), Arc::clone(&self.waker));
        let work = move || {
            let (rest, in_use) = channel::<Rest>();
            let outcome = read(&load, &config, room, rest);
            drop(config);
            // If the loop has ended meanwhile, nobody wants to know.
            let _ = sender.send(outcome);
            if let Err(error) = waker.wake() {
                error!("the loop cannot be woken: {error}");
            }
            // If it is not switched to, nothing is left to do.
            if let Ok(rest) = in_use.recv() {
                rest.finish();
            }
        };
        let thread = thread::Builder::new().name("reload".to_owned());
        let thread = thread.spawn(work);
        thread.map_err(|error| format!("no thread to read the file: {error}"))?;
        self.begun += 1;
        self.under_way = true;
        Ok(())
    }
}

/// Reads it and makes it ready. A panic is told as an error: without an answer, nothing would ever be read again.
fn read(load: &Load, config: &Config, room: Room, rest: Sender<Rest>) -> Outcome {
    let read = AssertUnwindSafe(|| {
        let Loaded { config, report } = load(config)?;
        let mut fitting = config.clone();
        room.fit(&mut fitting);
        Ok(Ready {
            config: Arc::new(config),
            setup: Setup::new(fitting),
            report,
            rest,
        })
    });
    catch_unwind(read).unwrap_or_else(|_| {
        Err(vec![
            "reading it failed by a mistake in rondel; please report it".to_owned(),
        ])
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::mpsc::sync_channel;

    use mio::{Events, Poll, Token};

    use crate::config::{Backend, Pool};

    use super::*;

    fn config(sessions_max: usize) -> Config {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let backend = Backend::at("b", addr.into(), vec![addr]);
        let mut config = Config::simple(&[addr], Pool::new("p", vec![backend]));
        config.limits.sessions_max = sessions_max;
        config
    }

    /// A loop that only reloads.
    struct Stage {
        poll: Poll,
        reload: Reload,
    }

    fn stage(load: Option<Load>) -> Stage {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let config = Arc::new(config(1));
        let reload = Reload::new(load, config, Room::of(1000), waker);
        Stage { poll, reload }
    }

    impl Stage {
        /// Sleeps until something was read.
        fn next(&mut self) -> (u64, Outcome) {
            let mut events = Events::with_capacity(8);
            loop {
                if let Some(outcome) = self.reload.take() {
                    return outcome;
                }
                let patience = Some(Duration::from_secs(20));
                self.poll.poll(&mut events, patience).unwrap();
                assert!(!events.is_empty(), "the loop is woken");
            }
        }
    }

    #[test]
    fn what_is_read_fits_the_descriptors_and_is_compared_as_it_was_read() {
        let mut stage = stage(Some(Arc::new(|present: &Config| {
            Ok(Loaded {
                config: config(10_000),
                report: vec![format!("{} before", present.limits.sessions_max)],
            })
        })));
        for before in ["1 before", "10000 before"] {
            stage.reload.begin().unwrap();
            let ready = stage.next().1.unwrap();
            assert_eq!(ready.report, [before]);
            assert_eq!(ready.config.limits.sessions_max, 10_000);
            assert!(ready.setup.config().limits.sessions_max < 500);
            let rest = Rest {
                report: ready.report,
                waited: Duration::ZERO,
                config: stage.reload.switched(ready.config),
                served: ready.setup,
            };
            let sent = ready.rest.send(rest);
            assert!(sent.is_ok(), "the thread that read it does the rest");
        }
    }

    #[test]
    fn a_panic_is_an_error_and_the_next_reading_works() {
        let panics = std::sync::Mutex::new(true);
        let mut stage = stage(Some(Arc::new(move |_: &Config| {
            let mut panics = panics.lock().expect("it is not held when it panics");
            let now = mem::take(&mut *panics);
            drop(panics);
            assert!(!now, "as the test wants it");
            Err(vec!["no".to_owned()])
        })));
        assert_eq!(stage.reload.begin(), Ok(1));
        let errors = stage.next().1.unwrap_err();
        assert!(errors[0].contains("a mistake in rondel"), "{errors:?}");
        assert_eq!(stage.reload.begin(), Ok(2));
        assert_eq!(stage.next().1.unwrap_err(), ["no"]);
    }

    #[test]
    fn one_is_read_at_a_time_and_once_more_for_all_that_asked_meanwhile() {
        let (go, gone) = sync_channel::<()>(0);
        let gone = std::sync::Mutex::new(gone);
        let mut stage = stage(Some(Arc::new(move |_: &Config| {
            let wait = gone.lock().expect("nobody panics").recv();
            Err(vec![format!("{wait:?}")])
        })));
        let numbers = [(); 3].map(|()| stage.reload.begin());
        assert_eq!(numbers, [Ok(1), Ok(2), Ok(2)]);
        go.send(()).unwrap();
        assert_eq!(stage.next().0, 1);
        assert_eq!(stage.reload.go_on(), Ok(true));
        go.send(()).unwrap();
        assert_eq!(stage.next().0, 2);
        assert_eq!(stage.reload.go_on(), Ok(false));
        assert!(!stage.reload.is_under_way());
    }

    #[test]
    fn without_a_file_there_is_nothing_to_reload() {
        let mut stage = stage(None);
        assert!(
            stage
                .reload
                .begin()
                .unwrap_err()
                .starts_with("nothing to reload")
        );
        assert!(!stage.reload.is_under_way());
    }
}
