//! The file that equals a configuration.

use std::collections::HashMap;
use std::fmt::{Display, Write as _};
use std::time::Duration;

use super::action::{CONTENT_TYPE, REDIRECT_STATUS};
use super::pool::default_hash;
use crate::config::value::duration_text;
use crate::config::{
    Action, AmbiguousPaths, Backend, Condition, Config, FieldEdits, FixedReply, Forwarding, HashOn,
    HostPattern, Limits, Listener, Match, PathPattern, Piece, Policy, Pool, ProxyVersion, Redirect,
    Rewrite, Route, Test, Timeouts, WhenAllDown,
};

/// The file that says this, without what is so by default. Reading it gives the same configuration, but for the addresses of
/// names.
#[must_use]
pub fn print(config: &Config) -> String {
    let mut out = Out::default();
    let base = base_of(config);
    top(&mut out, config, &base);
    for listener in &config.listeners {
        print_listener(&mut out, listener);
    }
    let is_plain = config.pools.len() == 1
        && matches!(config.routes.as_slice(), [route] if **route == Route::all_to(0));
    if !is_plain {
        for (i, route) in config.routes.iter().enumerate() {
            print_route(&mut out, i, route, config);
        }
    }
    for pool in &config.pools {
        print_pool(&mut out, pool, &base);
    }
    out.0
}

/// Lines of the file.
#[derive(Default)]
struct Out(String);

impl Out {
    fn section(&mut self, header: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.0, "{gap}[[{header}]]");
    }

    fn line(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    /// A line, if the value is not as it would be without.
    fn unless<T: PartialEq + Display>(&mut self, key: &str, value: T, default: T) {
        if value != default {
            self.line(key, value);
        }
    }

    fn timer(&mut self, key: &str, span: Duration, default: Duration) {
        if span != default {
            self.line(key, quote(&duration_text(span).to_string()));
        }
    }

    /// A string, or a list of several; nothing if there are none.
    fn list(&mut self, key: &str, values: &[String]) {
        match values {
            [] => {}
            [one] => self.line(key, one),
            _ => self.line(key, format_args!("[{}]", values.join(", "))),
        }
    }
}

/// A text as TOML writes it.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            _ if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A key as TOML writes it.
fn key(name: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !name.is_empty() && name.bytes().all(is_bare) {
        name.to_owned()
    } else {
        quote(name)
    }
}

fn quote_all<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Vec<String> {
    texts.into_iter().map(|text| quote(text.as_ref())).collect()
}

/// What the top says for all pools: what the first says of itself, and of holding what those say that hold nothing, since they cannot
/// say it themselves.
fn base_of(config: &Config) -> Pool {
    let mut base = Pool::new("", Vec::new());
    if let Some(first) = config.pools.first() {
        let not_holding = |pool: &&std::sync::Arc<Pool>| pool.when_all_down != WhenAllDown::Hold;
        base.held_max = config
            .pools
            .iter()
            .find(not_holding)
            .unwrap_or(first)
            .held_max;
        base.retries = first.retries;
        base.idle_per_backend_max = first.idle_per_backend_max;
        base.failures_max = first.failures_max;
        base.take_out_last = first.take_out_last;
    }
    base.timeouts = config.timeouts;
    base
}

fn top(out: &mut Out, config: &Config, base: &Pool) {
    let (limits, forwarding) = (Limits::default(), Forwarding::default());
    if let Some(path) = &config.control {
        out.line("control", quote(&path.to_string_lossy()));
    }
    out.unless(
        "name",
        quote(&config.forwarding.name),
        quote(&forwarding.name),
    );
    let trust = config.forwarding.trust.iter().map(ToString::to_string);
    out.list("trust", &quote_all(trust));
    out.unless(
        "forwarded",
        config.forwarding.forwarded,
        forwarding.forwarded,
    );
    match config.ambiguous_paths {
        AmbiguousPaths::Reject => {}
        AmbiguousPaths::Allow => out.line("ambiguous-paths", quote("allow")),
    }
    out.unless(
        "max-sessions",
        config.limits.sessions_max,
        limits.sessions_max,
    );
    out.unless(
        "min-body-rate",
        config.limits.body_rate_min,
        limits.body_rate_min,
    );
    let (own, default) = (&config.timeouts, Timeouts::default());
    out.timer("head-timeout", own.head, default.head);
    out.timer("client-idle-timeout", own.client_idle, default.client_idle);
    out.timer("linger-timeout", own.linger, default.linger);
    out.timer("drain-timeout", own.drain, default.drain);
    out.timer("hand-over-timeout", own.hand_over, default.hand_over);
    shared(out, base, &Pool::new("", Vec::new()));
}

