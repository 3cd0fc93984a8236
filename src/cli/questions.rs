//! The commands that ask about a configuration, and what they ask. Nothing is read or resolved here.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches};

use super::flags::{self, defaulted, many, one, switch, valued, within};
use super::{Command, Origin, Question, Refusal, Settings, UsageError};
use crate::config::value::Server;

/// Most requests that a plan is made for.
const REQUESTS_MAX: usize = 100_000;
/// Requests that a plan is made for if nothing is said.
const REQUESTS: usize = 20;
/// Who sends a request if nothing is said.
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// `rondel check`
pub(super) fn check_args() -> Vec<Arg> {
    let mut args = said_args();
    args.push(switch("strict", "Take warnings for errors"));
    args.push(switch("lints", "List the warnings that there are, and end"));
    args.push(json_arg());
    args
}

pub(super) fn check(typed: &ArgMatches) -> Result<Command, Refusal> {
    if typed.get_flag("lints") {
        return Ok(Command::Lints);
    }
    let strict = typed.get_flag("strict");
    ask(typed, Question::Check { strict })
}

/// `rondel explain`
pub(super) fn explain_args() -> Vec<Arg> {
    let mut args = vec![
        behind("method", "METHOD", "The method of the request"),
        behind(
            "url",
            "URL",
            "What it asks for, such as http://api.example.com/v1/x",
        ),
    ];
    args.extend(said_args());
    args.extend([
        valued(
            "header",
            "FIELD",
            "A field of the request, such as \"Cookie: a=b\"; repeat for more",
        )
        .short('H')
        .action(ArgAction::Append),
        defaulted("from", "IP", "Who sends it", &FROM).value_parser(client),
        valued(
            "listener",
            "NAME",
            "Where it comes in [default: at the port of the URL, else at the first listener]",
        ),
        down_arg(),
        json_arg(),
    ]);
    args
}

pub(super) fn explain(typed: &ArgMatches) -> Result<Command, Refusal> {
    let question = Question::Explain {
        method: one(typed, "method").unwrap_or_default(),
        url: one(typed, "url").unwrap_or_default(),
        fields: many(typed, "header"),
        from: one(typed, "from").unwrap_or(FROM),
        listener: one(typed, "listener"),
        down: many(typed, "down"),
    };
    ask(typed, question)
}

/// `rondel plan`
pub(super) fn plan_args() -> Vec<Arg> {
    let mut args = said_args();
    args.extend([
        valued("pool", "NAME", "The pool [default: the only one]"),
        defaulted("requests", "N", "For so many requests", &REQUESTS)
            .value_parser(within(1..=REQUESTS_MAX)),
        down_arg(),
        json_arg(),
    ]);
    args
}

pub(super) fn plan(typed: &ArgMatches) -> Result<Command, Refusal> {
    let question = Question::Plan {
        pool: one(typed, "pool"),
        requests: one(typed, "requests").unwrap_or(REQUESTS),
        down: many(typed, "down"),
    };
    ask(typed, question)
}

/// `rondel diff`
pub(super) fn diff_args() -> Vec<Arg> {
    let old = behind("old", "OLD", "The file as it is");
    let new = behind("new", "NEW", "The file as it is to be");
    vec![
        old.value_parser(ValueParser::path_buf()),
        new.value_parser(ValueParser::path_buf()),
        json_arg(),
    ]
}

pub(super) fn diff(typed: &ArgMatches) -> Result<Command, Refusal> {
    let new = one(typed, "new").unwrap_or_default();
    Ok(Command::Ask {
        origin: Origin::File(one(typed, "old").unwrap_or_default()),
        question: Question::Diff { new },
        json: typed.get_flag("json"),
    })
}

fn ask(typed: &ArgMatches, question: Question) -> Result<Command, Refusal> {
    Ok(Command::Ask {
        origin: said(typed)?,
        question,
        json: typed.get_flag("json"),
    })
}

/// Where the configuration comes from.
fn said_args() -> Vec<Arg> {
    vec![
        flags::file("Ask about this file; - is standard input"),
        flags::listen_all("Ask about flags instead: accept clients here; repeat for more"),
        flags::backend("Ask about flags instead: forward to this server; repeat for more"),
    ]
}

fn said(typed: &ArgMatches) -> Result<Origin, UsageError> {
    let file: Option<PathBuf> = one(typed, "file");
    let beside = ["listen", "backend"]
        .into_iter()
        .find(|name| typed.contains_id(name));
    match (file, beside) {
        (Some(_), Some(flag)) => Err(UsageError::beside_file(flag)),
        (Some(file), None) => Ok(Origin::File(file)),
        (None, Some(_)) => {
            let servers: Vec<Server> = many(typed, "backend");
            Origin::of_flags(many(typed, "listen"), &servers, Settings::default())
        }
        (None, None) => Err(UsageError(
            "--file is missing: expected what to ask about, such as -f rondel.toml".to_owned(),
        )),
    }
}

fn client(text: &str) -> Result<IpAddr, &'static str> {
    let addr = text.parse();
    addr.map_err(|_| "expected an IP address such as 10.1.2.3 or fd00::1")
}

fn down_arg() -> Arg {
    let arg = valued(
        "down",
        "NAME",
        "As if this backend were down; repeat for more",
    );
    arg.action(ArgAction::Append)
}

fn json_arg() -> Arg {
    switch("json", "Answer in JSON")
}

/// What has to be typed behind a command, without a flag: where it is missing, clap refuses.
fn behind(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(value).help(help).required(true)
}
