//! What is noted while a file is read: what is wrong with it, and, when nothing is read, what could stand in it.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::ops::Range;

use toml::de::DeTable;

use super::problem::{Problem, Source};
use super::section::{Absent, Key};

/// Most problems that are told of one file; of more only the number is.
pub const PROBLEMS_MAX: usize = 100;
/// Most names that are compared to guess what was meant, in one file.
const COMPARISONS_MAX: usize = 20_000;
/// Longest name that is compared, in bytes.
const COMPARED_BYTES_MAX: usize = 64;
/// How alike two names must be, from 0 to 1, that one may have been meant by the other.
const ALIKE_MIN: f64 = 0.8;

/// The notes.
pub(super) struct Book {
    /// What is no TOML.
    syntax: RefCell<Vec<Fault>>,
    /// What is wrong with what was read: of too many those that stand first in the file.
    faults: RefCell<Vec<Fault>>,
    more: Cell<usize>,
    compared: Cell<usize>,
    /// Keys of the top that have been asked for.
    top: RefCell<Vec<&'static str>>,
    /// Whether the text is no TOML. Then what seems to be missing may stand where it was not understood.
    is_broken: bool,
    /// The sections, if the reference is asked for.
    catalogue: Option<RefCell<Vec<Described>>>,
    empty: DeTable<'static>,
}

/// Something wrong.
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) expected: Option<String>,
    pub(super) suggestion: Option<String>,
}

impl Fault {
    pub(super) fn new(span: Range<usize>, message: String) -> Self {
        Self {
            span,
            message,
            expected: None,
            suggestion: None,
        }
    }
}

/// A section of the reference.
pub(super) struct Described {
    pub(super) header: String,
    pub(super) meaning: &'static str,
    pub(super) keys: Vec<DescribedKey>,
}

/// A key of the reference.
pub(super) struct DescribedKey {
    pub(super) name: &'static str,
    pub(super) kind: String,
    pub(super) absent: String,
    pub(super) meaning: &'static str,
}

impl Book {
    /// For a file; `is_broken` if it could not be understood as a whole.
    pub(super) fn for_file(is_broken: bool) -> Self {
        Self {
            syntax: RefCell::default(),
            faults: RefCell::default(),
            more: Cell::new(0),
            compared: Cell::new(0),
            top: RefCell::default(),
            is_broken,
            catalogue: None,
            empty: DeTable::new(),
        }
    }

    /// For the reference.
    pub(super) fn for_reference() -> Self {
        Self {
            catalogue: Some(RefCell::default()),
            ..Self::for_file(true)
        }
    }

    pub(super) fn is_catalogue(&self) -> bool {
        self.catalogue.is_some()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// What the reference is told; nothing when it is not asked for.
    pub(super) fn told(&self, text: &dyn Display) -> String {
        if self.is_catalogue() {
            text.to_string()
        } else {
            String::new()
        }
    }

    pub(super) fn note_key_of_top(&self, key: &'static str) {
        self.top.borrow_mut().push(key);
    }

    /// Whether the top has a key of this name.
    pub(super) fn is_of_top(&self, key: &str) -> bool {
        self.top.borrow().contains(&key)
    }

    /// Notes what is wrong with what was read.
    pub(super) fn note(&self, fault: Fault) {
        // In a text that is no TOML, what stands nowhere was made up where something was not understood.
        if !(self.is_broken && fault.span.is_empty()) {
            self.keep(&self.faults, fault);
        }
    }

    /// Notes what is no TOML.
    pub(super) fn note_syntax(&self, fault: Fault) {
        self.keep(&self.syntax, fault);
    }

    /// Keys come in the order of their names, not of the file: of too many faults the one that stands last is dropped.
    fn keep(&self, faults: &RefCell<Vec<Fault>>, fault: Fault) {
        let mut faults = faults.borrow_mut();
        if faults.len() < PROBLEMS_MAX {
            faults.push(fault);
            return;
        }
        self.more.set(self.more.get() + 1);
        if let Some(last) = faults.iter_mut().max_by_key(|kept| kept.span.start)
            && fault.span.start < last.span.start
        {
            *last = fault;
        }
    }

    /// Notes that something is not there.
    pub(super) fn absent(&self, span: Range<usize>, message: String) {
        if !self.is_broken {
            self.note(Fault::new(span, message));
        }
    }

    /// What was noted as [absent](Self::absent) is there after all, under a name with a slip in it.
    pub(super) fn take_back(&self, span: &Range<usize>, message: &str) {
        let mut faults = self.faults.borrow_mut();
        faults.retain(|fault| fault.span != *span || fault.message != message);
    }

    /// The name that was probably meant by another.
    pub(super) fn guess<'n>(
        &self,
        typed: &str,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Option<String> {
        let mut best: Option<(f64, &str)> = None;
        if typed.len() > COMPARED_BYTES_MAX {
            return None;
        }
        for name in names {
            if self.compared.get() >= COMPARISONS_MAX {
                break;
            }
            if name.len() > COMPARED_BYTES_MAX {
                continue;
            }
            self.compared.set(self.compared.get() + 1);
            let typed = typed.to_lowercase();
            let mut alike = strsim::jaro_winkler(&typed, name);
            // In a short name two letters that changed places make nearly all of it different.
            if name.len() > 2 && strsim::osa_distance(&typed, name) == 1 {
                alike = alike.max(ALIKE_MIN);
            }
            if alike >= ALIKE_MIN && best.is_none_or(|(most, _)| alike > most) {
                best = Some((alike, name));
            }
        }
        best.map(|(_, name)| name.to_owned())
    }

    /// An empty section, to be asked for everything.
    pub(super) fn empty(&self) -> &DeTable<'static> {
        &self.empty
    }

