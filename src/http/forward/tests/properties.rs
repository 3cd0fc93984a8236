//! What holds for any head: what we write is read again as exactly the message that we judged.

use super::*;

pub(super) const REQUESTS: [&str; 6] = [
    "GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\n\r\n",
    "POST http://h:80?q HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nExpect: 100-continue\r\nX-Forwarded-For: 1.1.1.1, 10.0.0.2\r\n\r\n",
    "\r\nPUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nhost: [::1]:8\r\nTE: trailers\r\nTrailer: d\r\nX-Request-Id: abc\r\n\r\n",
    "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nHost: h\r\nVia: 1.0 a\r\nForwarded: for=\"[::1]\";proto=https\r\n\r\n",
    "GET /old HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\nX-Forwarded-Proto: https\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 7\r\nKeep-Alive: 3\r\n\r\n",
];
const RESPONSES: [&str; 4] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\nConnection: x-a\r\nX-A: 1\r\nDate: x\r\n\r\n",
    "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nTrailer: d\r\n\r\n",
    "HTTP/1.0 304 \r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
];

/// A small xorshift: the same numbers on every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    pub(super) fn mutated(&mut self, head: &str) -> Vec<u8> {
        const PIECES: [&str; 14] = [
            "\r\n",
            "\n",
            "\r",
            " ",
            ",",
            ":",
            "\0",
            "\u{e9}",
            "close",
            "Host: z\r\n",
            "Content-Length: 3\r\n",
            "chunked",
            "\r\nTransfer-Encoding: chunked\r\n",
            "http://u@/",
        ];
        let mut head = head.as_bytes().to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(head.len());
            let until = (at + self.below(4)).min(head.len());
            let piece = PIECES[self.below(PIECES.len())].as_bytes();
            head.splice(at..until, piece.iter().copied());
            head.push(b'x');
        }
        head
    }
}

/// How often a name stands at the start of a line.
fn lines_of(head: &[u8], name: &str) -> usize {
    let lines = head.split(|&byte| byte == b'\n');
    lines
        .filter(|line| {
            line.get(..name.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
        })
        .count()
}

/// Judges what we wrote once more, as the next of our kind would.
fn check_request(input: &[u8], client: IpAddr, forwarded: bool) -> bool {
    let mut out = Vec::new();
    let facts = Facts {
        forwarded,
        ..facts(client)
    };
    let Ok(Some((len, first))) = request(input, &facts, unchanged, &mut out, Vec::reserve) else {
        assert!(out.is_empty());
        return false;
    };
    assert!(len <= input.len());
    let mut again = Vec::new();
    let next = Facts {
        name: "next",
        ..facts
    };
    let found = request(&out, &next, unchanged, &mut again, Vec::reserve);
    let Ok(Some((len, second))) = found else {
        // The count of hops has come to its end.
        assert_eq!(found, Err(Reject::HopsSpent), "{}", out.escape_ascii());
        return true;
    };
    assert_eq!(len, out.len(), "{}", out.escape_ascii());
    assert_eq!(
        (second.method, second.framing),
        (first.method, first.framing)
    );
    assert_eq!(
        (second.trailers, second.upgrade),
        (first.trailers, first.upgrade)
    );
    assert_eq!(
        second.expects_continue,
        first.expects_continue && first.version == Version::Http11
    );
    let id = |head: &[u8], span: super::super::super::Span| {
        head[usize::from(span.start)..][..usize::from(span.len)].to_vec()
    };
    assert_eq!(id(&out, first.id), id(&again, second.id));
    for head in [&out, &again] {
        let framed = lines_of(head, "content-length:") + lines_of(head, "transfer-encoding:");
        assert!(
            framed <= 1 && lines_of(head, "host:") == 1 && lines_of(head, "x-forwarded-for:") == 1
        );
        assert!(lines_of(head, "connection:") <= 1 && lines_of(head, "x-request-id:") == 1);
    }
    true
}

fn check_response(input: &[u8], request: &Request) -> bool {
    let asked = Asked {
        request,
        close: false,
        date: b"Sun, 06 Nov 1994 08:49:37 GMT",
        edits: None,
        set_cookie: None,
    };
    let mut out = Vec::new();
    let Ok(Some((_, first))) = response(input, &asked, &mut out, Vec::reserve) else {
        assert!(out.is_empty());
        return false;
    };
    if out.is_empty() {
        return first.is_interim();
    }
    let mut again = Vec::new();
    let (len, second) = response(&out, &asked, &mut again, Vec::reserve)
        .unwrap()
        .unwrap();
    assert_eq!((len, second.status), (out.len(), first.status));
    assert_eq!(second.framing, first.framing.for_client(request.version));
    assert_eq!(second.keep_client, first.keep_client);
    assert_eq!(again, out, "{}", out.escape_ascii());
    true
}

#[test]
fn what_is_written_is_read_as_what_was_judged() {
    for head in REQUESTS {
        for client in [CLIENT, PROXY] {
            assert!(check_request(head.as_bytes(), client, false), "{head}");
            assert!(check_request(head.as_bytes(), client, true), "{head}");
        }
    }
}

#[test]
fn whatever_passes_of_mutated_requests_is_one_request() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut passed = 0;
    for turn in 0..20_000 {
        let head = random.mutated(REQUESTS[turn % REQUESTS.len()]);
        let client = [CLIENT, PROXY][random.below(2)];
        passed += usize::from(check_request(&head, client, random.below(2) == 0));
    }
    assert!(passed > 1000, "{passed}");
}

#[test]
fn whatever_passes_of_mutated_responses_is_one_response() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut out = Vec::new();
    let plain = request(
        REQUESTS[0].as_bytes(),
        &facts(CLIENT),
        unchanged,
        &mut out,
        Vec::reserve,
    )
    .unwrap()
    .unwrap()
    .1;
    let asks = [
        plain,
        Request {
            version: Version::Http10,
            ..plain
        },
        Request {
            method: Method::Head,
            ..plain
        },
        Request {
            upgrade: true,
            trailers: true,
            ..plain
        },
    ];
    let mut passed = 0;
    for turn in 0..20_000 {
        let head = random.mutated(RESPONSES[turn % RESPONSES.len()]);
        passed += usize::from(check_response(&head, &asks[random.below(asks.len())]));
    }
    assert!(passed > 1000, "{passed}");
}
