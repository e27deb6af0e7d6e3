//! Relays in their trees: each runs the real [`Branch`], which says whom to turn to.

use super::{
    post::{ANSWER_BYTES, JOIN_BYTES, MOVED_BYTES, REPORT_BYTES, SUBSCRIBE_BYTES, send, tell, unsubscribe},
    watched::{now_ms, peer, watched},
};
use crate::sim::{
    content::Rendition,
    pull,
    queue::{MILLI, Micros, SECOND},
    scenario::Live,
    transfer,
    trees::{Body, Message, Peer},
    world::{Conduct, Event, NodeId, Reach, Reader, Watched, World},
};
use weir_relay::mesh::tree::{self, Branch, Heard, Parent, Step, Why};

/// A parent says something so often while it has nothing to send (milliseconds), in so many bytes.
const TICK_MS: u64 = 250;
const TICK_BYTES: u64 = 60;
/// Longer than anybody waits.
const NEVER_MS: u64 = 1 << 32;
/// Ways that are followed up a tree: while it is being mended two relays may feed one another.
const MOST_STEPS: usize = 64;
/// A parent gives a child's seat away when it has heard nothing of it for so long (`relay/push`).
const CHILD_SILENT: Micros = 3 * SECOND;
/// A relay that wants a place and has heard nothing says so again after this.
const JOIN_AGAIN: Micros = 2 * SECOND;
/// A relay reports to the adapter that it lives so often.
const REPORT: Micros = SECOND;
/// A rendition that nobody has watched for so many segments is needed no more.
const LEAVE_AFTER: Micros = 3;

/// A relay has a viewer for a rendition.
pub(in crate::sim) fn watch(world: &mut World, node: NodeId, rendition: Rendition) {
    if let Some(one) = watched(world, node, rendition) {
        one.viewers += 1;
        one.idle = None;
        return;
    }
    let now = world.now();
    let me = peer(world, node);
    let capacity = capacity(world, node, rendition);
    world.node_mut(node).live.push(Watched {
        rendition,
        newest: None,
        viewers: 1,
        waiting: Vec::new(),
        branch: Branch::new(me),
        children: Vec::new(),
        capacity,
        wake: Micros::MAX,
        since: None,
        idle: None,
        pulled: None,
        joins_at: now + JOIN_AGAIN,
    });
    let adapter = world.adapter();
    send(world, me, (adapter, 0), rendition, Body::Join { capacity }, JOIN_BYTES);
    arm(world, node, rendition);
}

/// How many relays a relay can feed.
pub(super) fn capacity(world: &World, node: NodeId, rendition: Rendition) -> usize {
    let one = world.node(node);
    let reachable = one.reach != Reach::Symmetric;
    let object = world.content.live(rendition, 0);
    let bytes = f64::from(world.content.bytes(object));
    let renditions = usize::from(world.content.renditions());
    let Some(live) = &world.scenario.live else { return 0 };
    if reachable { feeds(live, one.uplink.rate(), bytes, world.content.live_segment, renditions) } else { 0 }
}

/// How many relays a line can feed with one of so many renditions; `rate` in bytes per microsecond.
pub(super) fn feeds(live: &Live, rate: f64, bytes: f64, segment: Micros, renditions: usize) -> usize {
    let bits = |rate: f64| rate * 8e6;
    let children = tree::children(bits(rate) * live.feeding, renditions, bits(bytes / segment as f64));
    children.min(live.most_children as usize)
}

/// A viewer of a rendition has left a relay.
pub(in crate::sim) fn unwatch(world: &mut World, node: NodeId, rendition: Rendition) {
    let now = world.now();
    if let Some(one) = watched(world, node, rendition) {
        one.viewers = one.viewers.saturating_sub(1);
        one.idle = (one.viewers == 0).then_some(now);
    }
}

