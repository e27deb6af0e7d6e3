//! The standings of peers this node had to do with. Invariant: there are at most so many; who makes room is whoever was
//! used least recently among those that are neither being asked nor left alone for what they did.

use super::standing::Standing;
use std::collections::HashMap;
use weir_protocol::{ids::RelayId, time::UnixMillis};

#[derive(Debug)]
pub(super) struct Peers {
    known: HashMap<RelayId, Standing>,
    most: usize,
    uses: u64,
}

impl Peers {
    pub(super) fn new(most: usize) -> Self {
        Self { known: HashMap::new(), most: most.max(1), uses: 0 }
    }

    pub(super) fn get(&self, relay: &RelayId) -> Option<&Standing> {
        self.known.get(relay)
    }

    /// The standing of a peer that something has happened with.
    pub(super) fn of(&mut self, relay: &RelayId, now: UnixMillis) -> &mut Standing {
        self.uses += 1;
        if self.known.len() >= self.most && !self.known.contains_key(relay) {
            let kept = |standing: &Standing| (standing.is_asked(), !standing.is_good(now), standing.used);
            let least = self.known.iter().min_by_key(|(_, standing)| kept(standing)).map(|(relay, _)| *relay);
            least.map(|relay| self.known.remove(&relay));
        }
        let standing = self.known.entry(*relay).or_default();
        standing.used = self.uses;
        standing
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{standing::Failure, testing::relay};

    #[test]
    fn room_is_made_by_those_used_least_but_a_ban_is_not_flushed_away() {
        let now = UnixMillis(1000);
        let mut peers = Peers::new(3);
        peers.of(&relay(0), now).failed(Failure::Corrupt, now);
        for n in 1..50 {
            peers.of(&relay(n), now);
            assert!(peers.len() <= 3);
        }
        assert!(peers.get(&relay(0)).is_some_and(|standing| !standing.is_good(now)));
        assert!(peers.get(&relay(49)).is_some() && peers.get(&relay(48)).is_some());
        for n in 50..60 {
            peers.of(&relay(n), now).failed(Failure::Corrupt, now);
        }
        assert_eq!(peers.len(), 3);
    }
}
