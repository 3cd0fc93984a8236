//! A request's head, judged and written for a backend. It does not know which backend.
//!
//! Two passes over the fields: the first finds out what the head says as a whole, the second writes what stays.

use std::fmt::Display;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use super::super::body::{self, Whose};
use super::super::field::{Kind, Once, is_visible, number};
use super::super::head::{Field, RequestHead};
use super::super::{
    Framing, HEAD_FIELDS_MAX, HOST_BYTES_MAX, Method, Reject, Request, Span, Version,
    WRITTEN_HEAD_BYTES_MAX,
};
use super::copy::{Copy, Fate, is_as_we_write};
use super::edit::{Changes, Edits};
use super::seen::Seen;
use super::target::{self, Target};
use super::{Facts, Inquiry, Kinds, chain, line, push, push_addr};

/// Longest request id taken from a client, in bytes.
const ID_BYTES_MAX: usize = 128;

/// How much longer than it came a head may be written, in bytes, our name and a fresh id aside: a blank behind each colon,
/// a slash for an empty path, and what stands in the lines that we add. The blanks behind the commas of a chain are aside
/// too: who can make those many is trusted, and still held to [`WRITTEN_HEAD_BYTES_MAX`].
pub const ADDED_BYTES_MAX: usize = HEAD_FIELDS_MAX + 3 * HOST_BYTES_MAX + FIXED_BYTES_MAX;

/// What of it depends neither on the number of fields nor on the host.
const FIXED_BYTES_MAX: usize = "/".len()
    + "Host: \r\n".len()
    + "TE: trailers\r\nConnection: TE, Upgrade\r\n".len()
    + "X-Forwarded-For: \r\n".len()
    + ADDR_BYTES_MAX
    + "X-Forwarded-Proto: http\r\n".len()
    + "X-Forwarded-Host: \r\n".len()
    + "Forwarded: for=\"[]\";host=\"\";proto=http\r\n".len()
    + ADDR_BYTES_MAX
    + "Via: 1.1 \r\n".len()
    + "X-Request-Id: \r\n".len();

/// Judges `head` and appends what goes on to `out`; on an error `out` may have grown.
pub(super) fn rewrite<'e, T: Fn(IpAddr) -> bool, L: Fn() -> SocketAddr>(
    head: &RequestHead<'_, '_>,
    facts: &Facts<'_, T, L>,
    choose: impl FnOnce(&Inquiry<'_>) -> Result<Edits<'e>, Reject>,
    out: &mut Vec<u8>,
    reserve: impl FnOnce(&mut Vec<u8>, usize),
) -> Result<Request, Reject> {
    let target = target::judge(head.method, head.target)?;
    let mut kinds = [Kind::Other; HEAD_FIELDS_MAX];
    let mut seen = Seen::default();
    seen.read(head.fields, &mut kinds, facts.name)?;
    let mut request = judge(head, &seen)?;
    let hops = hops(head.method, seen.max_forwards)?;
    let mut room = [0; ADDR_BYTES_MAX];
    let host = host(head.version, &target, seen.host, facts, &mut room)?;
    let trusted = (facts.trusts)(facts.client);
    let inquiry = Inquiry {
        client: match trusted {
            true => first_client(head.fields, &kinds, facts),
            false => facts.client,
        },
        method: head.method,
        authority: host,
        target: target.rest_or_lead(),
        fields: head.fields,
    };
    let edits = choose(&inquiry)?;
    let changes = if edits.is_empty() {
        None
    } else {
        Some(Changes::new(&edits, &inquiry, &mut kinds)?)
    };
    let mut added = FIXED_BYTES_MAX + head.fields.len() + 3 * host.len();
    if let Some(changes) = &changes {
        added += changes.bytes;
        request.trailers &= changes.leave_trailers();
    }
    let writer = Writer {
        start: out.len(),
        head,
        target,
        kinds: &kinds[..head.fields.len()],
        hops,
        host,
        trusted,
        seen: &seen,
        request,
        changes: changes.as_ref(),
        facts,
    };
    let bytes = head.lines.len() + added + facts.name.len() + facts.id.len();
    reserve(out, bytes.min(WRITTEN_HEAD_BYTES_MAX));
    writer.write(out)
}

