//! Patterns with stars. It takes time in proportion to pattern and text, whatever stands in them.

/// Patterns up to this length, in bytes, are compared without an allocation.
const SHORT_BYTES_MAX: usize = 255;

/// Whether a path fits a pattern: `*` stands for any bytes but `/`, `**` for any bytes.
pub(super) fn path_fits(pattern: &[u8], path: &[u8]) -> bool {
    fits_where(pattern, path, Some(b'/'))
}

/// Whether a text fits a pattern: `*` stands for any bytes.
pub(super) fn fits(pattern: &[u8], text: &[u8]) -> bool {
    fits_where(pattern, text, None)
}

/// Whether a text fits a pattern in which a single star does not go beyond the byte `stop`.
///
/// All the ways to read the text go on at once: a set of places in the pattern where one may stand.
fn fits_where(pattern: &[u8], text: &[u8], stop: Option<u8>) -> bool {
    let mut short = [[0; SHORT_BYTES_MAX / 64 + 1]; 2];
    let mut long;
    let [here, next] = if pattern.len() <= SHORT_BYTES_MAX {
        short.each_mut().map(|words| &mut words[..])
    } else {
        let words = pattern.len() / 64 + 1;
        long = [vec![0; words], vec![0; words]];
        long.each_mut().map(Vec::as_mut_slice)
    };
    let (mut here, mut next) = (Places(here), Places(next));
    here.add(pattern, 0);
    for &byte in text {
        next.0.fill(0);
        for place in here.iter() {
            match pattern.get(place) {
                Some(b'*') if is_double(pattern, place) || Some(byte) != stop => {
                    next.add(pattern, place);
                }
                Some(b'*') | None => {}
                Some(&wanted) if wanted == byte => next.add(pattern, place + 1),
                Some(_) => {}
            }
        }
        std::mem::swap(&mut here, &mut next);
        if here.is_empty() {
            return false;
        }
    }
    here.has(pattern.len())
}

/// Whether a second star follows the one at this place.
fn is_double(pattern: &[u8], place: usize) -> bool {
    pattern.get(place + 1) == Some(&b'*')
}

/// A set of places in a pattern; one is its end. Never in the midst of a double star.
struct Places<'w>(&'w mut [u64]);

impl Places<'_> {
    /// Puts in a place, and the one behind the stars that begin there: they may stand for nothing.
    fn add(&mut self, pattern: &[u8], mut place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
        while pattern.get(place) == Some(&b'*') {
            place += if is_double(pattern, place) { 2 } else { 1 };
            self.0[place / 64] |= 1 << (place % 64);
        }
    }

    fn has(&self, place: usize) -> bool {
        self.0[place / 64] & (1 << (place % 64)) != 0
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(nth, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest.checked_sub(1)?;
                Some(nth * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, path: bool, any: bool) {
        let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
        let shown = || format!("{} {}", pattern.escape_ascii(), text.escape_ascii());
        assert_eq!(path_fits(pattern, text), path, "{}", shown());
        assert_eq!(fits(pattern, text), any, "{}", shown());
    }

    #[test]
    fn a_star_stays_in_its_segment_and_two_do_not() {
        for (pattern, text, path, any) in [
            ("", "", true, true),
            ("", "a", false, false),
            ("/a", "/a", true, true),
            ("/a", "/ab", false, false),
            ("/*", "/", true, true),
            ("/*", "/a", true, true),
            ("/*", "/a/b", false, true),
            ("/**", "/a/b", true, true),
            ("/*/c", "/a/c", true, true),
            ("/*/c", "/a/b/c", false, true),
            ("/**/c", "/a/b/c", true, true),
            ("/**/c", "/c", false, false),
            ("/*.php", "/a.php", true, true),
            ("/*.php", "/a.php.php", true, true),
            ("/**.php", "/a/b.phpx", false, false),
            ("***", "/a", true, true),
            ("a*b*c", "a1b2b3c", true, true),
            ("a*b*c", "a1b2c3", false, false),
        ] {
            check(pattern, text, path, any);
        }
    }

    /// What a pattern means, said once more in the simplest way.
    fn meant(pattern: &[u8], text: &[u8], stop: Option<u8>) -> bool {
        match (pattern, text) {
            ([b'*', b'*', rest @ ..], _) => {
                meant(rest, text, stop) || !text.is_empty() && meant(pattern, &text[1..], stop)
            }
            ([b'*', rest @ ..], _) => {
                let goes_on = text.first().is_some_and(|&byte| Some(byte) != stop);
                meant(rest, text, stop) || goes_on && meant(pattern, &text[1..], stop)
            }
            ([wanted, rest @ ..], [byte, behind @ ..]) => {
                wanted == byte && meant(rest, behind, stop)
            }
            ([], []) => true,
            _ => false,
        }
    }

    #[test]
    fn every_short_pattern_fits_what_it_means() {
        let all = |letters: &[u8], longest: u32| -> Vec<Vec<u8>> {
            (0..=longest)
                .flat_map(|len| (0..letters.len().pow(len)).map(move |nth| (len, nth)))
                .map(|(len, nth)| {
                    (0..len)
                        .map(|at| letters[nth / letters.len().pow(at) % letters.len()])
                        .collect()
                })
                .collect()
        };
        let texts = all(b"a/b", 4);
        for pattern in all(b"a*/", 5) {
            for text in &texts {
                assert_eq!(
                    path_fits(&pattern, text),
                    meant(&pattern, text, Some(b'/')),
                    "{} {}",
                    pattern.escape_ascii(),
                    text.escape_ascii()
                );
                assert_eq!(fits(&pattern, text), meant(&pattern, text, None));
            }
        }
    }

    #[test]
    fn long_patterns_take_no_more_than_their_product() {
        let text = "a".repeat(8 * 1024);
        let many = "a**".repeat(85);
        assert!(path_fits(many.as_bytes(), text.as_bytes()));
        let long = format!("{}b", "a*a**".repeat(60));
        assert!(!path_fits(long.as_bytes(), text.as_bytes()));
        for len in [63, 64, 65, 127, 128, 254, 255, 256, 257, 1000] {
            let exact = "a".repeat(len);
            assert!(path_fits(exact.as_bytes(), exact.as_bytes()), "{len}");
            assert!(!path_fits(exact.as_bytes(), &exact.as_bytes()[1..]));
        }
    }
}
