//! The lines of a head on their way. Those that go on as they came and follow one another are copied in one piece.

use std::ops::Range;

use super::super::head::{Field, position};
use super::{line, number_line};

/// What becomes of a field.
pub(super) enum Fate<'v> {
    /// It does not go on.
    Dropped,
    /// It goes on with its name and value as they came.
    Kept,
    /// It goes on with this value.
    Value(&'v [u8]),
    /// It goes on with this number for a value.
    Number(u64),
}

/// Copies lines of a head.
pub(super) struct Copy<'a> {
    /// The head's lines.
    lines: &'a [u8],
    /// Where in `lines` those stand that are to be copied and were not yet.
    due: Range<usize>,
}

impl<'a> Copy<'a> {
    /// Nothing of these lines is to be copied yet.
    pub(super) fn of(lines: &'a [u8]) -> Self {
        Self { lines, due: 0..0 }
    }

    /// The first line, of so many bytes, goes on as it came.
    pub(super) fn first(&mut self, len: usize) {
        self.due = 0..len;
    }

    /// The next field meets its fate. Inlined, so that fates are no values that are handed over, but branches.
    #[inline(always)]
    pub(super) fn field(&mut self, field: &Field<'_>, fate: Fate<'_>, out: &mut Vec<u8>) {
        let (name, value) = (field.name.as_bytes(), field.value);
        match fate {
            Fate::Dropped => return,
            Fate::Kept => {}
            Fate::Value(value) => return line(self.finish(out), name, value),
            Fate::Number(number) => return number_line(self.finish(out), name, number),
        }
        let start = position(self.lines, name);
        let blank = start + name.len() + b":".len();
        let value_start = position(self.lines, value);
        let end = value_start + value.len();
        // We write a single blank behind the colon, and none behind the value.
        let as_we_write = value_start == blank + b" ".len()
            && self.lines.get(blank) == Some(&b' ')
            && self.lines.get(end) == Some(&b'\r');
        if !as_we_write {
            return line(self.finish(out), name, value);
        }
        if start != self.due.end {
            self.finish(out);
            self.due.start = start;
        }
        self.due.end = end + b"\r\n".len();
    }

    /// Copies what is due; other lines may follow.
    pub(super) fn finish<'o>(&mut self, out: &'o mut Vec<u8>) -> &'o mut Vec<u8> {
        out.extend_from_slice(&self.lines[self.due.clone()]);
        self.due = 0..0;
        out
    }
}

/// Whether we would write a number just so.
pub(super) fn is_as_we_write(digits: &[u8]) -> bool {
    matches!(digits, [_] | [b'1'..=b'9', ..])
}
