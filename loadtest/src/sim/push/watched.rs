//! What a node knows of a rendition that is watched there.

use crate::sim::{
    content::Rendition,
    queue::MILLI,
    trees::Peer,
    world::{NodeId, Watched, World},
};

pub(super) fn now_ms(world: &World) -> u64 {
    world.now() / MILLI
}

pub(super) fn peer(world: &World, node: NodeId) -> Peer {
    (node, world.node(node).life)
}

pub(super) fn watched(world: &mut World, node: NodeId, rendition: Rendition) -> Option<&mut Watched> {
    world.node_mut(node).live.iter_mut().find(|one| one.rendition == rendition)
}

/// The newest segment that a relay's playlist lists.
pub(in crate::sim) fn newest(world: &World, node: NodeId, rendition: Rendition) -> Option<u32> {
    world.node(node).live.iter().find(|one| one.rendition == rendition)?.newest
}

/// The newest segment that a node's playlist lists.
pub(super) fn lists(world: &World, node: NodeId, rendition: Rendition) -> Option<u32> {
    if node != world.adapter() {
        return newest(world, node, rendition);
    }
    let newest = world.trees.newest[usize::from(rendition)]?;
    let whole = world.trees.ready.contains_key(&world.content.live(rendition, newest));
    if world.content.piece.is_none() || whole { Some(newest) } else { newest.checked_sub(1) }
}

/// A viewer waits for the first playlist of a rendition.
pub(in crate::sim) fn wait(world: &mut World, node: NodeId, rendition: Rendition, viewer: u32, turn: u32) {
    if let Some(one) = watched(world, node, rendition) {
        one.waiting.push((viewer, turn));
    }
}
