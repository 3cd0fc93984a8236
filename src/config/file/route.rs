//! Routes: which requests they take.

use std::sync::Arc;

use toml::de::DeValue;

use super::action;
use super::item::Item;
use super::names::{self, Names};
use super::places::{Marks, Places};
use super::section::{Absent, Key, Section};
use super::text;
use crate::config::{Condition, Match, PathPattern, Route, Test};

/// All routes.
pub(super) fn read_all(
    top: &mut Section<'_>,
    listeners: &Names,
    pools: &Names,
    places: &mut Places,
) -> Vec<Arc<Route>> {
    let key = Key {
        name: "route",
        kind: "sections",
        absent: Absent::Means("all requests go to the one pool"),
        meaning: "Which requests, and what is done with them. The first in the order written that takes a request is the one. Of \
                  several listeners, hosts, paths or methods one must fit, of headers and query parameters all; what is not said \
                  is no condition. Each route says one of `pool`, `pools`, `redirect` and `reply`.",
    };
    let mut names = Names::new("route");
    let mut routes = Vec::new();
    for (i, section) in top.tables(&key, "route").into_iter().enumerate() {
        let (route, marks) = read(section, i, &mut names, listeners, pools);
        places.routes.push(marks);
        routes.push(Arc::new(route));
    }
    routes
}

fn read(
    mut section: Section<'_>,
    i: usize,
    names: &mut Names,
    listeners: &Names,
    pools: &Names,
) -> (Route, Marks) {
    let name = names::ask(
        &mut section,
        Absent::Means("`route N`, counted from 1"),
        "How the log calls it; unique.",
    );
    let (name, span) = name.unwrap_or_else(|| (format!("route {}", i + 1), section.span()));
    names.add(section.book, &name, span, "");
    let when = conditions(&mut section, listeners);
    let done = action::read(&mut section, pools);
    let route = Route {
        name,
        when,
        action: done.action,
        rewrite: done.rewrite,
        request_fields: done.request_fields,
        response_fields: done.response_fields,
    };
    (route, section.finish())
}

fn conditions(section: &mut Section<'_>, known: &Names) -> Match {
    let key = |name, kind, meaning| Key {
        name,
        kind,
        absent: Absent::Means("any"),
        meaning,
    };
    let listener = key(
        "listener",
        "names",
        "Names of listeners at which the request came in.",
    );
    let host = key(
        "host",
        "hosts",
        "Hosts: `example.com`, or `*.example.com` for all that end so. Without a port.",
    );
    let path = key("path", "paths", "Paths, exactly. The query does not count.");
    let prefix = key(
        "path-prefix",
        "paths",
        "Paths with all that is below: `/api` takes `/api` and `/api/x`, not `/apix`; `/api/` takes what begins so.",
    );
    let pattern = key(
        "path-pattern",
        "patterns",
        "Patterns of paths: `*` stands for anything but `/`, `**` for anything.",
    );
    let method = key("method", "methods", "Methods, case-sensitive.");
    let header = key(
        "header",
        "a table",
        "Header fields, all of which must fit: `{ X-Canary = \"1\", Cookie = { pattern = \"*beta=1*\" }, X-Old = { present = false } \
         }`. A text is the whole value; in a pattern `*` stands for anything. Of several fields of that name one must fit; several \
         tests of one field stand in a list.",
    );
    let query = key(
        "query",
        "a table",
        "Query parameters, decoded, all of which must fit; said like `header`.",
    );
    let listeners = section.ask(&listener).map_or_else(Vec::new, |item| {
        let each = item.each();
        if each.is_empty() {
            section.refuse(&item, "expected at least one; leave the key out for any");
        }
        let named = each.iter().filter_map(|item| {
            let name =
                section.parse_item(item, "a name", |name| Ok::<_, String>(name.to_owned()))?;
            known.find(section, &name, item.span.clone()).map(|_| name)
        });
        named.collect()
    });
    let hosts = section.parse_all(&host, text::host);
    let mut paths = section.parse_all(&path, |path| text::path(path).map(PathPattern::Exact));
    paths.extend(section.parse_all(&prefix, |path| text::path(path).map(PathPattern::Prefix)));
    paths.extend(section.parse_all(&pattern, text::path_pattern));
    Match {
        listeners,
        hosts,
        paths,
        methods: section.parse_all(&method, text::method),
        fields: tests(section, &header, |name| {
            text::token(name, "the name of a field")
        }),
        query: tests(section, &query, |name| match name {
            "" => Err("expected the name of a parameter".to_owned()),
            _ => text::plain(name),
        }),
    }
}

/// Conditions on named values.
fn tests(
    section: &mut Section<'_>,
    key: &Key<'_>,
    name: impl Fn(&str) -> Result<String, String>,
) -> Vec<Condition> {
    let Some(item) = section.ask(key) else {
        return Vec::new();
    };
    let Some(entries) = item.entries().filter(|entries| !entries.is_empty()) else {
        section.refuse(&item, "expected a table such as { NAME = \"value\" }");
        return Vec::new();
    };
    let mut conditions = Vec::new();
    for entry in &entries {
        let named = match name(entry.key) {
            Ok(named) => named,
            Err(expected) => {
                section.refuse(entry, expected);
                continue;
            }
        };
        let each = entry.each();
        if each.is_empty() {
            section.refuse(entry, "expected at least one test");
        }
        let tests = each.iter().filter_map(|item| test(section, item));
        conditions.extend(tests.map(|test| Condition {
            name: named.clone(),
            test,
        }));
    }
    conditions
}

fn test(section: &Section<'_>, item: &Item<'_>) -> Option<Test> {
    const EXPECTED: &str = "expected a value in quotes, or one of { value = \"x\" }, { pattern = \"x*\" }, { present = true } and \
                            { present = false }";
    if let DeValue::String(_) = item.value {
        return section
            .parse_item(item, "a value", text::plain)
            .map(Test::Is);
    }
    let entries = item.entries().unwrap_or_default();
    let [entry] = entries.as_slice() else {
        section.refuse(item, EXPECTED);
        return None;
    };
    match (entry.key, entry.value) {
        ("present", DeValue::Boolean(true)) => Some(Test::Present),
        ("present", DeValue::Boolean(false)) => Some(Test::Absent),
        ("value", DeValue::String(_)) => section
            .parse_item(entry, "a value", text::plain)
            .map(Test::Is),
        ("pattern", DeValue::String(_)) => section
            .parse_item(entry, "a pattern", text::plain)
            .map(Test::Like),
        _ => {
            section.refuse(entry, EXPECTED);
            None
        }
    }
}
