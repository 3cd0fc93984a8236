//! Which listener is which: those that stay across a reload, and those that another process has opened for us.
//!
//! A listener is known by the address that is configured for it. Where that has port 0, several may have the same; then they
//! are told apart by their names, and after that by their order.

use std::io;
use std::net::{SocketAddr, TcpListener};

use log::info;

use crate::config::Listener;
use crate::net::stream::Net as _;
use crate::proxy::Bound;

use super::inherit::{self, Socket as Inherited};
use super::kernel::Kernel;

/// The listeners that are open, in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<Open>);

/// One of them.
#[derive(Clone, Debug)]
struct Open {
    name: String,
    /// As configured.
    addr: SocketAddr,
    /// Whether IPv4 at its address was for another listener when it was opened.
    is_split: bool,
    bound: Bound,
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub(super) struct NotBound {
    pub(super) addr: SocketAddr,
    pub(super) error: io::Error,
}

impl Listeners {
    /// The listeners of another configuration: those that stay, those that were inherited, and new ones. They take what is
    /// theirs out of `inherited`. Those of ours that do not stay are still open.
    ///
    /// # Errors
    /// An address cannot be listened on. What was opened for the others is closed again, and all is as before.
    pub(super) fn change(
        &self,
        configured: &[Listener],
        inherited: &mut Vec<Inherited>,
        kernel: &mut Kernel,
    ) -> Result<Self, NotBound> {
        let stay = matches(
            configured,
            &self.0,
            &[
                |wanted, open| wanted.addr == open.addr && wanted.name == open.name,
                |wanted, open| wanted.addr == open.addr,
            ],
        );
        if let Some(refused) = self.split_anew(configured, &stay) {
            return Err(refused);
        }
        let mut handed_in = hand_in(configured, &stay, inherited);
        let mut listeners = Self::default();
        let mut opened = Vec::new();
        for (i, wanted) in configured.iter().enumerate() {
            let bound = match (stay[i], handed_in[i].take()) {
                (Some(place), _) => Ok(self.0[place].bound),
                (None, Some(socket)) => kernel.adopt(socket),
                (None, None) => kernel.listen(wanted.addr, is_split(wanted.addr, configured)),
            };
            let bound = match bound {
                Ok(bound) => bound,
                Err(error) => {
                    for listener in opened {
                        kernel.close_listener(listener);
                    }
                    return Err(NotBound {
                        addr: wanted.addr,
                        error: self.explained(error, wanted.addr, configured, &listeners),
                    });
                }
            };
            if stay[i].is_none() {
                opened.push(bound.listener);
            }
            listeners.0.push(Open {
                name: wanted.name.clone(),
                addr: wanted.addr,
                is_split: is_split(wanted.addr, configured),
                bound,
            });
        }
        Ok(listeners)
    }

    /// Why an address cannot be listened on, where it is because of a listener of our own: an earlier one of the same
    /// configuration, or one of the present ones.
    fn explained(
        &self,
        error: io::Error,
        addr: SocketAddr,
        configured: &[Listener],
        earlier: &Self,
    ) -> io::Error {
        if error.kind() != io::ErrorKind::AddrInUse {
            return error;
        }
        let split = is_split(addr, configured);
        let mut own = earlier.0.iter().chain(&self.0);
        let Some(open) =
            own.find(|open| are_in_the_way((addr, split), (open.bound.addr, open.is_split)))
        else {
            return error;
        };
        let stays = configured.iter().any(|wanted| wanted.addr == open.addr);
        let advice = match stays {
            true => "leave one of the two out",
            false => "reload without both first, or start rondel anew",
        };
        let why = format!("rondel itself listens on {}; {advice}", open.bound.addr);
        io::Error::new(error.kind(), why)
    }

    /// One that stays, but is to take IPv4 too from now on, or no more. That is settled when a socket is bound, and another one
    /// cannot be bound beside it; without a word, clients of IPv4 would find nobody any more.
    fn split_anew(&self, configured: &[Listener], stay: &[Option<usize>]) -> Option<NotBound> {
        let staying = configured.iter().zip(stay);
        let mut changed = staying.filter(|(wanted, place)| {
            let split = is_split(wanted.addr, configured);
            place.is_some_and(|place| self.0[place].is_split != split)
        });
        let (wanted, _) = changed.next()?;
        let why = match is_split(wanted.addr, configured) {
            true => "it takes IPv4 too, and goes on to until rondel is started anew",
            false => "it takes no IPv4, and cannot before rondel is started anew",
        };
        Some(NotBound {
            addr: wanted.addr,
            error: io::Error::new(io::ErrorKind::AddrInUse, why),
        })
    }

