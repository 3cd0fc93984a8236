//! Random configurations and requests, and what is foretold of them beside what happens.

pub(crate) mod compare;
pub(crate) mod configs;
pub(crate) mod downs;
pub(crate) mod requests;
pub(crate) mod routes;
