//! Storage lent to connections while bytes wait.
//!
//! A connection owns memory only for what cannot go on at once. That memory is a plain `Vec` from a free list: given back
//! when its bytes are gone, simply dropped when its connection dies, so that none can leak. The free list is last in,
//! first out (what was used last is still in the cache) and bounded; what nobody needs for a while leaves it.

mod free;

pub use self::free::{Buffers, FREE_BYTES_LEAST, UNUSED_MAX};

/// Most bytes read from a socket at once; what has no room on the other side then waits in storage of this size.
pub const READ_BYTES_MAX: usize = 128 * 1024;
/// Most bytes read from a socket at once, with those already waiting, while much storage is in use
/// ([`HELD_BYTES_SOFT`]).
pub const READ_BYTES_TIGHT: usize = 20 * 1024;
/// Storage in use by all connections before which each of them is read in smaller pieces, in bytes.
pub const HELD_BYTES_SOFT: usize = 64 * 1024 * 1024;
/// Storage that a client and its upstream hold at most, in bytes: an inbox and an outbox each.
pub const SESSION_BYTES_MAX: usize = 2 * (LARGE + LARGE);
/// The same while reads are small.
pub const SESSION_BYTES_TIGHT: usize = 2 * (SMALL + MIDDLE);
/// An array of this size, in bytes, has memory of its own from the system, and gives it back as it shrinks (glibc); a smaller
/// one leaves its former places behind in the heap as it grows. So an array that may get long has this size from the start:
/// what was not used yet costs nothing.
pub const OWN_MEMORY_BYTES: usize = 128 * 1024;
/// The longest head with what is added to it, in bytes.
pub const HEAD_BYTES: usize = 20 * 1024;

/// Storage that so many sessions hold at most, in bytes.
#[must_use]
pub const fn held_bytes_max(sessions: usize) -> usize {
    HELD_BYTES_SOFT + sessions * SESSION_BYTES_TIGHT
}

/// A small read, or the longest head.
const SMALL: usize = READ_BYTES_TIGHT;
/// A small read behind a head.
const MIDDLE: usize = READ_BYTES_TIGHT + HEAD_BYTES;
/// A large read behind a head, or between the lines of a chunk.
const LARGE: usize = READ_BYTES_MAX + HEAD_BYTES;
/// Bytes that were read and wait to be judged. No bytes, no storage.
#[derive(Debug, Default)]
pub struct Inbox {
    storage: Vec<u8>,
    start: usize,
}

impl Inbox {
    /// What waits.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.start..]
    }

    /// What waits, to be judged in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..]
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.storage.len()
    }

    /// Forgets the first `count` bytes.
    pub fn advance(&mut self, count: usize, buffers: &mut Buffers) {
        assert!(
            count <= self.storage.len() - self.start,
            "no more is taken than was there"
        );
        self.start += count;
        if self.is_empty() {
            self.clear(buffers);
        }
    }

    /// Forgets what waits and keeps `rest` instead.
    pub fn replace(&mut self, rest: &[u8], buffers: &mut Buffers) {
        self.start = 0;
        if rest.is_empty() {
            return self.clear(buffers);
        }
        if self.storage.capacity() < rest.len() {
            buffers.give(std::mem::take(&mut self.storage));
            self.storage = buffers.take(rest.len());
        }
        self.storage.clear();
        self.storage.extend_from_slice(rest);
    }

    /// Storage in use, in bytes.
    #[must_use]
    pub fn held(&self) -> usize {
        self.storage.capacity()
    }

    fn clear(&mut self, buffers: &mut Buffers) {
        self.start = 0;
        if self.storage.capacity() > 0 {
            buffers.give(std::mem::take(&mut self.storage));
        }
    }
}

/// Bytes that were judged and wait for the kernel to take them. No bytes, no storage, unless they are kept to be sent again.
#[derive(Debug, Default)]
pub struct Outbox {
    storage: Vec<u8>,
    /// How many bytes of `storage` the kernel has taken.
    start: usize,
    /// How many bytes at the front of `storage` stay after the kernel has taken them.
    kept: u32,
    /// How many of those were loaded; the others were sent behind them.
    loaded: u32,
}

