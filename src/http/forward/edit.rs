//! What an operator has changed in a head: the path, and fields. It knows no routes, and does not ask why.
//!
//! Architecture invariant: no edit touches what frames a message, what belongs to the connection, `Via` and the request's id;
//! what an edit would write that is no path, name or value is not written. What is taken away or set in a request gets to no
//! backend by another spelling, and what is taken away or set anywhere does not come in trailers.

use std::borrow::Cow;

use super::super::field::{Kind, is_alike, is_token, is_value, kind};
use super::super::head::Field;
use super::super::path;
use super::super::{Reject, TARGET_BYTES_MAX, WRITTEN_HEAD_BYTES_MAX};
use super::target;
use super::{Inquiry, Kinds, line};
use crate::config::{FieldEdits, Rewrite, Route};

/// What is changed in a request. By default nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edits<'e> {
    /// What is changed in its path.
    pub rewrite: Option<&'e Rewrite>,
    /// What is changed in its fields.
    pub fields: Option<&'e FieldEdits>,
}

impl<'e> Edits<'e> {
    /// What a route has changed in its requests.
    #[must_use]
    pub fn of(route: &'e Route) -> Self {
        let fields = &route.request_fields;
        Self {
            rewrite: route.rewrite.as_ref(),
            fields: (!fields.is_empty()).then_some(fields),
        }
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rewrite.is_none() && self.fields.is_none()
    }
}

/// Chooses that nothing is changed in a request, whatever it asks for.
///
/// # Errors
///
/// None.
pub fn unchanged(_: &Inquiry<'_>) -> Result<Edits<'static>, Reject> {
    Ok(Edits::default())
}

/// What is changed in one request, reckoned up before it is written.
pub(super) struct Changes<'w> {
    /// The path that is written instead of its own.
    path: Option<Vec<u8>>,
    query: &'w [u8],
    /// The host that is written instead of its own.
    pub(super) host: Option<&'w [u8]>,
    fields: Option<&'w FieldEdits>,
    /// Bytes that all this may add.
    pub(super) bytes: usize,
}

impl<'w> Changes<'w> {
    /// Marks the fields that do not go on, too. Apart from the path of all others, who have nothing to change.
    #[cold]
    #[inline(never)]
    pub(super) fn new(
        edits: &Edits<'w>,
        inquiry: &Inquiry<'w>,
        kinds: &mut Kinds,
    ) -> Result<Self, Reject> {
        let path = match edits.rewrite {
            Some(rewrite) => rewritten(inquiry.path(), rewrite)?,
            None => None,
        };
        let mut bytes = path.as_ref().map_or(0, Vec::len);
        if let Some(fields) = edits.fields {
            mark_replaced(fields, inquiry.fields, kinds, Way::Request);
            bytes += added_bytes(fields)?;
        }
        Ok(Self {
            path,
            query: inquiry.query(),
            host: edits.fields.and_then(host),
            fields: edits.fields,
            bytes,
        })
    }

    /// Path and query, where the path is another one.
    #[cold]
    pub(super) fn target(&self) -> Option<(&[u8], &[u8])> {
        self.path.as_deref().map(|path| (path, self.query))
    }

    /// Whether the fields of this name are taken away or replaced.
    #[cold]
    pub(super) fn replaces(&self, name: &str) -> bool {
        self.fields
            .is_some_and(|fields| replaces(fields, name, Way::Request))
    }

    /// Whether trailers may go on.
    pub(super) fn leave_trailers(&self) -> bool {
        self.fields.is_none_or(leave_trailers)
    }

    /// Writes the fields that are set or added.
    #[cold]
    pub(super) fn write_fields(&self, out: &mut Vec<u8>) {
        if let Some(fields) = self.fields {
            write_fields(fields, Way::Request, out);
        }
    }
}