/// What stands at the top or in a pool.
fn shared(out: &mut Out, pool: &Pool, base: &Pool) {
    let (own, default) = (&pool.timeouts, &base.timeouts);
    out.timer("connect-timeout", own.connect, default.connect);
    out.timer("response-timeout", own.response, default.response);
    out.timer("body-timeout", own.body, default.body);
    out.timer(
        "upstream-idle-timeout",
        own.upstream_idle,
        default.upstream_idle,
    );
    out.timer("tunnel-timeout", own.tunnel, default.tunnel);
    out.timer("hold-timeout", own.hold, default.hold);
    out.unless("retries", pool.retries, base.retries);
    out.unless(
        "max-idle-per-backend",
        pool.idle_per_backend_max,
        base.idle_per_backend_max,
    );
    out.unless("fail-after", pool.failures_max, base.failures_max);
    out.unless("take-out-last", pool.take_out_last, base.take_out_last);
    out.unless("max-held", pool.held_max, base.held_max);
}

fn print_listener(out: &mut Out, listener: &Listener) {
    out.section("listener");
    let address = listener.addr.to_string();
    if listener.name != address {
        out.line("name", quote(&listener.name));
    }
    out.line("address", quote(&address));
    let networks = listener.accept_proxy.iter().map(ToString::to_string);
    out.list("accept-proxy", &quote_all(networks));
}

fn print_pool(out: &mut Out, pool: &Pool, base: &Pool) {
    out.section("pool");
    out.line("name", quote(&pool.name));
    let is_short = pool.backends.iter().all(is_plain);
    if is_short {
        let servers = pool
            .backends
            .iter()
            .map(|backend| backend.server.to_string());
        let list = quote_all(servers).join(", ");
        out.line("backends", format_args!("[{list}]"));
    }
    match &pool.policy {
        Policy::RoundRobin => {}
        Policy::LeastConnections => out.line("policy", quote("least-connections")),
        Policy::RandomTwo => out.line("policy", quote("random-two")),
        Policy::Hash(hash) => {
            out.line("policy", quote("hash"));
            let on = match &hash.on {
                HashOn::Client => "client".to_owned(),
                HashOn::Path => "path".to_owned(),
                HashOn::Field(name) => format!("header:{name}"),
                HashOn::Cookie(name) => format!("cookie:{name}"),
            };
            out.line("hash-on", quote(&on));
            out.unless(
                "hash-load",
                hash.load_percent_max,
                default_hash().load_percent_max,
            );
        }
    }
    if let Some(sticky) = &pool.sticky {
        let secret = sticky.secret.as_ref();
        let secret = secret.map_or_else(String::new, |secret| {
            format!(", secret = {}", quote(secret))
        });
        out.line(
            "sticky",
            format_args!("{{ cookie = {}{secret} }}", quote(&sticky.cookie)),
        );
    }
    match pool.when_all_down {
        WhenAllDown::Refuse => {}
        WhenAllDown::TryAll => out.line("when-all-down", quote("try-all")),
        WhenAllDown::Hold => out.line("when-all-down", quote("hold")),
    }
    match pool.send_proxy {
        None => {}
        Some(ProxyVersion::V1) => out.line("send-proxy", quote("v1")),
        Some(ProxyVersion::V2) => out.line("send-proxy", quote("v2")),
    }
    shared(out, pool, base);
    if !is_short {
        for backend in &pool.backends {
            out.section("pool.backend");
            let address = backend.server.to_string();
            if backend.name != address {
                out.line("name", quote(&backend.name));
            }
            out.line("address", quote(&address));
            out.unless("weight", backend.weight, 1);
            out.unless("backup", backend.backup, false);
        }
    }
}

/// Whether there is no more to say of a backend than where it is.
fn is_plain(backend: &Backend) -> bool {
    backend.name == backend.server.to_string() && backend.weight == 1 && !backend.backup
}

fn print_route(out: &mut Out, i: usize, route: &Route, config: &Config) {
    out.section("route");
    if route.name != format!("route {}", i + 1) {
        out.line("name", quote(&route.name));
    }
    print_match(out, &route.when);
    match &route.action {
        Action::Pools(shares) => {
            let name = |pool: usize| config.pools.get(pool).map_or("", |pool| pool.name.as_str());
            if let [share] = shares.as_slice() {
                out.line("pool", quote(name(share.pool)));
            } else {
                let shares = shares
                    .iter()
                    .map(|share| (name(share.pool), share.weight.to_string()));
                out.line("pools", table(shares));
            }
        }
        Action::Redirect(redirect) => print_redirect(out, redirect),
        Action::Reply(reply) => print_reply(out, reply),
    }
    match &route.rewrite {
        None => {}
        Some(Rewrite::Path(path)) => out.line("set-path", quote(path)),
        Some(Rewrite::Prefix { from, to }) if to.is_empty() => {
            out.line("strip-prefix", quote(from));
        }
        Some(Rewrite::Prefix { from, to }) => {
            let entries = [("from", quote(from)), ("to", quote(to))];
            out.line("replace-prefix", table(entries));
        }
    }
    print_edits(out, "request-headers", &route.request_fields);
    print_edits(out, "response-headers", &route.response_fields);
}

