//! What the fields of a request say together, found out before any of it is written. It judges what it must know all fields
//! for, and no more.

use super::super::Reject;
use super::super::field::{Kind, Once, Options, elements, kind};
use super::super::head::Field;
use super::{Kinds, mark_named};

/// What the fields of a request say together.
#[derive(Default)]
pub(super) struct Seen<'a> {
    pub(super) options: Options,
    pub(super) host: Once<'a>,
    pub(super) length: Once<'a>,
    pub(super) coding: Once<'a>,
    pub(super) expect: Once<'a>,
    pub(super) max_forwards: Once<'a>,
    pub(super) id: Once<'a>,
    pub(super) trailers: bool,
    pub(super) upgrade: bool,
    pub(super) forwarded_proto: bool,
    pub(super) forwarded_host: bool,
    pub(super) forwarded: bool,
}

impl<'a> Seen<'a> {
    /// Takes in all fields of a head, and finds out their kinds.
    pub(super) fn read(
        &mut self,
        fields: &[Field<'a>],
        kinds: &mut Kinds,
        name: &str,
    ) -> Result<(), Reject> {
        for (field, place) in fields.iter().zip(kinds.iter_mut()) {
            *place = kind(field.name);
            let value = field.value;
            match *place {
                Kind::Connection if !self.options.add(value) => return Err(Reject::Malformed),
                Kind::Via if went_through(value, name) => return Err(Reject::Loop),
                Kind::Host => self.host.add(value),
                Kind::ContentLength => self.length.add(value),
                Kind::TransferEncoding => self.coding.add(value),
                Kind::Expect => self.expect.add(value),
                Kind::MaxForwards => self.max_forwards.add(value),
                Kind::RequestId => self.id.add(value),
                Kind::Te => self.trailers |= takes_trailers(value),
                Kind::Upgrade => {
                    self.upgrade |= elements(value).any(|protocol| !protocol.is_empty())
                }
                Kind::ForwardedProto => self.forwarded_proto = true,
                Kind::ForwardedHost => self.forwarded_host = true,
                Kind::Forwarded => self.forwarded = true,
                Kind::Other
                | Kind::Kept
                | Kind::Hop
                | Kind::Connection
                | Kind::Trailer
                | Kind::Date
                | Kind::Via => {}
                Kind::ForwardedFor | Kind::ForwardedMore | Kind::Alias => {}
            }
        }
        self.trailers &= !mark_named(fields, kinds, self.options)?;
        Ok(())
    }
}

/// Whether a `Via` field names `name` as one who received the message (RFC 9110 §7.6.3).
fn went_through(value: &[u8], name: &str) -> bool {
    elements(value).any(|element| {
        let mut words = element
            .split(|byte| b" \t".contains(byte))
            .filter(|word| !word.is_empty());
        words
            .nth(1)
            .is_some_and(|by| by.eq_ignore_ascii_case(name.as_bytes()))
    })
}

/// Whether a `TE` field lists `trailers`, and not with a weight of zero (RFC 9110 §10.1.4).
fn takes_trailers(value: &[u8]) -> bool {
    elements(value).any(|coding| {
        let mut parts = coding.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"trailers"))
            && !parts.any(|part| matches!(part, [b'q' | b'Q', b'=', weight @ ..] if weight.iter().all(|digit| b"0.".contains(digit))))
    })
}
