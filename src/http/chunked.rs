//! The chunked coding (RFC 9112 §7.1), taken apart byte by byte and put together again in the same place. It knows of no
//! message around it.
//!
//! Architecture invariant: no byte goes on before it was checked, and what goes on is either bare data or chunks without
//! extensions, each line ended by exactly CRLF. Where the input is cut makes no difference to what goes on.
//!
//! ```text
//!   Size ──CR──▶ SizeLf ──LF──▶ Data ──▶ DataCr ──▶ DataLf ──▶ Size
//!    └─;─▶ Extension ─CR─▲  └─(size 0)─▶ Trailers ──▶ Done
//! ```

use super::field::{self, Kind};
use super::head::{Section, section_end};
use super::{Reject, TRAILER_BYTES_MAX};

/// Most digits of a chunk's size, so that it stays below 2^60.
const DIGITS_MAX: u8 = 15;
/// Most bytes of a chunk's extensions.
const EXTENSION_BYTES_MAX: u16 = 256;
/// How far the bytes around the data may exceed what the data justifies. A sender of many tiny chunks with long extensions
/// makes us work without moving anything (CVE-2023-39326).
const EXCESS_MAX: u16 = 16 * 1024;
/// Bytes around its data that every chunk is granted, and how many each byte of data adds to them.
const GRANT: u64 = 16;
const GRANT_PER_BYTE: u64 = 2;

/// How far a call of `pass` came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// So many bytes at the start of the input were judged, and are done with.
    pub taken: usize,
    /// So many bytes, now at the start of the input, are to go on; never more than were taken.
    pub made: usize,
}

/// What becomes of the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Chunks and trailers go on.
    WithTrailers,
    /// Chunks go on, trailers do not.
    Chunks,
    /// Only the data goes on: for a peer that knows no chunks.
    Data,
}

/// Where in the coding the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { digits: u8 },
    Extension { bytes: u16 },
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// A chunked body under way.
#[derive(Clone, Debug)]
pub struct Chunked {
    state: State,
    output: Output,
    /// Bytes around the data in excess of what the data justifies.
    excess: u16,
    /// The size of the chunk as far as read, and then how much of its data is still to come.
    left: u64,
}

impl Chunked {
    pub(super) fn new(output: Output) -> Self {
        Self {
            state: State::Size { digits: 0 },
            output,
            excess: 0,
            left: 0,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Judges as much of `input` as is there. A trailer section is left untaken until it is whole.
    pub(super) fn pass(&mut self, input: &mut [u8]) -> Result<Passed, Reject> {
        let mut at = Passed::default();
        while at.taken < input.len() {
            match self.state {
                State::Done => break,
                State::Data => self.data(input, &mut at),
                State::Trailers => {
                    if !self.trailers(input, &mut at)? {
                        break;
                    }
                }
                State::Size { .. }
                | State::Extension { .. }
                | State::SizeLf
                | State::DataCr
                | State::DataLf => {
                    let byte = input[at.taken];
                    at.taken += 1;
                    if self.step(byte)? && self.output != Output::Data {
                        input[at.made] = byte;
                        at.made += 1;
                    }
                }
            }
        }
        Ok(at)
    }

    /// Passes on what is there of a chunk's data.
    fn data(&mut self, input: &mut [u8], at: &mut Passed) {
        let there = input.len() - at.taken;
        let len = usize::try_from(self.left).map_or(there, |left| left.min(there));
        move_down(input, at, len);
        self.left -= len as u64;
        if self.left == 0 {
            self.state = State::DataCr;
        }
    }

    /// Takes one byte that is not data, and tells whether it goes on where chunks do.
    fn step(&mut self, byte: u8) -> Result<bool, Reject> {
        let (next, goes_on) = match (self.state, byte) {
            (State::Size { digits: 1.. } | State::Extension { .. }, b'\r') => (State::SizeLf, true),
            (State::Size { digits: 1.. }, b';') => (State::Extension { bytes: 0 }, false),
            (State::Size { digits }, _) if digits < DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).ok_or(Reject::BadChunk)?;
                self.left = self.left << 4 | u64::from(digit);
                (State::Size { digits: digits + 1 }, true)
            }
            (State::Extension { bytes }, b'\t' | b' '..=b'~') if bytes < EXTENSION_BYTES_MAX => {
                (State::Extension { bytes: bytes + 1 }, false)
            }
            (State::SizeLf, b'\n') if self.left == 0 => (State::Trailers, true),
            (State::SizeLf, b'\n') => (State::Data, true),
            (State::DataCr, b'\r') => (State::DataLf, true),
            (State::DataLf, b'\n') => (State::Size { digits: 0 }, true),
            _ => return Err(Reject::BadChunk),
        };
        self.excess = self.excess.saturating_add(1);
        if self.state == State::SizeLf {
            let grant = GRANT + GRANT_PER_BYTE * self.left;
            self.excess = u16::try_from(grant).map_or(0, |grant| self.excess.saturating_sub(grant));
            if self.excess > EXCESS_MAX {
                return Err(Reject::BadChunk);
            }
        }
        self.state = next;
        Ok(goes_on)
    }

