//! What of the proxy the runs have reached: every phase, every row of the failure table, every word that a client is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rondel::http::Reject;
use rondel::proxy::Doing;
use rondel::proxy::failure::Failure;

use super::faults::Fault;

/// The phases in which a session is found between two ticks.
const PHASES: [Doing; 8] = [
    Doing::Preface,
    Doing::Request,
    Doing::Hold,
    Doing::Connect,
    Doing::Exchange,
    Doing::Tunnel,
    Doing::Reply,
    Doing::Linger,
];

/// The rows of the failure table that say all by themselves.
const ROWS: [Failure; 28] = [
    Failure::HeadTimeout,
    Failure::ClientIdle,
    Failure::ClientGone,
    Failure::RequestBodyTimeout,
    Failure::RequestBodySlow,
    Failure::ClientWriteTimeout,
    Failure::ClientWriteSlow,
    Failure::NoRoute,
    Failure::NoBackend,
    Failure::HoldTimeout,
    Failure::QueueFull,
    Failure::BadProxyHeader,
    Failure::Exhausted,
    Failure::ConnectRefused,
    Failure::ConnectUnreachable,
    Failure::ConnectTimeout,
    Failure::UpstreamSpokeFirst,
    Failure::ReusedUpstreamClosed,
    Failure::UpstreamClosed,
    Failure::UpstreamClosedDuringRequest,
    Failure::ContinueTimeout,
    Failure::UpstreamWriteTimeout,
    Failure::TooManyInterim,
    Failure::ResponseTimeout,
    Failure::ResponseTruncated,
    Failure::ResponseBodyTimeout,
    Failure::TunnelIdle,
    Failure::TunnelBroken,
];

/// Told to stop, and cut short: a row too, and the only one that needs the drain.
const LAST_ROW: Failure = Failure::DrainTimeout;

/// What may be wrong with a message.
const REJECTS: [Reject; 17] = [
    Reject::Malformed,
    Reject::BadTarget,
    Reject::AmbiguousPath,
    Reject::BadHost,
    Reject::BadFraming,
    Reject::BadChunk,
    Reject::BadTrailer,
    Reject::BodyTooLarge,
    Reject::TargetTooLong,
    Reject::HeadTooLarge,
    Reject::TrailerTooLarge,
    Reject::MethodRefused,
    Reject::ExpectationUnknown,
    Reject::CodingUnknown,
    Reject::VersionUnknown,
    Reject::Loop,
    Reject::HopsSpent,
];

/// Every row that there is. A new variant stops the match in [`parts`] from compiling: it belongs into a list above.
fn rows() -> BTreeSet<String> {
    let rejected = REJECTS.into_iter().flat_map(parts);
    let plain = ROWS.into_iter().chain([LAST_ROW]);
    plain.chain(rejected).map(name).collect()
}

/// The rows that a reject may come up in: any for a request; in a response only what its head or its body can be.
fn parts(reject: Reject) -> Vec<Failure> {
    let response = match reject {
        Reject::Malformed
        | Reject::BadFraming
        | Reject::BodyTooLarge
        | Reject::HeadTooLarge
        | Reject::CodingUnknown => Some(Failure::BadResponseHead(reject)),
        Reject::BadChunk | Reject::BadTrailer | Reject::TrailerTooLarge => {
            Some(Failure::BadResponseBody(reject))
        }
        Reject::BadTarget
        | Reject::AmbiguousPath
        | Reject::BadHost
        | Reject::TargetTooLong
        | Reject::MethodRefused
        | Reject::ExpectationUnknown
        // What does not begin as a response of 1.0 or 1.1 is none at all.
        | Reject::VersionUnknown
        | Reject::Loop
        | Reject::HopsSpent => None,
    };
    [Failure::Rejected(reject)]
        .into_iter()
        .chain(response)
        .collect()
}

/// A row by name: its reason word, and what was wrong with the message.
fn name(failure: Failure) -> String {
    let word = failure.consequence().reason;
    match failure {
        Failure::BadResponseHead(reject) | Failure::BadResponseBody(reject) => {
            format!("{word}/{}", reject.reason())
        }
        Failure::Rejected(_)
        | Failure::HeadTimeout
        | Failure::ClientIdle
        | Failure::ClientGone
        | Failure::RequestBodyTimeout
        | Failure::RequestBodySlow
        | Failure::ClientWriteTimeout
        | Failure::ClientWriteSlow
        | Failure::NoRoute
        | Failure::NoBackend
        | Failure::HoldTimeout
        | Failure::QueueFull
        | Failure::BadProxyHeader
        | Failure::Exhausted
        | Failure::ConnectRefused
        | Failure::ConnectUnreachable
        | Failure::ConnectTimeout
        | Failure::UpstreamSpokeFirst
        | Failure::ReusedUpstreamClosed
        | Failure::UpstreamClosed
        | Failure::UpstreamClosedDuringRequest
        | Failure::ContinueTimeout
        | Failure::UpstreamWriteTimeout
        | Failure::TooManyInterim
        | Failure::ResponseTimeout
        | Failure::ResponseTruncated
        | Failure::ResponseBodyTimeout
        | Failure::TunnelIdle
        | Failure::TunnelBroken
        | Failure::DrainTimeout => word.to_owned(),
    }
}

