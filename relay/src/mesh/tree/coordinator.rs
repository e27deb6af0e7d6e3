//! The adapter's side of one tree: relays come, report and go, and each is told its place. It believes what it sees
//! itself before what relays say of one another: a relay is removed when it is silent, not because a child says so, and
//! it takes complaints of several before one is made a leaf.

use super::{Parent, Place, Why, shape::Shape};
use std::collections::{BTreeMap, BTreeSet};

/// How the adapter runs its trees.
#[derive(Debug, Clone, Copy)]
pub struct TreeConfig {
    /// Relays that the adapter feeds itself.
    pub root_children: usize,
    /// A relay that has not reported for so long is gone, milliseconds.
    pub silent_after_ms: u64,
    /// Likewise, when a child has lost it too.
    pub suspect_after_ms: u64,
    /// Different relays that must complain of one before it feeds nobody any more.
    pub complaints: usize,
}

impl Default for TreeConfig {
    /// One head; gone after 5 s of silence, or 2 s when a child has lost it; two complaints.
    fn default() -> Self {
        Self { root_children: 1, silent_after_ms: 5_000, suspect_after_ms: 2_000, complaints: 2 }
    }
}

/// A relay's word that it has changed its parent by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved<N> {
    /// Whom it left, and why.
    pub lost: N,
    /// Why.
    pub why: Why,
    /// Who feeds it now; `None` while nobody does.
    pub to: Option<Parent<N>>,
}

/// Relays whose place has changed; `None` means that there is no room and that the relay pulls.
type Changes<N> = Vec<(N, Option<Place<N>>)>;

#[derive(Debug)]
struct Known<N> {
    heard_ms: u64,
    suspect: bool,
    complainers: BTreeSet<N>,
    told: Option<Option<Place<N>>>,
}

/// One tree as the adapter runs it.
#[derive(Debug)]
pub struct Coordinator<N> {
    config: TreeConfig,
    shape: Shape<N>,
    known: BTreeMap<N, Known<N>>,
}

impl<N: Copy + Ord> Coordinator<N> {
    /// A tree in which nobody is.
    pub fn new(config: TreeConfig) -> Self {
        Self { shape: Shape::new(config.root_children), config, known: BTreeMap::new() }
    }

    /// Relays in the tree, with or without a place.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// True when this relay is in the tree, with or without a place.
    pub fn contains(&self, node: &N) -> bool {
        self.known.contains_key(node)
    }

    /// True when nobody is in the tree.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A relay wants to be fed and can feed so many others.
    pub fn join(&mut self, node: N, capacity: usize, now_ms: u64) -> Changes<N> {
        let fresh = Known { heard_ms: now_ms, suspect: false, complainers: BTreeSet::new(), told: None };
        self.known.insert(node, fresh);
        self.shape.join(node, capacity);
        self.changes()
    }

    /// A relay needs no more.
    pub fn leave(&mut self, node: &N) -> Changes<N> {
        self.known.remove(node);
        self.shape.leave(node);
        self.changes()
    }

    /// A relay has reported, perhaps that it has moved.
    pub fn heard(&mut self, node: N, moved: Option<Moved<N>>, now_ms: u64) -> Changes<N> {
        let Some(known) = self.known.get_mut(&node) else { return Vec::new() };
        known.heard_ms = now_ms;
        known.suspect = false;
        if let Some(Moved { lost, why, to }) = moved {
            // Only a child can have lost its parent: nobody else's word counts against a relay.
            if self.shape.parent(&node) == Some(Parent::Node(lost)) {
                self.lost(node, lost, why);
            }
            if let Some(to) = to {
                self.shape.moved(&node, to);
                if matches!(why, Why::Late | Why::Corrupt) && self.shape.parent(&node) == Some(Parent::Node(lost)) {
                    self.shape.move_away(&node);
                }
                // Wherever it is now, it must hear where it belongs.
                if let Some(known) = self.known.get_mut(&node) {
                    known.told = None;
                }
                self.shape.touch_one(node);
            }
            self.expire(&[lost], now_ms);
        }
        self.changes()
    }