    /// Judges the trailer section and the empty line that ends it; `false` while they are not whole.
    fn trailers(&mut self, input: &mut [u8], at: &mut Passed) -> Result<bool, Reject> {
        let rest = &input[at.taken..];
        let window = &rest[..rest.len().min(TRAILER_BYTES_MAX)];
        let len = match section_end(window) {
            Section::End(len) => len,
            Section::BareLf => return Err(Reject::BadTrailer),
            Section::Open { .. } if window.len() == TRAILER_BYTES_MAX => {
                return Err(Reject::TrailerTooLarge);
            }
            Section::Open { .. } => return Ok(false),
        };
        let end = at.taken + len;
        while at.taken < end {
            let line = &input[at.taken..end];
            let len = memchr::memchr(b'\n', line).map_or(line.len(), |lf| lf + 1);
            let goes_on = match &line[..len] {
                b"\r\n" => self.output != Output::Data,
                line => is_wanted_trailer(line)? && self.output == Output::WithTrailers,
            };
            if goes_on {
                move_down(input, at, len);
            } else {
                at.taken += len;
            }
        }
        self.state = State::Done;
        Ok(true)
    }
}

/// Whether a trailer says what may be said behind a body: nothing of framing, routing, credentials or how to read the
/// content (RFC 9110 §6.5.1).
fn is_wanted_trailer(line: &[u8]) -> Result<bool, Reject> {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let colon = memchr::memchr(b':', line).ok_or(Reject::BadTrailer)?;
    let (name, value) = line.split_at(colon);
    if !field::is_token(name) || !field::is_value(value) {
        return Err(Reject::BadTrailer);
    }
    let name = str::from_utf8(name).map_err(|_| Reject::BadTrailer)?;
    Ok(field::kind(name) == Kind::Other)
}

