//! The plan for one object. Invariant: no two relays can wait for each other. Every request for an object has a stage;
//! a relay asks others only with the next stage, and nobody waits for a fill of a lower stage than the request's.
//!
//! | stage | who | asks |
//! | --- | --- | --- |
//! | 0 | a relay that is no owner | owners |
//! | 1 | an owner that is not the first, or whoever was asked by a relay of stage 0 | the first owners |
//! | 2 | the first live owner, or whoever was asked by a relay of stage 1 | the adapter |

use super::{
    demand::Object,
    formers::Formers,
    hedge::Asking,
    membership::{Membership, Place, Region},
    peers::Peers,
    weigh::{Point, Seed},
};
use weir_protocol::{ids::RelayId, time::UnixMillis};

/// Relays that are asked for what they hold when everybody else has failed: of the own region, and of others.
const LAST_RESORTS: usize = 3;
const FOREIGN_RESORTS: usize = 2;
/// Owners of a hot object that a relay tries before the first ones: they may be busy.
const SPREAD: usize = 3;
/// The owners that an object has at least. Of these a relay asks whichever its own hash picks, so that both come to have
/// what several want, and no copy is missing when one of them dies.
const LEAST_OWNERS: usize = 2;
/// The stage in which only the adapter is asked.
pub const LAST_STAGE: u8 = 2;

/// True when a request of a stage may join, and so wait for, a fill of a stage. A fill waits only for others of a higher
/// stage then, so nobody waits in a circle, whatever each of them believes about who is a member.
pub fn may_wait(fill_stage: u8, hops: u8) -> bool {
    fill_stage >= hops
}

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

impl Step {
    /// The relay, and what it is asked for; `None` for the adapter.
    pub fn peer(&self) -> Option<(RelayId, Asking)> {
        match self {
            Self::Owner(relay) => Some((*relay, Asking::Owner)),
            Self::Holder(relay) => Some((*relay, Asking::Holder)),
            Self::Adapter => None,
        }
    }
}

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The fill's stage: its requests carry one more, and it serves only requests of at most this.
    pub stage: u8,
    /// The sources, best first. The adapter is among them unless it is away and left to owners, or another owner is to
    /// be asked.
    pub steps: Vec<Step>,
}

/// What a plan is made from.
pub(super) struct Planner<'a> {
    pub(super) members: &'a Membership,
    pub(super) formers: &'a Formers,
    pub(super) peers: &'a Peers,
    pub(super) me: Option<Place>,
    pub(super) region: Option<Region>,
    /// What this node's choice among owners is hashed by.
    pub(super) seed: Seed,
    /// Owners that the object has now.
    pub(super) owners: usize,
    pub(super) adapter_is_good: bool,
    pub(super) now: UnixMillis,
}

