//! The flags and their help. Defaults are [`config`](crate::config)'s, said nowhere else.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use ipnet::IpNet;
use log::LevelFilter;

use super::{Settings, questions};
use crate::config::value::{self, Invalid, Server};
use crate::config::{Forwarding, Limits, POOL_OF_FLAGS, Pool, Timeouts};

// Not doc comments as those of the other flags: there brackets are links.
const LISTEN_HELP: &str = "Accept clients here; repeat for more [required]
:8080 is all IPv4 interfaces, [::]:8080 is IPv6 too, port 0 is a free port";
const BACKEND_HELP: &str = "Forward to this server; repeat for more [required]
An IP address or a name; names are resolved once, at start";

/// An HTTP/1.1 load balancer in one thread: shares requests among the backends that are alive.
#[derive(Parser)]
#[command(name = "rondel", version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub(super) struct Typed {
    #[command(subcommand)]
    pub(super) command: Option<Verb>,
    #[arg(long, value_name = "ADDR", value_parser = value::listen_addr, help = LISTEN_HELP)]
    pub(super) listen: Vec<SocketAddr>,
    #[arg(long, value_name = "HOST:PORT", help = BACKEND_HELP)]
    pub(super) backend: Vec<Server>,
    /// Read everything from this file instead of flags; - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Print the file that says what was said, and end
    #[arg(long)]
    pub(super) print_config: bool,
    /// Check what was said, run nothing, and end: as rondel check does; also -c
    #[arg(short = 't', short_alias = 'c', long)]
    pub(super) check: bool,
    /// With --check: take warnings for errors
    #[arg(long, requires = "check")]
    pub(super) strict: bool,
    /// With --check: answer in JSON
    #[arg(long, requires = "check")]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) tuning: Tuning,
}

impl Typed {
    /// Reads the arguments, the program's own name first; with a file, also a flag that was typed and belongs into it.
    pub(super) fn read<A: Into<OsString> + Clone>(
        args: impl IntoIterator<Item = A>,
    ) -> Result<(Self, Option<String>), clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(args)?;
        let typed = Self::from_arg_matches(&matches)?;
        let is_beside = |arg: &&Arg| {
            let id = arg.get_id().as_str();
            ![
                "file",
                "print_config",
                "check",
                "strict",
                "json",
                "help",
                "version",
            ]
            .contains(&id)
                && matches.value_source(id) == Some(ValueSource::CommandLine)
        };
        let beside = typed.file.as_ref().and_then(|_| {
            let flag = command.get_arguments().find(is_beside)?;
            flag.get_long().map(str::to_owned)
        });
        Ok((typed, beside))
    }
}
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Say what is wrong or hardly meant in a configuration, and what it needs
    Check(questions::Check),
    /// Say what would become of a request, and why
    Explain(questions::Explain),
    /// Say in which order a pool picks its backends
    Plan(questions::Plan),
    /// Say what changes from one configuration file to another, and what follows
    Diff(questions::Diff),
    /// Print what can stand in a configuration file
    ConfigReference,
    /// Try it: three small backends in this process, and what to type to see it work
    Demo {
        /// Accept clients here [default: 127.0.0.1:8080, or a free port if that is taken]
        #[arg(long, value_name = "ADDR", value_parser = value::listen_addr)]
        listen: Option<SocketAddr>,
        #[command(flatten)]
        tuning: Tuning,
    },
    /// Make the running rondel read its file again, and print what has changed
    Reload {
        /// The file of the running rondel, which says where it takes commands
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Where the running rondel takes commands
        #[arg(long, value_name = "PATH", conflicts_with = "file")]
        control: Option<PathBuf>,
    },
}

const AFTER_HELP: &str = "\
TIME is a number with its unit: 500ms, 3s, 1m 30s, 1h; from 1ms to 365days.

SIGTERM or SIGINT (Ctrl-C) stops accepting and finishes what runs; a second one ends at once.
SIGHUP reads the file again. SIGUSR2 starts the program anew and lets that one take over.

Exit codes:
  0  stopped, and finished what ran
  1  failed while running
  2  wrong flags
  3  a configuration file that cannot be used, or that has warnings (check --strict)
  4  an address could not be listened on
  5  stopped, and cut short what ran: --drain-timeout passed, or a second signal came

