//! What a field is to a proxy: its kind by its name, and the small grammars of field values (RFC 9110 §5.6).
//! It knows no heads and judges no message.
//!
//! Architecture invariant: a name has one kind, whatever its letters' case, and every decision about a field is made on
//! its kind. [`Kind::Other`] alone may be removed by `Connection` or sent as a trailer.

/// What a field is to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// End to end, and none of our business.
    Other,
    /// End to end too, but never removed because `Connection` names it, and never taken from a trailer: routing,
    /// credentials, control data, and what says how content is to be read (RFC 9110 §6.5.1).
    Kept,
    /// Of this connection only (RFC 9110 §7.6.1).
    Hop,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Te,
    Trailer,
    Upgrade,
    Expect,
    MaxForwards,
    Date,
    Via,
    RequestId,
    /// `X-Forwarded-For`.
    ForwardedFor,
    /// `X-Forwarded-Proto`.
    ForwardedProto,
    /// `X-Forwarded-Host`.
    ForwardedHost,
    /// Any other `X-Forwarded-*`, and `X-Real-IP`.
    ForwardedMore,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// A forwarding field spelt with `_` for `-`, which backends in the manner of CGI cannot tell from the real one.
    Alias,
}

/// The kind of the field with this name, a token.
pub(super) fn kind(name: &str) -> Kind {
    let text = name.as_bytes();
    let Some(first) = text.first() else {
        return Kind::Other;
    };
    // Length and first letter leave few names to compare with, most often none.
    let (known, kind): (bool, Kind) = match (text.len(), first | LOWER) {
        (_, b'x') if matches!(text[1..], [b'-' | b'_', ..]) => return extension(name),
        (7.., b'p') if text[5] == b'-' => return proxy(name),
        (3.., b'i') => (is(&text[..3], b"if-"), Kind::Kept),
        (2, b't') => (is(text, b"te"), Kind::Te),
        (3, b'v') => (is(text, b"via"), Kind::Via),
        (3, b'a') => (is(text, b"age"), Kind::Kept),
        (4, b'h') => (is(text, b"host"), Kind::Host),
        (4, b'd') => (is(text, b"date"), Kind::Date),
        (4, b'v') => (is(text, b"vary"), Kind::Kept),
        // Reserved, so that it may stand in `Connection` and name no field (RFC 9110 §16.3.1, §18.4).
        (5, b'c') => (is(text, b"close"), Kind::Hop),
        (5, b'r') => (is(text, b"range"), Kind::Kept),
        (6, b'e') => (is(text, b"expect"), Kind::Expect),
        (6, b'c') => (is(text, b"cookie"), Kind::Kept),
        (6, b'p') => (is(text, b"pragma"), Kind::Kept),
        (7, b'u') => (is(text, b"upgrade"), Kind::Upgrade),
        (7, b't') => (is(text, b"trailer"), Kind::Trailer),
        (7, b'w') => (is(text, b"warning"), Kind::Kept),
        (8, b'l') => (is(text, b"location"), Kind::Kept),
        (9, b'f') => (is(text, b"forwarded"), Kind::Forwarded),
        (10, b'c') => (is(text, b"connection"), Kind::Connection),
        (10, b'k') => (is(text, b"keep-alive"), Kind::Hop),
        (10, b's') => (is(text, b"set-cookie"), Kind::Kept),
        (11, b'r') => (is(text, b"retry-after"), Kind::Kept),
        (12, b'c') => (is(text, b"content-type"), Kind::Kept),
        (12, b'm') => (is(text, b"max-forwards"), Kind::MaxForwards),
        (13, b'a') => (is(text, b"authorization"), Kind::Kept),
        (13, b'c') => (
            is(text, b"cache-control") || is(text, b"content-range"),
            Kind::Kept,
        ),
        (14, b'c') => (is(text, b"content-length"), Kind::ContentLength),
        (14, b'h') => (is(text, b"http2-settings"), Kind::Hop),
        (16, b'c') => (
            is(text, b"content-encoding") || is(text, b"content-location"),
            Kind::Kept,
        ),
        (16, b'w') => (is(text, b"www-authenticate"), Kind::Kept),
        (17, b't') => (is(text, b"transfer-encoding"), Kind::TransferEncoding),
        _ => return Kind::Other,
    };
    if known { kind } else { Kind::Other }
}

/// The bit that makes a letter small. In digits and in `-` it is set anyway; what it would make those of is a control.
const LOWER: u8 = b'a' ^ b'A';

