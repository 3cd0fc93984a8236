//! The whole proxy over the network without a kernel.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use rondel::config::{Backend, Config, Limits, Pool};
use rondel::net::stream::{Owner, Readiness};
use rondel::proxy::{Bound, Now, Proxy, Setup};

use crate::net::Loopback;

/// A proxy with its clients, the last of which is the one that asks.
pub(crate) struct Whole {
    proxy: Proxy<Loopback>,
    net: Loopback,
    now: Now,
    client: usize,
    request: Vec<u8>,
    response_bytes: usize,
}

impl Whole {
    /// A proxy with so many clients, one of which asks this of a backend that answers that.
    pub(crate) fn new(clients: usize, request: &[u8], response: &[u8]) -> Self {
        let addr = SocketAddr::from(([192, 0, 2, 1], 80));
        let backends = (0..4_u8).map(|nth| {
            let addr = SocketAddr::from(([192, 0, 2, nth], 80));
            Backend::at(&format!("192.0.2.{nth}:80"), addr.into(), vec![addr])
        });
        let config = Config {
            limits: Limits {
                sessions_max: clients + 1,
                ..Limits::default()
            },
            ..Config::simple(&[addr], Pool::new("default", backends.collect()))
        };
        let now = Now {
            instant: Instant::now(),
            wall: SystemTime::now(),
        };
        let net = Loopback::new(response);
        let mut whole = Self {
            proxy: Proxy::new(
                net.clone(),
                Setup::new(config),
                &Bound::in_order(&[addr]),
                now,
            ),
            net,
            now,
            client: clients - 1,
            request: request.to_vec(),
            response_bytes: response.len(),
        };
        whole.net.call(clients);
        while whole.proxy.counts().sessions < clients {
            whole.listen();
        }
        // Each backend has its kept upstream from now on.
        (0..4).for_each(|_| whole.exchange());
        whole
    }

    /// The client asks and is answered.
    pub(crate) fn exchange(&mut self) {
        let before = self.net.written(self.client);
        self.net.send(self.client, &self.request);
        self.settle();
        assert!(self.net.written(self.client) >= before + self.response_bytes);
    }

    /// One more client comes and leaves.
    pub(crate) fn come_and_go(&mut self) {
        let before = self.proxy.counts().sessions;
        self.net.call(1);
        self.listen();
        assert_eq!(self.proxy.counts().sessions, before + 1);
        self.net.end_newest();
        self.settle();
        assert_eq!(self.proxy.counts().sessions, before);
    }

    /// Somebody calls.
    fn listen(&mut self) {
        self.proxy.notify(
            Owner::Listener(0),
            Readiness {
                readable: true,
                ..Readiness::default()
            },
        );
        self.proxy.tick(self.now);
    }

    /// Ticks until nothing happens any more.
    fn settle(&mut self) {
        while let Some((owner, hint)) = self.net.event() {
            self.proxy.notify(owner, hint);
            self.proxy.tick(self.now);
        }
    }
}
