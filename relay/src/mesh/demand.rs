//! How many relays should hold an object. Its demand in the region is guessed from this node's own requests, the surest
//! part of them only, and learned from owners that are busy. Invariant: the answer rises at once and falls slowly, by
//! half at a time, so that owners do not flap; what is remembered is bounded.

use super::sketch::Sketch;
use std::collections::HashMap;
use weir_protocol::{ids::ResourceHash, time::UnixMillis};

/// The most owners an object has.
pub const MAX_OWNERS: u8 = 16;
/// Counts are halved this often: they are about the requests of the last twenty seconds.
const HALVE_EVERY_MS: u64 = 10_000;
/// A raised number of owners is kept at least this long after the last reason for it.
const HOLD_MS: u64 = 20_000;
/// Groups whose objects have more than one owner.
const MAX_HOT_GROUPS: usize = 256;
/// Requests of a group (the segments of one rendition) for each viewer in twenty seconds.
const GROUP_PART: u32 = 4;
/// What one transfer to a relay takes of an owner's line while it runs, in Mbit/s: decides how many it can serve.
const STREAM_MBIT: u32 = 6;

/// What is asked for: the resource, and the group whose objects are asked for together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// The resource.
    pub hash: ResourceHash,
    /// Its group, which learns from one object what the next one will need.
    pub group: u64,
}

impl Object {
    /// The object at a path: its group is the folder, so the segments of one rendition are one group.
    pub fn new(hash: ResourceHash, path: &str) -> Self {
        let folder = path.split('?').next().and_then(|path| path.rsplit_once('/')).map_or("", |(folder, _)| folder);
        // FNV-1a: whoever makes two folders collide has them share a number of owners.
        let group = folder
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Self { hash, group }
    }

    pub(super) fn key(&self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|at| self.hash.0[at]))
    }
}

/// The region as far as demand depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// Relays in it.
    pub(super) relays: u32,
    /// The weight of all, and of this node.
    pub(super) weight: u64,
    pub(super) mine: u64,
}

/// How many relays one owner of this weight, in Mbit/s, serves with one object at a time.
pub(super) fn fan_out(weight: u64) -> u32 {
    u32::try_from(weight / u64::from(STREAM_MBIT)).unwrap_or(u32::MAX).clamp(4, 64)
}

#[derive(Debug, Clone, Copy)]
struct Level {
    owners: u8,
    until: UnixMillis,
}

#[derive(Debug)]
pub(super) struct Demand {
    sketch: Sketch,
    halved: UnixMillis,
    levels: HashMap<u64, Level>,
}

impl Demand {
    pub(super) fn new(width: usize) -> Self {
        Self { sketch: Sketch::new(width), halved: UnixMillis(0), levels: HashMap::new() }
    }

    fn decay(&mut self, now: UnixMillis) {
        let periods = now.since(self.halved) / HALVE_EVERY_MS;
        if periods > 0 {
            self.sketch.halve(periods);
            self.halved = UnixMillis(now.0 - now.0 % HALVE_EVERY_MS);
        }
    }

    /// Somebody wants it.
    pub(super) fn requested(&mut self, object: &Object, now: UnixMillis) {
        self.decay(now);
        self.sketch.add(object.key());
        self.sketch.add(object.group);
    }

    /// An owner serves as many as it can: the group needs twice as many.
    pub(super) fn busy(&mut self, object: &Object, now: UnixMillis) {
        let owners = self.levels.get(&object.group).map_or(1, |level| level.owners);
        self.raise(object.group, owners.saturating_mul(2).min(MAX_OWNERS), now);
    }

    /// How many owners the object has at this moment, 1 to [`MAX_OWNERS`].
    pub(super) fn owners(&mut self, object: &Object, reach: Reach, now: UnixMillis) -> u8 {
        self.decay(now);
        let count = self.sketch.estimate(object.key()).max(self.sketch.estimate(object.group) / GROUP_PART);
        let wanted = wanted(count, reach);
        let Some(level) = self.levels.get_mut(&object.group) else {
            if wanted > 1 {
                self.raise(object.group, wanted, now);
            }
            return wanted;
        };
        if wanted > level.owners || 2 * u32::from(wanted) > u32::from(level.owners) && wanted > 1 {
            *level = Level { owners: wanted.max(level.owners), until: now.plus_ms(HOLD_MS) };
        } else if now >= level.until {
            // Every period that has passed without a reason halves it once.
            let periods = 1 + now.since(level.until) / HOLD_MS;
            level.owners = (level.owners >> periods.min(7)).max(wanted);
            level.until = now.plus_ms(HOLD_MS);
        }
        let owners = level.owners;
        if owners <= 1 {
            self.levels.remove(&object.group);
        }
        owners.max(1)
    }

