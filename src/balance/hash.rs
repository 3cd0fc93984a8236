//! Rendezvous hashing: for each key every backend has a score, the highest wins. So a backend that goes takes only its own
//! keys along, and one that comes takes only those that it wins. Scores depend on names and weights alone, not on the version
//! of this program nor on the machine: several rondels agree.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// The hash of what a pool hashes on, or of a backend's name: SipHash-2-4 with a key of zeros.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(bytes);
    hasher.finish()
}

/// What a key and a backend's name come to together. Among equal weights the largest wins.
pub(super) fn meet(key: u64, name: u64) -> u64 {
    // The last step of SplitMix64: each bit that goes in turns half of those that come out.
    let mut bits = key ^ name;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The score for a weight, which is not 0: the largest of several is the first with a probability that is its part of the
/// weights. It orders as [`meet`] does where the weights are equal.
pub(super) fn score(met: u64, weight: u32) -> f64 {
    f64::from(weight) / -ln_of_fraction(met)
}

/// The natural logarithm of `bits`/2^64, rounded so that it is less than 0. Only of operations that IEEE 754 defines to the
/// last bit: what a system's library returns may differ from another's.
fn ln_of_fraction(bits: u64) -> f64 {
    const MANTISSA_BITS: u32 = 52;
    // In [1, 2), from the bits behind the first that is set.
    let zeros = bits.leading_zeros().min(63);
    let behind = (bits << zeros) << 1;
    let mantissa = f64::from_bits((1023 << MANTISSA_BITS) | (behind >> (64 - MANTISSA_BITS)));
    // ln m = 2 artanh((m - 1) / (m + 1)), here at most 1/3 each: so many terms are good to 12 digits and more.
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let mut series = 0.0;
    for odd in [
        23.0, 21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0,
    ] {
        series = series * square + 1.0 / odd;
    }
    let ln = 2.0 * ratio * series - f64::from(zeros + 1) * std::f64::consts::LN_2;
    ln.min(-f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one_whatever_the_version() {
        // The value of the reference implementation for no bytes and a key of zeros.
        assert_eq!(hash(b""), 0x1e92_4b9d_7377_00d7);
    }

    #[test]
    fn the_logarithm_is_right_to_many_digits() {
        for n in 0..10_000_u64 {
            let bits = (meet(n, 1) >> (n % 50)).max(1);
            #[expect(
                clippy::cast_precision_loss,
                reason = "what the logarithm is compared with"
            )]
            let exact = (bits as f64 / 2_f64.powi(64)).ln();
            let error = (ln_of_fraction(bits) - exact).abs();
            assert!(error < 1e-11, "ln of {bits}: off by {error}");
        }
        for bits in [0, 1, u64::MAX] {
            let ln = ln_of_fraction(bits);
            assert!(ln < 0.0 && ln.is_finite(), "ln of {bits} is {ln}");
        }
    }

    #[test]
    fn scores_of_equal_weights_order_as_what_they_are_made_of() {
        let mut met: Vec<u64> = (0..1000).map(|n| meet(n, 7)).collect();
        met.sort_unstable();
        let scores: Vec<f64> = met.iter().map(|&met| score(met, 3)).collect();
        assert!(scores.is_sorted());
    }
}
