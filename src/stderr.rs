//! The log on standard error, such that it can neither stall nor stop the loop.
//!
//! `SimpleLogger` prints with `eprintln!`, which blocks when nobody reads the pipe and panics when the disk is full or
//! the reader is gone. So between it and the program stands [`Guarded`]:
//!
//! - before each line, poll(2) says whether standard error would take it; if not, the line is dropped and counted;
//! - a line is shorter than `PIPE_BUF`, so that a pipe with room takes it whole without blocking (pipe(7));
//! - what panics nevertheless (no space left) is caught, and counted too;
//! - the first line that goes through after a gap says how many were lost.
//!
//! What remains: another process that writes to the same pipe between our poll and our write, and a terminal that has
//! room for less than a line, may make us wait for its reader.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use simple_logger::SimpleLogger;

/// Longest text of a line, in bytes; more is cut. With time, level and target in front it stays below `PIPE_BUF`, 4096.
const TEXT_BYTES_MAX: usize = 3_500;

thread_local! {
    /// Whether this thread is inside `SimpleLogger`, whose panics are an answer and not a bug.
    static PRINTING: Cell<bool> = const { Cell::new(false) };
}

/// Sends what is logged at `level` or above to standard error from here on. To be called once.
pub(crate) fn start(level: LevelFilter) {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !PRINTING.get() {
            report(panic);
        }
    }));
    let inner = SimpleLogger::new()
        .with_level(LevelFilter::Trace)
        .with_utc_timestamps();
    let guarded = Guarded {
        inner,
        lost: AtomicU64::new(0),
        printing: Mutex::new(()),
    };
    if log::set_boxed_logger(Box::new(guarded)).is_ok() {
        log::set_max_level(level);
    }
}

struct Guarded {
    inner: SimpleLogger,
    /// Lines dropped since the last one that went through.
    lost: AtomicU64,
    /// Held by the thread that prints.
    printing: Mutex<()>,
}

impl Log for Guarded {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0
            && self.print(
                Level::Warn,
                module_path!(),
                &format!("{lost} log lines were lost"),
            )
        {
            self.lost.fetch_sub(lost, Ordering::Relaxed);
        }
        // While the gap lasts no line goes through before the one that tells of it.
        let gap = self.lost.load(Ordering::Relaxed) > 0;
        if gap || !self.print(record.level(), record.target(), &one_line(record)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

impl Guarded {
    /// Prints a line if that can be done at once; whether it was. One thread at a time, or the room that one has seen could be
    /// taken by another's line.
    fn print(&self, level: Level, target: &str, text: &str) -> bool {
        let _one = self.printing.lock().unwrap_or_else(PoisonError::into_inner);
        if !takes_a_line() {
            return false;
        }
        PRINTING.set(true);
        let printed = panic::catch_unwind(AssertUnwindSafe(|| {
            let mut record = Record::builder();
            self.inner.log(
                &record
                    .level(level)
                    .target(target)
                    .args(format_args!("{text}"))
                    .build(),
            );
        }));
        PRINTING.set(false);
        printed.is_ok()
    }
}

/// Whether standard error can be written to without waiting, and has somebody to read it.
fn takes_a_line() -> bool {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // Errors, hang-ups and descriptors that are not open are told in place of OUT, or beside it.
    poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents() == PollFlags::OUT
}

/// The text of a record without anything that would end the line or drive a terminal, cut to a bounded length.
fn one_line(record: &Record<'_>) -> String {
    let full = record.args().to_string();
    let mut text = String::with_capacity(full.len().min(TEXT_BYTES_MAX));
    for c in full.chars() {
        if text.len() > TEXT_BYTES_MAX - '…'.len_utf8() - 8 {
            text.push('…');
            break;
        }
        if c.is_control() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{}", c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &str, logged: &str) {
        assert_eq!(
            one_line(&Record::builder().args(format_args!("{said}")).build()),
            logged
        );
    }

    #[test]
    fn a_record_is_one_bounded_line() {
        check("backend b1 is out", "backend b1 is out");
        check("a\r\nb\u{1b}[2J\u{9b}", r"a\r\nb\u{1b}[2J\u{9b}");
        for filler in ["x", "é", "\u{1b}", "🦀"] {
            let line = one_line(
                &Record::builder()
                    .args(format_args!("{}", filler.repeat(5_000)))
                    .build(),
            );
            assert!((3_400..=TEXT_BYTES_MAX).contains(&line.len()) && line.ends_with('…'));
        }
    }
}
