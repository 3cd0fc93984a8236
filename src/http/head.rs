//! What a head says, read once: httparse, and behind it the strictness that it lacks. It knows the shape of a head and of
//! its first line, and nothing of what its fields mean.
//!
//! Architecture invariant: what passes here is read the same by every strict parser. Lines end with CRLF, a name is a
//! token followed by its colon, a value has no controls, the first line has its three parts. httparse stands in no other
//! file.

use std::mem::MaybeUninit;

use memchr::memchr_iter;

use super::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX, Reject, TARGET_BYTES_MAX, Version};

/// A field as it stands in a head: its name, a token, and its value without the blanks around it.
pub(super) use httparse::Header as Field;

/// Room for the fields of one head. Left uninitialised, it costs nothing until there are fields.
pub(super) type Slots<'a> = [MaybeUninit<Field<'a>>; HEAD_FIELDS_MAX];

/// Empty room for the fields of one head.
pub(super) const fn slots<'a>() -> Slots<'a> {
    [const { MaybeUninit::uninit() }; HEAD_FIELDS_MAX]
}

/// A request's head.
pub(super) struct RequestHead<'h, 'a> {
    /// Bytes of it, with the final empty line and a tolerated first one.
    pub(super) len: usize,
    /// Its lines as they came, without a tolerated empty one before them.
    pub(super) lines: &'a [u8],
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) version: Version,
    pub(super) fields: &'h [Field<'a>],
}

/// A response's head.
pub(super) struct ResponseHead<'h, 'a> {
    /// Its lines as they came, with the final empty one.
    pub(super) lines: &'a [u8],
    pub(super) version: Version,
    /// 100 to 999.
    pub(super) status: u16,
    pub(super) reason: &'a [u8],
    pub(super) fields: &'h [Field<'a>],
}

/// How many bytes the head at the start of `input` has, or `None` while its end has not come.
///
/// One empty line before a request is tolerated and counted (RFC 9112 §2.2).
///
/// # Errors
///
/// [`Reject::Malformed`] for a line that does not end with CRLF and for a head that starts with two empty lines,
/// [`Reject::HeadTooLarge`] and [`Reject::TargetTooLong`] when no end comes within [`HEAD_BYTES_MAX`].
pub fn end(input: &[u8]) -> Result<Option<usize>, Reject> {
    let window = &input[..input.len().min(HEAD_BYTES_MAX)];
    let first = if window.starts_with(b"\r\n") { 2 } else { 0 };
    match section_end(&window[first..]) {
        Section::BareLf | Section::End(2) => Err(Reject::Malformed),
        Section::End(len) => Ok(Some(first + len)),
        Section::Open { .. } if window.len() < HEAD_BYTES_MAX => Ok(None),
        // The first line alone is over the limit of heads, hence over the smaller one of targets.
        Section::Open { lines: 0 } => Err(Reject::TargetTooLong),
        Section::Open { .. } => Err(Reject::HeadTooLarge),
    }
}
const _: () = assert!(
    TARGET_BYTES_MAX + 64 < HEAD_BYTES_MAX,
    "a target that fits must leave room for its line"
);

/// Where a section of lines ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// So many bytes, with the empty line that ends it.
    End(usize),
    /// Not yet, after so many whole lines.
    Open { lines: usize },
    /// A line ends without CR. Others may read on there, or not: nobody gets to choose (RFC 9112 §2.2).
    BareLf,
}

/// Finds the empty line that ends a head or a trailer section, and every LF without its CR, in one pass.
pub(super) fn section_end(input: &[u8]) -> Section {
    let (mut line, mut lines) = (0, 0);
    for lf in memchr_iter(b'\n', input) {
        if lf == line || input[lf - 1] != b'\r' {
            return Section::BareLf;
        }
        if lf == line + 1 {
            return Section::End(lf + 1);
        }
        line = lf + 1;
        lines += 1;
    }
    Section::Open { lines }
}