Example: rondel --listen :8080 --backend 10.0.0.1:3000 --backend localhost:3001
         rondel -f rondel.toml";

/// What is the same for every command.
#[derive(Args)]
pub(super) struct Tuning {
    #[command(flatten)]
    timers: TimerFlags,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    forwarding: ForwardingFlags,
    /// Log this and what is more urgent: error, warn, info, debug or trace (debug builds only)
    #[arg(long, value_name = "LEVEL", value_parser = log_level, default_value = "info", help_heading = "Log (to standard error)")]
    pub(super) log_level: LevelFilter,
    /// Take commands (rondel reload) at this socket; only its owner may give them
    /// [default: none are taken]
    #[arg(
        long,
        value_name = "PATH",
        help_heading = "Commands",
        verbatim_doc_comment
    )]
    control: Option<PathBuf>,
}

impl Tuning {
    pub(super) fn settings(self) -> Settings {
        Settings {
            timeouts: self.timers.into(),
            pool: self.limits.pool(),
            limits: self.limits.limits(),
            forwarding: self.forwarding.into(),
            control: self.control,
        }
    }
}

#[derive(Args)]
#[command(next_help_heading = "Timers")]
struct TimerFlags {
    /// Give up connecting to a backend after this long, and try another
    #[arg(long, value_name = "TIME", value_parser = span, default_value_t = Span(Timeouts::default().connect), allow_hyphen_values = true)]
    connect_timeout: Span,
    /// Wait this long for a whole request head once it has begun
    #[arg(long, value_name = "TIME", value_parser = span, default_value_t = Span(Timeouts::default().head), allow_hyphen_values = true)]
    head_timeout: Span,
    /// Wait this long for the head of a response
    #[arg(long, value_name = "TIME", value_parser = span, default_value_t = Span(Timeouts::default().response), allow_hyphen_values = true)]
    response_timeout: Span,
    /// Wait this long for the next piece of a body, in either direction;
    /// a slow reader may take it in steps of up to 128 KiB
    #[arg(long, value_name = "TIME", value_parser = span, default_value_t = Span(Timeouts::default().body), allow_hyphen_values = true, verbatim_doc_comment)]
    body_timeout: Span,
    /// Keep a client connected this long without a request
    #[arg(long, value_name = "TIME", value_parser = span, default_value_t = Span(Timeouts::default().client_idle), allow_hyphen_values = true)]
    client_idle_timeout: Span,
    /// Keep an unused connection to a backend this long
    #[arg(long, value_name = "TIME", value_parser = span, default_value_t = Span(Timeouts::default().upstream_idle), allow_hyphen_values = true)]
    upstream_idle_timeout: Span,
    /// Keep a tunnel (WebSocket) this long without a byte in it
    #[arg(long, value_name = "TIME", value_parser = span, default_value_t = Span(Timeouts::default().tunnel), allow_hyphen_values = true)]
    tunnel_timeout: Span,
    /// Hold a request this long while no backend is live, where that is configured
    #[arg(long, value_name = "TIME", value_parser = span, default_value_t = Span(Timeouts::default().hold), allow_hyphen_values = true)]
    hold_timeout: Span,
    /// Read on this long after a last reply, so that the client gets it
    #[arg(long, value_name = "TIME", value_parser = span, default_value_t = Span(Timeouts::default().linger), allow_hyphen_values = true)]
    linger_timeout: Span,
    /// When told to stop, finish within this long; then cut what still runs
    #[arg(long, value_name = "TIME", value_parser = span, default_value_t = Span(Timeouts::default().drain), allow_hyphen_values = true)]
    drain_timeout: Span,
    /// After a new program has taken over, finish within this long; then cut what still runs
    #[arg(long, value_name = "TIME", value_parser = span, default_value_t = Span(Timeouts::default().hand_over), allow_hyphen_values = true)]
    hand_over_timeout: Span,
}

impl From<TimerFlags> for Timeouts {
    fn from(typed: TimerFlags) -> Self {
        Self {
            connect: typed.connect_timeout.0,
            head: typed.head_timeout.0,
            response: typed.response_timeout.0,
            body: typed.body_timeout.0,
            client_idle: typed.client_idle_timeout.0,
            upstream_idle: typed.upstream_idle_timeout.0,
            tunnel: typed.tunnel_timeout.0,
            hold: typed.hold_timeout.0,
            linger: typed.linger_timeout.0,
            drain: typed.drain_timeout.0,
            hand_over: typed.hand_over_timeout.0,
        }
    }
}

