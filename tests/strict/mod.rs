//! What went over a wire, read by nobody's code but its own: the one check of meaning for the simulation, the corpus and
//! the fuzz targets. Whatever goes to a peer must be read here as exactly the message that was judged, with no byte left
//! over.

#![allow(dead_code, reason = "each user takes its part of this")]

pub(crate) mod meaning;
pub(crate) mod reader;
