//! What can go wrong on purpose, how likely each of it is in this seed, and how often it was done.

use std::fmt;

use super::rng::Rng;

/// One way in which the world fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A backend refuses a connection.
    Refused,
    /// A backend cannot be reached: known at once, or later.
    Unreachable,
    /// A connection attempt is never answered.
    Silent,
    /// A connection is gone before it was accepted.
    Aborted,
    /// No descriptor is left for a connection to a backend.
    Descriptors,
    /// A backend takes a connection and closes it without a word.
    Unwelcome,
    /// A backend never answers a request.
    Hang,
    /// A backend closes after a request, or in the middle of it, without an answer.
    NoHead,
    /// A backend closes in the middle of its response head.
    HeadCut,
    /// A backend closes in the middle of its response body.
    BodyCut,
    /// A backend stops in the middle of its response for too long.
    Stall,
    /// A backend answers what is not HTTP, or not strictly, or not asked for.
    Garbage,
    /// A backend sends more than the response.
    Behind,
    /// A backend sends something on an idle connection.
    IdleTalk,
    /// A backend closes an idle connection.
    IdleFin,
    /// A backend resets an idle connection.
    IdleReset,
    /// A backend dies with all its connections and comes back later.
    Restart,
    /// A client disappears.
    Vanish,
    /// A client takes too long for a request head.
    SlowHead,
    /// A client takes too long for a request body.
    SlowBody,
    /// A client takes too long to read a response.
    SlowRead,
    /// A client is silent between two requests for too long.
    Silence,
    /// A client sends a body more slowly than any rate allows, but never stops.
    Trickle,
    /// A client takes a response more slowly than any rate allows, but never stops.
    Sip,
    /// A client sends a request that must be refused.
    Wrong,
    /// A client that has to say who it is does not, or not rightly.
    Stranger,
    /// A backend's chunks are broken.
    Mangled,
    /// A backend breaks a tunnel.
    TunnelCut,
    /// The proxy's machine has no memory, no port or no open file left, for a moment.
    Shortage,
    /// The proxy is told to stop.
    Drain,
    /// The proxy is told to stop at once.
    Cut,
}

impl Fault {
    pub(crate) const ALL: [Self; 31] = [
        Self::Refused,
        Self::Unreachable,
        Self::Silent,
        Self::Aborted,
        Self::Descriptors,
        Self::Unwelcome,
        Self::Hang,
        Self::NoHead,
        Self::HeadCut,
        Self::BodyCut,
        Self::Stall,
        Self::Garbage,
        Self::Behind,
        Self::IdleTalk,
        Self::IdleFin,
        Self::IdleReset,
        Self::Restart,
        Self::Vanish,
        Self::SlowHead,
        Self::SlowBody,
        Self::SlowRead,
        Self::Silence,
        Self::Trickle,
        Self::Sip,
        Self::Wrong,
        Self::Stranger,
        Self::Mangled,
        Self::TunnelCut,
        Self::Shortage,
        Self::Drain,
        Self::Cut,
    ];

    /// Whether it is a client's own doing.
    pub(crate) fn is_the_clients(self) -> bool {
        matches!(
            self,
            Self::Vanish
                | Self::SlowHead
                | Self::SlowBody
                | Self::SlowRead
                | Self::Silence
                | Self::Trickle
                | Self::Sip
                | Self::Wrong
                | Self::Stranger
        )
    }
}

/// The fault mix of a seed: each fault has its own likelihood, many of them zero, so that rare combinations come up too
/// (Groce and others, "Swarm testing", 2012).
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Per fault, how many times in a thousand it is done where it could be.
    permille: [usize; Fault::ALL.len()],
    done: [usize; Fault::ALL.len()],
}

impl Faults {
    /// Draws a mix.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut faults = Self::default();
        let absent = rng.pick(&[300, 600, 850]);
        for permille in &mut faults.permille {
            if !rng.chance(absent) {
                *permille = rng.pick(&[5, 20, 60, 150, 400]);
            }
        }
        faults
    }

    /// These alone, so many times in a thousand.
    pub(crate) fn only(mix: &[(Fault, usize)]) -> Self {
        let mut faults = Self::default();
        for &(fault, permille) in mix {
            faults.permille[fault as usize] = permille;
        }
        faults
    }

    /// Whether the fault is done here and now. It counts only once it is [`done`](Self::done).
    pub(crate) fn strikes(&self, fault: Fault, rng: &mut Rng) -> bool {
        let permille = self.permille[fault as usize];
        permille > 0 && rng.chance(permille)
    }

    pub(crate) fn can(&self, fault: Fault) -> bool {
        self.permille[fault as usize] > 0
    }

    pub(crate) fn done(&mut self, fault: Fault) {
        self.done[fault as usize] += 1;
    }

    pub(crate) fn undo(&mut self, fault: Fault) {
        self.done[fault as usize] -= 1;
    }

    pub(crate) fn count(&self, fault: Fault) -> usize {
        self.done[fault as usize]
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.permille.iter().all(|&permille| permille == 0) {
            return f.write_str("none");
        }
        for fault in Fault::ALL {
            let index = fault as usize;
            if self.permille[index] > 0 {
                write!(
                    f,
                    "{fault:?} {}‰ ({} done) ",
                    self.permille[index], self.done[index]
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn the_list_of_faults_is_in_order() {
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, index);
        }
    }
}
