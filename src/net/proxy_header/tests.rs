use super::*;

/// A header of version 2 with this command, this family, and this behind the length.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("bodies of tests are short");
    [SIGNATURE, &[command, family][..], &len.to_be_bytes(), body].concat()
}

/// 192.0.2.1:56324 to 198.51.100.1:443, then extras.
fn v2_tcp4(extras: &[u8]) -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];
    v2(V2_PROXY, V2_TCP4, &[&addresses, extras].concat())
}

/// From this address, at 56324, to another one at 443.
fn v2_tcp6(source: [u16; 8]) -> Vec<u8> {
    let source: Ipv6Addr = source.into();
    let ports = [0xdc, 0x04, 0x01, 0xbb];
    let body = [&source.octets()[..], &[0xfe; 16], &ports].concat();
    v2(V2_PROXY, V2_TCP6, &body)
}

/// Headers, each with the source that it tells.
fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let lines = [
        (
            "TCP4 192.0.2.1 198.51.100.1 56324 443",
            Some("192.0.2.1:56324"),
        ),
        ("TCP4 0.0.0.0 0.0.0.0 0 0", Some("0.0.0.0:0")),
        (
            "TCP4 255.255.255.255 255.255.255.255 65535 65535",
            Some("255.255.255.255:65535"),
        ),
        ("TCP6 2001:db8::1 ::1 1 80", Some("[2001:db8::1]:1")),
        ("TCP6 :: :: 1 80", Some("[::]:1")),
        (
            "TCP6 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1 80",
            Some("[1:2:3:4:5:6:7:0]:1"),
        ),
        (
            "TCP6 2001:DB8:0:0:0:0:0:0001 ::1 1 80",
            Some("[2001:db8::1]:1"),
        ),
        ("TCP6 ::ffff:192.0.2.1 ::1 9 80", Some("192.0.2.1:9")),
        ("TCP6 ::ffff:c000:201 ::1 9 80", Some("192.0.2.1:9")),
        (
            "TCP6 1:2:3:4:5:6:1.2.3.4 ::1 9 80",
            Some("[1:2:3:4:5:6:102:304]:9"),
        ),
        (
            "TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
            Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        ),
        ("UNKNOWN", None),
        ("UNKNOWN 192.0.2.1 what not", None),
        (
            "UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
            None,
        ),
    ];
    let lines = lines.map(|(line, source)| (format!("PROXY {line}\r\n").into_bytes(), source));
    let noop = [4, 0, 2, 0xaa, 0xbb];
    let extras = [&noop[..], &[0xe0, 0, 0], &noop].concat();
    let longest = [&[4, 0x03, 0xf1][..], &[7; 1009]].concat();
    let binaries = [
        (v2_tcp4(&[]), Some("192.0.2.1:56324")),
        (v2_tcp4(&extras), Some("192.0.2.1:56324")),
        (v2_tcp4(&longest), Some("192.0.2.1:56324")),
        (
            v2_tcp6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
            Some("[2001:db8::1]:56324"),
        ),
        (
            v2_tcp6([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x201]),
            Some("192.0.2.1:56324"),
        ),
        (v2(V2_LOCAL, 0, &[]), None),
        (v2(V2_LOCAL, V2_TCP4, &[1; 12]), None),
        // Of a connection of its own, a proxy may say of the family what it likes.
        (v2(V2_LOCAL, 0xff, &[1; 5]), None),
        (v2(V2_PROXY, 0x00, &[]), None),
        (v2(V2_PROXY, 0x00, &[9; 5]), None),
        (v2(V2_PROXY, 0x01, &[9; 5]), None),
        (v2(V2_PROXY, 0x10, &[9; 5]), None),
        (v2(V2_PROXY, 0x12, &[9; 12]), None),
        (v2(V2_PROXY, 0x22, &[9; 36]), None),
        (v2(V2_PROXY, 0x31, &[9; 216]), None),
        (v2(V2_PROXY, 0x32, &[&[9; 216], &noop[..]].concat()), None),
    ];
    lines.into_iter().chain(binaries).collect()
}

/// Small random numbers, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn address(&mut self) -> SocketAddr {
        let many: [u8; 16] = std::array::from_fn(|_| self.byte());
        let few = many.map(|byte| if byte < 200 { 0 } else { byte });
        let [a, b, c, d, ..] = many;
        let ip: IpAddr = match self.next() % 4 {
            0 => [a, b, c, d].into(),
            1 => many.into(),
            2 => few.into(),
            _ => Ipv4Addr::from([a, b, c, d]).to_ipv6_mapped().into(),
        };
        SocketAddr::new(ip, u16::from_be_bytes([self.byte(), self.byte()]))
    }
}

