//! The `rondel` binary: arguments, configuration, logger, event loop. The only place that prints or exits.

#![forbid(unsafe_code)]

use std::env;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use rondel::admin;
use rondel::cli::{self, Command, Origin, Question, Refusal, Settings};
use rondel::config::file::{self, Unusable};
use rondel::config::{Backend, Config};
use rondel::event_loop::inherit::Inherited;
use rondel::event_loop::reload::Loaded;
use rondel::event_loop::{Ending, EventLoop, StartError};
use rondel::inspect::{Lint, diff};

use answers::NoAnswer;

mod answers;
mod demo;
mod stderr;

// Exit codes, as --help tells them.
const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const WRONG_FILE: u8 = 3;
const NOT_BOUND: u8 = 4;
const CUT_SHORT: u8 = 5;

/// Where the demo listens if nothing was said and it is free.
const DEMO_ADDR: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 8080);

fn main() -> ExitCode {
    let mut inherited = Inherited::take();
    let started = match cli::parse(env::args_os()) {
        Ok(Command::Print(text)) => return print(&text),
        Ok(Command::Lints) => return print(&Lint::list()),
        Ok(Command::Ask {
            origin,
            question,
            json,
        }) => return answer(origin, &question, json),
        Ok(Command::Run {
            config,
            log_level,
            file,
        }) => {
            stderr::start(log_level);
            start(*config, file, &mut inherited)
        }
        Ok(Command::Demo {
            listen,
            settings,
            log_level,
        }) => {
            stderr::start(log_level);
            start_demo(listen, &settings, &mut inherited)
        }
        Ok(Command::Tell { control, command }) => return tell(&control, command),
        Err(Refusal::Usage(error)) => return complain(&error.to_string(), WRONG_USAGE),
        Err(Refusal::File(error)) => return complain_of_file(&error),
    };
    match started {
        Ok(event_loop) => run(event_loop),
        Err(code) => code,
    }
}

/// Answers a question about a configuration.
fn answer(origin: Origin, question: &Question, json: bool) -> ExitCode {
    match answers::answer(origin, question, json) {
        Ok(answer) if answer.is_good => print(&answer.text),
        Ok(answer) => {
            let _ = print(&answer.text);
            ExitCode::from(WRONG_FILE)
        }
        Err(NoAnswer::Usage(line)) => complain(&line, WRONG_USAGE),
        Err(NoAnswer::File(error)) => complain_of_file(&error),
    }
}

fn run(event_loop: EventLoop) -> ExitCode {
    match event_loop.run() {
        Ok(Ending::Drained) => ExitCode::SUCCESS,
        Ok(Ending::CutShort) => ExitCode::from(CUT_SHORT),
        Err(error) => {
            // By now nobody may read standard error, and only the log knows how to cope with that.
            log::error!("failed while running: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Gives a command to the running program and prints what it says.
fn tell(control: &Path, command: admin::Command) -> ExitCode {
    match admin::client::ask(control, command) {
        Ok(reply) => {
            let text: String = reply.lines.iter().flat_map(|line| [line, "\n"]).collect();
            if reply.done {
                return print(&text);
            }
            let _ = io::stderr().write_all(text.as_bytes());
            ExitCode::from(WRONG_FILE)
        }
        Err(error) => complain(
            &format!("no rondel answers at {}: {error}", control.display()),
            FAILED,
        ),
    }
}

/// An event loop that reads its file again when it is asked to.
fn start(
    config: Config,
    file: Option<PathBuf>,
    inherited: &mut Inherited,
) -> Result<EventLoop, ExitCode> {
    let listener = if file.is_some() {
        "listener"
    } else {
        "--listen"
    };
    let event_loop =
        EventLoop::new(config, inherited).map_err(|error| not_started(&error, listener))?;
    // Standard input cannot be read again.
    Ok(match file.filter(|path| path.as_os_str() != "-") {
        Some(path) => event_loop.reloading_by(Arc::new(move |running| reload(&path, running))),
        None => event_loop,
    })
}

/// Reads the file again, and tells what changes from what is running.
fn reload(path: &Path, running: &Config) -> Result<Loaded, Vec<String>> {
    let read = file::load(path).and_then(|mut read| {
        read.resolve()?;
        Ok(read)
    });
    match read {
        Ok(read) => Ok(Loaded {
            report: diff(running, &read.config)
                .to_string()
                .lines()
                .map(str::to_owned)
                .collect(),
            config: read.config,
        }),
        Err(Unusable::Problems(problems)) => {
            Err(problems.iter().map(ToString::to_string).collect())
        }
        Err(error) => Err(vec![error.to_string()]),
    }
}

/// Says why there is no event loop; `listener` is how one was asked to listen.
fn not_started(error: &StartError, listener: &str) -> ExitCode {
    match error {
        StartError::Bind { addr, error } => {
            let line = format!("{listener} {addr}: {error}");
            match bind_advice(error) {
                Some(advice) => complain(&format!("{line}; {advice}"), NOT_BOUND),
                None => complain(&line, NOT_BOUND),
            }
        }
        StartError::Control { .. } => complain(&error.to_string(), NOT_BOUND),
        StartError::Os { .. } => complain(&error.to_string(), FAILED),
    }
}

/// What can be done about what the system says; nothing where we have said ourselves what is in the way.
fn bind_advice(error: &io::Error) -> Option<&'static str> {
    error.raw_os_error()?;
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there: choose another port, or 0 for a free one"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE: choose a higher one"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: 0.0.0.0 and [::] are all that it has"
        }
        _ => "choose another address",
    })
}

