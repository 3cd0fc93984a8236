//! clap's errors as one line: the flag, the value, what is expected, and clap's guess at what was meant.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::UsageError;

/// What is wrong, in one line.
pub(super) fn line(error: &clap::Error) -> String {
    let arg = text(error, ContextKind::InvalidArg).unwrap_or_default();
    let flag = bare(arg);
    let prior = bare(text(error, ContextKind::PriorArg).unwrap_or_default());
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if !arg.starts_with('-') => unknown(error, arg, "command"),
        ErrorKind::UnknownArgument => unknown(error, arg, "flag"),
        ErrorKind::InvalidSubcommand => {
            let verb = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            unknown(error, verb, "command")
        }
        ErrorKind::ValueValidation => match error.source() {
            Some(reason) => UsageError::value(flag, value, reason).0,
            None => format!("{flag} {value:?}: not understood"),
        },
        ErrorKind::InvalidValue => format!("{flag}: expected a value behind it"),
        ErrorKind::TooManyValues => format!("{flag} {value:?}: expected no value behind it"),
        ErrorKind::ArgumentConflict => match text(error, ContextKind::InvalidSubcommand) {
            Some("demo" | "help") => format!("{prior}: expected behind the command, not before it"),
            Some(other) => unknown(error, other, "command"),
            None => format!("{flag}: expected at most once"),
        },
        ErrorKind::InvalidUtf8 => "a flag or value is not UTF-8: expected plain text".to_owned(),
        ErrorKind::MissingRequiredArgument => {
            format!("{arg} is missing; rondel --help shows what there is")
        }
        // What else clap knows (missing and counted arguments) cannot come up with our flags.
        _ => error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

fn unknown(error: &clap::Error, typed: &str, noun: &str) -> String {
    let guess = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand]
        .into_iter()
        .find_map(|kind| text(error, kind));
    match guess {
        Some(guess) => format!("{typed:?}: no such {noun}; did you mean {guess}?"),
        None => format!("{typed:?}: no such {noun}; rondel --help shows what there is"),
    }
}

/// clap shows a flag with its value's name behind it: `--listen <ADDR>`.
fn bare(flag: &str) -> &str {
    flag.split([' ', '=']).next().unwrap_or_default()
}

/// One fact of an error, the first if it has several.
fn text(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    }
}
