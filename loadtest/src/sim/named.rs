//! Whom the adapter has sent what, and whom it names to those who ask next: the real [`mesh::Holders`](weir_relay::mesh)
//! over the model's nodes.

use super::{
    content::Object,
    decide::clock,
    queue::Micros,
    slab::Key,
    world::{Event, NodeId, World},
};
use weir_relay::mesh::Named;

/// Objects stay fresh for so long: a day.
const FRESH_MS: u64 = 86_400_000;

/// The adapter sends an object to a relay, after which it names that one from `from` on.
pub(super) fn remember(world: &mut World, to: NodeId, object: Object, from: Micros) {
    let node = &world.nodes[to as usize];
    let hash = world.content.hash(object);
    let region = &world.scenario.regions[usize::from(node.place.region)].name;
    let now = clock(world.queue.now());
    world.holders.sent(&hash, region, &node.relay, Named { from: clock(from), until: now.plus_ms(FRESH_MS) }, now);
}

/// True when the adapter names relays instead of sending an object.
pub(super) fn name(world: &mut World, key: Key, asker: NodeId, object: Object) -> bool {
    let node = &world.nodes[asker as usize];
    let hash = world.content.hash(object);
    let region = &world.scenario.regions[usize::from(node.place.region)].name;
    let mut named = world.holders.of(&hash, region, &node.relay, clock(world.queue.now()));
    named.retain(|relay| world.roster.is_member(relay));
    if named.is_empty() {
        return false;
    }
    if let Some(transfer) = world.transfers.get_mut(key) {
        transfer.elsewhere = named;
    }
    let adapter = world.adapter();
    if let Some(delay) = world.message(adapter, asker) {
        let at = world.now() + delay;
        world.queue.at(at, Event::Elsewhere(key));
    }
    true
}
