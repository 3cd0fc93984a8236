//! The conditions of a route, and what is asked for in the form in which they are tested.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use super::glob;
use crate::config::{Condition, HostPattern, PathPattern, Route, Test};
use crate::http::inquiry::Inquiry;
use crate::http::{NAME_BYTES_MAX, path};

/// What is asked for, as conditions see it.
pub(super) struct Asked<'r> {
    pub(super) listener: usize,
    pub(super) inquiry: &'r Inquiry<'r>,
    host: [u8; NAME_BYTES_MAX],
    host_len: usize,
    /// Made when the first condition looks at it.
    path: OnceCell<Cow<'r, [u8]>>,
}

impl<'r> Asked<'r> {
    pub(super) fn new(listener: usize, inquiry: &'r Inquiry<'r>) -> Self {
        let host = inquiry.host();
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut lower = [0; NAME_BYTES_MAX];
        // No host is longer: a request with one is refused.
        let host_len = host.len().min(NAME_BYTES_MAX);
        lower[..host_len].copy_from_slice(&host[..host_len]);
        lower[..host_len].make_ascii_lowercase();
        Self {
            listener,
            inquiry,
            host: lower,
            host_len,
            path: OnceCell::new(),
        }
    }

    /// The host in lower case, without a port and without a dot at its end.
    pub(super) fn host(&self) -> &[u8] {
        &self.host[..self.host_len]
    }

    /// The path in its normalised form.
    pub(super) fn path(&self) -> &[u8] {
        self.path
            .get_or_init(|| path::normalised(self.inquiry.path()))
    }

    /// The values of the query's parameters of this name, all decoded. One without `=` has an empty value.
    pub(super) fn parameters<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = Cow<'r, [u8]>> + 'a {
        let query = self.inquiry.query();
        let query = query.strip_prefix(b"?").unwrap_or(query);
        let parts = query
            .split(|&byte| byte == b'&')
            .filter(|part| !part.is_empty());
        parts.filter_map(move |part| {
            let end = part.iter().position(|&byte| byte == b'=');
            let (found, value) = part.split_at(end.unwrap_or(part.len()));
            let value = value.strip_prefix(b"=").unwrap_or(value);
            (*path::decoded(found) == *name.as_bytes()).then(|| path::decoded(value))
        })
    }
}

/// A condition that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmet<'c> {
    Listener,
    Host,
    Path,
    Method,
    Field(&'c Condition),
    Query(&'c Condition),
}

/// A route, its conditions ready to be tested.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) route: Arc<Route>,
    /// Places of listeners, if one of them must hold.
    listeners: Option<Vec<usize>>,
    pub(super) paths: Vec<PathTest>,
}

/// A path pattern in the form in which normalised paths are compared with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PathTest {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Glob(Vec<u8>),
}

impl PathTest {
    fn new(pattern: &PathPattern) -> Self {
        let comparable = |text: &String| path::unescape(text.as_bytes()).into_owned();
        match pattern {
            PathPattern::Exact(text) => Self::Exact(comparable(text)),
            PathPattern::Prefix(text) => Self::Prefix(comparable(text)),
            PathPattern::Glob(text) => Self::Glob(comparable(text)),
        }
    }

    fn holds(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(text) => path::behind_prefix(path, text).is_some(),
            Self::Glob(text) => glob::path_fits(text, path),
        }
    }
}

impl Compiled {
    pub(super) fn new(route: &Arc<Route>, listeners: &[String]) -> Self {
        let when = &route.when;
        let place = |name: &String| listeners.iter().position(|listener| listener == name);
        let places = || when.listeners.iter().filter_map(place).collect();
        Self {
            listeners: (!when.listeners.is_empty()).then(places),
            paths: when.paths.iter().map(PathTest::new).collect(),
            route: Arc::clone(route),
        }
    }

    /// The first condition that does not hold, if there is one.
    pub(super) fn unmet(&self, asked: &Asked<'_>) -> Option<Unmet<'_>> {
        let when = &self.route.when;
        if let Some(listeners) = &self.listeners
            && !listeners.contains(&asked.listener)
        {
            return Some(Unmet::Listener);
        }
        if !holds_one(&when.hosts, |pattern| host_holds(pattern, asked.host())) {
            return Some(Unmet::Host);
        }
        if !holds_one(&self.paths, |pattern| pattern.holds(asked.path())) {
            return Some(Unmet::Path);
        }
        if !holds_one(&when.methods, |method| method == asked.inquiry.method) {
            return Some(Unmet::Method);
        }
        let fields = when.fields.iter().find(|condition| {
            let mut values = asked.inquiry.values(&condition.name).map(Cow::Borrowed);
            !holds(&condition.test, &mut values)
        });
        let query = || {
            when.query
                .iter()
                .find(|condition| !holds(&condition.test, &mut asked.parameters(&condition.name)))
        };
        fields
            .map(Unmet::Field)
            .or_else(|| query().map(Unmet::Query))
    }
}

/// Whether a list is empty, or one of it holds.
fn holds_one<C>(conditions: &[C], holds: impl Fn(&C) -> bool) -> bool {
    conditions.is_empty() || conditions.iter().any(holds)
}

fn host_holds(pattern: &HostPattern, host: &[u8]) -> bool {
    match pattern {
        HostPattern::Exact(name) => host == name.as_bytes(),
        // One label or more stands before it.
        HostPattern::Suffix(end) => host.len() > end.len() && host.ends_with(end.as_bytes()),
    }
}

/// Whether a test holds for the values that a name has.
fn holds<'v>(test: &Test, values: &mut impl Iterator<Item = Cow<'v, [u8]>>) -> bool {
    match test {
        Test::Present => values.next().is_some(),
        Test::Absent => values.next().is_none(),
        Test::Is(wanted) => values.any(|value| *value == *wanted.as_bytes()),
        Test::Like(pattern) => values.any(|value| glob::fits(pattern.as_bytes(), &value)),
    }
}