/// Who a trusted peer says that the client is: the last address that is believed.
#[cold]
fn first_client<T: Fn(IpAddr) -> bool, L>(
    fields: &[Field<'_>],
    kinds: &Kinds,
    facts: &Facts<'_, T, L>,
) -> IpAddr {
    let values = |wanted| values(fields, kinds, wanted);
    let trusts = &facts.trusts;
    let told = match values(Kind::ForwardedFor).next() {
        Some(_) => chain::first_address(|| values(Kind::ForwardedFor), trusts),
        None => chain::first_element(|| values(Kind::Forwarded), trusts),
    };
    told.map_or(facts.client, |addr| addr.to_canonical())
}

/// The values of all fields of a kind.
fn values<'v>(
    fields: &'v [Field<'_>],
    kinds: &'v [Kind],
    wanted: Kind,
) -> impl DoubleEndedIterator<Item = &'v [u8]> {
    fields
        .iter()
        .zip(kinds)
        .filter(move |(_, kind)| **kind == wanted)
        .map(|(field, _)| field.value)
}

/// What the proxy must know of the request; where its id stands is known when it is written.
fn judge(head: &RequestHead<'_, '_>, seen: &Seen<'_>) -> Result<Request, Reject> {
    let modern = head.version == Version::Http11;
    let options = seen.options;
    let framing = match body::framing(head.version, seen.length, seen.coding, Whose::Request)? {
        Framing::Length(0) => Framing::None,
        framing => framing,
    };
    let continues = match seen.expect {
        // An expectation from a 1.0 client is none (RFC 9110 §10.1.1).
        Once::One(_) | Once::Several if !modern => false,
        Once::One(value) if value.eq_ignore_ascii_case(b"100-continue") => true,
        Once::One(_) | Once::Several => return Err(Reject::ExpectationUnknown),
        Once::Missing => false,
    };
    Ok(Request {
        method: match head.method {
            "HEAD" => Method::Head,
            "GET" | "OPTIONS" | "PUT" | "DELETE" => Method::Idempotent,
            _ => Method::Other,
        },
        version: head.version,
        framing,
        keep_alive: !options.close && (modern || options.keep_alive),
        trailers: modern && seen.trailers,
        // With a body nobody could tell which bytes belong to the new protocol.
        upgrade: modern && options.upgrade && seen.upgrade && framing == Framing::None,
        expects_continue: continues && framing != Framing::None,
        id: Span::default(),
    })
}

/// What is to stand in `Max-Forwards`, where it counts hops (RFC 9110 §7.6.2).
fn hops(method: &str, max_forwards: Once<'_>) -> Result<Option<u64>, Reject> {
    match max_forwards {
        _ if method != "OPTIONS" => Ok(None),
        Once::Missing => Ok(None),
        Once::One(value) => match number(value) {
            Some(0) => Err(Reject::HopsSpent),
            Some(hops) => Ok(Some(hops - 1)),
            None => Err(Reject::Malformed),
        },
        Once::Several => Err(Reject::Malformed),
    }
}

/// The host that the request is for (RFC 9112 §3.2, §3.3).
fn host<'a, T, L: Fn() -> SocketAddr>(
    version: Version,
    target: &Target<'a>,
    field: Once<'a>,
    facts: &Facts<'_, T, L>,
    room: &'a mut [u8; ADDR_BYTES_MAX],
) -> Result<&'a [u8], Reject> {
    match (field, target.authority) {
        (Once::One(host), authority) if target::is_host(host) => Ok(authority.unwrap_or(host)),
        (Once::One(_) | Once::Several, _) => Err(Reject::BadHost),
        (Once::Missing, _) if version == Version::Http11 => Err(Reject::BadHost),
        (Once::Missing, Some(authority)) => Ok(authority),
        (Once::Missing, None) => {
            let local = (facts.local)();
            // A zone says nothing to anyone else, and has no place in a host.
            let addr = SocketAddr::new(local.ip().to_canonical(), local.port());
            Ok(text(room, addr))
        }
    }
}

/// Longest address with a port: an IPv6 one in brackets.
const ADDR_BYTES_MAX: usize = 64;

