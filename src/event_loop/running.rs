//! Everything that goes on in the loop: the proxy, and what changes it while it serves.

use std::sync::Arc;
use std::sync::mpsc::SendError;
use std::time::{Duration, Instant};

use log::{error, info, warn};
use mio::Registry;
use mio::event::Event;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR2};

use crate::admin::{Command, Reply};
use crate::config::Config;
use crate::proxy::{Now, Proxy};

use super::control::Control;
use super::inherit::Inherited;
use super::kernel::Kernel;
use super::listeners::Listeners;
use super::reload::{Ready, Reload, Rest};
use super::systemd::Manager;
use super::upgrade::Upgrade;
use super::{CONTROL_FIRST, Ending, NEW_PROGRAM, read_clocks, readiness};

/// What the manager is told while all is well.
const SERVING: &str = "serving";

/// The proxy, and all around it.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) proxy: Proxy<Kernel>,
    pub(super) listeners: Listeners,
    pub(super) reload: Reload,
    pub(super) upgrade: Upgrade,
    pub(super) control: Option<Control>,
    pub(super) manager: Manager,
    pub(super) registry: Registry,
    pub(super) stage: Stage,
    /// Whether a reload was asked for while a new program was starting: that one may have read the file before.
    pub(super) reload_wanted: bool,
}

/// The control socket of another configuration; `None` if it stays as it is.
type NextControl = Option<Option<Control>>;

/// Where we are in our life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Clients are accepted.
    Serving,
    /// They are, and a new program is to be started as soon as the configuration is read.
    UpgradeWanted,
    /// A new program serves; what began here is finished here.
    HandedOver,
    /// Told to stop.
    Stopping,
}

impl Running {
    /// All is bound: whoever waits for us is told.
    pub(super) fn begin(&mut self, inherited: &mut Inherited) {
        inherited.say_ready();
        if let Some(control) = &mut self.control
            && let Err(error) = control.open(&self.registry, CONTROL_FIRST)
        {
            error!(
                "no commands are taken at {}: {error}",
                control.path().display()
            );
            self.control = None;
        }
        self.manager.ready(SERVING);
    }

    /// An event came that is not of signals. Sets flags, nothing else; those that read or start something look by themselves.
    pub(super) fn notify(&mut self, event: &Event) {
        let token = event.token();
        if token >= CONTROL_FIRST {
            if let Some(control) = &mut self.control {
                control.notify();
            }
        } else if let Some(owner) = self.proxy.net().owner(token) {
            self.proxy.notify(owner, readiness(event));
        }
    }

