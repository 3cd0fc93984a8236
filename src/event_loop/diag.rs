//! How much of what was written to a connection its peer has not acknowledged: asked of the kernel by netlink, sock_diag(7),
//! which needs no privilege. ioctl(2) and getsockopt(2) tell the same, but no package wraps them safely.
//!
//! It is asked seldom, where a peer seems to take nothing. Where the kernel does not answer, nobody is the worse for it
//! than if it had not been asked.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const IPPROTO_TCP: u8 = 6;
/// The type of the request and of its answer (linux/sock_diag.h).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
/// Bytes of a message's header (`struct nlmsghdr`), and of the request with it (`struct inet_diag_req_v2`).
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: u32 = 16 + 56;
/// Where `idiag_wqueue` stands in the answer (`struct inet_diag_msg`), for a connection the bytes not acknowledged.
const UNACKNOWLEDGED_AT: usize = HEADER_BYTES + 60;

/// How many bytes of what was written at `local` the peer has not acknowledged.
pub(super) fn unacknowledged(local: SocketAddr, peer: SocketAddr) -> io::Result<u32> {
    let mut socket = Socket::new(
        Domain::from(AF_NETLINK),
        Type::DGRAM.nonblocking(),
        Some(Protocol::from(NETLINK_SOCK_DIAG)),
    )?;
    // Without an address it goes to the kernel, which has answered when the call returns.
    socket.send(&request(local, peer))?;
    let mut answer = [0; 1024];
    let count = socket.read(&mut answer)?;
    reading(&answer[..count]).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// Asks for exactly one connection.
fn request(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    let (family, zone) = match peer {
        SocketAddr::V4(_) => (AF_INET, 0),
        SocketAddr::V6(peer) => (AF_INET6, peer.scope_id()),
    };
    let mut message = Vec::with_capacity(REQUEST_BYTES as usize);
    message.extend(REQUEST_BYTES.to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // A number and a port of ours, neither of which matters.
    message.extend([0; 8]);
    // No extensions, padding, and connections in any state.
    message.extend([family, IPPROTO_TCP, 0, 0]);
    message.extend(u32::MAX.to_ne_bytes());
    message.extend(local.port().to_be_bytes());
    message.extend(peer.port().to_be_bytes());
    message.extend(octets(local.ip()));
    message.extend(octets(peer.ip()));
    message.extend(zone.to_ne_bytes());
    // Any cookie.
    message.extend([u8::MAX; 8]);
    message
}

fn octets(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&addr.octets());
            octets
        }
        IpAddr::V6(addr) => addr.octets(),
    }
}

/// What an answer says; nothing if it is none.
fn reading(answer: &[u8]) -> Option<u32> {
    if answer.get(4..6)? != SOCK_DIAG_BY_FAMILY.to_ne_bytes() {
        return None;
    }
    let field = answer.get(UNACKNOWLEDGED_AT..UNACKNOWLEDGED_AT + 4)?;
    Some(u32::from_ne_bytes(field.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection through this address, the writing end first.
    fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let port = listener.local_addr().unwrap().port();
        let ip = match listener.local_addr().unwrap().ip() {
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            ip => ip,
        };
        let reader = TcpStream::connect((ip, port)).unwrap();
        (listener.accept().unwrap().0, reader)
    }

    #[test]
    fn the_kernel_tells_how_much_is_not_acknowledged() {
        for addr in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            // A machine without IPv6 has nothing to show there.
            let Ok(listener) = TcpListener::bind(addr) else {
                continue;
            };
            let (mut writer, mut reader) = pair(&listener);
            let told =
                |writer: &TcpStream| unacknowledged(writer.local_addr()?, writer.peer_addr()?);
            let Ok(none) = told(&writer) else {
                // Nor has a kernel that does not tell.
                continue;
            };
            assert_eq!(none, 0, "{addr}");
            writer.set_nonblocking(true).unwrap();
            let mut wrote = 0;
            while let Ok(count) = writer.write(&[b'x'; 64 * 1024]) {
                wrote += count;
            }
            let full = told(&writer).unwrap() as usize;
            assert!((1..=wrote).contains(&full), "{addr}: {full} of {wrote}");
            let mut room = vec![0; wrote];
            reader.read_exact(&mut room).unwrap();
            // The last acknowledgement may still be under way.
            while told(&writer).unwrap() > 0 {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn who_is_not_connected_is_not_told_of() {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        assert!(unacknowledged(nobody, nobody).is_err());
    }
}
