//! What happens when a message about a tree arrives: at the adapter, which runs the real coordinators, or at a relay.

use super::{
    branches::{accepted, follow, lost},
    objects::catch_up,
    post::{ANSWER_BYTES, send, tell},
    watched::{now_ms, peer, watched},
};
use crate::sim::{
    content::Rendition,
    slab::Key,
    trees::{Body, Message, Peer},
    world::{Conduct, NodeId, World},
};
use weir_relay::mesh::tree::{Parent, Step, Why};

/// Relays of a region that the adapter feeds itself while a tree is being repaired, and children that a relay takes
/// beyond its capacity for the same reason (`relay/push`).
const ROOT_SEATS: usize = 2;
const SPARE_SEATS: usize = 2;

/// [`Event::Message`].
pub(in crate::sim) fn message(world: &mut World, key: Key) {
    let Some(Message { from, to, rendition, body }) = world.trees.messages.remove(key) else { return };
    if to.0 == world.adapter() {
        return at_adapter(world, from, rendition, body);
    }
    if !world.lives(to.0, to.1) {
        // A closed port answers, a dead line does not.
        if matches!(body, Body::Subscribe) && world.roster.was_orderly(to.0) {
            send(world, to, from, rendition, Body::Ended, ANSWER_BYTES);
        }
        return;
    }
    let at = now_ms(world);
    let parent = if from.0 == world.adapter() { Parent::Root } else { Parent::Node(from) };
    match body {
        Body::Placed(place) => {
            let step = watched(world, to.0, rendition).map_or(Step::Stay, |one| one.branch.placed(place, at));
            follow(world, to.0, rendition, step);
        }
        Body::Accepted => accepted(world, to.0, rendition, parent),
        Body::Refused(others) => {
            let step =
                watched(world, to.0, rendition).map_or(Step::Stay, |one| one.branch.refused(parent, &others, at));
            follow(world, to.0, rendition, step);
        }
        Body::Ended => lost(world, to.0, rendition, parent, Why::Gone),
        Body::Subscribe => subscribe(world, to.0, from, rendition),
        Body::Leave => {
            if let Some(one) = watched(world, to.0, rendition) {
                one.children.retain(|child| *child != from);
            }
        }
        Body::Join { .. } | Body::Moved(_) => {}
    }
}

fn at_adapter(world: &mut World, from: Peer, rendition: Rendition, body: Body) {
    let at = now_ms(world);
    let region = world.node(from.0).place.region;
    let changes = match body {
        Body::Join { capacity } => world.trees.of(rendition, region).join(from, capacity, at),
        Body::Moved(moved) => world.trees.of(rendition, region).heard(from, Some(moved), at),
        Body::Leave => {
            world.trees.heads[usize::from(rendition)].retain(|head| *head != from);
            world.trees.of(rendition, region).leave(&from)
        }
        Body::Subscribe => {
            let heads = &world.trees.heads[usize::from(rendition)];
            let mine = heads.iter().filter(|head| world.node(head.0).place.region == region && **head != from);
            let others: Vec<Peer> = mine.copied().collect();
            let adapter = (world.adapter(), 0);
            // The head that the tree has now is always taken.
            let is_head =
                world.trees.of(rendition, region).place(&from).is_some_and(|place| place.parent == Parent::Root);
            if is_head || others.len() < ROOT_SEATS {
                let heads = &mut world.trees.heads[usize::from(rendition)];
                heads.retain(|head| *head != from);
                heads.push(from);
                send(world, adapter, from, rendition, Body::Accepted, ANSWER_BYTES);
                catch_up(world, adapter.0, from, rendition);
            } else {
                send(world, adapter, from, rendition, Body::Refused(others), ANSWER_BYTES);
            }
            return;
        }
        _ => return,
    };
    tell(world, rendition, changes);
}

/// [`Event::Trees`].
pub(in crate::sim) fn poll(world: &mut World) {
    let at = now_ms(world);
    let all: Vec<_> = world.trees.all().map(|(rendition, tree)| (rendition, tree.poll(at))).collect();
    for (rendition, changes) in all {
        tell(world, rendition, changes);
    }
}

fn subscribe(world: &mut World, parent: NodeId, child: Peer, rendition: Rendition) {
    let me = peer(world, parent);
    if world.node(parent).conduct == Some(Conduct::Silence) {
        return;
    }
    let Some(one) = watched(world, parent, rendition) else {
        return send(world, me, child, rendition, Body::Refused(Vec::new()), ANSWER_BYTES);
    };
    let known = one.children.contains(&child);
    let seats = if one.capacity > 0 { one.capacity + SPARE_SEATS } else { 0 };
    if !known && one.children.len() >= seats {
        let others = one.children.clone();
        return send(world, me, child, rendition, Body::Refused(others), ANSWER_BYTES);
    }
    if !known {
        one.children.push(child);
    }
    send(world, me, child, rendition, Body::Accepted, ANSWER_BYTES);
    catch_up(world, parent, child, rendition);
}
