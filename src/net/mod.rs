//! Sockets and bytes, nothing of HTTP.
//!
//! Reading order: [`stream`] (the two traits between us and the kernel), [`buffer`] (storage lent while bytes wait),
//! [`conn`] (one socket, and the only reads and writes in the program).

pub mod buffer;
pub mod conn;
pub mod stream;
