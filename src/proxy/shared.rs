//! What all sessions share, lent to one of them for one turn.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use log::info;

use crate::balance::{Balance, Change, Pick, PoolId};
use crate::config::value::PSEUDONYM_BYTES_MAX;
use crate::config::{Config, Pool};
use crate::http::forward::ADDED_BYTES_MAX;
use crate::http::{HEAD_BYTES_MAX, WRITTEN_HEAD_BYTES_MAX, reply};
use crate::net::buffer::{Buffers, HEAD_BYTES, READ_BYTES_MAX, READ_BYTES_TIGHT};
use crate::net::stream::Net;

use crate::route::Routes;

use super::choose::Splits;
use super::failure::{Consequence, Failure, Tally};
use super::idle::Idle;
use super::reload::{Bound, Door, Setup, set_doors};

/// Bytes of a request id: 12 hexadecimal digits of time (milliseconds since 1970), 20 random ones.
pub(crate) const REQUEST_ID_BYTES: usize = 32;

const _: () = assert!(
    READ_BYTES_TIGHT > HEAD_BYTES_MAX,
    "a head that waits for its rest leaves room for it"
);
const _: () = assert!(
    HEAD_BYTES_MAX + ADDED_BYTES_MAX + PSEUDONYM_BYTES_MAX + REQUEST_ID_BYTES
        <= WRITTEN_HEAD_BYTES_MAX,
    "whatever head is accepted, what is written of it is no longer than is reckoned with"
);
const _: () = assert!(
    WRITTEN_HEAD_BYTES_MAX <= HEAD_BYTES,
    "storage has room for the longest head"
);

/// The one reading of the clocks per tick.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines.
    pub instant: Instant,
    /// For `Date` and request ids.
    pub wall: SystemTime,
}

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Shared<N: Net> {
    pub(crate) net: N,
    pub(crate) balance: Balance,
    pub(crate) idle: Idle<N::Stream>,
    pub(crate) buffers: Buffers,
    /// The read buffer of the whole loop.
    pub(crate) scratch: Vec<u8>,
    /// How many bytes may be read at once in this turn.
    pub(crate) read_bytes_max: usize,
    /// How many bytes the session, or one of its directions, may still move in this turn.
    pub(crate) budget: usize,
    /// Whether the session stopped in this turn for want of budget only.
    pub(crate) spent: bool,
    /// By the network's number of a listener: all that there ever were.
    pub(crate) doors: Vec<Option<Door>>,
    pub(crate) config: Arc<Config>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) splits: Splits,
    /// The pools of the configuration, in their order.
    pub(crate) pools: Vec<Served>,
    /// A backend is live again, and requests may be held for it.
    pub(crate) wakes_held: bool,
    pub(crate) now: Now,
    /// We were told to stop: no connection is kept.
    pub(crate) draining: bool,
    pub(crate) date: Date,
    pub(crate) ids: RequestIds,
    pub(crate) tally: Tally,
}

/// A pool that is served.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) pool: Arc<Pool>,
    pub(crate) id: PoolId,
    /// How many requests it holds.
    pub(crate) held: Rc<Cell<usize>>,
}

/// The pools of a configuration; what those before them held, they hold.
fn serve(config: &Config, ids: &[PoolId], before: &[Served]) -> Vec<Served> {
    let pools = config.pools.iter().zip(ids);
    let before: HashMap<PoolId, &Rc<Cell<usize>>> = before
        .iter()
        .map(|served| (served.id, &served.held))
        .collect();
    let serve = |(pool, &id): (&Arc<Pool>, &PoolId)| Served {
        pool: Arc::clone(pool),
        id,
        held: before.get(&id).copied().map(Rc::clone).unwrap_or_default(),
    };
    pools.map(serve).collect()
}

/// The `Date` of the current second, made once per second.
#[derive(Debug)]
pub(crate) struct Date {
    second: u64,
    text: [u8; 29],
}

impl Date {
    /// A time as a `Date` field's value.
    pub(crate) fn text(&mut self, wall: SystemTime) -> &[u8; 29] {
        let second = since_1970(wall).as_secs();
        if self.second != second {
            *self = Self {
                second,
                text: reply::date(wall),
            };
        }
        &self.text
    }
}

/// Makes request ids. They sort by time and are no secret.
#[derive(Debug)]
pub(crate) struct RequestIds {
    random: fastrand::Rng,
}