/// An address as it is written, without a string of its own.
fn text(room: &mut [u8; ADDR_BYTES_MAX], addr: impl Display) -> &[u8] {
    let mut rest = &mut room[..];
    // Never fails: every address fits.
    let _ = write!(rest, "{addr}");
    let len = ADDR_BYTES_MAX - rest.len();
    &room[..len]
}

/// Everything that was judged, ready to be written.
struct Writer<'w, 'a, 'f, T, L> {
    /// Where the head starts in what is written to.
    start: usize,
    head: &'w RequestHead<'w, 'a>,
    target: Target<'a>,
    kinds: &'w [Kind],
    seen: &'w Seen<'a>,
    request: Request,
    hops: Option<u64>,
    host: &'w [u8],
    trusted: bool,
    changes: Option<&'w Changes<'w>>,
    facts: &'w Facts<'f, T, L>,
}

impl<T: Fn(IpAddr) -> bool, L> Writer<'_, '_, '_, T, L> {
    fn write(mut self, out: &mut Vec<u8>) -> Result<Request, Reject> {
        self.write_received(out)?;
        if let Some(changes) = self.changes {
            changes.write_fields(out);
        }
        self.write_connection(out);
        self.write_chain(out);
        let via: &[u8] = match self.head.version {
            Version::Http10 => b"Via: 1.0 ",
            Version::Http11 => b"Via: 1.1 ",
        };
        push(out, [via, self.facts.name.as_bytes(), b"\r\n"]);
        if !self.keeps_id() {
            self.request.id = self.write_id(out, b"X-Request-Id", self.facts.id)?;
        }
        push(out, [b"\r\n"]);
        if out.len() - self.start > WRITTEN_HEAD_BYTES_MAX {
            return Err(Reject::HeadTooLarge);
        }
        Ok(self.request)
    }

    /// Writes the first line, and what stays of the fields as they came, in their order.
    fn write_received(&mut self, out: &mut Vec<u8>) -> Result<(), Reject> {
        let mut copy = Copy::of(self.head.lines);
        let (method, target) = (self.head.method.as_bytes(), &self.target);
        if let Some((path, query)) = self.changes.and_then(Changes::target) {
            push(out, [method, b" ", path, query, b" HTTP/1.1\r\n"]);
        } else if target.authority.is_none() && self.head.version == Version::Http11 {
            copy.first(method.len() + b" ".len() + target.rest.len() + b" HTTP/1.1\r\n".len());
        } else {
            push(
                out,
                [method, b" ", target.lead, target.rest, b" HTTP/1.1\r\n"],
            );
        }
        if self.seen.host == Once::Missing {
            let host = self.changes.and_then(|changes| changes.host);
            line(copy.finish(out), b"Host", host.unwrap_or(self.host));
        }
        for (field, kind) in self.head.fields.iter().zip(self.kinds) {
            if *kind == Kind::RequestId && self.keeps_id() {
                let name = field.name.as_bytes();
                self.request.id = self.write_id(copy.finish(out), name, field.value)?;
            } else {
                copy.field(field, self.fate(*kind, field.value), out);
            }
        }
        copy.finish(out);
        Ok(())
    }

    /// What becomes of a field of this kind and value.
    #[inline(always)]
    fn fate(&self, kind: Kind, value: &[u8]) -> Fate<'_> {
        let request = &self.request;
        match kind {
            Kind::Other | Kind::Kept | Kind::Date | Kind::Via => Fate::Kept,
            Kind::Host => match self.changes.and_then(|changes| changes.host) {
                Some(host) => Fate::Value(host),
                None if self.target.authority.is_none() => Fate::Kept,
                None => Fate::Value(self.host),
            },
            Kind::ContentLength if is_as_we_write(value) => Fate::Kept,
            Kind::ContentLength => Fate::Number(length(request.framing)),
            Kind::TransferEncoding => Fate::Value(b"chunked"),
            Kind::Upgrade if request.upgrade => Fate::Kept,
            Kind::Expect if request.expects_continue => Fate::Kept,
            Kind::Trailer if request.trailers && request.framing == Framing::Chunked => Fate::Kept,
            Kind::MaxForwards => self.hops.map_or(Fate::Kept, Fate::Number),
            Kind::ForwardedProto | Kind::ForwardedHost | Kind::ForwardedMore if self.trusted => {
                Fate::Kept
            }
            Kind::Hop | Kind::Connection | Kind::Te => Fate::Dropped,
            Kind::Trailer | Kind::Upgrade | Kind::Expect => Fate::Dropped,
            Kind::ForwardedFor | Kind::ForwardedProto | Kind::ForwardedHost => Fate::Dropped,
            Kind::ForwardedMore | Kind::Forwarded | Kind::Alias | Kind::RequestId => Fate::Dropped,
        }
    }

    /// Writes what holds for the connection to the backend only.
    fn write_connection(&self, out: &mut Vec<u8>) {
        let lines: &[u8] = match (self.request.trailers, self.request.upgrade) {
            (true, true) => b"TE: trailers\r\nConnection: TE, Upgrade\r\n",
            (true, false) => b"TE: trailers\r\nConnection: TE\r\n",
            (false, true) => b"Connection: Upgrade\r\n",
            (false, false) => return,
        };
        push(out, [lines]);
    }

    /// Writes who sent the request, and through whom.
    fn write_chain(&self, out: &mut Vec<u8>) {
        let Facts {
            client,
            trusts,
            forwarded,
            ..
        } = self.facts;
        if self.writes("X-Forwarded-For") {
            push(out, [b"X-Forwarded-For: "]);
            if self.trusted {
                chain::write_addresses(out, || self.values(Kind::ForwardedFor), trusts);
            }
            push_addr(out, *client);
            push(out, [b"\r\n"]);
        }
        if !(self.trusted && self.seen.forwarded_proto) && self.writes("X-Forwarded-Proto") {
            push(out, [b"X-Forwarded-Proto: http\r\n"]);
        }
        if !(self.trusted && self.seen.forwarded_host || self.host.is_empty())
            && self.writes("X-Forwarded-Host")
        {
            push(out, [b"X-Forwarded-Host: ", self.host, b"\r\n"]);
        }
        if (*forwarded || self.trusted && self.seen.forwarded) && self.writes("Forwarded") {
            self.write_forwarded(out);
        }
    }

    /// Writes what is believed of `Forwarded`, with an element of our own where one is wanted.
    fn write_forwarded(&self, out: &mut Vec<u8>) {
        let before = out.len();
        push(out, [b"Forwarded: "]);
        let start = out.len();
        if self.trusted {
            chain::write_elements(out, || self.values(Kind::Forwarded), &self.facts.trusts);
        }
        if self.facts.forwarded {
            chain::write_own_element(out, self.facts.client, self.host);
        } else if out.len() > start {
            // Nothing follows the last comma.
            out.truncate(out.len() - b", ".len());
        } else {
            return out.truncate(before);
        }
        push(out, [b"\r\n"]);
    }

    /// Whether we write a line of our own: unless the operator has a say in it.
    #[inline(always)]
    fn writes(&self, name: &str) -> bool {
        self.changes.is_none_or(|changes| !changes.replaces(name))
    }

    /// The values of all fields of a kind.
    fn values(&self, wanted: Kind) -> impl DoubleEndedIterator<Item = &[u8]> {
        values(self.head.fields, self.kinds, wanted)
    }

    /// Whether the client's own id is used: if it brings one that every log can take.
    fn keeps_id(&self) -> bool {
        matches!(self.seen.id, Once::One(id) if (1..=ID_BYTES_MAX).contains(&id.len()) && is_visible(id))
    }

    /// Writes the id and tells where it stands.
    fn write_id(&self, out: &mut Vec<u8>, name: &[u8], id: &[u8]) -> Result<Span, Reject> {
        let start = out.len() - self.start + name.len() + b": ".len();
        line(out, name, id);
        let narrow = |number: usize| u16::try_from(number).map_err(|_| Reject::HeadTooLarge);
        Ok(Span {
            start: narrow(start)?,
            len: narrow(id.len())?,
        })
    }
}

/// What stands in a `Content-Length`, which is there.
fn length(framing: Framing) -> u64 {
    match framing {
        Framing::Length(length) => length,
        Framing::None | Framing::Chunked | Framing::UntilClose => 0,
    }
}