/// Passes the next `len` bytes on; copies them only where something before them was dropped.
fn move_down(input: &mut [u8], at: &mut Passed, len: usize) {
    if at.made != at.taken {
        input.copy_within(at.taken..at.taken + len, at.made);
    }
    at.taken += len;
    at.made += len;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes on of `input` when it comes in pieces that end at `cuts`, and how many bytes were taken.
    fn fed(input: &[u8], output: Output, cuts: &[usize]) -> Result<(Vec<u8>, usize), Reject> {
        let (mut chunked, mut out, mut taken) = (Chunked::new(output), Vec::new(), 0);
        for &cut in cuts {
            let mut piece = input[taken..cut].to_vec();
            let passed = chunked.pass(&mut piece)?;
            assert!(passed.made <= passed.taken && passed.taken <= piece.len());
            out.extend_from_slice(&piece[..passed.made]);
            taken += passed.taken;
            if chunked.is_done() {
                return Ok((out, taken));
            }
        }
        Err(Reject::Malformed) // Stands here for: more is needed.
    }

    fn check(input: &[u8], output: Output) -> Result<Vec<u8>, Reject> {
        let whole = fed(input, output, &[input.len()]);
        let trailing = [input, b"5\r\nGET /"].concat();
        assert_eq!(
            fed(&trailing, output, &[trailing.len()]),
            whole,
            "{}",
            input.escape_ascii()
        );
        let bytes: Vec<usize> = (0..=input.len()).collect();
        assert_eq!(
            fed(input, output, &bytes),
            whole,
            "{}",
            input.escape_ascii()
        );
        for cut in 0..input.len() {
            assert_eq!(
                fed(input, output, &[cut, input.len()]),
                whole,
                "{cut} {}",
                input.escape_ascii()
            );
        }
        whole.map(|(out, taken)| {
            assert_eq!(taken, input.len());
            out
        })
    }

    fn goes_on(input: &str, output: Output, expected: &str) {
        let found = check(input.as_bytes(), output);
        let found = found.map(|out| String::from_utf8(out).unwrap());
        assert_eq!(found.as_deref(), Ok(expected), "{input:?}");
    }

    fn refused(input: &[u8], expected: Reject) {
        assert_eq!(
            check(input, Output::WithTrailers),
            Err(expected),
            "{}",
            input.escape_ascii()
        );
    }

    #[test]
    fn chunks_pass_as_chunks_or_as_bare_data() {
        let body = "5\r\nhello\r\n00A\r\n, world\r\n!\r\n0\r\n\r\n";
        goes_on(body, Output::Chunks, body);
        goes_on(body, Output::WithTrailers, body);
        goes_on(body, Output::Data, "hello, world\r\n!");
        goes_on("000000000000000\r\n\r\n", Output::Data, "");
        goes_on("000000000000001\r\nx\r\n0\r\n\r\n", Output::Data, "x");
    }

    #[test]
    fn extensions_are_dropped() {
        let body = "5;a=b;c=\"d\te\"\r\nhello\r\n0;last\r\n\r\n";
        goes_on(body, Output::Chunks, "5\r\nhello\r\n0\r\n\r\n");
        goes_on(body, Output::Data, "hello");
        let long = |bytes: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(bytes));
        goes_on(&long(256), Output::Data, "x");
        refused(long(257).as_bytes(), Reject::BadChunk);
    }

    #[test]
    fn whatever_is_not_exactly_a_chunk_is_refused() {
        for body in [
            &b"\r\n\r\n"[..],
            b";x\r\n\r\n",
            b" 1\r\nx\r\n0\r\n\r\n",
            b"1 \r\nx\r\n0\r\n\r\n",
            b"1\t;a\r\nx\r\n0\r\n\r\n",
            b"+1\r\nx\r\n0\r\n\r\n",
            b"-1\r\nx\r\n0\r\n\r\n",
            b"0x1\r\nx\r\n0\r\n\r\n",
            b"1_0\r\nx\r\n0\r\n\r\n",
            b"g\r\n",
            b"\xb1\r\nx\r\n",
            b"1\nx\r\n0\r\n\r\n",
            b"1\rx\r\n0\r\n\r\n",
            b"1\r\r\nx\r\n0\r\n\r\n",
            b"1;a\nx\r\n0\r\n\r\n",
            b"1;a\0\r\nx\r\n0\r\n\r\n",
            b"1;a\x7f\r\nx\r\n0\r\n\r\n",
            b"1;a\xe9\r\nx\r\n0\r\n\r\n",
            b"1;a\rb\r\nx\r\n0\r\n\r\n",
            b"1\r\nx\n0\r\n\r\n",
            b"1\r\nxy\r\n0\r\n\r\n",
            b"1\r\nx0\r\n\r\n",
            b"1\r\nx\r0\r\n\r\n",
            b"2\r\nx\r\n0\r\n\r\n",
            b"0000000000000001\r\nx\r\n0\r\n\r\n",
            b"ffffffffffffffff\r\nx",
            b"10000000000000001\r\nx",
        ] {
            refused(body, Reject::BadChunk);
        }
    }

    #[test]
    fn trailers_go_on_only_where_they_are_wanted_and_harmless() {
        let kept = "Digest: x\r\nserver-timing:\té \r\n";
        let body = format!(
            "0\r\nContent-Length: 5\r\n{kept}Set-Cookie: a\r\nx_forwarded_for: b\r\nHOST: c\r\nETag: \"d\"\r\n\r\n"
        );
        goes_on(
            &body,
            Output::WithTrailers,
            &format!("0\r\n{kept}ETag: \"d\"\r\n\r\n"),
        );
        goes_on(&body, Output::Chunks, "0\r\n\r\n");
        goes_on(&body, Output::Data, "");
        let never = "Transfer-Encoding Content-Length Host Authorization Proxy-Authorization Proxy-Anything Set-Cookie \
            Cookie Connection TE Trailer Content-Encoding Content-Type Content-Range Cache-Control Expect Max-Forwards \
            Range If-Match X-Forwarded-For X-Forwarded-Anything Forwarded X-Real-IP Via X-Request-Id Upgrade Keep-Alive \
            Date Age Location Retry-After Vary Warning WWW-Authenticate Pragma";
        for name in never.split_ascii_whitespace() {
            goes_on(
                &format!("0\r\n{name}: 1\r\n\r\n"),
                Output::WithTrailers,
                "0\r\n\r\n",
            );
        }
    }

    #[test]
    fn broken_trailers_are_refused_whether_wanted_or_not() {
        for trailer in [
            &b"A : b\r\n"[..],
            b" A: b\r\n",
            b"A: b\r\n c\r\n",
            b": b\r\n",
            b"A\r\n",
            b"A: b\n",
            b"A: b\0\r\n",
            b"A: b\rc\r\n",
            b"A\xe9: b\r\n",
        ] {
            for output in [Output::WithTrailers, Output::Chunks, Output::Data] {
                let body = [b"1\r\nx\r\n0\r\n", trailer, b"\r\n"].concat();
                assert_eq!(
                    check(&body, output),
                    Err(Reject::BadTrailer),
                    "{}",
                    body.escape_ascii()
                );
            }
        }
        refused(b"0\r\n\n", Reject::BadTrailer);
    }

    #[test]
    fn trailers_have_a_limit() {
        let section = |bytes: usize| format!("A: {}\r\n\r\n", "b".repeat(bytes - 7));
        let fits = format!("0\r\n{}", section(TRAILER_BYTES_MAX));
        let all = fed(fits.as_bytes(), Output::Data, &[fits.len()]);
        assert_eq!(all, Ok((Vec::new(), fits.len())));
        let longer = format!("0\r\n{}", section(TRAILER_BYTES_MAX + 1));
        for end in [longer.len() - 1, longer.len()] {
            let found = fed(longer.as_bytes(), Output::Data, &[end]);
            assert_eq!(found, Err(Reject::TrailerTooLarge));
        }
    }

    #[test]
    fn much_around_little_data_is_refused() {
        let chunks = |chunk: &str, count: usize| {
            let body = [&chunk.repeat(count), "0\r\n\r\n"].concat();
            fed(body.as_bytes(), Output::Chunks, &[body.len()]).map(|_| ())
        };
        let long = format!("1;{}\r\nx\r\n", "e".repeat(200));
        assert_eq!(chunks(&long, 50), Ok(()));
        let extended = |bytes: usize| format!("1;{}\r\nx\r\n", "e".repeat(bytes));
        assert_eq!(chunks(&extended(12), 5000), Ok(()));
        assert_eq!(chunks(&extended(20), 5000), Err(Reject::BadChunk));
        assert_eq!(chunks(&long, 500), Err(Reject::BadChunk));
        let justified = format!("80;{}\r\n{}\r\n", "e".repeat(200), "x".repeat(128));
        assert_eq!(chunks(&justified, 5000), Ok(()));
        assert_eq!(chunks("1\r\nx\r\n", 50_000), Ok(()));
    }

    #[test]
    fn any_cut_of_any_body_gives_what_the_whole_gives() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed >> 33).unwrap() % below
        };
        let alphabet = b"0159aF;=x: \t\r\n\0\xff";
        for _ in 0..2000 {
            let mut body =
                b"3;a\r\nabc\r\n0001\r\nz\r\n0;x\r\nA: b\r\nHost: c\r\nD: e\r\n\r\n".to_vec();
            for _ in 0..random(3) {
                let at = random(body.len());
                body[at] = alphabet[random(alphabet.len())];
            }
            let mut cuts: Vec<usize> = (0..random(6)).map(|_| random(body.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(body.len());
            for output in [Output::WithTrailers, Output::Chunks, Output::Data] {
                let whole = fed(&body, output, &[body.len()]);
                let mut cuts = cuts.clone();
                cuts.dedup();
                // A cut before what is already taken is no cut.
                assert_eq!(fed(&body, output, &cuts), whole, "{}", body.escape_ascii());
            }
        }
    }
}
