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

#[cfg(test)]
mod tests {
    use super::super::super::head;
    use super::*;

    /// What is written of a head with these lines behind its first: those that begin with `-` are dropped, with `*` they get
    /// another value, with `#` a number, and all others are kept.
    fn check(fields: &[&str], expected: &[&str]) {
        let lines = format!("GET / HTTP/1.1\r\n{}\r\n\r\n", fields.join("\r\n"));
        let mut slots = head::slots();
        let head = head::request(lines.as_bytes(), &mut slots)
            .unwrap()
            .unwrap();
        let mut copy = Copy::of(head.lines);
        copy.first("GET / HTTP/1.1\r\n".len());
        let mut out = Vec::new();
        for field in head.fields {
            let fate = match field.name.as_bytes()[0] {
                b'-' => Fate::Dropped,
                b'*' => Fate::Value(b"other"),
                b'#' => Fate::Number(10),
                _ => Fate::Kept,
            };
            copy.field(field, fate, &mut out);
        }
        copy.finish(&mut out);
        let expected = format!("GET / HTTP/1.1\r\n{}\r\n", expected.join("\r\n"));
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{fields:?}");
    }

    #[test]
    fn lines_go_on_in_their_order_whatever_becomes_of_their_neighbours() {
        let lines = ["a: 1", "b: 2 3", "c: ", "d: 4"];
        check(&lines, &lines);
        check(&["-: 1", "a: 1", "-: ", "-a: 1", "b: 2"], &["a: 1", "b: 2"]);
        check(&["a: 1", "b: 2", "-: 3"], &["a: 1", "b: 2"]);
        check(
            &["*: 1", "a: 1", "#: 9", "*b:", "b: 2", "#b:3"],
            &["*: other", "a: 1", "#: 10", "*b: other", "b: 2", "#b: 10"],
        );
    }

    #[test]
    fn blanks_around_a_value_are_as_we_write_them() {
        for odd in [
            "b:2",
            "b:  2",
            "b:\t2",
            "b: 2 ",
            "b:2 ",
            "b: 2\t",
            "b: \t2 \t",
        ] {
            check(&[odd], &["b: 2"]);
            check(&["a: 1", odd, "c: 3"], &["a: 1", "b: 2", "c: 3"]);
            check(&[odd, odd, "c: 3"], &["b: 2", "b: 2", "c: 3"]);
        }
        for empty in ["b:", "b: ", "b:  ", "b:\t", "b: \t"] {
            check(&["a: 1", empty, "c: 3"], &["a: 1", "b: ", "c: 3"]);
        }
    }

    #[test]
    fn numbers_with_zeros_before_them_are_not_as_we_write_them() {
        for digits in ["0", "7", "10", "9223372036854775807"] {
            assert!(is_as_we_write(digits.as_bytes()), "{digits}");
        }
        for digits in ["00", "01", "007", ""] {
            assert!(!is_as_we_write(digits.as_bytes()), "{digits}");
        }
    }
}
