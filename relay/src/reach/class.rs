//! From evidence to a class. No I/O; whoever calls says what happened.
//!
//! Evidence, by weight: a test from outside (AutoNAT v2) that reached an address; a hole that was punched; what others
//! see as our address. One observer alone cannot tell a NAT that keeps a mapping for all destinations from one that does
//! not; two can. Invariant: what is remembered is bounded, whatever peers claim.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use libp2p::PeerId;
use weir_protocol::reach::{MAX_REACH_ADDRESSES, ReachClass};

/// Observers remembered.
const MAX_OBSERVERS: usize = 64;
/// Tested addresses remembered.
const MAX_TESTED: usize = 128;

/// Everything known about how this node can be reached.
#[derive(Debug, Default)]
pub struct Evidence {
    local: BTreeSet<SocketAddr>,
    observed: HashMap<PeerId, SocketAddr>,
    tested: BTreeMap<SocketAddr, bool>,
    mapping: Option<SocketAddr>,
    punched: bool,
}

/// What follows from the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conclusion {
    /// The class.
    pub class: ReachClass,
    /// Addresses that are known to work for everybody, best first.
    pub confirmed: Vec<SocketAddr>,
    /// Addresses on this machine's networks.
    pub local: Vec<SocketAddr>,
    /// True when somebody sees this node at an address that is not the machine's own.
    pub behind_nat: bool,
}

impl Evidence {
    /// The machine's own addresses, with the socket's port.
    pub fn set_local(&mut self, local: impl IntoIterator<Item = SocketAddr>) {
        self.local = local.into_iter().collect();
    }

    /// `observer` sees this node at `address`.
    pub fn observed(&mut self, observer: PeerId, address: SocketAddr) {
        if self.observed.len() < MAX_OBSERVERS || self.observed.contains_key(&observer) {
            self.observed.insert(observer, address);
        }
    }

    /// An observer has gone; what it saw may not hold any more.
    pub fn forget(&mut self, observer: &PeerId) {
        self.observed.remove(observer);
    }

    /// Somebody outside has tried an address.
    pub fn tested(&mut self, address: SocketAddr, reachable: bool) {
        if self.tested.len() < MAX_TESTED || self.tested.contains_key(&address) {
            self.tested.insert(address, reachable);
        }
    }

    /// A router says that it forwards this address to us, or no longer.
    pub fn set_mapping(&mut self, mapping: Option<SocketAddr>) {
        self.mapping = mapping;
    }

    /// A hole was punched between this node and one that could not be dialled either.
    pub fn punched(&mut self) {
        self.punched = true;
    }

    /// The machine or its router got another address: holes and observations belong to the former.
    pub fn moved(&mut self) {
        self.observed.clear();
        self.punched = false;
    }

    /// Addresses that might work, tested or not.
    fn plausible(&self) -> BTreeSet<SocketAddr> {
        self.local.iter().chain(self.observed.values()).chain(&self.mapping).copied().collect()
    }

    /// What follows.
    pub fn conclude(&self) -> Conclusion {
        let plausible = self.plausible();
        let works = |address: &SocketAddr| self.tested.get(address) == Some(&true) && self.counts(address);
        let (mut direct, mut mapped): (Vec<_>, Vec<_>) =
            plausible.iter().copied().filter(works).partition(|address| self.local.contains(address));
        let class = if !direct.is_empty() {
            ReachClass::Direct
        } else if !mapped.is_empty() {
            ReachClass::Mapped
        } else if !self.was_refused() {
            ReachClass::Unknown
        } else if self.punched || self.mapping_is_stable() {
            ReachClass::Punched
        } else {
            ReachClass::PeerOnly
        };
        direct.append(&mut mapped);
        direct.truncate(MAX_REACH_ADDRESSES);
        let behind_nat = self.observed.values().any(|address| !self.local.contains(address));
        let local = self.local.iter().copied().filter(|address| !address.ip().is_loopback()).collect();
        Conclusion { class, confirmed: direct, local, behind_nat }
    }

    /// A neighbour that reaches us at an address of the local network proves nothing about the rest of the world, as
    /// soon as somebody else sees us elsewhere.
    fn counts(&self, address: &SocketAddr) -> bool {
        let near = |ip: std::net::IpAddr| match ip {
            std::net::IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
            std::net::IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        };
        !near(address.ip()) || self.observed.values().all(|seen| near(seen.ip()) || seen.is_ipv4() != address.is_ipv4())
    }

    /// Every address at which somebody sees us was tried from outside in vain.
    fn was_refused(&self) -> bool {
        let mut seen = self.observed.values().filter(|address| self.counts(address)).peekable();
        seen.peek().is_some() && seen.all(|address| self.tested.get(address) == Some(&false))
    }

