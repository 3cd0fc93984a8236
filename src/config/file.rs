//! The configuration file: TOML in, a [`Config`] out, or everything that is wrong with it.
//!
//! Reading is a pure function of the text: nothing is resolved, bound or opened. Each key is documented where it is read and
//! nowhere else; [`reference()`] runs the same readers over an empty file and tells what they ask for. [`print()`] is the way back.

mod action;
mod backend;
mod book;
mod fields;
mod item;
mod load;
mod names;
mod places;
mod pool;
mod print;
mod problem;
mod reference;
mod route;
mod section;
mod text;
mod top;

#[cfg(test)]
mod tests;

use log::LevelFilter;
use toml::de::DeTable;

use self::book::{Book, Fault};
use self::problem::Source;
use self::section::Section;
use crate::config::Config;

pub use self::book::PROBLEMS_MAX;
pub use self::load::{Unusable, load};
pub use self::places::{Element, Places};
pub use self::print::print;
pub use self::problem::Problem;
pub use self::reference::reference;

/// Longest file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The configuration; only backends that were given by address have one yet.
    pub config: Config,
    /// The least urgent lines that are logged.
    pub log_level: LevelFilter,
    /// Where in the file it says so.
    pub places: Places,
}

/// Reads a file that is called `name` in messages.
///
/// # Errors
/// All that is wrong with it, in the order of the file; at most [`PROBLEMS_MAX`], and how many more there are.
pub fn read(name: &str, text: &str) -> Result<Read, Vec<Problem>> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file is too long: expected at most {FILE_BYTES_MAX} bytes");
        return Err(vec![Source::new(name, "").problem(0..0, message)]);
    }
    let source = Source::new(name, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let book = Book::for_file(!errors.is_empty());
    for error in errors {
        let span = error.span().unwrap_or_default();
        book.note_syntax(Fault::new(span, error.message().to_owned()));
    }
    let top = Section::new(&book, table.get_ref(), 0..0, String::new(), 0);
    let mut places = Places::new(source.clone());
    let (config, log_level) = top::read(top, &mut places);
    let problems = book.problems(&source);
    if problems.is_empty() {
        Ok(Read {
            config,
            log_level,
            places,
        })
    } else {
        Err(problems)
    }
}
