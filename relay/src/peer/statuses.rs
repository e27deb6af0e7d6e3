//! What relays have said about themselves by gossip. Invariant: one status for each member, the newest by its epoch;
//! the caller keeps statuses of members only, whose number is bounded.

use dashmap::DashMap;
use std::net::{IpAddr, SocketAddr};
use weir_protocol::{gossip::RelayStatus, ids::RelayId, reach::ReachClass};

/// The newest status of each member.
#[derive(Debug, Default)]
pub struct Statuses(DashMap<RelayId, RelayStatus>);

impl Statuses {
    /// `relay` says this about itself; false if it has said something newer.
    pub(super) fn note(&self, relay: RelayId, status: RelayStatus) -> bool {
        let mut known = self.0.entry(relay).or_insert_with(|| status.clone());
        let newer = status.epoch >= known.epoch;
        if newer {
            *known = status;
        }
        newer
    }

    /// Forgets all but these.
    pub(super) fn retain(&self, member: impl Fn(&RelayId) -> bool) {
        self.0.retain(|relay, _| member(relay));
    }

    /// What `relay` has said last.
    pub fn of(&self, relay: &RelayId) -> Option<RelayStatus> {
        self.0.get(relay).map(|status| status.clone())
    }

    /// How `relay` can be reached, as far as it has said.
    pub fn class_of(&self, relay: &RelayId) -> ReachClass {
        self.0.get(relay).map(|status| status.reach.class).unwrap_or_default()
    }

    /// Its own addresses first, then those that the adapter has seen.
    pub(super) fn addresses(&self, relay: &RelayId, listed: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let own = self.0.get(relay).map(|status| status.reach.sockets().collect::<Vec<_>>()).unwrap_or_default();
        let mut all = own;
        all.extend(listed);
        let mut seen = Vec::with_capacity(all.len());
        all.retain(|address| {
            !seen.contains(address) && {
                seen.push(*address);
                true
            }
        });
        all
    }

    /// Members that a stranger's first packet reaches.
    pub fn open(&self) -> Vec<RelayId> {
        self.0.iter().filter(|status| status.reach.class.is_open()).map(|status| *status.key()).collect()
    }
}

/// What of a member's addresses, the first of which is where the adapter sees it, makes sense from where the adapter sees
/// this relay.
pub(super) fn listed_near(own: &[SocketAddr], mut listed: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let same = match (own.first(), listed.first()) {
        (Some(own), Some(theirs)) => own.ip() == theirs.ip(),
        _ => false,
    };
    let mut first = true;
    listed.retain(|address| std::mem::take(&mut first) || same || is_public(address.ip()));
    if same {
        // Behind one NAT the way over its outer side may not exist, and is longer in any case.
        listed.sort_by_key(|address| is_public(address.ip()));
    }
    listed
}

/// False for addresses that mean something else on every network: RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::reach::Reach;

    #[test]
    fn private_addresses_make_sense_behind_the_same_nat_only() {
        let parse = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let listed = parse(&["203.0.113.1:6001", "192.168.1.2:7444", "[2001:db8::2]:7444"]);
        let from = |own: &str| listed_near(&parse(&[own]), listed.clone());
        assert_eq!(from("203.0.113.9:1"), parse(&["203.0.113.1:6001", "[2001:db8::2]:7444"]));
        assert_eq!(from("203.0.113.1:1"), parse(&["192.168.1.2:7444", "203.0.113.1:6001", "[2001:db8::2]:7444"]));
        let at_home = parse(&["192.168.1.2:7444"]);
        assert_eq!(listed_near(&parse(&["192.168.1.9:1"]), at_home.clone()), at_home, "where the adapter sees it");
    }

    #[test]
    fn the_newest_status_counts_and_own_addresses_come_first() {
        let relay = RelayId::from(libp2p::PeerId::random());
        let at = |epoch, address: &str| RelayStatus {
            reach: Reach::new(ReachClass::Direct, [address.parse().unwrap()]),
            epoch,
            ..RelayStatus::default()
        };
        let statuses = Statuses::default();
        assert!(statuses.note(relay, at(2, "192.0.2.2:1")));
        assert!(!statuses.note(relay, at(1, "192.0.2.1:1")));
        let listed = vec!["192.0.2.9:1".parse().unwrap(), "192.0.2.2:1".parse().unwrap()];
        let expected: Vec<SocketAddr> = vec!["192.0.2.2:1".parse().unwrap(), "192.0.2.9:1".parse().unwrap()];
        assert_eq!(statuses.addresses(&relay, listed), expected);
        assert_eq!(statuses.open(), [relay]);
        statuses.retain(|_| false);
        assert_eq!((statuses.of(&relay), statuses.class_of(&relay)), (None, ReachClass::Unknown));
    }
}
