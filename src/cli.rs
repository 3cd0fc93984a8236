//! What was typed: commands, flags, help. Values are read by [`config::value`](crate::config::value); what is left to do
//! here is to say which flag they stood behind. Prints nothing and ends nothing: that is for `main`.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use log::LevelFilter;

use crate::admin;
use crate::config::file::{self, Unusable};
use crate::config::value::{Invalid, Server};
use crate::config::{Backend, Config, Forwarding, Limits, POOL_OF_FLAGS, Pool, Timeouts};

use flags::Typed;

mod flags;
mod questions;
mod tuning;
mod usage;
mod verbs;

/// What is to be done.
#[derive(Debug)]
pub enum Command {
    /// Balance until told to stop.
    Run {
        /// Everything that was configured.
        config: Box<Config>,
        /// The least urgent lines that are logged.
        log_level: LevelFilter,
        /// The file that said so, if one did.
        file: Option<PathBuf>,
    },
    /// Show what it is like, with backends of its own.
    Demo {
        /// Where clients are accepted, if that was said.
        listen: Option<SocketAddr>,
        /// Everything but the addresses.
        settings: Box<Settings>,
        /// The least urgent lines that are logged.
        log_level: LevelFilter,
    },
    /// Answer a question about a configuration, and run nothing.
    Ask {
        /// Where the configuration comes from.
        origin: Origin,
        /// What is asked.
        question: Question,
        /// Whether the answer is for programs.
        json: bool,
    },
    /// List the warnings that there are.
    Lints,
    /// Give a command to the running program.
    Tell {
        /// Its control socket.
        control: PathBuf,
        /// The command.
        command: admin::Command,
    },
    /// Print this text and end well: `--help`, `--version`, `--print-config`, `config-reference`.
    Print(String),
}

/// Where a configuration comes from that is asked about.
#[derive(Debug)]
pub enum Origin {
    /// From this file, not read yet.
    File(PathBuf),
    /// From flags. Only backends that were given by address have one.
    Flags(Box<Config>),
}

/// What is asked about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether it is valid, what is hardly meant, and what it needs.
    Check {
        /// Whether warnings are taken for errors.
        strict: bool,
    },
    /// What would become of a request.
    Explain {
        /// Its method.
        method: String,
        /// What it asks for.
        url: String,
        /// Its fields, each `Name: value`.
        fields: Vec<String>,
        /// Who sends it.
        from: IpAddr,
        /// The name of the listener where it comes in, if that was said.
        listener: Option<String>,
        /// Names of backends that are down.
        down: Vec<String>,
    },
    /// In which order a pool picks its backends.
    Plan {
        /// The name of the pool, if that was said.
        pool: Option<String>,
        /// For how many requests.
        requests: usize,
        /// Names of backends that are down.
        down: Vec<String>,
    },
    /// What changes.
    Diff {
        /// The file as it is to be.
        new: PathBuf,
    },
}

/// What is configured besides addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    timeouts: Timeouts,
    limits: Limits,
    forwarding: Forwarding,
    /// What the flags say of the pool; it has no backends yet.
    pool: Pool,
    control: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            forwarding: Forwarding::default(),
            pool: Pool::new(POOL_OF_FLAGS, Vec::new()),
            control: None,
        }
    }
}

impl Settings {
    /// The whole configuration, with these addresses.
    #[must_use]
    pub fn with(self, listen: Vec<SocketAddr>, backends: Vec<Backend>) -> Config {
        let pool = Pool {
            backends,
            timeouts: self.timeouts,
            ..self.pool
        };
        Config {
            limits: self.limits,
            forwarding: self.forwarding,
            control: self.control,
            ..Config::simple(&listen, pool)
        }
    }
}