    fn raise(&mut self, group: u64, owners: u8, now: UnixMillis) {
        if self.levels.len() >= MAX_HOT_GROUPS && !self.levels.contains_key(&group) {
            self.levels.retain(|_, level| level.until > now);
            if self.levels.len() >= MAX_HOT_GROUPS {
                return;
            }
        }
        self.levels.insert(group, Level { owners, until: now.plus_ms(HOLD_MS) });
    }

    /// True when it is asked for often enough for another copy.
    pub(super) fn is_hot(&self, object: &Object) -> bool {
        surely(self.sketch.estimate(object.key())) > 0
    }
}

/// What of a Poisson count is no accident: two standard deviations less.
fn surely(count: u32) -> u32 {
    count.saturating_sub(2 * count.isqrt())
}

/// This node's viewers are a sample of the region's, by weight; each relay that wants the object asks for it once.
fn wanted(count: u32, reach: Reach) -> u8 {
    let region = u64::from(surely(count)).saturating_mul(reach.weight) / reach.mine.max(1);
    let asking = region.min(u64::from(reach.relays.saturating_sub(1)));
    let each = u64::from(fan_out(reach.weight / u64::from(reach.relays.max(1))));
    asking.div_ceil(each).clamp(1, MAX_OWNERS.into()) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::testing::object;
    use proptest::prelude::*;

    const REACH: Reach = Reach { relays: 1000, weight: 100_000, mine: 100 };
    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn hot(n: u32) -> Object {
        Object::new(object(n), &format!("/film/{n}.ts"))
    }

    #[test]
    fn one_viewer_is_no_crowd_and_a_crowd_gets_as_many_owners_as_it_needs() {
        let mut demand = Demand::new(1024);
        demand.requested(&hot(1), NOW);
        assert_eq!(demand.owners(&hot(1), REACH, NOW), 1);
        for _ in 0..30 {
            demand.requested(&hot(1), NOW);
        }
        assert_eq!(demand.owners(&hot(1), REACH, NOW), MAX_OWNERS);
        let small = Reach { relays: 40, weight: 4_000, mine: 100 };
        assert_eq!(Demand::new(16).owners(&hot(1), small, NOW), 1);
        let mut demand = Demand::new(1024);
        (0..30).for_each(|_| demand.requested(&hot(1), NOW));
        assert_eq!(demand.owners(&hot(1), small, NOW), 3, "39 relays, 16 for each owner");
    }

    #[test]
    fn it_falls_by_half_and_only_after_a_while() {
        let mut demand = Demand::new(1024);
        (0..30).for_each(|_| demand.requested(&hot(1), NOW));
        let mut seen = vec![demand.owners(&hot(1), REACH, NOW)];
        for second in 1..200 {
            seen.push(demand.owners(&hot(1), REACH, NOW.plus_ms(second * 1000)));
        }
        assert!(seen.windows(2).all(|two| two[1] == two[0] || two[1] == two[0] / 2), "{seen:?}");
        assert_eq!((seen[15], seen.last()), (MAX_OWNERS, Some(&1)));
        assert!(demand.levels.is_empty());
    }

    #[test]
    fn a_busy_owner_doubles_the_number_for_the_whole_group() {
        let mut demand = Demand::new(1024);
        for expected in [2, 4, 8, 16, 16] {
            demand.busy(&hot(1), NOW);
            assert_eq!(demand.owners(&hot(2), REACH, NOW), expected);
        }
        assert_eq!(demand.owners(&Object::new(object(3), "/other/3.ts"), REACH, NOW), 1);
        assert_eq!(demand.owners(&hot(9), REACH, NOW.plus_ms(10 * HOLD_MS)), 1, "nobody asked in between");
    }

    proptest! {
        #[test]
        fn more_requests_never_mean_fewer_owners(a in 0u32..100_000, b in 0u32..100_000, relays in 1u32..20_000, mine in 1u64..10_000) {
            let reach = Reach { relays, weight: u64::from(relays) * 100 + mine, mine };
            prop_assert!(wanted(a.min(b), reach) <= wanted(a.max(b), reach));
        }
    }

    #[test]
    fn hot_groups_are_bounded() {
        let mut demand = Demand::new(16);
        for n in 0..1000 {
            demand.busy(&Object { hash: object(n), group: n.into() }, NOW);
        }
        assert_eq!(demand.levels.len(), MAX_HOT_GROUPS);
    }
}