impl Planner<'_> {
    pub(super) fn plan(&self, object: &Object, hops: u8) -> Plan {
        let places = self.owners.max(LEAST_OWNERS);
        let live = self.live(object, places + LAST_RESORTS);
        let mut owners = live[..live.len().min(places)].to_vec();
        let mut mine = owners.iter().position(|owner| Some(*owner) == self.me);
        if let Some(first) = self.barred(object).filter(|_| mine.is_some()) {
            if hops == 1 {
                // The asker has a way to the first owner, most likely: asked in its place this one would fetch a second
                // copy.
                let again = owners.into_iter().filter(|owner| *owner == first);
                return Plan { stage: 1, steps: again.map(|owner| Step::Owner(self.id(owner))).collect() };
            }
            if hops == 0 {
                // No owner, for this once: another one asks the first.
                owners.retain(|owner| Some(*owner) != self.me && *owner != first);
                mine = None;
            }
        }
        let owners = &*owners;
        let stage = hops.max(match mine {
            Some(0) => LAST_STAGE,
            Some(_) => 1,
            None => 0,
        });
        let mut asked = if stage == 0 { self.spread(object, owners) } else { Vec::new() };
        if stage < LAST_STAGE {
            // Those before this node in the ranking; for whoever is no owner, all of them.
            let first = owners[..mine.unwrap_or(owners.len()).min(LEAST_OWNERS)].iter().copied();
            let more: Vec<_> = first.filter(|owner| !asked.contains(owner)).collect();
            asked.extend(more);
        }
        // Whoever fails or is busy is not passed over (somebody must know the object), but is asked later.
        asked.sort_by_key(|owner| {
            self.peers.get(&self.id(*owner)).is_some_and(|peer| peer.is_poor(self.now) || peer.is_busy())
        });
        let mut holders: Vec<_> =
            live.iter().copied().filter(|place| Some(*place) != self.me && !asked.contains(place)).collect();
        holders.sort_by_key(|place| self.cost(*place));
        holders.truncate(LAST_RESORTS);
        holders.extend(self.foreign(object));
        let asked_nobody = asked.is_empty();
        let mut steps: Vec<_> = asked.into_iter().map(|owner| Step::Owner(self.id(owner))).collect();
        let former = if mine == Some(0) { self.former(object) } else { None };
        steps.extend(former.map(Step::Holder));
        let holders = holders.into_iter().map(|holder| self.id(holder)).filter(|holder| Some(*holder) != former);
        let holders = holders.map(Step::Holder);
        if self.adapter_is_good {
            steps.push(Step::Adapter);
            steps.extend(holders);
        } else {
            // It has just let somebody wait in vain; what a relay holds is there at once. And it is for the first owner
            // to find out that the adapter is back: if all who wait asked it themselves, it would be asked by all.
            steps.extend(holders);
            steps.extend(asked_nobody.then_some(Step::Adapter));
        }
        Plan { stage, steps }
    }

    /// The first owner, when this relay has no way to it.
    fn barred(&self, object: &Object) -> Option<Place> {
        let first = *self.members.owners(self.region?, &object.hash, 1).first()?;
        let peer = self.peers.get(&self.id(first)).filter(|_| Some(first) != self.me)?;
        peer.is_out_of_reach(self.now).then_some(first)
    }

    /// This node's place among the owners, 0 for the first; `None` when it is not one of the first `places`.
    pub(super) fn rank(&self, object: &Object, places: usize) -> Option<usize> {
        self.live(object, places).iter().take(places).position(|owner| Some(*owner) == self.me)
    }

    fn id(&self, place: Place) -> RelayId {
        self.members.member(place).relay
    }

    fn cost(&self, place: Place) -> u64 {
        self.peers.get(&self.id(place)).cloned().unwrap_or_default().cost_us(self.now)
    }

    fn is_live(&self, place: Place) -> bool {
        Some(place) == self.me || self.peers.get(&self.id(place)).is_none_or(|peer| peer.is_good(self.now))
    }

    /// The owners in their order without those that are left alone for what they did; `places` of them if there are.
    fn live(&self, object: &Object, places: usize) -> Vec<Place> {
        let Some(region) = self.region else { return Vec::new() };
        let mut taken = places;
        loop {
            let mut owners = self.members.owners(region, &object.hash, taken);
            let all = owners.len() < taken;
            owners.retain(|owner| self.is_live(*owner));
            if all || owners.len() >= places {
                owners.truncate(places);
                return owners;
            }
            taken *= 2;
        }
    }

    /// The owners that this node asks first: those that its own hash puts first, which spreads the relays evenly; of the
    /// first two the one with the lower cost before the other.
    fn spread(&self, object: &Object, owners: &[Place]) -> Vec<Place> {
        let point = Point::from(&object.hash);
        let mut hashed: Vec<_> =
            owners.iter().map(|owner| (self.seed.mix_with(self.members.seed(*owner), point), *owner)).collect();
        hashed.sort_unstable();
        let mut asked: Vec<_> = hashed.into_iter().take(SPREAD).map(|(_, owner)| owner).collect();
        let two = asked.len().min(2);
        asked[..two].sort_by_key(|owner| self.cost(*owner));
        asked
    }

    /// Who was the first owner before this relay came to be it, and has what was asked for then.
    fn former(&self, object: &Object) -> Option<RelayId> {
        let me = self.members.member(self.me?);
        self.formers.find(|list| {
            let first = *list.owners(list.region(&me.region)?, &object.hash, 1).first()?;
            let first = list.member(first).relay;
            let place = self.members.place(&first).filter(|place| Some(*place) != self.me)?;
            self.is_live(place).then_some(first)
        })
    }

    /// The first owners in other regions, for what they hold.
    fn foreign(&self, object: &Object) -> Vec<Place> {
        let regions = self.members.regions().filter(|region| Some(*region) != self.region);
        let firsts = regions.flat_map(|region| self.members.owners(region, &object.hash, 1));
        firsts.filter(|place| self.is_live(*place)).take(FOREIGN_RESORTS).collect()
    }
}
