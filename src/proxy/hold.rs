//! Requests that wait while no backend of their pool is live, where the pool holds them: so many at a time, and so long, at
//! most. When one is live again they go on, by what their pool says then, and when one that is out may be tried, one of them tries
//! it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::config::WhenAllDown;
use crate::net::stream::{Net, Stream};

use super::connect::Attempt;
use super::failure::{Consequence, Failure, Retry};
use super::session::{Phase, Session, Step};
use super::shared::Shared;
use super::timers::Timer;

/// A request that is held.
#[derive(Debug)]
pub(super) struct Held {
    attempt: Attempt,
    /// Its head, as it will go out.
    head: Vec<u8>,
    /// When it is given up.
    until: Instant,
    place: Place,
}

/// A place among those that a pool may hold, free again when this is dropped.
#[derive(Debug)]
struct Place(Rc<Cell<usize>>);

impl Place {
    /// The next place of so many, some of which are taken.
    fn take(taken: &Rc<Cell<usize>>, most: usize) -> Option<Self> {
        let count = taken.get();
        (count < most).then(|| {
            taken.set(count + 1);
            Self(Rc::clone(taken))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Held {
    /// Storage in use, in bytes.
    pub(super) fn storage(&self) -> usize {
        self.head.capacity()
    }
}

impl<S: Stream> Session<S> {
    /// No backend is to be had for a request. Where its pool holds requests while none is live, it waits; otherwise it gets
    /// our reply.
    pub(super) fn hold_or_answer<N: Net<Stream = S>>(
        &mut self,
        consequence: Consequence,
        mut attempt: Attempt,
        head: Vec<u8>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        let id = attempt.serving.pool;
        let holds = self.pool.as_ref().filter(|pool| {
            let nothing_sent = matches!(consequence.retry, Retry::Elsewhere)
                || consequence == Failure::NoBackend.consequence();
            // What may have reached a backend is not held: who had it would be forgotten, and might get it again.
            pool.when_all_down == WhenAllDown::Hold
                && nothing_sent
                && !attempt.repeated
                && cx.balance.live_in(id) == 0
        });
        // For a pool that was removed nobody need wait.
        let taken = cx.served(id).map(|served| Rc::clone(&served.held));
        let (Some(pool), Some(taken)) = (holds, taken) else {
            return self.answer(consequence, &attempt.request, &attempt.upload, head, cx);
        };
        let until = attempt
            .held_until
            .unwrap_or(cx.now.instant + pool.timeouts.hold);
        attempt.held_until = Some(until);
        if until <= cx.now.instant {
            let consequence = cx.meet(Failure::HoldTimeout);
            return self.answer(consequence, &attempt.request, &attempt.upload, head, cx);
        }
        let Some(place) = Place::take(&taken, pool.held_max) else {
            let consequence = cx.meet(Failure::QueueFull);
            return self.answer(consequence, &attempt.request, &attempt.upload, head, cx);
        };
        attempt.forget_tries(cx);
        self.wait_for(Timer::Hold, true, cx);
        let held = Held {
            attempt,
            head,
            until,
            place,
        };
        Step::Moved(Phase::Hold(Box::new(held)))
    }

    /// [`Phase::Hold`]: whether there is a backend now.
    pub(super) fn hold<N: Net<Stream = S>>(
        &mut self,
        held: Box<Held>,
        cx: &mut Shared<N>,
    ) -> Step<S> {
        // What was held back of the responses before may find room only now.
        let alive = self.client.check().is_ok() && self.client.flush(&mut cx.buffers).is_ok();
        if !alive {
            self.note(cx.meet(Failure::ClientGone).reason);
            return Step::Moved(Phase::Closed);
        }
        let now = cx.now.instant;
        if let Some(pick) = held.attempt.pick_after_hold(cx) {
            let Held {
                mut attempt,
                head,
                place,
                ..
            } = *held;
            // If this comes to nothing at once, it is held again.
            drop(place);
            // A reload may have changed what holds for it meanwhile.
            if let Some(served) = cx.served(attempt.serving.pool) {
                attempt.allow_retries(served.pool.retries);
                self.pool = Some(Arc::clone(&served.pool));
            }
            attempt.turn_to(pick, cx);
            return self.set_out(attempt, head, cx);
        }
        let is_removed = cx.served(held.attempt.serving.pool).is_none();
        if held.until <= now || is_removed {
            let consequence = cx.meet(if is_removed {
                Failure::NoBackend
            } else {
                Failure::HoldTimeout
            });
            let Held { attempt, head, .. } = *held;
            return self.answer(consequence, &attempt.request, &attempt.upload, head, cx);
        }
        let trial = cx.balance.trial_next(held.attempt.serving.pool);
        self.deadline = trial.map_or(held.until, |trial| trial.min(held.until));
        Step::Stuck(Phase::Hold(held))
    }
}
