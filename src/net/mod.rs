//! Sockets and bytes, nothing of HTTP.

pub mod stream;
