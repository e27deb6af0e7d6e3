//! Relays come and go, and regions are cut off.

use super::{
    cache::Cache,
    decide::Decider,
    place::{CutOff, Paths, Place},
    pull, push,
    queue::{Micros, SECOND, millis},
    random::Random,
    scenario::{Behaviours, Scenario},
    transfer,
    uplink::Uplink,
    world::{Conduct, Event, Node, NodeId, Reach, World},
};
use rustc_hash::{FxHashMap, FxHashSet};
use weir_protocol::ids::RelayId;

/// Membership of a newcomer: address, grant, keys, in bytes.
const GREETING_BYTES: u64 = 2_000;

/// A relay's identity: any 32 bytes are accepted as an Ed25519 key by those who only compare.
pub(super) fn identity(random: &mut Random) -> RelayId {
    // Multihash (identity, 36 bytes) of a protobuf with key type Ed25519 and 32 bytes.
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    (0..4).for_each(|_| bytes.extend_from_slice(&random.bits().to_le_bytes()));
    let mut cbor = vec![0x58, 38];
    cbor.extend_from_slice(&bytes);
    minicbor::decode(&cbor).expect("a PeerId of an Ed25519 key has this form")
}

/// A relay that begins to live.
pub(super) fn newborn(scenario: &Scenario, region: u8, class: u8, random: &mut Random) -> Node {
    let line = &scenario.classes[usize::from(class)];
    let reach = match random.weighted(&[line.nat.direct, line.nat.cone, line.nat.symmetric]) {
        0 => Reach::Direct,
        1 => Reach::Cone,
        _ => Reach::Symmetric,
    };
    let conduct = scenario.malice.filter(|malice| random.chance(malice.share));
    let conduct = conduct.map(|malice| conduct_of(malice.behaviour, random));
    let relay = identity(random);
    let place = Paths::place(scenario, region, line.access_ms, random);
    let cache = line.cache_mib << 20;
    Node { reach, conduct, class, ..node(relay, place, line.up_mbps, line.down_mbps, cache) }
}

fn conduct_of(kinds: Behaviours, random: &mut Random) -> Conduct {
    match random.weighted(&[kinds.wrong_bytes, kinds.drip, kinds.liar, kinds.silence]) {
        0 => Conduct::WrongBytes,
        1 => Conduct::Drip,
        2 => Conduct::Liar,
        _ => Conduct::Silence,
    }
}

/// A node that everybody can reach and that means well.
pub(super) fn node(relay: RelayId, place: Place, up_mbps: f64, down_mbps: f64, cache: u64) -> Node {
    Node {
        relay,
        place,
        class: 0,
        reach: Reach::Direct,
        conduct: None,
        up: true,
        life: 0,
        since: 0,
        uplink: Uplink::new(up_mbps),
        down_rate: down_mbps / 8.0,
        down_free: 0,
        cache: Cache::new(cache),
        fills: FxHashMap::default(),
        decider: Decider::new(relay),
        links: FxHashSet::default(),
        background: Vec::new(),
        pushes: Vec::new(),
        live: Vec::new(),
        assigned: 0.0,
        sent_nodes: 0.0,
        sent_viewers: 0.0,
        up_before: 0,
    }
}

/// Draws how long a relay lives, if relays die at all.
pub(super) fn draw_death(world: &mut World, node: NodeId) {
    let Some(churn) = world.scenario.churn else { return };
    let mean = churn.median_minutes * 60e3 / std::f64::consts::LN_2;
    let at = world.now() + millis(world.random.lives.exponential(mean));
    let life = world.node(node).life;
    world.queue.at(at, Event::Die(node, life));
}

/// [`Event::Die`].
pub(super) fn die(world: &mut World, node: NodeId, life: u32) {
    if !world.lives(node, life) {
        return;
    }
    let now = world.now();
    let Some(churn) = world.scenario.churn else { return };
    let silent = world.random.lives.chance(churn.silent_share);
    world.counts.deaths += 1;
    let mut asks: Vec<_> = world
        .node(node)
        .fills
        .values()
        .filter_map(|fill| fill.plan.as_ref())
        .flat_map(|plan| plan.running.clone())
        .collect();
    asks.sort_unstable();
    for ask in asks {
        world.counts.wasted += pull::call_off(world, ask);
    }
    push::died(world, node, silent);
    world.roster.died(node, !silent);
    let one = world.node_mut(node);
    one.up = false;
    one.up_before += now - one.since;
    transfer::cut_off(world, node, silent);
    let mut links: Vec<NodeId> = std::mem::take(&mut world.node_mut(node).links).into_iter().collect();
    links.sort_unstable();
    for other in links {
        world.node_mut(other).links.remove(&node);
    }
    let idle = millis(world.scenario.control.members_idle_s * 1e3);
    let adapter = world.adapter();
    let noticed = if silent { idle } else { world.one_way(node, adapter) };
    world.queue.at(now + noticed, Event::Forget(node, life));
    let after = millis(world.random.lives.exponential(churn.replaced_after_s * 1e3));
    // A place is taken anew only when the adapter has noticed that it is free: one index, one member.
    world.queue.at(now + after.max(noticed + SECOND), Event::Come(node));
}

