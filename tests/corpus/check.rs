//! Whether a case went as its verdict says: what reached the backend, what reached the client, who was answered by what.

use super::format::{After, Case, Kind, Outcome};
use super::stage::{Script, Stage, answer_body, write};
use crate::strict::meaning::{
    Answer, Asked, End, Meant, part_of_response, responses, whole_requests,
};
use crate::strict::reader::Message;

/// The request that is sent behind each case on the same connection.
const MARKER: &str = "GET /marker HTTP/1.1\r\nHost: marker\r\nConnection: close\r\n\r\n";
/// What is answered without a backend. With the answer, all that had come in before was seen.
const NO_REQUEST: &str = "\r\n\r\n";
/// The request that is sent after each case on a connection of its own.
const SENTINEL: &str = "GET /sentinel HTTP/1.1\r\nHost: sentinel\r\nConnection: close\r\n\r\n";

/// Plays a case; `Err` tells how it differs from its verdict.
pub(crate) fn check(case: &Case, stage: &Stage, in_pieces: bool) -> Result<(), String> {
    let (bytes, script) = match &case.asked {
        None => (case.bytes.clone(), Script::default()),
        Some(asked) => (
            asked.request("/case").into_bytes(),
            Script {
                bytes: case.bytes.clone(),
                after: case.after,
                early: asked.has("half"),
                in_pieces,
            },
        ),
    };
    stage.set_script(script.clone());
    let finish = case.asked.is_none() && case.after == After::Ends;
    let tunnels = case
        .outcomes
        .iter()
        .any(|outcome| outcome.meant.status == Some(101));
    let half = case.asked.as_ref().is_some_and(|asked| asked.has("half"));
    let marked = !finish && !tunnels && !half;
    let marker = if marked { MARKER.as_bytes() } else { b"" };
    let client = stage.connect();
    let (back, end) = if script.in_pieces {
        // Which request bytes are for that come when the next one is on its way, nobody can tell. So the next one is sent
        // when all of them have been seen.
        write(&client, &bytes, false);
        stage.await_script();
        stage.send(stage.connect(), NO_REQUEST.as_bytes(), false, false);
        // To a connection that is closed by now, writing would take the place of the news how it was closed.
        let marker = if case.is_kept() { marker } else { b"" };
        stage.send(client, marker, false, false)
    } else {
        stage.send(client, &[&bytes, marker].concat(), in_pieces, finish)
    };
    let (sentinel, _) = stage.send(stage.connect(), SENTINEL.as_bytes(), false, false);
    let recorded = stage.recorded();
    own_answer(&one(&sentinel, "GET")?.message, "GET", "/sentinel")?;
    let shown = |why: String| {
        let back = back.escape_ascii();
        format!("{why}\n  client got {end:?} {back}")
    };
    let kept = case.is_kept();
    at_backend(case, &recorded, kept, stage).map_err(shown)?;
    let checked = match &case.asked {
        None => to_requester(case, &back, end, kept),
        Some(asked) => {
            let asked = Asked {
                method: &asked.method,
                http10: asked.has("1.0"),
            };
            to_asker(case, asked, &back, end, kept)
        }
    };
    checked.map_err(shown)
}

/// Whether exactly the requests that were judged reached the backend, read by the strict reader, with no byte left over.
fn at_backend(
    case: &Case,
    recorded: &[(Vec<u8>, bool)],
    kept: bool,
    stage: &Stage,
) -> Result<(), String> {
    let in_part = may_arrive_in_part(case);
    let mut found = Vec::new();
    for (bytes, closed) in recorded {
        let read = whole_requests(bytes)
            .map_err(|why| format!("backend got {}: {why}", bytes.escape_ascii()))?;
        if read.1 > 0 && !(in_part && *closed) {
            let left = &bytes[bytes.len() - read.1..];
            return Err(format!("backend got besides: {}", left.escape_ascii()));
        }
        found.extend(read.0);
    }
    let mut meant: Vec<Meant> = match &case.asked {
        None => {
            let passes = case
                .outcomes
                .iter()
                .filter(|outcome| outcome.kind == Kind::Passes);
            passes
                .map(|outcome| located(&outcome.meant, stage))
                .collect()
        }
        Some(asked) if asked.has("half") => Vec::new(),
        Some(asked) => vec![request_meant(&asked.method, "/case", "h"); case.reached],
    };
    if kept {
        meant.push(request_meant("GET", "/marker", "marker"));
    }
    meant.push(request_meant("GET", "/sentinel", "sentinel"));
    if found.len() != meant.len() {
        let lines: Vec<&str> = found.iter().map(|message| message.start.as_str()).collect();
        return Err(format!(
            "backend got {lines:?}, not {} requests",
            meant.len()
        ));
    }
    for (message, meant) in found.iter().zip(&meant) {
        match &case.asked {
            None => meant.check(message)?,
            Some(_) => Meant {
                framing: message.framing()?,
                body: message.body.clone(),
                ..meant.clone()
            }
            .check(message)?,
        }
    }
    Ok(())
}

/// Whether the backend may see the beginning of a request that is never whole: its head was sound.
fn may_arrive_in_part(case: &Case) -> bool {
    let half = case.asked.as_ref().is_some_and(|asked| asked.has("half"));
    half || match case.outcomes.last().map(|outcome| &outcome.kind) {
        Some(Kind::Refused(_, reason)) => {
            matches!(
                reason.as_str(),
                "bad-chunk" | "bad-trailer" | "trailer-too-large"
            )
        }
        Some(Kind::Nothing) => true,
        Some(Kind::Passes | Kind::Truncated) | None => false,
    }
}