/// Sees to it that the branch is looked after when it has something to do, and once a second in any case.
fn arm(world: &mut World, node: NodeId, rendition: Rendition) {
    let now = world.now();
    let life = world.node(node).life;
    let Some(one) = watched(world, node, rendition) else { return };
    let wakes = one.branch.wakes_ms().map_or(Micros::MAX, |ms| ms * MILLI);
    let at = wakes.min(now + REPORT).max(now + MILLI);
    if at < one.wake {
        one.wake = at;
        world.queue.at(at, Event::Branch(node, life, rendition));
    }
}

/// [`Event::Branch`].
pub(in crate::sim) fn look_after(world: &mut World, node: NodeId, life: u32, rendition: Rendition) {
    if !world.lives(node, life) {
        return;
    }
    let now = world.now();
    let Some(one) = watched(world, node, rendition) else { return };
    if one.wake > now {
        return;
    }
    one.wake = Micros::MAX;
    if let Some(parent) = one.branch.parent()
        && descends(world, parent, (node, life), rendition)
    {
        // Word of who feeds whom comes down the tree: this relay feeds itself.
        return lost(world, node, rendition, parent, Why::Gone);
    }
    let Some(one) = watched(world, node, rendition) else { return };
    let parent = one.branch.parent();
    let idle = one.idle;
    forget_lost_children(world, (node, life), rendition);
    let feeds = watched(world, node, rendition).is_some_and(|one| !one.children.is_empty());
    if !feeds && idle.is_some_and(|since| now - since > LEAVE_AFTER * world.content.live_segment) {
        return leave(world, node, rendition);
    }
    if let Some(parent) = parent
        && ticks(world, parent, (node, life), rendition)
    {
        let root_age_ms = root_age_ms(world, parent, rendition);
        let at = now_ms(world);
        if let Some(one) = watched(world, node, rendition) {
            one.branch.heard(parent, Heard { root_age_ms }, at);
        }
    }
    let at = now_ms(world);
    let step = watched(world, node, rendition).map_or(Step::Stay, |one| one.branch.poll(at));
    follow(world, node, rendition, step);
    report(world, node, rendition);
    arm(world, node, rendition);
}

/// True when a parent is itself fed by a relay, as its ancestors say.
fn descends(world: &World, parent: Parent<Peer>, from: Peer, rendition: Rendition) -> bool {
    let mut at = parent;
    for _ in 0..MOST_STEPS {
        let Parent::Node(node) = at else { return false };
        if node == from {
            return true;
        }
        let Some(one) = world.node(node.0).live.iter().find(|one| one.rendition == rendition) else { return false };
        let Some(above) = one.branch.parent() else { return false };
        at = above;
    }
    false
}

/// A seat is free again when nothing is heard of the child that has it.
fn forget_lost_children(world: &mut World, me: Peer, rendition: Rendition) {
    let Some(one) = world.node(me.0).live.iter().find(|one| one.rendition == rendition) else { return };
    let is_mine = |child: &&Peer| {
        let theirs = world.node(child.0).live.iter().find(|one| one.rendition == rendition);
        let parent = Some(Parent::Node(me));
        world.lives(child.0, child.1)
            && theirs.is_some_and(|one| one.branch.parent() == parent || one.branch.trying() == parent)
    };
    let kept: Vec<Peer> = one.children.iter().filter(is_mine).copied().collect();
    if let Some(one) = watched(world, me.0, rendition) {
        one.children = kept;
    }
}

/// Tells the adapter that a relay lives.
fn report(world: &mut World, node: NodeId, rendition: Rendition) {
    let now = world.now();
    let me = peer(world, node);
    let adapter = world.adapter();
    let region = world.node(node).place.region;
    let reaches = world.paths.connected(region, world.node(adapter).place.region, now);
    let Some(one) = watched(world, node, rendition) else { return };
    let capacity = one.capacity;
    if !reaches || now < one.joins_at {
        return;
    }
    if !world.trees.of(rendition, region).contains(&me) {
        // The adapter has taken it for gone, or has not heard of it yet.
        if let Some(one) = watched(world, node, rendition) {
            one.joins_at = now + JOIN_AGAIN;
        }
        return send(world, me, (adapter, 0), rendition, Body::Join { capacity }, JOIN_BYTES);
    }
    world.counts.control(REPORT_BYTES);
    let at = now_ms(world);
    let changes = world.trees.of(rendition, region).heard(me, None, at);
    tell(world, rendition, changes);
}

