//! Which fault may be behind which failure. Each reason word has its own causes: a failure must be paid for by a fault of
//! the right kind, at the right time, that has not paid for another.

use std::time::Duration;

use super::doors::Slam;
use super::faults::Fault;
use super::kernel::World;
use super::ledger::{Entry, Ledger, Outcome};

/// How long what a backend says while idle may be under way.
const OVERHEARD_MAX: Duration = Duration::from_millis(50);

/// What may be behind a reason that the proxy told.
const CAUSES: [(&str, u16, &[Fault]); 17] = [
    ("connect-refused", 502, &[Fault::Refused]),
    // Reset before anyone looked.
    ("connect-refused", 502, &[Fault::Unwelcome, Fault::Restart]),
    ("connect-unreachable", 502, &[Fault::Unreachable]),
    ("connect-timeout", 504, &[Fault::Silent]),
    (
        "upstream-spoke-first",
        502,
        &[Fault::Unwelcome, Fault::Restart],
    ),
    (
        "out-of-resources",
        503,
        &[Fault::Descriptors, Fault::Shortage],
    ),
    ("upstream-closed-before-head", 502, &DEATHS),
    ("upstream-closed-during-request", 502, &DEATHS),
    ("reused-upstream-closed", 502, &DEATHS),
    (
        "bad-response-head",
        502,
        &[Fault::Garbage, Fault::IdleTalk, Fault::Behind],
    ),
    ("too-many-interim", 502, &[Fault::Garbage]),
    ("response-timeout", 504, &[Fault::Hang, Fault::Stall]),
    ("continue-timeout", 504, &[Fault::Hang, Fault::Stall]),
    ("upstream-write-timeout", 504, &[Fault::Hang]),
    ("head-timeout", 408, &[Fault::SlowHead, Fault::SlowBody]),
    (
        "request-body-timeout",
        408,
        &[Fault::SlowBody, Fault::Trickle],
    ),
    ("request-body-slow", 408, &[Fault::SlowBody, Fault::Trickle]),
];

/// Reasons that are told only after every try that there is.
const GOES_ELSEWHERE: [&str; 4] = [
    "connect-refused",
    "connect-unreachable",
    "connect-timeout",
    "upstream-spoke-first",
];

/// Whatever ends a connection to a backend before its answer.
const DEATHS: [Fault; 10] = [
    Fault::TunnelCut,
    Fault::Unwelcome,
    Fault::NoHead,
    Fault::HeadCut,
    Fault::BodyCut,
    Fault::Restart,
    Fault::IdleFin,
    Fault::IdleReset,
    Fault::IdleTalk,
    Fault::Behind,
];

impl Ledger {
    /// Whether a request may have ended so.
    pub(crate) fn is_explained(&mut self, world: &World, id: usize, outcome: &Outcome) -> bool {
        let entry = &self.entries[id];
        let excused = |fault| entry.excuses.contains(&fault);
        let cut = self.cut_at.is_some_and(|at| at <= world.now);
        let by_client = entry.excuses.iter().any(|fault| fault.is_the_clients());
        let broken_off = entry
            .attempts
            .iter()
            .any(|attempt| attempt.is_broken_off(world));
        match outcome {
            Outcome::Served | Outcome::Left => true,
            Outcome::Own(status, reason) => self.is_reason_true(world, id, *status, reason),
            Outcome::Cut => cut || by_client || broken_off || excused(Fault::BodyCut),
            Outcome::Nothing => {
                let no_link = excused(Fault::Drain) || excused(Fault::Aborted);
                cut || by_client || broken_off || no_link || excused(Fault::BodyCut)
            }
            Outcome::Refused => excused(Fault::Drain),
        }
    }

    /// A reset that marks a later answer on the same connection as cut short, as it must where 1.0 is spoken and for a tunnel,
    /// reaches back to what had not arrived of the earlier ones.
    pub(crate) fn excuse_for_later(&mut self, asked: &[(usize, usize)]) {
        let broken = |entry: &Entry| {
            let mut attempts = entry.attempts.iter();
            let resets = entry.exchange.http10 || entry.exchange.tunnels();
            resets && attempts.any(|attempt| !attempt.faults.is_empty())
        };
        let last = asked
            .iter()
            .rposition(|asked| broken(&self.entries[asked.0]));
        for &(id, _) in &asked[..last.unwrap_or_default()] {
            self.excuse(id, Fault::BodyCut);
        }
    }

