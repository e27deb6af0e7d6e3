//! Where viewers are sent: a model of the adapter's steering, which is not part of the decisions under test. Of a few
//! relays of the viewer's region, drawn by their upload, the one with the most room is taken. Only relays that everybody
//! can reach have viewers.

use super::{
    random::Random,
    world::{Node, NodeId, Reach},
};

#[derive(Default)]
struct Region {
    relays: Vec<NodeId>,
    cumulated: Vec<f64>,
}

/// Relays with room, as of the last publication of members.
pub(super) struct Steering {
    regions: Vec<Region>,
}

impl Steering {
    pub(super) fn new(regions: usize) -> Self {
        Self { regions: (0..regions).map(|_| Region::default()).collect() }
    }

    /// Looks who is there.
    pub(super) fn refresh(&mut self, relays: &[Node]) {
        for region in &mut self.regions {
            region.relays.clear();
            region.cumulated.clear();
        }
        for (node, id) in relays.iter().zip(0..) {
            if node.up && node.reach == Reach::Direct {
                let region = &mut self.regions[usize::from(node.place.region)];
                let before = region.cumulated.last().copied().unwrap_or(0.0);
                region.relays.push(id);
                region.cumulated.push(before + node.uplink.rate());
            }
        }
    }

    /// A relay for a viewer; `None` when the region has none.
    pub(super) fn pick(&self, region: u8, candidates: usize, random: &mut Random, nodes: &[Node]) -> Option<NodeId> {
        let region = &self.regions[usize::from(region)];
        let all = region.cumulated.last()?;
        let mut best: Option<(f64, NodeId)> = None;
        for _ in 0..candidates {
            let at = random.unit() * all;
            let index = region.cumulated.partition_point(|sum| *sum <= at).min(region.relays.len() - 1);
            let id = region.relays[index];
            let node = &nodes[id as usize];
            let load = node.assigned / node.uplink.rate();
            if best.is_none_or(|(least, _)| load < least) {
                best = Some((load, id));
            }
        }
        best.map(|(_, id)| id)
    }
}
