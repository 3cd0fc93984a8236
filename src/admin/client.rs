//! The other end of the control socket: `rondel reload`.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{Command, REPLY_BYTES_MAX, Reply};

/// Gives a command to the program whose control socket this is, and waits as long as it takes to be done.
///
/// # Errors
/// Nobody listens there, or what answers does not speak as we do.
pub fn ask(control: &Path, command: Command) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(control)?;
    stream.write_all(command.line().as_bytes())?;
    let mut text = String::new();
    // What is left out is told in a line, which has no length limit of its own.
    let most = 2 * REPLY_BYTES_MAX as u64;
    stream.take(most).read_to_string(&mut text)?;
    Reply::parse(&text)
        .ok_or_else(|| io::Error::new(ErrorKind::UnexpectedEof, "it ended without an answer"))
}
