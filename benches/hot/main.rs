//! The hot functions, one by one. It judges nothing: figures are for comparing two builds.
//!
//! `cargo bench --bench hot` prints how many nanoseconds each takes. `benches/instructions` counts their instructions: it
//! runs this program as `hot NAME COUNT` under callgrind, with two counts, and the difference is what one costs.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod net;
mod routing;
mod whole;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rondel::balance::{Asker, Balance};
use rondel::config::{Backend, Pool};
use rondel::http::body::Body;
use rondel::http::forward::{self, Asked, Facts};
use rondel::http::{Framing, Method, Request, Span, Version};

use self::whole::Whole;

/// How long one round runs.
const ROUND: Duration = Duration::from_millis(20);
/// How many rounds there are; the median counts.
const ROUNDS: usize = 15;

/// Something that is done again and again.
type Work = Box<dyn FnMut()>;

/// A piece of work: its name, and how it is made ready.
type Piece = (&'static str, fn() -> Work);

/// Every piece of work.
const PIECES: [Piece; 20] = [
    ("request-head-40", || rewrite_request(40)),
    ("request-head-400", || rewrite_request(400)),
    ("request-head-1800", || rewrite_request(1800)),
    ("response-head", rewrite_response),
    ("KiB-in-chunks-of-16", || pass_chunks(16)),
    ("KiB-in-chunks-of-1024", || pass_chunks(1024)),
    ("KiB-in-chunks-of-16384", || pass_chunks(16 * 1024)),
    ("pick-of-4", || pick(4)),
    ("pick-of-64", || pick(64)),
    ("pick-of-4096", || pick(4096)),
    ("route-of-1", routing::of_one),
    ("route-among-10", || routing::among_hosts(10)),
    ("route-among-1000", || routing::among_hosts(1000)),
    ("route-among-100000", || routing::among_hosts(100_000)),
    ("exchange", || exchange(1, 40)),
    ("exchange-head-400", || exchange(1, 400)),
    ("exchange-among-100", || exchange(100, 40)),
    ("exchange-among-100000", || exchange(100_000, 40)),
    ("client-among-100", || come_and_go(100)),
    ("client-among-100000", || come_and_go(100_000)),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    match args.as_slice() {
        [] => PIECES.iter().for_each(print_time),
        [list] if list == "list" => PIECES.iter().for_each(|(name, _)| println!("{name}")),
        [name, count] => {
            let piece = PIECES.iter().find(|piece| piece.0 == name);
            let (Some((_, prepare)), Ok(count)) = (piece, count.parse::<u32>()) else {
                eprintln!("hot: {name:?} {count:?}: expected the name of a piece, and a count");
                return ExitCode::from(2);
            };
            let mut work = prepare();
            (0..count).for_each(|_| work());
        }
        _ => {
            eprintln!("usage: hot [list | NAME COUNT]");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Measures a piece and prints what one round of it takes.
fn print_time((name, prepare): &Piece) {
    let mut work = prepare();
    let mut batch = 1_u32;
    while time(batch, &mut work) < ROUND / 2 {
        batch *= 2;
    }
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| time(batch, &mut work).as_secs_f64() * 1e9 / f64::from(batch))
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{name:<24} {:>10.0} ns", rounds[ROUNDS / 2]);
}

fn time(batch: u32, work: &mut Work) -> Duration {
    let start = Instant::now();
    for _ in 0..batch {
        work();
    }
    start.elapsed()
}

/// A request head of so many bytes, parsed, judged and written anew.
fn rewrite_request(bytes: usize) -> Work {
    let head = request_head(bytes);
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        out.clear();
        let found = forward::request(
            black_box(&head),
            &facts(),
            forward::unchanged,
            &mut out,
            Vec::reserve,
        );
        assert!(matches!(black_box(found), Ok(Some(_))));
    })
}

/// A response head, parsed, judged and written anew.
fn rewrite_response() -> Work {
    let head = response_head();
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        out.clear();
        let asked = Asked {
            request: &GET,
            close: false,
            date: b"Sun, 06 Nov 1994 08:49:37 GMT",
            edits: None,
            set_cookie: None,
        };
        let found = forward::response(black_box(&head), &asked, &mut out, Vec::reserve);
        assert!(matches!(black_box(found), Ok(Some(_))));
    })
}

/// A KiB of a body in chunks of so many bytes: checked and written anew where it is. What is measured is 64 KiB at a time;
/// they are copied before, since they are changed.
fn pass_chunks(size: usize) -> Work {
    const KIB: usize = 64;
    let whole = chunks(size, KIB * 1024);
    let mut buffer = whole.clone();
    let upload = Request {
        framing: Framing::Chunked,
        ..GET
    };
    let mut nth = 0;
    Box::new(move || {
        nth += 1;
        if nth % KIB != 0 {
            return;
        }
        buffer.copy_from_slice(&whole);
        let mut body = Body::request(&upload);
        let passed = body.pass(black_box(&mut buffer));
        assert!(passed.is_ok() && body.is_done());
    })
}

/// A pick among so many backends, and the praise that follows.
fn pick(count: u16) -> Work {
    let backends = (1..=count).map(|port| {
        let addr = SocketAddr::from(([192, 0, 2, 1], port));
        let server = addr.to_string().parse().expect("an address is a server");
        Backend::at(&addr.to_string(), server, vec![addr])
    });
    let pool = Pool::new("default", backends.collect());
    let mut balance = Balance::new(0);
    let pool = balance.apply(&[Arc::new(pool)]).pools[0];
    let (now, asker) = (Instant::now(), Asker::default());
    Box::new(move || {
        let pick = balance
            .pick(pool, black_box(now), &[], &asker)
            .expect("all are live");
        assert!(black_box(balance.succeeded(pick)).is_none());
    })
}

/// A whole exchange of a kept client over a kept upstream, among so many clients.
fn exchange(clients: usize, bytes: usize) -> Work {
    let mut whole = Whole::new(clients, &request_head(bytes), &response(1024));
    Box::new(move || whole.exchange())
}

/// A client that comes, says nothing and leaves, among so many others.
fn come_and_go(clients: usize) -> Work {
    let mut whole = Whole::new(clients, &request_head(40), &response(1024));
    Box::new(move || whole.come_and_go())
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

type Trusts = fn(IpAddr) -> bool;
type Local = fn() -> SocketAddr;

fn facts() -> Facts<'static, Trusts, Local> {
    Facts {
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        local: || SocketAddr::from(([192, 0, 2, 1], 8080)),
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

/// A response with a body of so many bytes.
fn response(bytes: usize) -> Vec<u8> {
    let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
    response.resize(response.len() + bytes, b'x');
    response
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
