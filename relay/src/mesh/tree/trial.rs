//! The whole of it in a small world without a network: relays come, leave, are killed and fall silent in any order,
//! messages take their time, and at the end nobody who is left has missed an object, or knows which.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Node = u16;

/// Objects appear this often; the window reaches back 16 s.
const OBJECT_EVERY_MS: u64 = 500;
const TICK_EVERY_MS: u64 = 250;
const REPORT_EVERY_MS: u64 = 1_000;
const WINDOW: usize = 32;
const EPOCH: u64 = 1;
const ROOT: Node = 0;
const ROOT_SEATS: usize = 8;
const SPARE_SEATS: usize = 2;

#[derive(Debug, Clone)]
enum Message {
    Placed(Option<Place<Node>>),
    Join,
    Leave,
    Report(Option<Moved<Node>>),
    Subscribe(Position),
    Accepted(u64),
    Redirect(Vec<Node>),
    Refused,
    Object(u64),
    Heard(Heard),
    Closed,
    Unsubscribe,
}

struct Relay {
    capacity: usize,
    branch: Branch<Node>,
    window: Window<()>,
    got: BTreeSet<u64>,
    first: Option<u64>,
    /// Objects that its only parent could not send any more: it knows, and fetches them like anything when asked.
    unfilled: BTreeSet<u64>,
    children: BTreeSet<Node>,
    /// Neither sends nor hears.
    dead: bool,
    died_ms: u64,
}

/// A parent gives up the seat of a child that has said nothing for so long.
const SEAT_MS: u64 = 3_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Deliver(Node, Node, u64),
    Tick,
    Object,
    Report,
    Poll,
}

struct World {
    now_ms: u64,
    queue: BTreeSet<(u64, u64, At)>,
    messages: BTreeMap<u64, Message>,
    serial: u64,
    coordinator: Coordinator<Node>,
    relays: BTreeMap<Node, Relay>,
    emitted: u64,
}

impl World {
    fn new() -> Self {
        let window = Window::new(EPOCH, 1, WINDOW);
        let root = Relay {
            capacity: ROOT_SEATS,
            branch: Branch::new(ROOT),
            window,
            got: BTreeSet::new(),
            first: None,
            unfilled: BTreeSet::new(),
            children: BTreeSet::new(),
            dead: false,
            died_ms: 0,
        };
        let mut world = Self {
            now_ms: 0,
            queue: BTreeSet::new(),
            messages: BTreeMap::new(),
            serial: 0,
            coordinator: Coordinator::new(TreeConfig::default()),
            relays: BTreeMap::from([(ROOT, root)]),
            emitted: 0,
        };
        for at in [At::Tick, At::Object, At::Report, At::Poll] {
            world.at(1, at);
        }
        world
    }

    fn at(&mut self, after_ms: u64, what: At) {
        self.serial += 1;
        self.queue.insert((self.now_ms + after_ms, self.serial, what));
    }

    fn send(&mut self, from: Node, to: Node, message: Message) {
        // Some ways are longer; on one way nothing is overtaken.
        let delay = 5 + u64::from((from ^ to) % 7) * 5;
        self.serial += 1;
        let serial = self.serial;
        self.messages.insert(serial, message);
        self.queue.insert((self.now_ms + delay, serial, At::Deliver(from, to, serial)));
    }

    fn tell(&mut self, changes: Vec<(Node, Option<Place<Node>>)>) {
        for (node, place) in changes {
            self.send(ROOT, node, Message::Placed(place));
        }
    }

    fn join(&mut self, node: Node, capacity: usize) {
        if self.relays.contains_key(&node) {
            return;
        }
        let fresh = Relay {
            capacity,
            branch: Branch::new(node),
            window: Window::new(0, 0, WINDOW),
            got: BTreeSet::new(),
            first: None,
            unfilled: BTreeSet::new(),
            children: BTreeSet::new(),
            dead: false,
            died_ms: 0,
        };
        self.relays.insert(node, fresh);
        self.send(node, ROOT, Message::Join);
    }