impl Outbox {
    /// What the kernel has not taken yet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.start..]
    }

    /// Whether the kernel has taken everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.storage.len()
    }

    /// Gives storage back to which nothing was appended. Inlined, so that an outbox without storage pays no more than that
    /// look.
    #[inline]
    pub fn tidy(&mut self, buffers: &mut Buffers) {
        if self.storage.capacity() > 0 && self.is_empty() {
            self.settle(buffers);
        }
    }

    /// Storage to append a message's head to, in which the writer is to [`reserve`](Buffers::reserve) room.
    pub fn compose(&mut self) -> &mut Vec<u8> {
        &mut self.storage
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8], buffers: &mut Buffers) {
        buffers.reserve(&mut self.storage, bytes.len());
        self.storage.extend_from_slice(bytes);
    }

    /// The kernel took `count` bytes.
    pub fn advance(&mut self, count: usize, buffers: &mut Buffers) {
        assert!(
            count <= self.storage.len() - self.start,
            "the kernel takes no more than it was offered"
        );
        self.start += count;
        self.tidy(buffers);
    }

    /// Fills an empty outbox with a message that stays after the kernel has taken it.
    pub fn load_kept(&mut self, message: Vec<u8>) {
        assert!(self.storage.is_empty(), "only an empty outbox is loaded");
        self.storage = message;
        self.keep_all();
        self.loaded = self.kept;
    }

    /// What was kept, and now goes elsewhere; empty when nothing was. Nothing is left behind.
    pub fn unload_kept(&mut self) -> Vec<u8> {
        let mut message = std::mem::take(&mut self.storage);
        message.truncate(self.kept as usize);
        (self.start, self.kept) = (0, 0);
        message
    }

    /// The bytes that are kept.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        &self.storage[..self.kept as usize]
    }

    /// Keeps what was pushed since, too.
    pub fn keep_all(&mut self) {
        self.kept = u32::try_from(self.storage.len()).expect("no head or small body has gigabytes");
    }

    /// Keeps only what was loaded. What was sent behind it makes room at once.
    pub fn keep_loaded(&mut self) {
        let loaded = self.loaded as usize;
        self.storage.drain(loaded..self.start.max(loaded));
        self.start = self.start.min(loaded);
        self.kept = self.loaded;
    }

    /// Keeps nothing any more.
    pub fn release(&mut self, buffers: &mut Buffers) {
        self.kept = 0;
        self.tidy(buffers);
    }

    /// Storage in use, in bytes.
    #[must_use]
    pub fn held(&self) -> usize {
        self.storage.capacity()
    }

    /// Everything is taken: back to what is kept, or to nothing.
    fn settle(&mut self, buffers: &mut Buffers) {
        let kept = self.kept as usize;
        self.storage.truncate(kept);
        self.start = kept;
        if self.kept == 0 {
            buffers.give(std::mem::take(&mut self.storage));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_inbox_holds_no_storage() {
        let mut buffers = Buffers::default();
        let mut inbox = Inbox::default();
        inbox.replace(b"abc", &mut buffers);
        inbox.advance(1, &mut buffers);
        assert_eq!(inbox.bytes(), b"bc");
        inbox.advance(2, &mut buffers);
        assert_eq!((inbox.held(), inbox.bytes()), (0, &b""[..]));
        inbox.replace(b"d", &mut buffers);
        assert_eq!(
            inbox.held(),
            2048,
            "the storage that came back is lent again"
        );
    }

    #[test]
    fn a_kept_message_can_be_sent_again() {
        let mut buffers = Buffers::default();
        let mut outbox = Outbox::default();
        outbox.load_kept(b"head".to_vec());
        outbox.push(b"body", &mut buffers);
        outbox.advance(8, &mut buffers);
        assert!(outbox.is_empty());
        outbox.push(b"more", &mut buffers);
        assert_eq!(outbox.bytes(), b"more");
        assert_eq!(outbox.unload_kept(), b"head");
        assert_eq!(outbox.held(), 0);
    }

    #[test]
    fn a_message_that_cannot_be_sent_again_whole_keeps_its_head_only() {
        let mut buffers = Buffers::default();
        for taken in [2, 4, 6, 8] {
            let mut outbox = Outbox::default();
            outbox.load_kept(b"head".to_vec());
            outbox.push(b"body", &mut buffers);
            outbox.keep_all();
            outbox.advance(taken, &mut buffers);
            outbox.keep_loaded();
            outbox.push(b"more", &mut buffers);
            let rest = [&b"headbody"[taken..], b"more"].concat();
            assert_eq!(outbox.bytes(), rest, "{taken}");
            outbox.advance(rest.len(), &mut buffers);
            assert!(outbox.is_empty());
            assert_eq!(outbox.unload_kept(), b"head", "{taken}");
        }
    }

    #[test]
    fn a_released_message_leaves_once_it_is_taken() {
        let mut buffers = Buffers::default();
        let mut outbox = Outbox::default();
        outbox.load_kept(b"head".to_vec());
        outbox.advance(2, &mut buffers);
        outbox.release(&mut buffers);
        assert_eq!(outbox.bytes(), b"ad");
        outbox.advance(2, &mut buffers);
        assert_eq!(outbox.held(), 0);
    }

    #[test]
    fn what_was_pushed_behind_a_kept_message_can_be_kept_too() {
        let mut buffers = Buffers::default();
        let mut outbox = Outbox::default();
        outbox.load_kept(b"head".to_vec());
        outbox.push(b"body", &mut buffers);
        outbox.keep_all();
        outbox.advance(8, &mut buffers);
        assert!(outbox.is_empty());
        assert_eq!(outbox.kept(), b"headbody");
        assert_eq!(outbox.unload_kept(), b"headbody");
    }
}
