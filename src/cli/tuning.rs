//! The flags that say how to balance, of a run as of the demo, and their help. Defaults are [`config`](crate::config)'s, said
//! nowhere else.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};
use ipnet::IpNet;
use log::LevelFilter;

use super::Settings;
use super::flags::{defaulted, many, one, path, switch, valued, within};
use crate::config::value;

/// What is said besides addresses, or is the default.
pub(super) struct Tuning {
    pub(super) settings: Settings,
    pub(super) log_level: LevelFilter,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            log_level: LevelFilter::Info,
        }
    }
}

impl Tuning {
    pub(super) fn read(typed: &ArgMatches) -> Self {
        let mut tuning = Self::default();
        for flag in flags() {
            (flag.field)(&mut tuning).set(typed, flag.name);
        }
        tuning
    }
}

pub(super) fn args() -> Vec<Arg> {
    let mut defaults = Tuning::default();
    let mut args = Vec::new();
    for (heading, flags) in FLAGS {
        for flag in *flags {
            let arg = (flag.field)(&mut defaults).arg(flag);
            args.push(arg.help_heading(*heading));
        }
    }
    args
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    flags().map(|flag| flag.name)
}

fn flags() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().flat_map(|(_, flags)| *flags)
}

/// A flag, and the field that it sets.
struct Flag {
    name: &'static str,
    help: &'static str,
    field: fn(&mut Tuning) -> Field<'_>,
}

