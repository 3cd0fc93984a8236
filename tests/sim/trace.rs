//! What happened last, kept in a ring and printed only when a run fails.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Lines kept.
const LINES_MAX: usize = 250;

/// The last events of a run. A line costs no allocation: it is put into words only when printed.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: VecDeque<Line>,
}

#[derive(Debug)]
struct Line {
    at: Duration,
    /// The sentence; each `{}` stands for the next of `numbers`.
    words: &'static str,
    numbers: [usize; 3],
    /// How often in a row.
    times: usize,
}

impl Trace {
    pub(crate) fn note(&mut self, at: Duration, words: &'static str, numbers: [usize; 3]) {
        if let Some(last) = self.lines.back_mut()
            && std::ptr::eq(last.words, words)
            && last.numbers == numbers
        {
            last.times += 1;
            return;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(Line {
            at,
            words,
            numbers,
            times: 1,
        });
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            write!(f, "  {:>14.6} ", line.at.as_secs_f64())?;
            let mut numbers = line.numbers.iter();
            for (index, words) in line.words.split("{}").enumerate() {
                if index > 0 {
                    write!(f, "{}", numbers.next().unwrap_or(&0))?;
                }
                f.write_str(words)?;
            }
            if line.times > 1 {
                write!(f, " ({} times)", line.times)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
