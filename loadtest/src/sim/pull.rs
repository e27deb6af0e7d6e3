//! Objects that are asked for: the plan that the mesh makes is carried out as the node's fetcher does it, with a second
//! request when the first one is slow, and another source when one fails, at the byte where it failed.

use super::{
    content::Object,
    decide::{self, clock, duration},
    named,
    queue::{MILLI, Micros, SECOND},
    slab::Key,
    transfer::{self, SILENCE},
    world::{Broken, Conduct, Event, NodeId, Reach, Reader, Step, Transfer, TransferKind, World},
};
use weir_relay::mesh::{self, Asking, Denied, Failure, LAST_STAGE, may_wait};

/// How long the adapter is waited for (decision 0004); how long a relay, decides the mesh.
const ADAPTER_PATIENCE: Micros = 15 * SECOND;
/// A drip is noticed after this: less than the least rate that the decisions allow a peer.
const DRIP_NOTICED: Micros = 2 * SECOND;
/// Bytes of a request with its frame, and of a reply's head and record.
const REQUEST_BYTES: u64 = 160;
const REPLY_BYTES: u64 = 900;
/// Packets that open a connection.
const HANDSHAKE_BYTES: u64 = 5_000;
/// Sources that a fill asks, at most (`relay/fetch`).
const MAX_ASKED: usize = 24;
/// Fills in the background on one node (`relay/fetch`).
const MAX_BACKGROUND: usize = 8;
/// Owners that may fail before the adapter is asked in their place (`relay/fetch`).
const MAX_FAILED: usize = 4;
/// Relays that feed one another, as far as they are looked at.
const MOST_STEPS: usize = 64;
/// Bytes of a refusal.
const REFUSAL_BYTES: u64 = 80;

/// Sees to it that a viewer of a node gets an object; true when it was here, or on its way already.
pub(super) fn view(world: &mut World, node: NodeId, object: Object, reader: Reader) -> bool {
    let held = wanted(world, node, object, false);
    if transfer::serve(world, node, object, reader) {
        return true;
    }
    transfer::open(world, node, object).readers.push(reader);
    fill(world, node, object, 0);
    held
}

/// Tells the decisions that somebody wants an object; true when it is here. Who is asked in vain for what it should hold
/// fetches it in the background.
fn wanted(world: &mut World, node: NodeId, object: Object, held_only: bool) -> bool {
    let now = world.now();
    let what = decide::object(&world.content, object);
    let one = &mut world.nodes[node as usize];
    let held = one.cache.holds(object);
    let region = one.place.region;
    let replicates = one.decider.requested(&world.roster, region, &what, held, now);
    if replicates && held_only && !one.fills.contains_key(&object) && one.background.len() < MAX_BACKGROUND {
        one.background.push(object);
        world.counts.replicated += 1;
        transfer::open(world, node, object);
        fill(world, node, object, 0);
    }
    held
}

/// Asks for an object that is not here, for a request of a stage.
pub(super) fn fill(world: &mut World, node: NodeId, object: Object, hops: u8) {
    let now = world.now();
    let adapter = world.adapter();
    if node == adapter {
        let first = world.scenario.origin.first_byte_ms;
        let whole = first + f64::from(world.content.bytes(object)) * 8.0 / 1e3 / world.scenario.origin.mbps;
        world.counts.upstream(object);
        world.queue.at(now + super::queue::millis(first), Event::OriginHead(object));
        world.queue.at(now + super::queue::millis(whole), Event::OriginTail(object));
        return;
    }
    let region = world.node(node).place.region;
    world.counts.wanted(region, object, world.content.bytes(object));
    let what = decide::object(&world.content, object);
    let plan = world.nodes[node as usize].decider.plan(&world.roster, region, adapter, &what, hops, now);
    transfer::open(world, node, object).plan = Some(plan);
    advance(world, node, object);
}

/// Asks the next node of the plan; when there is none and nothing runs, the object is not to be had.
fn advance(world: &mut World, node: NodeId, object: Object) {
    loop {
        let Some(fill) = world.node_mut(node).fills.get_mut(&object) else { return };
        let got = fill.got;
        let Some(plan) = &mut fill.plan else { return };
        let Some(step) = plan.steps.get(plan.next).copied() else {
            if plan.running.is_empty() {
                world.counts.failed_fills += 1;
                transfer::fail(world, node, object);
            }
            return;
        };
        plan.next += 1;
        if plan.asked.contains(&step.node) {
            continue;
        }
        if step.what.peer().is_some() {
            plan.asked.push(step.node);
        } else {
            plan.stage = plan.stage.max(LAST_STAGE);
        }
        let stage = plan.stage + 1;
        if ask(world, node, step, object, stage, got) {
            return;
        }
    }
}