/// Reads every beginning of `input`, and says what became of the whole. Once there is an answer it stays, and whatever
/// is waited for can come.
fn read_bytewise(input: &[u8]) -> Result<Option<(usize, Option<SocketAddr>)>, Malformed> {
    let mut answer = Ok(None);
    for len in 0..=input.len() {
        let start = &input[..len];
        let read = read(start);
        assert!(answer == Ok(None) || answer == read, "at {len}: {input:?}");
        if read == Ok(None) {
            let more = |byte: u8| super::read(&[start, &[byte]].concat()).is_ok();
            assert!((0..=255).any(more), "nothing may follow {start:?}");
        }
        answer = read;
    }
    answer
}

#[test]
fn headers_are_read_whatever_stands_behind_them() {
    for (header, source) in good() {
        let source = source.map(|source| source.parse().expect("an address"));
        let found = Ok(Some((header.len(), source)));
        assert_eq!(read(&header), found, "{header:?}");
        for behind in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"\r\n",
            b"\n",
            b" 1",
            &[0xff; 2000],
        ] {
            assert_eq!(read(&[&header, behind].concat()), found, "{header:?}");
        }
    }
}

#[test]
fn a_header_is_awaited_until_it_is_whole() {
    for (header, _) in good() {
        assert!(header.len() <= HEADER_BYTES_MAX);
        for len in 0..header.len() {
            assert_eq!(read(&header[..len]), Ok(None), "{len} of {header:?}");
        }
    }
}

#[test]
fn a_header_of_the_greatest_length_is_read() {
    let lens: Vec<usize> = good().iter().map(|(header, _)| header.len()).collect();
    assert!(lens.contains(&HEADER_BYTES_MAX));
    assert!(lens.contains(&LINE_BYTES_MAX));
}

