//! Which nodes this relay keeps control connections to: every adapter, the members over which it can be called, and a
//! few more, so that gossip reaches everybody without the adapter and several nodes observe our address. No I/O.

use super::carriers::ranked;
use crate::peer::Network;
use std::{collections::HashMap, net::SocketAddr, time::Duration};
use tokio::time::Instant;
use weir_protocol::{ids::RelayId, reach::ReachClass};

/// Members of one network that are wanted, carriers included.
const WANTED: usize = 6;
/// Dials at the same time.
const MAX_DIALS: usize = 4;
/// First and longest pause after a dial that failed.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_CAP: Duration = Duration::from_secs(120);
/// Nodes whose dials are remembered.
const MAX_REMEMBERED: usize = 512;

#[derive(Debug, Default)]
struct Tried {
    running: bool,
    failures: u32,
    again: Option<Instant>,
}

/// Dials under way and their failures.
#[derive(Debug, Default)]
pub(super) struct Neighbours(HashMap<RelayId, Tried>);

/// The nodes of one network that are wanted, most wanted first.
pub(super) fn wanted(me: &RelayId, network: &Network) -> Vec<RelayId> {
    let statuses = network.statuses();
    let mut members: Vec<_> = network.members().into_iter().filter(|member| member != me).collect();
    // Whoever cannot be dialled is not worth a wait; whoever has not said may be worth a try.
    members.retain(|member| !matches!(statuses.class_of(member), ReachClass::Punched | ReachClass::PeerOnly));
    let mut wanted = vec![network.adapter];
    wanted.extend(ranked(me, statuses.open()));
    // Another order on every relay, so that the connections of all make one well-mixed graph.
    members.sort_by_cached_key(|member| {
        let mut hasher = blake3::Hasher::new_derive_key("weir/neighbour/1");
        hasher.update(&me.peer_id().to_bytes());
        hasher.update(&member.peer_id().to_bytes());
        (!statuses.class_of(member).is_open(), *hasher.finalize().as_bytes())
    });
    for member in members {
        if wanted.len() > WANTED {
            break;
        }
        if !wanted.contains(&member) {
            wanted.push(member);
        }
    }
    wanted
}

impl Neighbours {
    /// True when `relay` should be dialled now; then the dial counts as running.
    pub(super) fn begin(&mut self, relay: RelayId, addresses: &[SocketAddr], now: Instant) -> bool {
        let running = self.0.values().filter(|tried| tried.running).count();
        let room = self.0.len() < MAX_REMEMBERED || self.0.contains_key(&relay);
        if addresses.is_empty() || running >= MAX_DIALS || !room {
            return false;
        }
        let tried = self.0.entry(relay).or_default();
        let may = !tried.running && tried.again.is_none_or(|again| now >= again);
        tried.running |= may;
        may
    }

    /// The dial has ended.
    pub(super) fn ended(&mut self, relay: RelayId, reached: bool, now: Instant) {
        let tried = self.0.entry(relay).or_default();
        tried.running = false;
        tried.failures = if reached { 0 } else { tried.failures.saturating_add(1) };
        // Also after a success: a peer that lets us in and closes at once must not be dialled in a loop.
        tried.again = Some(now + (PAUSE * 2u32.saturating_pow(tried.failures.min(10))).min(PAUSE_CAP));
    }

    /// A relay has moved: what was tried at its former addresses says nothing.
    pub(super) fn forgive_one(&mut self, relay: &RelayId) {
        if let Some(tried) = self.0.get_mut(relay) {
            (tried.failures, tried.again) = (0, None);
        }
    }

    /// Something has changed that makes a new try worth while.
    pub(super) fn forgive(&mut self) {
        for tried in self.0.values_mut() {
            (tried.failures, tried.again) = (0, None);
        }
        self.0.retain(|_, tried| tried.running);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use libp2p::PeerId;

    #[test]
    fn a_dial_runs_once_and_waits_longer_after_each_failure() {
        let (mut neighbours, relay, now) = (Neighbours::default(), RelayId::from(PeerId::random()), Instant::now());
        let at = ["192.0.2.1:9".parse().unwrap()];
        assert!(!neighbours.begin(relay, &[], now));
        assert!(neighbours.begin(relay, &at, now));
        assert!(!neighbours.begin(relay, &at, now));
        neighbours.ended(relay, false, now);
        assert!(!neighbours.begin(relay, &at, now + PAUSE));
        assert!(neighbours.begin(relay, &at, now + 2 * PAUSE));
        neighbours.ended(relay, false, now);
        assert!(!neighbours.begin(relay, &at, now + 3 * PAUSE));
        neighbours.forgive();
        assert!(neighbours.begin(relay, &at, now));
        neighbours.ended(relay, false, now);
        neighbours.forgive_one(&RelayId::from(PeerId::random()));
        assert!(!neighbours.begin(relay, &at, now));
        neighbours.forgive_one(&relay);
        assert!(neighbours.begin(relay, &at, now));
    }
}
