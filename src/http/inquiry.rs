//! What a request asks for, as far as routes and policies can tell requests apart. It knows no routes.
//!
//! Architecture invariant: everything here is as it came and was judged; what is not asked for is not looked up.

use std::net::IpAddr;

use super::head::Field;

/// What a request asks for, while its head is at hand.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'r> {
    /// The one address that stands for the client: the peer's, or who a trusted peer says that it is.
    pub client: IpAddr,
    /// The method, case-sensitive.
    pub method: &'r str,
    /// The host as it came, perhaps with a port; empty if the request names none.
    pub(super) authority: &'r [u8],
    /// The path and the query, as they came.
    pub(super) target: &'r [u8],
    /// The header fields, as they came.
    pub(super) fields: &'r [Field<'r>],
}

impl<'r> Inquiry<'r> {
    /// The host as it came, without a port; an IPv6 address in its brackets.
    #[must_use]
    pub fn host(&self) -> &'r [u8] {
        let authority = self.authority;
        // A port is of few digits; what colons stand before it are in brackets.
        let digits = authority
            .iter()
            .rev()
            .take_while(|byte| byte.is_ascii_digit());
        match &authority[..authority.len() - digits.count()] {
            [host @ .., b':'] => host,
            _ => authority,
        }
    }

    /// The path as it came, without the query; `*` for `OPTIONS *`.
    #[must_use]
    pub fn path(&self) -> &'r [u8] {
        match &self.target[..self.path_len()] {
            [] => b"/",
            path => path,
        }
    }

    /// The query as it came, with its question mark; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &'r [u8] {
        &self.target[self.path_len()..]
    }

    fn path_len(&self) -> usize {
        memchr::memchr(b'?', self.target).unwrap_or(self.target.len())
    }

    /// The fields, each with its name and its value, in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&'r str, &'r [u8])> + use<'r> {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// The values of all fields of this name, whatever its letters' case.
    pub fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'r [u8]> + use<'r, 'n> {
        self.fields()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}
