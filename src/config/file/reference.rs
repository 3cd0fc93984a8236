//! The reference: what the readers ask for, as text.

use std::fmt::Write as _;

use super::book::Book;
use super::places::Places;
use super::problem::Source;
use super::section::Section;
use super::top;

/// All sections and keys of the file, in Markdown: type, default, meaning.
#[must_use]
pub fn reference() -> String {
    let book = Book::for_reference();
    let entry = book.begin(
        "The top",
        "What holds for the whole program, and what pools inherit. These keys stand before the first section.",
    );
    let top = Section::new(&book, book.empty(), 0..0, String::new(), entry);
    top::read(top, &mut Places::new(Source::new("", "")));
    let mut text = String::from(INTRODUCTION);
    for section in book.described() {
        let _ = write!(text, "\n## {}\n\n{}\n\n", section.header, section.meaning);
        for key in section.keys {
            let _ = writeln!(
                text,
                "- `{}` ({}; {}): {}",
                key.name, key.kind, key.absent, key.meaning
            );
        }
    }
    text
}

const INTRODUCTION: &str = "\
# The configuration file

TOML, read with `rondel -f rondel.toml`. Durations are a number with its unit in quotes: `\"500ms\"`, `\"3s\"`, `\"1m 30s\"`, `\"1h\"`; from
1 ms to 365 days. Where several values may stand (networks, hosts, names), one may stand without a list. Keys that are unknown or
have no effect are errors.
";
