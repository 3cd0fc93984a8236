//! What a connection holds while its peer takes nothing: no more than the bound in the README reckons with.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;

use rondel::net::buffer::{Buffers, HEAD_BYTES, READ_BYTES_MAX, READ_BYTES_TIGHT};
use rondel::net::conn::Conn;
use rondel::net::stream::{Readiness, Stream};

/// A peer that takes so many bytes more.
struct Peer(Rc<Cell<usize>>);

impl Stream for Peer {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.0.get());
        self.0.set(self.0.get() - count);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| piece.iter().copied())
            .collect();
        self.write(&bytes)
    }

    fn connected(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(ErrorKind::NotConnected.into())
    }

    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn shut_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reset_on_close(&mut self) {}
}

/// A request of a head and pieces of a body, to an upstream that takes `room` bytes of it; what waits holds no more than
/// the read it came with and a head. All of it arrives once there is room.
fn check(head_bytes: usize, pieces: &[usize], room: usize, read_bytes_max: usize) {
    let case = format!("{head_bytes} {pieces:?} {room}");
    let (mut buffers, left) = (Buffers::default(), Rc::new(Cell::new(room)));
    let mut upstream = Conn::new(Peer(Rc::clone(&left)));
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
            left.set(left.get() + head_bytes + pieces.iter().sum::<usize>());
            upstream.hint(writable);
            upstream.flush(&mut buffers).expect("it stands");
            left.set(0);
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
