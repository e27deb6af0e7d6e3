//! The shape's invariants, whatever comes.

use super::*;
use proptest::prelude::*;

impl Shape<u16> {
    fn check(&self) {
        let mut seen = BTreeSet::new();
        let mut next: Vec<(u16, Parent<u16>, u32)> = self.heads.iter().map(|head| (*head, Parent::Root, 1)).collect();
        while let Some((node, parent, depth)) = next.pop() {
            assert!(seen.insert(node), "{node} hangs twice");
            let knot = &self.knots[&node];
            assert_eq!((knot.parent, knot.depth), (parent, depth));
            assert!(knot.children.len() <= knot.capacity, "{node} feeds too many");
            next.extend(knot.children.iter().map(|child| (*child, Parent::Node(node), depth + 1)));
        }
        assert_eq!(seen.len(), self.knots.len(), "somebody hangs nowhere");
        let deepest = self.knots.values().map(|knot| knot.depth).max().unwrap_or(0);
        let bound = f64::from(u32::try_from(self.knots.len()).unwrap_or(u32::MAX) + 1).log2() + 3.0;
        assert!(f64::from(deepest) <= bound, "depth {deepest} of {} relays", self.knots.len());
        assert!(self.waiting.is_empty() || self.free_place().is_none(), "somebody waits beside a free place");
        if self.heads.len() > self.root_children {
            let room: usize = self.knots.values().map(|knot| knot.capacity - knot.children.len()).sum();
            let outside = self
                .heads
                .iter()
                .any(|head| self.open.iter().any(|(_, _, node)| !self.hangs_below(Parent::Node(*node), head)));
            assert!(!outside, "the root feeds {} though {room} places are free", self.heads.len());
        }
        for node in self.knots.keys() {
            let Some(place) = self.place(node) else { panic!("{node} has a knot but no place") };
            assert_eq!(place.backups.last(), Some(&Parent::Root));
            assert!(place.backups.len() <= MAX_BACKUPS);
            for backup in &place.backups {
                assert!(!self.hangs_below(*backup, node), "{node} would turn to what it feeds");
                assert!(backup.node().is_none_or(|backup| self.knots.contains_key(&backup)));
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Event {
    Join(u16, usize),
    Leave(u16),
    Capacity(u16, usize),
    Moved(u16, u16),
    Away(u16),
}

fn event(nodes: u16) -> impl Strategy<Value = Event> {
    let node = 0..nodes;
    prop_oneof![
        5 => (node.clone(), 0usize..6).prop_map(|(node, capacity)| Event::Join(node, capacity)),
        3 => node.clone().prop_map(Event::Leave),
        1 => (node.clone(), 0usize..6).prop_map(|(node, capacity)| Event::Capacity(node, capacity)),
        1 => node.clone().prop_map(Event::Away),
        1 => (node.clone(), node).prop_map(|(node, to)| Event::Moved(node, to)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn it_keeps_its_shape_whatever_comes(
        events in prop_oneof![prop::collection::vec(event(60), 1..120), prop::collection::vec(event(7), 1..60)],
        roots in 1usize..3,
    ) {
        let mut shape = Shape::new(roots);
        for event in events {
            match event {
                Event::Join(node, capacity) => shape.join(node, capacity),
                Event::Leave(node) => shape.leave(&node),
                Event::Capacity(node, capacity) => shape.set_capacity(&node, capacity),
                Event::Away(node) => shape.move_away(&node),
                Event::Moved(node, to) => shape.moved(&node, Parent::Node(to)),
            }
            shape.check();
        }
    }

    #[test]
    fn few_move_when_one_comes_or_goes(count in 2u16..300, capacity in 2usize..6, gone in any::<prop::sample::Index>()) {
        let mut shape = Shape::new(1);
        let parents = |shape: &Shape<u16>| -> BTreeMap<u16, Parent<u16>> {
            shape.knots.iter().map(|(node, knot)| (*node, knot.parent)).collect()
        };
        for node in 0..count {
            let before = parents(&shape);
            shape.join(node, capacity);
            let moved = before.iter().filter(|(node, parent)| shape.knots[node].parent != **parent).count();
            prop_assert_eq!(moved, 0, "a relay that comes moves nobody");
        }
        let before = parents(&shape);
        let gone = u16::try_from(gone.index(usize::from(count))).unwrap_or(0);
        let children = shape.knots[&gone].children.len();
        shape.leave(&gone);
        let moved = shape.knots.iter().filter(|(node, knot)| before[node] != knot.parent).count();
        prop_assert!(moved <= children + 1, "{} moved for {} children", moved, children);
        shape.check();
    }
}

#[test]
fn everybody_is_fed_when_some_can_feed() {
    let mut shape = Shape::new(1);
    // Leaves come first: there is room for one of them.
    for leaf in 0..5 {
        shape.join(leaf, 0);
    }
    assert_eq!(shape.knots.len(), 1);
    shape.join(10, 3);
    assert_eq!(shape.parent(&10), Some(Parent::Root));
    assert_eq!(shape.knots.len(), 4);
    shape.join(11, 2);
    shape.check();
    assert!(shape.waiting.len() == 1 && shape.place(&4).is_none());
}

#[test]
fn ten_thousand_relays_hang_no_deeper_than_they_must() {
    let mut shape = Shape::new(1);
    for node in 0..10_000u16 {
        shape.join(node, 4);
    }
    let deepest = shape.knots.values().map(|knot| knot.depth).max();
    // 1 + 4 + … + 4^6 = 5461 relays fit in seven steps.
    assert_eq!(deepest, Some(8));
    for node in 0..5_000u16 {
        shape.leave(&node);
    }
    shape.check();
}
