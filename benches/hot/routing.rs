//! A route for a request, found among many.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use rondel::config::{Config, HostPattern, Pool, Route};
use rondel::http::forward::{self, Edits};
use rondel::http::inquiry::Inquiry;
use rondel::route::Routes;

use super::{Work, facts};

/// A route is found so many times for each head that is read, so that what is measured is the finding.
const FINDS: u32 = 256;

/// The route of one host among so many, each with one of its own; the host in letters of both cases, as clients may send it.
pub(crate) fn among_hosts(count: usize) -> Work {
    let mut config = Config::simple(&[], Pool::new("default", Vec::new()));
    config.routes = (0..count)
        .map(|nth| {
            let mut route = Route::all_to(0);
            let host = format!("host-{nth:06}.shop.example");
            route.when.hosts.push(HostPattern::Exact(host));
            Arc::new(route)
        })
        .collect();
    let expected = count / 2;
    let host = format!("Host-{expected:06}.shop.example:8080");
    find(&config, &host, expected)
}

/// The only route there is, which takes everything.
pub(crate) fn of_one() -> Work {
    let listen = [SocketAddr::from(([192, 0, 2, 1], 8080))];
    let config = Config::simple(&listen, Pool::new("default", Vec::new()));
    find(&config, "a.example", 0)
}

fn find(config: &Config, host: &str, expected: usize) -> Work {
    let routes = Routes::new(config);
    let head = format!("GET /a/path?a=query HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
    let mut out = Vec::with_capacity(4096);
    let mut nth = 0;
    Box::new(move || {
        nth += 1;
        if nth % FINDS != 0 {
            return;
        }
        out.clear();
        let choose = |inquiry: &Inquiry<'_>| {
            for _ in 0..FINDS {
                let found = routes.find(0, black_box(inquiry));
                assert_eq!(black_box(found), Ok(Some(expected)));
            }
            Ok(Edits::default())
        };
        let found = forward::request(head.as_bytes(), &facts(), choose, &mut out, Vec::reserve);
        assert!(matches!(found, Ok(Some(_))));
    })
}
