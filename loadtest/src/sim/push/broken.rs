//! Pushed objects that break off, stand still, or are held back.

use super::{branches::lost, objects::patience};
use crate::sim::{
    content::Object,
    pull,
    queue::{MILLI, Micros},
    slab::Key,
    transfer,
    world::{Broken, Event, NodeId, World},
};
use weir_relay::mesh::{
    LAST_STAGE,
    tree::{Parent, Why},
};

/// How long a broken transfer waits for a new parent to go on with it (`relay/push`).
const REPAIR: Micros = 1_500 * MILLI;

/// [`Event::Broken`] of a pushed object: the new parent goes on with it; if nobody does, it is asked for.
pub(in crate::sim) fn broken(world: &mut World, key: Key, why: Broken) {
    let now = world.now();
    let Some((transfer, got)) = transfer::stop(world, key) else { return };
    let (from, from_life, node, life, object, offset) =
        (transfer.from, transfer.from_life, transfer.to, transfer.to_life, transfer.object, transfer.offset);
    if !world.lives(node, life) {
        return;
    }
    world.node_mut(node).pushes.retain(|push| *push != key);
    if let Some(fill) = world.node_mut(node).fills.get_mut(&object) {
        fill.got = fill.got.max(offset + got as u32);
        world.queue.at(now + REPAIR, Event::Orphan(node, life, object));
    }
    let Some((rendition, _)) = world.content.as_live(object) else { return };
    let parent = if from == world.adapter() { Parent::Root } else { Parent::Node((from, from_life)) };
    match why {
        Broken::Corrupt => lost(world, node, rendition, parent, Why::Corrupt),
        Broken::Stalled => lost(world, node, rendition, parent, Why::Silent),
        Broken::Withheld => lost(world, node, rendition, parent, Why::Late),
        Broken::Gone => lost(world, node, rendition, parent, Why::Gone),
        Broken::Refused | Broken::Busy => {}
    }
}

/// [`Event::Stands`]: long after its end was due a pushed object is given up if nothing of it is on the line.
pub(in crate::sim) fn stands(world: &mut World, key: Key) {
    let Some(transfer) = world.transfers.get(key) else { return };
    let flow = transfer.flow.and_then(|flow| world.flows.get(flow));
    if flow.is_some_and(|flow| flow.share.is_none()) {
        return broken(world, key, Broken::Withheld);
    }
    let at = world.now() + patience(world.content.live_segment);
    world.queue.at(at, Event::Stands(key));
}

/// [`Event::Orphan`].
pub(in crate::sim) fn orphan(world: &mut World, node: NodeId, life: u32, object: Object) {
    if !world.lives(node, life) {
        return;
    }
    let one = world.node(node);
    let Some(fill) = one.fills.get(&object) else { return };
    let comes = one.pushes.iter().any(|key| world.transfers.get(*key).is_some_and(|one| one.object == object));
    if !comes && fill.plan.is_none() {
        // The adapter, and what others hold: an owner may itself be waiting for what this relay passes on.
        pull::fill(world, node, object, LAST_STAGE);
    }
}
