//! The one source of chance: a seed, or given bytes; either gives the same run on every machine.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// A source of chance.
#[derive(Clone, Debug)]
pub(crate) struct Rng(Source);

#[derive(Clone, Debug)]
enum Source {
    /// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and every seed is as good as any other.
    Seed(u64),
    /// Bytes that somebody else chose. A draw takes as few as will do, and all forks draw from the same ones: so they are
    /// used up in the order of what happens, and a change of one byte changes nothing that happened before. When none is
    /// left, every draw gives the least that it can, nothing has a chance any more, and the run ends soon.
    Bytes(Rc<RefCell<VecDeque<u8>>>),
}

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Source::Seed(seed))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let bytes = bytes.iter().copied().collect();
        Self(Source::Bytes(Rc::new(RefCell::new(bytes))))
    }

    /// A generator of its own, so that what one part draws does not shift what another draws.
    pub(crate) fn fork(&mut self) -> Self {
        match &self.0 {
            Source::Seed(_) => Self::new(self.next()),
            Source::Bytes(bytes) => Self(Source::Bytes(Rc::clone(bytes))),
        }
    }

    pub(crate) fn next(&mut self) -> u64 {
        match &mut self.0 {
            Source::Seed(state) => split_mix(state),
            Source::Bytes(bytes) => take(bytes, 8).unwrap_or(0),
        }
    }

    /// One of `0..count`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).expect("a usize has at most 64 bits");
        usize::try_from(self.draw(count)).expect("less than a usize")
    }

    /// One of `0..count`.
    fn draw(&mut self, count: u64) -> u64 {
        let Source::Bytes(bytes) = &mut self.0 else {
            return self.next() % count;
        };
        match count {
            1 => 0,
            ..=0x100 => take(bytes, 1).unwrap_or(0) % count,
            // A larger number is drawn coarsely: nobody needs each microsecond.
            _ => {
                let place = take(bytes, 2).unwrap_or(0);
                u64::try_from((u128::from(place) * u128::from(count)) >> 16)
                    .expect("less than count")
            }
        }
    }

    /// One of `low..=high`.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// One of `low..=high`, small ones as likely as large ones: the number of its digits is drawn first.
    pub(crate) fn scaled(&mut self, low: usize, high: usize) -> usize {
        let mut top = high.max(low + 1);
        for _ in 0..self.below(8) {
            top = (top / 4).max(low + 1);
        }
        self.between(low, top.min(high.max(low)))
    }

    pub(crate) fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from((high - low).as_micros()).expect("short");
        low + Duration::from_micros(self.draw(span + 1))
    }

    /// True `permille` times in a thousand.
    pub(crate) fn chance(&mut self, permille: usize) -> bool {
        let Source::Bytes(bytes) = &mut self.0 else {
            return self.below(1000) < permille;
        };
        match permille {
            0 => false,
            1000.. => true,
            _ => take(bytes, 1).is_some_and(|byte| byte * 1000 < permille as u64 * 256),
        }
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A number of so many bytes, or of those that are left; `None` when none is.
fn take(bytes: &RefCell<VecDeque<u8>>, count: usize) -> Option<u64> {
    let mut bytes = bytes.borrow_mut();
    let count = count.min(bytes.len());
    let number = bytes.drain(..count);
    let number = number.fold(0, |number, byte| number << 8 | u64::from(byte));
    (count > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Rng;

    #[test]
    fn a_seed_gives_the_published_sequence() {
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.next(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        let bytes: Vec<u8> = (0..800u64).flat_map(|at| (at * at).to_le_bytes()).collect();
        for mut rng in [Rng::new(7), Rng::from_bytes(&bytes)] {
            for _ in 0..1000 {
                assert!((3..=5).contains(&rng.between(3, 5)));
                assert!((1..=300).contains(&rng.scaled(1, 300)));
                assert!((4..=4).contains(&rng.scaled(4, 4)));
            }
        }
    }

    #[test]
    fn bytes_are_drawn_in_order_by_all_forks_and_then_nothing_has_a_chance() {
        let mut rng = Rng::from_bytes(&[7, 0, 0x80, 0, 255, 254, 3]);
        let mut fork = rng.fork();
        assert_eq!(rng.below(1), 0, "what is certain costs nothing");
        assert_eq!(rng.below(10), 7);
        assert!(fork.chance(1));
        assert_eq!(rng.between(0, 9999), 5000);
        assert!(!fork.chance(990));
        assert!(rng.chance(1000) && !rng.chance(0));
        assert!(fork.chance(995));
        assert_eq!(rng.next(), 3);
        assert!(!rng.chance(999));
        assert_eq!((rng.below(300), fork.between(2, 5)), (0, 2));
        assert_eq!(
            rng.duration(Duration::ZERO, Duration::from_secs(1)),
            Duration::ZERO
        );
    }
}
