//! Who is in a publisher's network, as one immutable snapshot that many may share. Invariant: everything that ranking
//! depends on stands here and nowhere else, so that two relays with the same snapshot rank alike.

use super::weigh::Seed;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use weir_protocol::{ids::RelayId, time::UnixMillis};

/// What a member weighs whose capacity nobody has stated: as much as a line that sends 100 Mbit/s.
pub const DEFAULT_WEIGHT: u32 = 100;
/// The most a member weighs, however much it claims.
pub const MAX_WEIGHT: u32 = 100_000;
/// A member of this age is proven. Younger ones never hold more than half of an object's owner places while there are
/// proven ones for the rest, however many identities somebody has made.
pub const PROVEN_MS: u64 = 24 * HOUR_MS;

const HOUR_MS: u64 = 3_600_000;
/// A young member weighs this part (a power of two below one) until it has this age, in milliseconds.
const RAMP: [(u64, u32); 3] = [(HOUR_MS / 6, 3), (HOUR_MS, 2), (6 * HOUR_MS, 1)];
/// Weights are counted in eighths, so that the youngest of the lightest still weighs something.
const PARTS: u32 = 8;

/// One relay of a publisher's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub relay: RelayId,
    /// The region that the publisher has assigned it to.
    pub region: Arc<str>,
    /// Its share of the work: the Mbit/s it can send, 1 to [`MAX_WEIGHT`].
    pub weight: u32,
    /// When the publisher first admitted it; 0 when that is not known, which counts as long ago.
    pub since: UnixMillis,
    seed: Seed,
}

impl Member {
    /// A member; a weight out of range is brought into it. Hashes the identity, so keep it and clone it.
    pub fn new(relay: RelayId, region: Arc<str>, weight: u32, since: UnixMillis) -> Self {
        Self { relay, region, weight: weight.clamp(1, MAX_WEIGHT), since, seed: Seed::of(&relay) }
    }

    /// What it weighs when owners are ranked, in eighths.
    fn effective(&self, now: UnixMillis) -> u32 {
        let age = now.since(self.since);
        let young = RAMP.iter().find(|(until, _)| age < *until);
        (self.weight * PARTS) >> young.map_or(0, |(_, shift)| *shift)
    }

    fn proven(&self, now: UnixMillis) -> bool {
        now.since(self.since) >= PROVEN_MS
    }

    /// When it next weighs more or becomes proven.
    fn next_step(&self, now: UnixMillis) -> Option<UnixMillis> {
        let ages = RAMP.iter().map(|(until, _)| *until).chain([PROVEN_MS]);
        ages.map(|age| self.since.plus_ms(age)).find(|at| *at > now)
    }
}

/// The place of a member in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub(super) u32);

/// The place of a region in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(pub(super) u32);

/// What a scan over one region reads of a member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranked {
    pub(super) seed: Seed,
    pub(super) weight: u32,
    pub(super) proven: bool,
    pub(super) place: Place,
}

#[derive(Debug, Default)]
pub(super) struct RegionMembers {
    name: Option<Arc<str>>,
    pub(super) members: Vec<Ranked>,
    weight: u64,
}

/// The members of one network at one time.
#[derive(Debug, Default)]
pub struct Membership {
    members: Vec<Member>,
    places: HashMap<RelayId, Place>,
    regions: Vec<RegionMembers>,
    made: UnixMillis,
    next_step: Option<UnixMillis>,
}

impl Membership {
    /// A snapshot of these members at `now`; of two with the same identity the later one counts. What young members
    /// weigh depends on the time: make it again at [`Membership::next_step`].
    pub fn new(members: impl IntoIterator<Item = Member>, now: UnixMillis) -> Self {
        // Sorted, so that ties and the order of scans do not depend on the order in which members were told.
        let sorted: BTreeMap<RelayId, Member> = members.into_iter().map(|member| (member.relay, member)).collect();
        let mut snapshot = Self { made: now, ..Self::default() };
        let mut names: HashMap<Arc<str>, usize> = HashMap::new();
        for member in sorted.into_values() {
            let place = Place(u32::try_from(snapshot.members.len()).expect("members come from bounded lists"));
            let at = *names.entry(member.region.clone()).or_insert_with(|| {
                snapshot.regions.push(RegionMembers { name: Some(member.region.clone()), ..RegionMembers::default() });
                snapshot.regions.len() - 1
            });
            let (weight, proven) = (member.effective(now), member.proven(now));
            snapshot.regions[at].members.push(Ranked { seed: member.seed, weight, proven, place });
            snapshot.regions[at].weight += u64::from(member.weight);
            snapshot.next_step = [snapshot.next_step, member.next_step(now)].into_iter().flatten().min();
            snapshot.places.insert(member.relay, place);
            snapshot.members.push(member);
        }
        snapshot
    }

