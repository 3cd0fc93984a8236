//! The commands that ask about a configuration, and what they ask. Nothing is read or resolved here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::flags::within;
use super::{Command, Origin, Question, UsageError};
use crate::config::value::{self, Server};

/// Most requests that a plan is made for.
const REQUESTS_MAX: usize = 100_000;

/// Where the configuration comes from.
#[derive(Args)]
struct Said {
    /// Ask about this file; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Ask about flags instead: accept clients here; repeat for more
    #[arg(long, value_name = "ADDR", value_parser = value::listen_addr)]
    listen: Vec<SocketAddr>,
    /// Ask about flags instead: forward to this server; repeat for more
    #[arg(long, value_name = "HOST:PORT")]
    backend: Vec<Server>,
}

impl Said {
    fn origin(self) -> Result<Origin, UsageError> {
        let beside = [
            ("--listen", !self.listen.is_empty()),
            ("--backend", !self.backend.is_empty()),
        ];
        match self.file {
            Some(_) if beside.iter().any(|(_, is_there)| *is_there) => {
                let first = beside.iter().find(|(_, is_there)| *is_there);
                let flag = first.map_or("", |(flag, _)| flag);
                let line = format!("{flag}: expected in the file, not beside --file");
                Err(UsageError(line))
            }
            Some(file) => Ok(Origin::File(file)),
            None if beside.iter().all(|(_, is_there)| !is_there) => Err(UsageError(
                "--file is missing: expected what to ask about, such as -f rondel.toml".to_owned(),
            )),
            None => Origin::of_flags(self.listen, &self.backend, super::Settings::default()),
        }
    }
}

fn client(text: &str) -> Result<IpAddr, &'static str> {
    let addr = text.parse();
    addr.map_err(|_| "expected an IP address such as 10.1.2.3 or fd00::1")
}

/// `rondel check`
#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    said: Said,
    /// Take warnings for errors
    #[arg(long)]
    strict: bool,
    /// List the warnings that there are, and end
    #[arg(long)]
    lints: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn command(self) -> Result<Command, UsageError> {
        if self.lints {
            return Ok(Command::Lints);
        }
        let question = Question::Check {
            strict: self.strict,
        };
        ask(self.said, question, self.json)
    }
}

/// `rondel explain`
#[derive(Args)]
pub(super) struct Explain {
    /// The method of the request
    #[arg(value_name = "METHOD")]
    method: String,
    // No doc comment: there a URL is a link.
    #[arg(
        value_name = "URL",
        help = "What it asks for, such as http://api.example.com/v1/x"
    )]
    url: String,
    #[command(flatten)]
    said: Said,
    /// A field of the request, such as "Cookie: a=b"; repeat for more
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    fields: Vec<String>,
    /// Who sends it
    #[arg(long, value_name = "IP", value_parser = client, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    from: IpAddr,
    /// Where it comes in [default: at the port of the URL, else at the first listener]
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// As if this backend were down; repeat for more
    #[arg(long, value_name = "NAME")]
    down: Vec<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn command(self) -> Result<Command, UsageError> {
        let question = Question::Explain {
            method: self.method,
            url: self.url,
            fields: self.fields,
            from: self.from,
            listener: self.listener,
            down: self.down,
        };
        ask(self.said, question, self.json)
    }
}

/// `rondel plan`
#[derive(Args)]
pub(super) struct Plan {
    #[command(flatten)]
    said: Said,
    /// The pool [default: the only one]
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// For so many requests
    #[arg(long, value_name = "N", value_parser = within(1..=REQUESTS_MAX), default_value_t = 20)]
    requests: usize,
    /// As if this backend were down; repeat for more
    #[arg(long, value_name = "NAME")]
    down: Vec<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Plan {
    pub(super) fn command(self) -> Result<Command, UsageError> {
        let question = Question::Plan {
            pool: self.pool,
            requests: self.requests,
            down: self.down,
        };
        ask(self.said, question, self.json)
    }
}

/// `rondel diff`
#[derive(Args)]
pub(super) struct Diff {
    /// The file as it is
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The file as it is to be
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(super) fn command(self) -> Command {
        Command::Ask {
            origin: Origin::File(self.old),
            question: Question::Diff { new: self.new },
            json: self.json,
        }
    }
}

fn ask(said: Said, question: Question, json: bool) -> Result<Command, UsageError> {
    Ok(Command::Ask {
        origin: said.origin()?,
        question,
        json,
    })
}