/// Backends of our own, and a proxy in front of them. What to try is printed once its address is known.
fn start_demo(
    listen: Option<SocketAddr>,
    settings: &Settings,
    inherited: &mut Inherited,
) -> Result<EventLoop, ExitCode> {
    let backends = demo::Backends::start().map_err(|error| {
        complain(
            &format!("the demo's backends cannot start: {error}"),
            FAILED,
        )
    })?;
    let config = |addr| {
        let named = |(name, addr): (&str, SocketAddr)| Backend::at(name, addr.into(), vec![addr]);
        settings
            .clone()
            .with(vec![addr], backends.list().map(named).collect())
    };
    let wanted = listen.unwrap_or(DEMO_ADDR.into());
    let (event_loop, note) = match EventLoop::new(config(wanted), inherited) {
        Err(StartError::Bind { error, .. })
            if listen.is_none() && error.kind() == io::ErrorKind::AddrInUse =>
        {
            let free = start(config(SocketAddr::from((DEMO_ADDR.0, 0))), None, inherited)?;
            (
                free,
                format!("{wanted} is taken, so this is a free port.\n"),
            )
        }
        tried => {
            let started = tried.map_err(|error| not_started(&error, "--listen"))?;
            (started, String::new())
        }
    };
    if let Some(addr) = event_loop.listen_addrs().first().copied() {
        // Whoever closed standard output does not want to read it; the proxy runs all the same.
        let _ = print(&format!("{note}{}", demo::guide(addr)));
    }
    Ok(event_loop)
}

/// Prints what was asked for. A reader that has left (`rondel --help | head -1`) has what it wanted.
fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("cannot write to standard output: {error}"), FAILED)
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

/// Says all that is wrong with a configuration file.
fn complain_of_file(error: &Unusable) -> ExitCode {
    match error {
        Unusable::Io { .. } => complain(&error.to_string(), WRONG_FILE),
        // The lines begin with the place, as editors and people know it from compilers.
        Unusable::Problems(_) => {
            let _ = io::stderr().write_all(format!("{error}\n").as_bytes());
            ExitCode::from(WRONG_FILE)
        }
    }
}

/// Says in one line why we end. If even that cannot be said, the code still tells.
fn complain(line: &str, code: u8) -> ExitCode {
    // One write, so that no other process that shares standard error can get in between.
    let _ = io::stderr().write_all(format!("rondel: {line}\n").as_bytes());
    ExitCode::from(code)
}