    /// Begins a section of the reference; gives where it stands there.
    pub(super) fn begin(&self, header: &str, meaning: &'static str) -> usize {
        let Some(catalogue) = &self.catalogue else {
            return 0;
        };
        let mut sections = catalogue.borrow_mut();
        sections.push(Described {
            header: header.to_owned(),
            meaning,
            keys: Vec::new(),
        });
        sections.len() - 1
    }

    /// Tells the reference of a key.
    pub(super) fn describe(&self, entry: usize, key: &Key<'_>, inherits: bool) {
        let Some(catalogue) = &self.catalogue else {
            return;
        };
        catalogue.borrow_mut()[entry].keys.push(DescribedKey {
            name: key.name,
            kind: key.kind.to_owned(),
            absent: match key.absent {
                _ if inherits => "as at the top".to_owned(),
                Absent::Required => "required".to_owned(),
                Absent::Is(value) => format!("default `{value}`"),
                Absent::Means(text) => format!("if left out: {text}"),
            },
            meaning: key.meaning,
        });
    }

    /// What is wrong, in the order of the file. Of a line that is no TOML only the first place is told: what follows there, and
    /// what seemed to stand there, is a guess.
    pub(super) fn problems(self, source: &Source) -> Vec<Problem> {
        let line = |fault: &Fault| source.position(fault.span.start).0;
        let mut faults = self.syntax.into_inner();
        faults.sort_by_key(|fault| fault.span.start);
        faults.dedup_by_key(|fault| line(fault));
        let broken: Vec<usize> = faults.iter().map(line).collect();
        let mut read = self.faults.into_inner();
        read.retain(|fault| broken.binary_search(&line(fault)).is_err());
        faults.append(&mut read);
        faults.sort_by_key(|fault| fault.span.start);
        let dropped = faults.len().saturating_sub(PROBLEMS_MAX);
        faults.truncate(PROBLEMS_MAX);
        self.more.set(self.more.get() + dropped);
        let mut problems: Vec<Problem> = faults
            .into_iter()
            .map(|fault| Problem {
                expected: fault.expected,
                suggestion: fault.suggestion,
                ..source.problem(fault.span, fault.message)
            })
            .collect();
        if let (1.., Some(last)) = (self.more.get(), problems.last()) {
            let message = format!("and {} more, not shown", self.more.get());
            problems.push(source.problem(last.span.clone(), message));
        }
        problems
    }

    /// What could stand in a file.
    pub(super) fn described(self) -> Vec<Described> {
        self.catalogue.map(RefCell::into_inner).unwrap_or_default()
    }
}
