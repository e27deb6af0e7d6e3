//! Bringing a tree back into its shape by moving few relays. Invariant: when nothing is left to do, nobody waits beside a
//! free place, no leaf is nearer to the root than a relay that can feed others, and nobody is more than one step deeper
//! than a free place.

use super::Shape;
use crate::mesh::tree::Parent;
use std::cmp::Reverse;

impl<N: Copy + Ord> Shape<N> {
    /// The nearest free place, for what is off the tree.
    pub(super) fn free_place(&self) -> Option<Parent<N>> {
        if self.heads.len() < self.root_children {
            return Some(Parent::Root);
        }
        self.open.first().map(|(_, _, node)| Parent::Node(*node))
    }

    /// Places what hangs nowhere now; where there is no room, the root feeds those that feed others, until a place is
    /// free, and leaves wait.
    pub(super) fn adopt(&mut self, orphans: Vec<N>) {
        for orphan in orphans {
            match self.free_place() {
                Some(parent) => self.hang(orphan, parent),
                None if self.feeds(&orphan) => self.hang(orphan, Parent::Root),
                None => self.shelve(orphan),
            }
        }
    }

    /// No room for a leaf.
    fn shelve(&mut self, node: N) {
        if let Some(knot) = self.knots.remove(&node) {
            self.waiting.insert(node, knot.capacity);
            self.touched.insert(node);
        }
    }

    pub(super) fn settle(&mut self) {
        while self.admit() || self.relieve_root() || self.lift() || self.level() {}
    }

    /// Gives a place to one that waits, those that feed others first.
    fn admit(&mut self) -> bool {
        let Some((node, capacity)) =
            self.waiting.iter().max_by_key(|(node, capacity)| (**capacity, Reverse(**node))).map(|(n, c)| (*n, *c))
        else {
            return false;
        };
        let parent = match self.free_place() {
            Some(parent) => parent,
            // It takes the place of a leaf, which hangs below it then.
            None if capacity > 0 => {
                let Some((_, leaf)) = self.leaves.first().copied() else { return false };
                let parent = self.unhang(&leaf);
                self.place_new(node, capacity, parent);
                self.hang(leaf, Parent::Node(node));
                return true;
            }
            None => return false,
        };
        self.place_new(node, capacity, parent);
        true
    }

    /// The root feeds more than it should, because there was no room: one of them goes to a place that is free now.
    fn relieve_root(&mut self) -> bool {
        if self.heads.len() <= self.root_children {
            return false;
        }
        // The last that came, and of those the first for which there is a place outside its own subtree.
        for head in self.heads.clone().into_iter().rev() {
            let outside = self.open.iter().map(|(_, _, node)| *node);
            let found = outside.into_iter().find(|node| !self.hangs_below(Parent::Node(*node), &head));
            if let Some(node) = found {
                self.unhang(&head);
                self.hang(head, Parent::Node(node));
                return true;
            }
        }
        false
    }

    /// A leaf is nearer to the root than a relay that can feed others: they change places.
    fn lift(&mut self) -> bool {
        let (Some((high, leaf)), Some((low, feeder))) = (self.leaves.first().copied(), self.feeders.last().copied())
        else {
            return false;
        };
        if high >= low {
            return false;
        }
        let (above, below) = (self.unhang(&leaf), self.unhang(&feeder));
        self.hang(feeder, above);
        self.hang(leaf, below);
        true
    }

    /// Somebody is more than one step deeper than a free place: it moves there.
    fn level(&mut self) -> bool {
        let deepest =
            self.feeders.last().into_iter().chain(self.leaves.last()).max_by_key(|(depth, _)| *depth).copied();
        let (Some((depth, node)), Some((at, _, free))) = (deepest, self.open.first().copied()) else { return false };
        // Nobody hangs below the deepest, so no circle comes of it.
        if depth <= at + 2 {
            return false;
        }
        self.unhang(&node);
        self.hang(node, Parent::Node(free));
        true
    }
}