    /// Whether the proxy tells the truth; without a reason, whether one of those that go with the status is true.
    fn is_reason_true(&mut self, world: &World, id: usize, status: u16, reason: &str) -> bool {
        if let Some(wrong) = self.entries[id].exchange.wrong
            && wrong.status == status
            && (reason.is_empty() || wrong.reason == reason)
        {
            return true;
        }
        let named = |cause: &&(&str, u16, &[Fault])| {
            cause.1 == status && (reason.is_empty() || cause.0 == reason)
        };
        let mut causes: Vec<(&str, u16, &[Fault])> = CAUSES.iter().filter(named).copied().collect();
        if (status, reason) == (408, "") {
            // What a backend said while idle came just as its connection was used again, and was passed on.
            causes.push(("", 408, &[Fault::IdleTalk, Fault::Behind]));
        }
        if (status, reason) == (299, "") {
            causes.push(("", 299, &[Fault::IdleTalk, Fault::Behind]));
        }
        if self.entries[id].exchange.expects {
            // Whoever waits for a 100 and does not read it sends no body.
            causes.push(("request-body-timeout", 408, &[Fault::SlowRead, Fault::Sip]));
        }
        if status == 503 && self.may_all_be_out(world) {
            let since = self.entries[id].sent.unwrap_or_default();
            let is_true = match (self.holds, reason) {
                (Some(_), "no-backend") => {
                    let entry = &self.entries[id];
                    entry.attempts.len() + entry.losses.len() > 0
                }
                (None, "no-backend") | (Some(_), "queue-full") | (_, "") => true,
                (Some(hold), "hold-timeout") => since + hold <= world.now,
                _ => false,
            };
            if is_true {
                return true;
            }
        }
        let shown = |cause: &(&str, u16, &[Fault])| self.is_shown(world, id, cause.0, cause.2);
        if causes.iter().any(shown) {
            return true;
        }
        let at_doors =
            |cause: &(&str, u16, &[Fault])| self.met_at_doors(world, id, reason, cause.2);
        let doors: Vec<usize> = causes.iter().flat_map(at_doors).collect();
        // A guess must not take from another request what was its.
        if reason.is_empty() {
            !doors.is_empty()
        } else {
            self.claims.push(doors);
            self.settle(self.claims.len() - 1, &mut Vec::new())
        }
    }

    /// Whether the claim can have a fault of its own, if need be one that another claim gives up for a different one (an
    /// augmenting path of a bipartite matching).
    fn settle(&mut self, claim: usize, seen: &mut Vec<usize>) -> bool {
        for door in self.claims[claim].clone() {
            if seen.contains(&door) {
                continue;
            }
            seen.push(door);
            let holder = self.claimed.get(&door).copied();
            if holder.is_none_or(|holder| self.settle(holder, seen)) {
                self.claimed.insert(door, claim);
                return true;
            }
        }
        false
    }

    /// Whether one of these faults is known to have met this very request.
    fn is_shown(&self, world: &World, id: usize, reason: &str, causes: &[Fault]) -> bool {
        let entry = &self.entries[id];
        let due_again = entry.is_due_again(self.retries);
        let stale = reason == "reused-upstream-closed";
        let by_client = entry.excuses.iter().any(|fault| causes.contains(fault));
        let by_backend = entry.attempts.iter().any(|attempt| {
            let caused = attempt.faults.iter().any(|fault| causes.contains(fault));
            caused
                && (attempt.reused || !stale)
                && !(due_again && attempt.reused && attempt.is_silent_death(world))
        });
        // Whoever was told that a connection has ended must not send anything on it.
        let by_loss = entry.losses.iter().any(|loss| {
            let caused = loss.fault.is_some_and(|fault| causes.contains(&fault));
            let spoke = matches!(loss.fault, Some(Fault::IdleTalk | Fault::Behind));
            caused && !loss.told && (loss.reused || !stale) && !(due_again && loss.reused && !spoke)
        });
        by_client || by_backend || by_loss
    }

    /// The faults at the backends' doors that may have been this request's last: of the right kind, in its life, and so many
    /// of any kind that it may have run out of tries. Each explains one failure only.
    fn met_at_doors(&self, world: &World, id: usize, reason: &str, causes: &[Fault]) -> Vec<usize> {
        let slams = &world.doors.slams;
        let entry = &self.entries[id];
        let met: Vec<usize> = (0..slams.len())
            .filter(|&index| entry.may_have_met(&slams[index], world))
            .collect();
        // Whoever is out is not tried at all.
        let tried = !(entry.attempts.is_empty() && entry.losses.is_empty());
        let some_out = self.failures(world) >= self.failures_max;
        let price = if tried || some_out || !GOES_ELSEWHERE.contains(&reason) {
            1
        } else {
            (self.retries + 1).min(self.backends)
        };
        let tries = met
            .iter()
            .filter(|&&index| slams[index].fault != Fault::IdleTalk);
        if tries.count().max(1) < price {
            return Vec::new();
        }
        let right = |index: &usize| causes.contains(&slams[*index].fault);
        met.into_iter().filter(right).collect()
    }

    /// How many failures the backends may have been blamed for so far.
    fn failures(&self, world: &World) -> usize {
        let attempts = self.entries.iter().flat_map(|entry| &entry.attempts);
        let losses: usize = self.entries.iter().map(|entry| entry.losses.len()).sum();
        world.doors.slams.len()
            + losses
            + attempts
                .filter(|attempt| !attempt.faults.is_empty())
                .count()
    }

    fn may_all_be_out(&self, world: &World) -> bool {
        self.may_lose_last && self.failures(world) >= self.failures_max
    }
}

impl Entry {
    /// Whether a fault at the doors may have met this request: it is known for whom a connection was, where one was made.
    fn may_have_met(&self, slam: &Slam, world: &World) -> bool {
        let since = self.sent.unwrap_or_default();
        match slam.near {
            None if slam.fault == Fault::IdleTalk => slam.at + OVERHEARD_MAX >= since,
            None => slam.at >= since,
            Some(near) => {
                slam.at >= since && self.far.is_some() && world.socks[near.0].client == self.far
            }
        }
    }

    /// Whether it was tried once only, and should be tried again when that came to nothing by the connection's death.
    fn is_due_again(&self, retries: usize) -> bool {
        retries > 0 && self.attempts.len() + self.losses.len() == 1 && self.is_repeatable()
    }
}
