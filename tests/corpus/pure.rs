//! The same cases without sockets: through `rondel::http` as a whole and byte by byte, and both come to the same.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rondel::http::body::{Body, Passed};
use rondel::http::forward::{self, Asked, Facts};
use rondel::http::{Reject, Request};

use super::format::{After, Case, Kind};
use crate::strict::meaning::{self, End, one_request};

/// Cases that are longer are cut more coarsely: what counts is around their lines, and time is limited.
const EVERY_BYTE_MAX: usize = 2048;

const LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1)), 80);

/// What became of a stream of bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Messages that went on whole.
    whole: Vec<Vec<u8>>,
    /// What went on of one that is not whole.
    part: Vec<u8>,
    reject: Option<Reject>,
}

impl Outcome {
    /// What was judged goes on, in a chunk where the body is put in chunks.
    fn pass_on(&mut self, body: &Body, waiting: &mut Vec<u8>, passed: Passed) {
        let chunk = body.chunk(passed.made);
        let (before, behind) = match &chunk {
            Some(chunk) => (chunk.before(), chunk.behind()),
            None => (&b""[..], &b""[..]),
        };
        let made = &waiting[..passed.made];
        self.part.extend([before, made, behind].concat());
        waiting.drain(..passed.taken);
    }
}

/// Whether the requests of a case go on as its verdict says, wherever they are cut.
pub(crate) fn check_request(case: &Case) -> Result<(), String> {
    let whole = requests(&case.bytes, case.bytes.len().max(1));
    if case.bytes.len() <= EVERY_BYTE_MAX {
        let split = requests(&case.bytes, 1);
        if (&split.whole, split.reject) != (&whole.whole, whole.reject) {
            return Err(format!("byte by byte {split:?}, as a whole {whole:?}"));
        }
    }
    let mut passed = whole.whole.iter();
    for outcome in &case.outcomes {
        match &outcome.kind {
            Kind::Passes => {
                let bytes = passed.next().ok_or("too few went on")?;
                let mut meant = outcome.meant.clone();
                if let Some((_, _, host)) = &mut meant.request {
                    *host = host.replace("{listener}", &LISTENER.to_string());
                }
                meant.check(&one_request(bytes)?)?;
            }
            // Where only what follows makes it wrong, it is not refused yet.
            Kind::Refused(status, reason) => match whole.reject {
                Some(reject) if (reject.status(), reject.reason()) == (*status, reason) => {}
                None if one_request(&whole.part).is_err() => {}
                other => return Err(format!("{other:?} instead of {status} {reason}")),
            },
            Kind::Nothing if whole.reject.is_none() => {}
            Kind::Truncated | Kind::Nothing => return Err(format!("{:?}", whole.reject)),
        }
    }
    match passed.next() {
        None => Ok(()),
        Some(more) => Err(format!("more went on: {}", more.escape_ascii())),
    }
}

/// Lets the requests in `bytes` go on as they come in pieces, up to the one that ends its connection.
fn requests(bytes: &[u8], piece: usize) -> Outcome {
    let facts = Facts {
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        local: || LISTENER,
        trusts: |_: IpAddr| false,
        name: "rondel",
        forwarded: false,
        id: b"0123456789abcdef",
    };
    let (mut outcome, mut waiting) = (Outcome::default(), Vec::new());
    let mut under_way: Option<(Request, Body)> = None;
    for piece in bytes.chunks(piece) {
        waiting.extend_from_slice(piece);
        loop {
            if let Some((request, body)) = &mut under_way {
                match body.pass(&mut waiting) {
                    Ok(passed) => outcome.pass_on(body, &mut waiting, passed),
                    Err(reject) => {
                        outcome.reject = Some(reject);
                        return outcome;
                    }
                }
                if !body.is_done() {
                    break;
                }
                outcome.whole.push(std::mem::take(&mut outcome.part));
                if !request.keep_alive {
                    return outcome;
                }
                under_way = None;
            }
            match forward::request(
                &waiting,
                &facts,
                forward::unchanged,
                &mut outcome.part,
                Vec::reserve,
            ) {
                Ok(None) => break,
                Ok(Some((len, request))) => {
                    waiting.drain(..len);
                    under_way = Some((request, Body::request(&request)));
                }
                Err(reject) => {
                    outcome.reject = Some(reject);
                    return outcome;
                }
            }
        }
    }
    outcome
}

