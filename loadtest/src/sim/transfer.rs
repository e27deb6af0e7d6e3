//! Objects on their way out of a node, cut through: a reader follows behind the writer, and what it gets last is what
//! came last. A transfer is one or two flows on the uplink: all but the end while the object still arrives, and the end
//! when it has arrived, so that the last byte pays for the line as well.

use super::{
    content::Object,
    queue::Micros,
    slab::Key,
    world::{Broken, Event, Fill, Flow, NodeId, Reader, Transfer, TransferKind, World},
};

/// What a writer that cuts through holds back until it has it all: a chunk (protocol, section 5).
const CHUNK: f64 = 64.0 * 1024.0;
/// A silent peer is taken for dead (decision 0004).
pub(super) const SILENCE: Micros = 1_000_000;

/// Gives an object to a reader, as far as it is here. False when it is neither here nor on its way.
pub(super) fn serve(world: &mut World, node: NodeId, object: Object, reader: Reader) -> bool {
    if world.node_mut(node).cache.touch(object) {
        begin(world, node, object, reader, true);
        return true;
    }
    let Some(fill) = world.node_mut(node).fills.get_mut(&object) else { return false };
    if fill.head {
        begin(world, node, object, reader, false);
    } else {
        fill.readers.push(reader);
    }
    true
}

/// An empty fill, if there is none.
pub(super) fn open(world: &mut World, node: NodeId, object: Object) -> &mut Fill {
    world.node_mut(node).fills.entry(object).or_insert_with(|| Fill {
        head: false,
        readers: Vec::new(),
        drained: Vec::new(),
        got: 0,
        plan: None,
    })
}

/// The head of an object is here.
pub(super) fn head(world: &mut World, node: NodeId, object: Object) {
    let Some(fill) = world.node_mut(node).fills.get_mut(&object) else { return };
    fill.head = true;
    for reader in std::mem::take(&mut fill.readers) {
        begin(world, node, object, reader, false);
    }
}

/// An object is here as a whole, over a path of so many one-way delays when it was pushed. It is kept if `keep` says so;
/// whoever follows gets the rest either way.
pub(super) fn whole(world: &mut World, node: NodeId, object: Object, keep: bool, path: Micros) {
    let bytes = world.content.bytes(object);
    let Some(mut fill) = world.node_mut(node).fills.remove(&object) else { return };
    world.node_mut(node).background.retain(|other| *other != object);
    arrived(world, node, object, path);
    if keep {
        world.node_mut(node).cache.keep(object, bytes);
    }
    for reader in std::mem::take(&mut fill.readers) {
        begin(world, node, object, reader, true);
    }
    for flow in std::mem::take(&mut fill.drained) {
        end(world, flow);
    }
}

/// Counts how late a relay that is fed has a live segment, whichever way it came.
fn arrived(world: &mut World, node: NodeId, object: Object, path: Micros) {
    let Some((rendition, _)) = world.content.as_live(object) else { return };
    let since = world.node(node).live.iter().find(|one| one.rendition == rendition).and_then(|one| one.since);
    let (began, ready) = (world.trees.began.get(&object).copied(), world.trees.ready.get(&object).copied());
    if let (Some(since), Some(began)) = (since, began)
        && since <= began
    {
        // Whoever has it before the adapter has its end has it at once.
        let now = world.now();
        let ready = ready.unwrap_or(now);
        let (region, home) = (world.node(node).place.region, world.node(world.adapter()).place.region);
        match world.paths.cut_between(region, home, began, ready) {
            None => world.counts.arrived(object, now.saturating_sub(ready), path),
            // There was no path for it; how late it is counts from when there is one.
            Some(end) => world.counts.caught_up.record(now.saturating_sub(end.max(ready))),
        }
    }
}

