//! Sets a scenario up, hands out events until its time is over, and reports.

use super::{
    content::Content,
    gossip::{self, Gossip},
    lives,
    measure::Counts,
    place::Paths,
    pull, push,
    queue::{MILLI, Micros, Queue, SECOND, millis},
    random::Random,
    report::Report,
    roster::Roster,
    scenario::Scenario,
    slab::{Key, Slab},
    steering::Steering,
    trees::Trees,
    watch,
    world::{Broken, Event, Streams, TransferKind, Viewer, Watching, World},
};
use weir_relay::mesh::Holders;

/// The adapter looks after its trees so often.
const TREES_EVERY: Micros = 500 * MILLI;
/// The adapter keeps what it has fetched.
const ADAPTER_CACHE: u64 = u64::MAX;
/// A live segment is old after so many others.
const OLD: u32 = 4;

/// Runs a scenario to its end. The same scenario gives the same report.
pub fn run(scenario: &Scenario) -> Report {
    let mut world = set_up(scenario);
    let until = Micros::from(scenario.seconds) * SECOND;
    while let Some(event) = world.queue.next(until) {
        world.counts.events += 1;
        happen(&mut world, event);
    }
    for viewer in 0..world.viewers.len() {
        watch::finish(&mut world, viewer as u32);
    }
    gossip::settle(&mut world);
    world.counts.all_old();
    Report::of(&world, until)
}

fn set_up(scenario: &Scenario) -> World {
    let seed = scenario.seed;
    let content = Content::new(scenario, seed);
    let renditions = content.renditions();
    let regions = scenario.regions.len();
    let mut random = Random::new(seed, "relays");
    let region_shares: Vec<f64> = scenario.regions.iter().map(|region| region.share).collect();
    let class_shares: Vec<f64> = scenario.classes.iter().map(|class| class.share).collect();
    let mut nodes = Vec::with_capacity(scenario.relays as usize + 1);
    for _ in 0..scenario.relays {
        let (region, class) = (random.weighted(&region_shares) as u8, random.weighted(&class_shares) as u8);
        nodes.push(lives::newborn(scenario, region, class, &mut random));
    }
    let mbps = scenario.network.adapter_mbps;
    nodes.push(lives::node(lives::identity(&mut random), Paths::adapter(scenario), mbps, mbps, ADAPTER_CACHE));
    let mut gossip_random = Random::new(seed, "gossip");
    let gossip = Gossip::new(nodes.len(), scenario.control.gossip_degree, &mut gossip_random);
    let mut viewers_random = Random::new(seed, "viewers");
    let viewers = (0..scenario.viewers).map(|_| newcomer(viewers_random.weighted(&region_shares) as u8)).collect();
    let mut world = World {
        scenario: scenario.clone(),
        queue: Queue::new(),
        paths: Paths::new(scenario, seed),
        nodes,
        viewers,
        flows: Slab::new(),
        transfers: Slab::new(),
        roster: Roster::new(scenario),
        steering: Steering::new(regions),
        gossip,
        trees: Trees::new(renditions, regions),
        holders: Holders::default(),
        counts: Counts::new(regions, renditions),
        random: Streams {
            lives: Random::new(seed, "lives"),
            viewers: viewers_random,
            steering: Random::new(seed, "steering"),
        },
        content,
    };
    for node in 0..scenario.relays {
        lives::enter(&mut world, node, None);
        lives::draw_death(&mut world, node);
    }
    first_events(&mut world);
    world
}

fn newcomer(region: u8) -> Viewer {
    Viewer {
        relay: None,
        region,
        watching: Watching::Nothing,
        turn: 0,
        viewing: 0,
        next: 0,
        listed: None,
        empty_at: None,
        began: 0,
        played_from: 0,
        looked: 0,
        stalled: 0,
        stalls: 0,
    }
}

fn first_events(world: &mut World) {
    gossip::members(world);
    world.queue.at(SECOND, Event::Second);
    world.queue.at(TREES_EVERY, Event::Trees);
    if world.scenario.control.announce_every_s > 0.0 {
        world.queue.at(millis(world.scenario.control.announce_every_s * 1e3), Event::Announce);
    }
    // Channels do not begin at the same moment: their segments are spread over one segment's length.
    let renditions = world.content.renditions();
    let rungs = world.scenario.live.as_ref().map_or(1, |live| live.kbps.len());
    for rendition in 0..renditions {
        let channel = usize::from(rendition) / rungs;
        let channels = (usize::from(renditions) / rungs).max(1);
        let offset = world.content.live_segment * channel as u64 / channels as u64;
        // They have been on the air for a while.
        let window = world.scenario.live.as_ref().map_or(0, |live| live.window);
        let before = world.content.live(rendition, window - 1);
        world.trees.newest[usize::from(rendition)] = Some(window - 1);
        world.trees.ready.insert(before, 0);
        world.queue.at(offset, Event::Segment(rendition, window));
    }
    let cuts = world.paths.cuts.clone();
    for (at, event) in lives::cuts(&cuts) {
        world.queue.at(at, event);
    }
    let count = world.viewers.len();
    for (index, viewer) in (0..).zip(0..count) {
        let share = (viewer as f64 + 1.0) / count as f64;
        if let Some(at) = arrives_at(&world.scenario.watch.arrive, share) {
            world.queue.at(at, Event::Arrive(index));
        }
    }
}

