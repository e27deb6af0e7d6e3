//! The control plane beside trees and requests: changes of the membership, announcements that go from neighbour to
//! neighbour, status reports, keep-alives.

use super::{
    push,
    queue::{Micros, SECOND, millis},
    random::Random,
    world::{Event, NodeId, World},
};

/// A packet that only keeps a connection alive, and its acknowledgement.
const KEEP_ALIVE_BYTES: f64 = 120.0;

/// Who gossips with whom, and what each announcement has reached.
pub(super) struct Gossip {
    neighbours: Vec<Vec<NodeId>>,
    heard: Vec<u32>,
    serial: u32,
    began: Micros,
    reached: u32,
    of: u32,
}

impl Gossip {
    /// A random graph in which each relay has `degree` neighbours on average; the adapter is one of them.
    pub(super) fn new(nodes: usize, degree: u32, random: &mut Random) -> Self {
        let mut neighbours = vec![Vec::new(); nodes];
        for node in 0..nodes {
            for _ in 0..(degree / 2).max(1) {
                let other = random.below(nodes);
                if other != node {
                    neighbours[node].push(other as NodeId);
                    neighbours[other].push(node as NodeId);
                }
            }
        }
        Self { neighbours, heard: vec![0; nodes], serial: 0, began: 0, reached: 0, of: 0 }
    }
}

/// [`Event::Announce`]: the adapter tells everybody something.
pub(super) fn announce(world: &mut World) {
    let now = world.now();
    settle(world);
    let adapter = world.adapter();
    let gossip = &mut world.gossip;
    gossip.serial += 1;
    gossip.began = now;
    gossip.reached = 0;
    let serial = gossip.serial;
    gossip.of = u32::try_from(world.nodes.iter().filter(|node| node.up).count() - 1).unwrap_or(u32::MAX);
    heard(world, adapter, adapter, serial);
    let every = millis(world.scenario.control.announce_every_s * 1e3);
    world.queue.at(now + every, Event::Announce);
}

/// An announcement that is younger is still under way.
const UNDER_WAY: Micros = 5 * SECOND;

/// Notes how far the last announcement has come.
pub(super) fn settle(world: &mut World) {
    if world.gossip.serial > 0 && world.now() > world.gossip.began + UNDER_WAY {
        world.counts.announced(world.gossip.reached, world.gossip.of);
    }
}

/// [`Event::Heard`].
pub(super) fn heard(world: &mut World, from: NodeId, node: NodeId, serial: u32) {
    let now = world.now();
    if !world.node(node).up || world.gossip.heard[node as usize] >= serial || world.gossip.serial != serial {
        world.counts.gossip_duplicates += 1;
        return;
    }
    world.gossip.heard[node as usize] = serial;
    if node != world.adapter() {
        world.gossip.reached += 1;
        let began = world.gossip.began;
        world.counts.announcement.record(now - began);
    }
    let bytes = u64::from(world.scenario.control.announce_bytes);
    for next in world.gossip.neighbours[node as usize].clone() {
        if next == from {
            continue;
        }
        world.counts.control(bytes);
        world.counts.gossip_bytes += bytes;
        world.counts.gossip_messages += 1;
        if let Some(delay) = world.message(node, next) {
            world.queue.at(now + delay, Event::Heard(node, next, serial));
        }
    }
}

/// [`Event::Members`]: relays are told who has come and gone, and steering looks who is there.
pub(super) fn members(world: &mut World) {
    let now = world.now();
    let changes = world.roster.publish(&world.paths, now);
    world.steering.refresh(&world.nodes[..world.nodes.len() - 1]);
    let bytes = u64::from(world.scenario.control.member_bytes);
    for (region, changed) in changes.into_iter().enumerate() {
        if changed > 0 && now > 0 {
            let here = |node: &&super::world::Node| node.up && usize::from(node.place.region) == region;
            let relays = world.nodes[..world.nodes.len() - 1].iter().filter(here).count() as u64;
            world.counts.control(changed * bytes * relays);
            world.counts.membership_bytes += changed * bytes * relays;
        }
    }
    let every = millis(world.scenario.control.members_every_ms);
    world.queue.at(now + every, Event::Members);
}

/// [`Event::Second`]: what goes on all the time is counted by the second.
pub(super) fn second(world: &mut World) {
    let now = world.now();
    let control = world.scenario.control;
    let relays = world.nodes.iter().filter(|node| node.up).count() - 1;
    let connections: usize = world.nodes.iter().map(|node| node.links.len()).sum::<usize>() / 2;
    world.counts.control((connections as f64 * KEEP_ALIVE_BYTES / control.keep_alive_s) as u64);
    if control.status_every_s > 0.0 {
        // Each goes to everybody, and everybody passes it to all neighbours but the one it came from.
        let statuses = (relays as f64 / control.status_every_s).min(control.statuses_per_s);
        let copies = relays as f64 * f64::from(control.gossip_degree - 1);
        let bytes = (statuses * copies * f64::from(control.status_bytes)) as u64;
        world.counts.control(bytes);
        world.counts.gossip_bytes += bytes;
    }
    let ticks = push::tick_bytes(world);
    world.counts.control(ticks);
    world.counts.tick_bytes += ticks;
    world.counts.connections = world.counts.connections.max(connections as u64);
    world.counts.second(relays as u32);
    world.queue.at(now + SECOND, Event::Second);
}
