//! What a connection holds while its peer takes nothing: no more than the bound in the README reckons with. And what is kept
//! when many have left: not much more than those need that stay.

mod fake;

use std::time::Duration;

use fake::{Fake, FakeStream};
use rondel::config::Timeouts;
use rondel::net::buffer::{
    Buffers, FREE_BYTES_LEAST, HEAD_BYTES, READ_BYTES_MAX, READ_BYTES_TIGHT,
};
use rondel::net::conn::Conn;
use rondel::net::stream::Readiness;
use rondel::proxy::{SESSIONS_KEPT, TURN_BYTES_MAX, UPSTREAMS_KEPT};

/// A request of a head and pieces of a body, to an upstream that takes `room` bytes of it; what waits holds no more than
/// the read it came with and a head. All of it arrives once there is room.
fn check(head_bytes: usize, pieces: &[usize], room: usize, read_bytes_max: usize) {
    let case = format!("{head_bytes} {pieces:?} {room}");
    let (mut buffers, peer) = (Buffers::default(), FakeStream::alone(room));
    let twin = peer.twin();
    let mut upstream = Conn::new(peer);
    let writable = Readiness {
        writable: true,
        ..Readiness::default()
    };
    upstream.hint(writable);
    let mut head = buffers.take(1);
    // As it is written: bit by bit.
    (0..head_bytes).for_each(|_| head.push(b'h'));
    upstream.load(head);
    upstream.flush(&mut buffers).expect("it stands");
    for &piece in pieces {
        upstream
            .send(&vec![b'b'; piece], &mut buffers)
            .expect("it stands");
        let bound = read_bytes_max + HEAD_BYTES;
        assert!(upstream.held() <= bound, "{} for {case}", upstream.held());
        // Whoever fills an outbox waits until it is empty.
        if upstream.is_blocked() {
            twin.sock().room += head_bytes + pieces.iter().sum::<usize>();
            upstream.hint(writable);
            upstream.flush(&mut buffers).expect("it stands");
            twin.sock().room = 0;
        }
        assert!(!upstream.is_blocked(), "{case}");
    }
    let sent = head_bytes + pieces.iter().sum::<usize>();
    assert_eq!(upstream.taken(), sent as u64, "{case}");
    let all = upstream.is_replayable();
    let kept = if all { sent } else { head_bytes };
    assert_eq!(upstream.unload().len(), kept, "{case}");
}

#[test]
fn an_upload_in_pieces_holds_what_it_was_read_with_and_a_head() {
    let sizes = |read_bytes_max: usize| [1, 1024, 15 * 1024, 16 * 1024, 17 * 1024, read_bytes_max];
    for read_bytes_max in [READ_BYTES_TIGHT, READ_BYTES_MAX] {
        for head_bytes in [100, 2_000, 5_000, 16 * 1024, HEAD_BYTES] {
            for first in sizes(read_bytes_max) {
                for second in sizes(read_bytes_max) {
                    let pieces = [first, second, read_bytes_max, 100];
                    let mut room = head_bytes;
                    for piece in pieces {
                        check(head_bytes, &pieces, room, read_bytes_max);
                        check(head_bytes, &pieces, room + piece / 2, read_bytes_max);
                        room += piece;
                    }
                }
            }
        }
    }
}

/// Asks for something over a client's connection; says which upstream may have been made for it.
fn ask(fake: &mut Fake, client: usize) -> usize {
    fake.say(client, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let upstream = fake.newest();
    fake.hint(upstream, false, true);
    upstream
}

/// A client that asked is answered by this upstream.
fn answer(fake: &mut Fake, client: usize, upstream: usize) {
    let before = fake.sock(client).written;
    fake.say(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert!(fake.sock(client).written > before, "{client} got no answer");
}

#[test]
fn what_a_crowd_needed_is_given_back_while_some_of_it_stay() {
    const CROWD: usize = 3000;
    /// A session and its reminder.
    const SESSION_BYTES_MAX: usize = 288;
    const UPSTREAMS: usize = 500;
    const UPSTREAM_BYTES_MAX: usize = 128;
    let mut fake = Fake::new();
    let clients: Vec<usize> = (0..CROWD).map(|_| fake.call()).collect();
    let asking = &clients[..UPSTREAMS];
    let upstreams: Vec<usize> = asking.iter().map(|&id| ask(&mut fake, id)).collect();
    for (&client, &upstream) in asking.iter().zip(&upstreams) {
        answer(&mut fake, client, upstream);
    }
    let counts = fake.proxy.counts();
    assert_eq!(counts.idle_upstreams, UPSTREAMS);
    assert!(counts.kept_bytes > CROWD * 200 + UPSTREAMS * 64);
    // Some of them ask now and then, the last to come among them; the others are silent, and have to leave.
    fake.pass(Duration::from_secs(40));
    assert_eq!(fake.proxy.counts().idle_upstreams, 0);
    let stay: Vec<usize> = clients.into_iter().rev().step_by(30).collect();
    let upstream = ask(&mut fake, stay[0]);
    answer(&mut fake, stay[0], upstream);
    for &client in &stay {
        ask(&mut fake, client);
        answer(&mut fake, client, upstream);
    }
    fake.pass(Duration::from_secs(20));
    let counts = fake.proxy.counts();
    assert_eq!(
        (counts.sessions, counts.reminders),
        (stay.len(), stay.len())
    );
    let least = FREE_BYTES_LEAST + UPSTREAMS_KEPT * UPSTREAM_BYTES_MAX;
    let bound = 2 * stay.len() * SESSION_BYTES_MAX + least;
    assert!(counts.kept_bytes <= bound, "{counts:?}");
    // They know nothing of it.
    for &client in &stay {
        ask(&mut fake, client);
        answer(&mut fake, client, upstream);
    }
    let due = fake.now.instant + Timeouts::default().client_idle;
    assert!(fake.proxy.sessions().all(|session| session.due == due));
    // When they have left too, nobody need be woken any more, and not often until then.
    let mut wakes = 0;
    while let Some(time) = fake.proxy.wait(fake.now.instant) {
        fake.pass(time);
        wakes += 1;
        assert!(
            wakes < 10,
            "it wakes again and again: {:?}",
            fake.proxy.counts()
        );
    }
    let counts = fake.proxy.counts();
    assert_eq!((counts.sessions, counts.idle_upstreams), (0, 0));
    let bound = SESSIONS_KEPT * SESSION_BYTES_MAX + least;
    assert!(counts.kept_bytes <= bound, "{counts:?}");
}

#[test]
fn whoever_waits_for_a_turn_has_it_although_others_left_meanwhile() {
    const ROOM: usize = 5 * TURN_BYTES_MAX;
    let mut fake = Fake::new();
    for _ in 0..10 * SESSIONS_KEPT {
        fake.call();
    }
    let client = fake.call();
    fake.pass(Duration::from_secs(30));
    let upstream = ask(&mut fake, client);
    fake.say(
        upstream,
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n",
    );
    fake.sock(client).room = ROOM;
    fake.sock(upstream).endless = true;
    // The tick in which the others have to leave finds it in the queue, with much of its response still to come.
    fake.now.instant += Duration::from_secs(30);
    fake.hint(upstream, true, true);
    assert_eq!(fake.proxy.counts().sessions, 1);
    assert_eq!(fake.sock(client).room, 0, "it was forgotten");
}
