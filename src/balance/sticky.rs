//! The token that a sticky cookie carries: it stands for a backend and tells nobody which one.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::config::Sticky;

/// Bytes of a token.
const TOKEN_BYTES: usize = 16;
/// Bytes of a token in a cookie, as hexadecimal digits.
pub const TOKEN_DIGITS: usize = 2 * TOKEN_BYTES;

/// What a sticky cookie says: the first 16 bytes of the HMAC-SHA-256 of the pool's name, a zero and the backend's name with the
/// pool's secret as key; of the SHA-256 of these where there is no secret. So the same on all machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token([u8; TOKEN_BYTES]);

impl Token {
    /// The token of a backend.
    pub(super) fn new(sticky: &Sticky, pool: &str, backend: &str) -> Self {
        let parts = [pool.as_bytes(), &[0], backend.as_bytes()];
        let digest: [u8; 32] = match &sticky.secret {
            Some(secret) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
                    .expect("HMAC takes keys of any length");
                parts.iter().for_each(|part| mac.update(part));
                mac.finalize().into_bytes().into()
            }
            None => {
                let mut hash = Sha256::new();
                parts.iter().for_each(|part| hash.update(part));
                hash.finalize().into()
            }
        };
        let (token, _) = digest.split_at(TOKEN_BYTES);
        Self(token.try_into().expect("a digest is longer than a token"))
    }

    /// The token that a cookie's value is; `None` where it is not one: 32 hexadecimal digits in lower case.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value: &[u8; TOKEN_DIGITS] = value.try_into().ok()?;
        let digit = |octet: u8| match octet {
            b'0'..=b'9' => Some(octet - b'0'),
            b'a'..=b'f' => Some(octet - b'a' + 10),
            _ => None,
        };
        let mut token = [0; TOKEN_BYTES];
        for (byte, &[high, low]) in token.iter_mut().zip(value.as_chunks().0) {
            *byte = digit(high)? << 4 | digit(low)?;
        }
        Some(Self(token))
    }

    /// The token as a cookie's value.
    #[must_use]
    pub fn digits(self) -> [u8; TOKEN_DIGITS] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; TOKEN_DIGITS];
        for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(self.0) {
            *pair = [
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ];
        }
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(secret: Option<&str>, pool: &str, backend: &str) -> Token {
        let sticky = Sticky {
            cookie: "b".to_owned(),
            secret: secret.map(str::to_owned),
        };
        Token::new(&sticky, pool, backend)
    }

    #[test]
    fn a_token_is_what_other_programs_make_of_the_same() {
        // printf 'web\0b1' | openssl dgst -sha256 [-hmac key]
        let hashed = token(None, "web", "b1").digits();
        assert_eq!(&hashed, b"0d645a5a18d1fa48176c6f64e7537003");
        let signed = token(Some("key"), "web", "b1").digits();
        assert_eq!(&signed, b"03afce94056f3d254738b069dc51f6c7");
    }

    #[test]
    fn a_token_comes_back_from_its_digits_and_nothing_else_is_one() {
        let sent = token(None, "web", "b1");
        assert_eq!(Token::parse(&sent.digits()), Some(sent));
        let digits = b"0123456789abcdef0123456789abcdef";
        assert_eq!(Token::parse(digits).map(Token::digits), Some(*digits));
        for value in [
            &b""[..],
            b"0123456789abcdef0123456789abcde",
            b"0123456789abcdef0123456789abcdef0",
            b"0123456789ABCDEF0123456789abcdef",
            b"0123456789abcdeg0123456789abcdef",
            b"+123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(Token::parse(value), None);
        }
    }

    #[test]
    fn pools_backends_and_secrets_have_tokens_of_their_own() {
        let tokens = [
            token(None, "web", "b1"),
            token(None, "web", "b2"),
            token(None, "we", "bb1"),
            token(Some("key"), "web", "b1"),
            token(Some("other"), "web", "b1"),
        ];
        for (at, one) in tokens.iter().enumerate() {
            assert!(!tokens[at + 1..].contains(one));
        }
    }
}