/// Whether `name`, which has no controls but HTAB, is `known`, which has small letters, digits and `-` only. Without an
/// early end, so that the compiler looks at many bytes at a time.
fn is<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    let differs = |(name, known): (&u8, &u8)| (name | LOWER) ^ known;
    name.len() == N
        && name
            .iter()
            .zip(known)
            .map(differs)
            .fold(0, |all, one| all | one)
            == 0
}

/// The kind of a field whose name starts with `X-` or `X_`.
fn extension(name: &str) -> Kind {
    let forwarding = match name.len() {
        9 => is_alike(name, "x-real-ip"),
        12 if name.eq_ignore_ascii_case("x-request-id") => return Kind::RequestId,
        12.. => name
            .get(..12)
            .is_some_and(|start| is_alike(start, "x-forwarded-")),
        _ => false,
    };
    match name.len() {
        _ if !forwarding => Kind::Other,
        _ if name.contains('_') => Kind::Alias,
        15 if name.eq_ignore_ascii_case("x-forwarded-for") => Kind::ForwardedFor,
        16 if name.eq_ignore_ascii_case("x-forwarded-host") => Kind::ForwardedHost,
        17 if name.eq_ignore_ascii_case("x-forwarded-proto") => Kind::ForwardedProto,
        _ => Kind::ForwardedMore,
    }
}

/// The kind of a field whose name looks like `Proxy-*`.
fn proxy(name: &str) -> Kind {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    match name.len() {
        16 if is("proxy-connection") => Kind::Hop,
        18 if is("proxy-authenticate") => Kind::Hop,
        19 if is("proxy-authorization") => Kind::Hop,
        25 if is("proxy-authentication-info") => Kind::Hop,
        _ if name.as_bytes()[..6].eq_ignore_ascii_case(b"proxy-") => Kind::Kept,
        _ => Kind::Other,
    }
}

/// Whether two names are one for those who take `_` for `-`, as backends in the manner of CGI do.
pub(super) fn is_alike(name: &str, other: &str) -> bool {
    let fold = |byte: u8| {
        if byte == b'_' {
            b'-'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    name.len() == other.len() && name.bytes().map(fold).eq(other.bytes().map(fold))
}

/// A field that may come once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Once<'a> {
    #[default]
    Missing,
    One(&'a [u8]),
    Several,
}

impl<'a> Once<'a> {
    pub(super) fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Missing => Self::One(value),
            Self::One(_) | Self::Several => Self::Several,
        };
    }
}

/// The elements of a list without the blanks around them; there may be empty ones, which say nothing (RFC 9110 §5.6.1).
pub(super) fn elements(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

/// `value` without blanks around it.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether `value` is a token (RFC 9110 §5.6.2).
pub(super) fn is_token(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|&byte| is_tchar(byte))
}

/// Whether `byte` may stand in a token.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `value` may be a field's value: no controls but HTAB; what is not ASCII passes (RFC 9110 §5.5).
pub(super) fn is_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|&byte| byte == b'\t' || !byte.is_ascii_control())
}

/// Whether `value` is of visible ASCII characters only.
pub(super) fn is_visible(value: &[u8]) -> bool {
    value.iter().all(u8::is_ascii_graphic)
}

/// The number that `digits` write, the largest there is if they write a larger one, or nothing for anything but digits.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

/// What the `Connection` fields of a head say (RFC 9110 §7.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// Options that may name a field of kind [`Kind::Other`]: as many as [`named`] gives.
    pub(super) named: usize,
}

impl Options {
    /// Takes in one more `Connection` field; `false` if it is none.
    pub(super) fn add(&mut self, value: &[u8]) -> bool {
        // By far the most fields have one option, and then it is one of these.
        self.add_known(value)
            || elements(value).all(|option| {
                let known = option.is_empty() || self.add_known(option);
                self.named += usize::from(!known);
                known || is_token(option)
            })
    }

    /// Takes in an option with a meaning of its own; `false` if it is none.
    fn add_known(&mut self, option: &[u8]) -> bool {
        let place = match option.len() {
            5 if is(option, b"close") => &mut self.close,
            7 if is(option, b"upgrade") => &mut self.upgrade,
            10 if is(option, b"keep-alive") => &mut self.keep_alive,
            _ => return false,
        };
        *place = true;
        true
    }
}

