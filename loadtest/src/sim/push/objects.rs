//! Live objects on their way down the trees: each goes on to a relay's children as soon as its head is there.

use super::{
    post::SUBSCRIBE_BYTES,
    watched::{lists, watched},
};
use crate::sim::{
    content::{Object, Rendition},
    named, pull,
    queue::{MILLI, Micros, SECOND, millis},
    slab::Key,
    transfer,
    trees::Peer,
    world::{Broken, Conduct, Event, NodeId, Reader, Transfer, TransferKind, World},
};

/// Head and record of a pushed object, and the signature of each of its chunks.
const OBJECT_BYTES: u64 = 1_500;
const CHUNK_BYTES: u64 = 200;
const CHUNK: u32 = 256 * 1024;
/// Segments that a parent sends after the event, at most.
const MOST_MISSED: u32 = 4;

/// What is pushed is at the live edge for so long, and sent by the adapter itself (`relay/peer`).
const LIVE: Micros = 60 * SECOND;

/// A segment that a parent has and that has not begun to come is late after this (`relay/push`).
fn late_after(segment: Micros) -> Micros {
    segment.max(1_500 * MILLI)
}

/// What is pushed may stand still for a target duration, within bounds (`relay/push`).
pub(super) fn patience(segment: Micros) -> Micros {
    segment.clamp(2 * SECOND, 10 * SECOND)
}

/// [`Event::Segment`]: a segment begins to come from the origin.
pub(in crate::sim) fn segment(world: &mut World, rendition: Rendition, number: u32) {
    let now = world.now();
    let content = &world.content;
    let next = now + content.live_segment;
    world.queue.at(next, Event::Segment(rendition, number + 1));
    if world.counts.watching(rendition) == 0 {
        // Nobody watches, nobody follows; who comes finds what the origin has.
        let whole = if content.piece.is_some() { number.saturating_sub(1) } else { number };
        let object = content.live(rendition, whole);
        world.trees.newest[usize::from(rendition)] = Some(whole);
        world.trees.ready.insert(object, now);
        return;
    }
    let object = content.live(rendition, number);
    let bytes = content.bytes(object);
    let first = millis(world.scenario.origin.first_byte_ms);
    let takes = millis(f64::from(bytes) * 8.0 / 1e3 / world.scenario.origin.mbps);
    let whole = match content.piece {
        Some(piece) => content.live_segment - piece + first + takes,
        None => first + takes,
    };
    let adapter = world.adapter();
    world.counts.upstream(object);
    transfer::open(world, adapter, object);
    world.queue.at(now + first, Event::OriginHead(object));
    world.queue.at(now + whole, Event::OriginTail(object));
}

/// [`Event::OriginHead`].
pub(in crate::sim) fn origin_head(world: &mut World, object: Object) {
    let now = world.now();
    let adapter = world.adapter();
    transfer::head(world, adapter, object);
    if let Some((rendition, number)) = world.content.as_live(object) {
        world.trees.newest[usize::from(rendition)] = Some(number);
        world.trees.began.insert(object, now);
        forward(world, adapter, rendition, object, 0);
    }
}

/// [`Event::OriginTail`].
pub(in crate::sim) fn origin_tail(world: &mut World, object: Object) {
    let now = world.now();
    let adapter = world.adapter();
    if world.content.as_live(object).is_some() {
        world.trees.ready.insert(object, now);
    }
    transfer::whole(world, adapter, object, true, 0);
}

fn forward(world: &mut World, node: NodeId, rendition: Rendition, object: Object, path: Micros) {
    let children = if node == world.adapter() {
        world.trees.heads[usize::from(rendition)].clone()
    } else {
        watched(world, node, rendition).map_or_else(Vec::new, |one| one.children.clone())
    };
    for child in children {
        push(world, node, child, object, path, 0);
    }
}

