//! What went over a wire, read by nobody's code but its own.

pub(crate) mod reader;
