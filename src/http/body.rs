//! Where a body ends (RFC 9112 §6.3), how much of the input belongs to it, and what goes around it where it is delimited
//! anew. It knows no heads beyond their framing fields.
//!
//! Architecture invariant: `framing` alone decides how a body is delimited, for requests and for responses; what it
//! cannot tell beyond doubt is refused.

pub use super::chunked::{Chunked, Passed};

use super::chunked::Output;
use super::field::{Once, number};
use super::{Framing, LENGTH_MAX, Method, Reject, Request, Response, Version};

/// Most digits of a content length; leading zeros count.
const LENGTH_DIGITS_MAX: usize = 19;

/// Whose body it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose {
    /// A request's: never delimited by the end of the connection.
    Request,
    /// That of a response with this status to a request of this method.
    Response(u16, Method),
}

/// How the body of a message ends, by its version and its framing fields (RFC 9112 §6.3).
pub(super) fn framing(
    version: Version,
    length: Once<'_>,
    coding: Once<'_>,
    whose: Whose,
) -> Result<Framing, Reject> {
    // 1xx and 204 have no body whatever they say; we drop what they say of one.
    if let Whose::Response(100..200 | 204, _) = whose {
        return Ok(Framing::None);
    }
    let declared = declared(version, length, coding)?;
    Ok(match whose {
        Whose::Response(304, _) | Whose::Response(_, Method::Head) => Framing::None,
        Whose::Response(..) => declared.unwrap_or(Framing::UntilClose),
        Whose::Request => declared.unwrap_or(Framing::None),
    })
}

/// What the framing fields declare, if there are any.
fn declared(
    version: Version,
    length: Once<'_>,
    coding: Once<'_>,
) -> Result<Option<Framing>, Reject> {
    match (length, coding) {
        (Once::Missing, Once::Missing) => Ok(None),
        (Once::One(length), Once::Missing) => {
            content_length(length).map(|length| Some(Framing::Length(length)))
        }
        (Once::Missing, Once::One(coding)) if version == Version::Http11 => {
            transfer_coding(coding).map(|()| Some(Framing::Chunked))
        }
        _ => Err(Reject::BadFraming),
    }
}

fn content_length(value: &[u8]) -> Result<u64, Reject> {
    match number(value) {
        None => Err(Reject::BadFraming),
        Some(length) if length > LENGTH_MAX || value.len() > LENGTH_DIGITS_MAX => {
            Err(Reject::BodyTooLarge)
        }
        Some(length) => Ok(length),
    }
}

/// Accepts the single coding that we understand, and tells unknown ones from nonsense (RFC 9112 §6.1).
fn transfer_coding(value: &[u8]) -> Result<(), Reject> {
    if value.eq_ignore_ascii_case(b"chunked") {
        Ok(())
    } else if super::field::elements(value).any(<[u8]>::is_empty) {
        Err(Reject::BadFraming)
    } else {
        Err(Reject::CodingUnknown)
    }
}

/// A body under way.
#[derive(Clone, Debug)]
pub enum Body {
    /// All of it has passed, or there is none.
    Done,
    /// So many bytes are still to come; never zero.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// Whatever comes until the connection closes, passed on as it is.
    UntilClose,
    /// Whatever comes until the connection closes, passed on in chunks: one for each piece that comes.
    IntoChunks,
}

impl Body {
    /// The body of a request, on its way to a backend.
    #[must_use]
    pub fn request(request: &Request) -> Self {
        Self::new(request.framing, chunks(request.trailers))
    }

    /// The body of a response, on its way to the client that sent `request`.
    #[must_use]
    pub fn response(response: &Response, request: &Request) -> Self {
        let output = match request.version {
            Version::Http10 => Output::Data,
            Version::Http11 => chunks(response.trailers),
        };
        Self::new(response.framing, output)
    }

    /// The bytes of a tunnel.
    #[must_use]
    pub fn until_close() -> Self {
        Self::UntilClose
    }