pub(super) fn push(world: &mut World, from: NodeId, child: Peer, object: Object, path: Micros, offset: u32) {
    let now = world.now();
    let (a, b) = (world.node(from).place.region, world.node(child.0).place.region);
    if !world.lives(child.0, child.1) || !world.paths.connected(a, b, now) {
        return;
    }
    let transfer = Transfer {
        from,
        from_life: world.node(from).life,
        to: child.0,
        to_life: child.1,
        object,
        kind: TransferKind::Push(path + world.one_way(from, child.0)),
        offset,
        asked: now,
        gives_up: Micros::MAX,
        head: None,
        flow: None,
        counted: false,
        elsewhere: Vec::new(),
    };
    let key = world.transfers.insert(transfer);
    if from == world.adapter() {
        named::remember(world, child.0, object, now + LIVE);
    }
    match world.node(from).conduct {
        Some(conduct) => {
            let Some(delay) = world.message(from, child.0) else { return };
            match conduct {
                Conduct::WrongBytes => world.queue.at(now + delay + MILLI, Event::Broken(key, Broken::Corrupt)),
                // It holds back what it should pass on. The child knows of it from the playlist, which is passed on.
                _ => {
                    let listed = if world.content.piece.is_some() { world.content.live_segment } else { 0 };
                    if let Some((rendition, number)) = world.content.as_live(object) {
                        let event = Event::Listed(child.0, child.1, rendition, number);
                        world.queue.at(now + delay + listed, event);
                    }
                    world.queue.at(now + delay + late_after(world.content.live_segment), Event::Late(key));
                }
            }
        }
        None => {
            let bytes = world.content.bytes(object);
            let chunks = u64::from(bytes.div_ceil(CHUNK));
            world.counts.control(OBJECT_BYTES + CHUNK_BYTES * chunks);
            world.counts.playlists += world.content.playlist_bytes;
            if !transfer::serve(world, from, object, Reader::Node(key)) {
                world.transfers.remove(key);
            }
        }
    }
}

/// Sends a child what it lacks: all since the newest segment that it lists, and the one that is arriving; a newcomer the
/// playlist, and what is arriving.
pub(super) fn catch_up(world: &mut World, parent: NodeId, child: Peer, rendition: Rendition) {
    let Some(newest) = lists(world, parent, rendition) else { return };
    let (now, adapter) = (world.now(), world.adapter());
    let had = world.node(child.0).live.iter().find(|one| one.rendition == rendition).and_then(|one| one.newest);
    if had.is_none_or(|had| had < newest)
        && let Some(delay) = world.message(parent, child.0)
    {
        world.counts.playlists += world.content.playlist_bytes;
        world.queue.at(now + delay, Event::Listed(child.0, child.1, rendition, newest));
    }
    let first = had.map_or(newest + 1, |had| had + 1).max(newest.saturating_sub(MOST_MISSED));
    let path = if parent == adapter { 0 } else { world.one_way(adapter, parent) };
    for number in first..=newest + 1 {
        let object = world.content.live(rendition, number);
        let (there, here) = (world.node(parent), world.node(child.0));
        let sent = |key: &Key| world.transfers.get(*key).is_some_and(|one| one.object == object);
        let has = there.cache.holds(object) || there.fills.contains_key(&object);
        if has && !here.cache.holds(object) && !here.pushes.iter().any(sent) {
            let got = here.fills.get(&object).map_or(0, |fill| fill.got);
            push(world, parent, child, object, path, got);
        }
    }
}

