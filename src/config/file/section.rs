//! A section of the file while it is read. Who wants a key asks for it with all that is to be known of it; keys that no one asks
//! for are wrong, and asking an empty section for everything gives the reference.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::book::{Book, Fault};
use super::item::{Item, Shown, quoted, shown_key};
use super::places::Marks;
use crate::config::value;

/// A key, as its reader asks for it.
#[derive(Clone, Copy)]
pub(super) struct Key<'k> {
    pub(super) name: &'static str,
    /// What kind of value, in a word or two.
    pub(super) kind: &'k str,
    pub(super) absent: Absent<'k>,
    /// What it means, in a sentence or two.
    pub(super) meaning: &'static str,
}

/// What it means that a key is not given.
#[derive(Clone, Copy)]
pub(super) enum Absent<'k> {
    /// It is an error.
    Required,
    /// This value is taken, written as it would be in the file.
    Is(&'k dyn Display),
    /// This.
    Means(&'static str),
}

/// A section: a table, and how it is called in messages.
pub(super) struct Section<'a> {
    pub(super) book: &'a Book,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    title: String,
    /// Where the reference tells of it.
    entry: usize,
    asked: Vec<&'static str>,
    inherits: bool,
    marks: Vec<(&'static str, Range<usize>)>,
    /// What was told to be missing, each with the key that it stands in.
    missing: Vec<(&'static str, String)>,
}

impl<'a> Section<'a> {
    pub(super) fn new(
        book: &'a Book,
        table: &'a DeTable<'a>,
        span: Range<usize>,
        title: String,
        entry: usize,
    ) -> Self {
        Self {
            book,
            table,
            span,
            title,
            entry,
            asked: Vec::new(),
            inherits: false,
            marks: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// From now on, what is not given is as at the top.
    pub(super) fn inherit(&mut self) {
        self.inherits = true;
    }

    /// Whether this stands below the top, and what is not given is as there.
    pub(super) fn inherits(&self) -> bool {
        self.inherits
    }

    /// The value of a key, if it was given.
    pub(super) fn ask(&mut self, key: &Key<'_>) -> Option<Item<'a>> {
        self.book.describe(self.entry, key, self.inherits);
        self.asked.push(key.name);
        if self.is_top() {
            self.book.note_key_of_top(key.name);
        }
        let found = self.table.get_key_value(key.name);
        let Some((name, value)) = found else {
            if matches!(key.absent, Absent::Required) {
                let message = format!("{} is missing{}", key.name, self.place());
                self.lacks(&[key.name], message);
            }
            return None;
        };
        let item = Item {
            key: name.get_ref(),
            span: value.span(),
            value: value.get_ref(),
        };
        self.marks.push((key.name, item.span.clone()));
        Some(item)
    }

    /// A value of text that means something.
    pub(super) fn parse<T, E: Display>(
        &mut self,
        key: &Key<'_>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let item = self.ask(key)?;
        self.parse_item(&item, key.kind, parse)
    }

    /// Several values of text: a string, or a list of strings.
    pub(super) fn parse_all<T, E: Display>(
        &mut self,
        key: &Key<'_>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let Some(item) = self.ask(key) else {
            return Vec::new();
        };
        let items = item.each();
        if items.is_empty() {
            self.refuse(&item, "expected at least one; leave the key out for none");
        }
        let parsed = items
            .iter()
            .filter_map(|item| self.parse_item(item, key.kind, &parse));
        parsed.collect()
    }

    pub(super) fn parse_item<T, E: Display>(
        &self,
        item: &Item<'a>,
        kind: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let DeValue::String(text) = item.value else {
            self.refuse(item, format_args!("expected {kind}, in quotes"));
            return None;
        };
        parse(text)
            .map_err(|expected| self.refuse(item, expected))
            .ok()
    }

    /// How long something may take.
    pub(super) fn duration(
        &mut self,
        name: &'static str,
        default: Duration,
        meaning: &'static str,
    ) -> Duration {
        let shown = format_args!("\"{}\"", value::duration_text(default));
        let shown = self.book.told(&shown);
        let key = Key {
            name,
            kind: "a duration",
            absent: Absent::Is(&shown),
            meaning,
        };
        self.parse(&key, value::duration).unwrap_or(default)
    }

    /// A whole number.
    pub(super) fn number<T: FromStr + PartialOrd + Display + Copy>(
        &mut self,
        name: &'static str,
        range: &RangeInclusive<T>,
        default: T,
        meaning: &'static str,
    ) -> T {
        let kind = format_args!("{} to {}", range.start(), range.end());
        let kind = self.book.told(&kind);
        let key = Key {
            name,
            kind: &kind,
            absent: Absent::Is(&default),
            meaning,
        };
        let item = self.ask(&key);
        item.and_then(|item| self.number_item(&item, range))
            .unwrap_or(default)
    }

    pub(super) fn number_item<T: FromStr + PartialOrd + Display>(
        &self,
        item: &Item<'a>,
        range: &RangeInclusive<T>,
    ) -> Option<T> {
        let text = match item.value {
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| String::new(), |number| number.to_string()),
            _ => String::new(),
        };
        value::number(&text, range)
            .map_err(|expected| self.refuse(item, expected))
            .ok()
    }

    /// Yes or no.
    pub(super) fn truth(
        &mut self,
        name: &'static str,
        default: bool,
        meaning: &'static str,
    ) -> bool {
        let key = Key {
            name,
            kind: "true or false",
            absent: Absent::Is(&default),
            meaning,
        };
        match self.ask(&key) {
            Some(Item {
                value: DeValue::Boolean(truth),
                ..
            }) => *truth,
            Some(item) => {
                self.refuse(&item, "expected true or false");
                default
            }
            None => default,
        }
    }

    /// One of these words.
    pub(super) fn choice<T: Clone>(
        &mut self,
        name: &'static str,
        words: &[(&'static str, T)],
        absent: Absent<'_>,
        meaning: &'static str,
    ) -> Option<T> {
        let all = || {
            let quoted = words.iter().map(|(word, _)| format!("{word:?}"));
            quoted.collect::<Vec<_>>().join(", ")
        };
        let kind = if self.book.is_catalogue() {
            all()
        } else {
            String::new()
        };
        let item = self.ask(&Key {
            name,
            kind: &kind,
            absent,
            meaning,
        })?;
        let DeValue::String(text) = item.value else {
            self.refuse(&item, format_args!("expected one of {}", all()));
            return None;
        };
        let found = words.iter().find(|(word, _)| word == text);
        if found.is_none() {
            let guess = self.book.guess(text, words.iter().map(|(word, _)| *word));
            self.book.note(Fault {
                expected: Some(format!("expected one of {}", all())),
                suggestion: guess,
                ..self.fault(&item)
            });
        }
        found.map(|(_, meant)| meant.clone())
    }

    /// A section within this one, if it was given.
    pub(super) fn table(&mut self, key: &Key<'_>) -> Option<Self> {
        if self.book.is_catalogue() {
            let header = format!("`{}`{}", key.name, self.place());
            let entry = self.book.begin(&header, key.meaning);
            let title = key.name.to_owned();
            let inner = Self::new(self.book, self.book.empty(), 0..0, title, entry);
            self.ask(key);
            return Some(inner);
        }
        let item = self.ask(key)?;
        match item.value {
            DeValue::Table(table) => {
                let title = format!("{}{}", key.name, self.place());
                Some(Self::new(self.book, table, item.span, title, 0))
            }
            _ => {
                self.refuse(&item, format_args!("expected {}", key.kind));
                None
            }
        }
    }

    /// The sections of a list of tables, `[[name]]`, in the order written.
    pub(super) fn tables(&mut self, key: &Key<'_>, header: &str) -> Vec<Self> {
        if self.book.is_catalogue() {
            let entry = self.book.begin(&format!("`[[{header}]]`"), key.meaning);
            let title = key.name.to_owned();
            self.ask(&Key {
                meaning: "See there.",
                ..*key
            });
            let inner = Self::new(self.book, self.book.empty(), 0..0, title, entry);
            return vec![inner];
        }
        let found = self.ask(key);
        let Some(item) = found else {
            return Vec::new();
        };
        let DeValue::Array(list) = item.value else {
            self.refuse(
                &item,
                format_args!("expected sections that begin with [[{header}]]"),
            );
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(list.len());
        for (i, element) in list.iter().enumerate() {
            match element.get_ref() {
                DeValue::Table(table) => {
                    let title = match table.get("name").map(Spanned::get_ref) {
                        Some(DeValue::String(name)) => format!("{} {}", key.name, quoted(name)),
                        _ => format!("{} {}", key.name, i + 1),
                    };
                    let title = if header.contains('.') {
                        format!("{title}{}", self.place())
                    } else {
                        title
                    };
                    sections.push(Self::new(self.book, table, element.span(), title, 0));
                }
                value => self.refuse(
                    &Item {
                        key: item.key,
                        span: element.span(),
                        value,
                    },
                    format_args!("expected a section that begins with [[{header}]]"),
                ),
            }
        }
        sections
    }

    /// Whether the key was given. It has to be asked for first.
    pub(super) fn has(&self, key: &str) -> bool {
        self.marks.iter().any(|(name, _)| *name == key)
    }

    /// Says that a value cannot be used.
    pub(super) fn refuse(&self, item: &Item<'_>, expected: impl Display) {
        self.book.note(Fault {
            expected: Some(expected.to_string()),
            ..self.fault(item)
        });
    }

    /// What is wrong with a value, to be completed.
    pub(super) fn fault(&self, item: &Item<'_>) -> Fault {
        let (key, value) = (shown_key(item.key), Shown(item.value));
        let message = format!("{key} {value}{}", self.place());
        Fault::new(item.span.clone(), message)
    }

    /// Says that the value of a key, which was given, cannot be used.
    pub(super) fn wrong(&self, key: &str, expected: &str) {
        if let Some((name, span)) = self.marks.iter().find(|(name, _)| *name == key) {
            let message = format!("{name}{}: {expected}", self.place());
            self.book.note(Fault::new(span.clone(), message));
        }
    }

    /// Says that keys which were given have no effect, and why.
    pub(super) fn inert(&self, keys: &[&str], why: &str) {
        for (name, span) in &self.marks {
            if keys.contains(name) {
                let message = format!("{name}{} has no effect: {why}", self.place());
                self.book.note(Fault::new(span.clone(), message));
            }
        }
    }

    /// Says that something is not in this section, which may be because of what could not be read; `keys` are those that it
    /// would stand in.
    pub(super) fn absent(&mut self, keys: &[&'static str], missing: &str, expected: &str) {
        let message = format!("{missing}{}: {expected}", self.place());
        self.lacks(keys, message);
    }

    fn lacks(&mut self, keys: &[&'static str], message: String) {
        let missing = keys.iter().map(|key| (*key, message.clone()));
        self.missing.extend(missing);
        self.book.absent(self.span.clone(), message);
    }

    fn is_top(&self) -> bool {
        self.title.is_empty()
    }

    /// ` in pool "web"`, or nothing at the top.
    pub(super) fn place(&self) -> String {
        if self.is_top() {
            String::new()
        } else {
            format!(" in {}", self.title)
        }
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    fn unknown(&self, name: &Spanned<DeString<'_>>) {
        let key = name.get_ref();
        let message = format!("unknown key {}{}", quoted(key), self.place());
        let mut fault = Fault::new(name.span(), message);
        if self.book.is_of_top(key) {
            // In TOML all that stands behind a section's header is of that section.
            fault.expected = Some("it stands at the top, before the first section".to_owned());
        } else {
            fault.suggestion = self.book.guess(key, self.asked.iter().copied());
            // What was probably meant is told once.
            let meant = |(key, _): &&(&str, String)| fault.suggestion.as_deref() == Some(*key);
            for (_, message) in self.missing.iter().filter(meant) {
                self.book.take_back(&self.span, message);
            }
        }
        self.book.note(fault);
    }

    /// Says which keys no one asked for, and gives where the others stand.
    pub(super) fn finish(self) -> Marks {
        if self.marks.len() < self.table.len() {
            for (name, _) in self.table {
                if !self.asked.contains(&name.get_ref().as_ref()) {
                    self.unknown(name);
                }
            }
        }
        Marks {
            section: self.span,
            keys: self.marks,
        }
    }
}