/// What was typed cannot be understood. Displays as one line: the flag, the value, what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    fn value(flag: &str, value: &str, reason: impl fmt::Display) -> Self {
        // Debug keeps quotes, line ends and terminal controls of what was typed from making this more than a line.
        Self(format!("{flag} {value:?}: {reason}"))
    }

    fn beside_file(flag: &str) -> Self {
        Self(format!("--{flag}: expected in the file, not beside --file"))
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Why there is nothing to be done. Displays as what to tell.
#[derive(Debug)]
pub enum Refusal {
    /// The flags are wrong.
    Usage(UsageError),
    /// The configuration file is.
    File(Unusable),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::File(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<UsageError> for Refusal {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

impl From<Unusable> for Refusal {
    fn from(error: Unusable) -> Self {
        Self::File(error)
    }
}

/// Understands `args`, the program's own name first. Reads the file that they name, and resolves the names of backends, which may
/// block for seconds.
///
/// # Errors
/// When a flag is wrong, missing or given twice, the file cannot be used, or a name does not resolve.
pub fn parse<A: Into<OsString> + Clone>(
    args: impl IntoIterator<Item = A>,
) -> Result<Command, Refusal> {
    let typed = match flags::command().try_get_matches_from(args) {
        Ok(typed) => typed,
        Err(error) if error.use_stderr() => return Err(UsageError(usage::line(&error)).into()),
        Err(asked) => return Ok(Command::Print(asked.to_string())),
    };
    if let Some(command) = verbs::read(&typed) {
        return command;
    }
    let typed = Typed::read(&typed);
    if let Some(flag) = typed.beside_file {
        return Err(UsageError::beside_file(flag).into());
    }
    if typed.check {
        let origin = match typed.file {
            Some(path) => Origin::File(path),
            None => Origin::of_flags(typed.listen, &typed.backend, typed.tuning.settings)?,
        };
        return Ok(Command::Ask {
            origin,
            question: Question::Check {
                strict: typed.strict,
            },
            json: typed.json,
        });
    }
    match typed.file {
        Some(path) => of_file(path, typed.print_config),
        None => of_flags(typed),
    }
}

impl Origin {
    /// What flags say, without asking for any address.
    fn of_flags(
        listen: Vec<SocketAddr>,
        servers: &[Server],
        settings: Settings,
    ) -> Result<Self, UsageError> {
        present(&listen, servers)?;
        distinct(&listen)?;
        let backends = backends(servers, |server| Ok(server.addr().into_iter().collect()))?;
        Ok(Self::Flags(Box::new(settings.with(listen, backends))))
    }
}

fn of_file(path: PathBuf, is_printed: bool) -> Result<Command, Refusal> {
    let mut read = file::load(&path)?;
    if is_printed {
        return Ok(printed(&read.config, read.log_level));
    }
    read.resolve()?;
    Ok(Command::Run {
        config: Box::new(read.config),
        log_level: read.log_level,
        file: Some(path),
    })
}

fn of_flags(typed: Typed) -> Result<Command, Refusal> {
    present(&typed.listen, &typed.backend)?;
    distinct(&typed.listen)?;
    let log_level = typed.tuning.log_level;
    let is_printed = typed.print_config;
    let backends = backends(&typed.backend, |server| {
        if is_printed {
            Ok(server.addr().into_iter().collect())
        } else {
            server.resolve()
        }
    })?;
    let config = typed.tuning.settings.with(typed.listen, backends);
    if is_printed {
        return Ok(printed(&config, log_level));
    }
    Ok(Command::Run {
        config: Box::new(config),
        log_level,
        file: None,
    })
}

/// The file that says this.
fn printed(config: &Config, log_level: LevelFilter) -> Command {
    let text = file::print(config);
    Command::Print(if log_level == LevelFilter::Info {
        text
    } else {
        let level = log_level.as_str().to_ascii_lowercase();
        format!("log-level = \"{level}\"\n{text}")
    })
}

/// A line for each reader: who forgot one flag is told that one, who typed nothing is shown a whole command.
fn present(listen: &[SocketAddr], backends: &[Server]) -> Result<(), UsageError> {
    let missing = match (listen.is_empty(), backends.is_empty()) {
        (false, false) => return Ok(()),
        (true, false) => {
            "--listen is missing: expected where to accept clients, such as --listen :8080"
        }
        (false, true) => {
            "--backend is missing: expected a server to forward to, such as --backend localhost:3000"
        }
        (true, true) => {
            "--listen and --backend are missing: expected both, such as \
             rondel --listen :8080 --backend localhost:3000 (or try rondel demo, or rondel --help)"
        }
    };
    Err(UsageError(missing.to_owned()))
}

/// Port 0 is a new port each time, so it may be asked for again.
fn distinct(listen: &[SocketAddr]) -> Result<(), UsageError> {
    for (i, addr) in listen.iter().enumerate() {
        if addr.port() != 0 && listen[..i].contains(addr) {
            return Err(UsageError::value(
                "--listen",
                &addr.to_string(),
                "expected each address once",
            ));
        }
    }
    Ok(())
}

/// The backends that were typed, with the addresses that `resolve` finds.
fn backends(
    servers: &[Server],
    resolve: impl Fn(&Server) -> Result<Vec<SocketAddr>, Invalid>,
) -> Result<Vec<Backend>, UsageError> {
    let mut backends: Vec<Backend> = Vec::with_capacity(servers.len());
    for server in servers {
        let refused =
            |reason: &dyn fmt::Display| UsageError::value("--backend", &server.to_string(), reason);
        let addrs = resolve(server).map_err(|error| refused(&error))?;
        let backend = Backend::at(&server.to_string(), server.clone(), addrs);
        if let Some(twin) = backends.iter().find(|other| other.is_same_server(&backend)) {
            return Err(refused(&format_args!(
                "expected each server once, and {:?} is the same",
                twin.name
            )));
        }
        backends.push(backend);
    }
    Ok(backends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// What `line` means, its words split at spaces.
    fn check(line: &str) -> Result<Command, String> {
        parse(format!("rondel {line}").trim_end().split(' ')).map_err(|error| error.to_string())
    }

    fn config(flags: &str) -> Config {
        match check(&format!("--listen :8080 --backend 127.0.0.1:3000 {flags}")) {
            Ok(Command::Run { config, .. }) => *config,
            other => panic!("not a run: {other:?}"),
        }
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let config = config("--forwarded");
        assert_eq!(config.timeouts, Timeouts::default());
        assert_eq!(config.limits, Limits::default());
        let backends = config.pools[0].backends.clone();
        assert_eq!(*config.pools[0], Pool::new(POOL_OF_FLAGS, backends));
        assert_eq!(
            (config.forwarding.forwarded, config.forwarding.trust.len()),
            (true, 0)
        );
    }

    #[test]
    fn every_flag_reaches_its_own_field() {
        let config = config(
            "--connect-timeout 1s --head-timeout 2s --response-timeout 3s --body-timeout 4s --client-idle-timeout 5s \
             --upstream-idle-timeout 6s --tunnel-timeout 7s --linger-timeout 8s --drain-timeout 9s --hold-timeout 15s \
             --hand-over-timeout 16s --max-held 17 --retries 10 \
             --max-sessions 11 --max-idle-per-backend 12 --min-body-rate 13 --fail-after 14 --take-out-last \
             --trust 10.0.0.0/8 --trust ::1 --forwarded --name edge",
        );
        let s = Duration::from_secs;
        let timeouts = Timeouts {
            connect: s(1),
            head: s(2),
            response: s(3),
            body: s(4),
            client_idle: s(5),
            upstream_idle: s(6),
            tunnel: s(7),
            hold: s(15),
            linger: s(8),
            drain: s(9),
            hand_over: s(16),
        };
        let limits = Limits {
            sessions_max: 11,
            body_rate_min: 13,
        };
        let pool = Pool {
            timeouts,
            retries: 10,
            idle_per_backend_max: 12,
            failures_max: 14,
            take_out_last: true,
            held_max: 17,
            ..Pool::new(POOL_OF_FLAGS, config.pools[0].backends.clone())
        };
        assert_eq!(*config.pools[0], pool);
        let forwarding = Forwarding {
            name: "edge".to_owned(),
            trust: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            forwarded: true,
        };
        assert_eq!(
            (config.timeouts, config.limits, config.forwarding),
            (timeouts, limits, forwarding)
        );
    }

    #[test]
    fn addresses_keep_their_order_and_port_0_may_repeat() {
        let config = config("--listen 127.0.0.1:0 --listen 127.0.0.1:0 --backend [::1]:3000");
        let listen: Vec<_> = config
            .listeners
            .iter()
            .map(|l| l.addr.to_string())
            .collect();
        assert_eq!(listen, ["0.0.0.0:8080", "127.0.0.1:0", "127.0.0.1:0"]);
        let names: Vec<_> = config.pools[0]
            .backends
            .iter()
            .map(|b| b.name.as_str())
            .collect();
        assert_eq!(names, ["127.0.0.1:3000", "[::1]:3000"]);
    }

    #[test]
    fn the_demo_takes_the_same_settings_and_no_backends() {
        let demo = check("demo --listen :0 --retries 1 --log-level debug");
        assert!(
            matches!(&demo, Ok(Command::Demo { listen: Some(_), settings, log_level: LevelFilter::Debug })
                if settings.pool.retries == 1),
            "{demo:?}"
        );
        assert!(check("demo --backend a:1").is_err());
    }

    #[test]
    fn help_and_version_are_texts_to_print() {
        for line in ["--help", "-h", "--version", "-V", "help", "demo --help"] {
            assert!(
                matches!(check(line), Ok(Command::Print(text)) if !text.is_empty()),
                "{line}"
            );
        }
    }
}
