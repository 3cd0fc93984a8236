//! Any bytes as a response head: nothing panics, and what the client gets reads as the one response that was judged.

#![no_main]

#[path = "../../tests/strict/mod.rs"]
mod strict;

use libfuzzer_sys::fuzz_target;
use rondel::http::body::Body;
use rondel::http::forward::{self, Asked};
use rondel::http::{
    Framing, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, Method, Reject, Request, Response, Span, Version,
};
use strict::meaning::{self, End, one_response, part_of_response};

/// The date that is written where the backend gave none.
const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

/// A plain GET from a client of today.
const GET: Request = Request {
    method: Method::Idempotent,
    version: Version::Http11,
    framing: Framing::None,
    keep_alive: true,
    trailers: false,
    upgrade: false,
    expects_continue: false,
    id: Span { start: 0, len: 0 },
};

fuzz_target!(|input: &[u8]| {
    check(input, GET, false);
    check(input, GET, true);
    check(
        input,
        Request {
            method: Method::Head,
            ..GET
        },
        false,
    );
    check(
        input,
        Request {
            version: Version::Http10,
            ..GET
        },
        false,
    );
    check(
        input,
        Request {
            version: Version::Http10,
            keep_alive: false,
            ..GET
        },
        false,
    );
    check(
        input,
        Request {
            upgrade: true,
            trailers: true,
            ..GET
        },
        false,
    );
});

fn check(input: &[u8], request: Request, close: bool) {
    let mut out = Vec::new();
    let (len, judged) = match rewrite(input, &request, close, &mut out) {
        Ok(Some(found)) => found,
        Ok(None) | Err(_) => {
            return assert!(out.is_empty(), "nothing is written before all is judged");
        }
    };
    assert!(0 < len && len <= input.len());
    assert!((100..1000).contains(&judged.status));
    assert!(
        judged.status != 101 || request.upgrade,
        "only what was asked for is upgraded"
    );

    // What stands behind a head is none of its business, and less than the head is no head.
    let mut alone = Vec::new();
    let found = rewrite(&input[..len], &request, close, &mut alone);
    assert_eq!((found, &alone), (Ok(Some((len, judged))), &out));
    for cut in (0..len).step_by(1 + len / 256) {
        assert_eq!(
            rewrite(&input[..cut], &request, close, &mut alone),
            Ok(None),
            "cut at {cut}"
        );
    }

    // A client of 1.0 knows no interim responses.
    if judged.is_interim() && request.version == Version::Http10 {
        return assert!(out.is_empty());
    }
    assert!(judged.is_interim() || judged.status == 101 || !(close && judged.keep_client));

    strictly(&input[len..], &out, &request, &judged);

    // The client, as strict as we are, reads the same response and all of it. Our own fields may have made it too large.
    match rewrite(&out, &request, close, &mut Vec::new()) {
        Ok(Some((len, read))) => {
            assert_eq!(len, out.len());
            assert_eq!(read.status, judged.status);
            same_end(&request, &judged, &read);
            if !judged.is_interim() && judged.status != 101 {
                assert_eq!(
                    read.keep_upstream,
                    judged.keep_client,
                    "{:?}",
                    String::from_utf8_lossy(&out)
                );
            }
        }
        Err(Reject::HeadTooLarge) => {
            let fields = out.iter().filter(|byte| **byte == b'\n').count() - 2;
            assert!(out.len() > HEAD_BYTES_MAX || fields > HEAD_FIELDS_MAX);
        }
        other => panic!("{other:?} from {:?}", String::from_utf8_lossy(&out)),
    }
}

/// What goes to the client, head and body, is exactly one response for a strict reader that shares no code with us, and if
/// it came in part it is seen to be a part. As a body serves what stands behind the head.
fn strictly(behind: &[u8], head: &[u8], request: &Request, judged: &Response) {
    if judged.is_interim() || judged.status == 101 {
        return;
    }
    let asked = meaning::Asked {
        method: match request.method {
            Method::Head => "HEAD",
            Method::Idempotent | Method::Other => "GET",
        },
        http10: request.version == Version::Http10,
    };
    let (mut bytes, mut all) = (behind.to_vec(), head.to_vec());
    let mut body = Body::response(judged, request);
    let passed = body.pass(&mut bytes);
    if let Ok(passed) = passed {
        let made = &bytes[..passed.made];
        match body.chunk(made.len()) {
            None => all.extend_from_slice(made),
            Some(chunk) => all.extend([chunk.before(), made, chunk.behind()].concat()),
        }
    }
    if passed.is_err() || !body.is_done() {
        // Where only the end of the connection tells the end, the proxy resets it.
        let end = match judged.framing.for_client(request.version) {
            Framing::UntilClose => End::Reset,
            Framing::None | Framing::Length(_) | Framing::Chunked => End::Closed,
        };
        let part = part_of_response(&all, asked, end);
        part.unwrap_or_else(|why| panic!("{why}: {:?}", String::from_utf8_lossy(&all)));
    }
    if passed.is_err() || !body.may_end() {
        return;
    }
    all.extend_from_slice(body.last_chunk());
    let answer = one_response(&all, asked, End::Closed);
    let answer = answer.unwrap_or_else(|why| panic!("{why}: {:?}", String::from_utf8_lossy(&all)));
    assert_eq!(answer.message.status(), Ok(judged.status));
    assert!(request.trailers || answer.message.trailers.is_empty());
    match judged.framing {
        Framing::None => assert!(answer.message.body.is_empty()),
        Framing::Length(length) => assert_eq!(answer.message.body, behind[..length as usize]),
        Framing::UntilClose => assert_eq!(answer.message.body, behind),
        Framing::Chunked => assert!(answer.message.body.len() <= behind.len()),
    }
}

/// How the body ends for the client follows from how it ends for us: what we can count stays counted, and what ends with
/// the connection comes in chunks where the client knows them, or closes its connection too.
fn same_end(request: &Request, judged: &Response, read: &Response) {
    match (judged.framing, request.version) {
        (Framing::None | Framing::Length(_), _) => assert_eq!(read.framing, judged.framing),
        (Framing::Chunked | Framing::UntilClose, Version::Http10) => {
            assert_eq!(read.framing, Framing::UntilClose);
            assert!(!judged.keep_client);
        }
        (Framing::Chunked | Framing::UntilClose, Version::Http11) => {
            assert_eq!(read.framing, Framing::Chunked);
        }
    }
}

fn rewrite(
    input: &[u8],
    request: &Request,
    close: bool,
    out: &mut Vec<u8>,
) -> Result<Option<(usize, Response)>, Reject> {
    let asked = Asked {
        request,
        close,
        date: DATE,
        edits: None,
        set_cookie: None,
    };
    forward::response(input, &asked, out, Vec::reserve)
}
