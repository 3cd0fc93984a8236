//! Lints of pools and backends.

use super::{Finding, Lint};
use crate::config::file::Element;
use crate::config::{Action, Config, Policy, Pool, WhenAllDown};

pub(super) fn lint(found: &mut Vec<Finding>, config: &Config) {
    let mut is_used = vec![false; config.pools.len()];
    for route in &config.routes {
        if let Action::Pools(shares) = &route.action {
            for share in shares {
                if let Some(used) = is_used.get_mut(share.pool) {
                    *used = true;
                }
            }
        }
    }
    for (place, pool) in config.pools.iter().enumerate() {
        let mut notes = Notes { found, place, pool };
        if !is_used[place] {
            notes.note(Lint::PoolUnused, None, "no route leads here");
        }
        notes.weights();
        notes.single();
        notes.sticky();
        notes.timers();
    }
}

/// What is found of one pool.
struct Notes<'a> {
    found: &'a mut Vec<Finding>,
    place: usize,
    pool: &'a Pool,
}

impl Notes<'_> {
    fn note(&mut self, lint: Lint, key: Option<&'static str>, text: &str) {
        self.found.push(Finding {
            lint,
            about: Element::Pool(self.place),
            key,
            text: format!("pool {}: {text}", self.pool.name),
        });
    }

    fn weights(&mut self) {
        let backends = &self.pool.backends;
        if backends.iter().all(|backend| backend.weight == 0) {
            let text = "all weights are 0, so that new clients get no backend";
            self.note(Lint::WeightOfAllZero, None, text);
        } else if self.pool.sticky.is_none() {
            for (at, backend) in backends.iter().enumerate() {
                if backend.weight == 0 {
                    self.found.push(Finding {
                        lint: Lint::BackendInNoUse,
                        about: Element::Backend(self.place, at),
                        key: Some("weight"),
                        text: format!(
                            "pool {}: backend {} has weight 0 and gets no requests",
                            self.pool.name, backend.name
                        ),
                    });
                }
            }
        }
        if backends.iter().all(|backend| backend.backup) {
            let text = "all backends are backups, which is as if none were";
            self.note(Lint::OnlyBackups, None, text);
        }
    }

    /// What makes no difference where there is one backend.
    fn single(&mut self) {
        if self.pool.backends.len() != 1 {
            return;
        }
        if matches!(self.pool.policy, Policy::Hash(_)) {
            let text = "a hash has nothing to choose where there is one backend";
            self.note(Lint::HashWithOneBackend, Some("policy"), text);
        }
        if self.pool.sticky.is_some() {
            let text = "clients stay with the one backend that there is without a cookie too";
            self.note(Lint::StickyOneBackend, Some("sticky"), text);
        }
        let default = Pool::new("", Vec::new()).failures_max;
        if self.pool.failures_max != default && !self.pool.take_out_last {
            let text = "failures never take the only backend out; that takes take-out-last = true";
            self.note(Lint::PoolWithoutChecks, Some("fail-after"), text);
        }
    }

    fn sticky(&mut self) {
        if let Some(sticky) = &self.pool.sticky
            && sticky.secret.is_none()
        {
            let text = format!(
                "cookie {} is not signed, so that clients can choose their backend; give it a secret",
                sticky.cookie
            );
            self.note(Lint::StickyWithoutSecret, Some("sticky"), &text);
        }
    }

    fn timers(&mut self) {
        let pool = self.pool;
        if pool.when_all_down == WhenAllDown::Hold && pool.held_max == 0 {
            let text = "hold-timeout never fires: max-held is 0, so that no request is held";
            self.note(Lint::TimerNeverFires, Some("hold-timeout"), text);
        } else if pool.when_all_down == WhenAllDown::Hold
            && !pool.take_out_last
            && pool.backends.iter().any(|backend| backend.weight > 0)
        {
            let text = "hold-timeout never fires: the last live backend stays in; that takes take-out-last = true";
            self.note(Lint::TimerNeverFires, Some("hold-timeout"), text);
        }
        if pool.idle_per_backend_max == 0 {
            let text = "upstream-idle-timeout never fires: max-idle-per-backend is 0, so that no upstream is idle";
            self.note(Lint::TimerNeverFires, Some("upstream-idle-timeout"), text);
        }
    }
}
