//! Parts of a configuration in words, near to how the file writes them. Equal words are equal parts.

use std::fmt::{Display, Write as _};

use crate::config::value::duration_text;
use crate::config::{
    Action, Backend, Condition, Config, FieldEdits, HashOn, HostPattern, Match, PathPattern, Piece,
    Policy, Pool, ProxyVersion, Redirect, Rewrite, Test, Timeouts, WhenAllDown,
};

/// A key of the file, and its value in words.
pub(super) type Setting = (&'static str, String);

/// The value of a key that is not there.
pub(super) const NONE: &str = "none";

/// A route by its name, with the noun before it once: `route 3` has no name of its own.
pub(super) fn route(name: &str, place: usize) -> String {
    if name == format!("route {}", place + 1) {
        return name.to_owned();
    }
    format!("route {name}")
}

/// Conditions of a route: `hosts a.example.com, *.b.example.com; paths /v1; methods GET`.
pub(super) fn when(when: &Match) -> String {
    let mut parts = Vec::new();
    let mut list = |name: &str, items: Vec<String>| {
        if !items.is_empty() {
            parts.push(format!("{name} {}", items.join(", ")));
        }
    };
    list("listeners", when.listeners.clone());
    list("hosts", when.hosts.iter().map(host).collect());
    list("paths", when.paths.iter().map(path).collect());
    list("methods", when.methods.clone());
    list("headers", when.fields.iter().map(condition).collect());
    list("query", when.query.iter().map(condition).collect());
    if parts.is_empty() {
        return "every request".to_owned();
    }
    parts.join("; ")
}

/// A host as a route names it.
pub(super) fn host(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
    }
}

/// A path as a route names it, and what kind it is where that does not show.
pub(super) fn path(path: &PathPattern) -> String {
    match path {
        PathPattern::Exact(path) => format!("{path} (exact)"),
        PathPattern::Prefix(path) => format!("{path} (prefix)"),
        PathPattern::Glob(pattern) => format!("{pattern} (pattern)"),
    }
}

/// A condition on a field or a query parameter.
pub(super) fn condition(condition: &Condition) -> String {
    let name = &condition.name;
    match &condition.test {
        Test::Present => format!("{name} is there"),
        Test::Absent => format!("{name} is not there"),
        Test::Is(value) => format!("{name} is {value:?}"),
        Test::Like(pattern) => format!("{name} is like {pattern:?}"),
    }
}

/// What a route does with its requests: `pool api`, `pools a 90, b 10`, `redirect 301 https://…`, `reply 200`.
pub(super) fn action(action: &Action, config: &Config) -> String {
    match action {
        Action::Pools(shares) => {
            let name = |pool: usize| config.pools.get(pool).map_or("?", |pool| &pool.name);
            match shares.as_slice() {
                [only] if only.weight > 0 => format!("pool {}", name(only.pool)),
                shares => {
                    let parts: Vec<String> = shares
                        .iter()
                        .map(|share| format!("{} {}", name(share.pool), share.weight))
                        .collect();
                    format!("pools {}", parts.join(", "))
                }
            }
        }
        Action::Redirect(redirect) => {
            format!("redirect {} {}", redirect.status, location(redirect))
        }
        Action::Reply(reply) => format!(
            "reply {} {:?} {:?}",
            reply.status, reply.content_type, reply.body
        ),
    }
}

fn location(redirect: &Redirect) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Host => "{host}".to_owned(),
        Piece::Path => "{path}".to_owned(),
        Piece::Query => "{query}".to_owned(),
    };
    redirect.location.iter().map(piece).collect()
}

/// A change of the target.
pub(super) fn rewrite(rewrite: Option<&Rewrite>) -> String {
    match rewrite {
        None => NONE.to_owned(),
        Some(Rewrite::Path(path)) => format!("the path becomes {path}"),
        Some(Rewrite::Prefix { from, to }) => format!("prefix {from:?} becomes {to:?}"),
    }
}

/// Changes of header fields, in the order in which they are made.
pub(super) fn edits(edits: &FieldEdits) -> String {
    let mut parts = Vec::new();
    parts.extend(edits.remove.iter().map(|name| format!("remove {name}")));
    let with_value = |verb: &str, fields: &[(String, String)]| -> Vec<String> {
        fields
            .iter()
            .map(|(name, value)| format!("{verb} {name}: {value}"))
            .collect()
    };
    parts.extend(with_value("set", &edits.set));
    parts.extend(with_value("add", &edits.add));
    if parts.is_empty() {
        return NONE.to_owned();
    }
    parts.join(", ")
}

