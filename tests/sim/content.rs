//! Bytes that no two exchanges share, how bodies are cut into chunks, and the mark by which a request is known.

use super::rng::Rng;

/// Whose content it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Salt {
    Request = 1,
    Response = 2,
    Tunnel = 3,
    Greeting = 4,
}

/// Bytes that no other exchange has.
pub(crate) fn content(id: usize, salt: Salt, len: usize) -> Vec<u8> {
    let mut state = (id as u64) << 8 | salt as u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ (state >> 29)).to_be_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// What a backend makes of tunnel bytes.
pub(crate) fn echo(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ 0x55).collect()
}

/// A body in chunks of random sizes.
pub(crate) fn chunks(body: &[u8], trailer: bool, id: usize, rng: &mut Rng) -> Vec<u8> {
    let mut coded = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(
            rng.scaled(1, rest.len() + 1)
                .max(rest.len() / 40)
                .clamp(1, rest.len()),
        );
        let size = if rng.chance(500) {
            format!("{:x}", chunk.len())
        } else {
            format!("{:03X}", chunk.len())
        };
        let extension = rng.pick(&["", "", "", ";a", ";name=value", "; q=\"x;y\""]);
        coded.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
        rest = after;
    }
    coded.extend_from_slice(if rng.chance(800) {
        b"0\r\n"
    } else {
        b"00;last\r\n"
    });
    if trailer && rng.chance(400) {
        coded.extend_from_slice(format!("X-Trail: {id}\r\n").as_bytes());
    }
    coded.extend_from_slice(b"\r\n");
    coded
}

/// Finds the mark of a request's target in bytes, and where it ends.
pub(crate) fn find_mark(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(at) = bytes[from..].windows(2).position(|window| window == b"/~") {
        let start = from + at + 2;
        let digits = bytes[start..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let text = std::str::from_utf8(&bytes[start..start + digits]).unwrap_or_default();
        if bytes.get(start + digits) == Some(&b'/')
            && let Ok(id) = text.parse()
        {
            return Some((id, start + digits + 1));
        }
        from = start;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::find_mark;

    #[test]
    fn a_mark_is_found_once_it_is_whole() {
        assert_eq!(find_mark(b"GET /~17/path"), Some((17, 9)));
        assert_eq!(find_mark(b"GET /~17"), None);
        assert_eq!(find_mark(b"/~/ /~x/ /~3/"), Some((3, 13)));
    }
}
