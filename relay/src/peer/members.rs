//! The adapter's list of its network as a relay holds it. Invariant: changes apply only to the list they were made
//! from; otherwise the list stays as it is and the whole is asked for.

use crate::mesh;
use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
};
use weir_protocol::{
    grant::DEFAULT_WEIGHT,
    ids::RelayId,
    wire::{Changes, MAX_MEMBERS, Member, Members},
};

/// A member as the adapter lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Who it is, its region, weight and age.
    pub member: mesh::Member,
    /// Where it is.
    pub addresses: Vec<SocketAddr>,
    /// Its grant covers some paths only.
    pub scoped: bool,
}

impl From<Member> for Listed {
    fn from(member: Member) -> Self {
        let weight = member.weight.unwrap_or(DEFAULT_WEIGHT);
        Self {
            addresses: member.addresses.iter().filter_map(|address| address.parse().ok()).collect(),
            scoped: member.scoped.unwrap_or(false),
            member: mesh::Member::new(
                member.relay,
                member.region.as_str().into(),
                weight,
                member.since.unwrap_or_default(),
            ),
        }
    }
}

/// What became of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// The list is now the newer one.
    Yes,
    /// They are of an older list than the one held.
    Stale,
    /// They belong to a list that is not held: ask for the whole.
    Gap,
}

/// The list.
#[derive(Debug, Default)]
pub(super) struct Roll {
    epoch: u64,
    members: BTreeMap<RelayId, Listed>,
    revoked: HashSet<RelayId>,
}

impl Roll {
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The adapter begins anew.
    pub(super) fn expect_any(&mut self) {
        self.epoch = 0;
    }

    /// A whole list; false when the one held is newer.
    pub(super) fn replace(&mut self, epoch: u64, members: Vec<Listed>) -> bool {
        if epoch < self.epoch {
            return false;
        }
        self.epoch = epoch;
        self.members = members.into_iter().take(MAX_MEMBERS).map(|listed| (listed.member.relay, listed)).collect();
        true
    }

    /// A whole list off the wire.
    pub(super) fn take(&mut self, list: Members) -> bool {
        let taken = self.replace(list.epoch, list.members.into_iter().map(Listed::from).collect());
        if taken {
            self.revoked = list.revoked.unwrap_or_default().into_iter().collect();
        }
        taken
    }

    /// Changes off the wire.
    pub(super) fn apply(&mut self, changes: Changes) -> Applied {
        if changes.epoch <= self.epoch {
            return Applied::Stale;
        }
        if changes.since != self.epoch {
            return Applied::Gap;
        }
        for relay in &changes.left {
            self.members.remove(relay);
        }
        for member in changes.joined {
            self.members.insert(member.relay, member.into());
        }
        self.epoch = changes.epoch;
        if let Some(revoked) = changes.revoked {
            self.revoked = revoked.into_iter().collect();
        }
        if self.members.len() > MAX_MEMBERS {
            // No adapter of this protocol sends that; the list it makes is nobody's.
            self.expect_any();
            return Applied::Gap;
        }
        Applied::Yes
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Listed> {
        self.members.values()
    }

    pub(super) fn get(&self, relay: &RelayId) -> Option<&Listed> {
        self.members.get(relay)
    }

    /// Whether being in the list suffices.
    pub(super) fn admits(&self, relay: &RelayId) -> bool {
        self.members.get(relay).is_some_and(|listed| !listed.scoped)
    }

    pub(super) fn is_revoked(&self, relay: &RelayId) -> bool {
        self.revoked.contains(relay)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::ids::PublisherId;

    const PUBLISHER: PublisherId = PublisherId::from_bytes([1; 32]);

    fn member(seed: u8, weight: u32) -> Member {
        let key = libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).unwrap();
        Member {
            relay: RelayId::from_public_key(&key.public()),
            addresses: vec!["192.0.2.1:1".into()],
            region: "eu".into(),
            weight: Some(weight),
            since: None,
            scoped: Some(seed == 9),
        }
    }

    fn changes(since: u64, epoch: u64, joined: Vec<Member>, left: Vec<RelayId>) -> Changes {
        Changes { publisher: PUBLISHER, since, epoch, joined, left, revoked: None }
    }

    #[test]
    fn changes_apply_to_their_list_alone() {
        let (one, two) = (member(1, 1), member(2, 1));
        let mut roll = Roll::default();
        assert_eq!(roll.apply(changes(4, 5, vec![two.clone()], Vec::new())), Applied::Gap);
        let whole = Members { publisher: PUBLISHER, epoch: 5, members: vec![one.clone()], revoked: None };
        assert!(roll.take(whole.clone()));
        assert_eq!(roll.apply(changes(5, 7, vec![two.clone(), member(1, 9)], Vec::new())), Applied::Yes);
        assert_eq!(roll.get(&one.relay).unwrap().member.weight, 9);
        assert_eq!(roll.apply(changes(5, 7, Vec::new(), vec![one.relay])), Applied::Stale);
        assert_eq!(roll.apply(changes(8, 9, Vec::new(), vec![one.relay])), Applied::Gap);
        assert_eq!(roll.apply(changes(7, 9, Vec::new(), vec![one.relay])), Applied::Yes);
        assert_eq!(roll.members().map(|listed| listed.member.relay).collect::<Vec<_>>(), [two.relay]);
        assert!(!roll.take(whole), "an older list");
    }

    #[test]
    fn a_member_for_some_paths_is_not_let_in_by_the_list() {
        let mut roll = Roll::default();
        let members = vec![member(1, 1), member(9, 1)];
        let ids: Vec<RelayId> = members.iter().map(|member| member.relay).collect();
        roll.take(Members { publisher: PUBLISHER, epoch: 1, members, revoked: Some(vec![ids[0]]) });
        assert!(roll.admits(&ids[0]) && !roll.admits(&ids[1]));
        assert!(roll.is_revoked(&ids[0]) && !roll.is_revoked(&ids[1]));
    }

    #[test]
    fn a_list_never_grows_past_its_bound() {
        let mut roll = Roll::default();
        let id = |n: u16| {
            let mut secret = [1; 32];
            secret[..2].copy_from_slice(&n.to_be_bytes());
            let key = libp2p::identity::Keypair::ed25519_from_bytes(secret).unwrap();
            Member { relay: RelayId::from_public_key(&key.public()), ..member(1, 1) }
        };
        let many = |from: u16, to: u16| (from..to).map(id).collect::<Vec<_>>();
        assert_eq!(roll.apply(changes(0, 1, many(0, 1024), Vec::new())), Applied::Yes);
        assert_eq!(roll.apply(changes(1, 2, many(1024, 1100), Vec::new())), Applied::Gap);
        assert_eq!(roll.epoch(), 0, "the whole list is asked for");
    }
}