/// An object will not come: everybody who follows is told.
pub(super) fn fail(world: &mut World, node: NodeId, object: Object) {
    let Some(fill) = world.node_mut(node).fills.remove(&object) else { return };
    world.node_mut(node).background.retain(|other| *other != object);
    for reader in fill.readers {
        tell(world, node, reader, Broken::Refused);
    }
    for flow in fill.drained {
        if let Some(reader) = world.flows.get(flow).map(|flow| flow.reader) {
            drop_flow(world, flow);
            tell(world, node, reader, Broken::Refused);
        }
    }
}

/// Priorities order the streams of one connection; between connections a line is shared, so here they are weights.
fn weight(world: &World, object: Object, reader: Reader) -> f64 {
    let weights = world.scenario.network.weights;
    let live = world.content.as_live(object).is_some();
    match reader {
        Reader::Node(key) if world.transfers.get(key).is_some_and(|one| matches!(one.kind, TransferKind::Push(_))) => {
            weights.push
        }
        _ if live => weights.live,
        _ => weights.rest,
    }
}

fn begin(world: &mut World, node: NodeId, object: Object, reader: Reader, complete: bool) {
    let mut offset = 0;
    if let Reader::Node(key) = reader {
        let Some(transfer) = world.transfers.get(key) else { return };
        offset = transfer.offset;
    }
    let bytes = f64::from(world.content.bytes(object).saturating_sub(offset)).max(1.0);
    let piece = piece_bytes(world, object).min(bytes);
    let first = if complete { bytes } else { bytes - piece };
    let began = world.now();
    let flow = Flow { from: node, object, reader, began, bytes: first, before: 0.0, share: None, last: complete };
    let flow = world.flows.insert(flow);
    if let Reader::Node(key) = reader {
        let to = world.transfers.get_mut(key).map(|transfer| {
            transfer.flow = Some(flow);
            transfer.to
        });
        if let Some(delay) = to.and_then(|to| world.message(node, to)) {
            let at = world.now() + delay;
            world.queue.at(at, Event::Head(key));
        }
    }
    if first > 0.0 {
        put_on_line(world, flow);
    } else {
        drain(world, flow);
    }
}

/// How much of an object comes last, at once.
fn piece_bytes(world: &World, object: Object) -> f64 {
    let content = &world.content;
    match content.piece.filter(|_| content.as_live(object).is_some()) {
        Some(piece) => f64::from(content.bytes(object)) * piece as f64 / content.live_segment as f64,
        None => CHUNK,
    }
}

fn put_on_line(world: &mut World, key: Key) {
    let now = world.now();
    let Some(flow) = world.flows.get(key) else { return };
    let (from, bytes) = (flow.from, flow.bytes);
    let weight = weight(world, flow.object, flow.reader);
    let share = world.node_mut(from).uplink.add(now, key, bytes, weight);
    if let Some(flow) = world.flows.get_mut(key) {
        flow.share = Some(share);
    }
    look(world, from);
}

/// Sees to it that somebody looks when the first transfer ends.
fn look(world: &mut World, node: NodeId) {
    let flows = &world.flows;
    let uplink = &mut world.nodes[node as usize].uplink;
    if let Some(at) = uplink.next(|key| flows.get(key).is_some())
        && at < uplink.look
    {
        uplink.look = at;
        world.queue.at(at, Event::Uplink(node));
    }
}

/// [`Event::Uplink`].
pub(super) fn uplink(world: &mut World, node: NodeId) {
    let now = world.now();
    // A look that came too early, because others joined meanwhile, is repeated below; a later one is void.
    if world.node(node).uplink.look > now {
        return;
    }
    world.node_mut(node).uplink.look = Micros::MAX;
    loop {
        let flows = &world.flows;
        let uplink = &mut world.nodes[node as usize].uplink;
        let Some(key) = uplink.ended(now, |key| flows.get(key).is_some()) else { break };
        let Some(flow) = world.flows.get_mut(key) else { continue };
        if let Some(share) = flow.share.take() {
            world.nodes[node as usize].uplink.remove(now, share);
        }
        flow.before += flow.bytes;
        flow.bytes = 0.0;
        if flow.last {
            finish(world, key);
        } else {
            drain(world, key);
        }
    }
    look(world, node);
}