/// A table in one line.
fn table<'n>(entries: impl IntoIterator<Item = (&'n str, String)>) -> String {
    let entries = entries.into_iter();
    let entries: Vec<String> = entries
        .map(|(name, value)| format!("{} = {value}", key(name)))
        .collect();
    format!("{{ {} }}", entries.join(", "))
}

/// A table in one line where a name may have several values.
fn grouped<'n>(entries: impl IntoIterator<Item = (&'n str, String)>) -> String {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    let mut known = HashMap::new();
    for (name, value) in entries {
        let at = *known.entry(name).or_insert(groups.len());
        if at == groups.len() {
            groups.push((name, Vec::new()));
        }
        groups[at].1.push(value);
    }
    table(
        groups
            .into_iter()
            .map(|(name, values)| match values.as_slice() {
                [one] => (name, one.clone()),
                _ => (name, format!("[{}]", values.join(", "))),
            }),
    )
}

fn print_match(out: &mut Out, when: &Match) {
    out.list("listener", &quote_all(&when.listeners));
    let hosts = when.hosts.iter().map(|host| match host {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
    });
    out.list("host", &quote_all(hosts));
    let (mut exact, mut prefixes, mut patterns) = (Vec::new(), Vec::new(), Vec::new());
    for path in &when.paths {
        match path {
            PathPattern::Exact(path) => exact.push(quote(path)),
            PathPattern::Prefix(path) => prefixes.push(quote(path)),
            PathPattern::Glob(path) => patterns.push(quote(path)),
        }
    }
    out.list("path", &exact);
    out.list("path-prefix", &prefixes);
    out.list("path-pattern", &patterns);
    out.list("method", &quote_all(&when.methods));
    for (name, conditions) in [("header", &when.fields), ("query", &when.query)] {
        if !conditions.is_empty() {
            out.line(name, grouped(conditions.iter().map(condition)));
        }
    }
}

fn condition(condition: &Condition) -> (&str, String) {
    let test = match &condition.test {
        Test::Present => "{ present = true }".to_owned(),
        Test::Absent => "{ present = false }".to_owned(),
        Test::Is(value) => quote(value),
        Test::Like(pattern) => format!("{{ pattern = {} }}", quote(pattern)),
    };
    (&condition.name, test)
}

fn print_redirect(out: &mut Out, redirect: &Redirect) {
    let pieces = redirect.location.iter().map(|piece| match piece {
        Piece::Text(text) => text,
        Piece::Host => "{host}",
        Piece::Path => "{path}",
        Piece::Query => "{query}",
    });
    let to = ("to", quote(&pieces.collect::<String>()));
    let status = ("status", redirect.status.to_string());
    let entries = if redirect.status == REDIRECT_STATUS {
        vec![to]
    } else {
        vec![status, to]
    };
    out.line("redirect", table(entries));
}

fn print_reply(out: &mut Out, reply: &FixedReply) {
    let mut entries = vec![("status", reply.status.to_string())];
    if reply.content_type != CONTENT_TYPE {
        entries.push(("content-type", quote(&reply.content_type)));
    }
    if !reply.body.is_empty() {
        entries.push(("body", quote(&reply.body)));
    }
    out.line("reply", table(entries));
}

fn print_edits(out: &mut Out, name: &str, edits: &FieldEdits) {
    let pairs = |pairs: &[(String, String)]| {
        grouped(
            pairs
                .iter()
                .map(|(name, value)| (name.as_str(), quote(value))),
        )
    };
    let mut entries = Vec::new();
    if !edits.remove.is_empty() {
        entries.push((
            "remove",
            format!("[{}]", quote_all(&edits.remove).join(", ")),
        ));
    }
    if !edits.set.is_empty() {
        entries.push(("set", pairs(&edits.set)));
    }
    if !edits.add.is_empty() {
        entries.push(("add", pairs(&edits.add)));
    }
    if !entries.is_empty() {
        out.line(name, table(entries));
    }
}
