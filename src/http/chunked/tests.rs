//! Every case is fed whole, cut at every byte, byte by byte, and with bytes behind it.

use super::*;

/// What goes on of `input` when it comes in pieces that end at `cuts`, and how many bytes were taken.
fn fed(input: &[u8], output: Output, cuts: &[usize]) -> Result<(Vec<u8>, usize), Reject> {
    let (mut chunked, mut out, mut taken) = (Chunked::new(output), Vec::new(), 0);
    for &cut in cuts {
        let mut piece = input[taken..cut].to_vec();
        let passed = chunked.pass(&mut piece)?;
        assert!(passed.made <= passed.taken && passed.taken <= piece.len());
        out.extend_from_slice(&piece[..passed.made]);
        taken += passed.taken;
        if chunked.is_done() {
            return Ok((out, taken));
        }
    }
    Err(Reject::Malformed) // Stands here for: more is needed.
}

fn check(input: &[u8], output: Output) -> Result<Vec<u8>, Reject> {
    let whole = fed(input, output, &[input.len()]);
    let trailing = [input, b"5\r\nGET /"].concat();
    assert_eq!(
        fed(&trailing, output, &[trailing.len()]),
        whole,
        "{}",
        input.escape_ascii()
    );
    let bytes: Vec<usize> = (0..=input.len()).collect();
    assert_eq!(
        fed(input, output, &bytes),
        whole,
        "{}",
        input.escape_ascii()
    );
    for cut in 0..input.len() {
        assert_eq!(
            fed(input, output, &[cut, input.len()]),
            whole,
            "{cut} {}",
            input.escape_ascii()
        );
    }
    whole.map(|(out, taken)| {
        assert_eq!(taken, input.len());
        out
    })
}

fn goes_on(input: &str, output: Output, expected: &str) {
    let found = check(input.as_bytes(), output);
    let found = found.map(|out| String::from_utf8(out).unwrap());
    assert_eq!(found.as_deref(), Ok(expected), "{input:?}");
}

fn refused(input: &[u8], expected: Reject) {
    assert_eq!(
        check(input, Output::WithTrailers),
        Err(expected),
        "{}",
        input.escape_ascii()
    );
}

#[test]
fn chunks_pass_as_chunks_or_as_bare_data() {
    let body = "5\r\nhello\r\n00A\r\n, world\r\n!\r\n0\r\n\r\n";
    goes_on(body, Output::Chunks, body);
    goes_on(body, Output::WithTrailers, body);
    goes_on(body, Output::Data, "hello, world\r\n!");
    goes_on("000000000000000\r\n\r\n", Output::Data, "");
    goes_on("000000000000001\r\nx\r\n0\r\n\r\n", Output::Data, "x");
}

#[test]
fn extensions_are_dropped() {
    let body = "5;a=b;c=\"d\te\"\r\nhello\r\n0;last\r\n\r\n";
    goes_on(body, Output::Chunks, "5\r\nhello\r\n0\r\n\r\n");
    goes_on(body, Output::Data, "hello");
    let long = |bytes: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(bytes));
    goes_on(&long(256), Output::Data, "x");
    refused(long(257).as_bytes(), Reject::BadChunk);
}

#[test]
fn whatever_is_not_exactly_a_chunk_is_refused() {
    for body in [
        &b"\r\n\r\n"[..],
        b";x\r\n\r\n",
        b" 1\r\nx\r\n0\r\n\r\n",
        b"1 \r\nx\r\n0\r\n\r\n",
        b"1\t;a\r\nx\r\n0\r\n\r\n",
        b"+1\r\nx\r\n0\r\n\r\n",
        b"-1\r\nx\r\n0\r\n\r\n",
        b"0x1\r\nx\r\n0\r\n\r\n",
        b"1_0\r\nx\r\n0\r\n\r\n",
        b"g\r\n",
        b"\xb1\r\nx\r\n",
        b"1\nx\r\n0\r\n\r\n",
        b"1\rx\r\n0\r\n\r\n",
        b"1\r\r\nx\r\n0\r\n\r\n",
        b"1;a\nx\r\n0\r\n\r\n",
        b"1;a\0\r\nx\r\n0\r\n\r\n",
        b"1;a\x7f\r\nx\r\n0\r\n\r\n",
        b"1;a\xe9\r\nx\r\n0\r\n\r\n",
        b"1;a\rb\r\nx\r\n0\r\n\r\n",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nxy\r\n0\r\n\r\n",
        b"1\r\nx0\r\n\r\n",
        b"1\r\nx\r0\r\n\r\n",
        b"2\r\nx\r\n0\r\n\r\n",
        b"0000000000000001\r\nx\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nx",
        b"10000000000000001\r\nx",
    ] {
        refused(body, Reject::BadChunk);
    }
}