    /// The same members as they weigh at `now`.
    pub fn aged(&self, now: UnixMillis) -> Self {
        Self::new(self.members.iter().cloned(), now)
    }

    /// When this snapshot was made.
    pub fn made(&self) -> UnixMillis {
        self.made
    }

    /// When the weight of some young member next changes.
    pub fn next_step(&self) -> Option<UnixMillis> {
        self.next_step
    }

    /// All members, sorted by identity.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member at a place of this snapshot.
    ///
    /// # Panics
    /// If the place is of a larger snapshot.
    pub fn member(&self, place: Place) -> &Member {
        &self.members[place.0 as usize]
    }

    /// Where a relay stands, if it is a member.
    pub fn place(&self, relay: &RelayId) -> Option<Place> {
        self.places.get(relay).copied()
    }

    /// True when it is a member.
    pub fn contains(&self, relay: &RelayId) -> bool {
        self.places.contains_key(relay)
    }

    /// The region of that name, if any member is in it.
    pub fn region(&self, name: &str) -> Option<Region> {
        let at = self.regions.iter().position(|region| region.name.as_deref() == Some(name))?;
        Some(Region(at as u32))
    }

    /// The region a member is in.
    pub fn region_of(&self, place: Place) -> Region {
        self.region(&self.member(place).region).expect("every member's region is in its snapshot")
    }

    /// All regions.
    pub fn regions(&self) -> impl Iterator<Item = Region> + use<> {
        (0..self.regions.len() as u32).map(Region)
    }

    /// Members of a region.
    pub fn size(&self, region: Region) -> usize {
        self.in_region(region).members.len()
    }

    /// What the members of a region weigh together, in Mbit/s, whatever their age.
    pub fn weight(&self, region: Region) -> u64 {
        self.in_region(region).weight
    }

    pub(super) fn in_region(&self, region: Region) -> &RegionMembers {
        &self.regions[region.0 as usize]
    }

    pub(super) fn seed(&self, place: Place) -> Seed {
        self.member(place).seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::testing::relay;

    const START: UnixMillis = UnixMillis(1_000_000_000);

    #[test]
    fn a_young_member_weighs_more_with_each_step_until_it_is_proven() {
        let member = Member::new(relay(1), "x".into(), 10, START);
        let mut now = START;
        let mut weights = Vec::new();
        loop {
            let snapshot = Membership::new([member.clone()], now);
            let ranked = snapshot.in_region(Region(0)).members[0];
            weights.push((ranked.weight, ranked.proven));
            let Some(next) = snapshot.next_step() else { break };
            assert!(next > now);
            now = next;
        }
        assert_eq!(weights, [(10, false), (20, false), (40, false), (80, false), (80, true)]);
        assert!(Membership::new([Member::new(relay(1), "x".into(), 10, UnixMillis(0))], START).next_step().is_none());
    }

    #[test]
    fn regions_hold_their_own_members() {
        let member = |n, region: &str| Member::new(relay(n), region.into(), 0, UnixMillis(0));
        let members = [member(1, "a"), member(2, "b"), member(3, "a"), member(3, "b")];
        let snapshot = Membership::new(members, START);
        let sizes: Vec<_> = ["a", "b"].map(|name| snapshot.region(name).map(|region| snapshot.size(region))).into();
        assert_eq!(sizes, [Some(1), Some(2)]);
        assert_eq!((snapshot.members().len(), snapshot.region("c")), (3, None));
        for place in snapshot.members().iter().map(|member| snapshot.place(&member.relay)) {
            let place = place.expect("all are members");
            assert_eq!(snapshot.member(place).weight, 1);
            assert!(snapshot.in_region(snapshot.region_of(place)).members.iter().any(|ranked| ranked.place == place));
        }
    }
}
