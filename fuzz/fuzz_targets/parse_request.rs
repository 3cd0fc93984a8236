//! Any bytes as a request head: nothing panics, and what is forwarded reads as the one request that was judged.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use rondel::http::forward::{self, Facts};
use rondel::http::{Framing, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, Reject, Request, TARGET_BYTES_MAX};

fuzz_target!(|input: &[u8]| {
    for believed in [false, true] {
        check(input, believed);
    }
});

fn check(input: &[u8], believed: bool) {
    let mut out = Vec::new();
    let (len, judged) = match rewrite(input, "rondel", believed, &mut out) {
        Ok(Some(found)) => found,
        Ok(None) | Err(_) => {
            return assert!(out.is_empty(), "nothing is written before all is judged");
        }
    };
    assert!(0 < len && len <= input.len());
    assert!(
        judged.framing != Framing::UntilClose,
        "a request never ends with its connection"
    );
    let id = &out[usize::from(judged.id.start)..][..usize::from(judged.id.len)];
    assert!(!id.is_empty() && id.iter().all(u8::is_ascii_graphic));

    // What stands behind a head is none of its business, and less than the head is no head.
    let mut alone = Vec::new();
    let found = rewrite(&input[..len], "rondel", believed, &mut alone);
    assert_eq!((found, &alone), (Ok(Some((len, judged))), &out));
    for cut in (0..len).step_by(1 + len / 256) {
        assert_eq!(
            rewrite(&input[..cut], "rondel", believed, &mut alone),
            Ok(None),
            "cut at {cut}"
        );
    }

    // The next hop, as strict as we are, reads the same request and all of it. It may find that our own fields made it
    // too large, and that it was the last hop allowed.
    match rewrite(&out, "next", believed, &mut Vec::new()) {
        Ok(Some((len, read))) => {
            assert_eq!(len, out.len());
            assert_eq!(read.method, judged.method);
            assert_eq!(read.framing, judged.framing);
            assert_eq!(read.upgrade, judged.upgrade);
            assert_eq!(read.trailers, judged.trailers);
            assert_eq!(read.expects_continue, judged.expects_continue);
            assert!(read.keep_alive || judged.upgrade, "upstreams are kept");
        }
        Err(Reject::HeadTooLarge) => {
            let fields = out.iter().filter(|byte| **byte == b'\n').count() - 2;
            assert!(out.len() > HEAD_BYTES_MAX || fields > HEAD_FIELDS_MAX);
        }
        Err(Reject::TargetTooLong) => assert!(out.len() > TARGET_BYTES_MAX),
        Err(Reject::HopsSpent) => assert!(out.starts_with(b"OPTIONS ")),
        other => panic!("{other:?} from {:?}", String::from_utf8_lossy(&out)),
    }
}

/// Rewrites the head as the proxy of that name, for a client that is `believed` about others or is not.
fn rewrite(
    input: &[u8],
    name: &str,
    believed: bool,
    out: &mut Vec<u8>,
) -> Result<Option<(usize, Request)>, Reject> {
    let facts = Facts {
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        listener: SocketAddr::from(([192, 0, 2, 1], 8080)),
        trusts: |_: IpAddr| believed,
        name,
        forwarded: believed,
        id: b"0123456789abcdef",
    };
    forward::request(input, &facts, out)
}