    /// Several observers see one and the same address, or at least one sees the machine's own: then a firewall, not a
    /// NAT, keeps strangers out.
    fn mapping_is_stable(&self) -> bool {
        let (mut v4, mut v6) = (BTreeMap::<_, usize>::new(), BTreeMap::<_, usize>::new());
        for address in self.observed.values().filter(|address| self.counts(address)) {
            *if address.is_ipv4() { &mut v4 } else { &mut v6 }.entry(address).or_default() += 1;
        }
        [v4, v6].iter().any(|family| {
            family.len() == 1 && family.iter().all(|(address, seen)| *seen > 1 || self.local.contains(address))
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn at_home() -> Evidence {
        let mut evidence = Evidence::default();
        evidence.set_local(["192.168.1.2:7444", "127.0.0.1:7444"].map(socket));
        evidence
    }

    #[test]
    fn nothing_known_is_unknown() {
        assert_eq!(at_home().conclude().class, ReachClass::Unknown);
        let mut seen = at_home();
        seen.observed(PeerId::random(), socket("203.0.113.1:6001"));
        let concluded = seen.conclude();
        assert_eq!((concluded.class, concluded.behind_nat), (ReachClass::Unknown, true));
    }

    #[test]
    fn an_own_address_that_strangers_reach_is_direct() {
        let mut evidence = Evidence::default();
        evidence.set_local([socket("203.0.113.5:7444")]);
        evidence.observed(PeerId::random(), socket("203.0.113.5:7444"));
        evidence.tested(socket("203.0.113.5:7444"), true);
        let concluded = evidence.conclude();
        assert_eq!((concluded.class, concluded.behind_nat), (ReachClass::Direct, false));
        assert_eq!(concluded.confirmed, [socket("203.0.113.5:7444")]);
    }

    #[test]
    fn a_forwarded_port_that_strangers_reach_is_mapped() {
        let mut evidence = at_home();
        evidence.observed(PeerId::random(), socket("203.0.113.1:6001"));
        evidence.tested(socket("203.0.113.1:6001"), false);
        evidence.set_mapping(Some(socket("203.0.113.1:7444")));
        assert_eq!(evidence.conclude().class, ReachClass::PeerOnly, "a router's word alone does not count");
        evidence.tested(socket("203.0.113.1:7444"), true);
        assert_eq!(evidence.conclude().class, ReachClass::Mapped);
        evidence.set_mapping(None);
        assert_eq!(evidence.conclude().class, ReachClass::PeerOnly);
    }

    #[test]
    fn two_observers_tell_a_stable_nat_from_a_symmetric_one() {
        let (one, two) = (PeerId::random(), PeerId::random());
        let mut cone = at_home();
        cone.observed(one, socket("203.0.113.1:6001"));
        cone.tested(socket("203.0.113.1:6001"), false);
        assert_eq!(cone.conclude().class, ReachClass::PeerOnly, "one observer alone cannot tell");
        cone.observed(two, socket("203.0.113.1:6001"));
        assert_eq!(cone.conclude().class, ReachClass::Punched);

        let mut symmetric = at_home();
        for (observer, address) in [(one, "203.0.113.1:6001"), (two, "203.0.113.1:6002")] {
            symmetric.observed(observer, socket(address));
            symmetric.tested(socket(address), false);
        }
        assert_eq!(symmetric.conclude().class, ReachClass::PeerOnly);
        symmetric.punched();
        assert_eq!(symmetric.conclude().class, ReachClass::Punched);
    }

    #[test]
    fn a_firewall_without_nat_can_be_punched() {
        let mut evidence = Evidence::default();
        evidence.set_local([socket("[2001:db8::5]:7444")]);
        evidence.observed(PeerId::random(), socket("[2001:db8::5]:7444"));
        evidence.tested(socket("[2001:db8::5]:7444"), false);
        assert_eq!(evidence.conclude().class, ReachClass::Punched);
    }

    #[test]
    fn a_neighbour_vouches_for_nothing_when_others_see_us_elsewhere() {
        let mut evidence = at_home();
        let near = socket("192.168.1.2:7444");
        evidence.observed(PeerId::random(), near);
        evidence.tested(near, true);
        assert_eq!(evidence.conclude().class, ReachClass::Direct, "the whole network is local");
        evidence.observed(PeerId::random(), socket("203.0.113.1:6001"));
        assert_ne!(evidence.conclude().class, ReachClass::Direct);
    }

    #[test]
    fn a_move_ends_what_belonged_to_the_former_place() {
        let mut evidence = at_home();
        evidence.observed(PeerId::random(), socket("203.0.113.1:6001"));
        evidence.tested(socket("203.0.113.1:6001"), false);
        evidence.punched();
        assert_eq!(evidence.conclude().class, ReachClass::Punched);
        evidence.moved();
        assert_eq!(evidence.conclude().class, ReachClass::Unknown);
    }

    #[test]
    fn claims_do_not_fill_the_memory() {
        let mut evidence = at_home();
        for port in 1..1000 {
            evidence.observed(PeerId::random(), SocketAddr::from(([203, 0, 113, 1], port)));
            evidence.tested(SocketAddr::from(([203, 0, 113, 1], port)), true);
        }
        assert_eq!((evidence.observed.len(), evidence.tested.len()), (MAX_OBSERVERS, MAX_TESTED));
        assert!(evidence.conclude().confirmed.len() <= MAX_REACH_ADDRESSES);
    }
}
