//! Backends that are down when a request comes: told to `explain`, and found out by the running proxy.

use std::net::SocketAddr;

use fastrand::Rng;
use rondel::config::{Backend, Config, Pool};

use super::configs::{HOLD, WARMING, WARMING_POOL};
use super::requests::some;
use crate::fake::Fake;

/// Requests after which a backend that is down must have been found out.
const WARMING_MAX: usize = 3000;

/// A backend by its pool's place and its own.
pub(crate) type Down = (usize, usize);

/// Some backends that requests can find to be down: no backup that nobody needs, none that gets no new clients.
pub(crate) fn downs(config: &Config, rng: &mut Rng) -> Vec<Down> {
    let mut all = Vec::new();
    for (at, pool) in config.pools.iter().enumerate() {
        let open = |backup: bool| {
            let backends = pool.backends.iter().enumerate();
            backends
                .filter(move |(_, backend)| backend.weight > 0 && backend.backup == backup)
                .map(|(nth, _)| nth)
                .collect::<Vec<usize>>()
        };
        let regular = open(false);
        let down = some(&regular, rng);
        let backups = if down.len() == regular.len() {
            some(&open(true), rng)
        } else {
            Vec::new()
        };
        all.extend(down.into_iter().chain(backups).map(|nth| (at, nth)));
    }
    all
}

/// Whether a backend is among those that are down.
pub(crate) fn is_down(down: &[Down], pool: usize, nth: usize) -> bool {
    down.contains(&(pool, nth))
}

/// They refuse until the proxy has found out all of them. What it learned of others meanwhile is that they are well.
pub(crate) fn take_out(fake: &mut Fake, config: &Config, down: &[Down]) {
    let backend = |&(pool, nth): &Down| &config.pools[pool].backends[nth];
    let refusing: Vec<SocketAddr> = down
        .iter()
        .flat_map(|at| backend(at).addrs.clone())
        .collect();
    fake.refuse(&refusing);
    let mut live = fake.proxy.counts().live_backends;
    for (at, pool) in config.pools.iter().enumerate() {
        let wanted = live - down.iter().filter(|(pool, _)| *pool == at).count();
        let mut asked = 0;
        while fake.proxy.counts().live_backends > wanted {
            warm(fake, config, at, asked);
            asked += 1;
            assert!(asked < WARMING_MAX, "{down:?} are found out");
        }
        live = wanted;
        end_of_holding(fake, pool);
    }
    fake.refuse(&[]);
    fake.connects();
}

/// One request to a pool, from somewhere and for something that nobody asked before.
fn warm(fake: &mut Fake, config: &Config, pool: usize, nth: usize) {
    let listener = config.listeners.len() - 1;
    let local = config.listeners[listener].addr;
    assert_eq!(config.listeners[listener].name, WARMING);
    let [.., high, low] = nth.to_be_bytes();
    let client = fake.call_at(listener, SocketAddr::from(([203, 1, high, low], 7)), local);
    let before = fake.newest();
    let head = format!(
        "GET /{nth} HTTP/1.1\r\nHost: warm\r\n{WARMING_POOL}: {pool}\r\nConnection: close\r\n\r\n"
    );
    fake.say(client, head.as_bytes());
    let upstream = fake.newest();
    if upstream != before {
        fake.hint(upstream, false, true);
        fake.say(
            upstream,
            b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
        );
    }
}

/// Who is held goes, before anyone may be tried again.
fn end_of_holding(fake: &mut Fake, pool: &Pool) {
    let doing = |fake: &Fake| {
        let mut sessions = fake.proxy.sessions();
        sessions.any(|session| session.doing == rondel::proxy::Doing::Hold)
    };
    if doing(fake) {
        fake.pass(HOLD);
    }
    assert!(!doing(fake), "{} holds nobody", pool.name);
}

/// The name by which `explain` is told of it.
pub(crate) fn name(config: &Config, &(pool, nth): &Down) -> String {
    let pool = &config.pools[pool];
    let Backend { name, .. } = &pool.backends[nth];
    format!("{}/{name}", pool.name)
}
