//! Headers of the PROXY protocol, by the simulation's own reading of `proxy-protocol.txt`: who a client says it is, and what
//! a backend must be told.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use rondel::config::ProxyVersion;

use super::rng::Rng;

/// Where all clients have connected to, as the proxy's end of their connections has it.
pub(crate) const DESTINATION: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8000);

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What is no header, and what is one that tells nobody's address.
const WRONG: [&[u8]; 6] = [
    b"PROXY TCP4 10.0.0.256 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 10.0.0.1 10.0.0.1 1 2\n",
    b"PROXX",
    b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x05",
    // The request comes at once.
    b"",
];
const UNKNOWN: &[u8] = b"PROXY UNKNOWN what follows is nobody's business\r\n";
/// With an extra.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x05\x04\0\x02ab";

/// What the client of this index says of itself, and who it is by that; `None` where it is who it seems to be.
pub(crate) fn by_client(index: usize) -> (Vec<u8>, Option<SocketAddr>) {
    let last = u8::try_from(index).expect("few clients");
    let v4 = SocketAddr::from(([10, 9, 8, last], 50_000));
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last) + 1);
    let v6 = SocketAddr::from((v6, 50_000));
    let told = |version, addr| (header(version, addr), Some(addr));
    match index % 6 {
        0 => told(ProxyVersion::V1, v4),
        1 => told(ProxyVersion::V2, v4),
        2 => told(ProxyVersion::V1, v6),
        3 => told(ProxyVersion::V2, v6),
        4 => (UNKNOWN.to_vec(), None),
        _ => (LOCAL.to_vec(), None),
    }
}

/// What is no header.
pub(crate) fn wrong(rng: &mut Rng) -> Vec<u8> {
    rng.pick(&WRONG).to_vec()
}

/// The one header that tells of a client.
pub(crate) fn header(version: ProxyVersion, client: SocketAddr) -> Vec<u8> {
    let to = DESTINATION;
    match (version, client) {
        (ProxyVersion::V1, SocketAddr::V4(_)) => {
            let (from, at) = (client.port(), to.port());
            format!("PROXY TCP4 {} {} {from} {at}\r\n", client.ip(), to.ip()).into_bytes()
        }
        (ProxyVersion::V1, SocketAddr::V6(_)) => {
            let (from, at) = (client.port(), to.port());
            format!("PROXY TCP6 {} ::ffff:7f00:1 {from} {at}\r\n", client.ip()).into_bytes()
        }
        (ProxyVersion::V2, SocketAddr::V4(addr)) => {
            let addrs = [&addr.ip().octets()[..], &[127, 0, 0, 1]].concat();
            binary(0x11, &addrs, addr.port())
        }
        (ProxyVersion::V2, SocketAddr::V6(addr)) => {
            let mapped = [&[0; 10][..], &[0xff, 0xff, 127, 0, 0, 1]].concat();
            binary(
                0x21,
                &[&addr.ip().octets()[..], &mapped].concat(),
                addr.port(),
            )
        }
    }
}

fn binary(family: u8, addrs: &[u8], from: u16) -> Vec<u8> {
    let len = u8::try_from(addrs.len() + 4).expect("few");
    let ports = [from.to_be_bytes(), DESTINATION.port().to_be_bytes()].concat();
    [SIGNATURE, &[0x21, family, 0, len], addrs, &ports].concat()
}