/// The options in a `Connection` field that may name a field of kind [`Kind::Other`]: neither gaps nor those with a
/// meaning of their own, of which there may be thousands.
pub(super) fn named(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    elements(value).filter(|option| !option.is_empty() && !Options::default().add_known(option))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Kind) {
        assert_eq!(kind(name), expected, "{name}");
        assert_eq!(kind(&name.to_ascii_uppercase()), expected, "{name}");
        assert_eq!(kind(&name.to_ascii_lowercase()), expected, "{name}");
    }

    #[test]
    fn a_name_has_one_kind_in_any_case() {
        for (name, expected) in [
            ("TE", Kind::Te),
            ("Via", Kind::Via),
            ("Host", Kind::Host),
            ("Date", Kind::Date),
            ("Expect", Kind::Expect),
            ("Trailer", Kind::Trailer),
            ("Upgrade", Kind::Upgrade),
            ("Forwarded", Kind::Forwarded),
            ("Connection", Kind::Connection),
            ("Max-Forwards", Kind::MaxForwards),
            ("X-Request-Id", Kind::RequestId),
            ("Content-Length", Kind::ContentLength),
            ("Transfer-Encoding", Kind::TransferEncoding),
            ("X-Forwarded-For", Kind::ForwardedFor),
            ("X-Forwarded-Host", Kind::ForwardedHost),
            ("X-Forwarded-Proto", Kind::ForwardedProto),
            ("X-Forwarded-Port", Kind::ForwardedMore),
            ("X-Forwarded-", Kind::ForwardedMore),
            ("X-Real-IP", Kind::ForwardedMore),
            ("X_Real_IP", Kind::Alias),
            ("X-Real_IP", Kind::Alias),
            ("X_Forwarded-For", Kind::Alias),
            ("X-Forwarded_Anything", Kind::Alias),
        ] {
            check(name, expected);
        }
    }

    #[test]
    fn names_of_this_connection_and_names_that_stay_are_told_apart() {
        let hop = "Keep-Alive Proxy-Connection Proxy-Authenticate Proxy-Authorization Proxy-Authentication-Info HTTP2-Settings Close";
        hop.split(' ').for_each(|name| check(name, Kind::Hop));
        let kept = "Authorization Cookie Set-Cookie Content-Type Content-Encoding Content-Range Content-Location \
            Cache-Control Range If-Match If-None-Match If-Range If-Modified-Since If-Unmodified-Since Age Location \
            Retry-After Vary Warning WWW-Authenticate Pragma Proxy-Status Proxy-Connections Proxy-Connectiox \
            Proxy-Authenticatx Proxy-Authorizatiox Proxy-Authentication-Infx";
        kept.split_ascii_whitespace()
            .for_each(|name| check(name, Kind::Kept));
        let other = "Accept User-Agent Xhost Hosts Te2 X-Foo X-Forwarded X_Request_Id Iffy Proximity Proxy Prior-Art Prefer- ETag Digest \
            Proxy_Connection Proxy_Authenticate Proxy_Authorization Proxy_Authentication_Info";
        other
            .split_ascii_whitespace()
            .for_each(|name| check(name, Kind::Other));
    }

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        assert_eq!(number(b"007"), Some(7));
        assert_eq!(number(b"99999999999999999999999"), Some(u64::MAX));
        for bad in ["", "+1", "-1", " 1", "1 ", "0x1", "1,1", "\u{663}"] {
            assert_eq!(number(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn connection_options_are_tokens_in_a_list_with_gaps() {
        let mut options = Options::default();
        let strangers = b"other, another, keep_alive";
        assert!(options.add(strangers));
        let expected = Options {
            named: 3,
            ..Options::default()
        };
        assert_eq!(std::mem::take(&mut options), expected);
        assert!(options.add(b", Close ,,\tKEEP-alive,"));
        assert!(options.add(b"") && options.add(b"x, upGrade,y"));
        let expected = Options {
            close: true,
            keep_alive: true,
            upgrade: true,
            named: 2,
        };
        assert_eq!(options, expected);
        for bad in [&b"a b"[..], b"close;q=1", b"\"close\"", b"clos\xe9"] {
            assert!(!options.add(bad));
        }
    }

    #[test]
    fn only_options_that_are_counted_are_compared_with_fields() {
        for (value, expected) in [
            (String::new(), 0),
            ("x, Close,uPgrade\t,,Y ,KEEP-alive".into(), 2),
            (",".repeat(15_000), 0),
            (format!("x{}", " ,".repeat(7_000)), 1),
            ("close,".repeat(2_500), 0),
            ("upgrade, keep-alive,".repeat(700), 0),
            ("y,".repeat(99), 99),
            ("clost,upgradf,keep-alivf".into(), 3),
        ] {
            let mut options = Options::default();
            assert!(options.add(value.as_bytes()), "{value}");
            assert_eq!(options.named, expected, "{value}");
            assert_eq!(named(value.as_bytes()).count(), expected, "{value}");
        }
    }
}