/// [`Event::Head`] of a pushed object: it goes on to the children at once.
pub(in crate::sim) fn head(world: &mut World, key: Key) -> Option<(NodeId, Rendition)> {
    let now = world.now();
    let transfer = world.transfers.get_mut(key)?;
    transfer.head = Some(now);
    let (node, life, object, kind) = (transfer.to, transfer.to_life, transfer.object, transfer.kind);
    let TransferKind::Push(path) = kind else { return None };
    let (rendition, number) = world.content.as_live(object)?;
    if !world.lives(node, life) || watched(world, node, rendition).is_none() {
        transfer::stop(world, key);
        return None;
    }
    let region = world.node(node).place.region;
    world.counts.wanted(region, object, world.content.bytes(object));
    let one = world.node_mut(node);
    let pushed = one.pushes.clone();
    let running = pushed.iter().any(|other| world.transfers.get(*other).is_some_and(|other| other.object == object));
    let one = world.node_mut(node);
    if running || one.cache.holds(object) {
        // It has come another way.
        transfer::stop(world, key);
        return None;
    }
    let known = one.fills.get(&object).is_some_and(|fill| fill.head);
    // What is pushed needs no plan any more.
    let asked = transfer::open(world, node, object).plan.take().map_or_else(Vec::new, |plan| plan.running);
    for ask in asked {
        world.counts.wasted += pull::call_off(world, ask);
    }
    world.node_mut(node).pushes.push(key);
    world.queue.at(now + world.content.live_segment + patience(world.content.live_segment), Event::Stands(key));
    transfer::head(world, node, object);
    if !known {
        forward(world, node, rendition, object, path);
    }
    if world.content.piece.is_none() { list(world, node, rendition, number) } else { None }
}

/// The playlist of a relay lists a segment: those who wait for it may look.
fn list(world: &mut World, node: NodeId, rendition: Rendition, number: u32) -> Option<(NodeId, Rendition)> {
    let one = watched(world, node, rendition)?;
    one.newest = one.newest.max(Some(number));
    (!one.waiting.is_empty()).then_some((node, rendition))
}

/// [`Event::Listed`]: the playlist goes down the tree although the segment does not.
pub(in crate::sim) fn listed(
    world: &mut World,
    node: NodeId,
    life: u32,
    rendition: Rendition,
    number: u32,
) -> Option<(NodeId, Rendition)> {
    if !world.lives(node, life) {
        return None;
    }
    let now = world.now();
    let live = watched(world, node, rendition)?;
    // Told already: a relay passes on only what is newer, so a ring of relays that were cut off ends with the first round.
    if live.newest.is_some_and(|newest| newest >= number) {
        return None;
    }
    let children = live.children.clone();
    for child in children {
        if let Some(delay) = world.message(node, child.0) {
            world.queue.at(now + delay, Event::Listed(child.0, child.1, rendition, number));
        }
    }
    list(world, node, rendition, number)
}

/// [`Event::Tail`] of a pushed object.
pub(in crate::sim) fn tail(world: &mut World, key: Key) -> Option<(NodeId, Rendition)> {
    let transfer = world.transfers.remove(key)?;
    let (node, object) = (transfer.to, transfer.object);
    let TransferKind::Push(path) = transfer.kind else { return None };
    if !world.lives(node, transfer.to_life) {
        return None;
    }
    let (rendition, number) = world.content.as_live(object)?;
    world.node_mut(node).pushes.retain(|push| *push != key);
    transfer::whole(world, node, object, true, path);
    if world.content.piece.is_some() { list(world, node, rendition, number) } else { None }
}

/// A relay that nobody feeds asks for the playlist as viewers do, at most twice in a segment's length. Owners in between
/// are left out: what they would add is less than what a playlist weighs.
pub(in crate::sim) fn pull_playlist(world: &mut World, node: NodeId, rendition: Rendition) {
    let (now, adapter) = (world.now(), world.adapter());
    let pause = world.content.live_segment / 2;
    let life = world.node(node).life;
    let Some(newest) = lists(world, adapter, rendition) else { return };
    let Some(one) = watched(world, node, rendition) else { return };
    if one.branch.parent().is_some() || one.pulled.is_some_and(|at| now < at + pause) {
        return;
    }
    one.pulled = Some(now);
    if let (Some(there), Some(back)) = (world.message(node, adapter), world.message(adapter, node)) {
        world.counts.control(SUBSCRIBE_BYTES);
        world.counts.playlists += world.content.playlist_bytes;
        world.queue.at(now + there + back, Event::Listed(node, life, rendition, newest));
    }
}