/// All that is here was sent.
fn drain(world: &mut World, key: Key) {
    let Some(flow) = world.flows.get(key) else { return };
    let (from, object, reader) = (flow.from, flow.object, flow.reader);
    let node = world.node_mut(from);
    if let Some(fill) = node.fills.get_mut(&object) {
        fill.drained.push(key);
    } else if node.up {
        // It has come as a whole meanwhile.
        end(world, key);
    } else {
        drop_flow(world, key);
        tell(world, from, reader, Broken::Gone);
    }
}

/// What comes last may be sent.
fn end(world: &mut World, key: Key) {
    let Some(flow) = world.flows.get(key) else { return };
    let object = flow.object;
    let offset = match flow.reader {
        Reader::Node(transfer) => world.transfers.get(transfer).map_or(0, |transfer| transfer.offset),
        Reader::Viewer(..) => 0,
    };
    let all = f64::from(world.content.bytes(object).saturating_sub(offset));
    let Some(flow) = world.flows.get_mut(key) else { return };
    flow.bytes = (all - flow.before).max(1.0);
    flow.last = true;
    put_on_line(world, key);
}

fn finish(world: &mut World, key: Key) {
    let now = world.now();
    let Some(flow) = world.flows.remove(key) else { return };
    sent(world, flow.from, flow.reader, flow.before);
    match flow.reader {
        Reader::Viewer(viewer, turn) => {
            // A viewer's own line bounds a transfer from below, however fast the relay is.
            let line = flow.began + micros(flow.before * 8.0 / world.scenario.watch.down_mbps);
            let at = now.max(line) + viewer_delay(world, flow.from);
            world.queue.at(at, Event::Got(viewer, turn));
        }
        Reader::Node(transfer) => {
            let Some(to) = world.transfers.get_mut(transfer).map(|transfer| {
                transfer.flow = None;
                transfer.to
            }) else {
                return;
            };
            let (a, b) = (world.node(flow.from).place, world.node(to).place);
            if !world.paths.connected(a.region, b.region, now) {
                return;
            }
            let arrives = now + world.paths.tail(&a, &b);
            let node = world.node_mut(to);
            // The way in is a line as well: what comes at the same time comes one after the other.
            let takes = micros(flow.before / node.down_rate);
            let at = node.down_free.max(arrives.saturating_sub(takes)) + takes;
            node.down_free = at;
            world.queue.at(at, Event::Tail(transfer));
        }
    }
}

fn micros(value: f64) -> Micros {
    value.ceil() as Micros
}

/// One way between a relay and its viewers.
pub(super) fn viewer_delay(world: &World, relay: NodeId) -> Micros {
    let class = &world.scenario.classes[usize::from(world.node(relay).class)];
    super::queue::millis(class.access_ms + world.scenario.watch.access_ms)
}

fn sent(world: &mut World, from: NodeId, reader: Reader, bytes: f64) {
    match reader {
        Reader::Viewer(..) => world.node_mut(from).sent_viewers += bytes,
        Reader::Node(key) => {
            world.node_mut(from).sent_nodes += bytes;
            let Some(transfer) = world.transfers.get(key) else { return };
            let region = world.node(transfer.to).place.region;
            let from_adapter = from == world.adapter();
            let now = world.now();
            world.counts.between_nodes(now, from_adapter.then_some(region), bytes);
        }
    }
}

/// Takes a flow off its line; what it has sent counts.
fn drop_flow(world: &mut World, key: Key) -> f64 {
    let now = world.now();
    let Some(flow) = world.flows.remove(key) else { return 0.0 };
    let left = flow.share.map_or(flow.bytes, |share| world.nodes[flow.from as usize].uplink.remove(now, share));
    let bytes = flow.before + (flow.bytes - left).max(0.0);
    sent(world, flow.from, flow.reader, bytes);
    look(world, flow.from);
    bytes
}

