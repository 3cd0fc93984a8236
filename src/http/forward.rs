//! A head rewritten for the other side, in one borrow of the input. It knows what a proxy must change in a head, and no
//! connection that the head goes to or comes from.
//!
//! Architecture invariant: a head goes on whole or not at all, and what goes on has one first line in one form, at most
//! one `Host`, one framing field and one `Connection`, each as we write it from what was judged. What came just so is
//! copied.

mod chain;
mod copy;
mod edit;
mod request;
mod response;
mod seen;
mod target;

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use super::field::{self, Kind, Options};
use super::head::{self, Field};
use super::inquiry::Inquiry;
use super::{HEAD_FIELDS_MAX, Reject, Request, Response};

pub use self::edit::{Edits, unchanged};
pub use self::request::ADDED_BYTES_MAX;

use crate::config::FieldEdits;

/// What the rewriting of a request must know beyond the request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a, T, L> {
    /// Who sent it, as a canonical address.
    pub client: IpAddr,
    /// Where it came in; stands in for the `Host` that a 1.0 client may leave out, and is asked for only then.
    pub local: L,
    /// Whose `X-Forwarded-*`, `Forwarded` and `X-Real-IP` are believed.
    pub trusts: T,
    /// Our name in `Via`, a token.
    pub name: &'a str,
    /// Whether we add ourselves to `Forwarded` (RFC 7239), too; what is believed of it goes on in any case.
    pub forwarded: bool,
    /// A fresh request id in visible ASCII, for a request that brings none.
    pub id: &'a [u8],
}

/// What the rewriting of a response must know of its exchange.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The request that it answers.
    pub request: &'a Request,
    /// The client's connection must not be kept, whatever the messages say.
    pub close: bool,
    /// Now, as an IMF-fixdate, for a final response without `Date`.
    pub date: &'a [u8; 29],
    /// What is changed in the fields of the response, interim ones aside.
    pub edits: Option<&'a FieldEdits>,
    /// A `Set-Cookie` of our own, if there is one; of what may stand in a field's value. Not with an interim response.
    pub set_cookie: Option<&'a [u8]>,
}

/// Judges the request head at the start of `input` and appends what the backend gets of it to `out`, in which `reserve`
/// makes room for so many bytes more. Between the two, once for a whole head that may go on, `choose` sees what is asked for
/// and says what is changed in it; [`unchanged`] says that nothing is.
///
/// Gives the bytes of input that were the head, or `None` while its end has not come; `out` is then left as it was.
///
/// # Errors
///
/// Why the request is not forwarded, also if `choose` says so; `out` is left as it was.
pub fn request<'e, T: Fn(IpAddr) -> bool, L: Fn() -> SocketAddr>(
    input: &[u8],
    facts: &Facts<'_, T, L>,
    choose: impl FnOnce(&Inquiry<'_>) -> Result<Edits<'e>, Reject>,
    out: &mut Vec<u8>,
    reserve: impl FnOnce(&mut Vec<u8>, usize),
) -> Result<Option<(usize, Request)>, Reject> {
    let mut slots = head::slots();
    let Some(head) = head::request(input, &mut slots)? else {
        return Ok(None);
    };
    let before = out.len();
    match request::rewrite(&head, facts, choose, out, reserve) {
        Ok(request) => Ok(Some((head.len, request))),
        Err(reject) => {
            out.truncate(before);
            Err(reject)
        }
    }
}

/// Judges the response head at the start of `input` and appends what the client gets of it to `out`, in which `reserve`
/// makes room for so many bytes more: nothing of an interim response if it speaks 1.0 (RFC 9110 §15.2).
///
/// Gives the bytes of input that were the head, or `None` while its end has not come; `out` is then left as it was.
///
/// # Errors
///
/// Why the response is not passed on; `out` is left as it was.
pub fn response(
    input: &[u8],
    asked: &Asked<'_>,
    out: &mut Vec<u8>,
    reserve: impl FnOnce(&mut Vec<u8>, usize),
) -> Result<Option<(usize, Response)>, Reject> {
    let mut slots = head::slots();
    let Some(head) = head::response(input, &mut slots)? else {
        return Ok(None);
    };
    let before = out.len();
    match response::rewrite(&head, asked, out, reserve) {
        Ok(response) => Ok(Some((head.lines.len(), response))),
        Err(reject) => {
            out.truncate(before);
            Err(reject)
        }
    }
}