    fn new(framing: Framing, output: Output) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Done,
            Framing::Length(left) => Self::Length(left),
            Framing::Chunked => Self::Chunked(Chunked::new(output)),
            Framing::UntilClose if output == Output::Data => Self::UntilClose,
            Framing::UntilClose => Self::IntoChunks,
        }
    }

    /// Judges as much of `input` as belongs to the body and leaves at its start what is to go on; between the lines of
    /// [`chunk`](Self::chunk), where there are any.
    ///
    /// If bytes are left untaken although the body is not done, more must come behind them first: a trailer section is
    /// judged whole.
    ///
    /// # Errors
    ///
    /// [`Reject::BadChunk`], [`Reject::BadTrailer`] or [`Reject::TrailerTooLarge`]; only chunks can be wrong.
    pub fn pass(&mut self, input: &mut [u8]) -> Result<Passed, Reject> {
        let there = input.len();
        let all = |len: usize| Passed {
            taken: len,
            made: len,
        };
        match self {
            Self::Done => Ok(all(0)),
            Self::UntilClose | Self::IntoChunks => Ok(all(there)),
            Self::Length(left) => {
                let len = usize::try_from(*left).map_or(there, |left| left.min(there));
                self.skip(len as u64);
                Ok(all(len))
            }
            Self::Chunked(chunked) => {
                let passed = chunked.pass(input)?;
                if chunked.is_done() {
                    *self = Self::Done;
                }
                Ok(passed)
            }
        }
    }

    /// How many of the bytes to come go on as they are, and so need not be seen.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::UntilClose => u64::MAX,
            Self::Done | Self::Chunked(_) | Self::IntoChunks => 0,
        }
    }

    /// So many of them passed [`unseen`](Self::unseen).
    pub fn skip(&mut self, count: u64) {
        assert!(count <= self.unseen(), "no more passes than may");
        if let Self::Length(left) = self {
            *left -= count;
            if *left == 0 {
                *self = Self::Done;
            }
        }
    }

    /// Whether all of it has passed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Whether the end of the stream would be its proper end here.
    #[must_use]
    pub fn may_end(&self) -> bool {
        matches!(self, Self::Done | Self::UntilClose | Self::IntoChunks)
    }

    /// The chunk that so many bytes to go on are to be put in; `None` where they go on as they are, and for no bytes,
    /// since an empty chunk would be the last.
    #[must_use]
    pub fn chunk(&self, len: usize) -> Option<Chunk> {
        match self {
            Self::IntoChunks if len > 0 => Some(Chunk::new(len)),
            Self::IntoChunks | Self::Done | Self::Length(_) | Self::Chunked(_) => None,
            Self::UntilClose => None,
        }
    }

    /// What goes on when the end of the stream was its proper end: the last chunk, where it goes on in chunks of ours.
    #[must_use]
    pub fn last_chunk(&self) -> &'static [u8] {
        match self {
            Self::IntoChunks => b"0\r\n\r\n",
            Self::Done | Self::Length(_) | Self::Chunked(_) | Self::UntilClose => b"",
        }
    }
}

/// What stands around the data of a chunk.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    line: [u8; Self::LINE_BYTES],
    start: usize,
}

impl Chunk {
    /// As many digits as the largest size has, and CRLF.
    const LINE_BYTES: usize = 2 * size_of::<usize>() + 2;

    fn new(len: usize) -> Self {
        let mut line = [0; Self::LINE_BYTES];
        let mut start = Self::LINE_BYTES - 2;
        line[start..].copy_from_slice(b"\r\n");
        let mut left = len;
        while left > 0 {
            start -= 1;
            line[start] = b"0123456789abcdef"[left % 16];
            left /= 16;
        }
        Self { line, start }
    }

    /// The line before the data.
    #[must_use]
    pub fn before(&self) -> &[u8] {
        &self.line[self.start..]
    }

    /// The line end behind the data.
    #[must_use]
    pub fn behind(&self) -> &'static [u8] {
        b"\r\n"
    }
}

