//! Messages about trees on their way, with what they weigh.

use crate::sim::{
    content::Rendition,
    trees::{Body, Message, Peer},
    world::{Event, World},
};

/// Bytes of the messages about trees, with their frames and the packets around them.
pub(super) const JOIN_BYTES: u64 = 140;
const PLACED_BYTES: u64 = 320;
pub(super) const SUBSCRIBE_BYTES: u64 = 180;
pub(super) const ANSWER_BYTES: u64 = 60;
pub(super) const MOVED_BYTES: u64 = 180;
pub(super) const REPORT_BYTES: u64 = 60;

pub(super) fn send(world: &mut World, from: Peer, to: Peer, rendition: Rendition, body: Body, bytes: u64) {
    let now = world.now();
    let Some(delay) = world.message(from.0, to.0) else { return };
    world.counts.control(bytes);
    let key = world.trees.messages.insert(Message { from, to, rendition, body });
    world.queue.at(now + delay, Event::Message(key));
}

/// Sends relays their places.
pub(super) fn tell(
    world: &mut World,
    rendition: Rendition,
    changes: Vec<(Peer, Option<weir_relay::mesh::tree::Place<Peer>>)>,
) {
    let adapter = (world.adapter(), 0);
    for (relay, place) in changes {
        world.counts.placed += 1;
        send(world, adapter, relay, rendition, Body::Placed(place), PLACED_BYTES);
    }
}

/// A child needs its parent no more. What runs from there goes on to its end.
pub(super) fn unsubscribe(world: &mut World, me: Peer, parent: Peer, rendition: Rendition) {
    if parent.0 == world.adapter() {
        world.trees.heads[usize::from(rendition)].retain(|head| *head != me);
    } else {
        send(world, me, parent, rendition, Body::Leave, ANSWER_BYTES);
    }
}
