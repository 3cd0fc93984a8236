//! Any bytes as a header of the PROXY protocol: nothing panics, where the input is cut makes no difference, whatever is
//! waited for can come, and a source that was read is the same after it was written and read again.

#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use rondel::config::ProxyVersion;
use rondel::net::proxy_header::{HEADER_BYTES_MAX, read, write};

fuzz_target!(|input: &[u8]| {
    let whole = read(input);
    let judged = &input[..input.len().min(HEADER_BYTES_MAX)];
    assert_eq!(read(judged), whole, "a header has so many bytes at most");
    // Once there is an answer it stays.
    let settled = (0..=judged.len()).find(|len| read(&judged[..*len]) != Ok(None));
    for len in settled.unwrap_or(judged.len())..=judged.len() {
        assert_eq!(read(&judged[..len]), whole, "cut at {len}");
    }
    match whole {
        Ok(None) => {
            let more = |byte: u8| read(&[input, &[byte]].concat()).is_ok();
            assert!((0..=255).any(more), "nothing may follow");
        }
        Ok(Some((len, source))) => {
            assert_eq!(Some(len), settled, "it ends where it is known");
            if let Some(source) = source {
                assert_eq!(source.ip(), source.ip().to_canonical());
                told_on(source);
            }
        }
        Err(malformed) => assert!(malformed.at < HEADER_BYTES_MAX),
    }
});

/// The next proxy reads the same source, whatever the destination is.
fn told_on(source: SocketAddr) {
    let v4 = SocketAddr::from(([192, 0, 2, 1], 80));
    let v6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 80));
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        for destination in [source, v4, v6] {
            let mut header = Vec::new();
            write(version, source, destination, &mut header);
            assert_eq!(read(&header), Ok(Some((header.len(), Some(source)))));
        }
    }
}