/// What becomes of chunks where they stay chunks.
fn chunks(trailers: bool) -> Output {
    if trailers {
        Output::WithTrailers
    } else {
        Output::Chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP11: Version = Version::Http11;
    const REQUEST: Whose = Whose::Request;

    fn once(lines: &[&'static str]) -> Once<'static> {
        let mut once = Once::default();
        lines.iter().for_each(|line| once.add(line.as_bytes()));
        once
    }

    fn check(
        whose: Whose,
        length: &[&'static str],
        coding: &[&'static str],
        expected: Result<Framing, Reject>,
    ) {
        let found = framing(HTTP11, once(length), once(coding), whose);
        assert_eq!(found, expected, "{whose:?} {length:?} {coding:?}");
    }

    #[test]
    fn what_need_not_be_seen_may_be_skipped() {
        let mut body = Body::Length(10);
        assert_eq!(body.unseen(), 10);
        body.skip(4);
        assert_eq!((body.unseen(), body.is_done()), (6, false));
        body.skip(6);
        assert_eq!((body.unseen(), body.is_done()), (0, true));
        let mut body = Body::until_close();
        body.skip(u64::MAX);
        assert_eq!((body.unseen(), body.is_done()), (u64::MAX, false));
        assert_eq!(Body::IntoChunks.unseen(), 0);
    }

    #[test]
    fn a_body_is_small() {
        assert!(size_of::<Body>() <= 32, "{}", size_of::<Body>());
    }

    #[test]
    fn a_content_length_is_digits_that_fit() {
        let max = LENGTH_MAX.to_string().leak();
        for (length, expected) in [
            ("0", Ok(Framing::Length(0))),
            ("007", Ok(Framing::Length(7))),
            (&*max, Ok(Framing::Length(LENGTH_MAX))),
            ("9223372036854775808", Err(Reject::BodyTooLarge)),
            ("18446744073709551616", Err(Reject::BodyTooLarge)),
            ("00000000000000000001", Err(Reject::BodyTooLarge)),
            ("", Err(Reject::BadFraming)),
            ("+5", Err(Reject::BadFraming)),
            ("-5", Err(Reject::BadFraming)),
            ("5,5", Err(Reject::BadFraming)),
            ("5 5", Err(Reject::BadFraming)),
            ("0x5", Err(Reject::BadFraming)),
            ("5_0", Err(Reject::BadFraming)),
        ] {
            check(REQUEST, &[length], &[], expected);
            check(
                Whose::Response(200, Method::Other),
                &[length],
                &[],
                expected,
            );
        }
        check(REQUEST, &["5", "5"], &[], Err(Reject::BadFraming));
    }

    #[test]
    fn the_only_transfer_coding_is_chunked() {
        check(REQUEST, &[], &["ChunKED"], Ok(Framing::Chunked));
        for unknown in [
            "gzip",
            "gzip, chunked",
            "chunked, gzip",
            "chunked;q=1",
            "xchunked",
            "chunked, chunked",
            "identity",
        ] {
            check(REQUEST, &[], &[unknown], Err(Reject::CodingUnknown));
        }
        for bad in ["", ",chunked", "chunked,", "gzip,,chunked", "chunked, "] {
            check(REQUEST, &[], &[bad], Err(Reject::BadFraming));
        }
        check(
            REQUEST,
            &[],
            &["chunked", "chunked"],
            Err(Reject::BadFraming),
        );
        check(REQUEST, &["5"], &["chunked"], Err(Reject::BadFraming));
        let old = framing(Version::Http10, Once::Missing, once(&["chunked"]), REQUEST);
        assert_eq!(old, Err(Reject::BadFraming));
    }

    #[test]
    fn a_response_has_a_body_by_its_status_and_its_request() {
        let (get, head) = (Method::Idempotent, Method::Head);
        for status in [100, 101, 103, 199, 204] {
            check(
                Whose::Response(status, get),
                &["5", "x"],
                &["gzip"],
                Ok(Framing::None),
            );
        }
        for whose in [Whose::Response(304, get), Whose::Response(200, head)] {
            check(whose, &["5"], &[], Ok(Framing::None));
            check(whose, &[], &["chunked"], Ok(Framing::None));
            check(whose, &["x"], &[], Err(Reject::BadFraming));
            check(whose, &["5"], &["chunked"], Err(Reject::BadFraming));
        }
        check(Whose::Response(200, get), &[], &[], Ok(Framing::UntilClose));
        check(
            Whose::Response(205, get),
            &["5"],
            &[],
            Ok(Framing::Length(5)),
        );
        check(Whose::Request, &[], &[], Ok(Framing::None));
    }

    #[test]
    fn a_length_takes_its_bytes_and_no_more() {
        let mut body = Body::new(Framing::Length(5), Output::Chunks);
        let all = |len: usize| {
            Ok(Passed {
                taken: len,
                made: len,
            })
        };
        assert_eq!(body.pass(&mut [0; 3]), all(3));
        assert!(!body.is_done() && !body.may_end());
        assert_eq!(body.pass(&mut []), all(0));
        assert_eq!(body.pass(&mut [0; 9]), all(2));
        assert!(body.is_done() && body.may_end());
        assert_eq!(body.pass(&mut [0; 9]), all(0));
        assert!(Body::new(Framing::Length(0), Output::Chunks).is_done());
    }

    #[test]
    fn a_tunnel_takes_everything_and_may_end_anywhere() {
        let mut body = Body::until_close();
        assert_eq!(body.pass(&mut [0; 9]), Ok(Passed { taken: 9, made: 9 }));
        assert!(!body.is_done() && body.may_end());
        assert!(body.chunk(9).is_none() && body.last_chunk().is_empty());
    }

    #[test]
    fn what_ends_with_its_connection_becomes_chunks_for_those_who_know_them() {
        let mut body = Body::new(Framing::UntilClose, Output::WithTrailers);
        for (len, before) in [
            (1, "1\r\n"),
            (9, "9\r\n"),
            (10, "a\r\n"),
            (16, "10\r\n"),
            (128 * 1024, "20000\r\n"),
            (usize::MAX, &format!("{:x}\r\n", usize::MAX)),
        ] {
            let chunk = body.chunk(len).expect("it is put in chunks");
            assert_eq!(str::from_utf8(chunk.before()), Ok(before));
            assert_eq!(chunk.behind(), b"\r\n");
        }
        assert_eq!(body.pass(&mut [0; 9]), Ok(Passed { taken: 9, made: 9 }));
        assert!(!body.is_done() && body.may_end());
        assert!(body.chunk(0).is_none(), "an empty one would be the last");
        assert_eq!(body.last_chunk(), b"0\r\n\r\n");
    }

    #[test]
    fn only_a_body_that_ends_with_its_connection_is_put_in_chunks() {
        for (framing, output) in [
            (Framing::None, Output::Chunks),
            (Framing::Length(9), Output::Chunks),
            (Framing::Chunked, Output::Chunks),
            (Framing::Chunked, Output::WithTrailers),
            (Framing::UntilClose, Output::Data),
        ] {
            let body = Body::new(framing, output);
            assert!(body.chunk(5).is_none(), "{framing:?} {output:?}");
            assert!(body.last_chunk().is_empty(), "{framing:?} {output:?}");
        }
    }
}