/// Sees that each line is refused at its last byte, not before, and whatever stands behind it.
fn check_refused(lines: &[(&str, usize, &'static str)]) {
    for &(line, at, expected) in lines {
        let why = Err(Malformed { at, expected });
        assert_eq!(read(line.as_bytes()), why, "{line:?}");
        let valid = &line[..line.len() - line.chars().last().map_or(0, char::len_utf8)];
        assert_eq!(read(valid.as_bytes()), Ok(None), "{valid:?}");
        let more = format!("{line} 1.2.3.4 1.2.3.4 1 2\r\n");
        assert_eq!(read(more.as_bytes()), why, "{line:?}");
    }
}

#[test]
fn a_line_is_judged_at_the_first_byte_that_cannot_belong() {
    check_refused(&[
        ("G", 0, "PROXY or the signature of version 2"),
        ("p", 0, "PROXY or the signature of version 2"),
        ("PO", 1, "PROXY and a space"),
        ("PROXY\r", 5, "PROXY and a space"),
        ("PROXY  ", 6, "TCP4, TCP6 or UNKNOWN"),
        ("PROXY t", 6, "TCP4, TCP6 or UNKNOWN"),
        ("PROXY TCP5", 9, "TCP4, TCP6 or UNKNOWN"),
        ("PROXY UD", 7, "UNKNOWN"),
        ("PROXY TCP4\t", 10, "a space"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rG", 31, "CRLF"),
        ("PROXY UNKNOWNS", 13, "a space or CRLF"),
        ("PROXY UNKNOWN\n", 13, "a space or CRLF"),
        ("PROXY UNKNOWN x\n", 15, "CRLF"),
        ("PROXY UNKNOWN x\r\r", 16, "CRLF"),
    ]);
}

#[test]
fn a_word_of_a_line_is_judged_at_the_first_byte_that_cannot_belong() {
    check_refused(&[
        ("PROXY TCP4  ", 11, "an IPv4 address"),
        ("PROXY TCP4 01", 11, "an IPv4 address"),
        ("PROXY TCP4 +", 11, "an IPv4 address"),
        ("PROXY TCP4 256", 11, "an IPv4 address"),
        ("PROXY TCP4 1..", 11, "an IPv4 address"),
        ("PROXY TCP4 1.2.3 ", 11, "an IPv4 address"),
        ("PROXY TCP4 1.2.3.4.", 11, "an IPv4 address"),
        ("PROXY TCP4 :", 11, "an IPv4 address"),
        ("PROXY TCP4 1.2.3.4\r", 11, "an IPv4 address"),
        ("PROXY TCP4 1.2.3.4 :", 19, "an IPv4 address"),
        ("PROXY TCP6 1.", 11, "an IPv6 address"),
        ("PROXY TCP6 1::2::", 11, "an IPv6 address"),
        ("PROXY TCP6 12345", 11, "an IPv6 address"),
        ("PROXY TCP6 fe80::1%", 11, "an IPv6 address"),
        ("PROXY TCP6 [", 11, "an IPv6 address"),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:255.25",
            11,
            "an IPv6 address",
        ),
        ("PROXY TCP6 1:2:3:4:5:6:7:8:", 11, "an IPv6 address"),
        ("PROXY TCP6 1:2:3:4:5:6:7 ", 11, "an IPv6 address"),
        ("PROXY TCP6 ::\u{e9}", 11, "an IPv6 address"),
        (
            "PROXY TCP4 1.2.3.4 1.2.3.4 00",
            27,
            "a port from 0 to 65535",
        ),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 -", 27, "a port from 0 to 65535"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +", 27, "a port from 0 to 65535"),
        (
            "PROXY TCP4 1.2.3.4 1.2.3.4 65536",
            27,
            "a port from 0 to 65535",
        ),
        (
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r",
            27,
            "a port from 0 to 65535",
        ),
        (
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ",
            29,
            "a port from 0 to 65535",
        ),
        (
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 \r",
            29,
            "a port from 0 to 65535",
        ),
        (
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            29,
            "a port from 0 to 65535",
        ),
    ]);
}

#[test]
fn an_unknown_line_ends_within_its_limit() {
    let line = format!("PROXY UNKNOWN {:1$}", "", 105 - 14);
    assert_eq!(line.len() + 2, LINE_BYTES_MAX);
    assert_eq!(read(line.as_bytes()), Ok(None));
    assert_eq!(
        read(format!("{line}\r\n").as_bytes()),
        Ok(Some((107, None)))
    );
    let why = read(format!("{line} ").as_bytes()).expect_err("it is too long");
    assert_eq!(
        why.to_string(),
        "no PROXY header: at byte 105, expected CRLF within 107 bytes"
    );
}

#[test]
fn a_binary_header_is_judged_at_the_first_byte_that_cannot_belong() {
    let fixed = |bytes: &[u8]| [&SIGNATURE[..], bytes].concat();
    let extra = "an extra that ends within the header";
    let addresses = "a length that holds the addresses";
    let unix = [&[9; 216][..], &[4, 0]].concat();
    for (header, at, expected) in [
        (
            b"\r\n\r\nG".to_vec(),
            4,
            "PROXY or the signature of version 2",
        ),
        (fixed(&[0x11]), 12, "version 2, LOCAL or PROXY"),
        (fixed(&[0x22]), 12, "version 2, LOCAL or PROXY"),
        (fixed(&[0x31]), 12, "version 2, LOCAL or PROXY"),
        (fixed(&[0x21, 0x41]), 13, "a known family and protocol"),
        (fixed(&[0x21, 0x13]), 13, "a known family and protocol"),
        (fixed(&[0x21, 0x11, 0, 11]), 14, addresses),
        (fixed(&[0x21, 0x12, 0, 11]), 14, addresses),
        (fixed(&[0x21, 0x21, 0, 35]), 14, addresses),
        (fixed(&[0x21, 0x31, 0, 215]), 14, addresses),
        (fixed(&[0x21, 0x11, 5]), 14, "a length of at most 1024"),
        (fixed(&[0x21, 0x11, 4, 1]), 14, "a length of at most 1024"),
        (fixed(&[0x20, 0x00, 4, 1]), 14, "a length of at most 1024"),
        (fixed(&[0x21, 0x11, 0, 13]), 28, extra),
        (fixed(&[0x21, 0x11, 0, 14]), 28, extra),
        (
            [fixed(&[0x21, 0x11, 0, 16]), vec![9; 12], vec![4, 1]].concat(),
            28,
            extra,
        ),
        (
            [fixed(&[0x21, 0x11, 0, 16]), vec![9; 12], vec![4, 0, 2]].concat(),
            28,
            extra,
        ),
        // The second one has no room.
        (
            [fixed(&[0x21, 0x11, 0, 18]), vec![9; 12], vec![4, 0, 1]].concat(),
            32,
            extra,
        ),
        (
            [fixed(&[0x21, 0x31, 0, 219]), unix, vec![1]].concat(),
            232,
            extra,
        ),
    ] {
        let why = Err(Malformed { at, expected });
        assert_eq!(read(&header), why, "{header:?}");
        assert_eq!(read(&header[..header.len() - 1]), Ok(None), "{header:?}");
        assert_eq!(read(&[header, vec![0; 2000]].concat()), why);
    }
}

#[test]
fn no_byte_of_the_fixed_part_may_be_another_one() {
    let header = v2_tcp4(&[]);
    for at in 0..V2_FIXED_BYTES {
        for byte in 0..=255 {
            let mut broken = header.clone();
            broken[at] = byte;
            match (at, byte, read_bytewise(&broken)) {
                (_, _, Ok(Some(found))) if broken == header => assert_eq!(found.0, 28),
                // Its own connection, or one without an address that we know.
                (12, 0x20, found) => assert_eq!(found, Ok(Some((28, None)))),
                (13, 0x00..=0x02 | 0x10 | 0x12 | 0x20 | 0x30, found) => {
                    assert_eq!(found, Ok(Some((28, None))));
                }
                // A greater length waits for more.
                (14, 1..=3, found) | (15, 15.., found) => assert_eq!(found, Ok(None)),
                (_, _, found) => assert!(found.is_err(), "{at} {byte}: {found:?}"),
            }
        }
    }
}

#[test]
fn whatever_is_waited_for_can_come() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let headers = good();
    let alphabet = b"0123456789abcdefF.: \r\n%+-T";
    for (header, _) in headers.iter().cycle().take(400) {
        let mut broken = header[..header.len().min(120)].to_vec();
        for _ in 0..=random.next() % 3 {
            let at = usize::from(random.byte()) % broken.len();
            let byte = random.byte();
            broken[at] = if header[0] == b'P' {
                alphabet[usize::from(byte) % alphabet.len()]
            } else {
                byte
            };
        }
        if let Ok(Some((len, _))) = read_bytewise(&broken) {
            assert!(len <= broken.len());
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..2000 {
        let (source, destination) = (random.address(), random.address());
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let mut out = b"before".to_vec();
            write(version, source, destination, &mut out);
            let header = out.strip_prefix(b"before").expect("it was appended");
            let told = SocketAddr::new(source.ip().to_canonical(), source.port());
            assert_eq!(
                read(header),
                Ok(Some((header.len(), Some(told)))),
                "{header:?}"
            );
        }
    }
}

#[test]
fn headers_are_written_as_the_text_has_them() {
    let v4 = "192.0.2.1:56324";
    let v4_mapped = "[::ffff:192.0.2.1]:56324";
    let v6 = "[2001:db8::1]:443";
    for (source, destination, line) in [
        (
            v4,
            "198.51.100.1:443",
            "TCP4 192.0.2.1 198.51.100.1 56324 443",
        ),
        (
            v4_mapped,
            "198.51.100.1:443",
            "TCP4 192.0.2.1 198.51.100.1 56324 443",
        ),
        (v6, "[::1]:80", "TCP6 2001:db8::1 ::1 443 80"),
        (v4, v6, "TCP6 ::ffff:c000:201 2001:db8::1 56324 443"),
        (v6, v4_mapped, "TCP6 2001:db8::1 ::ffff:c000:201 443 56324"),
    ] {
        let [source, destination] = [source, destination].map(|addr| addr.parse().unwrap());
        let mut out = Vec::new();
        write(ProxyVersion::V1, source, destination, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("PROXY {line}\r\n"));
    }
    let [v4, v6] = [v4, v6].map(|addr| addr.parse().unwrap());
    let mut out = Vec::new();
    write(
        ProxyVersion::V2,
        v4,
        "198.51.100.1:443".parse().unwrap(),
        &mut out,
    );
    assert_eq!(out, v2_tcp4(&[]));
    out.clear();
    write(ProxyVersion::V2, v4, v6, &mut out);
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
    let other = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let body = [&mapped[..], &other, &[0xdc, 0x04, 0x01, 0xbb]].concat();
    assert_eq!(out, v2(0x21, 0x21, &body));
}
