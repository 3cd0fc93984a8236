//! A response's head, judged in the light of its request and written for the client.

use super::super::body::{self, Whose};
use super::super::field::{Kind, Once, Options, elements, is_value, kind, number};
use super::super::head::{Field, ResponseHead};
use super::super::{
    Framing, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, Method, Reject, Response, Version,
    WRITTEN_HEAD_BYTES_MAX,
};
use super::copy::{Copy, Fate, is_as_we_write};
use super::edit::{self, Way};
use super::{Asked, Kinds, line, mark_named, push, push_number};
use crate::config::FieldEdits;

/// How much longer than it came a head may be written, in bytes: a blank behind the status and each colon, and the lines
/// that we add.
const ADDED_BYTES_MAX: usize = HEAD_FIELDS_MAX + FIXED_BYTES_MAX;

/// What of it does not depend on the number of fields.
const FIXED_BYTES_MAX: usize = " ".len()
    + "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n".len()
    + "Transfer-Encoding: chunked\r\n".len()
    + "Connection: Upgrade, keep-alive\r\n".len();

const _: () = assert!(
    HEAD_BYTES_MAX + ADDED_BYTES_MAX <= WRITTEN_HEAD_BYTES_MAX,
    "whatever head is accepted, what is written of it is no longer than is reckoned with"
);

/// Judges `head` and appends what goes on to `out`; on an error `out` may have grown.
pub(super) fn rewrite(
    head: &ResponseHead<'_, '_>,
    asked: &Asked<'_>,
    out: &mut Vec<u8>,
    reserve: impl FnOnce(&mut Vec<u8>, usize),
) -> Result<Response, Reject> {
    let mut kinds = [Kind::Other; HEAD_FIELDS_MAX];
    let mut seen = Seen::default();
    seen.read(head.fields, &mut kinds)?;
    let response = judge(head, &seen, asked)?;
    let unknown_to_client = response.is_interim() && asked.request.version == Version::Http10;
    if unknown_to_client {
        return Ok(response);
    }
    let start = out.len();
    let mut bytes = head.lines.len() + FIXED_BYTES_MAX + head.fields.len();
    let mut writer = Writer {
        head,
        seen: &seen,
        asked,
        response,
        edits: None,
        set_cookie: None,
    };
    if !response.is_interim() {
        (writer.edits, writer.set_cookie) = (asked.edits, asked.set_cookie);
        bytes += added_bytes(asked)?;
    }
    if let Some(edits) = writer.edits {
        edit::mark_replaced(edits, head.fields, &mut kinds, Way::Response);
    }
    reserve(out, bytes.min(WRITTEN_HEAD_BYTES_MAX));
    writer.write(&kinds, out);
    if out.len() - start > WRITTEN_HEAD_BYTES_MAX {
        return Err(Reject::HeadTooLarge);
    }
    Ok(response)
}

/// Bytes that the operator's changes and a cookie of ours may add.
fn added_bytes(asked: &Asked<'_>) -> Result<usize, Reject> {
    let edits = asked.edits.map_or(Ok(0), edit::added_bytes)?;
    let cookie = asked
        .set_cookie
        .map_or(0, |cookie| SET_COOKIE.len() + ": \r\n".len() + cookie.len());
    Ok(edits + cookie)
}

const SET_COOKIE: &[u8] = b"Set-Cookie";

/// What the fields of a response say together.
#[derive(Default)]
struct Seen<'a> {
    options: Options,
    length: Once<'a>,
    coding: Once<'a>,
    upgrade: bool,
    date: bool,
    /// `Connection` may name trailers.
    names_trailers: bool,
}

