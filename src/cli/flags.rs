//! The flags of a run, and what flags there can be.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr as _;

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use super::tuning::{self, Tuning};
use super::verbs;
use crate::config::value::{self, Server};

/// What was typed, but for commands.
pub(super) struct Typed {
    pub(super) listen: Vec<SocketAddr>,
    pub(super) backend: Vec<Server>,
    pub(super) file: Option<PathBuf>,
    /// The first flag that belongs into the file, if there is one.
    pub(super) beside_file: Option<&'static str>,
    pub(super) print_config: bool,
    pub(super) check: bool,
    pub(super) strict: bool,
    pub(super) json: bool,
    pub(super) tuning: Tuning,
}

impl Typed {
    pub(super) fn read(typed: &ArgMatches) -> Self {
        let mut names = ["listen", "backend"].into_iter().chain(tuning::names());
        let file = one(typed, "file");
        Self {
            listen: many(typed, "listen"),
            backend: many(typed, "backend"),
            beside_file: file.as_ref().and_then(|_: &PathBuf| {
                names.find(|name| typed.value_source(name) == Some(ValueSource::CommandLine))
            }),
            file,
            print_config: typed.get_flag("print-config"),
            check: typed.get_flag("check"),
            strict: typed.get_flag("strict"),
            json: typed.get_flag("json"),
            tuning: Tuning::read(typed),
        }
    }
}

/// All that can be typed.
pub(super) fn command() -> clap::Command {
    clap::Command::new("rondel")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER_HELP)
        .args_conflicts_with_subcommands(true)
        .subcommands(verbs::commands())
        .args([
            listen_all(
                "Accept clients here; repeat for more [required]\n\
                 :8080 is all IPv4 interfaces, [::]:8080 is IPv6 too, port 0 is a free port",
            ),
            backend(
                "Forward to this server; repeat for more [required]\n\
                 An IP address or a name; names are resolved once, at start",
            ),
            file("Read everything from this file instead of flags; - is standard input"),
            switch(
                "print-config",
                "Print the file that says what was said, and end",
            ),
            switch(
                "check",
                "Check what was said, run nothing, and end: as rondel check does; also -c",
            )
            .short('t')
            .short_alias('c'),
            switch("strict", "With --check: take warnings for errors").requires("check"),
            switch("json", "With --check: answer in JSON").requires("check"),
        ])
        .args(tuning::args())
}

const ABOUT: &str = "\
An HTTP/1.1 load balancer in one thread: shares requests among the backends that are alive";

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

pub(super) fn listen(help: &'static str) -> Arg {
    valued("listen", "ADDR", help).value_parser(value::listen_addr)
}

pub(super) fn listen_all(help: &'static str) -> Arg {
    listen(help).action(ArgAction::Append)
}

pub(super) fn backend(help: &'static str) -> Arg {
    let parser = Server::from_str;
    valued("backend", "HOST:PORT", help)
        .value_parser(parser)
        .action(ArgAction::Append)
}

pub(super) fn file(help: &'static str) -> Arg {
    path("file", "FILE", help).short('f')
}

pub(super) fn path(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    valued(name, value, help).value_parser(ValueParser::path_buf())
}

/// A flag that is there or not.
#[inline(never)] // Else what clap does for it is there anew for each flag.
pub(super) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::SetTrue)
}

/// A flag with a value behind it, which is any text.
#[inline(never)] // Else what clap does for it is there anew for each flag.
pub(super) fn valued(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// A flag with a value behind it that help shows a default of. It is none of clap's: who reads the flag knows it.
#[inline(never)] // Else what clap does for it is there anew for each flag.
pub(super) fn defaulted(
    name: &'static str,
    value: &'static str,
    help: &str,
    default: &dyn Display,
) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(format!("{help} [default: {default}]"))
}

pub(super) fn within(range: RangeInclusive<usize>) -> ValueParser {
    ValueParser::new(move |text: &str| value::number(text, &range))
}

/// The value that was typed behind a flag.
pub(super) fn one<T: Clone + Send + Sync + 'static>(typed: &ArgMatches, name: &str) -> Option<T> {
    typed.get_one(name).cloned()
}

/// The values that were typed behind a flag, each time that it stands there.
pub(super) fn many<T: Clone + Send + Sync + 'static>(typed: &ArgMatches, name: &str) -> Vec<T> {
    typed
        .get_many(name)
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}
