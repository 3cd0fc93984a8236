//! What is wrong with a file, said so that it can be found: the place, the line, what was expected.

use std::fmt::{self, Write as _};
use std::ops::Range;

/// Most characters of a line that are shown.
const SHOWN_MAX: usize = 120;

/// One thing that is wrong. Displays as a line for people and programs, the line of the file, and a caret under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// Its line, counted from 1.
    pub line: usize,
    /// The character in that line, counted from 1.
    pub column: usize,
    /// The bytes of the file that are meant.
    pub span: Range<usize>,
    /// What is wrong: the thing and its value.
    pub message: String,
    /// What was expected instead, as the end of a sentence.
    pub expected: Option<String>,
    /// What was probably meant.
    pub suggestion: Option<String>,
    /// The line of the file and the caret under it.
    pub excerpt: String,
}

impl Problem {
    /// The problem without its place: one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = self.message.clone();
        if let Some(expected) = &self.expected {
            let _ = write!(text, ": {expected}");
        }
        if let Some(suggestion) = &self.suggestion {
            let _ = write!(text, "; did you mean {suggestion:?}?");
        }
        text
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line, column) = (&self.file, self.line, self.column);
        writeln!(f, "{file}:{line}:{column}: error: {}", self.summary())?;
        f.write_str(&self.excerpt)
    }
}

/// A file's text, and where its lines begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    pub(super) fn new(name: &str, text: &str) -> Self {
        let behind = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            line_starts: [0].into_iter().chain(behind).collect(),
        }
    }

    /// The line and the character of a byte, both counted from 1.
    pub(super) fn position(&self, at: usize) -> (usize, usize) {
        let (line, start) = self.line_of(at);
        (
            line + 1,
            chars(&self.text.as_bytes()[start..self.within(at)]) + 1,
        )
    }

    /// The line in which `span` begins, and a caret under each character of it. What would disturb a terminal is left out, and of
    /// a long line only what stands around the place is shown.
    pub(super) fn excerpt(&self, span: &Range<usize>) -> String {
        let (line, start) = self.line_of(span.start);
        let end = match self.line_starts.get(line + 1) {
            Some(next) => next - 1,
            None => self.text.len(),
        };
        let at = self.within(span.start);
        let before: Vec<char> = self.text[start..at]
            .chars()
            .rev()
            .take(SHOWN_MAX / 2)
            .collect();
        let shown = before.iter().rev().copied();
        let behind = self.text[at..end.max(at)].trim_end_matches('\r').chars();
        let line_shown: String = shown
            .chain(behind.take(SHOWN_MAX / 2))
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let meant = self.within(span.end).min(end).max(at);
        let carets = self.text[at..meant].chars().take(SHOWN_MAX / 2).count();
        let number = (line + 1).to_string();
        let gap = " ".repeat(number.len());
        let lead = " ".repeat(before.len());
        let carets = "^".repeat(carets.max(1));
        format!("{number} | {line_shown}\n{gap} | {lead}{carets}\n")
    }

    /// The problem at `span`.
    pub(super) fn problem(&self, span: Range<usize>, message: String) -> Problem {
        let (line, column) = self.position(span.start);
        Problem {
            file: self.name.clone(),
            line,
            column,
            message,
            expected: None,
            suggestion: None,
            excerpt: self.excerpt(&span),
            span,
        }
    }

    /// The line of a byte, counted from 0, and where it begins.
    fn line_of(&self, at: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= at) - 1;
        (line, self.line_starts[line])
    }

    /// The nearest place at or before `at` where a character begins.
    fn within(&self, at: usize) -> usize {
        self.text.floor_char_boundary(at)
    }
}

/// How many characters these bytes of UTF-8 are.
fn chars(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, meant: &str, expected: &str) {
        let at = text.find(meant).expect("it stands there");
        let source = Source::new("f.toml", text);
        let problem = source.problem(at..at + meant.len(), "wrong".to_owned());
        assert_eq!(problem.to_string(), expected);
    }

    #[test]
    fn a_place_is_counted_in_lines_and_characters() {
        check(
            "a = 1\nb = 2\n",
            "b",
            "f.toml:2:1: error: wrong\n2 | b = 2\n  | ^\n",
        );
        check(
            "ä = \"é\" # x\r\n",
            "x",
            "f.toml:1:11: error: wrong\n1 | ä = \"é\" # x\n  |           ^\n",
        );
        check(
            "\t\u{1b}ab",
            "ab",
            "f.toml:1:3: error: wrong\n1 |   ab\n  |   ^^\n",
        );
    }

    #[test]
    fn places_that_are_not_there_are_the_end() {
        let source = Source::new("f", "a\n");
        assert_eq!(source.position(99), (2, 1));
        assert_eq!(source.excerpt(&(99..120)), "2 | \n  | ^\n");
        assert_eq!(Source::new("f", "").position(0), (1, 1));
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let text = format!("{}X{}", "ä".repeat(1000), "b".repeat(1000));
        let at = text.find('X').expect("it stands there");
        let source = Source::new("f", &text);
        let shown = source.excerpt(&(at..at + 1));
        assert!(shown.chars().count() < 300, "{shown}");
        assert!(shown.contains("äXb"), "{shown}");
        assert_eq!(source.position(at), (1, 1001));
    }
}