/// Reads the head of a request; `None` while its end has not come.
pub(super) fn request<'h, 'a>(
    input: &'a [u8],
    slots: &'h mut Slots<'a>,
) -> Result<Option<RequestHead<'h, 'a>>, Reject> {
    let window = &input[..input.len().min(HEAD_BYTES_MAX)];
    let head = without_empty_line(window);
    let mut parsed = httparse::Request::new(&mut []);
    let read = parsed.parse_with_uninit_headers(head, slots);
    let fields = parsed.headers;
    let (Some(lines), Some(method), Some(target), Some(minor)) = (
        strict_lines(head, &read, fields),
        parsed.method,
        parsed.path,
        parsed.version,
    ) else {
        let unfinished = end(input);
        // What is no request at all is told so at once, and not when the time for a head is over: HTTP/0.9, TLS.
        first_line(without_empty_line(input))?;
        return refusal(unfinished?, read);
    };
    Ok(Some(RequestHead {
        len: window.len() - head.len() + lines.len(),
        lines,
        method,
        target,
        version: version(minor),
        fields,
    }))
}

/// Reads the head of a response; `None` while its end has not come.
pub(super) fn response<'h, 'a>(
    input: &'a [u8],
    slots: &'h mut Slots<'a>,
) -> Result<Option<ResponseHead<'h, 'a>>, Reject> {
    // httparse would skip empty lines here.
    if input.first().is_some_and(|&byte| byte != b'H') {
        return Err(Reject::Malformed);
    }
    let head = &input[..input.len().min(HEAD_BYTES_MAX)];
    let mut parsed = httparse::Response::new(&mut []);
    let read = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut parsed,
        head,
        slots,
    );
    let fields = parsed.headers;
    let Some(lines) = strict_lines(head, &read, fields) else {
        return refusal(end(input)?, read);
    };
    let (Some(status @ 100..=999), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(Reject::Malformed);
    };
    Ok(Some(ResponseHead {
        lines,
        version: version(minor),
        status,
        reason: reason(lines),
        fields,
    }))
}

/// The lines of a head that httparse has read whole; nothing if one of them ends without CR, or an empty one stands before
/// them. In the lines themselves httparse lets no LF pass.
fn strict_lines<'a>(
    head: &'a [u8],
    read: &httparse::Result<usize>,
    fields: &[Field<'_>],
) -> Option<&'a [u8]> {
    let &Ok(httparse::Status::Complete(len)) = read else {
        return None;
    };
    let lines = &head[..len];
    let body = lines.strip_suffix(b"\r\n")?;
    let mut starts = fields
        .iter()
        .map(|field| position(lines, field.name.as_bytes()));
    let strict = body.ends_with(b"\r\n")
        && starts.all(|start| body[..start].ends_with(b"\r\n"))
        && !matches!(lines, [b'\r' | b'\n', ..]);
    strict.then_some(lines)
}

/// Where `part`, which was read from `whole`, stands in it.
pub(super) fn position(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr()
}

/// The reason as it came. httparse checks it, but gives "" for one that is not ASCII.
fn reason(head: &[u8]) -> &[u8] {
    let line = &head[..memchr::memchr(b'\r', head).unwrap_or(head.len())];
    line.get("HTTP/1.1 200 ".len()..).unwrap_or_default()
}

/// What there is of a request, without the empty line that is tolerated before it.
#[must_use]
pub fn without_empty_line(input: &[u8]) -> &[u8] {
    input.strip_prefix(b"\r\n").unwrap_or(input)
}

/// Whether a request that is not to be forwarded was to be answered without a body, as far as can be told.
#[must_use]
pub fn asks_for_head_only(input: &[u8]) -> bool {
    without_empty_line(input).starts_with(b"HEAD ")
}

fn version(minor: u8) -> Version {
    if minor == 0 {
        Version::Http10
    } else {
        Version::Http11
    }
}

/// Refuses a first line, or as much of it as there is, with which no request can start.
fn first_line(input: &[u8]) -> Result<(), Reject> {
    // What is beyond the limit counts nowhere: the verdict must not depend on how much came at once.
    let window = &input[..input.len().min(HEAD_BYTES_MAX)];
    let end = memchr::memchr(b'\n', window).map(|lf| lf + 1);
    let line = &window[..end.unwrap_or(window.len())];
    match httparse::Request::new(&mut []).parse(line) {
        Ok(_) => Ok(()),
        // Which version was meant cannot be told before the line is whole.
        Err(httparse::Error::Version) if end.is_none() => Ok(()),
        Err(httparse::Error::Version) => Err(version_refusal(line)),
        Err(_) => Err(Reject::Malformed),
    }
}

