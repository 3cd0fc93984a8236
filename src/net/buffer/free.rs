//! The free list: storage that came back, for whoever needs some next.
//!
//! Some of it is needed again at once, some only when as much is under way as before. So it is counted how few lay here at
//! a time: so many nobody needed, and after a while they go back to the system. When only the least is left there is
//! nothing more to count, and nobody need be woken for it.

use std::time::{Duration, Instant};

use super::{
    HELD_BYTES_SOFT, LARGE, MIDDLE, READ_BYTES_MAX, READ_BYTES_TIGHT, SESSION_BYTES_MAX, SMALL,
};

/// The sizes that storage comes in, in bytes, and how many free ones of each are kept for the next taker (11 MiB in all):
/// the first are those of a usual head, and of one with long cookies.
const CLASSES: [(usize, usize); 5] = [
    (2 * 1024, 2048),
    (8 * 1024, 256),
    (SMALL, 64),
    (MIDDLE, 16),
    (LARGE, 16),
];

/// How long free storage must have lain unused to be let go of.
pub const UNUSED_MAX: Duration = Duration::from_secs(1);
/// Free ones of the smallest size that are kept however long nobody needs them.
const LEAST_KEPT: usize = 16;

/// Free storage that is kept in any case, in bytes.
pub const FREE_BYTES_LEAST: usize = LEAST_KEPT * CLASSES[0].0;

/// The free list.
#[derive(Debug, Default)]
pub struct Buffers {
    free: [Free; CLASSES.len()],
    /// When it is looked at next whether some of it was not needed; `None` when there is none to let go of.
    review: Option<Instant>,
}

/// The free ones of one size.
#[derive(Debug, Default)]
struct Free {
    /// The first has lain longest.
    storage: Vec<Vec<u8>>,
    /// The fewest that there were since the last review: so many were not needed.
    fewest: usize,
}

impl Free {
    fn pop(&mut self) -> Option<Vec<u8>> {
        let storage = self.storage.pop()?;
        self.fewest = self.fewest.min(self.storage.len());
        Some(storage)
    }

    /// Lets go of what was not needed since the last review, except so many.
    fn let_go(&mut self, least: usize) {
        let unused = self.fewest.min(self.storage.len().saturating_sub(least));
        self.storage.drain(..unused);
        if unused > 0 {
            self.storage.shrink_to(2 * self.storage.len());
        }
        self.fewest = self.storage.len();
    }
}