/// [`Event::Forget`].
pub(super) fn forget(world: &mut World, node: NodeId, life: u32) {
    if world.node(node).life == life {
        world.roster.forget(node);
    }
}

/// [`Event::Come`].
pub(super) fn come(world: &mut World, node: NodeId) {
    let now = world.now();
    let before = world.node(node);
    let (region, class, life) = (before.place.region, before.class, before.life);
    let (sent_nodes, sent_viewers, up_before) = (before.sent_nodes, before.sent_viewers, before.up_before);
    let mut born = newborn(&world.scenario, region, class, &mut world.random.lives);
    born.life = life + 1;
    born.since = now;
    (born.sent_nodes, born.sent_viewers, born.up_before) = (sent_nodes, sent_viewers, up_before);
    *world.node_mut(node) = born;
    world.counts.births += 1;
    world.counts.control(GREETING_BYTES + list_bytes(world, region));
    enter(world, node, Some(now));
    world.nodes[node as usize].decider.comes(&world.roster, region);
    draw_death(world, node);
}

/// The list of members that a newcomer is sent, in bytes.
fn list_bytes(world: &World, region: u8) -> u64 {
    world.roster.members(region).0.members().len() as u64 * u64::from(world.scenario.control.member_bytes)
}

/// The adapter lists a relay.
pub(super) fn enter(world: &mut World, node: NodeId, since: Option<Micros>) {
    let one = &world.nodes[node as usize];
    let megabits = one.uplink.rate() * 8.0;
    world.roster.enter(node, one.life, one.relay, one.place.region, megabits, since);
}

/// [`Event::Cut`].
pub(super) fn cut(world: &mut World, region: u8, begins: bool) {
    let now = world.now();
    if !begins {
        return heal(world, region);
    }
    let crosses =
        |a: NodeId, b: NodeId| (world.node(a).place.region == region) != (world.node(b).place.region == region);
    let crossing: Vec<_> =
        world.transfers.iter().filter(|(_, one)| crosses(one.from, one.to)).map(|(key, _)| key).collect();
    for key in crossing {
        world.queue.at(now + transfer::SILENCE, Event::Broken(key, super::world::Broken::Stalled));
    }
    let idle = millis(world.scenario.control.members_idle_s * 1e3);
    world.queue.at(now + idle, Event::Isolated(region));
}

/// [`Event::Isolated`]: the adapter has heard nothing from a whole region for too long, or the region of the adapter.
pub(super) fn isolated(world: &mut World, region: u8) {
    let now = world.now();
    let home = world.node(world.adapter()).place.region;
    for node in relays(world) {
        let place = world.node(node).place.region;
        if world.node(node).up && (place == region || home == region) && !world.paths.connected(place, home, now) {
            world.roster.forget(node);
        }
    }
}

fn relays(world: &World) -> std::ops::Range<NodeId> {
    0..world.adapter()
}

/// Connections to the adapter come back, and with them the members.
fn heal(world: &mut World, region: u8) {
    let now = world.now();
    let home = world.node(world.adapter()).place.region;
    for node in relays(world) {
        let one = world.node(node);
        let affected = one.place.region == region || home == region;
        if one.up && affected && world.paths.connected(one.place.region, home, now) {
            let since = (one.since > 0).then_some(one.since);
            world.counts.control(GREETING_BYTES);
            enter(world, node, since);
        }
    }
}

/// The cuts of a scenario, as events.
pub(super) fn cuts(cuts: &[CutOff]) -> impl Iterator<Item = (Micros, Event)> {
    cuts.iter().flat_map(|cut| [(cut.from, Event::Cut(cut.region, true)), (cut.until, Event::Cut(cut.region, false))])
}