    /// Leaves in good order: everybody hears of it.
    fn leave(&mut self, node: Node) {
        let Some(relay) = self.relays.remove(&node) else { return };
        self.send(node, ROOT, Message::Leave);
        for child in relay.children {
            self.send(node, child, Message::Closed);
        }
        if let Some(parent) = relay.branch.parent() {
            self.send(node, parent.node().unwrap_or(ROOT), Message::Unsubscribe);
        }
    }

    /// Is gone without a word.
    fn kill(&mut self, node: Node) {
        if let Some(relay) = self.relays.get_mut(&node) {
            relay.dead = true;
            relay.died_ms = self.now_ms;
        }
    }

    fn run(&mut self, until_ms: u64) {
        while let Some((at, _, what)) = self.queue.first().cloned() {
            if at > until_ms {
                break;
            }
            self.queue.pop_first();
            self.now_ms = at;
            self.step(what);
        }
        self.now_ms = until_ms;
    }

    fn step(&mut self, what: At) {
        match what {
            At::Deliver(from, to, serial) => {
                let Some(message) = self.messages.remove(&serial) else { return };
                if self.relays.get(&to).is_some_and(|relay| !relay.dead) {
                    self.hear(from, to, message);
                }
            }
            At::Object => {
                self.emitted += 1;
                self.got(ROOT, self.emitted);
                self.at(OBJECT_EVERY_MS, At::Object);
            }
            At::Tick => {
                let now_ms = self.now_ms;
                let alive = self.relays.iter().filter(|(_, relay)| !relay.dead);
                let ticks: Vec<(Node, Node, u64)> = alive
                    .flat_map(|(node, relay)| {
                        let age = if *node == ROOT { 0 } else { relay.branch.root_age_ms(now_ms).unwrap_or(60_000) };
                        relay.children.iter().map(move |child| (*node, *child, age))
                    })
                    .collect();
                for (from, to, root_age_ms) in ticks {
                    self.send(from, to, Message::Heard(Heard { root_age_ms }));
                }
                self.at(TICK_EVERY_MS, At::Tick);
            }
            At::Report => {
                for node in self.alive() {
                    self.send(node, ROOT, Message::Report(None));
                }
                self.at(REPORT_EVERY_MS, At::Report);
            }
            At::Poll => {
                for node in self.alive() {
                    let now_ms = self.now_ms;
                    let Some(relay) = self.relays.get_mut(&node) else { continue };
                    let step = relay.branch.poll(now_ms);
                    self.act(node, step);
                    self.report(node);
                }
                self.give_up_seats();
                let changes = self.coordinator.poll(self.now_ms);
                self.tell(changes);
                self.at(50, At::Poll);
            }
        }
    }

    /// Children that are gone, or that have turned to others and closed their streams.
    fn give_up_seats(&mut self) {
        let left = |parent: Node, child: &Node| {
            let Some(relay) = self.relays.get(child) else { return true };
            let parent = if parent == ROOT { Parent::Root } else { Parent::Node(parent) };
            let is_here = relay.branch.parent() == Some(parent) || relay.branch.trying() == Some(parent);
            if relay.dead { self.now_ms > relay.died_ms + SEAT_MS } else { !is_here }
        };
        let gone: Vec<(Node, Node)> = self
            .relays
            .iter()
            .flat_map(|(node, relay)| relay.children.iter().map(|child| (*node, *child)))
            .filter(|(node, child)| left(*node, child))
            .collect();
        for (node, child) in gone {
            if let Some(relay) = self.relays.get_mut(&node) {
                relay.children.remove(&child);
            }
        }
    }

    fn alive(&self) -> Vec<Node> {
        self.relays.iter().filter(|(node, relay)| **node != ROOT && !relay.dead).map(|(node, _)| *node).collect()
    }

    fn report(&mut self, node: Node) {
        if let Some(moved) = self.relays.get_mut(&node).and_then(|relay| relay.branch.take_moved()) {
            self.send(node, ROOT, Message::Report(Some(moved)));
        }
    }