impl<'a> Seen<'a> {
    fn read(&mut self, fields: &[Field<'a>], kinds: &mut Kinds) -> Result<(), Reject> {
        for (field, place) in fields.iter().zip(kinds.iter_mut()) {
            *place = kind(field.name);
            match *place {
                Kind::Connection if !self.options.add(field.value) => {
                    return Err(Reject::Malformed);
                }
                Kind::ContentLength => self.length.add(field.value),
                Kind::TransferEncoding => self.coding.add(field.value),
                Kind::Upgrade => {
                    self.upgrade |= elements(field.value).any(|protocol| !protocol.is_empty())
                }
                Kind::Date => self.date = true,
                Kind::Other | Kind::Kept | Kind::Hop | Kind::Host | Kind::Connection | Kind::Te => {
                }
                Kind::Trailer | Kind::Expect | Kind::MaxForwards | Kind::Via | Kind::RequestId => {}
                Kind::ForwardedFor | Kind::ForwardedProto | Kind::ForwardedHost => {}
                Kind::ForwardedMore | Kind::Forwarded | Kind::Alias => {}
            }
        }
        self.names_trailers = mark_named(fields, kinds, self.options)?;
        Ok(())
    }
}

/// What the proxy must know of the response (RFC 9112 §6.3, §9.3).
fn judge(
    head: &ResponseHead<'_, '_>,
    seen: &Seen<'_>,
    asked: &Asked<'_>,
) -> Result<Response, Reject> {
    let (request, options) = (asked.request, seen.options);
    let modern = head.version == Version::Http11;
    let switches = head.status == 101;
    // A tunnel that nobody asked for would hide requests from us.
    if switches
        && !(request.upgrade && request.version == Version::Http11 && modern && seen.upgrade)
    {
        return Err(Reject::Malformed);
    }
    let framing = body::framing(
        head.version,
        seen.length,
        seen.coding,
        Whose::Response(head.status, request.method),
    )?;
    let ends = framing != Framing::UntilClose && !switches;
    // A 204 has no body. One that says it has may send it all the same, later, when it would pass for another answer.
    let empty =
        matches!(seen.length, Once::Missing | Once::One(b"0")) && seen.coding == Once::Missing;
    let hollow = head.status == 204 && !empty;
    let close_ends = framing.for_client(request.version) == Framing::UntilClose;
    Ok(Response {
        status: head.status,
        framing,
        keep_upstream: ends && !hollow && !options.close && (modern || options.keep_alive),
        keep_client: !switches && !close_ends && request.keep_alive && !asked.close,
        trailers: request.trailers
            && !seen.names_trailers
            && asked.edits.is_none_or(edit::leave_trailers),
    })
}

/// Everything that was judged, ready to be written.
struct Writer<'w, 'a> {
    head: &'w ResponseHead<'w, 'a>,
    seen: &'w Seen<'a>,
    asked: &'w Asked<'w>,
    response: Response,
    edits: Option<&'w FieldEdits>,
    set_cookie: Option<&'w [u8]>,
}

impl Writer<'_, '_> {
    fn write(&self, kinds: &Kinds, out: &mut Vec<u8>) {
        let (lines, reason) = (self.head.lines, self.head.reason);
        let mut copy = Copy::of(lines);
        let start = b"HTTP/1.1 200 ".len();
        if self.head.version == Version::Http11 && lines[start - 1] == b' ' {
            copy.first(start + reason.len() + b"\r\n".len());
        } else {
            push(out, [b"HTTP/1.1 "]);
            push_number(out, u64::from(self.head.status));
            push(out, [b" ", reason, b"\r\n"]);
        }
        for (field, kind) in self.head.fields.iter().zip(kinds) {
            copy.field(field, self.fate(*kind, field.value), out);
        }
        copy.finish(out);
        if let Some(edits) = self.edits {
            edit::write_fields(edits, Way::Response, out);
        }
        if let Some(cookie) = self.set_cookie.filter(|cookie| is_value(cookie)) {
            line(out, SET_COOKIE, cookie);
        }
        if self.response.status >= 200 && !self.seen.date && !self.replaces_date() {
            line(out, b"Date", self.asked.date);
        }
        if self.response.framing == Framing::UntilClose && self.makes_chunks() {
            line(out, b"Transfer-Encoding", b"chunked");
        }
        self.write_connection(out);
        push(out, [b"\r\n"]);
    }

    /// What becomes of a field of this kind and value.
    #[inline(always)]
    fn fate(&self, kind: Kind, value: &[u8]) -> Fate<'static> {
        match kind {
            Kind::ContentLength if !self.may_have_length() => Fate::Dropped,
            Kind::ContentLength if is_as_we_write(value) => Fate::Kept,
            Kind::ContentLength => number(value).map_or(Fate::Dropped, Fate::Number),
            Kind::TransferEncoding if self.keeps_coding() => Fate::Value(b"chunked"),
            Kind::Trailer
                if self.response.trailers && self.response.framing == Framing::Chunked =>
            {
                Fate::Kept
            }
            Kind::Upgrade if self.keeps_upgrade() => Fate::Kept,
            Kind::TransferEncoding | Kind::Trailer | Kind::Upgrade => Fate::Dropped,
            Kind::Hop | Kind::Connection | Kind::Te => Fate::Dropped,
            Kind::Other | Kind::Kept | Kind::Host | Kind::Date | Kind::Via => Fate::Kept,
            Kind::RequestId | Kind::Expect | Kind::MaxForwards => Fate::Kept,
            Kind::ForwardedFor | Kind::ForwardedProto | Kind::ForwardedHost => Fate::Kept,
            Kind::ForwardedMore | Kind::Forwarded | Kind::Alias => Fate::Kept,
        }
    }

    /// Whether the operator has a say in the date.
    fn replaces_date(&self) -> bool {
        self.edits
            .is_some_and(|edits| edit::replaces(edits, "Date", Way::Response))
    }

    /// 1xx and 204 have no length to tell of (RFC 9110 §8.6).
    fn may_have_length(&self) -> bool {
        !matches!(self.response.status, 100..200 | 204)
    }

    /// Whether the client gets chunks, or is told of those that `HEAD` spares it.
    fn keeps_coding(&self) -> bool {
        let request = self.asked.request;
        let spared =
            request.method == Method::Head && self.may_have_length() && self.response.status != 304;
        self.makes_chunks() || (request.version == Version::Http11 && spared)
    }

    /// Whether the body is written in chunks.
    fn makes_chunks(&self) -> bool {
        self.response.framing.for_client(self.asked.request.version) == Framing::Chunked
    }

    /// Whether the response is about another protocol: a switch to it, or the demand for one (RFC 9110 §15.5.22).
    fn keeps_upgrade(&self) -> bool {
        self.seen.upgrade && matches!(self.response.status, 101 | 426)
    }

    /// Writes what holds for the client's connection only.
    fn write_connection(&self, out: &mut Vec<u8>) {
        let last = match (self.response.keep_client, self.asked.request.version) {
            _ if self.response.status < 200 => "",
            // Also to a client of 1.0: our status line says 1.1, where silence means that the connection is kept.
            (false, _) => "close",
            (true, Version::Http10) => "keep-alive",
            (true, Version::Http11) => "",
        };
        let (upgrade, comma) = match (self.keeps_upgrade(), last) {
            (true, "") => ("Upgrade", ""),
            (true, _) => ("Upgrade", ", "),
            (false, "") => return,
            (false, _) => ("", ""),
        };
        push(
            out,
            [
                b"Connection: ",
                upgrade.as_bytes(),
                comma.as_bytes(),
                last.as_bytes(),
                b"\r\n",
            ],
        );
    }
}