/// Does a parent tick?
fn ticks(world: &World, parent: Parent<Peer>, child: Peer, rendition: Rendition) -> bool {
    let now = world.now();
    let adapter = world.adapter();
    let region = world.node(child.0).place.region;
    match parent {
        Parent::Root => {
            world.paths.connected(region, world.node(adapter).place.region, now)
                && world.trees.heads[usize::from(rendition)].contains(&child)
        }
        Parent::Node(parent) => {
            world.lives(parent.0, parent.1)
                && world.node(parent.0).conduct != Some(Conduct::Silence)
                && world.paths.connected(region, world.node(parent.0).place.region, now)
                && world
                    .node(parent.0)
                    .live
                    .iter()
                    .any(|one| one.rendition == rendition && one.children.contains(&child))
        }
    }
}

/// How long ago the adapter was heard of at a parent, as its ticks say: the way up as far as it is whole, and what the
/// first one knows above which it is not.
fn root_age_ms(world: &World, parent: Parent<Peer>, rendition: Rendition) -> u64 {
    let mut at = parent;
    let mut age = 0;
    for _ in 0..MOST_STEPS {
        let Parent::Node(node) = at else { return age };
        // On average half a tick passes at each step.
        age += TICK_MS / 2;
        let Some(one) = world.node(node.0).live.iter().find(|one| one.rendition == rendition) else { break };
        match one.branch.parent() {
            Some(above) if ticks(world, above, node, rendition) => at = above,
            _ => return age + one.branch.root_age_ms(now_ms(world)).unwrap_or(NEVER_MS),
        }
    }
    // A circle hears of the adapter no more: what the parent knows grows old.
    let parent = parent.node().and_then(|node| world.node(node.0).live.iter().find(|one| one.rendition == rendition));
    parent.and_then(|one| one.branch.root_age_ms(now_ms(world))).unwrap_or(NEVER_MS)
}

/// Does what the branch wants.
pub(super) fn follow(world: &mut World, node: NodeId, rendition: Rendition, step: Step<Peer>) {
    let me = peer(world, node);
    let mut step = step;
    while let Step::Subscribe(parent) = step {
        let to = parent.node().unwrap_or((world.adapter(), 0));
        if let Some(opening) = pull::connect(world, node, to.0) {
            let now = world.now();
            if let Some(delay) = world.message(node, to.0) {
                world.counts.control(SUBSCRIBE_BYTES);
                let message = Message { from: me, to, rendition, body: Body::Subscribe };
                let key = world.trees.messages.insert(message);
                world.queue.at(now + opening + delay, Event::Message(key));
            }
            break;
        }
        // No way to dial it: that is known at once.
        let at = now_ms(world);
        step = watched(world, node, rendition).map_or(Step::Stay, |one| one.branch.lost(parent, Why::Gone, at));
    }
    arm(world, node, rendition);
}

pub(super) fn accepted(world: &mut World, node: NodeId, rendition: Rendition, parent: Parent<Peer>) {
    let (now, at) = (world.now(), now_ms(world));
    let me = peer(world, node);
    let adapter = world.adapter();
    if descends(world, parent, me, rendition) {
        return lost(world, node, rendition, parent, Why::Gone);
    }
    let Some(one) = watched(world, node, rendition) else { return };
    let before = one.branch.parent();
    one.branch.accepted(parent, at);
    one.since.get_or_insert(now);
    let moved = one.branch.take_moved();
    if one.branch.parent() != Some(parent) {
        // It has turned elsewhere meanwhile.
        let to = parent.node().unwrap_or((adapter, 0));
        return unsubscribe(world, me, to, rendition);
    }
    match before {
        Some(old) if old != parent => {
            let to = old.node().unwrap_or((adapter, 0));
            unsubscribe(world, me, to, rendition);
        }
        Some(_) => {}
        None => world.trees.fed += 1,
    }
    if let Some(moved) = moved {
        world.counts.repairs += 1;
        send(world, me, (adapter, 0), rendition, Body::Moved(moved), MOVED_BYTES);
    }
    arm(world, node, rendition);
}

