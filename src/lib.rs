//! rondel: an HTTP/1.1 load balancer in one thread.

#![forbid(unsafe_code)]

pub mod balance;
pub mod cli;
pub mod config;
pub mod http;
pub mod net;
pub mod proxy;
