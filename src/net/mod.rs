//! Sockets and bytes, nothing of HTTP.
//!
//! Reading order: [`stream`] (the two traits between us and the kernel), [`buffer`] (storage lent while bytes wait),
//! [`conn`] (one socket, and the only reads and writes in the program), [`proxy_header`] (whose connection it is, told by the
//! proxy before us).

pub mod buffer;
pub mod conn;
pub mod proxy_header;
pub mod stream;