/// Whether the response of a case goes on as its verdict says, wherever it is cut.
pub(crate) fn check_response(case: &Case) -> Result<(), String> {
    let Some(asked) = &case.asked else {
        return Err("what was asked?".to_owned());
    };
    let request = asked.request("/case");
    let sent = requests(request.as_bytes(), request.len());
    if sent.reject.is_some() {
        return Err(format!("the request itself is refused: {sent:?}"));
    }
    let half = asked.has("half");
    let whole = response(case, case.bytes.len().max(1), &request, half);
    if case.bytes.len() <= EVERY_BYTE_MAX {
        let split = response(case, 1, &request, half);
        if (&split.whole, split.reject) != (&whole.whole, whole.reject) {
            return Err(format!("byte by byte {split:?}, as a whole {whole:?}"));
        }
    }
    let asked = meaning::Asked {
        method: &asked.method,
        http10: asked.has("1.0"),
    };
    let all = [whole.whole.concat(), whole.part].concat();
    let last = case.outcomes.last().ok_or("no verdict")?;
    match last.kind {
        Kind::Passes => {
            let end = if whole.reject.is_none() {
                End::Closed
            } else {
                End::Reset
            };
            let answer = meaning::one_response(&all, asked, end)?;
            last.meant.check(&answer.message)
        }
        // How many interim responses may come is not for `http` to say.
        Kind::Refused(_, ref reason) if reason == "too-many-interim" => Ok(()),
        // What breaks off is a part, even if its end were taken for an end in order.
        Kind::Truncated if asked.http10 || last.meant.framing.is_none() => Ok(()),
        Kind::Truncated | Kind::Refused(..) | Kind::Nothing => {
            match meaning::one_response(&all, asked, End::Closed) {
                Ok(answer) => Err(format!("a whole response: {:?}", answer.message)),
                Err(_) => Ok(()),
            }
        }
    }
}

/// Lets the response of a case go on as it comes in pieces, with the interim ones before it; `close` for a request that
/// never came in whole.
fn response(case: &Case, piece: usize, request: &str, close: bool) -> Outcome {
    let facts = Facts {
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        local: || LISTENER,
        trusts: |_: IpAddr| false,
        name: "rondel",
        forwarded: false,
        id: b"0",
    };
    let judged = forward::request(
        request.as_bytes(),
        &facts,
        forward::unchanged,
        &mut Vec::new(),
        Vec::reserve,
    );
    let (mut outcome, mut waiting) = (Outcome::default(), Vec::new());
    let Ok(Some((_, request))) = judged else {
        return outcome;
    };
    let asked = Asked {
        request: &request,
        close,
        date: b"Sun, 06 Nov 1994 08:49:37 GMT",
        edits: None,
        set_cookie: None,
    };
    let mut under_way: Option<Body> = None;
    for piece in case.bytes.chunks(piece) {
        waiting.extend_from_slice(piece);
        loop {
            if let Some(body) = &mut under_way {
                match body.pass(&mut waiting) {
                    Ok(passed) => outcome.pass_on(body, &mut waiting, passed),
                    Err(reject) => {
                        outcome.reject = Some(reject);
                        return outcome;
                    }
                }
                if body.is_done() {
                    outcome.whole.push(std::mem::take(&mut outcome.part));
                    return outcome;
                }
                break;
            }
            match forward::response(&waiting, &asked, &mut outcome.part, Vec::reserve) {
                Ok(None) => break,
                Ok(Some((len, response))) => {
                    waiting.drain(..len);
                    if response.is_interim() {
                        outcome.whole.push(std::mem::take(&mut outcome.part));
                    } else if response.status == 101 {
                        under_way = Some(Body::until_close());
                    } else {
                        under_way = Some(Body::response(&response, &request));
                    }
                }
                Err(reject) => {
                    outcome.reject = Some(reject);
                    return outcome;
                }
            }
        }
    }
    if let Some(body) = under_way
        && body.may_end()
        && case.after == After::Ends
    {
        outcome.part.extend_from_slice(body.last_chunk());
    }
    outcome
}