    /// Says in the log what is different from the present ones.
    pub(super) fn log_changes(&self, present: &Self) {
        let has = |list: &Self, one: &Open| {
            let mut listeners = list.0.iter().map(|open| open.bound.listener);
            listeners.any(|listener| listener == one.bound.listener)
        };
        for open in self.0.iter().filter(|open| !has(present, open)) {
            info!("listening on {}", open.bound.addr);
        }
        for open in present.0.iter().filter(|open| !has(self, open)) {
            info!("no longer listening on {}", open.bound.addr);
        }
    }

    /// Where each of them is.
    pub(super) fn bound(&self) -> Vec<Bound> {
        self.0.iter().map(|open| open.bound).collect()
    }

    /// Their names, and the kernel's numbers for them.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0
            .iter()
            .map(|open| (open.name.as_str(), open.bound.listener))
    }
}

/// For each listener that does not stay, the inherited socket that is its own.
fn hand_in(
    configured: &[Listener],
    stay: &[Option<usize>],
    inherited: &mut Vec<Inherited>,
) -> Vec<Option<TcpListener>> {
    let new: Vec<usize> = (0..configured.len())
        .filter(|&i| stay[i].is_none())
        .collect();
    let wanted: Vec<Listener> = new.iter().map(|&i| configured[i].clone()).collect();
    let places = matches(
        &wanted,
        inherited,
        &[
            |wanted, socket| wanted.addr == socket.addr,
            |wanted, socket| {
                is_any_port(wanted, socket) && inherit::fd_name(&wanted.name) == socket.name
            },
            // [::] takes IPv4 too, where it is not forbidden to.
            |wanted, socket| {
                let is_all = [wanted.addr, socket.addr].map(|addr| addr.ip().is_unspecified());
                is_all == [true; 2]
                    && wanted.addr.is_ipv4()
                    && wanted.addr.port() == socket.addr.port()
            },
            is_any_port,
        ],
    );
    let mut sockets: Vec<Option<Inherited>> = inherited.drain(..).map(Some).collect();
    let mut handed_in: Vec<Option<TcpListener>> = configured.iter().map(|_| None).collect();
    for (i, place) in new.into_iter().zip(places) {
        handed_in[i] = place
            .and_then(|place| sockets[place].take())
            .map(|socket| socket.listener);
    }
    inherited.extend(sockets.into_iter().flatten());
    handed_in
}

/// Whether the listener may have any port, and this one is at its address.
fn is_any_port(wanted: &Listener, socket: &Inherited) -> bool {
    wanted.addr.port() == 0 && wanted.addr.ip() == socket.addr.ip()
}

/// Gives to each of `wanted` the place of one of `have`, each to one at most: first by the first rule, what is left by
/// the next one.
fn matches<T>(
    wanted: &[Listener],
    have: &[T],
    rules: &[fn(&Listener, &T) -> bool],
) -> Vec<Option<usize>> {
    let mut places = vec![None; wanted.len()];
    let mut taken = vec![false; have.len()];
    for rule in rules {
        for (wanted, place) in wanted.iter().zip(&mut places) {
            if place.is_none() {
                *place = (0..have.len()).find(|&i| !taken[i] && rule(wanted, &have[i]));
                if let Some(i) = *place {
                    taken[i] = true;
                }
            }
        }
    }
    places
}

/// Whether IPv4 at this IPv6 address is for another listener.
fn is_split(addr: SocketAddr, listeners: &[Listener]) -> bool {
    addr.is_ipv6()
        && addr.ip().is_unspecified()
        && listeners
            .iter()
            .any(|other| other.addr.is_ipv4() && other.addr.port() == addr.port())
}

