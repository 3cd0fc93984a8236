//! The commands: what each does, its flags, and how they are read.

use std::path::PathBuf;

use clap::{Arg, ArgMatches};

use super::flags::{self, one};
use super::tuning::{self, Tuning};
use super::{Command, Refusal, UsageError, questions};
use crate::admin;
use crate::config::file;

/// A command.
struct Verb {
    name: &'static str,
    about: &'static str,
    args: fn() -> Vec<Arg>,
    read: fn(&ArgMatches) -> Result<Command, Refusal>,
}

/// In the order in which help shows them.
const VERBS: &[Verb] = &[
    Verb {
        name: "check",
        about: "Say what is wrong or hardly meant in a configuration, and what it needs",
        args: questions::check_args,
        read: questions::check,
    },
    Verb {
        name: "explain",
        about: "Say what would become of a request, and why",
        args: questions::explain_args,
        read: questions::explain,
    },
    Verb {
        name: "plan",
        about: "Say in which order a pool picks its backends",
        args: questions::plan_args,
        read: questions::plan,
    },
    Verb {
        name: "diff",
        about: "Say what changes from one configuration file to another, and what follows",
        args: questions::diff_args,
        read: questions::diff,
    },
    Verb {
        name: "config-reference",
        about: "Print what can stand in a configuration file",
        args: Vec::new,
        read: |_| Ok(Command::Print(file::reference())),
    },
    Verb {
        name: "demo",
        about: "Try it: three small backends in this process, and what to type to see it work",
        args: demo_args,
        read: demo,
    },
    Verb {
        name: "reload",
        about: "Make the running rondel read its file again, and print what has changed",
        args: reload_args,
        read: reload,
    },
];

pub(super) fn commands() -> impl Iterator<Item = clap::Command> {
    let command = |verb: &Verb| {
        clap::Command::new(verb.name)
            .about(verb.about)
            .args((verb.args)())
    };
    VERBS.iter().map(command)
}

/// What the command that was typed asks for, if one was.
pub(super) fn read(typed: &ArgMatches) -> Option<Result<Command, Refusal>> {
    VERBS.iter().find_map(|verb| {
        let typed = typed.subcommand_matches(verb.name)?;
        Some((verb.read)(typed))
    })
}

fn demo_args() -> Vec<Arg> {
    let listen = flags::listen(
        "Accept clients here [default: 127.0.0.1:8080, or a free port if that is taken]",
    );
    let mut args = vec![listen];
    args.extend(tuning::args());
    args
}

fn demo(typed: &ArgMatches) -> Result<Command, Refusal> {
    let Tuning {
        settings,
        log_level,
    } = Tuning::read(typed);
    Ok(Command::Demo {
        listen: one(typed, "listen"),
        settings: Box::new(settings),
        log_level,
    })
}

fn reload_args() -> Vec<Arg> {
    vec![
        flags::file("The file of the running rondel, which says where it takes commands"),
        flags::path("control", "PATH", "Where the running rondel takes commands")
            .conflicts_with("file"),
    ]
}

fn reload(typed: &ArgMatches) -> Result<Command, Refusal> {
    Ok(Command::Tell {
        control: control_socket(one(typed, "control"), one(typed, "file"))?,
        command: admin::Command::Reload,
    })
}

/// Where the running program takes commands: as typed, or as its file says.
fn control_socket(typed: Option<PathBuf>, file: Option<PathBuf>) -> Result<PathBuf, Refusal> {
    if let Some(control) = typed {
        return Ok(control);
    }
    let Some(path) = file else {
        let missing = "reload: expected -f FILE or --control PATH, which say where the running rondel takes commands";
        return Err(UsageError(missing.to_owned()).into());
    };
    file::load(&path)?.config.control.ok_or_else(|| {
        let missing = "no control socket is configured there; send SIGHUP to the running rondel";
        UsageError::value("-f", &path.to_string_lossy(), missing).into()
    })
}
