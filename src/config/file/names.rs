//! Names of things: unique among their kind, and found again when others refer to them.

use std::collections::HashMap;
use std::ops::Range;

use super::book::{Book, Fault};
use super::item::quoted;
use super::section::{Absent, Key, Section};

/// Longest name, in bytes: as long as a server can be typed.
const NAME_BYTES_MAX: usize = 260;

/// The names of one kind of things, each with its place.
pub(super) struct Names {
    noun: &'static str,
    places: HashMap<String, usize>,
    in_order: Vec<String>,
}

impl Names {
    pub(super) fn new(noun: &'static str) -> Self {
        Self {
            noun,
            places: HashMap::new(),
            in_order: Vec::new(),
        }
    }

    /// Takes the next name. One that is taken already is wrong.
    pub(super) fn add(&mut self, book: &Book, name: &str, span: Range<usize>, place: &str) {
        let nth = self.in_order.len();
        if self.places.contains_key(name) {
            let (noun, name) = (self.noun, quoted(name));
            let message =
                format!("another {noun} is called {name}{place}: expected each name once");
            book.note(Fault::new(span, message));
        } else {
            self.places.insert(name.to_owned(), nth);
        }
        self.in_order.push(name.to_owned());
    }

    /// Takes the place of something whose name is missing.
    pub(super) fn add_unnamed(&mut self) {
        self.in_order.push(String::new());
    }

    /// Takes a name that may be there already, for something that has no other.
    pub(super) fn add_again(&mut self, name: &str) {
        let nth = self.in_order.len();
        self.places.entry(name.to_owned()).or_insert(nth);
        self.in_order.push(name.to_owned());
    }

    /// The place of what is called so. If nothing is, that is wrong.
    pub(super) fn find(
        &self,
        section: &Section<'_>,
        name: &str,
        span: Range<usize>,
    ) -> Option<usize> {
        let found = self.places.get(name).copied();
        if found.is_none() && !section.book.is_broken() {
            let (noun, shown) = (self.noun, quoted(name));
            let message = format!("there is no {noun} {shown}, named{}", section.place());
            let names = self.in_order.iter().map(String::as_str);
            section.book.note(Fault {
                suggestion: section.book.guess(name, names),
                ..Fault::new(span, message)
            });
        }
        found
    }
}

/// The `name` of a section, with its place in the file, if it was given.
pub(super) fn ask(
    section: &mut Section<'_>,
    absent: Absent<'_>,
    meaning: &'static str,
) -> Option<(String, Range<usize>)> {
    let item = section.ask(&Key {
        name: "name",
        kind: "a name",
        absent,
        meaning,
    })?;
    let name = section.parse_item(&item, "a name", valid)?;
    Some((name, item.span))
}

fn valid(text: &str) -> Result<String, String> {
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "expected a name of 1 to {NAME_BYTES_MAX} bytes without control characters"
        ))
    }
}