#[test]
fn trailers_go_on_only_where_they_are_wanted_and_harmless() {
    let kept = "Digest: x\r\nserver-timing:\té \r\n";
    let body = format!(
        "0\r\nContent-Length: 5\r\n{kept}Set-Cookie: a\r\nx_forwarded_for: b\r\nHOST: c\r\nETag: \"d\"\r\n\r\n"
    );
    goes_on(
        &body,
        Output::WithTrailers,
        &format!("0\r\n{kept}ETag: \"d\"\r\n\r\n"),
    );
    goes_on(&body, Output::Chunks, "0\r\n\r\n");
    goes_on(&body, Output::Data, "");
    let never = "Transfer-Encoding Content-Length Host Authorization Proxy-Authorization Proxy-Anything Set-Cookie \
        Cookie Connection TE Trailer Content-Encoding Content-Type Content-Range Cache-Control Expect Max-Forwards \
        Range If-Match X-Forwarded-For X-Forwarded-Anything Forwarded X-Real-IP Via X-Request-Id Upgrade Keep-Alive \
        Date Age Location Retry-After Vary Warning WWW-Authenticate Pragma";
    for name in never.split_ascii_whitespace() {
        goes_on(
            &format!("0\r\n{name}: 1\r\n\r\n"),
            Output::WithTrailers,
            "0\r\n\r\n",
        );
    }
}

#[test]
fn broken_trailers_are_refused_whether_wanted_or_not() {
    for trailer in [
        &b"A : b\r\n"[..],
        b" A: b\r\n",
        b"A: b\r\n c\r\n",
        b": b\r\n",
        b"A\r\n",
        b"A: b\n",
        b"A: b\0\r\n",
        b"A: b\rc\r\n",
        b"A\xe9: b\r\n",
    ] {
        for output in [Output::WithTrailers, Output::Chunks, Output::Data] {
            let body = [b"1\r\nx\r\n0\r\n", trailer, b"\r\n"].concat();
            assert_eq!(
                check(&body, output),
                Err(Reject::BadTrailer),
                "{}",
                body.escape_ascii()
            );
        }
    }
    refused(b"0\r\n\n", Reject::BadTrailer);
}

#[test]
fn trailers_have_a_limit() {
    let section = |bytes: usize| format!("A: {}\r\n\r\n", "b".repeat(bytes - 7));
    let fits = format!("0\r\n{}", section(TRAILER_BYTES_MAX));
    let all = fed(fits.as_bytes(), Output::Data, &[fits.len()]);
    assert_eq!(all, Ok((Vec::new(), fits.len())));
    let longer = format!("0\r\n{}", section(TRAILER_BYTES_MAX + 1));
    for end in [longer.len() - 1, longer.len()] {
        let found = fed(longer.as_bytes(), Output::Data, &[end]);
        assert_eq!(found, Err(Reject::TrailerTooLarge));
    }
}

#[test]
fn much_around_little_data_is_refused() {
    let chunks = |chunk: &str, count: usize| {
        let body = [&chunk.repeat(count), "0\r\n\r\n"].concat();
        fed(body.as_bytes(), Output::Chunks, &[body.len()]).map(|_| ())
    };
    let long = format!("1;{}\r\nx\r\n", "e".repeat(200));
    assert_eq!(chunks(&long, 50), Ok(()));
    let extended = |bytes: usize| format!("1;{}\r\nx\r\n", "e".repeat(bytes));
    assert_eq!(chunks(&extended(12), 5000), Ok(()));
    assert_eq!(chunks(&extended(20), 5000), Err(Reject::BadChunk));
    assert_eq!(chunks(&long, 500), Err(Reject::BadChunk));
    let justified = format!("80;{}\r\n{}\r\n", "e".repeat(200), "x".repeat(128));
    assert_eq!(chunks(&justified, 5000), Ok(()));
    assert_eq!(chunks("1\r\nx\r\n", 50_000), Ok(()));
}

#[test]
fn zeros_before_a_size_count_whether_its_line_comes_whole_or_not() {
    // Each chunk has one byte around its data more than it is granted.
    let body =
        |count: usize| ["000000000000001\r\nx\r\n".repeat(count), "0\r\n\r\n".into()].concat();
    let most = usize::from(EXCESS_MAX) + 1;
    for (count, refused) in [(most, false), (most + 1, true)] {
        let body = body(count);
        for piece in [1, 19, 1000, body.len()] {
            let cuts: Vec<usize> = (piece..body.len())
                .step_by(piece)
                .chain([body.len()])
                .collect();
            let found = fed(body.as_bytes(), Output::Chunks, &cuts);
            assert_eq!(
                found == Err(Reject::BadChunk),
                refused,
                "{count} in {piece}"
            );
        }
    }
}

#[test]
fn any_cut_of_any_body_gives_what_the_whole_gives() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).unwrap() % below
    };
    let alphabet = b"0159aF;=x: \t\r\n\0\xff";
    for _ in 0..2000 {
        let mut body =
            b"3;a\r\nabc\r\n0001\r\nz\r\n0;x\r\nA: b\r\nHost: c\r\nD: e\r\n\r\n".to_vec();
        for _ in 0..random(3) {
            let at = random(body.len());
            body[at] = alphabet[random(alphabet.len())];
        }
        let mut cuts: Vec<usize> = (0..random(6)).map(|_| random(body.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(body.len());
        for output in [Output::WithTrailers, Output::Chunks, Output::Data] {
            let whole = fed(&body, output, &[body.len()]);
            let mut cuts = cuts.clone();
            cuts.dedup();
            // A cut before what is already taken is no cut.
            assert_eq!(fed(&body, output, &cuts), whole, "{}", body.escape_ascii());
        }
    }
}