fn request_meant(method: &str, target: &str, host: &str) -> Meant {
    Meant {
        request: Some((method.to_owned(), target.to_owned(), host.to_owned())),
        ..Meant::default()
    }
}

/// What is meant, with our own address where the case names it.
fn located(meant: &Meant, stage: &Stage) -> Meant {
    let mut meant = meant.clone();
    if let Some((_, _, host)) = &mut meant.request {
        *host = host.replace("{listener}", &stage.listener().to_string());
    }
    meant
}

/// Whether the client that sent the requests of a case got an answer to each of its own, in order.
fn to_requester(case: &Case, back: &[u8], end: End, kept: bool) -> Result<(), String> {
    let head_first = case.bytes.starts_with(b"HEAD ");
    let mut asked = Vec::new();
    for outcome in &case.outcomes {
        let method = match &outcome.meant.request {
            Some((method, _, _)) => method.as_str(),
            None if head_first => "HEAD",
            None => "GET",
        };
        if outcome.kind != Kind::Nothing {
            asked.push(method);
        }
    }
    asked.extend(kept.then_some("GET"));
    let answers = read(back, &asked, false, end)?;
    let mut answers = answers.iter();
    for outcome in &case.outcomes {
        let Some(answer) = (match outcome.kind {
            Kind::Nothing => None,
            Kind::Passes | Kind::Refused(..) | Kind::Truncated => answers.next(),
        }) else {
            continue;
        };
        interims(answer, &outcome.interims)?;
        match (&outcome.kind, &outcome.meant.request) {
            (Kind::Refused(status, reason), _) => {
                own_reply(&answer.message, *status, reason, head_first)?
            }
            (_, Some((method, target, _))) => own_answer(&answer.message, method, target)?,
            (_, None) => return Err("a verdict for a request".to_owned()),
        }
    }
    if kept {
        let answer = answers.next().ok_or("no answer to the marker")?;
        own_answer(&answer.message, "GET", "/marker")?;
    }
    Ok(())
}

/// Whether the client got exactly the response that was judged, and the marker behind it its own.
fn to_asker(
    case: &Case,
    asked: Asked<'_>,
    back: &[u8],
    end: End,
    kept: bool,
) -> Result<(), String> {
    let [outcome] = &case.outcomes[..] else {
        return Err("a response has one verdict".to_owned());
    };
    if outcome.kind == Kind::Truncated {
        return truncated(outcome, asked, back, end);
    }
    let mut methods = vec![asked.method];
    methods.extend(kept.then_some("GET"));
    let answers = read(back, &methods, asked.http10, end)?;
    interims(&answers[0], &outcome.interims)?;
    match &outcome.kind {
        Kind::Refused(status, reason) => {
            own_reply(&answers[0].message, *status, reason, asked.method == "HEAD")?;
        }
        Kind::Passes | Kind::Truncated | Kind::Nothing => {
            outcome.meant.check(&answers[0].message)?;
        }
    }
    match answers.get(1) {
        Some(answer) => own_answer(&answer.message, "GET", "/marker"),
        None => Ok(()),
    }
}

/// Whether what the client got is a part of the response, and seen to be one.
fn truncated(outcome: &Outcome, asked: Asked<'_>, back: &[u8], end: End) -> Result<(), String> {
    if back.is_empty() {
        return Ok(());
    }
    let part = part_of_response(back, asked, end)?;
    if !part.start.is_empty() && Some(part.status()?) != outcome.meant.status {
        return Err(format!("a part of another response: {}", part.start));
    }
    if !outcome.meant.body.starts_with(&part.body) {
        return Err(format!("a body of {}", part.body.escape_ascii()));
    }
    Ok(())
}

/// The responses to requests with these methods, exactly.
fn read(back: &[u8], methods: &[&str], http10: bool, end: End) -> Result<Vec<Answer>, String> {
    let asked: Vec<Asked<'_>> = methods
        .iter()
        .map(|method| Asked { method, http10 })
        .collect();
    let answers = responses(back, &asked, end)?;
    if answers.len() == asked.len() {
        Ok(answers)
    } else {
        Err(format!("{} answers, not {}", answers.len(), asked.len()))
    }
}

fn one(back: &[u8], method: &str) -> Result<Answer, String> {
    let answer = read(back, &[method], false, End::Closed)?.pop();
    answer.ok_or_else(|| "one answer".to_owned())
}

fn interims(answer: &Answer, meant: &[u16]) -> Result<(), String> {
    let found: Result<Vec<u16>, String> = answer.interims.iter().map(Message::status).collect();
    let found = found?;
    if found == meant {
        Ok(())
    } else {
        Err(format!("interim responses {found:?} instead of {meant:?}"))
    }
}

/// Whether this is the backend's answer to that request.
fn own_answer(message: &Message, method: &str, target: &str) -> Result<(), String> {
    let body = answer_body(method, target);
    let shown = if method == "HEAD" { "" } else { &body };
    if message.status()? == 200 && message.body == shown.as_bytes() {
        Ok(())
    } else {
        Err(format!("instead of the {body:?}: {message:?}"))
    }
}

/// Whether this is our own reply, with that status and reason word.
fn own_reply(message: &Message, status: u16, reason: &str, head: bool) -> Result<(), String> {
    let text = String::from_utf8_lossy(&message.body).into_owned();
    let line = text.lines().next().unwrap_or_default();
    let told = head || line.ends_with(&format!(": {reason}"));
    if message.status()? == status && told {
        Ok(())
    } else {
        Err(format!(
            "{} {line:?} instead of {status} {reason}",
            message.start
        ))
    }
}