    fn act(&mut self, node: Node, step: Step<Node>) {
        let Step::Subscribe(parent) = step else { return };
        let Some(relay) = self.relays.get(&node) else { return };
        let position = Position { epoch: relay.window.epoch(), next: relay.window.next(), running: Vec::new() };
        let parent = parent.node().unwrap_or(ROOT);
        // To whom there is no connection any more, none can be made: the time-out tells.
        self.send(node, parent, Message::Subscribe(position));
    }

    fn got(&mut self, node: Node, number: u64) {
        let Some(relay) = self.relays.get_mut(&node) else { return };
        relay.first.get_or_insert(number);
        relay.got.insert(number);
        if relay.window.insert(number, (), number % 2 == 1) {
            let children: Vec<Node> = relay.children.iter().copied().collect();
            for child in children {
                self.send(node, child, Message::Object(number));
            }
        }
    }

    fn hear(&mut self, from: Node, to: Node, message: Message) {
        let now_ms = self.now_ms;
        let parent = if from == ROOT { Parent::Root } else { Parent::Node(from) };
        let Some(relay) = self.relays.get_mut(&to) else { return };
        match message {
            Message::Join => {
                let capacity = self.relays.get(&from).map_or(0, |relay| relay.capacity);
                let changes = self.coordinator.join(from, capacity, now_ms);
                self.tell(changes);
            }
            Message::Leave => {
                let changes = self.coordinator.leave(&from);
                self.tell(changes);
            }
            Message::Report(moved) => {
                let changes = self.coordinator.heard(from, moved, now_ms);
                self.tell(changes);
            }
            Message::Placed(place) => {
                let step = relay.branch.placed(place, now_ms);
                self.act(to, step);
            }
            Message::Subscribe(position) => {
                let seats = if to == ROOT {
                    ROOT_SEATS
                } else if relay.capacity < 2 {
                    0
                } else {
                    relay.capacity + SPARE_SEATS
                };
                if relay.children.len() >= seats && !relay.children.contains(&from) {
                    let children = relay.children.iter().copied().collect();
                    return self.send(to, from, Message::Redirect(children));
                }
                if relay.window.epoch() == 0 {
                    // Not fed itself yet.
                    return self.send(to, from, Message::Refused);
                }
                relay.children.insert(from);
                let start = relay.window.first_for(&position);
                let missing: Vec<u64> =
                    relay.window.missing(&position).into_iter().map(|(number, ..)| number).collect();
                self.send(to, from, Message::Accepted(start));
                for number in missing {
                    self.send(to, from, Message::Object(number));
                }
            }
            Message::Accepted(start) => {
                let former = relay.branch.parent();
                if relay.branch.trying() != Some(parent) {
                    if former != Some(parent) {
                        return self.send(to, from, Message::Unsubscribe);
                    }
                    if start > relay.window.next() {
                        // It has turned to somebody who lacks what is missing here.
                        let step = relay.branch.lost(parent, Why::Gone, now_ms);
                        self.send(to, from, Message::Unsubscribe);
                        self.act(to, step);
                        self.report(to);
                    }
                    return;
                }
                if relay.window.epoch() == 0 {
                    relay.window = Window::new(EPOCH, start, WINDOW);
                }
                if start > relay.window.next() {
                    if relay.branch.is_choosy() {
                        let step = relay.branch.refused(parent, &[], now_ms);
                        self.send(to, from, Message::Unsubscribe);
                        return self.act(to, step);
                    }
                    relay.unfilled.extend(relay.window.next()..start);
                    relay.window.advance_to(start);
                }
                relay.branch.accepted(parent, now_ms);
                // As always when this relay hangs elsewhere, its children hear what they can be sent from now on.
                let all = Position { epoch: EPOCH, ..Position::default() };
                let told = Message::Accepted(relay.window.first_for(&all));
                for child in relay.children.clone() {
                    self.send(to, child, told.clone());
                }
                if let Some(former) = former {
                    self.send(to, former.node().unwrap_or(ROOT), Message::Unsubscribe);
                }
                self.report(to);
            }
            Message::Redirect(children) => {
                let step = relay.branch.refused(parent, &children, now_ms);
                self.act(to, step);
            }
            Message::Refused | Message::Closed => {
                let step = relay.branch.lost(parent, Why::Gone, now_ms);
                self.act(to, step);
                self.report(to);
            }
            // From a parent that was turned away before any was accepted: its subscription is gone, so nobody takes it in.
            Message::Object(_) if relay.window.epoch() == 0 => {}
            Message::Object(number) => self.got(to, number),
            Message::Heard(heard) => relay.branch.heard(parent, heard, now_ms),
            Message::Unsubscribe => {
                relay.children.remove(&from);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Event {
    Join(Node, usize),
    Leave(Node),
    Kill(Node),
}

fn event() -> impl Strategy<Value = (u64, Event)> {
    let node = 1u16..40;
    let event = prop_oneof![
        6 => (node.clone(), 0usize..5).prop_map(|(node, capacity)| Event::Join(node, capacity)),
        2 => node.clone().prop_map(Event::Leave),
        2 => node.prop_map(Event::Kill),
    ];
    (prop_oneof![Just(1), 1u64..50, 200u64..2_000], event)
}

/// After the last event there is time for everything to be noticed and repaired.
const CALM_MS: u64 = 15_000;

/// Nobody misses an object without knowing it; the number of those who know that they do.
fn run_to_the_end(events: Vec<(u64, Event)>) -> usize {
    let mut world = World::new();
    let mut at = 0;
    for (gap, event) in events {
        at += gap;
        world.run(at);
        match event {
            Event::Join(node, capacity) => world.join(node, capacity),
            Event::Leave(node) => world.leave(node),
            Event::Kill(node) => world.kill(node),
        }
    }
    world.run(at + CALM_MS);
    // What has just been sent out has arrived.
    let settled = world.emitted.saturating_sub(2);
    let mut unfilled = 0;
    for node in world.alive() {
        let relay = &world.relays[&node];
        if world.coordinator.place(&node).is_none() {
            continue;
        }
        assert!(relay.branch.parent().is_some(), "{node} has no parent: {:?}", relay.branch);
        let first = relay.first.unwrap_or_else(|| panic!("{node} has got nothing: {:?}", relay.branch));
        let missed: Vec<u64> = (first..=settled)
            .filter(|number| !relay.got.contains(number) && !relay.unfilled.contains(number))
            .collect();
        unfilled += usize::from(!relay.unfilled.is_empty());
        assert!(missed.is_empty(), "{node} has missed {missed:?} of {first} to {settled}: {:?}", relay.branch);
    }
    assert!(world.relays[&ROOT].children.iter().filter(|child| world.alive().contains(child)).count() <= ROOT_SEATS);
    unfilled
}

fn nobody_has_missed_anything(events: Vec<(u64, Event)>) {
    assert_eq!(run_to_the_end(events), 0, "relays that could not be sent all");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nobody_misses_an_object_unknowingly_whoever_comes_and_goes(events in prop::collection::vec(event(), 1..60)) {
        run_to_the_end(events);
    }
}

#[test]
fn any_one_relay_of_many_may_be_killed() {
    for killed in 1..=30 {
        let mut events: Vec<(u64, Event)> = (1..=30).map(|node| (5, Event::Join(node, 2))).collect();
        events.push((10_000, Event::Kill(killed)));
        nobody_has_missed_anything(events);
    }
}

#[test]
fn three_at_once_may_be_killed_and_it_takes_a_second_and_a_half() {
    let mut world = World::new();
    for node in 1..=20 {
        world.join(node, 4);
        world.run(u64::from(node) * 5);
    }
    world.run(10_000);
    let killed: Vec<Node> =
        world.alive().into_iter().filter(|node| !world.relays[node].children.is_empty()).take(3).collect();
    for node in &killed {
        world.kill(*node);
    }
    // A second of silence, a tick's grace, one round trip, and whatever was missed.
    world.run(11_600);
    let newest = world.emitted - 1;
    for node in world.alive() {
        assert!(
            world.relays[&node].got.contains(&newest),
            "{node} is behind {newest}: {:?}",
            world.relays[&node].branch
        );
    }
}
