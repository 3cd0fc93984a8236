//! Whether the simulated kernel does as the real one: the same small scripts run on both, over loopback there, and must
//! come to the same, word for word.

use super::grounds::Step::{
    self, Check, Fill, PeerCloses, PeerResets, PeerSends, PeerSendsUrgent, PeerShuts, PeerTakesAll,
    Read, Shut, Splice, Told, Write,
};
use rondel::net::stream::Stream;

use super::grounds::{Fake, Real, play, settle};

/// Both kernels come to the same, and to this.
fn check(before: &[Step], steps: &[Step], expected: &[&str]) {
    let fake = play(Fake::accept(before).expect("it is accepted"), steps);
    assert_eq!(fake, expected, "in the simulation: {before:?} {steps:?}");
    let real = play(Real::accept(before).expect("it is accepted"), steps);
    assert_eq!(real, expected, "on this machine: {before:?} {steps:?}");
}

#[test]
fn a_reset_leaves_what_had_arrived_and_is_told_once() {
    let reset = [
        Told("w"),
        PeerSends(5),
        Told("rw"),
        PeerResets,
        Told("rwcd"),
    ];
    let then = |calls: &[Step]| [&reset, calls].concat();
    check(
        &[],
        &then(&[Read(2), Read(9), Read(9), Read(9), Write(1), Shut]),
        &["2", "3", "errno 104", "0", "errno 32", "errno 107"],
    );
    check(
        &[],
        &then(&[Write(1), Write(1), Read(9), Read(9)]),
        &["errno 104", "errno 32", "5", "0"],
    );
    check(
        &[],
        &then(&[Check, Check, Read(9), Read(9), Write(1)]),
        &["errno 104", "0", "5", "0", "errno 32"],
    );
}

#[test]
fn behind_an_end_of_stream_a_reset_is_not_told_to_readers() {
    let gone = [
        Told("w"),
        PeerSends(5),
        PeerShuts,
        Told("rwc"),
        PeerResets,
        Told("rwcd"),
    ];
    let then = |calls: &[Step]| [&gone, calls].concat();
    check(
        &[],
        &then(&[Read(2), Read(9), Read(9), Read(9), Check, Write(1)]),
        &["2", "3", "0", "0", "errno 32", "errno 32"],
    );
}

#[test]
fn what_is_sent_to_a_peer_that_has_closed_comes_back_as_a_reset() {
    check(
        &[],
        &[
            Told("w"),
            PeerSends(5),
            PeerCloses,
            Told("rwc"),
            Write(1),
            Told("rwcd"),
            Write(1),
            Read(9),
            Read(9),
            Shut,
        ],
        &["1", "errno 32", "5", "0", "errno 107"],
    );
}

#[test]
fn a_peer_that_closes_before_it_has_read_all_resets() {
    check(
        &[],
        &[
            Told("w"),
            Write(3),
            PeerCloses,
            Told("rwcd"),
            Read(9),
            Read(9),
        ],
        &["3", "errno 104", "0"],
    );
}

#[test]
fn shutting_ones_own_side_is_an_event_and_both_sides_shut_is_dead() {
    check(
        &[],
        &[
            Told("w"),
            Shut,
            Told("w"),
            PeerSends(5),
            Told("rw"),
            PeerShuts,
            Told("rwcd"),
            Read(9),
            Read(9),
            Check,
        ],
        &["0", "5", "0", "0"],
    );
}

#[test]
fn each_arrival_is_an_event_and_a_read_gives_all_that_is_there() {
    check(
        &[],
        &[
            Told("w"),
            PeerSends(4),
            Told("rw"),
            PeerSends(2),
            Told("rw"),
            Read(2),
            Read(9),
            Read(9),
        ],
        &["2", "4", "would block"],
    );
}

#[test]
fn a_splice_gives_what_is_there_and_the_end_and_the_reset() {
    check(
        &[],
        &[
            Told("w"),
            PeerSends(5),
            Told("rw"),
            Splice(2),
            Splice(9),
            Splice(9),
            PeerSends(4),
            PeerShuts,
            Told("rwc"),
            Splice(9),
            Splice(9),
            Splice(9),
        ],
        &["2", "3", "would block", "4", "0", "0"],
    );
    check(
        &[],
        &[
            Told("w"),
            PeerSends(5),
            Told("rw"),
            PeerResets,
            Told("rwcd"),
            Splice(2),
            Splice(9),
            Splice(9),
            Splice(9),
        ],
        &["2", "3", "errno 104", "0"],
    );
}

#[test]
fn an_urgent_byte_stops_a_splice_for_good_and_a_read_once() {
    check(
        &[],
        &[
            Told("w"),
            PeerSends(3),
            PeerSendsUrgent,
            PeerSends(2),
            Told("rw"),
            Splice(9),
            Splice(9),
            Splice(9),
            Read(9),
            Splice(9),
        ],
        &["3", "would block", "would block", "2", "would block"],
    );
    // With the end behind the bytes that it does not come to, it says that this is the end.
    check(
        &[],
        &[
            Told("w"),
            PeerSends(3),
            PeerSendsUrgent,
            PeerSends(2),
            PeerShuts,
            Told("rwc"),
            Splice(9),
            Splice(9),
            Read(9),
            Read(9),
        ],
        &["3", "0", "2", "0"],
    );
}

#[test]
fn a_full_window_blocks_and_tells_when_it_opens() {
    check(
        &[],
        &[Told("w"), Fill, Write(1), PeerTakesAll, Told("w"), Write(1)],
        &["would block", "1"],
    );
}

#[test]
fn a_client_that_resets_before_it_is_accepted_is_accepted_all_the_same() {
    check(
        &[PeerSends(2), PeerResets],
        &[Told("rwcd"), Read(9), Read(9), Read(9), Write(1)],
        &["2", "errno 104", "0", "errno 32"],
    );
}

#[test]
fn a_refused_connection_is_told_as_dead() {
    let steps = [Told("rwcd"), Check, Check, Read(9), Write(1), Shut];
    let expected = ["errno 111", "0", "0", "errno 32", "errno 107"];
    let fake = play(Fake::refused().expect("it is begun"), &steps);
    let real = play(Real::refused().expect("it is begun"), &steps);
    assert_eq!(fake, expected, "in the simulation");
    assert_eq!(real, expected, "on this machine");
}

/// Not on Linux, but RFC 9112 §9.6 warns of it: whoever loses what it had not read is told, also behind an end of stream.
#[test]
fn a_peer_that_loses_unread_bytes_to_a_reset_is_told_no_clean_end() {
    for purges in [false, true] {
        let mut fake = Fake::accept(&[]).expect("it is accepted");
        let (world, peer) = (fake.world.clone(), fake.peer);
        world.borrow_mut().profile.purges = purges;
        assert_eq!(fake.ours.write(b"all of it").ok(), Some(9));
        fake.ours.shut_write().expect("it is open");
        settle(&world);
        fake.ours.reset_on_close();
        drop(fake);
        settle(&world);
        let read = || world.borrow_mut().read(peer, &mut [0; 20]);
        if purges {
            assert_eq!(read().expect_err("it is told").raw_os_error(), Some(104));
        } else {
            assert_eq!((read().ok(), read().ok()), (Some(9), Some(0)));
        }
    }
}