#[derive(Args)]
#[command(next_help_heading = "Limits")]
struct LimitFlags {
    /// Try a request that no backend has seen this many times more, 0 to 10
    #[arg(long, value_name = "N", value_parser = within(0..=10u8), default_value_t = pool_default().retries, allow_hyphen_values = true)]
    retries: u8,
    /// Serve this many clients at a time, or as many as descriptors allow; more wait
    #[arg(long, value_name = "N", value_parser = within(1..=1_000_000usize), default_value_t = Limits::default().sessions_max, allow_hyphen_values = true)]
    max_sessions: usize,
    /// Keep this many unused connections to each backend
    #[arg(long, value_name = "N", value_parser = within(0..=65_535usize), default_value_t = pool_default().idle_per_backend_max, allow_hyphen_values = true)]
    max_idle_per_backend: usize,
    /// Close clients whose bodies move slower than this, in bytes per second over 30 s;
    /// 0 is no limit
    #[arg(long, value_name = "BYTES", value_parser = within(0..=1_000_000_000u64), default_value_t = Limits::default().body_rate_min, allow_hyphen_values = true, verbatim_doc_comment)]
    min_body_rate: u64,
    /// Take a backend out after this many failures in a row; it is tried again after
    /// 1 s, doubling to 30 s
    #[arg(long, value_name = "N", value_parser = within(1..=1_000_000u32), default_value_t = pool_default().failures_max, allow_hyphen_values = true, verbatim_doc_comment)]
    fail_after: u32,
    /// Take out even the last live backend [default: it stays in]
    #[arg(long)]
    take_out_last: bool,
    /// Hold this many requests at a time while no backend is live, where that is configured
    #[arg(long, value_name = "N", value_parser = within(0..=1_000_000usize), default_value_t = pool_default().held_max, allow_hyphen_values = true)]
    max_held: usize,
}

/// A pool as it is if nothing is said.
fn pool_default() -> Pool {
    Pool::new(POOL_OF_FLAGS, Vec::new())
}

impl LimitFlags {
    fn limits(&self) -> Limits {
        Limits {
            sessions_max: self.max_sessions,
            body_rate_min: self.min_body_rate,
        }
    }

    fn pool(&self) -> Pool {
        Pool {
            retries: self.retries,
            idle_per_backend_max: self.max_idle_per_backend,
            failures_max: self.fail_after,
            take_out_last: self.take_out_last,
            held_max: self.max_held,
            ..pool_default()
        }
    }
}

#[derive(Args)]
#[command(next_help_heading = "What backends are told")]
struct ForwardingFlags {
    /// Believe what clients from this network or address say in X-Forwarded-*,
    /// Forwarded and X-Real-IP; repeat for more [default: no one is believed]
    #[arg(long, value_name = "CIDR", value_parser = value::network, verbatim_doc_comment)]
    trust: Vec<IpNet>,
    /// Write Forwarded (RFC 7239) too [default: X-Forwarded-* only]
    #[arg(long)]
    forwarded: bool,
    /// Call ourselves this in Via
    #[arg(long, value_name = "NAME", value_parser = value::pseudonym, default_value_t = Forwarding::default().name)]
    name: String,
}

impl From<ForwardingFlags> for Forwarding {
    fn from(typed: ForwardingFlags) -> Self {
        Self {
            name: typed.name,
            trust: typed.trust,
            forwarded: typed.forwarded,
        }
    }
}

/// A duration that help shows as it is typed.
#[derive(Clone, Copy)]
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

fn span(text: &str) -> Result<Span, Invalid> {
    value::duration(text).map(Span)
}

pub(super) fn within<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, Invalid> + Clone
where
    T: FromStr + PartialOrd + fmt::Display + Clone,
{
    move |text| value::number(text, &range)
}

fn log_level(text: &str) -> Result<LevelFilter, &'static str> {
    match text {
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        "trace" => Ok(LevelFilter::Trace),
        _ => Err("expected error, warn, info, debug or trace"),
    }
}