/// Whether the system lets only one of two addresses be listened on; each comes with whether IPv4 there is for another listener.
fn are_in_the_way(one: (SocketAddr, bool), other: (SocketAddr, bool)) -> bool {
    let covers = |(wide, is_split): (SocketAddr, bool), addr: SocketAddr| {
        let takes_family = wide.is_ipv4() == addr.is_ipv4() || (wide.is_ipv6() && !is_split);
        wide.ip().is_unspecified() && takes_family
    };
    one.0.port() == other.0.port()
        && (one.0 == other.0 || covers(one, other.0) || covers(other, one.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(name: &str, addr: &str) -> Listener {
        Listener {
            name: name.to_owned(),
            ..Listener::at(addr.parse().unwrap())
        }
    }

    fn open(listeners: &[(&str, &str)]) -> Vec<Open> {
        let open = listeners.iter().enumerate().map(|(i, (name, addr))| Open {
            name: (*name).to_owned(),
            addr: addr.parse().unwrap(),
            is_split: false,
            bound: Bound {
                listener: i,
                addr: addr.parse().unwrap(),
            },
        });
        open.collect()
    }

    fn stay(wanted: &[(&str, &str)], have: &[(&str, &str)]) -> Vec<Option<usize>> {
        let wanted: Vec<Listener> = wanted.iter().map(|(n, a)| listener(n, a)).collect();
        matches(
            &wanted,
            &open(have),
            &[
                |wanted, open| wanted.addr == open.addr && wanted.name == open.name,
                |wanted, open| wanted.addr == open.addr,
            ],
        )
    }

    #[test]
    fn a_listener_is_known_by_its_address_whatever_its_name_and_place() {
        let have = [("a", "127.0.0.1:1"), ("b", "127.0.0.1:2")];
        let wanted = [("x", "127.0.0.1:2"), ("a", "127.0.0.1:3")];
        assert_eq!(stay(&wanted, &have), [Some(1), None]);
    }

    #[test]
    fn those_of_any_port_are_known_by_name_and_then_by_order() {
        let have = [("a", "[::1]:0"), ("b", "[::1]:0"), ("c", "[::1]:0")];
        let wanted = [("new", "[::1]:0"), ("a", "[::1]:0"), ("c", "[::1]:0")];
        assert_eq!(stay(&wanted, &have), [Some(1), Some(0), Some(2)]);
        assert_eq!(stay(&[("a", "127.0.0.1:0")], &have), [None]);
    }

    #[test]
    fn whether_a_listener_takes_ipv4_too_does_not_change_without_a_word() {
        let dual = Listeners(open(&[("a", "[::]:1"), ("b", "[::]:2")]));
        let mut split = Listeners(open(&[("a", "[::]:1"), ("b", "0.0.0.0:1")]));
        split.0[0].is_split = true;
        let check = |open: &Listeners, wanted: &[(&str, &str)]| {
            let wanted: Vec<Listener> = wanted.iter().map(|(n, a)| listener(n, a)).collect();
            let by_addr: &[fn(&Listener, &Open) -> bool] =
                &[|wanted, open| wanted.addr == open.addr];
            let stay = matches(&wanted, &open.0, by_addr);
            open.split_anew(&wanted, &stay)
                .map(|refused| refused.addr.to_string())
        };
        assert_eq!(check(&dual, &[("a", "[::]:1")]), None);
        assert_eq!(check(&dual, &[("a", "[::]:1"), ("c", "127.0.0.1:3")]), None);
        assert_eq!(check(&split, &[("a", "[::]:1"), ("b", "0.0.0.0:1")]), None);
        assert_eq!(check(&split, &[("b", "0.0.0.0:1")]), None);
        let refused = Some("[::]:1".to_owned());
        assert_eq!(check(&split, &[("a", "[::]:1")]), refused);
        assert_eq!(
            check(&dual, &[("a", "[::]:1"), ("b", "127.0.0.1:1")]),
            refused
        );
    }

    #[test]
    fn which_addresses_are_in_each_others_way() {
        let check = |one: (&str, bool), other: (&str, bool)| {
            let [one, other] = [one, other].map(|(addr, split)| (addr.parse().unwrap(), split));
            let told = are_in_the_way(one, other);
            assert_eq!(told, are_in_the_way(other, one), "either way around");
            told
        };
        let (v4, v4_all) = (("127.0.0.1:80", false), ("0.0.0.0:80", false));
        let (v6, dual, split) = (("[::1]:80", false), ("[::]:80", false), ("[::]:80", true));
        for (one, other) in [
            (v4, v4),
            (v4, v4_all),
            (v4, dual),
            (v4_all, dual),
            (v6, dual),
            (v6, split),
        ] {
            assert!(check(one, other), "{one:?} {other:?}");
        }
        let elsewhere = [("127.0.0.2:80", false), ("0.0.0.0:81", false), v6, split];
        for other in elsewhere {
            assert!(!check(v4, other), "{other:?}");
        }
        assert!(!check(v6, v4_all) && !check(v4_all, split));
    }

    #[test]
    fn an_inherited_socket_goes_to_the_listener_of_its_address_or_its_name() {
        let socket = |name: &str, addr: &str| {
            let listener = TcpListener::bind(addr).unwrap();
            Inherited {
                name: name.to_owned(),
                addr: listener.local_addr().unwrap(),
                listener,
            }
        };
        let mut inherited = vec![
            socket("x", "127.0.0.1:0"),
            socket("web", "127.0.0.1:0"),
            socket("127.0.0.1_0", "127.0.0.1:0"),
            socket("other", "[::1]:0"),
        ];
        let addrs: Vec<SocketAddr> = inherited.iter().map(|socket| socket.addr).collect();
        let configured = [
            listener("any", "127.0.0.1:0"),
            listener("web", "127.0.0.1:0"),
            Listener::at(addrs[2]),
            listener("none", "127.0.0.2:0"),
        ];
        let handed_in = hand_in(&configured, &[None; 4], &mut inherited);
        let got: Vec<Option<SocketAddr>> = handed_in
            .iter()
            .map(|socket| socket.as_ref().map(|socket| socket.local_addr().unwrap()))
            .collect();
        assert_eq!(got, [Some(addrs[0]), Some(addrs[1]), Some(addrs[2]), None]);
        let left: Vec<&str> = inherited.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(left, ["other"]);
    }
}