/// False when there is no way to that node.
fn ask(world: &mut World, from: NodeId, step: Step, object: Object, stage: u8, offset: u32) -> bool {
    let now = world.now();
    let to = step.node;
    let insists = plan_of(world, from, object).is_some_and(|plan| plan.insists);
    let ways = world.message(from, to).and_then(|delay| Some((delay, connect(world, from, to)?)));
    let Some((delay, opening)) = ways else {
        world.nodes[from as usize].decider.failed(&step.what, Failure::Unreachable, now);
        return false;
    };
    let transfer = Transfer {
        from: to,
        from_life: step.life,
        to: from,
        to_life: world.node(from).life,
        object,
        kind: TransferKind::Ask { stage, step: step.what, insists },
        offset,
        asked: now,
        gives_up: Micros::MAX,
        head: None,
        flow: None,
        counted: false,
        elsewhere: Vec::new(),
    };
    let key = world.transfers.insert(transfer);
    let first = match world.node_mut(from).fills.get_mut(&object).and_then(|fill| fill.plan.as_mut()) {
        Some(plan) => {
            plan.running.push(key);
            plan.running.len() == 1
        }
        None => true,
    };
    if let Some((relay, _)) = step.what.peer() {
        world.nodes[from as usize].decider.mesh().asked(&relay, clock(now));
    }
    world.counts.asks += 1;
    world.counts.control(REQUEST_BYTES);
    let there = now + opening + delay;
    world.queue.at(there, Event::Asked(key));
    let patience =
        if to == world.adapter() { ADAPTER_PATIENCE } else { world.nodes[from as usize].decider.patience(stage - 1) };
    let gives_up = now + patience;
    if let Some(transfer) = world.transfers.get_mut(key) {
        transfer.gives_up = gives_up;
    }
    world.queue.at((there + delay + SILENCE).min(gives_up), Event::Patience(key));
    if first && let Some(wait) = world.nodes[from as usize].decider.hedge_after(&step.what) {
        world.queue.at(now + opening + wait, Event::Hedge(key));
    }
    true
}

/// Opens a connection if there is none: what it takes; `None` when the two cannot reach one another.
pub(super) fn connect(world: &mut World, from: NodeId, to: NodeId) -> Option<Micros> {
    if world.node(from).links.contains(&to) {
        return Some(0);
    }
    let round_trip = 2 * world.one_way(from, to);
    let takes = match (world.node(from).reach, world.node(to).reach) {
        (_, Reach::Direct) => round_trip,
        // A relay that everybody can dial is asked to dial back; two cone NATs are punched through.
        (Reach::Direct, _) | (Reach::Cone, Reach::Cone) => round_trip * 5 / 2,
        _ => return None,
    };
    world.counts.control(HANDSHAKE_BYTES);
    world.counts.handshakes += 1;
    world.node_mut(from).links.insert(to);
    world.node_mut(to).links.insert(from);
    Some(takes)
}

/// [`Event::Asked`].
pub(super) fn asked(world: &mut World, key: Key) {
    let Some(transfer) = world.transfers.get(key) else { return };
    let (node, life, asker, object) = (transfer.from, transfer.from_life, transfer.to, transfer.object);
    let offset = transfer.offset;
    let TransferKind::Ask { stage, step, insists } = transfer.kind else { return };
    let now = world.now();
    if !world.lives(node, life) {
        // A closed port answers, a dead line does not.
        if world.roster.was_orderly(node) || world.node(node).life != life {
            world.queue.at(now + world.one_way(node, asker), Event::Broken(key, Broken::Gone));
        }
        return;
    }
    if let Some(conduct) = world.node(node).conduct {
        return misbehave(world, key, node, asker, conduct);
    }
    if node == world.adapter() {
        world.counts.adapter_asked();
        world.counts.control(REPLY_BYTES);
        if !insists && named::name(world, key, asker, object) {
            return;
        }
        let behind = plan_of(world, asker, object).and_then(|plan| plan.behind);
        for relay in behind.into_iter().chain([asker]) {
            named::remember(world, relay, object, now);
        }
        if !transfer::serve(world, node, object, Reader::Node(key)) {
            transfer::open(world, node, object).readers.push(Reader::Node(key));
            fill(world, node, object, LAST_STAGE);
        }
        return;
    }
    let held_only = matches!(step, mesh::Step::Holder(_));
    wanted(world, node, object, held_only);
    let what = decide::object(&world.content, object);
    let relay = world.node(asker).relay;
    let region = world.node(node).place.region;
    let one = &mut world.nodes[node as usize];
    // Only who has it, or is on its way to have it for this stage, takes on another reader.
    let here = one.cache.holds(object)
        || one.fills.get(&object).is_some_and(|fill| fill.head || may_wait(stage_of(fill), stage));
    let here = here && !(held_only && follows(world, node, asker, object, offset));
    let one = &mut world.nodes[node as usize];
    let joins = one.fills.get(&object).is_none_or(|fill| may_wait(stage_of(fill), stage));
    if !here && (held_only || !joins) {
        return refuse(world, key, Broken::Refused);
    }
    match one.decider.view(&world.roster, region).serve(&relay, &what, stage) {
        Ok(()) => {
            if let Some(transfer) = world.transfers.get_mut(key) {
                transfer.counted = true;
            }
        }
        Err(Denied::Busy | Denied::Owes) => {
            world.counts.busy += 1;
            return refuse(world, key, Broken::Busy);
        }
    }
    world.counts.control(REPLY_BYTES);
    if !transfer::serve(world, node, object, Reader::Node(key)) {
        transfer::open(world, node, object).readers.push(Reader::Node(key));
        fill(world, node, object, stage);
        if let Some(plan) = world.node_mut(node).fills.get_mut(&object).and_then(|fill| fill.plan.as_mut()) {
            plan.behind = Some(asker);
        }
    }
}

