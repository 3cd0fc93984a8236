//! The failure table, read once more by what it is for: whom a failure counts against, what may be tried again, and
//! whether the client's connection goes on. A slip in one of its columns would pass unseen for a long time.

use rondel::http::Reject;
use rondel::proxy::failure::{Blame, Failure, Retry};

/// What clients do, or do not do, and what we ourselves run out of: no backend can help it.
const NOT_THE_BACKENDS: [Failure; 17] = [
    Failure::Rejected(Reject::BadChunk),
    Failure::HeadTimeout,
    Failure::ClientIdle,
    Failure::ClientGone,
    Failure::RequestBodyTimeout,
    Failure::RequestBodySlow,
    Failure::ClientWriteTimeout,
    Failure::ClientWriteSlow,
    Failure::NoRoute,
    Failure::NoBackend,
    Failure::Exhausted,
    Failure::UpstreamClosedDuringRequest,
    Failure::ContinueTimeout,
    Failure::TunnelIdle,
    Failure::TunnelBroken,
    Failure::DrainTimeout,
    Failure::ReusedUpstreamClosed,
];

/// What only a backend can do, or one that was asked for everything: it counts against it.
const THE_BACKENDS: [Failure; 12] = [
    Failure::ConnectRefused,
    Failure::ConnectUnreachable,
    Failure::ConnectTimeout,
    Failure::UpstreamSpokeFirst,
    Failure::UpstreamClosed,
    Failure::UpstreamWriteTimeout,
    Failure::BadResponseHead(Reject::Malformed),
    Failure::TooManyInterim,
    Failure::ResponseTimeout,
    Failure::ResponseTruncated,
    Failure::BadResponseBody(Reject::BadChunk),
    Failure::ResponseBodyTimeout,
];

fn check(failures: &[Failure], holds: impl Fn(Failure) -> bool) {
    for &failure in failures {
        assert!(holds(failure), "{failure:?}: {:?}", failure.consequence());
    }
}

#[test]
fn only_what_a_backend_can_help_counts_against_it() {
    let blame = |failure: Failure| failure.consequence().blame;
    let if_asked = [Failure::ResponseTruncated, Failure::ResponseBodyTimeout];
    check(&NOT_THE_BACKENDS, |failure| blame(failure) == Blame::Never);
    check(&if_asked, |failure| blame(failure) == Blame::IfAsked);
    check(&THE_BACKENDS, |failure| {
        (blame(failure) == Blame::Always) != if_asked.contains(&failure)
    });
}

#[test]
fn only_what_reached_nobody_goes_elsewhere_and_only_what_died_in_silence_is_repeated() {
    let elsewhere = [
        Failure::ConnectRefused,
        Failure::ConnectUnreachable,
        Failure::ConnectTimeout,
        Failure::UpstreamSpokeFirst,
    ];
    let retry = |failure: Failure| failure.consequence().retry;
    check(&elsewhere, |failure| retry(failure) == Retry::Elsewhere);
    let again = [Failure::ReusedUpstreamClosed, Failure::UpstreamClosed];
    check(&again, |failure| retry(failure) == Retry::Again);
    check(
        &[NOT_THE_BACKENDS[..16].to_vec(), THE_BACKENDS[5..].to_vec()].concat(),
        |failure| retry(failure) == Retry::Never,
    );
}

#[test]
fn a_client_is_kept_where_its_request_may_be_whole_and_is_answered() {
    let kept = [
        Failure::NoRoute,
        Failure::NoBackend,
        Failure::Exhausted,
        Failure::ConnectRefused,
        Failure::ConnectUnreachable,
        Failure::ConnectTimeout,
        Failure::UpstreamSpokeFirst,
        Failure::ReusedUpstreamClosed,
        Failure::UpstreamClosed,
        Failure::BadResponseHead(Reject::Malformed),
        Failure::TooManyInterim,
        Failure::ResponseTimeout,
    ];
    let all = [&NOT_THE_BACKENDS[..], &THE_BACKENDS].concat();
    check(&all, |failure| {
        failure.consequence().keeps_client == kept.contains(&failure)
    });
    check(&kept, |failure| failure.consequence().status.is_some());
}
