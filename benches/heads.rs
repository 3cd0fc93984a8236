//! What one head and one KiB of chunks cost: `cargo bench --bench heads`. It prints a table and judges nothing: figures
//! are for comparing two builds on one quiet machine.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rondel::http::body::Body;
use rondel::http::forward::{self, Asked, Facts};
use rondel::http::{Framing, Method, Request, Span, Version};

/// How long one round runs.
const ROUND: Duration = Duration::from_millis(20);
/// How many rounds there are; the median counts.
const ROUNDS: usize = 15;

fn main() {
    println!("{:<28} {:>8} {:>10} {:>10}", "", "bytes", "ns", "MB/s");
    for (name, head) in [
        ("request head, 40 bytes", request_head(40)),
        ("request head, 400 bytes", request_head(400)),
        ("request head, 1,800 bytes", request_head(1800)),
    ] {
        let mut out = Vec::with_capacity(4096);
        row(name, head.len(), 1.0, || {
            out.clear();
            let found = forward::request(black_box(&head), &facts(), &mut out);
            assert!(matches!(black_box(found), Ok(Some(_))));
        });
    }
    let head = response_head();
    let mut out = Vec::with_capacity(4096);
    row("response head", head.len(), 1.0, || {
        out.clear();
        let asked = Asked {
            request: &GET,
            close: false,
            date: b"Sun, 06 Nov 1994 08:49:37 GMT",
        };
        let found = forward::response(black_box(&head), &asked, &mut out);
        assert!(matches!(black_box(found), Ok(Some(_))));
    });
    for (name, size) in [
        ("KiB in chunks of 16 bytes", 16),
        ("KiB in chunks of 1 KiB", 1024),
        ("KiB in chunks of 16 KiB", 16 * 1024),
    ] {
        let whole = chunks(size, 64 * 1024);
        let mut buffer = whole.clone();
        let upload = Request {
            framing: Framing::Chunked,
            ..GET
        };
        row(name, whole.len(), 64.0, || {
            // The chunks are rewritten in place, so that each round starts from a copy; its cost is in the figure.
            buffer.copy_from_slice(&whole);
            let mut body = Body::request(&upload);
            let passed = body.pass(black_box(&mut buffer));
            assert!(passed.is_ok() && body.is_done());
        });
    }
}

/// Measures `work`, which handles `bytes` bytes in `parts` parts, and prints what one part costs.
fn row(name: &str, bytes: usize, parts: f64, mut work: impl FnMut()) {
    let mut batch = 1_u32;
    while time(batch, &mut work) < ROUND / 2 {
        batch *= 2;
    }
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| time(batch, &mut work).as_secs_f64() * 1e9 / f64::from(batch))
        .collect();
    rounds.sort_by(f64::total_cmp);
    let ns = rounds[ROUNDS / 2];
    let mb_per_s = bytes as f64 * 1e3 / ns;
    let (bytes, ns) = (bytes as f64 / parts, ns / parts);
    println!("{name:<28} {bytes:>8.0} {ns:>10.0} {mb_per_s:>10.0}");
}

fn time(batch: u32, work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..batch {
        work();
    }
    start.elapsed()
}

const GET: Request = Request {
    method: Method::Idempotent,
    version: Version::Http11,
    framing: Framing::None,
    keep_alive: true,
    trailers: false,
    upgrade: false,
    expects_continue: false,
    id: Span { start: 0, len: 0 },
};

fn facts() -> Facts<'static, fn(IpAddr) -> bool> {
    Facts {
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        listener: SocketAddr::from(([192, 0, 2, 1], 8080)),
        trusts: |_| false,
        name: "rondel",
        forwarded: false,
        id: b"0123456789abcdef",
    }
}

/// A GET of exactly `bytes` bytes: as a tool sends it, as a browser does, and with the cookies of a busy site.
fn request_head(bytes: usize) -> Vec<u8> {
    let mut head = b"GET / HTTP/1.1\r\nHost: a.example\r\n".to_vec();
    for field in [
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n",
        "Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n",
        "Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\n",
    ] {
        if head.len() + field.len() + 20 < bytes {
            head.extend_from_slice(field.as_bytes());
        }
    }
    let mut nth = 0;
    while head.len() + 140 < bytes {
        head.extend_from_slice(
            format!("X-Cookie-{nth}: {}\r\n", "abcdefghij".repeat(10)).as_bytes(),
        );
        nth += 1;
    }
    let rest = bytes - head.len() - 2;
    head.extend_from_slice(b"A: ");
    head.resize(head.len() + rest - 5, b'a');
    head.extend_from_slice(b"\r\n\r\n");
    assert_eq!(head.len(), bytes);
    head
}

fn response_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nServer: backend/1.0\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
      Content-Type: text/html; charset=utf-8\r\nContent-Length: 1256\r\nConnection: keep-alive\r\n\
      Cache-Control: max-age=600\r\nETag: \"65f1c2a0-4e8\"\r\nVary: Accept-Encoding\r\n\r\n"
        .to_vec()
}

/// A chunked body of `bytes` bytes of data in chunks of `size`.
fn chunks(size: usize, bytes: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..bytes / size {
        body.extend_from_slice(format!("{size:x}\r\n").as_bytes());
        body.resize(body.len() + size, b'x');
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    body
}
