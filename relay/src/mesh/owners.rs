//! Owners of an object: the relays of a region with the least scores, found in one scan. Invariant: a relay that joins,
//! leaves or changes its weight moves only its own share, and at most half of the places are held by unproven relays
//! while there are proven ones for the rest.

use super::{
    membership::{DEFAULT_WEIGHT, Member, Membership, Place, Ranked, Region},
    weigh::{Point, Score},
};
use weir_protocol::{
    ids::{RelayId, ResourceHash},
    time::UnixMillis,
};

/// The best of a scan, best first.
struct Best {
    most: usize,
    found: Vec<(Score, Place)>,
}

impl Best {
    fn new(most: usize) -> Self {
        Self { most, found: Vec::with_capacity(most.min(64) + 1) }
    }

    fn offer(&mut self, member: &Ranked, hash: u64) {
        if self.found.len() == self.most {
            match self.found.last() {
                Some((worst, _)) if !worst.surely_beats(hash, member.weight) => {}
                _ => return,
            }
        }
        let offered = (Score::new(hash, member.weight), member.place);
        let at = self.found.partition_point(|found| *found <= offered);
        self.found.insert(at, offered);
        self.found.truncate(self.most);
    }
}

impl Membership {
    /// The first `places` owners of an object in a region, first owner first; fewer when the region has fewer members.
    /// O(members), with one multiplication and a comparison for nearly all of them.
    pub fn owners(&self, region: Region, resource: &ResourceHash, places: usize) -> Vec<Place> {
        let point = Point::from(resource);
        let (mut proven, mut unproven) = (Best::new(places), Best::new(places));
        for member in &self.in_region(region).members {
            let best = if member.proven { &mut proven } else { &mut unproven };
            best.offer(member, member.seed.mix(point));
        }
        merge(proven.found, unproven.found, places)
    }
}

/// Both in the order of their scores, except that among the first n there are at most ⌈n / 2⌉ unproven ones as long as
/// there are proven ones to go before them. So a longer list always begins with the shorter one.
fn merge(proven: Vec<(Score, Place)>, unproven: Vec<(Score, Place)>, places: usize) -> Vec<Place> {
    let mut owners = Vec::with_capacity(places.min(proven.len() + unproven.len()));
    let (mut proven, mut unproven) = (proven.into_iter().peekable(), unproven.into_iter().peekable());
    let mut young = 0;
    while owners.len() < places {
        let next = match (proven.peek(), unproven.peek()) {
            (None, None) => break,
            (Some(old), Some(new)) if new < old && 2 * (young + 1) <= owners.len() + 2 => unproven.next(),
            (None, Some(_)) => unproven.next(),
            (Some(_), _) => {
                owners.extend(proven.next().map(|(_, place)| place));
                continue;
            }
        };
        young += 1;
        owners.extend(next.map(|(_, place)| place));
    }
    owners
}

