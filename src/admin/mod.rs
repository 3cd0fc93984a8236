//! What is asked of the running program: one command per connection to its control socket, a line of text, answered by lines of
//! text, the last of which is `ok` or `failed`.

pub mod client;

/// Longest command, in bytes, its line end included.
pub const COMMAND_BYTES_MAX: usize = 256;
/// Longest reply, in bytes; lines that would make it longer are left out, and their number is told.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// The last line of a reply.
const OK: &str = "ok";
const FAILED: &str = "failed";

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read the configuration again and serve it. Answered when that is done.
    Reload,
}

impl Command {
    /// Reads a line, its end included or not.
    ///
    /// # Errors
    /// It is no command; says what is.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        match line.trim_ascii_end() {
            b"reload" => Ok(Self::Reload),
            other => Err(format!(
                "\"{}\" is no command; expected reload",
                other.escape_ascii()
            )),
        }
    }

    /// The line that says it.
    #[must_use]
    pub fn line(self) -> &'static str {
        match self {
            Self::Reload => "reload\n",
        }
    }
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Whether it was done.
    pub done: bool,
    /// What there is to say of it.
    pub lines: Vec<String>,
}

impl Reply {
    /// It was done.
    #[must_use]
    pub fn done(lines: Vec<String>) -> Self {
        Self { done: true, lines }
    }

    /// It was not, and this is why.
    #[must_use]
    pub fn failed(lines: Vec<String>) -> Self {
        Self { done: false, lines }
    }

    /// As it is sent, at most about [`REPLY_BYTES_MAX`].
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        for (i, line) in self.lines.iter().enumerate() {
            if text.len() + line.len() > REPLY_BYTES_MAX {
                text += &format!("… and {} more lines\n", self.lines.len() - i);
                break;
            }
            text += line;
            text.push('\n');
        }
        text += if self.done { OK } else { FAILED };
        text.push('\n');
        text.into_bytes()
    }

    /// Reads a whole reply; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines: Vec<String> = text
            .strip_suffix('\n')?
            .split('\n')
            .map(str::to_owned)
            .collect();
        let done = match lines.pop()?.as_str() {
            OK => true,
            FAILED => false,
            _ => return None,
        };
        Some(Self { done, lines })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_line() {
        for line in [&b"reload\n"[..], b"reload\r\n", b"reload"] {
            assert_eq!(Command::parse(line), Ok(Command::Reload));
        }
        assert_eq!(
            Command::parse(Command::Reload.line().as_bytes()),
            Ok(Command::Reload)
        );
        let error = Command::parse(b"re\x1bload\n").unwrap_err();
        assert_eq!(error, "\"re\\x1bload\" is no command; expected reload");
        assert!(Command::parse(b"").is_err());
    }

    #[test]
    fn a_reply_comes_out_as_it_went_in() {
        for lines in [
            vec![],
            vec!["ok".to_owned()],
            vec!["a".to_owned(), "failed".to_owned()],
        ] {
            for reply in [Reply::done(lines.clone()), Reply::failed(lines)] {
                let text = String::from_utf8(reply.bytes()).unwrap();
                assert_eq!(Reply::parse(&text), Some(reply));
            }
        }
        for text in ["", "ok", "a\n", "\n", "a\nok"] {
            assert_eq!(Reply::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_reply_is_bounded() {
        let reply = Reply::failed(vec!["x".repeat(1000); 1000]);
        let text = String::from_utf8(reply.bytes()).unwrap();
        assert!(text.len() < REPLY_BYTES_MAX + 2000);
        let more = 1000 - text.lines().count() + 2;
        assert!(text.ends_with(&format!("… and {more} more lines\nfailed\n")));
    }
}