/// What may be said of a backend besides its name.
pub(super) fn backend(backend: &Backend) -> [Setting; 3] {
    [
        ("address", backend.server.to_string()),
        ("weight", backend.weight.to_string()),
        ("backup", backend.backup.to_string()),
    ]
}

/// How a policy is written.
pub(super) fn policy(policy: &Policy) -> String {
    match policy {
        Policy::RoundRobin => "round-robin".to_owned(),
        Policy::LeastConnections => "least-connections".to_owned(),
        Policy::RandomTwo => "random-two".to_owned(),
        Policy::Hash(hash) => {
            let mut text = match &hash.on {
                HashOn::Client => "hash on client".to_owned(),
                HashOn::Field(name) => format!("hash on header {name}"),
                HashOn::Cookie(name) => format!("hash on cookie {name}"),
                HashOn::Path => "hash on path".to_owned(),
            };
            if hash.load_percent_max > 0 {
                let _ = write!(text, ", load at most {} %", hash.load_percent_max);
            }
            text
        }
    }
}

/// How `when-all-down` is written.
pub(super) fn when_all_down(what: WhenAllDown) -> &'static str {
    match what {
        WhenAllDown::Refuse => "503",
        WhenAllDown::TryAll => "try-all",
        WhenAllDown::Hold => "hold",
    }
}

/// What may be said of a pool besides its name, its backends and its timers.
pub(super) fn pool(pool: &Pool) -> [Setting; 9] {
    let sticky = pool.sticky.as_ref();
    [
        ("policy", policy(&pool.policy)),
        (
            "sticky",
            // The secret is not for people who read differences.
            sticky.map_or_else(
                || NONE.to_owned(),
                |sticky| match sticky.secret {
                    Some(_) => format!("cookie {}, signed", sticky.cookie),
                    None => format!("cookie {}, hashed", sticky.cookie),
                },
            ),
        ),
        (
            "when-all-down",
            when_all_down(pool.when_all_down).to_owned(),
        ),
        ("send-proxy", send_proxy(pool.send_proxy).to_owned()),
        ("retries", pool.retries.to_string()),
        (
            "max-idle-per-backend",
            pool.idle_per_backend_max.to_string(),
        ),
        ("fail-after", pool.failures_max.to_string()),
        ("take-out-last", pool.take_out_last.to_string()),
        ("max-held", pool.held_max.to_string()),
    ]
}

fn send_proxy(version: Option<ProxyVersion>) -> &'static str {
    match version {
        None => NONE,
        Some(ProxyVersion::V1) => "v1",
        Some(ProxyVersion::V2) => "v2",
    }
}

/// The timers that a pool has of its own.
pub(super) fn pool_timers(timeouts: &Timeouts) -> [Setting; 6] {
    [
        ("connect-timeout", span(timeouts.connect)),
        ("response-timeout", span(timeouts.response)),
        ("body-timeout", span(timeouts.body)),
        ("upstream-idle-timeout", span(timeouts.upstream_idle)),
        ("tunnel-timeout", span(timeouts.tunnel)),
        ("hold-timeout", span(timeouts.hold)),
    ]
}

/// What may be said of the whole program, the timers that pools inherit included.
pub(super) fn top(config: &Config) -> Vec<Setting> {
    let timeouts = &config.timeouts;
    let mut settings = pool_timers(timeouts).to_vec();
    let control = config.control.as_ref();
    settings.extend([
        ("head-timeout", span(timeouts.head)),
        ("client-idle-timeout", span(timeouts.client_idle)),
        ("linger-timeout", span(timeouts.linger)),
        ("drain-timeout", span(timeouts.drain)),
        ("hand-over-timeout", span(timeouts.hand_over)),
        ("max-sessions", config.limits.sessions_max.to_string()),
        ("min-body-rate", config.limits.body_rate_min.to_string()),
        ("name", config.forwarding.name.clone()),
        ("trust", list(&config.forwarding.trust)),
        ("forwarded", config.forwarding.forwarded.to_string()),
        (
            "ambiguous-paths",
            format!("{:?}", config.ambiguous_paths).to_lowercase(),
        ),
        (
            "control",
            control.map_or_else(|| NONE.to_owned(), |path| path.display().to_string()),
        ),
    ]);
    settings
}

/// Several of a kind.
pub(super) fn list(items: &[impl Display]) -> String {
    if items.is_empty() {
        return NONE.to_owned();
    }
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

/// How long, as a file says it: `3s`, `500ms`, `1h`.
pub(super) fn span(span: std::time::Duration) -> String {
    duration_text(span).to_string()
}

/// So many of a kind.
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}