/// These relays ranked as owners of a resource, first owner first, when all of them are alike: for tools and tests.
pub fn rank<'a>(resource: &ResourceHash, relays: impl Iterator<Item = &'a RelayId>) -> Vec<RelayId> {
    let members = relays.map(|relay| Member::new(*relay, "".into(), DEFAULT_WEIGHT, UnixMillis(0)));
    let snapshot = Membership::new(members, UnixMillis(u64::MAX));
    let Some(region) = snapshot.region("") else { return Vec::new() };
    let ranked = snapshot.owners(region, resource, snapshot.members().len());
    ranked.into_iter().map(|place| snapshot.member(place).relay).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{
        membership::MAX_WEIGHT,
        testing::{VECTORS, object, relay},
    };
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    const NOW: UnixMillis = UnixMillis(1 << 40);

    #[derive(Debug, Clone, Copy)]
    struct Kind {
        weight: u32,
        old: bool,
    }

    fn kinds(most: usize) -> impl Strategy<Value = Vec<Kind>> {
        prop::collection::vec((1u32..2000, any::<bool>()).prop_map(|(weight, old)| Kind { weight, old }), 1..most)
    }

    fn member(n: usize, kind: Kind) -> Member {
        let since = if kind.old { UnixMillis(0) } else { NOW };
        Member::new(relay(n as u32), "r".into(), kind.weight, since)
    }

    fn members(kinds: &[Kind]) -> Vec<Member> {
        kinds.iter().enumerate().map(|(n, kind)| member(n, *kind)).collect()
    }

    fn owners(members: &[Member], resource: &ResourceHash, places: usize) -> Vec<RelayId> {
        let snapshot = Membership::new(members.iter().cloned(), NOW);
        let region = snapshot.region("r").expect("somebody is in it");
        snapshot.owners(region, resource, places).into_iter().map(|place| snapshot.member(place).relay).collect()
    }

    fn old(kinds: &[Kind]) -> HashSet<RelayId> {
        kinds.iter().enumerate().filter(|(_, kind)| kind.old).map(|(n, _)| relay(n as u32)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn one_scan_finds_what_a_full_sort_finds(kinds in kinds(60), n: u32, places in 0usize..20) {
            let all = owners(&members(&kinds), &object(n), kinds.len());
            prop_assert_eq!(all.len(), kinds.len());
            prop_assert_eq!(&owners(&members(&kinds), &object(n), places)[..], &all[..places.min(kinds.len())]);
        }

        #[test]
        fn a_relay_that_comes_or_goes_moves_only_its_own_share(kinds in kinds(40), n: u32, places in 1usize..12, who: prop::sample::Index) {
            let with = members(&kinds);
            let who = who.index(with.len());
            let mut without = with.clone();
            let gone = without.remove(who).relay;
            if without.is_empty() {
                return Ok(());
            }
            let before = owners(&without, &object(n), places);
            let after = owners(&with, &object(n), places);
            prop_assert!(after.iter().all(|owner| *owner == gone || before.contains(owner)), "{before:?} {after:?}");
            if !after.contains(&gone) {
                prop_assert_eq!(before, after);
            }
        }

        #[test]
        fn a_changed_weight_moves_only_the_difference(kinds in kinds(40), n: u32, who: prop::sample::Index, weight in 1u32..2000) {
            let who = who.index(kinds.len());
            let kinds: Vec<_> = kinds.into_iter().map(|kind| Kind { old: true, ..kind }).collect();
            let mut changed = kinds.clone();
            changed[who].weight = weight;
            let (before, after) = (owners(&members(&kinds), &object(n), 1), owners(&members(&changed), &object(n), 1));
            let who = relay(who as u32);
            match weight >= kinds.iter().enumerate().find(|(n, _)| relay(*n as u32) == who).map_or(0, |(_, kind)| kind.weight) {
                true => prop_assert!(after == before || after[0] == who),
                false => prop_assert!(after == before || before[0] == who),
            }
        }

        #[test]
        fn unproven_relays_hold_at_most_half_of_the_places(kinds in kinds(60), n: u32) {
            let old = old(&kinds);
            let all = owners(&members(&kinds), &object(n), kinds.len());
            for places in 1..=all.len() {
                let young = all[..places].iter().filter(|owner| !old.contains(owner)).count();
                prop_assert!(young <= places.div_ceil(2) || places - young == old.len(), "{young} of {places}");
            }
        }
    }

    #[test]
    fn every_machine_ranks_alike() {
        #[derive(serde::Deserialize)]
        struct Vectors {
            now: UnixMillis,
            members: Vec<Listed>,
            objects: Vec<Ranking>,
        }
        #[derive(serde::Deserialize)]
        struct Listed {
            relay: RelayId,
            weight: u32,
            since: UnixMillis,
        }
        #[derive(serde::Deserialize)]
        struct Ranking {
            resource: String,
            owners: Vec<RelayId>,
        }
        let Vectors { now, members, objects } = serde_json::from_str(VECTORS).expect("the vectors have this form");
        let members = members.iter().map(|member| Member::new(member.relay, "r".into(), member.weight, member.since));
        let snapshot = Membership::new(members, now);
        for Ranking { resource, owners } in objects {
            let resource: ResourceHash = resource.parse().expect("a resource hash");
            let ranked = snapshot.owners(Region(0), &resource, 100).into_iter();
            assert_eq!(ranked.map(|place| snapshot.member(place).relay).collect::<Vec<_>>(), owners, "{resource}");
        }
    }

    #[test]
    fn shares_follow_weights() {
        let weights = [10, 20, 30, 40, 100];
        let kinds = weights.map(|weight| Kind { weight, old: true });
        let members = members(&kinds);
        let snapshot = Membership::new(members.iter().cloned(), NOW);
        let mut firsts: HashMap<Place, u32> = HashMap::new();
        const OBJECTS: u32 = 40_000;
        for n in 0..OBJECTS {
            *firsts.entry(snapshot.owners(Region(0), &object(n), 1)[0]).or_default() += 1;
        }
        for (place, won) in firsts {
            let expected = f64::from(snapshot.member(place).weight) / 200.0 * f64::from(OBJECTS);
            let deviation = (f64::from(won) - expected).abs() / expected.sqrt();
            assert!(deviation < 4.5, "{won} instead of {expected}");
        }
    }

    #[test]
    fn fifty_fresh_identities_take_neither_an_object_nor_a_relays_sources() {
        let mut kinds = vec![Kind { weight: 100, old: true }; 10];
        kinds.extend([Kind { weight: MAX_WEIGHT, old: false }; 50]);
        let (members, old) = (members(&kinds), old(&kinds));
        for n in 0..500 {
            let owners = owners(&members, &object(n), 4);
            assert!(owners[..2].iter().any(|owner| old.contains(owner)), "both places of {n} are the attacker's");
            assert!(owners.iter().filter(|owner| old.contains(owner)).count() >= 2);
        }
    }
}