/// The path of a request, rewritten in its normalised form; `None` where it has none.
fn rewritten(path: &[u8], rewrite: &Rewrite) -> Result<Option<Vec<u8>>, Reject> {
    if !path.starts_with(b"/") {
        return Ok(None);
    }
    let path = path::normalised(path);
    let (lead, rest): (Cow<'_, [u8]>, &[u8]) = match rewrite {
        Rewrite::Path(new) => (path::unescape(new.as_bytes()), b""),
        Rewrite::Prefix { from, to } => {
            let rest = path::behind_prefix(&path, &path::unescape(from.as_bytes()));
            (path::unescape(to.as_bytes()), rest.unwrap_or(&path))
        }
    };
    let mut new = Vec::with_capacity("//".len() + lead.len() + rest.len());
    let starts = if lead.is_empty() { rest } else { &lead };
    if !starts.starts_with(b"/") {
        new.push(b'/');
    }
    new.extend_from_slice(&lead);
    let rest = match rest.strip_prefix(b"/") {
        // One slash is enough.
        Some(rest) if new.ends_with(b"/") => rest,
        _ => rest,
    };
    if !rest.is_empty() && !rest.starts_with(b"/") && !new.ends_with(b"/") {
        new.push(b'/');
    }
    new.extend_from_slice(rest);
    if new.len() > TARGET_BYTES_MAX {
        return Err(Reject::TargetTooLong);
    }
    if new.iter().any(|byte| b"?#".contains(byte)) {
        return Err(Reject::BadTarget);
    }
    Ok(Some(new))
}

/// Who a head is for: not the same fields may be changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To a backend.
    Request,
    /// To a client.
    Response,
}

/// Whether fields of this kind may be taken away, set or added.
fn may_edit(kind: Kind, way: Way) -> bool {
    match kind {
        Kind::Other | Kind::Kept | Kind::Date => true,
        Kind::ForwardedFor | Kind::ForwardedProto | Kind::ForwardedHost => true,
        Kind::ForwardedMore | Kind::Forwarded | Kind::Alias => true,
        // What these say we have said ourselves, or act upon.
        Kind::Host | Kind::Expect | Kind::MaxForwards | Kind::Via | Kind::RequestId => {
            way == Way::Response
        }
        Kind::Hop | Kind::ContentLength | Kind::TransferEncoding | Kind::Connection => false,
        Kind::Te | Kind::Trailer | Kind::Upgrade => false,
    }
}

/// Whether fields of this name are taken away or replaced. In a request also those that a backend may take for them: `X_User`
/// with `X-User`.
pub(super) fn replaces(edits: &FieldEdits, name: &str, way: Way) -> bool {
    let is = |edited: &String| match way {
        Way::Request => is_alike(edited, name),
        Way::Response => edited.eq_ignore_ascii_case(name),
    };
    edits.remove.iter().any(is) || edits.set.iter().any(|(edited, _)| is(edited))
}

/// Whether trailers may go on with these edits: a backend or client that merges them into the fields would get from there what is
/// taken away or replaced, and what they are called is not known before they come.
pub(super) fn leave_trailers(edits: &FieldEdits) -> bool {
    edits.remove.is_empty() && edits.set.is_empty()
}

/// Marks the fields that do not go on as fields of this connection, which do not either.
pub(super) fn mark_replaced(edits: &FieldEdits, fields: &[Field<'_>], kinds: &mut Kinds, way: Way) {
    for (field, kind) in fields.iter().zip(kinds.iter_mut()) {
        if may_edit(*kind, way) && replaces(edits, field.name, way) {
            *kind = Kind::Hop;
        }
    }
}

/// The host that the request is to have instead of its own.
fn host(edits: &FieldEdits) -> Option<&[u8]> {
    let mut hosts = edits
        .set
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    let (_, host) = hosts.next_back()?;
    target::is_host(host.as_bytes()).then_some(host.as_bytes())
}

/// Bytes that the edits may add to a head.
pub(super) fn added_bytes(edits: &FieldEdits) -> Result<usize, Reject> {
    let lines = edits.set.iter().chain(&edits.add);
    let added = lines.map(|(name, value)| name.len() + value.len() + ": \r\n".len());
    match added.sum() {
        added if added <= WRITTEN_HEAD_BYTES_MAX => Ok(added),
        _ => Err(Reject::HeadTooLarge),
    }
}

/// Writes the fields that are set or added.
pub(super) fn write_fields(edits: &FieldEdits, way: Way, out: &mut Vec<u8>) {
    for (name, value) in edits.set.iter().chain(&edits.add) {
        let sound = is_token(name.as_bytes()) && is_value(value.as_bytes());
        if sound && may_edit(kind(name), way) {
            line(out, name.as_bytes(), value.as_bytes());
        }
    }
}