fn plan_of(world: &World, node: NodeId, object: Object) -> Option<&super::world::Plan> {
    world.node(node).fills.get(&object)?.plan.as_ref()
}

/// [`Event::Elsewhere`]: those who are named are asked for what they have, and if it is nothing the adapter again.
pub(super) fn elsewhere(world: &mut World, key: Key) {
    let Some((transfer, _)) = transfer::stop(world, key) else { return };
    over(world, &transfer);
    let (node, object) = (transfer.to, transfer.object);
    if !world.lives(node, transfer.to_life) {
        return;
    }
    world.counts.named += 1;
    world.nodes[node as usize].decider.mesh().adapter_succeeded();
    let adapter = world.adapter();
    let holders = transfer.elsewhere.iter().filter_map(|relay| {
        let (node, life) = world.roster.node(relay)?;
        Some(super::world::Step { node, life, what: mesh::Step::Holder(*relay) })
    });
    let steps: Vec<_> =
        holders.chain([super::world::Step { node: adapter, life: 0, what: mesh::Step::Adapter }]).collect();
    let Some(plan) = world.node_mut(node).fills.get_mut(&object).and_then(|fill| fill.plan.as_mut()) else { return };
    plan.running.retain(|other| *other != key);
    plan.insists = true;
    plan.steps = steps;
    plan.next = 0;
    if plan.running.is_empty() {
        advance(world, node, object);
    }
}

/// True when what arrives at a node comes from the asker, or from nobody: it has no byte that the asker lacks. Nodes tell by
/// the number of bytes (`relay/peer/answer`); bytes on their way are not counted here, so the ways are followed.
fn follows(world: &World, node: NodeId, asker: NodeId, object: Object, offset: u32) -> bool {
    let mut at = node;
    for _ in 0..MOST_STEPS {
        let one = world.node(at);
        if one.cache.holds(object) || at == world.adapter() {
            return false;
        }
        let Some(fill) = one.fills.get(&object) else { return true };
        let asked = fill.plan.iter().flat_map(|plan| &plan.running);
        let feeds =
            |key: &&Key| world.transfers.get(**key).is_some_and(|one| one.object == object && one.head.is_some());
        let Some(source) = one.pushes.iter().chain(asked).find(feeds).and_then(|key| world.transfers.get(*key)) else {
            return fill.got <= offset;
        };
        if source.from == asker {
            return true;
        }
        at = source.from;
    }
    true
}

/// Requests of at most this stage may wait for a fill. What is pushed waits for no relay that is asked.
fn stage_of(fill: &super::world::Fill) -> u8 {
    fill.plan.as_ref().map_or(LAST_STAGE + 1, |plan| plan.stage)
}

fn refuse(world: &mut World, key: Key, why: Broken) {
    let Some(transfer) = world.transfers.get(key) else { return };
    let (from, to) = (transfer.from, transfer.to);
    world.counts.control(REFUSAL_BYTES);
    if let Some(delay) = world.message(from, to) {
        let at = world.now() + delay;
        world.queue.at(at, Event::Broken(key, why));
    }
}