    /// Time passes.
    pub fn poll(&mut self, now_ms: u64) -> Changes<N> {
        let all: Vec<N> = self.known.keys().copied().collect();
        self.expire(&all, now_ms);
        self.changes()
    }

    /// Where a relay belongs.
    pub fn place(&self, node: &N) -> Option<Place<N>> {
        self.shape.place(node)
    }

    fn lost(&mut self, child: N, parent: N, why: Why) {
        let Some(known) = self.known.get_mut(&parent) else { return };
        match why {
            Why::Gone | Why::Silent => known.suspect = true,
            Why::Late | Why::Corrupt => {
                known.complainers.insert(child);
                if known.complainers.len() >= self.config.complaints {
                    self.shape.set_capacity(&parent, 0);
                }
            }
        }
    }

    fn expire(&mut self, nodes: &[N], now_ms: u64) {
        for node in nodes {
            let Some(known) = self.known.get(node) else { continue };
            let limit = if known.suspect { self.config.suspect_after_ms } else { self.config.silent_after_ms };
            if now_ms.saturating_sub(known.heard_ms) > limit {
                self.known.remove(node);
                self.shape.leave(node);
            }
        }
    }

    fn changes(&mut self) -> Changes<N> {
        let mut changes = Vec::new();
        for node in self.shape.take_touched() {
            let place = self.shape.place(&node);
            let Some(known) = self.known.get_mut(&node) else { continue };
            if known.told.as_ref() != Some(&place) {
                known.told = Some(place.clone());
                changes.push((node, place));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(count: u16, capacity: usize) -> Coordinator<u16> {
        let mut tree = Coordinator::new(TreeConfig::default());
        for node in 0..count {
            tree.join(node, capacity, 0);
        }
        tree
    }

    fn parent(tree: &Coordinator<u16>, node: u16) -> Option<Parent<u16>> {
        tree.place(&node).map(|place| place.parent)
    }

    #[test]
    fn who_comes_is_told_a_place_and_who_is_full_is_told_that() {
        let mut tree = Coordinator::new(TreeConfig::default());
        assert!(matches!(tree.join(1u16, 0, 0)[..], [(1, Some(_))]));
        assert_eq!(tree.join(2, 0, 0), vec![(2, None)]);
        // One that can feed others takes the first place, and both leaves hang below it.
        let changes = tree.join(3, 2, 0);
        assert_eq!(changes.len(), 3);
        assert!(changes.iter().all(|(_, place)| place.is_some()));
        assert_eq!(parent(&tree, 3), Some(Parent::Root));
    }

    #[test]
    fn a_child_that_lost_its_parent_does_not_remove_it_but_its_silence_does() {
        let mut tree = tree(7, 2);
        let lost = Moved { lost: 0, why: Why::Silent, to: Some(Parent::Root) };
        tree.heard(0, None, 1_000);
        for node in 1..7 {
            tree.heard(node, None, 1_900);
        }
        tree.heard(1, Some(lost), 2_000);
        assert_eq!(parent(&tree, 0), Some(Parent::Root), "it has reported a second ago");
        let changes = tree.poll(3_100);
        assert_eq!(tree.len(), 6);
        assert!(!changes.is_empty());
        assert!((1..7).all(|node| parent(&tree, node).is_some_and(|parent| parent != Parent::Node(0))));
    }

    #[test]
    fn two_complaints_make_a_leaf_and_one_does_not() {
        let mut tree = tree(7, 2);
        let children: Vec<u16> = (1..7).filter(|node| parent(&tree, *node) == Some(Parent::Node(0))).collect();
        assert_eq!(children.len(), 2);
        let complain =
            |tree: &mut Coordinator<u16>, node| tree.heard(node, Some(Moved { lost: 0, why: Why::Late, to: None }), 10);
        complain(&mut tree, children[0]);
        // Somebody who is not its child complains in vain.
        complain(&mut tree, 6);
        assert_eq!(parent(&tree, 0), Some(Parent::Root));
        complain(&mut tree, children[1]);
        assert_ne!(parent(&tree, 0), Some(Parent::Root));
        assert!((1..7).all(|node| parent(&tree, node) != Some(Parent::Node(0))));
    }
}
