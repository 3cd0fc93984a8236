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
                    let rest = &input[at.taken..];
                    let (len, goes_on) = match self.whole_line(rest)? {
                        0 => (1, self.step(rest[0])?),
                        len => (len, true),
                    };
                    if goes_on && self.output != Output::Data {
                        move_down(input, &mut at, len);
                    } else {
                        at.taken += len;
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

    /// Takes the usual line, which is there whole and has nothing that does not go on, in one step. Says how long it is, and
    /// 0 for any other, which is taken byte by byte.
    fn whole_line(&mut self, rest: &[u8]) -> Result<usize, Reject> {
        match (self.state, rest) {
            (State::DataCr, [b'\r', b'\n', ..]) => {
                self.excess = self.excess.saturating_add(2);
                self.state = State::Size { digits: 0 };
                Ok(2)
            }
            (State::Size { digits: 0 }, _) => {
                let Some((digits, size)) = size_line(rest) else {
                    return Ok(0);
                };
                self.left = size;
                self.excess = self.excess.saturating_add(u16::from(digits) + 2);
                self.begin_chunk()?;
                Ok(usize::from(digits) + 2)
            }
            _ => Ok(0),
        }
    }

    /// The line with a chunk's size was read to its end.
    fn begin_chunk(&mut self) -> Result<(), Reject> {
        let grant = GRANT + GRANT_PER_BYTE * self.left;
        self.excess = u16::try_from(grant).map_or(0, |grant| self.excess.saturating_sub(grant));
        if self.excess > EXCESS_MAX {
            return Err(Reject::BadChunk);
        }
        self.state = if self.left == 0 {
            State::Trailers
        } else {
            State::Data
        };
        Ok(())
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
            (State::SizeLf, b'\n') => {
                self.excess = self.excess.saturating_add(1);
                self.begin_chunk()?;
                return Ok(true);
            }
            (State::DataCr, b'\r') => (State::DataLf, true),
            (State::DataLf, b'\n') => (State::Size { digits: 0 }, true),
            _ => return Err(Reject::BadChunk),
        };
        self.excess = self.excess.saturating_add(1);
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

/// How many digits there are in a line that has nothing else, and what size they write; nothing for any other line, and while
/// it is not whole.
fn size_line(rest: &[u8]) -> Option<(u8, u64)> {
    let (mut digits, mut size) = (0, 0);
    for &byte in rest {
        match char::from(byte).to_digit(16) {
            Some(digit) if digits < DIGITS_MAX => {
                digits += 1;
                size = size << 4 | u64::from(digit);
            }
            _ => {
                let whole = digits > 0 && rest[usize::from(digits)..].starts_with(b"\r\n");
                return whole.then_some((digits, size));
            }
        }
    }
    None
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
mod tests;
