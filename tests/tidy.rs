//! The house rules that a compiler does not know: who may import whom, where each package may appear, how long a file may
//! grow, and what must not be written at all. The rules stand here as data; `faults` is what holds a file to them.
//!
//! Paths are relative to the project's root, with `/`. Comments and the contents of strings never count.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Longest source file, in lines, its unit tests not counted.
const LINES_MAX: usize = 450;

/// The import table: a room (a file or folder of `src`) and the other rooms it may name. Rooms that are not listed are
/// the program around the proxy (`main` and what it prints); they may name anything public, and nobody may name them.
const IMPORTS: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("http", &["config"]),
    ("route", &["config", "http"]),
    ("balance", &["config"]),
    ("net", &["config"]),
    (
        "inspect",
        &["config", "http", "route", "balance", "net", "proxy"],
    ),
    ("proxy", &["config", "http", "route", "balance", "net"]),
    (
        "admin",
        &[
            "config", "http", "route", "balance", "net", "proxy", "inspect",
        ],
    ),
    (
        "event_loop",
        &["config", "net", "proxy", "route", "admin", "inspect"],
    ),
    ("cli", &["config", "admin"]),
];

/// Each package that we depend on, as it is written in code, and the places (a room, or a file in one) that may use it.
/// `"main"` stands for every room that the import table does not list.
const PACKAGES: &[(&str, &[&str])] = &[
    ("clap", &["cli"]),
    ("command_fds", &["event_loop/upgrade.rs"]),
    ("fastrand", &["balance", "proxy", "event_loop"]),
    ("hmac", &["balance/sticky.rs"]),
    ("httparse", &["http/head.rs", "http/field.rs"]),
    ("httpdate", &["http/reply.rs"]),
    ("humantime", &["config/value.rs"]),
    ("ipnet", &["config", "cli"]),
    ("listenfd", &["event_loop/inherit.rs"]),
    (
        "log",
        &[
            "config/file.rs",
            "config/file/top.rs",
            "proxy",
            "event_loop",
            "cli",
            "main",
        ],
    ),
    ("memchr", &["http"]),
    ("mio", &["event_loop"]),
    ("rustix", &["event_loop", "main"]),
    ("serde_json", &["inspect"]),
    ("sd_notify", &["event_loop/systemd.rs"]),
    ("sha2", &["balance/sticky.rs"]),
    ("signal_hook", &["event_loop"]),
    ("signal_hook_mio", &["event_loop"]),
    ("simple_logger", &["main"]),
    ("siphasher", &["balance/hash.rs"]),
    ("slab", &["balance", "proxy"]),
    ("socket2", &["event_loop"]),
    ("strsim", &["config/file/book.rs"]),
    (
        "toml",
        &[
            "config/file.rs",
            "config/file/book.rs",
            "config/file/item.rs",
            "config/file/route.rs",
            "config/file/section.rs",
        ],
    ),
];

/// What must not stand in shipped code, where it may stand all the same, and why not elsewhere.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    ("todo!", &[], "ship nothing unfinished"),
    ("unimplemented!", &[], "ship nothing unfinished"),
    ("dbg!", &[], "left over from a search"),
    (".unwrap()", &[], "say why it holds: expect(\"…\")"),
    ("#[allow(", &[], "say why: #[expect(…, reason = \"…\")]"),
    ("#![allow(", &[], "say why: #![expect(…, reason = \"…\")]"),
    ("unsafe ", &[], "the crate forbids it"),
    (
        "Instant::now(",
        &["event_loop", "main"],
        "`now` is handed down",
    ),
    (
        "SystemTime::now(",
        &["event_loop", "main"],
        "`now` is handed down",
    ),
    ("println!", &["main"], "only main prints"),
    ("print!", &["main"], "only main prints"),
    ("process::exit", &["main"], "only main exits"),
];

