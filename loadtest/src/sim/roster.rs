//! Who is a member, as relays are told: one snapshot for each region, shared by all relays in it. Invariant: a relay in a
//! region that is cut off keeps the snapshot it had.

use super::{
    decide,
    place::Paths,
    queue::{Micros, SECOND},
    scenario::Scenario,
    world::NodeId,
};
use rustc_hash::FxHashMap;
use std::{collections::VecDeque, sync::Arc};
use weir_protocol::ids::RelayId;
use weir_relay::mesh::{Member, Membership};

/// Members of its own region that a relay is told of, the oldest ones, and of other regions (decision 0023).
const NAMED: usize = 640;
const FOREIGN: usize = 32;
/// Former lists that are kept for relays that look only now, this far apart at least.
const FORMER: usize = 120;
const APART: Micros = 15 * SECOND;

struct Entry {
    member: Member,
    region: u8,
}

struct Told {
    snapshot: Arc<Membership>,
    epoch: u64,
    changed: bool,
    /// Earlier ones with their numbers, the oldest first, and when the last one was put here.
    former: VecDeque<(u64, Arc<Membership>)>,
    kept: Micros,
}

/// The adapter's list, and what relays know of it.
pub(super) struct Roster {
    entries: FxHashMap<NodeId, Entry>,
    ids: FxHashMap<RelayId, (NodeId, u32)>,
    names: Vec<Arc<str>>,
    told: Vec<Told>,
    home: u8,
    /// Relays whose last end was orderly, so that their address answers that nobody is there.
    orderly: Vec<bool>,
    /// Changes since the last publication, by region.
    changes: Vec<u64>,
}

impl Roster {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let names: Vec<Arc<str>> = scenario.regions.iter().map(|region| region.name.as_str().into()).collect();
        let told = names.iter().map(|_| Told {
            snapshot: Arc::default(),
            epoch: 0,
            changed: false,
            former: VecDeque::new(),
            kept: 0,
        });
        Self {
            entries: FxHashMap::default(),
            ids: FxHashMap::default(),
            told: told.collect(),
            changes: vec![0; names.len()],
            home: super::place::region(scenario, &scenario.network.adapter_region),
            orderly: vec![false; scenario.relays as usize + 1],
            names,
        }
    }

    /// A relay is a member from now on.
    pub(super) fn enter(
        &mut self,
        node: NodeId,
        life: u32,
        relay: RelayId,
        region: u8,
        megabits: f64,
        since: Option<Micros>,
    ) {
        self.ids.insert(relay, (node, life));
        self.orderly[node as usize] = false;
        let since = since.map_or(weir_protocol::time::UnixMillis(0), decide::clock);
        let member = Member::new(relay, self.names[usize::from(region)].clone(), decide::weight(megabits), since);
        self.entries.insert(node, Entry { member, region });
        self.change(region);
    }

    /// True while the adapter lists the relay.
    pub(super) fn is_member(&self, relay: &RelayId) -> bool {
        self.ids
            .get(relay)
            .is_some_and(|(node, _)| self.entries.get(node).is_some_and(|entry| entry.member.relay == *relay))
    }

    /// The adapter has taken a relay off its list.
    pub(super) fn forget(&mut self, node: NodeId) {
        if let Some(entry) = self.entries.remove(&node) {
            self.change(entry.region);
        }
    }

    /// A relay has died, in an orderly way or silently.
    pub(super) fn died(&mut self, node: NodeId, orderly: bool) {
        self.orderly[node as usize] = orderly;
    }

    /// True when the relay that was here last closed its connections, so that others know at once.
    pub(super) fn was_orderly(&self, node: NodeId) -> bool {
        self.orderly[node as usize]
    }

    fn change(&mut self, region: u8) {
        self.changes[usize::from(region)] += 1;
        self.told[usize::from(region)].changed = true;
    }

    /// Tells relays what has changed; the changes that each region's relays are sent.
    pub(super) fn publish(&mut self, paths: &Paths, now: Micros) -> Vec<u64> {
        let time = decide::clock(now);
        let mut sent = vec![0; self.told.len()];
        for (region, sent) in sent.iter_mut().enumerate() {
            let index = u8::try_from(region).expect("a scenario has at most 32 regions");
            let told = &self.told[region];
            let aged = told.snapshot.next_step().is_some_and(|step| step <= time);
            if !(told.changed || aged) || !paths.connected(index, self.home, now) {
                continue;
            }
            let snapshot = Arc::new(self.snapshot(index, now));
            let told = &mut self.told[region];
            if now >= told.kept + APART {
                told.former.push_back((told.epoch, told.snapshot.clone()));
                told.kept = now;
                if told.former.len() > FORMER {
                    told.former.pop_front();
                }
            }
            (told.snapshot, told.epoch, told.changed) = (snapshot, told.epoch + 1, false);
            *sent = std::mem::take(&mut self.changes[region]);
        }
        sent
    }

    fn snapshot(&self, region: u8, now: Micros) -> Membership {
        let oldest = |foreign: bool, most: usize| {
            let mut nodes: Vec<_> = self
                .entries
                .iter()
                .filter(|(_, entry)| (entry.region != region) == foreign)
                .map(|(node, entry)| (entry.member.since, *node))
                .collect();
            nodes.sort_unstable();
            nodes.truncate(most);
            nodes
        };
        let named = oldest(false, NAMED).into_iter().chain(oldest(true, FOREIGN));
        Membership::new(named.map(|(_, node)| self.entries[&node].member.clone()), decide::clock(now))
    }

    /// What relays of a region know, and the number of that list.
    pub(super) fn members(&self, region: u8) -> (Arc<Membership>, u64) {
        let told = &self.told[usize::from(region)];
        (told.snapshot.clone(), told.epoch)
    }

    /// The lists that relays of a region were told after the one with this number, the last one left out.
    pub(super) fn former(&self, region: u8, since: u64) -> impl Iterator<Item = &Arc<Membership>> {
        let former = &self.told[usize::from(region)].former;
        former.iter().filter(move |(epoch, _)| *epoch > since).map(|(_, list)| list)
    }

    /// The node with an identity, and the life in which it had it.
    pub(super) fn node(&self, relay: &RelayId) -> Option<(NodeId, u32)> {
        self.ids.get(relay).copied()
    }
}
