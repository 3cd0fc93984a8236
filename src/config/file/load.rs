//! From a path to what the file there says.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::problem::Source;
use super::{Element, FILE_BYTES_MAX, Problem, Read, read};

/// Why a file cannot be used. Displays as lines that say all of it.
#[derive(Debug)]
pub enum Unusable {
    /// It cannot be read.
    Io {
        /// The file, as it was named.
        file: String,
        /// What the system said.
        error: io::Error,
    },
    /// What it says is wrong, in the order of the file.
    Problems(Vec<Problem>),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { file, error } => write!(f, "{file}: the file cannot be read: {error}"),
            Self::Problems(problems) => {
                for (i, problem) in problems.iter().enumerate() {
                    let gap = if i == 0 { "" } else { "\n" };
                    write!(f, "{gap}{}", problem.to_string().trim_end())?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Unusable {}

/// Reads the file at `path`; `-` is standard input. Nothing is resolved.
///
/// # Errors
/// When it cannot be read, or what it says is wrong: then all of that.
pub fn load(path: &Path) -> Result<Read, Unusable> {
    let is_stdin = path.as_os_str() == "-";
    let name = if is_stdin {
        "<stdin>".to_owned()
    } else {
        path.display().to_string()
    };
    // One byte more tells that it is too long.
    let most = FILE_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let read_all = if is_stdin {
        io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    if let Err(error) = read_all {
        return Err(Unusable::Io { file: name, error });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        let message = "the file is not UTF-8".to_owned();
        Unusable::Problems(vec![Source::new(&name, &text).problem(at..at, message)])
    })?;
    read(&name, &text).map_err(Unusable::Problems)
}

impl Read {
    /// Asks the system's resolver for the addresses of all backends that have none yet. Blocks.
    ///
    /// # Errors
    /// All names that have no address, each with what the resolver said. What was resolved stays so.
    pub fn resolve(&mut self) -> Result<(), Unusable> {
        let mut problems = Vec::new();
        for i in 0..self.config.pools.len() {
            if (self.config.pools[i].backends.iter()).all(|backend| !backend.addrs.is_empty()) {
                continue;
            }
            for (j, backend) in self.config.pool_mut(i).backends.iter_mut().enumerate() {
                if !backend.addrs.is_empty() {
                    continue;
                }
                match backend.server.resolve() {
                    Ok(addrs) => backend.addrs = addrs,
                    Err(why) => {
                        let message = format!("address {:?}: {why}", backend.server.to_string());
                        let element = Element::Backend(i, j);
                        problems.push(self.places.problem(element, Some("address"), message));
                    }
                }
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Unusable::Problems(problems))
        }
    }
}
