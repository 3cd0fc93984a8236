//! Routes: which requests, and what is done with them.

/// Longest body of a fixed reply, in bytes.
pub const REPLY_BODY_BYTES_MAX: usize = 16 * 1024;

/// What is done with requests of some kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name, unique; `route N` by its place, counted from 1, if it has none of its own.
    pub name: String,
    /// Which requests: those for which all of this holds.
    pub when: Match,
    /// What is done with them.
    pub action: Action,
    /// What is changed in the request's target; the backend sees the new one.
    pub rewrite: Option<Rewrite>,
    /// What is changed in the fields of the request.
    pub request_fields: FieldEdits,
    /// What is changed in the fields of the response.
    pub response_fields: FieldEdits,
}

/// Conditions on a request. An empty list is no condition; of a list of listeners, hosts, paths or methods one must hold, of
/// fields and query parameters all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Names of listeners.
    pub listeners: Vec<String>,
    /// Hosts.
    pub hosts: Vec<HostPattern>,
    /// Paths.
    pub paths: Vec<PathPattern>,
    /// Methods, case-sensitive (RFC 9110 §9.1).
    pub methods: Vec<String>,
    /// Header fields; their names are compared without case.
    pub fields: Vec<Condition>,
    /// Query parameters, percent-decoded; their names are case-sensitive.
    pub query: Vec<Condition>,
}

/// A host, in lower case, without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Just this one.
    Exact(String),
    /// Any that ends in this, which begins with a dot: written `*.example.com`. It takes one label or more.
    Suffix(String),
}

/// A path, without the query; compared with the normalised path of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// Just this one.
    Exact(String),
    /// This one and what is below it: `/api` takes `/api` and `/api/x`, not `/apix`; `/api/` takes what begins so.
    Prefix(String),
    /// A pattern: `*` stands for any bytes but `/`, `**` for any bytes.
    Glob(String),
}

/// A condition on a named value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The name of the field or parameter.
    pub name: String,
    /// What must hold.
    pub test: Test,
}

/// What must hold for a named value; of several with that name, for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It is there.
    Present,
    /// It is not there.
    Absent,
    /// It is this.
    Is(String),
    /// It fits this pattern: `*` stands for any bytes.
    Like(String),
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes to one of these pools, each in exact proportion to its weight; at least one has a weight.
    Pools(Vec<Share>),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The client gets this answer.
    Reply(FixedReply),
}

/// A part of a weighted split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The pool, by its place in [`Config::pools`](super::Config::pools).
    pub pool: usize,
    /// Its weight beside the others, 0 to [`WEIGHT_MAX`](super::WEIGHT_MAX).
    pub weight: u16,
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Where to, in pieces that are put together.
    pub location: Vec<Piece>,
}

/// A piece of a location: `https://{host}{target}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Text(String),
    /// `{host}`: the request's host, without a port.
    Host,
    /// `{path}`: the request's path as it came, without the query.
    Path,
    /// `{query}`: the request's query with its question mark, if it has one.
    Query,
}

/// An answer of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedReply {
    /// 200 to 599.
    pub status: u16,
    /// Its `Content-Type`.
    pub content_type: String,
    /// Its body, at most [`REPLY_BODY_BYTES_MAX`].
    pub body: String,
}

/// A change of the request's target. The query stays as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// The path becomes this one.
    Path(String),
    /// A prefix of the path, by whole segments, is taken away and another put in its place. Where it does not begin so, only
    /// the new one is put before it.
    Prefix {
        /// What is taken away; may be empty.
        from: String,
        /// What is put there; may be empty.
        to: String,
    },
}

/// Changes of header fields: removed first, then set, then added. Never of those that frame a message or belong to the connection.
/// In a request, what is removed or set stands for all names that differ from it in `_` and `-` only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// Names whose fields are taken away.
    pub remove: Vec<String>,
    /// Fields that replace all of that name.
    pub set: Vec<(String, String)>,
    /// Fields that are added behind others of that name.
    pub add: Vec<(String, String)>,
}

impl FieldEdits {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// What becomes of a path with `%2F`, `%5C`, `%00`, `//`, `.` or `..` segments, which programs read differently, when a route looks at
/// paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AmbiguousPaths {
    /// The request is refused with a 400.
    #[default]
    Reject,
    /// It is matched in its normalised form and goes on as it came.
    Allow,
}

impl Route {
    /// All requests to one pool.
    #[must_use]
    pub fn all_to(pool: usize) -> Self {
        Self {
            name: "route 1".to_owned(),
            when: Match::default(),
            action: Action::Pools(vec![Share { pool, weight: 1 }]),
            rewrite: None,
            request_fields: FieldEdits::default(),
            response_fields: FieldEdits::default(),
        }
    }
}