impl RequestIds {
    pub(crate) fn make(&mut self, wall: SystemTime) -> [u8; REQUEST_ID_BYTES] {
        let random = (u128::from(self.random.u64(..)) << 64) | u128::from(self.random.u64(..));
        let bits = (since_1970(wall).as_millis() << 80) | (random >> 48);
        let mut id = [0; REQUEST_ID_BYTES];
        for (digits, byte) in id.as_chunks_mut().0.iter_mut().zip(bits.to_be_bytes()) {
            *digits = HEXADECIMAL[usize::from(byte)];
        }
        id
    }
}

/// Every octet in hexadecimal.
const HEXADECIMAL: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut octet = 0;
    while octet < table.len() {
        table[octet] = [DIGITS[octet / 16], DIGITS[octet % 16]];
        octet += 1;
    }
    table
};

fn since_1970(wall: SystemTime) -> Duration {
    wall.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

impl<N: Net> Shared<N> {
    pub(crate) fn new(net: N, setup: Setup, bound: &[Bound], now: Now) -> Self {
        let mut doors = Vec::new();
        set_doors(&mut doors, &setup.config, bound);
        let mut balance = Balance::new(fastrand::u64(..));
        let applied = balance.apply(&setup.config.pools);
        let pools = serve(&setup.config, &applied.pools, &[]);
        Self {
            net,
            balance,
            idle: Idle::new(),
            buffers: Buffers::default(),
            scratch: vec![0; READ_BYTES_MAX],
            read_bytes_max: READ_BYTES_MAX,
            budget: 0,
            spent: false,
            doors,
            splits: Splits::new(&setup.config),
            config: setup.config,
            routes: setup.routes,
            pools,
            wakes_held: false,
            now,
            draining: false,
            date: Date {
                second: u64::MAX,
                text: [b' '; 29],
            },
            ids: RequestIds {
                random: fastrand::Rng::new(),
            },
            tally: Tally::default(),
        }
    }

    /// Another configuration; gives back the one before.
    pub(crate) fn configure(&mut self, setup: Setup) -> Setup {
        let mut splits = Splits::new(&setup.config);
        splits.resume(&setup.config, &self.splits, &self.config);
        self.splits = splits;
        let before = Setup {
            config: std::mem::replace(&mut self.config, setup.config),
            routes: std::mem::replace(&mut self.routes, setup.routes),
        };
        let applied = self.balance.apply(&self.config.pools);
        for &backend in &applied.removed {
            self.idle.drop_backend(backend);
        }
        let balance = &self.balance;
        for &backend in &applied.kept {
            self.idle
                .drop_moved(backend, |addr| balance.is_at(backend, addr));
        }
        self.pools = serve(&self.config, &applied.pools, &self.pools);
        self.wakes_held = true;
        before
    }

    /// A pool as it is served now; `None` if it was removed.
    pub(crate) fn served(&self, pool: PoolId) -> Option<&Served> {
        self.pools.iter().find(|served| served.id == pool)
    }

    /// Something went wrong: what follows from it. To be asked once for each failure, for it is counted here.
    pub(crate) fn meet(&mut self, failure: Failure) -> Consequence {
        self.tally.count(failure);
        failure.consequence()
    }

    /// The picked backend answered as it should.
    pub(crate) fn praise(&mut self, pick: Pick) {
        let change = self.balance.succeeded(pick);
        self.wakes_held |= matches!(change, Some(Change::In { .. }));
        self.log_change(pick, change, "");
    }

    /// The picked backend failed for this reason.
    pub(crate) fn blame(&mut self, pick: Pick, reason: &str) {
        let change = self.balance.failed(pick, self.now.instant);
        self.log_change(pick, change, reason);
    }

    /// At info, not warn: what a client asks for may be what makes a backend fail.
    fn log_change(&self, pick: Pick, change: Option<Change>, reason: &str) {
        let Some(change) = change else {
            return;
        };
        let name = self.balance.name(pick.id);
        // Several pools may have a backend of the same name.
        let pool = match self.balance.pool_name(pick.id) {
            Some(pool) if self.config.pools.len() > 1 => format!("pool {pool}: "),
            _ => String::new(),
        };
        match change {
            Change::Out {
                failures,
                back_off,
                live,
            } => info!(
                "{pool}backend {name} is out: {failures} failures in a row, last {reason}; tried again in {back_off:?}; {live} live"
            ),
            Change::StillOut { back_off } => {
                info!("{pool}backend {name} stays out: {reason}; tried again in {back_off:?}");
            }
            Change::In { live } => info!("{pool}backend {name} is in again; {live} live"),
        }
    }
}
