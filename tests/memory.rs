//! What a connection holds while its peer takes nothing: no more than the bound in the README reckons with.

mod fake;

use fake::FakeStream;
use rondel::net::buffer::{Buffers, HEAD_BYTES, READ_BYTES_MAX, READ_BYTES_TIGHT};
use rondel::net::conn::Conn;
use rondel::net::stream::Readiness;

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