fn misbehave(world: &mut World, key: Key, node: NodeId, asker: NodeId, conduct: Conduct) {
    let now = world.now();
    let Some(delay) = world.message(node, asker) else { return };
    match conduct {
        // Found out when the first group is there.
        Conduct::WrongBytes => world.queue.at(now + delay + MILLI, Event::Broken(key, Broken::Corrupt)),
        Conduct::Drip => world.queue.at(now + delay, Event::Head(key)),
        Conduct::Liar | Conduct::Silence => {}
    }
}

/// A request is over, in whatever way: both sides' decisions are told.
fn over(world: &mut World, transfer: &Transfer) {
    let now = world.now();
    if let TransferKind::Ask { step, .. } = transfer.kind
        && let Some((relay, _)) = step.peer()
        && world.lives(transfer.to, transfer.to_life)
    {
        world.nodes[transfer.to as usize].decider.mesh().ended(&relay, clock(now));
    }
    if transfer.counted && world.lives(transfer.from, transfer.from_life) {
        let what = decide::object(&world.content, transfer.object);
        world.nodes[transfer.from as usize].decider.mesh().served(&what);
    }
}

/// Calls a request off; the bytes it brought.
pub(super) fn call_off(world: &mut World, key: Key) -> f64 {
    let Some(bytes) = transfer::stop(world, key) else { return 0.0 };
    over(world, &bytes.0);
    bytes.1
}

/// [`Event::Head`] of what was asked for.
pub(super) fn head(world: &mut World, key: Key) {
    let now = world.now();
    let Some(transfer) = world.transfers.get_mut(key) else { return };
    transfer.head = Some(now);
    let (from, node, life, object, asked) =
        (transfer.from, transfer.to, transfer.to_life, transfer.object, transfer.asked);
    let TransferKind::Ask { step, .. } = transfer.kind else { return };
    if !world.lives(node, life) {
        return;
    }
    if let Some((relay, asking)) = step.peer() {
        let round_trip = duration(2 * world.one_way(from, node));
        let mesh = world.nodes[node as usize].decider.mesh();
        mesh.head_after(&relay, asking, duration(now - asked), clock(now));
        mesh.round_trip(&relay, round_trip, clock(now));
    }
    if world.node(from).conduct == Some(Conduct::Drip) {
        world.queue.at(now + DRIP_NOTICED, Event::Patience(key));
    }
    // The first good head wins.
    let losers: Vec<Key> = match world.node_mut(node).fills.get_mut(&object).and_then(|fill| fill.plan.as_mut()) {
        Some(plan) => {
            if step.peer().is_none() {
                plan.stage = LAST_STAGE + 1;
            }
            std::mem::replace(&mut plan.running, vec![key]).into_iter().filter(|other| *other != key).collect()
        }
        None => Vec::new(),
    };
    for loser in losers {
        if let Some(late) = world.transfers.get(loser)
            && let TransferKind::Ask { step: late_step, .. } = late.kind
            && let Some((relay, asking)) = late_step.peer()
            && late.asked < asked
        {
            let took = duration(now - late.asked);
            world.nodes[node as usize].decider.mesh().outrun(&relay, asking, took, clock(now));
        }
        world.counts.wasted += call_off(world, loser);
    }
    transfer::head(world, node, object);
}

/// [`Event::Tail`] of what was asked for.
pub(super) fn tail(world: &mut World, key: Key) {
    let now = world.now();
    let Some(transfer) = world.transfers.remove(key) else { return };
    over(world, &transfer);
    let (node, object) = (transfer.to, transfer.object);
    if !world.lives(node, transfer.to_life) {
        return;
    }
    let TransferKind::Ask { step, .. } = transfer.kind else { return };
    let bytes = world.content.bytes(object).saturating_sub(transfer.offset);
    world.counts.control(tree_bytes(bytes));
    let what = decide::object(&world.content, object);
    let live = world.content.as_live(object).is_some();
    let one = &mut world.nodes[node as usize];
    match step.peer() {
        Some((relay, _)) => {
            let waited = duration(now - transfer.head.unwrap_or(transfer.asked));
            one.decider.mesh().succeeded(&relay, bytes.into(), waited, clock(now));
        }
        None => one.decider.mesh().adapter_succeeded(),
    }
    let full = one.cache.is_full(world.content.bytes(object));
    let keep = one.decider.keeps(&what, live, full, now);
    transfer::whole(world, node, object, keep, 0);
}

/// Chaining values of so many bytes (64 bytes for each group of 16 KiB).
pub(super) fn tree_bytes(bytes: u32) -> u64 {
    u64::from(bytes / 16_384) * 64
}

