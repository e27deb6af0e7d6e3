//! The plan for one object. Invariant: no two relays can wait for each other. A request that has come from a relay is
//! answered from what is held or from the adapter; a relay that is not an owner is asked only for what it holds.

use super::{Failure, Standing, rank};
use std::collections::BTreeMap;
use weir_protocol::{
    ids::{RelayId, ResourceHash},
    time::UnixMillis,
};

/// Relays that are asked for what they hold when the adapter has failed.
const LAST_RESORTS: usize = 3;

/// One source to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An owner: it fetches what it does not hold.
    Owner(RelayId),
    /// Any relay, for what it holds already.
    Holder(RelayId),
    /// The publisher's adapter.
    Adapter,
}

/// The members of one publisher's network as this relay sees them.
#[derive(Debug)]
pub struct Mesh {
    me: RelayId,
    members: BTreeMap<RelayId, Standing>,
    adapter: Standing,
}

impl Mesh {
    /// A network in which only this relay is known.
    pub fn new(me: RelayId) -> Self {
        Self { me, members: BTreeMap::new(), adapter: Standing::default() }
    }

    /// The members are now these; the standing of those that stay is kept.
    pub fn set_members(&mut self, members: impl IntoIterator<Item = RelayId>) {
        let mut before = std::mem::take(&mut self.members);
        for relay in members {
            self.members.insert(relay, before.remove(&relay).unwrap_or_default());
        }
    }

    /// True when this relay is one of the members.
    pub fn is_member(&self, relay: &RelayId) -> bool {
        self.members.contains_key(relay)
    }

    /// A member served.
    pub fn succeeded(&mut self, relay: &RelayId) {
        if let Some(standing) = self.members.get_mut(relay) {
            standing.succeeded();
        }
    }

    /// A member failed.
    pub fn failed(&mut self, relay: &RelayId, failure: Failure, now: UnixMillis) {
        if let Some(standing) = self.members.get_mut(relay) {
            standing.failed(failure, now);
        }
    }

    /// The adapter served.
    pub fn adapter_succeeded(&mut self) {
        self.adapter = Standing::default();
    }

    /// The adapter is away. Whatever it does it stays in every plan: nobody else has what is new.
    pub fn adapter_failed(&mut self, failure: Failure, now: UnixMillis) {
        if failure != Failure::Corrupt {
            self.adapter.failed(failure, now);
        }
    }

    /// Whom to ask for an object, best first. `hops` is how many relays the request has passed.
    pub fn plan(&self, resource: &ResourceHash, hops: u8, now: UnixMillis) -> Vec<Step> {
        let good = self.members.iter().filter(|(relay, standing)| **relay == self.me || standing.is_good(now));
        let ranked = rank(resource, good.map(|(relay, _)| relay));
        let others = || ranked.iter().copied().filter(|relay| *relay != self.me);
        let mut steps = Vec::new();
        if hops == 0 {
            // The first owner fetches; the second takes over when it fails. Behind an owner only the adapter is left.
            steps.extend(ranked.iter().copied().take(2).take_while(|relay| *relay != self.me).map(Step::Owner));
        }
        let holders = others().take(LAST_RESORTS).map(Step::Holder);
        if self.adapter.is_good(now) {
            steps.push(Step::Adapter);
            steps.extend(holders);
        } else {
            // It has just let somebody wait in vain; what a relay holds is there at once.
            steps.extend(holders);
            steps.push(Step::Adapter);
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn relays(count: u8) -> Vec<RelayId> {
        (0..count).map(relay).collect()
    }

    fn relay(seed: u8) -> RelayId {
        let mut secret = [7; 32];
        secret[0] = seed;
        let key = libp2p::identity::Keypair::ed25519_from_bytes(secret).expect("any 32 bytes are a key");
        RelayId::from(key.public().to_peer_id())
    }

    fn mesh(me: RelayId, members: &[RelayId]) -> Mesh {
        let mut mesh = Mesh::new(me);
        mesh.set_members(members.iter().copied());
        mesh
    }

    const NOW: UnixMillis = UnixMillis(1_000_000);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn exactly_one_relay_asks_the_adapter_first(object in any::<[u8; 32]>(), count in 1u8..20) {
            let members = relays(count);
            let object = ResourceHash::from_bytes(object);
            let firsts = members.iter().filter(|me| mesh(**me, &members).plan(&object, 0, NOW)[0] == Step::Adapter);
            prop_assert_eq!(firsts.count(), 1);
        }

        #[test]
        fn a_leaving_relay_moves_only_its_own_share(object in any::<[u8; 32]>(), gone in 0usize..12) {
            let members = relays(12);
            let object = ResourceHash::from_bytes(object);
            let before = rank(&object, members.iter());
            let after = rank(&object, members.iter().filter(|relay| **relay != members[gone]));
            let expected: Vec<_> = before.into_iter().filter(|relay| *relay != members[gone]).collect();
            prop_assert_eq!(after, expected);
        }
    }

    #[test]
    fn a_request_from_a_relay_never_goes_to_an_owner_again() {
        let members = relays(5);
        for me in &members {
            let plan = mesh(*me, &members).plan(&ResourceHash::from_bytes([3; 32]), 1, NOW);
            assert_eq!(plan[0], Step::Adapter);
            assert!(plan[1..].iter().all(|step| matches!(step, Step::Holder(_))), "{plan:?}");
        }
    }

    #[test]
    fn an_adapter_that_is_away_is_asked_last() {
        let members = relays(5);
        let object = ResourceHash::from_bytes([3; 32]);
        let mut mesh = mesh(members[0], &members);
        mesh.adapter_failed(Failure::Stalled, NOW);
        let plan = mesh.plan(&object, 1, NOW);
        assert!(plan.len() == 4 && plan[3] == Step::Adapter, "{plan:?}");
        mesh.adapter_succeeded();
        assert_eq!(mesh.plan(&object, 1, NOW)[0], Step::Adapter);
    }

    #[test]
    fn a_failing_owner_is_passed_over_until_its_time_is_up() {
        let members = relays(5);
        let object = ResourceHash::from_bytes([9; 32]);
        let ranked = rank(&object, members.iter());
        let mut mesh = mesh(ranked[4], &members);
        assert_eq!(mesh.plan(&object, 0, NOW)[..2], [Step::Owner(ranked[0]), Step::Owner(ranked[1])]);
        mesh.failed(&ranked[0], Failure::Unreachable, NOW);
        assert_eq!(mesh.plan(&object, 0, NOW)[0], Step::Owner(ranked[1]));
        assert_eq!(mesh.plan(&object, 0, UnixMillis(NOW.0 + 1_000))[0], Step::Owner(ranked[0]));
        mesh.failed(&ranked[0], Failure::Corrupt, NOW);
        assert_eq!(mesh.plan(&object, 0, UnixMillis(NOW.0 + 500_000))[0], Step::Owner(ranked[1]));
    }
}