    /// How long the loop may sleep.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let control = self.control.as_ref();
        let next = [
            control.and_then(|control| control.next(now)),
            self.upgrade.next(),
            self.manager.next(),
        ];
        let next = next.into_iter().flatten().min();
        let next = next.map(|at| at.saturating_duration_since(now));
        [next, self.proxy.wait(now)].into_iter().flatten().min()
    }

    /// One round.
    pub(super) fn tick(&mut self, now: Now) {
        if let Some(pid) = self.upgrade.hear() {
            self.hand_over(pid, now);
        }
        if self.upgrade.expire(now.instant) {
            self.go_on_alone("the new program was late; serving as before", now);
        }
        self.take_commands(now);
        while let Some((number, outcome)) = self.reload.take() {
            self.end_reload(number, outcome, now);
        }
        self.proxy.tick(now);
        self.manager.tick(now.instant);
    }

    /// What a signal asks for.
    pub(super) fn obey(&mut self, signal: i32, now: Now) {
        match signal {
            SIGTERM | SIGINT if self.stage != Stage::Stopping => {
                let status = self.stop(now);
                info!("{status}; signal again to end at once");
            }
            SIGTERM | SIGINT | SIGQUIT => {
                self.stop(now);
                self.proxy.cut_short();
            }
            SIGHUP => {
                if let Err(why) = self.begin_reload() {
                    info!("signal {signal} ignored: {why}");
                    self.answer_manager(&why);
                }
            }
            SIGUSR2 => {
                if let Err(why) = self.begin_upgrade(now) {
                    info!("signal {signal} ignored: {why}");
                }
            }
            SIGCHLD => {
                if self.upgrade.look_for_end() {
                    self.go_on_alone("the new program failed; serving as before", now);
                }
            }
            _ => info!("signal {signal} ignored: there is nothing to reopen"),
        }
    }

    /// How it ended, if it has.
    pub(super) fn ending(&self) -> Option<Ending> {
        if !self.proxy.is_finished() {
            return None;
        }
        Some(match self.proxy.counts().cut_short {
            0 => {
                info!("stopped: everything was finished");
                Ending::Drained
            }
            count => {
                // At info: a client can bring it about.
                info!("stopped: {count} clients were cut short");
                Ending::CutShort
            }
        })
    }

    /// Finishes what runs; says how much that is.
    fn stop(&mut self, now: Now) -> String {
        self.proxy.drain(now);
        self.upgrade.give_up();
        let sessions = self.proxy.counts().sessions;
        let status = format!(
            "stopping: {sessions} clients connected, at most {:?} left",
            self.reload.config().timeouts.drain
        );
        self.manager.stopping(&status);
        self.stage = Stage::Stopping;
        if std::mem::take(&mut self.reload_wanted) {
            self.tell(u64::MAX, Err(vec!["rondel is stopping".to_owned()]), now);
        }
        status
    }

    fn take_commands(&mut self, now: Now) {
        let Some(control) = &mut self.control else {
            return;
        };
        for (connection, command) in control.turn(&self.registry, CONTROL_FIRST, now.instant) {
            let begun = match command {
                Command::Reload => self.begin_reload(),
            };
            let Some(control) = &mut self.control else {
                return;
            };
            match begun {
                Ok(number) => control.wait_for(connection, number),
                Err(why) => control.answer(connection, &Reply::failed(vec![why]), now.instant),
            }
        }
    }

    /// Begins to read the configuration again, or remembers that it is to be; says the number of the reading.
    fn begin_reload(&mut self) -> Result<u64, String> {
        match self.stage {
            Stage::Serving | Stage::UpgradeWanted => {}
            Stage::HandedOver => {
                return Err("a new program has taken over: ask that one".to_owned());
            }
            Stage::Stopping => return Err("rondel is stopping".to_owned()),
        }
        if self.upgrade.is_under_way() {
            let number = self.reload.next()?;
            info!(
                "the configuration will be read again when the new program serves, or has failed"
            );
            self.reload_wanted = true;
            return Ok(number);
        }
        let was_under_way = self.reload.is_under_way();
        let number = self.reload.begin()?;
        if was_under_way {
            info!("the configuration will be read once more");
        } else {
            self.reload_has_begun();
        }
        Ok(number)
    }

    /// The manager that asked for a reload waits until it has one.
    fn answer_manager(&mut self, why: &str) {
        if self.stage < Stage::HandedOver && !self.reload.is_under_way() && !self.reload_wanted {
            self.manager.reloading();
            self.manager
                .ready(&format!("not reloaded, serving as before: {why}"));
        }
    }

    fn reload_has_begun(&mut self) {
        info!("reading the configuration again");
        self.manager.reloading();
    }

    /// The configuration was read, or could not be.
    fn end_reload(&mut self, number: u64, outcome: Result<Ready, Vec<String>>, now: Now) {
        let switched = outcome.and_then(|ready| self.switch(ready, now));
        let (switched, control) = match switched {
            Ok((report, control)) => (Ok(report), control),
            Err(errors) => (Err(errors), None),
        };
        let status = match &switched {
            Ok(_) => SERVING.to_owned(),
            Err(errors) => {
                for error in errors {
                    // Whoever asks at the control socket is shown the line of the file too.
                    error!("reload refused: {}", first_line(error));
                }
                let first = errors.first().map_or("", |error| first_line(error));
                format!("reload refused, serving as before: {first}")
            }
        };
        if self.stage < Stage::HandedOver {
            self.manager.ready(&status);
        }
        self.tell(number, switched, now);
        if let Some(control) = control {
            // Only now: those that asked stand at the present one.
            let moved = "the control socket has moved: ask there".to_owned();
            self.tell(u64::MAX, Err(vec![moved]), now);
            self.control = control;
        }
        if self.stage >= Stage::HandedOver {
            let stopping = "rondel is stopping".to_owned();
            return self.tell(u64::MAX, Err(vec![stopping]), now);
        }
        match self.reload.go_on() {
            Ok(true) => return self.reload_has_begun(),
            Ok(false) => {}
            Err((number, why)) => {
                error!("reload refused: {why}");
                self.tell(number, Err(vec![why]), now);
            }
        }
        if self.stage == Stage::UpgradeWanted {
            self.stage = Stage::Serving;
            if let Err(why) = self.begin_upgrade(now) {
                warn!("no new program is started: {why}");
            }
        }
    }

    /// Tells those that asked for it what a reload came to.
    fn tell(&mut self, number: u64, switched: Result<Vec<String>, Vec<String>>, now: Now) {
        if let Some(control) = &mut self.control {
            let reply = switched.map_or_else(Reply::failed, Reply::done);
            control.answer_all(number, &reply, now.instant);
        }
    }

    /// Serves another configuration from now on, or goes on as before and says why. What is new is opened first. Says what has
    /// changed, and hands out the next control socket.
    fn switch(
        &mut self,
        ready: Ready,
        now: Now,
    ) -> Result<(Vec<String>, NextControl), Vec<String>> {
        if self.stage >= Stage::HandedOver {
            return Err(vec!["rondel is stopping".to_owned()]);
        }
        let control = self.next_control(&ready.config)?;
        let listeners = self
            .listeners
            .change(&ready.config.listeners, &mut Vec::new(), self.proxy.net())
            .map_err(|refused| {
                vec![format!(
                    "cannot listen on {}: {}",
                    refused.addr, refused.error
                )]
            })?;
        listeners.log_changes(&self.listeners);
        let served = self.proxy.reload(ready.setup, &listeners.bound(), now);
        self.listeners = listeners;
        let config = self.reload.switched(Arc::clone(&ready.config));
        let rest = Rest {
            report: ready.report.clone(),
            waited: read_clocks().instant.duration_since(now.instant),
            config,
            served,
        };
        if let Err(SendError(rest)) = ready.rest.send(rest) {
            rest.finish();
        }
        Ok((ready.report, control))
    }

    /// The control socket of another configuration, where it is not the one that we have.
    fn next_control(&mut self, config: &Config) -> Result<NextControl, Vec<String>> {
        let present = self.control.as_ref().map(Control::path);
        if present == config.control.as_deref() {
            return Ok(None);
        }
        let Some(path) = &config.control else {
            return Ok(Some(None));
        };
        let made = Control::make(path, false).and_then(|mut control| {
            control.open(&self.registry, CONTROL_FIRST)?;
            Ok(control)
        });
        let refused = |error| {
            vec![format!(
                "cannot take commands at {}: {error}",
                path.display()
            )]
        };
        made.map(|control| Some(Some(control))).map_err(refused)
    }

    /// Starts the new program, now or when the configuration is read.
    fn begin_upgrade(&mut self, now: Now) -> Result<(), String> {
        match self.stage {
            Stage::Serving | Stage::UpgradeWanted => {}
            Stage::HandedOver => return Err("a new program has taken over already".to_owned()),
            Stage::Stopping => return Err("rondel is stopping".to_owned()),
        }
        if self.upgrade.is_under_way() {
            return Err("a new program is starting already".to_owned());
        }
        if self.reload.is_under_way() {
            info!("a new program will be started when the configuration is read");
            self.stage = Stage::UpgradeWanted;
            return Ok(());
        }
        let kernel = self.proxy.net();
        let named = self.listeners.named();
        let sockets = named.map(|(name, listener)| (name, kernel.duplicate(listener)));
        let started = self
            .upgrade
            .start(sockets, &self.registry, NEW_PROGRAM, now.instant);
        match started {
            Ok(()) => self.manager.status("a new program is starting"),
            Err(error) => {
                let program = self.upgrade.program();
                error!("the new program {program} cannot be started: {error}; this one goes on");
                self.manager
                    .status("the new program cannot be started; serving as before");
            }
        }
        Ok(())
    }

    /// There is no new program after all. Whoever asked for a reload meanwhile gets it here.
    fn go_on_alone(&mut self, status: &str, now: Now) {
        self.manager.status(status);
        if std::mem::take(&mut self.reload_wanted)
            && let Err(why) = self.begin_reload()
        {
            error!("reload refused: {why}");
            self.tell(u64::MAX, Err(vec![why]), now);
        }
    }

    /// The new program is ready: what began here is finished here, and nothing more begins.
    fn hand_over(&mut self, pid: u32, now: Now) {
        self.stage = Stage::HandedOver;
        self.manager.hand_over(pid);
        self.pass_reload_on(pid, now);
        if let Some(control) = self.control.take() {
            control.leave();
        }
        self.proxy.hand_over(now);
        let sessions = self.proxy.counts().sessions;
        info!(
            "process {pid} has taken over: {sessions} clients are still connected here, at most {:?} left",
            self.reload.config().timeouts.hand_over
        );
    }

    /// A reload that was asked for while the new program was starting is its business now.
    fn pass_reload_on(&mut self, pid: u32, now: Now) {
        if !std::mem::take(&mut self.reload_wanted) {
            return;
        }
        let told = match self.upgrade.tell_to_reload() {
            Ok(()) => "was told to read its file again".to_owned(),
            Err(error) => format!("cannot be told to read its file again: {error}"),
        };
        let told = format!("process {pid} serves now, and {told}");
        info!("{told}");
        self.tell(u64::MAX, Err(vec![told]), now);
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
