//! Which of the machine's addresses the socket announces to the swarm, and their changes.
//!
//! Invariant: the set holds only addresses that the socket can be reached at by family, at most [`MAX_ADDRESSES`]; a
//! socket bound to one address announces exactly that one.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;

use super::address::{is_dual_stack, same_family};

/// Most addresses that are announced; the lowest are kept.
const MAX_ADDRESSES: usize = 32;
/// Destinations whose route is asked for; no packet is sent. Documentation prefixes (RFC 5737, RFC 3849) take the
/// default route everywhere.
const ROUTE_PROBES: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

pub(super) struct Announced {
    bound: SocketAddr,
    current: Mutex<BTreeSet<IpAddr>>,
    changed: AtomicWaker,
}

impl Announced {
    /// Starts from `given`, or from what the routing table says when that is empty.
    pub(super) fn new(bound: SocketAddr, given: &[IpAddr]) -> Self {
        let announced = Self { bound, current: Mutex::default(), changed: AtomicWaker::new() };
        if given.is_empty() {
            announced.replace(discover())
        } else {
            announced.replace(given.iter().copied())
        }
        announced
    }

    pub(super) fn replace(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        let next = if self.bound.ip().is_unspecified() {
            let reachable = |ip: &IpAddr| !ip.is_unspecified() && same_family(self.bound, *ip);
            let sorted: BTreeSet<_> = addresses.into_iter().map(|ip| ip.to_canonical()).filter(reachable).collect();
            sorted.into_iter().take(MAX_ADDRESSES).collect()
        } else {
            BTreeSet::from([self.bound.ip()])
        };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = next;
        self.changed.wake();
    }

    /// The addresses now.
    pub(super) fn current(&self) -> BTreeSet<IpAddr> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The addresses now; `waker` is called at the next change.
    pub(super) fn watch(&self, waker: &Waker) -> BTreeSet<IpAddr> {
        // Registered before reading, so that a change between the two is not lost.
        self.changed.register(waker);
        self.current()
    }

    /// Whether `asked` names this socket: its own address and port, or "any" of either.
    pub(super) fn is_own(&self, asked: SocketAddr) -> bool {
        let any_ip =
            asked.ip().is_unspecified() && (asked.is_ipv6() == self.bound.is_ipv6() || is_dual_stack(self.bound));
        (asked.port() == 0 || asked.port() == self.bound.port()) && (any_ip || asked.ip() == self.bound.ip())
    }
}

fn discover() -> impl Iterator<Item = IpAddr> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    loopback.into_iter().chain(ROUTE_PROBES.into_iter().filter_map(route_source))
}

/// The address that packets to `destination` would be sent from: connecting a UDP socket asks the routing table.
fn route_source(destination: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if destination.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(destination).ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn set(announced: &Announced) -> Vec<String> {
        announced.watch(Waker::noop()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn bound_to_one_address_announces_that_one_only() {
        let announced = Announced::new("127.0.0.2:7".parse().unwrap(), &["10.0.0.1".parse().unwrap()]);
        assert_eq!(set(&announced), ["127.0.0.2"]);
        announced.replace(["10.0.0.9".parse().unwrap()]);
        assert_eq!(set(&announced), ["127.0.0.2"]);
    }

    #[test]
    fn families_are_filtered_and_the_set_is_bounded() {
        let all = || (0..100u8).map(|n| IpAddr::from([10, 0, 0, n])).chain(["2001:db8::1".parse().unwrap()]);
        let v4 = Announced::new("0.0.0.0:7".parse().unwrap(), &all().collect::<Vec<_>>());
        assert_eq!(set(&v4).len(), MAX_ADDRESSES);
        v4.replace(["2001:db8::1".parse().unwrap(), "0.0.0.0".parse().unwrap()]);
        assert!(set(&v4).is_empty());
        let dual = Announced::new(
            "[::]:7".parse().unwrap(),
            &["::ffff:10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        );
        assert_eq!(set(&dual), ["10.0.0.1", "2001:db8::1"]);
    }

    #[test]
    fn nothing_given_means_loopback_at_least() {
        assert!(set(&Announced::new("0.0.0.0:7".parse().unwrap(), &[])).contains(&"127.0.0.1".to_owned()));
    }

    #[test]
    fn own_addresses() {
        let own = |bound: &str, asked: &str| Announced::new(bound.parse().unwrap(), &[]).is_own(asked.parse().unwrap());
        assert!(own("127.0.0.1:7", "127.0.0.1:7"));
        assert!(own("127.0.0.1:7", "0.0.0.0:0"));
        assert!(own("[::]:7", "[::]:7"));
        assert!(own("[::]:7", "0.0.0.0:7"));
        assert!(!own("127.0.0.1:7", "127.0.0.1:8"));
        assert!(!own("127.0.0.1:7", "127.0.0.2:7"));
        assert!(!own("0.0.0.0:7", "[::]:7"));
    }
}
