//! What a policy tells clients apart by: keys for a hash, and cookies (RFC 6265).

use std::net::IpAddr;

use crate::config::HashOn;
use crate::http::inquiry::Inquiry;

/// The key by which a backend is picked for a request, hashed; `None` if the request has none. The same in every process and
/// version, so that a restart moves nobody.
#[must_use]
pub fn key(inquiry: &Inquiry<'_>, on: &HashOn) -> Option<u64> {
    match on {
        HashOn::Client => Some(match inquiry.client {
            IpAddr::V4(addr) => hash(&addr.octets()),
            IpAddr::V6(addr) => hash(&addr.octets()),
        }),
        HashOn::Field(name) => inquiry.values(name).next().map(hash),
        HashOn::Cookie(name) => cookie(inquiry, name).map(hash),
        HashOn::Path => Some(hash(inquiry.path())),
    }
}

/// The value of the first cookie of this name, without the quotes around it. Names of cookies are case-sensitive.
#[must_use]
pub fn cookie<'r>(inquiry: &Inquiry<'r>, name: &str) -> Option<&'r [u8]> {
    let pairs = inquiry
        .values("cookie")
        .flat_map(|value| value.split(|&byte| byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let value = pair
            .trim_ascii()
            .strip_prefix(name.as_bytes())?
            .trim_ascii_start()
            .strip_prefix(b"=")?
            .trim_ascii_start();
        let inner = value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_suffix(b"\""));
        Some(inner.unwrap_or(value))
    });
    values.next()
}

/// FNV-1a, and behind it the last steps of MurmurHash3, which let every bit of the input change about half of the bits.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}
