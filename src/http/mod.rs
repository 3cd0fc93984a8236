//! HTTP/1.1 as bytes in and values out. It knows no sockets, no clock and no backends, and logs nothing.
//!
//! Architecture invariant: what is forwarded was parsed, judged and written anew from the judgement, so that any strict
//! parser reads it as exactly the one message that we judged. When two readings are possible, it is a [`Reject`].
//!
//! Reading order: this vocabulary, `field` (what a field is to a proxy), [`head`] (what a head says), [`chunked`] and
//! [`body`] (where a message ends), [`inquiry`] and [`path`] (what a request asks for), [`forward`] (a head for the other
//! side), [`reply`] (replies of our own).

mod field;

pub mod body;
pub mod chunked;
pub mod forward;
pub mod head;
pub mod inquiry;
pub mod path;
pub mod reply;

/// Longest head (request, response or interim response) accepted, in bytes with its final empty line.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest head written, in bytes: the longest accepted with what is added to it. Only a chain of thousands who are all
/// trusted can be longer, and is refused.
pub const WRITTEN_HEAD_BYTES_MAX: usize = 20 * 1024;
/// Longest host accepted, in bytes: a name of 255 (RFC 1035 §2.3.4) and a port. It may be written three times.
pub const HOST_BYTES_MAX: usize = NAME_BYTES_MAX + ":65535".len();
/// Longest name of a host accepted, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Most header fields accepted in one head.
pub const HEAD_FIELDS_MAX: usize = 100;
/// Longest request target accepted, in bytes (RFC 9112 §3 asks for at least 8,000).
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Longest trailer section accepted, in bytes with its final empty line.
pub const TRAILER_BYTES_MAX: usize = 4 * 1024;
/// Largest content length accepted (RFC 9110 §8.6 sets none): what fits a signed 64-bit integer.
pub const LENGTH_MAX: u64 = i64::MAX as u64;

const _: () = assert!(
    TARGET_BYTES_MAX >= 8000 && TARGET_BYTES_MAX < HEAD_BYTES_MAX,
    "one that is too long is found so before its head is"
);

/// The version of HTTP that a message was sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: closes by default, knows no chunks.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the end of a message's body is known (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// Exactly so many bytes.
    Length(u64),
    /// Chunks, the last one empty.
    Chunked,
    /// Until the connection closes. Responses only.
    UntilClose,
}

impl Framing {
    /// How the body of a response that comes so from the backend is written for a client of this version.
    ///
    /// Whoever knows chunks gets them where the backend only closes: many clients take a connection that breaks for one
    /// that closes, but none takes a body without its last chunk for a whole one.
    #[must_use]
    pub fn for_client(self, version: Version) -> Self {
        match (self, version) {
            (Self::None | Self::Length(_), _) => self,
            (Self::Chunked | Self::UntilClose, Version::Http11) => Self::Chunked,
            (Self::Chunked | Self::UntilClose, Version::Http10) => Self::UntilClose,
        }
    }
}

/// What the proxy needs to know of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `HEAD`: idempotent, and its response has no body.
    Head,
    /// Any other method that may be repeated (RFC 9110 §9.2.2): GET, OPTIONS, PUT, DELETE.
    Idempotent,
    /// Anything else.
    Other,
}

/// Where something stands in a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its first byte.
    pub start: u16,
    /// How many bytes.
    pub len: u16,
}

/// A request, as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The class of its method.
    pub method: Method,
    /// The version that the client spoke.
    pub version: Version,
    /// How its body ends; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Whether the client wants its connection kept after the response (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Whether trailers go on, both ways: the client takes them (`TE: trailers`), and has named none of its own in `Connection`,
    /// which would have to stay here (RFC 9110 §7.6.1); nor does the operator take away or set fields of the request.
    pub trailers: bool,
    /// Whether an upgrade was asked for and forwarded: only then may the response be a 101.
    pub upgrade: bool,
    /// Whether the client may hold its body back until an interim response (`Expect: 100-continue` from a 1.1 client).
    pub expects_continue: bool,
    /// Where the request's id stands in the rewritten head.
    pub id: Span,
}