/// Ends a transfer: what it was, and the bytes it brought, counted from its offset.
pub(super) fn stop(world: &mut World, key: Key) -> Option<(Transfer, f64)> {
    let transfer = world.transfers.get(key)?;
    let (from, object, flow) = (transfer.from, transfer.object, transfer.flow);
    let bytes = match flow {
        Some(flow) => {
            if let Some(fill) = world.node_mut(from).fills.get_mut(&object) {
                fill.drained.retain(|drained| *drained != flow);
            }
            drop_flow(world, flow)
        }
        None => {
            if let Some(fill) = world.node_mut(from).fills.get_mut(&object) {
                fill.readers.retain(|reader| *reader != Reader::Node(key));
            }
            0.0
        }
    };
    world.transfers.remove(key).map(|transfer| (transfer, bytes))
}

/// A viewer goes away in the middle of a request: the line is free for others.
pub(super) fn stop_viewer(world: &mut World, relay: NodeId, viewer: u32, turn: u32) {
    let reader = Reader::Viewer(viewer, turn);
    let found: Vec<Key> = world
        .node(relay)
        .uplink
        .flows()
        .filter(|key| world.flows.get(*key).is_some_and(|flow| flow.reader == reader))
        .collect();
    for key in found {
        drop_flow(world, key);
    }
}

/// Everything that leaves a node ends, since it has died; `silent` ones are missed only after a while.
pub(super) fn cut_off(world: &mut World, node: NodeId, silent: bool) {
    let mut flows: Vec<Key> = world.node(node).uplink.flows().collect();
    let mut readers = Vec::new();
    for (_, fill) in std::mem::take(&mut world.node_mut(node).fills) {
        flows.extend(fill.drained);
        readers.extend(fill.readers);
    }
    flows.sort_unstable();
    flows.dedup();
    for key in flows {
        if let Some(reader) = world.flows.get(key).map(|flow| flow.reader) {
            drop_flow(world, key);
            readers.push(reader);
        }
    }
    readers.sort_unstable_by_key(|reader| match reader {
        Reader::Viewer(viewer, turn) => (0, u64::from(*viewer) << 32 | u64::from(*turn), None),
        Reader::Node(key) => (1, 0, Some(*key)),
    });
    for reader in readers {
        missed(world, node, reader, silent);
    }
}

/// A reader notices that a node has died: at once when its connection was closed, otherwise after a while.
pub(super) fn missed(world: &mut World, node: NodeId, reader: Reader, silent: bool) {
    let now = world.now();
    match reader {
        Reader::Viewer(viewer, turn) => {
            let wait = if silent {
                super::queue::millis(world.scenario.watch.give_up_s * 1e3)
            } else {
                viewer_delay(world, node)
            };
            world.queue.at(now + wait, Event::Lost(viewer, turn));
        }
        Reader::Node(key) => {
            let Some(transfer) = world.transfers.get_mut(key) else { return };
            transfer.flow = None;
            let to = transfer.to;
            let wait = if silent { SILENCE } else { world.one_way(node, to) };
            world.queue.at(now + wait, Event::Broken(key, Broken::Gone));
        }
    }
}

fn tell(world: &mut World, node: NodeId, reader: Reader, why: Broken) {
    let now = world.now();
    match reader {
        Reader::Viewer(viewer, turn) => {
            let at = now + viewer_delay(world, node);
            world.queue.at(at, Event::Lost(viewer, turn));
        }
        Reader::Node(key) => {
            let Some(to) = world.transfers.get_mut(key).map(|transfer| {
                transfer.flow = None;
                transfer.to
            }) else {
                return;
            };
            if let Some(delay) = world.message(node, to) {
                world.queue.at(now + delay, Event::Broken(key, why));
            }
        }
    }
}