/// [`Event::Hedge`]: no head yet, so another relay is asked as well, never the adapter.
pub(super) fn hedge(world: &mut World, key: Key) {
    let now = world.now();
    let Some(transfer) = world.transfers.get(key) else { return };
    if transfer.head.is_some() || !world.lives(transfer.to, transfer.to_life) {
        return;
    }
    let (node, object, asked) = (transfer.to, transfer.object, transfer.asked);
    let TransferKind::Ask { step, .. } = transfer.kind else { return };
    let one = &mut world.nodes[node as usize];
    let Some(plan) = one.fills.get(&object).and_then(|fill| fill.plan.as_ref()) else { return };
    let adapter_is_next = plan.steps.get(plan.next).is_some_and(|next| next.what.peer().is_none());
    if let (mesh::Step::Holder(relay), true, 1) = (step, adapter_is_next, plan.running.len()) {
        let took = duration(now - asked);
        one.decider.mesh().outrun(&relay, Asking::Holder, took, clock(now));
        return broken(world, key, Broken::Refused);
    }
    let peer = plan.steps.get(plan.next).is_some_and(|step| step.what.peer().is_some());
    if plan.running.len() == 1 && peer && one.decider.mesh().hedge() {
        world.counts.hedges += 1;
        advance(world, node, object);
    }
}

/// [`Event::Patience`]: silence, waiting, or a drip.
pub(super) fn patience(world: &mut World, key: Key) {
    let now = world.now();
    let Some(transfer) = world.transfers.get(key) else { return };
    let (from, gives_up) = (transfer.from, transfer.gives_up);
    if transfer.head.is_some() {
        if world.node(from).conduct == Some(Conduct::Drip) {
            broken(world, key, Broken::Withheld);
        }
        return;
    }
    let (a, b) = (world.node(from).place.region, world.node(transfer.to).place.region);
    let speaks = world.lives(from, transfer.from_life)
        && world.node(from).conduct != Some(Conduct::Silence)
        && world.paths.connected(a, b, now);
    if speaks && now < gives_up {
        world.queue.at(gives_up, Event::Patience(key));
    } else {
        broken(world, key, Broken::Stalled);
    }
}

/// [`Event::Broken`] of what was asked for: the next source goes on where this one failed.
pub(super) fn broken(world: &mut World, key: Key, why: Broken) {
    let now = world.now();
    let Some((transfer, got)) = transfer::stop(world, key) else { return };
    over(world, &transfer);
    let (node, object) = (transfer.to, transfer.object);
    let TransferKind::Ask { step, .. } = transfer.kind else { return };
    if !world.lives(node, transfer.to_life) {
        return;
    }
    let failure = match why {
        Broken::Gone => Some(Failure::Unreachable),
        Broken::Stalled => Some(Failure::Stalled),
        Broken::Withheld => Some(Failure::Withheld),
        Broken::Corrupt => Some(Failure::Corrupt),
        Broken::Refused | Broken::Busy => None,
    };
    let one = &mut world.nodes[node as usize];
    match failure {
        Some(failure) => {
            world.counts.failed += 1;
            one.decider.failed(&step, failure, now);
        }
        None if why == Broken::Busy => {
            let what = decide::object(&world.content, object);
            one.decider.mesh().busy(&what, clock(now));
        }
        None => world.counts.refused += 1,
    }
    if why == Broken::Gone {
        world.node_mut(node).links.remove(&transfer.from);
    }
    let Some(fill) = world.node_mut(node).fills.get_mut(&object) else { return };
    fill.got = fill.got.max(transfer.offset + got as u32);
    let Some(plan) = &mut fill.plan else { return };
    plan.running.retain(|other| *other != key);
    plan.failed += usize::from(failure.is_some() && step.peer().is_some());
    if plan.running.is_empty() {
        let owners_left = failure.is_some() && plan.stage < LAST_STAGE && plan.failed < MAX_FAILED;
        if why == Broken::Busy || owners_left {
            plan_again(world, node, object);
        }
        advance(world, node, object);
    }
}

/// An owner was busy, and the object has more of them now; or it failed, and others come after it. Those that were asked
/// are not asked again.
fn plan_again(world: &mut World, node: NodeId, object: Object) {
    let now = world.now();
    let adapter = world.adapter();
    let what = decide::object(&world.content, object);
    let one = &mut world.nodes[node as usize];
    let region = one.place.region;
    let Some(plan) = one.fills.get_mut(&object).and_then(|fill| fill.plan.as_mut()) else { return };
    if plan.asked.len() >= MAX_ASKED {
        return;
    }
    let anew = one.decider.plan(&world.roster, region, adapter, &what, plan.stage, now);
    plan.stage = plan.stage.max(anew.stage);
    plan.steps = anew.steps;
    plan.next = 0;
}
