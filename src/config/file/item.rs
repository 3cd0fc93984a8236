//! Values as they stand in the file, and how messages show them.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Most characters of a value that a message shows.
const SHOWN_MAX: usize = 60;

/// A value that stands in the file.
#[derive(Clone)]
pub(super) struct Item<'a> {
    pub(super) key: &'a str,
    pub(super) span: Range<usize>,
    pub(super) value: &'a DeValue<'a>,
}

/// Tables are kept sorted by name; what counts is the order in which they were written.
fn entries<'a>(table: &'a DeTable<'a>) -> Vec<Item<'a>> {
    let mut items: Vec<(usize, Item<'a>)> = table
        .iter()
        .map(|(name, value)| {
            let item = Item {
                key: name.get_ref(),
                span: value.span(),
                value: value.get_ref(),
            };
            (name.span().start, item)
        })
        .collect();
    items.sort_by_key(|(at, _)| *at);
    items.into_iter().map(|(_, item)| item).collect()
}

impl<'a> Item<'a> {
    /// The elements of a list, or the one value that is none.
    pub(super) fn each(&self) -> Vec<Self> {
        match self.value {
            DeValue::Array(list) => list
                .iter()
                .map(|element| Item {
                    key: self.key,
                    span: element.span(),
                    value: element.get_ref(),
                })
                .collect(),
            _ => vec![self.clone()],
        }
    }

    /// The table that this is, as a section which the reference does not tell of.
    pub(super) fn entries(&self) -> Option<Vec<Self>> {
        match self.value {
            DeValue::Table(table) => Some(entries(table)),
            _ => None,
        }
    }
}

/// A name as messages show it: cut if it is long, and without what disturbs a terminal.
pub(super) fn quoted(name: &str) -> String {
    let mut chars = name.chars();
    let short: String = chars.by_ref().take(SHOWN_MAX).collect();
    if chars.next().is_some() {
        format!("{short:?}…")
    } else {
        format!("{short:?}")
    }
}

/// A key as messages show it: as it is, unless the operator chose a name that needs quotes.
pub(super) fn shown_key(key: &str) -> Cow<'_, str> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if key.len() <= SHOWN_MAX && key.bytes().all(is_plain) {
        key.into()
    } else {
        quoted(key).into()
    }
}

/// A value as messages show it.
pub(super) struct Shown<'a>(pub(super) &'a DeValue<'a>);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            DeValue::String(text) => f.write_str(&quoted(text)),
            DeValue::Integer(number) => f.write_str(quoted(&number.to_string()).trim_matches('"')),
            DeValue::Float(number) => f.write_str(quoted(number.as_str()).trim_matches('"')),
            DeValue::Boolean(truth) => truth.fmt(f),
            DeValue::Datetime(moment) => moment.fmt(f),
            DeValue::Array(_) => f.write_str("[…]"),
            DeValue::Table(_) => f.write_str("{…}"),
        }
    }
}