/// Whether the operator takes away or replaces fields of this name in responses.
pub(super) fn replaces(edits: &FieldEdits, name: &str) -> bool {
    edit::replaces(edits, name, edit::Way::Response)
}

/// Writes the operator's fields into a response of our own.
pub(super) fn write_own_fields(edits: &FieldEdits, out: &mut Vec<u8>) {
    edit::write_fields(edits, edit::Way::Response, out);
}

/// The kinds of a head's fields, in their order.
type Kinds = [Kind; HEAD_FIELDS_MAX];

/// Turns the fields that `Connection` names into fields of this connection (RFC 9110 §7.6.1). Only those that are nothing
/// else: nobody gets to remove `Host` or a framing field by that door. Says whether there may be such fields among the
/// trailers: what they are called is forgotten by then.
fn mark_named(fields: &[Field<'_>], kinds: &mut Kinds, options: Options) -> Result<bool, Reject> {
    if options.named == 0 {
        return Ok(false);
    }
    // More names than there can be fields: comparing all with all has to end somewhere. What is no name is not compared.
    if options.named > HEAD_FIELDS_MAX {
        return Err(Reject::HeadTooLarge);
    }
    let mut names_others = false;
    for (at, field) in fields.iter().enumerate() {
        if kinds[at] != Kind::Connection {
            continue;
        }
        for name in field::named(field.value) {
            names_others |= str::from_utf8(name).is_ok_and(|name| field::kind(name) == Kind::Other);
            for (field, kind) in fields.iter().zip(kinds.iter_mut()) {
                if *kind == Kind::Other && field.name.as_bytes().eq_ignore_ascii_case(name) {
                    *kind = Kind::Hop;
                }
            }
        }
    }
    Ok(names_others)
}

/// Writes a field.
fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    push(out, [name, b": ", value, b"\r\n"]);
}

/// Writes a field with a number for a value.
fn number_line(out: &mut Vec<u8>, name: &[u8], value: u64) {
    push(out, [name, b": "]);
    push_number(out, value);
    push(out, [b"\r\n"]);
}

/// Writes a number in decimal. The machinery of `write!` costs more than all else that is done for a field.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    while number > 0 || start == digits.len() {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[start..]);
}

/// Writes an address, without brackets.
fn push_addr(out: &mut Vec<u8>, addr: IpAddr) {
    match addr {
        IpAddr::V4(addr) => {
            let mut text = [0; "255.255.255.255.".len()];
            let mut len = 0;
            for octet in addr.octets() {
                let digits = &OCTETS[usize::from(octet)];
                text[len..len + digits.len()].copy_from_slice(digits);
                len += "0.".len() + usize::from(octet > 9) + usize::from(octet > 99);
            }
            out.extend_from_slice(&text[..len - ".".len()]);
        }
        IpAddr::V6(addr) => {
            // Writing to a vector never fails.
            let _ = write!(out, "{addr}");
        }
    }
}

/// Every octet in decimal, with dots behind it.
const OCTETS: [[u8; 4]; 256] = {
    let mut table = [[b'.'; 4]; 256];
    let mut octet = 0_u8;
    loop {
        let (hundreds, tens, ones) = (
            b'0' + octet / 100,
            b'0' + octet / 10 % 10,
            b'0' + octet % 10,
        );
        table[octet as usize] = match octet {
            0..=9 => [ones, b'.', b'.', b'.'],
            10..=99 => [tens, ones, b'.', b'.'],
            100.. => [hundreds, tens, ones, b'.'],
        };
        if octet == u8::MAX {
            break table;
        }
        octet += 1;
    }
};

/// Writes pieces. Inlined, so that those of a known length are written without a call.
#[inline(always)]
fn push<const N: usize>(out: &mut Vec<u8>, pieces: [&[u8]; N]) {
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
}

#[cfg(test)]
mod tests;
