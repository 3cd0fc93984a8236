//! A configuration taken over, the first as every later one: what is still there goes on as it was.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::config;

use super::hash::hash;
use super::health::Health;
use super::pool::{Backend, Pool};
use super::sticky::Token;
use super::{BackendId, Balance, PoolId};

/// What became of pools and backends when a configuration was taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The pools, in the order of the configuration.
    pub pools: Vec<PoolId>,
    /// Backends that were not there before.
    pub added: Vec<BackendId>,
    /// Backends that were there and still are.
    pub kept: Vec<BackendId>,
    /// Backends that are gone: nobody knows these any more.
    pub removed: Vec<BackendId>,
}

impl Balance {
    /// Takes over a configuration. A pool is the same as before if its name is; a backend, if its pool, its name and its
    /// server are. It keeps its id, whether it is live (the last ones excepted, where these are never out), its running exchanges and the address that was reached last; its
    /// pool keeps whose turn it is, unless its policy is another. Ids of those that are gone mean nobody from now on.
    pub fn apply(&mut self, pools: &[Arc<config::Pool>]) -> Applied {
        let mut applied = Applied::default();
        let name = |(key, pool): (usize, &Pool)| (pool.config.name.clone(), key);
        let mut before: HashMap<String, usize> = self.pools.iter().map(name).collect();
        for config in pools {
            let key = before
                .remove(&config.name)
                .unwrap_or_else(|| self.add_pool(config));
            self.apply_pool(key, config, &mut applied);
            applied.pools.push(PoolId::new(key, self.pools[key].serial));
        }
        self.pools.retain(|key, pool| {
            let goes = before.get(&pool.config.name) == Some(&key);
            if goes {
                applied.removed.extend(&pool.backends);
            }
            !goes
        });
        for id in &applied.removed {
            self.backends.remove(id.index());
        }
        applied
    }

    fn add_pool(&mut self, config: &Arc<config::Pool>) -> usize {
        let serial = self.serial_next();
        self.pools.insert(Pool::new(serial, config))
    }

    /// Removed backends still stand in the slab afterwards, so that no new one gets the place of one of them.
    fn apply_pool(&mut self, key: usize, config: &Arc<config::Pool>, applied: &mut Applied) {
        let ids = std::mem::take(&mut self.pools[key].backends);
        let name = |id: &BackendId| (self.backends[id.index()].name.clone(), *id);
        let mut before: HashMap<String, BackendId> = ids.iter().map(name).collect();
        let mut after = Vec::with_capacity(config.backends.len());
        for (place, backend) in config.backends.iter().enumerate() {
            let same = |id: &BackendId| self.backends[id.index()].server == backend.server;
            let kept = before.get(&backend.name).copied().filter(same);
            let id = match kept {
                Some(id) => {
                    before.remove(&backend.name);
                    applied.kept.push(id);
                    id
                }
                None => {
                    let id = self.add_backend(key, backend);
                    applied.added.push(id);
                    id
                }
            };
            let token = config.sticky.as_ref();
            let token = token.map(|sticky| Token::new(sticky, &config.name, &backend.name));
            self.backends[id.index()].configure(backend, place, token);
            after.push(id);
        }
        let gone = ids.iter().filter(|id| {
            let name = &self.backends[id.index()].name;
            before.get(name) == Some(id)
        });
        applied.removed.extend(gone);
        if !config.take_out_last {
            self.bring_back_last(&after);
        }
        let pool = &mut self.pools[key];
        let same_policy = pool.config.policy == config.policy;
        pool.config = Arc::clone(config);
        pool.backends = after;
        pool.set_up(&self.backends, same_policy);
    }

    /// Where the live ones of a pool have gone and the last is never to be out, those that are left are live again: nothing
    /// would be asked before their back-offs are over, which may be long after they have come back.
    fn bring_back_last(&mut self, backends: &[BackendId]) {
        let is_live = |id: &BackendId| {
            let backend = &self.backends[id.index()];
            backend.is_open() && backend.health.is_live()
        };
        if !backends.iter().any(is_live) {
            for id in backends {
                let backend = &mut self.backends[id.index()];
                if backend.is_open() {
                    backend.health = Health::default();
                }
            }
        }
    }

    fn add_backend(&mut self, pool: usize, config: &config::Backend) -> BackendId {
        let serial = self.serial_next();
        let key = self.backends.insert(Backend {
            serial,
            pool,
            place: 0,
            name: config.name.clone(),
            server: config.server.clone(),
            addrs: Vec::new(),
            addr_preferred: 0,
            weight: 0,
            backup: false,
            health: Health::default(),
            running: Rc::default(),
            hash: hash(config.name.as_bytes()),
            token: None,
        });
        BackendId::new(key, serial)
    }

    fn serial_next(&mut self) -> u32 {
        let serial = self.serial_next;
        self.serial_next = serial.checked_add(1).expect("fewer backends than 2^32");
        serial
    }
}

impl Backend {
    /// Takes over what may change of a backend that stays.
    fn configure(&mut self, config: &config::Backend, place: usize, token: Option<Token>) {
        if self.addrs != config.addrs {
            let preferred = self.addrs.get(self.addr_preferred);
            let kept = config.addrs.iter().position(|addr| Some(addr) == preferred);
            self.addr_preferred = kept.unwrap_or(0);
            self.addrs.clone_from(&config.addrs);
        }
        self.place = place;
        self.weight = config.weight;
        self.backup = config.backup;
        self.token = token;
    }
}
