//! What the adapter has sent to whom, so that it can name those who have it instead of sending it into the same region
//! once more. Invariants: what is remembered is bounded; nobody is named for what has become stale, after leaving, or to
//! itself.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher,
};
use weir_protocol::{
    ids::{RelayId, ResourceHash},
    time::UnixMillis,
};

/// Objects of which an adapter remembers who has them.
const OBJECTS: usize = 1 << 18;
/// Relays that are remembered for one object in one region, the newest first.
const MOST: usize = 3;
/// Stands for nobody.
const NOBODY: u64 = 0;

/// When those are named who have an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Named {
    /// Before this it is at the live edge, where time matters more than bytes.
    pub from: UnixMillis,
    /// From then on it is stale.
    pub until: UnixMillis,
}

/// Who has one object in one region.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    relays: [u64; MOST],
    named: Named,
}

/// Who has what. Objects and relays are remembered by fingerprints under a key that nobody else knows: where two are the
/// same, somebody is named in vain, which costs the asker a refusal.
#[derive(Debug)]
pub struct Holders {
    keys: RandomState,
    /// Objects of late, and those before: when the first are as many as may be, they take the place of the second.
    young: HashMap<u64, Known>,
    old: HashMap<u64, Known>,
    members: HashMap<u64, RelayId>,
    most: usize,
}

impl Default for Holders {
    fn default() -> Self {
        Self::new(OBJECTS)
    }
}

impl Holders {
    /// Of at most `objects`, in each region that wants them (about 100 bytes for each); the latter half of them for
    /// certain.
    pub fn new(objects: usize) -> Self {
        Self {
            keys: RandomState::new(),
            young: HashMap::new(),
            old: HashMap::new(),
            members: HashMap::new(),
            most: (objects / 2).max(1),
        }
    }

    /// An object begins to be sent to a relay of a region, or through one to another.
    pub fn sent(&mut self, object: &ResourceHash, region: &str, relay: &RelayId, named: Named, now: UnixMillis) {
        let (key, new) = (self.key(object, region), self.fingerprint(relay));
        let mut known = self.known(key, now).unwrap_or_default();
        let at = known.relays.iter().position(|one| *one == new).unwrap_or(MOST - 1);
        known.relays[..=at].rotate_right(1);
        known.relays[0] = new;
        known.named = Named { from: known.named.from.max(named.from), until: named.until };
        if self.young.len() >= self.most && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
            let named: HashSet<u64> = self.old.values().flat_map(|known| known.relays).collect();
            self.members.retain(|one, _| named.contains(one));
        }
        self.young.insert(key, known);
        self.members.insert(new, *relay);
    }

    /// Those in a region who have an object or are about to, but the asker: the newest first.
    pub fn of(&self, object: &ResourceHash, region: &str, asker: &RelayId, now: UnixMillis) -> Vec<RelayId> {
        let Some(known) = self.known(self.key(object, region), now).filter(|known| known.named.from <= now) else {
            return Vec::new();
        };
        let members = known.relays.iter().filter_map(|one| self.members.get(one));
        members.filter(|relay| *relay != asker).copied().collect()
    }

    /// A relay has left.
    pub fn left(&mut self, relay: &RelayId) {
        self.members.remove(&self.fingerprint(relay));
    }

    /// What was sent does not count any more.
    pub fn forget(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    fn known(&self, key: u64, now: UnixMillis) -> Option<Known> {
        self.young.get(&key).or_else(|| self.old.get(&key)).filter(|known| now < known.named.until).copied()
    }

    fn key(&self, object: &ResourceHash, region: &str) -> u64 {
        self.keys.hash_one((object, region))
    }

    fn fingerprint(&self, relay: &RelayId) -> u64 {
        self.keys.hash_one(relay).max(NOBODY + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::testing::relay;

    const NOW: UnixMillis = UnixMillis(1_000);
    const LATER: UnixMillis = UnixMillis(2_000);
    const TILL_LATER: Named = Named { from: NOW, until: LATER };

    fn object(n: u32) -> ResourceHash {
        ResourceHash(std::array::from_fn(|at| n.to_le_bytes()[at % 4]))
    }

    #[test]
    fn the_last_ones_of_a_region_are_named_the_newest_first_and_never_to_themselves() {
        let mut holders = Holders::new(10);
        for n in [1, 2, 3, 4, 2] {
            holders.sent(&object(1), "here", &relay(n), TILL_LATER, NOW);
        }
        let named = |asker, region| holders.of(&object(1), region, &relay(asker), NOW);
        assert_eq!(named(9, "here"), [relay(2), relay(4), relay(3)]);
        assert_eq!(named(4, "here"), [relay(2), relay(3)]);
        assert!(named(9, "there").is_empty());
        assert!(holders.of(&object(2), "here", &relay(9), NOW).is_empty());
    }

    #[test]
    fn who_has_left_what_is_stale_and_what_was_purged_is_not_named() {
        let mut holders = Holders::new(10);
        holders.sent(&object(1), "here", &relay(1), TILL_LATER, NOW);
        holders.sent(&object(1), "here", &relay(2), TILL_LATER, NOW);
        holders.left(&relay(2));
        assert_eq!(holders.of(&object(1), "here", &relay(9), NOW), [relay(1)]);
        assert!(holders.of(&object(1), "here", &relay(9), LATER).is_empty());
        // Another body under the same name: who had the former one is not named for it.
        holders.sent(&object(1), "here", &relay(3), Named { from: LATER, until: UnixMillis(3_000) }, LATER);
        assert_eq!(holders.of(&object(1), "here", &relay(9), LATER), [relay(3)]);
        holders.forget();
        assert!(holders.of(&object(1), "here", &relay(9), LATER).is_empty());
    }

    #[test]
    fn what_is_at_the_live_edge_is_named_when_it_no_longer_is() {
        let mut holders = Holders::new(10);
        let pushed = Named { from: UnixMillis(1_500), until: LATER };
        holders.sent(&object(1), "here", &relay(1), pushed, NOW);
        holders.sent(&object(1), "here", &relay(2), TILL_LATER, NOW);
        let named = |at| holders.of(&object(1), "here", &relay(9), UnixMillis(at));
        assert!(named(1_499).is_empty());
        assert_eq!(named(1_500), [relay(2), relay(1)]);
    }

    #[test]
    fn relays_that_nothing_is_remembered_of_are_forgotten_although_they_never_said_goodbye() {
        let mut holders = Holders::new(100);
        for n in 0..1_000 {
            holders.sent(&object(n), "here", &relay(n), TILL_LATER, NOW);
            assert!(holders.members.len() <= 101, "{}", holders.members.len());
        }
    }

    #[test]
    fn as_much_is_remembered_as_was_said_and_the_latter_half_for_certain() {
        let mut holders = Holders::new(100);
        for n in 0..1_000 {
            holders.sent(&object(n), "here", &relay(n % 7), TILL_LATER, NOW);
            assert!(holders.young.len() + holders.old.len() <= 100);
            for since in n.saturating_sub(49)..=n {
                assert_eq!(holders.of(&object(since), "here", &relay(9), NOW), [relay(since % 7)], "{since} at {n}");
            }
        }
    }
}