/// A parent has failed.
pub(super) fn lost(world: &mut World, node: NodeId, rendition: Rendition, parent: Parent<Peer>, why: Why) {
    let at = now_ms(world);
    let me = peer(world, node);
    let adapter = world.adapter();
    let Some(one) = watched(world, node, rendition) else { return };
    let fed = one.branch.parent();
    let step = one.branch.lost(parent, why, at);
    if fed == Some(parent) {
        world.trees.fed = world.trees.fed.saturating_sub(1);
        unsubscribe(world, me, parent.node().unwrap_or((adapter, 0)), rendition);
    }
    follow(world, node, rendition, step);
}

pub(super) fn leave(world: &mut World, node: NodeId, rendition: Rendition) {
    let me = peer(world, node);
    let adapter = (world.adapter(), 0);
    let Some(at) = world.node(node).live.iter().position(|one| one.rendition == rendition) else { return };
    let gone = world.node_mut(node).live.swap_remove(at);
    send(world, me, adapter, rendition, Body::Leave, ANSWER_BYTES);
    match gone.branch.parent() {
        Some(Parent::Node(parent)) => unsubscribe(world, me, parent, rendition),
        Some(Parent::Root) => world.trees.heads[usize::from(rendition)].retain(|head| *head != me),
        None => {}
    }
    if gone.branch.parent().is_some() {
        world.trees.fed = world.trees.fed.saturating_sub(1);
    }
    for child in gone.children {
        send(world, me, child, rendition, Body::Ended, ANSWER_BYTES);
    }
}

/// A relay has died: who hangs below it notices at once, or by its silence.
pub(in crate::sim) fn died(world: &mut World, node: NodeId, silent: bool) {
    let me = peer(world, node);
    let now = world.now();
    let adapter = world.adapter();
    for gone in std::mem::take(&mut world.node_mut(node).live) {
        let rendition = gone.rendition;
        if gone.branch.parent().is_some() {
            world.trees.fed = world.trees.fed.saturating_sub(1);
        }
        for (viewer, turn) in gone.waiting {
            transfer::missed(world, node, Reader::Viewer(viewer, turn), silent);
        }
        for child in &gone.children {
            if silent {
                // The last tick came just before.
                let at = now_ms(world);
                let root_age_ms = TICK_MS;
                if let Some(one) =
                    watched(world, child.0, rendition).filter(|one| one.branch.parent() == Some(Parent::Node(me)))
                {
                    one.branch.heard(Parent::Node(me), Heard { root_age_ms }, at);
                    arm(world, child.0, rendition);
                }
            } else {
                send(world, me, *child, rendition, Body::Ended, ANSWER_BYTES);
            }
        }
        let region = world.node(node).place.region;
        if !silent {
            let changes = world.trees.of(rendition, region).leave(&me);
            tell(world, rendition, changes);
        }
        let parent = gone.branch.parent().map(|parent| parent.node().unwrap_or((adapter, 0)));
        if let Some(parent) = parent {
            // A parent misses a silent child after a while.
            let body = Body::Leave;
            let key = world.trees.messages.insert(Message { from: me, to: parent, rendition, body });
            let wait = if silent { CHILD_SILENT } else { world.one_way(node, parent.0) };
            if parent.0 == adapter {
                world.trees.heads[usize::from(rendition)].retain(|head| *head != me);
                world.trees.messages.remove(key);
            } else {
                world.queue.at(now + wait, Event::Message(key));
            }
        }
    }
    for key in std::mem::take(&mut world.node_mut(node).pushes) {
        transfer::stop(world, key);
    }
}

/// What the trees' ticks cost in a second.
pub(in crate::sim) fn tick_bytes(world: &World) -> u64 {
    world.trees.fed * TICK_BYTES * (1_000 / TICK_MS)
}
