//! The backends of a pool.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::book::Fault;
use super::item::Item;
use super::names::{self, Names};
use super::places::Marks;
use super::section::{Absent, Key, Section};
use crate::config::value::Server;
use crate::config::{Backend, WEIGHT_MAX};

/// The backends, with the place of each.
pub(super) fn read_all(section: &mut Section<'_>) -> (Vec<Backend>, Vec<Marks>) {
    let short = Key {
        name: "backends",
        kind: "HOST:PORT",
        absent: Absent::Means("they stand in `[[pool.backend]]`"),
        meaning: "The servers, if there is no more to say of them: `[\"10.0.0.1:3000\", \"app.internal:3000\"]`.",
    };
    let long = Key {
        name: "backend",
        kind: "sections",
        absent: Absent::Means("they stand in `backends`"),
        meaning: "A server.",
    };
    let mut list = List::default();
    if let Some(item) = section.ask(&short) {
        let (sections, servers): (Vec<_>, Vec<_>) = item
            .each()
            .into_iter()
            .partition(|item| item.entries().is_some());
        if let Some(first) = sections.first() {
            list.tried += 1;
            section.book.note(Fault {
                expected: Some("expected HOST:PORT, in quotes".to_owned()),
                suggestion: Some("[[pool.backend]]".to_owned()),
                ..section.fault(first)
            });
        }
        for item in servers {
            list.short(section, &item);
        }
    }
    for part in section.tables(&long, "pool.backend") {
        list.long(part);
    }
    match (section.has("backends"), section.has("backend")) {
        (true, true) => section.wrong("backends", "expected either this or [[pool.backend]]"),
        _ if list.tried == 0 => {
            let keys = ["backends", "backend"];
            section.absent(&keys, "there is no backend", "expected at least one");
        }
        _ => {}
    }
    (list.backends, list.marks)
}

/// The backends of a pool, as they come.
struct List {
    backends: Vec<Backend>,
    marks: Vec<Marks>,
    names: Names,
    addrs: HashSet<SocketAddr>,
    typed: HashSet<String>,
    tried: usize,
}

impl Default for List {
    fn default() -> Self {
        Self {
            backends: Vec::new(),
            marks: Vec::new(),
            names: Names::new("backend"),
            addrs: HashSet::new(),
            typed: HashSet::new(),
            tried: 0,
        }
    }
}

impl List {
    fn short(&mut self, pool: &Section<'_>, item: &Item<'_>) {
        self.tried += 1;
        if let Some(server) = self.server(pool, item) {
            let name = server.to_string();
            self.names
                .add(pool.book, &name, item.span.clone(), &pool.place());
            let addrs = server.addr().into_iter().collect();
            self.backends.push(Backend::at(&name, server, addrs));
            self.marks.push(Marks {
                section: item.span.clone(),
                keys: vec![("address", item.span.clone())],
            });
        }
    }

    fn long(&mut self, mut section: Section<'_>) {
        self.tried += 1;
        let name = names::ask(
            &mut section,
            Absent::Means("its address, as it is written"),
            "How it is called in the log; unique in its pool.",
        );
        let address = section.ask(&Key {
            name: "address",
            kind: "HOST:PORT",
            absent: Absent::Required,
            meaning: "Where it is: an address or a name, and a port. Names are resolved when the file is put to use.",
        });
        let server = address.and_then(|item| self.server(&section, &item));
        let weight = section.number(
            "weight",
            &(0..=WEIGHT_MAX),
            1,
            "Its share beside the others; at 0 it gets no new clients.",
        );
        let backup = section.truth(
            "backup",
            false,
            "Whether it gets requests only while no other is live.",
        );
        if let Some(server) = server {
            let (name, span) = name.unwrap_or_else(|| (server.to_string(), section.span()));
            self.names.add(section.book, &name, span, "");
            self.backends.push(Backend {
                name,
                addrs: server.addr().into_iter().collect(),
                server,
                weight,
                backup,
            });
            self.marks.push(section.finish());
        } else {
            section.finish();
        }
    }

    /// The server that is meant, if it is not there already: by address, or by name in any case.
    fn server(&mut self, section: &Section<'_>, item: &Item<'_>) -> Option<Server> {
        let server: Server = section.parse_item(item, "HOST:PORT", str::parse)?;
        let is_new = match server.addr() {
            Some(addr) => self.addrs.insert(addr),
            None => self.typed.insert(server.to_string().to_lowercase()),
        };
        if !is_new {
            section.refuse(item, "expected each server once in a pool");
        }
        is_new.then_some(server)
    }
}
