//! Routes: what they change in header fields.

use std::collections::HashSet;

use super::item::Item;
use super::section::{Absent, Key, Section};
use super::text;
use crate::config::FieldEdits;

/// Fields that no one may change: they frame a message, belong to one connection, or are our own.
const KEPT: &[&str] = &[
    "close",
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-request-id",
];

/// What the table of this name says.
pub(super) fn read(
    section: &mut Section<'_>,
    name: &'static str,
    meaning: &'static str,
) -> FieldEdits {
    let key = Key {
        name,
        kind: "a table such as { set = { X-Env = \"live\" }, remove = [\"X-Debug\"] }",
        absent: Absent::Means("they go on as they are"),
        meaning,
    };
    let Some(mut table) = section.table(&key) else {
        return FieldEdits::default();
    };
    let remove = table.parse_all(
        &Key {
            name: "remove",
            kind: "names",
            absent: Absent::Means("none"),
            meaning: "Names whose fields are taken away; in a request `X_User` with `X-User`, and likewise with what is set.",
        },
        |name| editable(name, false),
    );
    let is_request = name == "request-headers";
    let set = pairs(
        &mut table,
        "set",
        "Fields that replace all of that name: `{ X-Env = \"live\" }`. In a request `Host` may be set too.",
        is_request,
    );
    let add = pairs(
        &mut table,
        "add",
        "Fields that are added behind others of that name; several values stand in a list.",
        false,
    );
    once_each(&table, "remove", remove.iter());
    once_each(
        &table,
        "set",
        set.iter().map(|(name, _)| name).chain(&remove),
    );
    let edits = FieldEdits { remove, set, add };
    let keys = ["set", "add", "remove"];
    if edits.is_empty() && keys.iter().all(|key| !table.has(key)) {
        table.absent(&keys, "nothing is changed", "expected set, add or remove");
    }
    table.finish();
    edits
}

/// Names and values.
fn pairs(
    table: &mut Section<'_>,
    name: &'static str,
    meaning: &'static str,
    may_be_host: bool,
) -> Vec<(String, String)> {
    let found = table.ask(&Key {
        name,
        kind: "a table",
        absent: Absent::Means("none"),
        meaning,
    });
    let Some(item) = found else {
        return Vec::new();
    };
    let Some(entries) = item.entries().filter(|entries| !entries.is_empty()) else {
        table.refuse(&item, "expected a table such as { X-Env = \"live\" }");
        return Vec::new();
    };
    let mut pairs = Vec::new();
    for entry in &entries {
        let values: Vec<Item<'_>> = if name == "add" {
            entry.each()
        } else {
            vec![entry.clone()]
        };
        if values.is_empty() {
            table.refuse(entry, "expected at least one value");
        }
        match editable(entry.key, may_be_host) {
            Ok(field) => pairs.extend(values.iter().filter_map(|value| {
                let text = table.parse_item(value, "a value", text::field_value)?;
                Some((field.clone(), text))
            })),
            Err(expected) => table.refuse(entry, expected),
        }
    }
    pairs
}

/// The name of a field that may be changed.
fn editable(name: &str, may_be_host: bool) -> Result<String, String> {
    let plain = name.to_ascii_lowercase().replace('_', "-");
    if plain == "host" && !may_be_host {
        return Err("Host can only be set, and only in a request".to_owned());
    }
    if KEPT.contains(&plain.as_str()) {
        return Err(format!(
            "{plain} frames messages, belongs to one connection, or is written by rondel: expected another field"
        ));
    }
    text::token(name, "the name of a field")
}

/// Says it when a name stands in a list twice, in any case.
fn once_each<'n>(table: &Section<'_>, key: &str, names: impl Iterator<Item = &'n String>) {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name.to_ascii_lowercase()) {
            table.wrong(
                key,
                &format!("{name:?} is there twice: expected each field once, removed or set"),
            );
        }
    }
}