#[test]
fn every_source_file_keeps_the_house_rules() {
    let mut found = Vec::new();
    for path in files_under("src") {
        found.extend(faults(&path, &read(&path)));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn nothing_sleeps() {
    let mut found = Vec::new();
    for path in [files_under("src"), files_under("tests")].concat() {
        found.extend(sleeps(&path, &read(&path)));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_map_in_lib_rs_names_every_file() {
    let found = map_faults(&read("src/lib.rs"), &files_under("src"));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_readme_explains_every_reason_word() {
    let readme = read("README.md");
    let mut found = Vec::new();
    for path in ["src/http/mod.rs", "src/proxy/failure.rs"] {
        found.extend(unexplained_reasons(&read(path), &readme));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_readme_tells_every_flag_with_its_default() {
    let help = Command::new(env!("CARGO_BIN_EXE_rondel"))
        .arg("--help")
        .output();
    let help = help.expect("the binary under test runs").stdout;
    let found = flag_faults(&String::from_utf8_lossy(&help), &read("README.md"));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_package_has_its_place() {
    let code: Vec<String> = files_under("src")
        .iter()
        .map(|path| code_of(&read(path)))
        .collect();
    let found = package_faults(&read("Cargo.toml"), &code);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// What is wrong with one file of `src`.
fn faults(path: &str, text: &str) -> Vec<String> {
    let code = code_of(text);
    let shipped = if is_unit_tests(path) {
        String::new()
    } else {
        without_unit_tests(&code)
    };
    let mut found = Vec::new();
    let lines = shipped.lines().filter(|line| *line != CUT).count();
    if lines > LINES_MAX {
        found.push(format!("{path}: {lines} lines, at most {LINES_MAX}"));
    }
    if path != "src/lib.rs" {
        found.extend(import_faults(path, &code, &shipped));
    }
    for (package, places) in PACKAGES {
        if !is_in(path, places) {
            for line in lines_with_path(&code, package) {
                found.push(format!("{path}:{line}: {package} belongs in {places:?}"));
            }
        }
    }
    for (word, places, reason) in FORBIDDEN {
        if !is_in(path, places) {
            for line in lines_with_word(&shipped, word) {
                found.push(format!("{path}:{line}: {word} – {reason}"));
            }
        }
    }
    found
}

/// Breaches of the import table: rooms named through `crate::` or `rondel::` anywhere (the unit tests keep to the table
/// too), and `super::` where it would reach the root by another door.
fn import_faults(path: &str, code: &str, shipped: &str) -> Vec<String> {
    let room = room_of(path);
    let listed = IMPORTS.iter().find(|(name, _)| *name == room);
    let mut found = Vec::new();
    for (line, named) in rooms_named(code) {
        let known = IMPORTS.iter().any(|(name, _)| *name == named);
        let may = match listed {
            Some((_, may)) => named == room || may.contains(&named.as_str()),
            None => true,
        };
        if !may || (listed.is_some() && !known) {
            found.push(format!("{path}:{line}: {room} may not import {named}"));
        }
    }
    // `src/http/head.rs` is two modules deep: two times up is the root.
    let depth = path.split('/').count() - 1 - usize::from(path.ends_with("/mod.rs"));
    let reaches_root = &"super::".repeat(depth);
    for line in lines_with_word(shipped, reaches_root) {
        found.push(format!(
            "{path}:{line}: {reaches_root} leaves the room, say crate::"
        ));
    }
    found
}

/// Where a test or a shipped file sleeps. The demo's backends may: taking their time is what they are asked for.
fn sleeps(path: &str, text: &str) -> Vec<String> {
    if room_of(path) == "demo" {
        return Vec::new();
    }
    let code = code_of(text);
    ["sleep(", "sleep_ms(", "sleep_until("]
        .iter()
        .flat_map(|word| lines_with_word(&code, word))
        .map(|line| format!("{path}:{line}: wait for what you wait for, do not sleep"))
        .collect()
}

/// Files that the map (the module documentation of `lib.rs`) does not name, and names in it without a file. A file is
/// named as `http/head.rs`, as `http::head`, or in a tree: `head.rs` below a line that begins with `http/`.
fn map_faults(lib: &str, paths: &[String]) -> Vec<String> {
    let doc: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .collect();
    let mut named = Vec::new();
    let mut folder = String::new();
    for line in &doc {
        for (nth, word) in line
            .split(|c: char| !(c.is_alphanumeric() || "_/.:".contains(c)))
            .map(|word| word.trim_matches(['.', ':']))
            .filter(|word| !word.is_empty())
            .enumerate()
        {
            if word.ends_with('/') && nth == 0 {
                folder = word.trim_start_matches("src/").to_owned();
                named.push(format!("src/{folder}mod.rs"));
            } else if let Some(module) = word.strip_suffix(".rs") {
                let module = module.trim_start_matches("src/");
                named.push(format!("src/{module}.rs"));
                if nth == 0 && !module.contains('/') && !folder.is_empty() {
                    named.push(format!("src/{folder}{module}.rs"));
                }
            } else if word.contains("::") {
                named.push(format!("src/{}.rs", word.replace("::", "/")));
            }
        }
    }
    let mut found = Vec::new();
    for path in paths {
        if path != "src/lib.rs" && !is_unit_tests(path) && !named.contains(path) {
            found.push(format!("src/lib.rs: the map does not name {path}"));
        }
    }
    for name in doc
        .join(" ")
        .split(|c: char| c.is_whitespace() || "`[]()".contains(c))
    {
        let known = |path: &String| path.ends_with(&format!("/{name}"));
        if name.ends_with(".rs") && !paths.iter().any(known) {
            found.push(format!(
                "src/lib.rs: the map names {name}, which is not there"
            ));
        }
    }
    found
}

/// Dependencies without a place in [`PACKAGES`], places for what is no dependency, and dependencies that no code uses.
fn package_faults(manifest: &str, code: &[String]) -> Vec<String> {
    let section = manifest
        .split("\n[")
        .find(|part| part.starts_with("dependencies]"));
    let declared: Vec<String> = section
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect();
    let mut found = Vec::new();
    for name in &declared {
        if !PACKAGES.iter().any(|(package, _)| package == name) {
            found.push(format!("Cargo.toml: {name} has no place in tests/tidy.rs"));
        }
        if code
            .iter()
            .all(|code| lines_with_path(code, name).is_empty())
        {
            found.push(format!("Cargo.toml: nothing uses {name}"));
        }
    }
    for (package, _) in PACKAGES {
        if !declared.iter().any(|name| name == package) {
            found.push(format!("tests/tidy.rs: {package} is no dependency"));
        }
    }
    found
}

/// Reason words (`"with-hyphens"`, alone in a string) of shipped code that the README does not name.
fn unexplained_reasons(text: &str, readme: &str) -> Vec<String> {
    without_unit_tests(text)
        .split('"')
        .filter(|word| word.contains('-'))
        .filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .filter(|word| !readme.contains(&format!("`{word}`")))
        .map(|word| format!("README.md: the reason {word} is not explained"))
        .collect()
}

/// Flags of the help whose row is missing in the README's table, or says another default. Defaults that are a phrase
/// may be said in other words.
fn flag_faults(help: &str, readme: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in help.lines() {
        match entries.last_mut() {
            _ if line.starts_with("      --") => entries.push(line.trim().to_owned()),
            Some(entry) if line.starts_with("       ") => entry.push_str(line),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if entries.is_empty() {
        found.push(format!("no flags in {help:?}"));
    }
    for entry in entries {
        let flag = entry.split(' ').next().unwrap_or_default();
        let default = entry
            .split("[default: ")
            .nth(1)
            .and_then(|rest| rest.split(']').next());
        let rows = readme.lines().filter_map(|line| line.strip_prefix("| `"));
        match rows.map(|row| row.split('|')).find_map(|mut row| {
            let named = row.next()?.split([' ', '`']).next() == Some(flag);
            named.then(|| row.next().unwrap_or_default().trim())
        }) {
            None => found.push(format!("README.md: no row for {flag}")),
            Some(told) => match default {
                Some(default) if !default.contains(' ') && told != default => {
                    found.push(format!(
                        "README.md: {flag} is {default} by default, not {told}"
                    ));
                }
                Some(_) | None => {}
            },
        }
    }
    found
}

/// The room of a file: `http` for `src/http/head.rs`, `cli` for `src/cli.rs`.
fn room_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let first = inside.split('/').next().unwrap_or(inside);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Whether a file stands in one of these places of [`PACKAGES`] or [`FORBIDDEN`].
fn is_in(path: &str, places: &[&str]) -> bool {
    let room = room_of(path);
    let outside = room != "lib" && !IMPORTS.iter().any(|(name, _)| *name == room);
    places.iter().any(|place| {
        *place == room || path.strip_prefix("src/") == Some(place) || (*place == "main" && outside)
    })
}

/// The rooms that code names through `crate::` or `rondel::`, each with its line; groups are looked into.
fn rooms_named(code: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for root in ["crate::", "rondel::"] {
        for (at, _) in code.match_indices(root) {
            if is_word_before(code, at) {
                continue;
            }
            let line = line_of(code, at);
            let rest = code[at + root.len()..].trim_start();
            match rest.strip_prefix('{') {
                Some(group) => named.extend(heads_of_group(group).map(|name| (line, name))),
                None => named.push((line, name_at(rest))),
            }
        }
    }
    named.retain(|(_, name)| !name.is_empty());
    named
}

/// The first word of each element of a `use` group, whose opening brace has been taken.
fn heads_of_group(group: &str) -> impl Iterator<Item = String> {
    let mut heads = vec![String::new()];
    let mut depth = 1;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => heads.push(String::new()),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if let (1, Some(head)) = (depth, heads.last_mut())
            && c != ','
        {
            head.push(c);
        }
    }
    heads.into_iter().map(|head| name_at(head.trim_start()))
}

/// The word at the start of a text; a glob names everything.
fn name_at(text: &str) -> String {
    if text.starts_with('*') {
        return "*".to_owned();
    }
    word_at(text)
}

fn word_at(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// Lines that use a package: `name::…` that is not the tail of a longer path, or `use name;`.
fn lines_with_path(code: &str, package: &str) -> Vec<usize> {
    let path = format!("{package}::");
    let by_path = code.match_indices(&path).map(|(at, _)| at);
    let by_use = [format!("use {package};"), format!("use {package} as ")];
    let by_use = by_use
        .iter()
        .flat_map(|text| code.match_indices(text))
        .map(|(at, _)| at);
    by_path
        .chain(by_use)
        .filter(|at| !is_word_before(code, *at) && !code[..*at].ends_with("::"))
        .map(|at| line_of(code, at))
        .collect()
}

/// Lines where `word` stands, not as the tail of a longer word.
fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    code.match_indices(word)
        .filter(|(at, _)| !word.starts_with(char::is_alphabetic) || !is_word_before(code, *at))
        .map(|(at, _)| line_of(code, at))
        .collect()
}

fn is_word_before(code: &str, at: usize) -> bool {
    code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Whether a file of `src` holds unit tests only.
fn is_unit_tests(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Stands for a line of the unit tests, so that the lines below keep their numbers.
const CUT: &str = "\u{1}";

/// The code with each module behind `#[cfg(test)]` cut out, up to its closing brace in the first column.
fn without_unit_tests(code: &str) -> String {
    let lines: Vec<&str> = code.lines().collect();
    let mut kept = Vec::new();
    let mut inside = false;
    for (nth, line) in lines.iter().enumerate() {
        let opens = *line == "#[cfg(test)]"
            && lines[nth + 1..]
                .iter()
                .find(|line| !line.starts_with("#["))
                .is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'));
        inside |= opens;
        kept.push(if inside { CUT } else { line });
        inside &= *line != "}";
    }
    kept.join("\n")
}

/// The text with comments and the contents of strings and characters blanked; every line keeps its number.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = match token(rest) {
            Token::Code => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
            Token::Word(len) => {
                code.push_str(&rest[..len]);
                len
            }
            Token::Blank(len) => {
                code.push(' ');
                code.extend(rest[..len].chars().filter(|c| *c == '\n'));
                len
            }
        };
        rest = &rest[taken..];
    }
    code
}

/// What stands at the start of a text, as far as comments and strings go.
enum Token {
    /// One character of code.
    Code,
    /// So many bytes of code that must be taken at once.
    Word(usize),
    /// So many bytes of a comment, a string or a character.
    Blank(usize),
}

fn token(text: &str) -> Token {
    let word = word_at(text);
    let behind = &text[word.len()..];
    match word.as_str() {
        "" => {}
        "r" | "br" | "cr" if behind.starts_with(['"', '#']) => {
            let hashes = behind.len() - behind.trim_start_matches('#').len();
            let close = format!("\"{}", "#".repeat(hashes));
            if let Some(body) = behind[hashes..].strip_prefix('"') {
                let end = body.find(&close).map_or(body.len(), |at| at + close.len());
                return Token::Blank(text.len() - body.len() + end);
            }
            return Token::Word(word.len());
        }
        "b" | "c" if behind.starts_with(['"', '\'']) => return Token::Word(1),
        _ => return Token::Word(word.len()),
    }
    if text.starts_with("//") {
        return Token::Blank(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Token::Blank(block_comment(text));
    }
    if text.starts_with('"') {
        return Token::Blank(quoted(text, '"'));
    }
    // A character, not a lifetime: something escaped, or a quote after exactly one character.
    let mut chars = text.chars();
    if chars.next() == Some('\'') && (chars.next() == Some('\\') || chars.next() == Some('\'')) {
        return Token::Blank(quoted(text, '\''));
    }
    Token::Code
}

/// The length of the block comment at the start; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    for (at, _) in text.char_indices() {
        if text[at..].starts_with("/*") {
            depth += 1;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            if depth == 0 {
                return at + 2;
            }
        }
    }
    text.len()
}

/// The length of the quoted text at the start, both quotes counted.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + quote.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Every `.rs` file below a folder of the project, sorted.
fn files_under(folder: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(root.join(&folder)).expect("a folder of the project can be listed")
        {
            let entry = entry.expect("and each of its entries be looked at");
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .expect("a file of the project is text")
}

/// The rules themselves: each is seen to fail when it is broken, and to pass what only looks like a breach.
mod rules {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let found = faults(path, text);
        let matches = found.len() == expected.len()
            && found
                .iter()
                .zip(expected)
                .all(|(fault, part)| fault.contains(part));
        assert!(
            matches,
            "{path}: {text:?}\nfound {found:#?}\nexpected {expected:#?}"
        );
    }

    #[test]
    fn a_room_may_import_itself_and_what_the_table_says() {
        check("src/http/body.rs", "use crate::http::Framing;", &[]);
        check(
            "src/proxy/mod.rs",
            "use crate::{config::Config, http::{head, body}, net};",
            &[],
        );
        check(
            "src/event_loop.rs",
            "let p = crate::proxy::Proxy::new();",
            &[],
        );
        check(
            "src/main.rs",
            "use rondel::{event_loop, config}; use crate::demo;",
            &[],
        );
        check(
            "src/http/mod.rs",
            "// see crate::proxy\n/* crate::net */ let s = \"crate::net\";",
            &[],
        );
    }

    #[test]
    fn a_room_may_import_nothing_else() {
        check(
            "src/http/body.rs",
            "use crate::net::Net;",
            &["http may not import net"],
        );
        check(
            "src/net/conn.rs",
            "use crate::http::Request;",
            &["net may not import http"],
        );
        check(
            "src/balance/mod.rs",
            "fn f(c: &crate::http::Request) {}",
            &["balance may not import http"],
        );
        check(
            "src/balance/mod.rs",
            "use crate::{\n balance,\n proxy::{a, net},\n};",
            &["1: balance may not import proxy"],
        );
        check(
            "src/proxy/mod.rs",
            "\nuse crate::event_loop;",
            &["proxy/mod.rs:2: proxy may not import event_loop"],
        );
        check(
            "src/proxy/mod.rs",
            "use crate::demo;",
            &["proxy may not import demo"],
        );
        check(
            "src/cli.rs",
            "use rondel::net::Net;",
            &["cli may not import net"],
        );
        check(
            "src/net/mod.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::http;\n}\n",
            &["net/mod.rs:3"],
        );
    }

    #[test]
    fn nobody_leaves_a_room_by_super() {
        check("src/http/mod.rs", "use super::net;", &["leaves the room"]);
        check("src/cli.rs", "use super::net;", &["leaves the room"]);
        check(
            "src/http/head.rs",
            "use super::super::net;",
            &["leaves the room"],
        );
        check(
            "src/http/forward/chain.rs",
            "use super::super::super::net;",
            &["leaves the room"],
        );
        check("src/http/forward/chain.rs", "use super::super::head;", &[]);
        check("src/http/head.rs", "use super::Framing;", &[]);
        check(
            "src/cli.rs",
            "#[cfg(test)]\nmod tests {\n    use super::*;\n}\n",
            &[],
        );
    }

    #[test]
    fn a_package_stays_in_its_place() {
        check("src/http/head.rs", "httparse::parse_chunk_size(b)", &[]);
        check(
            "src/http/chunked.rs",
            "httparse::parse_chunk_size(b)",
            &["httparse belongs in"],
        );
        check("src/proxy/mod.rs", "use slab::Slab;", &[]);
        check("src/net/mod.rs", "use slab;", &["slab belongs in"]);
        check("src/http/mod.rs", "log::debug!(\"x\")", &["log belongs in"]);
        check("src/event_loop.rs", "use mio::Poll;", &[]);
        check("src/event_loop/listen.rs", "use mio::Poll;", &[]);
        check("src/proxy/mod.rs", "use mio::Poll;", &["mio belongs in"]);
        check(
            "src/proxy/mod.rs",
            "use event_loop_mio::Poll; use self::mio::Poll;",
            &[],
        );
        check(
            "src/lib.rs",
            "use simple_logger::SimpleLogger;",
            &["simple_logger belongs in"],
        );
        check("src/main.rs", "use simple_logger::SimpleLogger;", &[]);
    }

    #[test]
    fn unfinished_and_careless_code_is_refused_outside_tests() {
        check("src/http/mod.rs", "fn f() { todo!() }", &["todo!"]);
        check(
            "src/http/mod.rs",
            "fn f() { unimplemented!() }",
            &["unimplemented!"],
        );
        check("src/http/mod.rs", "dbg!(1);", &["dbg!"]);
        check("src/http/mod.rs", "x.unwrap();", &[".unwrap()"]);
        check("src/http/mod.rs", "x.unwrap_or(1); '\"'; y", &[]);
        check("src/http/mod.rs", "#[allow(dead_code)]", &["#[allow("]);
        check(
            "src/proxy/mod.rs",
            "let now = Instant::now();",
            &["handed down"],
        );
        check("src/event_loop.rs", "let now = Instant::now();", &[]);
        check(
            "src/proxy/mod.rs",
            "eprintln!(); println!();",
            &["only main prints"],
        );
        check("src/main.rs", "println!(); std::process::exit(2)", &[]);
        let tests = "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn g() { x.unwrap() }\n}\n";
        check("src/http/mod.rs", tests, &[]);
        check("src/http/forward/tests.rs", "x.unwrap();", &[]);
        check("src/http/forward/tests/a.rs", "x.unwrap();", &[]);
        check(
            "src/http/mod.rs",
            &format!("{tests}fn h() {{ x.unwrap() }}"),
            &["http/mod.rs:7"],
        );
    }

    #[test]
    fn a_file_may_not_outgrow_its_limit() {
        let long = "fn f() {}\n".repeat(LINES_MAX);
        check("src/http/mod.rs", &long, &[]);
        check(
            "src/http/mod.rs",
            &format!("{long}fn g() {{}}\n"),
            &["451 lines"],
        );
        let tests = "    // a case\n".repeat(100);
        check(
            "src/http/mod.rs",
            &format!("{long}#[cfg(test)]\nmod tests {{\n{tests}}}\n"),
            &[],
        );
    }

    #[test]
    fn sleeping_is_seen_in_tests_too() {
        assert_eq!(sleeps("tests/a.rs", "thread::sleep(x)").len(), 1);
        assert_eq!(sleeps("src/net/conn.rs", "thread::sleep(x)").len(), 1);
        assert_eq!(sleeps("src/demo/server.rs", "thread::sleep(x)").len(), 0);
        assert_eq!(
            sleeps("tests/a.rs", "// sleep(1)\nasleep(\"sleep(2)\")").len(),
            0
        );
    }

    #[test]
    fn the_map_names_what_is_there_and_nothing_else() {
        let paths = [
            "src/lib.rs",
            "src/cli.rs",
            "src/http/mod.rs",
            "src/http/head.rs",
        ]
        .map(str::to_owned);
        let tree = "//! ```text\n//! cli.rs  flags\n//! http/   bytes\n//!   mod.rs  words\n//!   head.rs  heads\n//! ```\n";
        assert_eq!(map_faults(tree, &paths), [""; 0]);
        assert_eq!(
            map_faults(
                "//! [`http/`] `cli.rs`, http/mod.rs and [`http::head`].",
                &paths
            ),
            [""; 0]
        );
        assert_eq!(
            map_faults("//! cli.rs http/mod.rs\nmod head;", &paths).len(),
            1
        );
        assert_eq!(map_faults(&format!("{tree}//!   gone.rs"), &paths).len(), 1);
    }

    #[test]
    fn a_reason_that_the_readme_leaves_out_is_seen() {
        let code =
            "match self { A => \"head-timeout\", B => \"no-backend\", C => \"Not this-one\" }";
        assert_eq!(
            unexplained_reasons(code, "`no-backend` and `head-timeout`"),
            [""; 0]
        );
        assert_eq!(unexplained_reasons(code, "`no-backend`").len(), 1);
    }

    #[test]
    fn a_flag_that_the_readme_leaves_out_or_gets_wrong_is_seen() {
        let help = "Timers:\n      --a-time <TIME>  Wait [default: 3s]\n      --often <N>\n                 Try, 0 to 10\n                 [default: 2]\n      --quiet  Say less [default: all is said]\n\nEnd";
        let row = "| `--a-time TIME` | 3s | wait |\n";
        let rows = format!("{row}| `--often N` | 2 | |\n| `--quiet` | off | |\n");
        assert_eq!(flag_faults(help, &rows), [""; 0]);
        assert_eq!(flag_faults(help, &rows.replace("3s", "4s")).len(), 1);
        assert_eq!(flag_faults(help, &rows.replace("| 2 |", "| 3 |")).len(), 1);
        assert_eq!(flag_faults(help, row).len(), 2);
        assert_eq!(flag_faults("", &rows).len(), 1);
    }

    #[test]
    fn a_dependency_without_a_place_or_a_use_is_seen() {
        let names: Vec<String> = PACKAGES
            .iter()
            .map(|(name, _)| name.replace('_', "-"))
            .collect();
        let manifest = format!(
            "[package]\nname = \"x\"\n\n[dependencies]\n{} = \"1\"\n",
            names.join(" = \"1\"\n")
        );
        let code: Vec<String> = PACKAGES
            .iter()
            .map(|(name, _)| format!("use {name}::X;"))
            .collect();
        assert_eq!(package_faults(&manifest, &code), [""; 0]);
        assert_eq!(package_faults(&manifest, &code[1..]).len(), 1);
        assert_eq!(
            package_faults(&format!("{manifest}tokio = \"1\""), &code).len(),
            2
        );
        assert_eq!(
            package_faults(&manifest.replace("\nslab = \"1\"", ""), &code).len(),
            1
        );
    }

    #[test]
    fn strings_comments_and_lifetimes_are_told_apart() {
        assert_eq!(code_of("a // b\nc"), "a  \nc");
        assert_eq!(code_of("a /* b /* c */ d\n */ e"), "a  \n e");
        assert_eq!(
            code_of(r##"f("x\"y", r#"a"b"#, b"c", '"', b'\'', 'z')"##),
            "f( ,  , b ,  , b ,  )"
        );
        assert_eq!(
            code_of("fn f<'a>(x: &'a str) -> r#type"),
            "fn f<'a>(x: &'a str) -> r#type"
        );
        assert_eq!(code_of("br\"x\" \"open"), "   ");
    }
}