/// A field that a flag sets: it says what the flag takes, and holds the default before anything is set.
enum Field<'t> {
    Truth(&'t mut bool),
    Time(&'t mut Duration),
    /// What help calls the number, and what it may be.
    Count(&'static str, RangeInclusive<usize>, &'t mut dyn Number),
    Name(&'t mut String),
    Networks(&'t mut Vec<IpNet>),
    Level(&'t mut LevelFilter),
    Path(&'t mut Option<PathBuf>),
}

/// All of them, below their headings, in the order in which help shows them.
const FLAGS: &[(&str, &[Flag])] = &[
    (
        "Timers",
        &[
            Flag {
                name: "connect-timeout",
                help: "Give up connecting to a backend after this long, and try another",
                field: |to| Field::Time(&mut to.settings.timeouts.connect),
            },
            Flag {
                name: "head-timeout",
                help: "Wait this long for a whole request head once it has begun",
                field: |to| Field::Time(&mut to.settings.timeouts.head),
            },
            Flag {
                name: "response-timeout",
                help: "Wait this long for the head of a response",
                field: |to| Field::Time(&mut to.settings.timeouts.response),
            },
            Flag {
                name: "body-timeout",
                help: "Wait this long for the next piece of a body, in either direction;\n\
                       a slow reader may take it in steps of up to 128 KiB",
                field: |to| Field::Time(&mut to.settings.timeouts.body),
            },
            Flag {
                name: "client-idle-timeout",
                help: "Keep a client connected this long without a request",
                field: |to| Field::Time(&mut to.settings.timeouts.client_idle),
            },
            Flag {
                name: "upstream-idle-timeout",
                help: "Keep an unused connection to a backend this long",
                field: |to| Field::Time(&mut to.settings.timeouts.upstream_idle),
            },
            Flag {
                name: "tunnel-timeout",
                help: "Keep a tunnel (WebSocket) this long without a byte in it",
                field: |to| Field::Time(&mut to.settings.timeouts.tunnel),
            },
            Flag {
                name: "hold-timeout",
                help: "Hold a request this long while no backend is live, where that is configured",
                field: |to| Field::Time(&mut to.settings.timeouts.hold),
            },
            Flag {
                name: "linger-timeout",
                help: "Read on this long after a last reply, so that the client gets it",
                field: |to| Field::Time(&mut to.settings.timeouts.linger),
            },
            Flag {
                name: "drain-timeout",
                help: "When told to stop, finish within this long; then cut what still runs",
                field: |to| Field::Time(&mut to.settings.timeouts.drain),
            },
            Flag {
                name: "hand-over-timeout",
                help: "After a new program has taken over, finish within this long; then cut what still runs",
                field: |to| Field::Time(&mut to.settings.timeouts.hand_over),
            },
        ],
    ),
    (
        "Limits",
        &[
            Flag {
                name: "retries",
                help: "Try a request that no backend has seen this many times more, 0 to 10",
                field: |to| Field::Count("N", 0..=10, &mut to.settings.pool.retries),
            },
            Flag {
                name: "max-sessions",
                help: "Serve this many clients at a time, or as many as descriptors allow; more wait",
                field: |to| Field::Count("N", 1..=1_000_000, &mut to.settings.limits.sessions_max),
            },
            Flag {
                name: "max-idle-per-backend",
                help: "Keep this many unused connections to each backend",
                field: |to| {
                    Field::Count("N", 0..=65_535, &mut to.settings.pool.idle_per_backend_max)
                },
            },
            Flag {
                name: "min-body-rate",
                help: "Close clients whose bodies move slower than this, in bytes per second over 30 s;\n\
                       0 is no limit",
                field: |to| {
                    Field::Count(
                        "BYTES",
                        0..=1_000_000_000,
                        &mut to.settings.limits.body_rate_min,
                    )
                },
            },
            Flag {
                name: "fail-after",
                help: "Take a backend out after this many failures in a row; it is tried again after\n\
                       1 s, doubling to 30 s",
                field: |to| Field::Count("N", 1..=1_000_000, &mut to.settings.pool.failures_max),
            },
            Flag {
                name: "take-out-last",
                help: "Take out even the last live backend [default: it stays in]",
                field: |to| Field::Truth(&mut to.settings.pool.take_out_last),
            },
            Flag {
                name: "max-held",
                help: "Hold this many requests at a time while no backend is live, where that is configured",
                field: |to| Field::Count("N", 0..=1_000_000, &mut to.settings.pool.held_max),
            },
        ],
    ),
    (
        "What backends are told",
        &[
            Flag {
                name: "trust",
                help: "Believe what clients from this network or address say in X-Forwarded-*,\n\
                       Forwarded and X-Real-IP; repeat for more [default: no one is believed]",
                field: |to| Field::Networks(&mut to.settings.forwarding.trust),
            },
            Flag {
                name: "forwarded",
                help: "Write Forwarded (RFC 7239) too [default: X-Forwarded-* only]",
                field: |to| Field::Truth(&mut to.settings.forwarding.forwarded),
            },
            Flag {
                name: "name",
                help: "Call ourselves this in Via",
                field: |to| Field::Name(&mut to.settings.forwarding.name),
            },
        ],
    ),
    (
        "Log (to standard error)",
        &[Flag {
            name: "log-level",
            help: "Log this and what is more urgent: error, warn, info, debug or trace (debug builds only)",
            field: |to| Field::Level(&mut to.log_level),
        }],
    ),
    (
        "Commands",
        &[Flag {
            name: "control",
            help: "Take commands (rondel reload) at this socket; only its owner may give them\n\
                   [default: none are taken]",
            field: |to| Field::Path(&mut to.settings.control),
        }],
    ),
];

impl Field<'_> {
    fn arg(&self, Flag { name, help, .. }: &'static Flag) -> Arg {
        match self {
            Self::Truth(_) => switch(name, help),
            Self::Networks(_) => valued(name, "CIDR", help)
                .value_parser(value::network)
                .action(ArgAction::Append),
            Self::Path(_) => path(name, "PATH", help),
            Self::Name(default) => {
                defaulted(name, "NAME", help, default).value_parser(value::pseudonym)
            }
            Self::Level(default) => {
                let default = default.as_str().to_ascii_lowercase();
                defaulted(name, "LEVEL", help, &default).value_parser(log_level)
            }
            // What begins with a minus is refused as a value, not taken for a flag.
            Self::Time(default) => defaulted(name, "TIME", help, &value::duration_text(**default))
                .value_parser(value::duration)
                .allow_hyphen_values(true),
            Self::Count(noun, range, default) => defaulted(name, noun, help, default)
                .value_parser(within(range.clone()))
                .allow_hyphen_values(true),
        }
    }

    /// Takes what was typed, if anything was.
    fn set(self, typed: &ArgMatches, name: &str) {
        match self {
            Self::Truth(field) => *field = typed.get_flag(name),
            Self::Networks(field) => *field = many(typed, name),
            Self::Path(field) => *field = one(typed, name),
            Self::Level(field) => *field = one(typed, name).unwrap_or(*field),
            Self::Time(field) => *field = one(typed, name).unwrap_or(*field),
            Self::Name(field) => {
                if let Some(typed) = one(typed, name) {
                    *field = typed;
                }
            }
            Self::Count(_, _, field) => {
                if let Some(typed) = one(typed, name) {
                    field.set(typed);
                }
            }
        }
    }
}

/// A whole number of any type. What its flag takes has to fit into it: what does not is left out.
trait Number: Display {
    fn set(&mut self, typed: usize);
}

impl<T: TryFrom<usize> + Display> Number for T {
    fn set(&mut self, typed: usize) {
        if let Ok(typed) = Self::try_from(typed) {
            *self = typed;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_that_a_flag_takes_fits_its_field() {
        let mut tuning = Tuning::default();
        for flag in flags() {
            if let Field::Count(_, range, field) = (flag.field)(&mut tuning) {
                field.set(*range.end());
                assert_eq!(field.to_string(), range.end().to_string(), "{}", flag.name);
            }
        }
    }
}
