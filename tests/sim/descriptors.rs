//! The proxy's descriptors: numbers reused lowest first as Linux does, each with its owner and its queued event.

use std::collections::VecDeque;

use rondel::net::stream::Owner;

use super::sock::SockId;

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Free,
    Listener(usize),
    Sock(SockId),
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    used: Use,
    /// Whose events its events are; nobody's until the proxy says so.
    owner: Option<Owner>,
    queued: bool,
}

#[derive(Debug)]
pub(crate) struct Descriptors {
    slots: Vec<Slot>,
    ready: VecDeque<usize>,
    /// How many there may be.
    count_max: usize,
}

impl Descriptors {
    pub(crate) fn new(count_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            ready: VecDeque::new(),
            count_max,
        }
    }

    /// The lowest free number; `None` when there may be no more.
    pub(crate) fn open(&mut self, used: Use) -> Option<usize> {
        let slot = Slot {
            used,
            owner: None,
            queued: false,
        };
        if let Some(fd) = self.slots.iter().position(|slot| slot.used == Use::Free) {
            self.slots[fd] = slot;
            return Some(fd);
        }
        if self.slots.len() == self.count_max {
            return None;
        }
        self.slots.push(slot);
        Some(self.slots.len() - 1)
    }

    /// Whether no descriptor is left.
    pub(crate) fn are_spent(&self) -> bool {
        self.slots.len() == self.count_max && self.slots.iter().all(|slot| slot.used != Use::Free)
    }

    /// Closing takes a socket off the ready list, as epoll does. The owner stays behind: a stale entry must do no harm.
    pub(crate) fn close(&mut self, fd: usize) {
        assert!(
            self.slots[fd].used != Use::Free,
            "a descriptor is closed once"
        );
        self.slots[fd].used = Use::Free;
        self.slots[fd].queued = false;
        self.ready.retain(|&ready| ready != fd);
    }

    /// From now on a descriptor's events are this owner's; says whether it was an idle upstream's.
    pub(crate) fn assign(&mut self, fd: usize, owner: Owner) -> bool {
        let before = self.slots[fd].owner.replace(owner);
        matches!(before, Some(Owner::Idle(_)))
    }

    /// Whatever is open is nobody's until it is assigned anew; the listeners stay the proxy's.
    pub(crate) fn forget_owners(&mut self) {
        for slot in &mut self.slots {
            if let Use::Sock(_) = slot.used {
                slot.owner = None;
            }
        }
    }

    /// The open socket that an owner's events come from.
    pub(crate) fn sock_of(&self, owner: Owner) -> Option<SockId> {
        self.slots.iter().find_map(|slot| match slot.used {
            Use::Sock(sock) if slot.owner == Some(owner) => Some(sock),
            Use::Sock(_) | Use::Free | Use::Listener(_) => None,
        })
    }

    /// Queues an event unless one is queued already.
    pub(crate) fn queue(&mut self, fd: usize) {
        if !std::mem::replace(&mut self.slots[fd].queued, true) {
            self.ready.push_back(fd);
        }
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next socket with an event, and its owner.
    pub(crate) fn next_ready(&mut self) -> Option<(Use, Owner)> {
        let fd = self.ready.pop_front()?;
        self.slots[fd].queued = false;
        let owner = self.slots[fd]
            .owner
            .expect("whatever is opened is assigned before the next poll");
        Some((self.slots[fd].used, owner))
    }

    pub(crate) fn shuffle(&mut self, rng: &mut super::rng::Rng) {
        rng.shuffle(self.ready.make_contiguous());
    }

    /// The owners of everything open.
    pub(crate) fn owners(&self) -> impl Iterator<Item = Owner> {
        self.slots
            .iter()
            .filter(|slot| slot.used != Use::Free)
            .filter_map(|slot| slot.owner)
    }

    /// The open sockets, and whose they are.
    pub(crate) fn owned_socks(&self) -> impl Iterator<Item = (Owner, SockId)> {
        self.slots
            .iter()
            .filter_map(|slot| match (slot.used, slot.owner) {
                (Use::Sock(sock), Some(owner)) => Some((owner, sock)),
                _ => None,
            })
    }

    /// The open sockets, without the listeners.
    pub(crate) fn open_socks(&self) -> impl Iterator<Item = SockId> {
        self.slots.iter().filter_map(|slot| match slot.used {
            Use::Sock(sock) => Some(sock),
            Use::Free | Use::Listener(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sock::SockId;
    use super::{Descriptors, Use};

    #[test]
    fn the_lowest_free_number_comes_first_and_the_limit_holds() {
        let mut descriptors = Descriptors::new(3);
        let mut open = || descriptors.open(Use::Sock(SockId(9)));
        assert_eq!(
            [open(), open(), open(), open()],
            [Some(0), Some(1), Some(2), None]
        );
        descriptors.close(1);
        descriptors.close(0);
        assert_eq!(descriptors.open(Use::Listener(0)), Some(0));
        assert!(!descriptors.are_spent());
    }
}