impl Buffers {
    /// Lends empty storage with room for at least `bytes`.
    pub fn take(&mut self, bytes: usize) -> Vec<u8> {
        let Some(class) = CLASSES.iter().position(|&(size, _)| size >= bytes) else {
            return Vec::with_capacity(bytes);
        };
        self.free[class]
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(CLASSES[class].0))
    }

    /// Makes room for so many bytes more behind what `storage` holds, in larger storage if need be.
    pub fn reserve(&mut self, storage: &mut Vec<u8>, bytes: usize) {
        let needed = storage.len() + bytes;
        if storage.capacity() < needed {
            let mut larger = self.take(needed);
            larger.extend_from_slice(storage);
            self.give(std::mem::replace(storage, larger));
        }
    }

    /// Takes storage back. Whatever it held is gone.
    pub fn give(&mut self, mut storage: Vec<u8>) {
        let capacity = storage.capacity();
        // What outgrew its class is not hoarded in another: whoever took it would hold more than was reckoned with.
        let class = CLASSES.iter().position(|&(size, _)| size == capacity);
        if let Some(class) = class
            && self.free[class].storage.len() < CLASSES[class].1
        {
            storage.clear();
            self.free[class].storage.push(storage);
        }
    }

    /// Lets go of what nobody has needed for [`UNUSED_MAX`]. To be called now and then, at the latest when
    /// [`next`](Self::next) says.
    pub fn review(&mut self, now: Instant) {
        match self.review {
            Some(at) if now < at => return,
            None if !self.has_surplus() => return,
            Some(_) => {
                let [smallest, others @ ..] = &mut self.free;
                smallest.let_go(LEAST_KEPT);
                others.iter_mut().for_each(|free| free.let_go(0));
            }
            // What came back since the last review counts from now on.
            None => self
                .free
                .iter_mut()
                .for_each(|free| free.fewest = free.storage.len()),
        }
        self.review = self.has_surplus().then(|| now + UNUSED_MAX);
    }

    /// When [`review`](Self::review) has something to do, if nobody needs storage before.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.review
    }

    /// Free storage, in bytes.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        let sizes = self.free.iter().zip(CLASSES);
        sizes
            .map(|(free, (size, _))| free.storage.len() * size)
            .sum()
    }

    /// Whether there is more free storage than is kept in any case.
    fn has_surplus(&self) -> bool {
        let [smallest, others @ ..] = &self.free;
        smallest.storage.len() > LEAST_KEPT || others.iter().any(|free| !free.storage.is_empty())
    }

    /// How many bytes may be read at once while connections hold `held` bytes of storage.
    #[must_use]
    pub fn read_bytes_max(held: usize) -> usize {
        if held + SESSION_BYTES_MAX <= HELD_BYTES_SOFT {
            READ_BYTES_MAX
        } else {
            READ_BYTES_TIGHT
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "times need a moment to count from"
    )]
    fn free_storage_that_nobody_needed_for_a_while_is_let_go_of() {
        let (mut buffers, mut now) = (Buffers::default(), Instant::now());
        buffers.review(now);
        assert_eq!(buffers.next(), None, "there is none");
        // How many of each size are needed in each second, and how many are free after it.
        for (needed, expected) in [
            (20, [20, 20, 20, 16, 16]),
            (3, [16, 3, 3, 3, 3]),
            (3, [16, 3, 3, 3, 3]),
            (5, [16, 5, 5, 5, 5]),
            (0, [16, 0, 0, 0, 0]),
        ] {
            for (size, _) in CLASSES {
                let lent: Vec<Vec<u8>> = (0..needed).map(|_| buffers.take(size)).collect();
                lent.into_iter().for_each(|storage| buffers.give(storage));
            }
            now += UNUSED_MAX;
            buffers.review(now);
            let free = buffers.free.each_ref().map(|free| free.storage.len());
            assert_eq!(free, expected, "{needed}");
        }
        assert_eq!(buffers.next(), None, "there is nothing more to look after");
        assert_eq!(buffers.free_bytes(), FREE_BYTES_LEAST);
    }

    #[test]
    fn what_is_given_back_is_lent_again_the_last_first_and_only_so_much_is_kept() {
        let mut buffers = Buffers::default();
        for (size, count) in CLASSES {
            let lent: Vec<Vec<u8>> = (0..=count).map(|_| buffers.take(size)).collect();
            assert!(lent.iter().all(|storage| storage.capacity() == size));
            let last = lent[count - 1].as_ptr();
            lent.into_iter().for_each(|storage| buffers.give(storage));
            let again = buffers.take(size);
            assert_eq!(again.as_ptr(), last);
        }
        let kept: Vec<usize> = buffers.free.iter().map(|free| free.storage.len()).collect();
        assert_eq!(kept, CLASSES.map(|(_, count)| count - 1));
    }

    #[test]
    fn storage_grows_from_class_to_class_with_what_it_holds() {
        let mut buffers = Buffers::default();
        let mut storage = Vec::new();
        for (size, _) in CLASSES {
            let more = size - storage.len();
            buffers.reserve(&mut storage, more);
            assert_eq!(storage.capacity(), size);
            storage.resize(size, b'x');
        }
        assert!(storage.iter().all(|&byte| byte == b'x'));
        let free: Vec<usize> = buffers.free.iter().map(|free| free.storage.len()).collect();
        assert_eq!(free, [1, 1, 1, 1, 0], "what was outgrown is lent again");
    }

    #[test]
    fn reads_are_small_while_much_is_held() {
        for (held, expected) in [
            (0, READ_BYTES_MAX),
            (HELD_BYTES_SOFT - SESSION_BYTES_MAX, READ_BYTES_MAX),
            (HELD_BYTES_SOFT - SESSION_BYTES_MAX + 1, READ_BYTES_TIGHT),
            (usize::MAX / 2, READ_BYTES_TIGHT),
        ] {
            assert_eq!(Buffers::read_bytes_max(held), expected, "{held}");
        }
    }

    #[test]
    fn storage_that_outgrew_its_class_is_not_hoarded() {
        let mut buffers = Buffers::default();
        buffers.give(Vec::with_capacity(19 * 1024));
        assert!(buffers.take(1).capacity() < 4096);
        // A head that grew by doubling is no storage for a small read.
        buffers.give(Vec::with_capacity(32 * 1024));
        assert_eq!(buffers.take(READ_BYTES_TIGHT).capacity(), READ_BYTES_TIGHT);
    }
}