/// The words that clients are told in replies of the proxy's own.
fn words() -> BTreeSet<String> {
    let rejected = REJECTS.into_iter().map(Failure::Rejected);
    let heads = [
        Failure::BadResponseHead(Reject::Malformed),
        Failure::BadResponseBody(Reject::BadChunk),
    ];
    let all = ROWS
        .into_iter()
        .chain([LAST_ROW])
        .chain(heads)
        .chain(rejected);
    all.map(Failure::consequence)
        .filter(|consequence| consequence.status.is_some())
        .map(|consequence| consequence.reason.to_owned())
        .collect()
}

/// What the proxy as a whole may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Failures took a backend out.
    BackendOut,
    /// A trial brought one back.
    BackendIn,
    /// None is live.
    AllOut,
    /// There are as many sessions as there may be.
    Full,
    /// Upstreams wait for reuse.
    Idle,
    /// Bytes were spliced.
    Spliced,
    /// Bytes that were spliced wait for room.
    Piped,
    /// So many clients left that one of those that stay got another key.
    Moved,
    /// Another configuration was taken over.
    Reloaded,
    /// The end of the drain, or a second signal, ended sessions that were at work.
    CutShort,
}

impl Turn {
    const ALL: [Self; 10] = [
        Self::BackendOut,
        Self::BackendIn,
        Self::AllOut,
        Self::Full,
        Self::Idle,
        Self::Spliced,
        Self::Piped,
        Self::Moved,
        Self::Reloaded,
        Self::CutShort,
    ];
}

/// What was reached, and how often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    phases: BTreeMap<String, u64>,
    failures: BTreeMap<String, u64>,
    words: BTreeMap<String, u64>,
    faults: BTreeMap<String, u64>,
    turns: BTreeMap<String, u64>,
}

impl Coverage {
    /// So many sessions were found in a phase, or came to its end.
    pub(crate) fn see(&mut self, doing: Doing, times: u64) {
        if let Some(count) = self.phases.get_mut(name_of(doing)) {
            *count += times;
        } else {
            self.phases.insert(name_of(doing).to_owned(), times);
        }
    }

    pub(crate) fn meet(&mut self, failure: Failure, times: u64) {
        *self.failures.entry(name(failure)).or_default() += times;
    }

    pub(crate) fn hear(&mut self, word: &str, times: u64) {
        *self.words.entry(word.to_owned()).or_default() += times;
    }

    pub(crate) fn inject(&mut self, fault: Fault, times: u64) {
        *self.faults.entry(format!("{fault:?}")).or_default() += times;
    }

    pub(crate) fn turn(&mut self, turn: Turn) {
        *self.turns.entry(format!("{turn:?}")).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.phases, &other.phases),
            (&mut self.failures, &other.failures),
            (&mut self.words, &other.words),
            (&mut self.faults, &other.faults),
            (&mut self.turns, &other.turns),
        ];
        for (mine, others) in pairs {
            for (key, count) in others {
                *mine.entry(key.clone()).or_default() += count;
            }
        }
    }

    /// Whether a row of the failure table was reached.
    pub(crate) fn has_met(&self, row: &str) -> bool {
        self.failures.contains_key(row)
    }

    /// What was never reached, and what was reached that no list has.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let phases = PHASES.into_iter().chain([Doing::Closed]).map(name_of);
        let faults = Fault::ALL.into_iter().map(|fault| format!("{fault:?}"));
        let turns = Turn::ALL.into_iter().map(|turn| format!("{turn:?}"));
        let lists = [
            ("phase", phases.map(str::to_owned).collect(), &self.phases),
            ("failure", rows(), &self.failures),
            ("word", words(), &self.words),
            ("fault", faults.collect(), &self.faults),
            ("turn", turns.collect(), &self.turns),
        ];
        let mut gaps = Vec::new();
        for (kind, expected, reached) in lists {
            let expected: BTreeSet<String> = expected;
            let reached: BTreeSet<String> = reached
                .iter()
                .filter(|(key, count)| **count > 0 && !key.is_empty())
                .map(|(key, _)| key.clone())
                .collect();
            let missed = expected.difference(&reached);
            gaps.extend(missed.map(|key| format!("{kind} {key} was not reached")));
            let unknown = reached.difference(&expected);
            gaps.extend(unknown.map(|key| format!("{kind} {key} is in no list")));
        }
        gaps
    }
}

fn name_of(doing: Doing) -> &'static str {
    match doing {
        Doing::Preface => "preface",
        Doing::Request => "request",
        Doing::Hold => "hold",
        Doing::Connect => "connect",
        Doing::Exchange => "exchange",
        Doing::Tunnel => "tunnel",
        Doing::Reply => "reply",
        Doing::Linger => "linger",
        Doing::Closed => "closed",
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("sessions found in phase", &self.phases),
            ("rows of the failure table", &self.failures),
            ("words told to clients", &self.words),
            ("faults injected", &self.faults),
            ("turns taken, in ticks", &self.turns),
        ];
        for (title, list) in lists {
            write!(f, "{title}:")?;
            for (key, count) in list {
                let key = if key.is_empty() { "(none)" } else { key };
                write!(f, " {key} {count},")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