/// Why a first line with a method, but without a known version, is refused (RFC 9112 §2.3).
fn version_refusal(line: &[u8]) -> Reject {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let mut parts = line.split(|&byte| byte == b' ').skip(2);
    match (parts.next(), parts.next()) {
        (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None)
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Reject::VersionUnknown
        }
        _ => Reject::Malformed,
    }
}

/// Why a head that ends there was not read; no refusal yet while its end has not come.
fn refusal<T>(end: Option<usize>, read: httparse::Result<usize>) -> Result<Option<T>, Reject> {
    match (end, read) {
        (None, _) => Ok(None),
        (Some(_), Err(httparse::Error::TooManyHeaders)) => Err(Reject::HeadTooLarge),
        (Some(_), _) => Err(Reject::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Said = Result<(String, String, Version, Vec<(String, Vec<u8>)>), Reject>;

    fn said(input: &[u8]) -> Option<Said> {
        let mut slots = slots();
        let head = match request(input, &mut slots) {
            Ok(None) => return None,
            Err(reject) => return Some(Err(reject)),
            Ok(Some(head)) => head,
        };
        assert!(head.len <= input.len());
        let fields = head.fields.iter();
        let fields = fields.map(|field| (field.name.to_owned(), field.value.to_vec()));
        let (method, target) = (head.method.to_owned(), head.target.to_owned());
        Some(Ok((method, target, head.version, fields.collect())))
    }

    /// The verdict on the whole; no prefix gets another acceptance, and none is refused for another reason.
    fn check(input: &[u8]) -> Said {
        let whole = said(input).expect("a whole head");
        for cut in 0..input.len() {
            let part = said(&input[..cut]);
            assert!(
                part.is_none() || part == Some(whole.clone()) && whole.is_err(),
                "{cut}: {part:?}"
            );
        }
        let behind = [input, b"GET /behind HTTP/1.1\r\nHost: b\r\n\r\n"].concat();
        assert_eq!(said(&behind), Some(whole.clone()));
        whole
    }

    fn refused(input: impl AsRef<[u8]>) -> Reject {
        let input = input.as_ref();
        check(input).expect_err(&input.escape_ascii().to_string())
    }

    #[test]
    fn a_head_is_read_as_it_stands() {
        let (method, target, version, fields) =
            check(b"\r\nm-X /a?b HTTP/1.0\r\nA:1\r\nb_c: \t \r\nd:  x\xff\ty\t \r\n\r\n").unwrap();
        assert_eq!(
            (&*method, &*target, version),
            ("m-X", "/a?b", Version::Http10)
        );
        let expected = [("A", &b"1"[..]), ("b_c", b""), ("d", b"x\xff\ty")];
        assert_eq!(fields, expected.map(|(n, v)| (n.to_owned(), v.to_vec())));
    }

    #[test]
    fn what_is_not_strictly_a_request_is_malformed() {
        for head in [
            &b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\n",
            b"GET / HTTP/1.1\r\nA: a\rB: b\r\n\r\n",
            b"GET / HTTP/1.1\r\n A: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: a\r\n b\r\n\r\n",
            b"GET / HTTP/1.1\r\nA : a\r\n\r\n",
            b"GET / HTTP/1.1\r\n: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nA\r\n\r\n",
            b"GET / HTTP/1.1\r\nA\xe9: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: a\0\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: a\x7f\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: \x0ba\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET /  HTTP/1.1\r\n\r\n",
            b"GET\t/ HTTP/1.1\r\n\r\n",
            b"GET / a HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1 \r\n\r\n",
            b"GET / http/1.1\r\n\r\n",
            b"GET / HTTP/1.10\r\n\r\n",
            b"GET / HTTP/11\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"G@T / HTTP/1.1\r\n\r\n",
            b"GET /\x01 HTTP/1.1\r\n\r\n",
            b" GET / HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert_eq!(refused(head), Reject::Malformed, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn other_versions_are_told_apart_from_nonsense() {
        for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0", "HTTP/9.9"] {
            let head = format!("GET / {version}\r\nHost: a\r\n\r\n");
            assert_eq!(refused(head), Reject::VersionUnknown);
        }
        assert_eq!(
            refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            Reject::VersionUnknown
        );
    }

    #[test]
    fn what_no_request_starts_with_is_refused_before_its_end() {
        for (start, reject) in [
            (&b"\x16\x03\x01\x02\x00"[..], Reject::Malformed),
            (b"\r\n\x16", Reject::Malformed),
            (b"GET /\r\n", Reject::Malformed),
            (b"GET /\n", Reject::Malformed),
            (b"GET\0", Reject::Malformed),
            (b"hello\r\n", Reject::Malformed),
            (b"GET / HTTP/1.1x", Reject::Malformed),
            (b"GET / HTTP/2.0\r\n", Reject::VersionUnknown),
        ] {
            assert_eq!(said(start), Some(Err(reject)), "{}", start.escape_ascii());
        }
        for start in [
            "",
            "\r",
            "\r\n",
            "GET",
            "GET / HTTP/",
            "GET / HTTP/2.",
            "GET / HTTP/1.1\r\nA",
        ] {
            assert_eq!(said(start.as_bytes()), None, "{start}");
        }
    }

    #[test]
    fn one_empty_line_before_a_head_is_no_end() {
        assert_eq!(end(b"\r\n"), Ok(None));
        assert_eq!(end(b"\r\n\r\n"), Err(Reject::Malformed));
        assert_eq!(end(b"\r\na\r\n\r\nb"), Ok(Some(7)));
    }

    #[test]
    fn heads_have_limits_of_bytes_and_fields() {
        let lines = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert!(check(lines(HEAD_FIELDS_MAX).as_bytes()).is_ok());
        assert_eq!(refused(lines(HEAD_FIELDS_MAX + 1)), Reject::HeadTooLarge);
        let long =
            |bytes: usize| format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(bytes - 23));
        let fits = long(HEAD_BYTES_MAX);
        assert_eq!(fits.len(), HEAD_BYTES_MAX);
        assert!(said(fits.as_bytes()).unwrap().is_ok());
        assert_eq!(
            end(&long(HEAD_BYTES_MAX + 1).as_bytes()[..HEAD_BYTES_MAX - 1]),
            Ok(None)
        );
        assert_eq!(
            end(long(HEAD_BYTES_MAX + 1).as_bytes()),
            Err(Reject::HeadTooLarge)
        );
        let target = format!("GET /{}", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(said(target.as_bytes()), Some(Err(Reject::TargetTooLong)));
        // Nor does it matter what comes behind the limit.
        let more = format!("{target} a b\r\nHost: a\r\n\r\n");
        assert_eq!(said(more.as_bytes()), Some(Err(Reject::TargetTooLong)));
    }

    #[test]
    fn a_status_line_is_strict_but_for_its_reason() {
        for (line, reason) in [
            (&b"HTTP/1.1 200 OK"[..], Some(&b"OK"[..])),
            (b"HTTP/1.0 999 a  b\t", Some(b"a  b\t")),
            (b"HTTP/1.1 204 ", Some(b"")),
            (b"HTTP/1.1 204", Some(b"")),
            (
                b"HTTP/1.1 404 nicht gef\xfcnden",
                Some(b"nicht gef\xfcnden"),
            ),
            (b"HTTP/1.1 099 OK", None),
            (b"HTTP/1.1 000 OK", None),
            (b"HTTP/1.1 20 OK", None),
            (b"HTTP/1.1 2000 OK", None),
            (b"HTTP/1.1  200 OK", None),
            (b"HTTP/1.1 200 O\0K", None),
            (b"HTTP/1.1 200 O\x7fK", None),
            (b"HTTP/1.1 200 O\rK", None),
            (b"HTTP/1.2 200 OK", None),
            (b"HTTP/2.0 200 OK", None),
            (b"HTTP/2 200", None),
            (b"\r\nHTTP/1.1 200 OK", None),
            (b"ICY 200 OK", None),
        ] {
            let head = [line, b"\r\nA: b\r\n\r\n"].concat();
            let mut room = slots();
            let read = response(&head, &mut room).ok().flatten();
            assert_eq!(
                read.map(|head| head.reason),
                reason,
                "{}",
                line.escape_ascii()
            );
        }
    }
}