/// When the curve of arrivals reaches a share; `None` when it never does.
fn arrives_at(corners: &[[f64; 2]], share: f64) -> Option<Micros> {
    let mut before = [0.0, 0.0];
    for corner in corners {
        if share <= corner[1] {
            let part = if corner[1] > before[1] { (share - before[1]) / (corner[1] - before[1]) } else { 1.0 };
            return Some(millis((before[0] + (corner[0] - before[0]) * part.max(0.0)) * 1e3));
        }
        before = *corner;
    }
    None
}

fn is_push(world: &World, key: Key) -> bool {
    world.transfers.get(key).is_some_and(|transfer| matches!(transfer.kind, TransferKind::Push(_)))
}

fn happen(world: &mut World, event: Event) {
    match event {
        Event::Uplink(node) => super::transfer::uplink(world, node),
        Event::Asked(key) => pull::asked(world, key),
        Event::Elsewhere(key) => pull::elsewhere(world, key),
        Event::Head(key) if is_push(world, key) => {
            let listed = push::head(world, key);
            wake(world, listed);
        }
        Event::Head(key) => pull::head(world, key),
        Event::Tail(key) if is_push(world, key) => {
            let listed = push::tail(world, key);
            wake(world, listed);
        }
        Event::Tail(key) => pull::tail(world, key),
        Event::Broken(key, why) if is_push(world, key) => push::broken(world, key, why),
        Event::Broken(key, why) => pull::broken(world, key, why),
        Event::Hedge(key) => pull::hedge(world, key),
        Event::Patience(key) => pull::patience(world, key),
        Event::Stands(key) => push::stands(world, key),
        Event::Late(key) => push::broken(world, key, Broken::Withheld),
        Event::Listed(node, life, rendition, number) => {
            let listed = push::listed(world, node, life, rendition, number);
            wake(world, listed);
        }
        Event::Orphan(node, life, object) => push::orphan(world, node, life, object),
        Event::OriginHead(object) => push::origin_head(world, object),
        Event::OriginTail(object) => push::origin_tail(world, object),
        Event::Segment(rendition, number) => {
            if let Some(old) = number.checked_sub(OLD) {
                let object = world.content.live(rendition, old);
                world.counts.old(object);
            }
            push::segment(world, rendition, number);
        }
        Event::Branch(node, life, rendition) => push::look_after(world, node, life, rendition),
        Event::Message(key) => push::message(world, key),
        Event::Trees => {
            push::poll(world);
            let at = world.now() + TREES_EVERY;
            world.queue.at(at, Event::Trees);
        }
        Event::Arrive(viewer) => watch::arrive(world, viewer),
        Event::Look(viewer, turn) => watch::look(world, viewer, turn),
        Event::Want(viewer, turn) => watch::want(world, viewer, turn),
        Event::Got(viewer, turn) => watch::got(world, viewer, turn),
        Event::Lost(viewer, turn) => watch::lost(world, viewer, turn),
        Event::Stop(viewer, viewing) => watch::stop(world, viewer, viewing),
        Event::Die(node, life) => lives::die(world, node, life),
        Event::Come(node) => lives::come(world, node),
        Event::Forget(node, life) => lives::forget(world, node, life),
        Event::Members => gossip::members(world),
        Event::Cut(region, begins) => lives::cut(world, region, begins),
        Event::Isolated(region) => lives::isolated(world, region),
        Event::Announce => gossip::announce(world),
        Event::Heard(from, node, serial) => gossip::heard(world, from, node, serial),
        Event::Second => gossip::second(world),
    }
}

fn wake(world: &mut World, listed: Option<(super::world::NodeId, super::content::Rendition)>) {
    if let Some((node, rendition)) = listed {
        watch::listed(world, node, rendition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_follow_their_curve() {
        let corners = [[0.0, 0.0], [10.0, 0.5], [20.0, 0.5], [30.0, 1.0]];
        let at = |share| arrives_at(&corners, share).map(|at| at / SECOND);
        assert_eq!([at(0.25), at(0.5), at(0.75), at(1.0)], [Some(5), Some(10), Some(25), Some(30)]);
        assert_eq!(arrives_at(&[[5.0, 0.5]], 0.6), None);
        assert_eq!(arrives_at(&[[0.0, 1.0]], 0.6), Some(0));
    }
}