/// A response, as its head says in the light of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its status code, 100 to 999.
    pub status: u16,
    /// How its body ends as it comes from the backend; how it is written for the client says
    /// [`Framing::for_client`].
    pub framing: Framing,
    /// Whether the upstream may be used again once the body has come in whole.
    pub keep_upstream: bool,
    /// Whether the client's connection is kept after it, as the rewritten head says.
    pub keep_client: bool,
    /// Whether its trailers go on: the client takes them, `Connection` names none of them, and the operator takes away or sets no
    /// fields.
    pub trailers: bool,
}

impl Response {
    /// Whether it is interim (1xx other than 101), so that another response follows.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

/// Why a message is not forwarded. In a response each of them is answered 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Not HTTP, or not strictly: 400.
    Malformed,
    /// The target is none that a proxy may forward: 400.
    BadTarget,
    /// The path is read differently by different programs, and the routes look at paths: 400.
    AmbiguousPath,
    /// `Host` is missing, doubled or not a host, or empty where the client is to be sent to it: 400.
    BadHost,
    /// `Content-Length` and `Transfer-Encoding` leave a doubt where the message ends: 400.
    BadFraming,
    /// The chunked coding is broken: 400.
    BadChunk,
    /// A trailer section is broken: 400.
    BadTrailer,
    /// A content length beyond [`LENGTH_MAX`]: 413.
    BodyTooLarge,
    /// The target is longer than [`TARGET_BYTES_MAX`]: 414.
    TargetTooLong,
    /// More than [`HEAD_BYTES_MAX`] or [`HEAD_FIELDS_MAX`]: 431.
    HeadTooLarge,
    /// More than [`TRAILER_BYTES_MAX`]: 431.
    TrailerTooLarge,
    /// `CONNECT` or `TRACE`: 405.
    MethodRefused,
    /// An expectation other than `100-continue`: 417.
    ExpectationUnknown,
    /// A transfer coding other than the single `chunked`: 501.
    CodingUnknown,
    /// A version other than 1.0 and 1.1: 505.
    VersionUnknown,
    /// Our own name stands in `Via`: the request goes round in circles: 508.
    Loop,
    /// `OPTIONS` with `Max-Forwards: 0` is answered here (RFC 9110 §7.6.2): 200.
    HopsSpent,
}

impl Reject {
    /// The status of our reply when a request is refused for it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::HopsSpent => 200,
            Self::Malformed
            | Self::BadTarget
            | Self::AmbiguousPath
            | Self::BadHost
            | Self::BadFraming
            | Self::BadChunk
            | Self::BadTrailer => 400,
            Self::MethodRefused => 405,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::ExpectationUnknown => 417,
            Self::HeadTooLarge | Self::TrailerTooLarge => 431,
            Self::CodingUnknown => 501,
            Self::VersionUnknown => 505,
            Self::Loop => 508,
        }
    }

    /// The word for it in logs, metrics and replies. It never changes.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed-head",
            Self::BadTarget => "bad-target",
            Self::AmbiguousPath => "ambiguous-path",
            Self::BadHost => "bad-host",
            Self::BadFraming => "bad-framing",
            Self::BadChunk => "bad-chunk",
            Self::BadTrailer => "bad-trailer",
            Self::BodyTooLarge => "body-too-large",
            Self::TargetTooLong => "target-too-long",
            Self::HeadTooLarge => "head-too-large",
            Self::TrailerTooLarge => "trailer-too-large",
            Self::MethodRefused => "method-refused",
            Self::ExpectationUnknown => "expectation-unknown",
            Self::CodingUnknown => "coding-unknown",
            Self::VersionUnknown => "version-unknown",
            Self::Loop => "loop-detected",
            Self::HopsSpent => "max-forwards-spent",
        }
    }
}
