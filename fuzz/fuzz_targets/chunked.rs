//! Any bytes as a chunked body, in any pieces: nothing panics, every split gives what the whole gives, and what goes on
//! holds exactly the data of what came in.
//!
//! Input: a byte whose low bits say who reads the body, a byte with the number of pieces, so many bytes with their
//! lengths, and the body; what the lengths leave over is the last piece.

#![no_main]

#[path = "../../tests/strict/mod.rs"]
mod strict;

use libfuzzer_sys::fuzz_target;
use rondel::http::body::Body;
use rondel::http::{Framing, Method, Reject, Request, Response, Span, Version};
use strict::meaning::one_request;

fuzz_target!(|input: &[u8]| {
    let [who, pieces, rest @ ..] = input else {
        return;
    };
    let Some((lens, stream)) = rest.split_at_checked(usize::from(*pieces)) else {
        return;
    };
    let reader = Reader {
        response: who & 1 != 0,
        old: who & 2 != 0,
        trailers: who & 4 != 0,
    };
    let whole = run(reader, stream, &[]);
    let split = run(reader, stream, lens);
    match (&whole.end, &split.end) {
        (Err(whole), Err(split)) => return assert_eq!(whole, split),
        (whole, split) => assert_eq!(whole, split),
    }
    assert_eq!(whole.made, split.made);
    assert_eq!(whole.taken, split.taken);
    if whole.end != Ok(true) {
        let alone = reader.response && reader.old;
        let part = strictly(&whole.made);
        return assert!(alone || part.is_err(), "less than a body passes for one");
    }
    let data = data_of(&stream[..whole.taken]);
    if reader.response && reader.old {
        return assert_eq!(whole.made, data, "a client of 1.0 gets the data alone");
    }
    assert_eq!(data_of(&whole.made), data);
    let message =
        strictly(&whole.made).expect("a strict reader finds one body, and no byte left over");
    assert_eq!(message.body, data);
    assert!(reader.trailers || message.trailers.is_empty());
    let again = run(reader, &whole.made, &[]);
    assert_eq!(again.end, Ok(true));
    assert_eq!(
        again.made, whole.made,
        "what we wrote is written as we would write it"
    );
});

/// Reads a body as that of one request, by a reader that shares no code with us.
fn strictly(body: &[u8]) -> Result<strict::reader::Message, String> {
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    one_request(&[head, body].concat())
}

/// Who the body is for.
#[derive(Clone, Copy)]
struct Reader {
    /// It is a response's.
    response: bool,
    /// The client speaks 1.0.
    old: bool,
    /// The client takes trailers.
    trailers: bool,
}

/// What became of a body.
struct Outcome {
    /// Whether it was whole, or why it was refused.
    end: Result<bool, Reject>,
    /// How many of its bytes were taken.
    taken: usize,
    /// What goes on.
    made: Vec<u8>,
}

/// Lets a body pass in pieces of these lengths, then the rest.
fn run(reader: Reader, stream: &[u8], lens: &[u8]) -> Outcome {
    let mut body = body_for(reader);
    let mut outcome = Outcome {
        end: Ok(false),
        taken: 0,
        made: Vec::new(),
    };
    let mut waiting = Vec::new();
    let mut rest = stream;
    let lens = lens.iter().map(|len| usize::from(*len)).chain([usize::MAX]);
    for len in lens {
        let (piece, behind) = rest.split_at(len.min(rest.len()));
        waiting.extend_from_slice(piece);
        rest = behind;
        // A second look without new bytes finds nothing to do: nobody has to ask twice.
        for fresh in [true, false] {
            let passed = match body.pass(&mut waiting) {
                Ok(passed) => passed,
                Err(reject) => {
                    outcome.end = Err(reject);
                    return outcome;
                }
            };
            assert!(passed.made <= passed.taken && passed.taken <= waiting.len());
            assert!(fresh || passed.taken == 0, "something was left lying");
            outcome.made.extend_from_slice(&waiting[..passed.made]);
            outcome.taken += passed.taken;
            waiting.drain(..passed.taken);
            assert_eq!(
                body.may_end(),
                body.is_done(),
                "chunks do not end with the connection"
            );
            if body.is_done() {
                outcome.end = Ok(true);
                return outcome;
            }
        }
    }
    outcome
}

fn body_for(reader: Reader) -> Body {
    let request = Request {
        method: Method::Other,
        version: if reader.old {
            Version::Http10
        } else {
            Version::Http11
        },
        framing: Framing::Chunked,
        keep_alive: true,
        trailers: reader.trailers,
        upgrade: false,
        expects_continue: false,
        id: Span::default(),
    };
    if !reader.response {
        return Body::request(&request);
    }
    let response = Response {
        status: 200,
        framing: Framing::Chunked,
        keep_upstream: true,
        keep_client: true,
        trailers: reader.trailers,
    };
    Body::response(&response, &request)
}

/// The data of a chunked body that was found good, by the shortest reading there is.
fn data_of(mut body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let end = body
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("each size ends its line");
        let line = std::str::from_utf8(&body[..end]).expect("sizes and extensions are ASCII");
        let digits = line
            .trim_end()
            .split([';', ' ', '\t'])
            .next()
            .expect("a split has a first part");
        let size = usize::from_str_radix(digits, 16).expect("a size is hexadecimal");
        body = &body[end + 1..];
        if size == 0 {
            return data;
        }
        data.extend_from_slice(&body[..size]);
        body = body[size..]
            .strip_prefix(b"\r\n")
            .expect("data ends with a line");
    }
}
