//! Hanging relays under others and taking them off, with all below them. Invariant: depths and indices agree with who
//! hangs where after each step; whoever is off the tree is in no index.

use super::{Knot, Shape};
use crate::mesh::tree::Parent;
use std::cmp::Reverse;

impl<N: Copy + Ord> Shape<N> {
    /// Takes a relay with all below it off its parent, which is returned; its place is free then.
    pub(super) fn unhang(&mut self, node: &N) -> Parent<N> {
        self.each_below(*node, Self::unindex);
        let parent = self.parent(node).unwrap_or(Parent::Root);
        self.touch(parent);
        self.change(parent, |children| children.retain(|child| child != node));
        parent
    }

    /// Hangs a relay with all below it under a parent.
    pub(super) fn hang(&mut self, node: N, parent: Parent<N>) {
        let depth = parent.node().and_then(|at| self.knots.get(&at)).map_or(1, |knot| knot.depth + 1);
        if let Some(knot) = self.knots.get_mut(&node) {
            knot.parent = parent;
            knot.depth = depth;
        }
        self.change(parent, |children| children.push(node));
        self.touch(parent);
        self.touch(Parent::Node(node));
        self.each_below(node, |tree, below| {
            let depth = match tree.parent(below) {
                Some(Parent::Node(at)) => tree.knots.get(&at).map_or(1, |knot| knot.depth + 1),
                _ => 1,
            };
            if let Some(knot) = tree.knots.get_mut(below) {
                knot.depth = depth;
            }
            tree.index(below);
        });
    }

    pub(super) fn change(&mut self, parent: Parent<N>, change: impl FnOnce(&mut Vec<N>)) {
        let Parent::Node(node) = parent else { return change(&mut self.heads) };
        // Whoever is off the tree itself is in no index.
        let placed =
            self.feeders.contains(&(self.depth(&node), node)) || self.leaves.contains(&(self.depth(&node), node));
        if placed {
            self.unindex(&node);
        }
        if let Some(knot) = self.knots.get_mut(&node) {
            change(&mut knot.children);
        }
        if placed {
            self.index(&node);
        }
    }

    pub(super) fn depth(&self, node: &N) -> u32 {
        self.knots.get(node).map_or(0, |knot| knot.depth)
    }

    /// Parents before children.
    pub(super) fn each_below(&mut self, node: N, mut visit: impl FnMut(&mut Self, &N)) {
        let mut next = vec![node];
        while let Some(one) = next.pop() {
            visit(self, &one);
            next.extend(self.children(Parent::Node(one)));
        }
    }

    pub(super) fn keys(&self, node: &N) -> Option<(u32, usize, usize)> {
        self.knots.get(node).map(|knot| (knot.depth, knot.capacity, knot.capacity.saturating_sub(knot.children.len())))
    }

    pub(super) fn index(&mut self, node: &N) {
        let Some((depth, capacity, free)) = self.keys(node) else { return };
        if free > 0 {
            self.open.insert((depth, Reverse(free), *node));
        }
        if capacity > 0 {
            self.feeders.insert((depth, *node))
        } else {
            self.leaves.insert((depth, *node))
        };
    }

    pub(super) fn unindex(&mut self, node: &N) {
        let Some((depth, _, free)) = self.keys(node) else { return };
        self.open.remove(&(depth, Reverse(free), *node));
        self.feeders.remove(&(depth, *node));
        self.leaves.remove(&(depth, *node));
    }

    /// Whose backups depend on a parent's children: the children, and theirs.
    pub(super) fn touch(&mut self, parent: Parent<N>) {
        let children = self.children(parent).to_vec();
        for child in children {
            self.touched.insert(child);
            let below = self.children(Parent::Node(child)).to_vec();
            self.touched.extend(below);
        }
    }

    /// A relay that had no place gets one.
    pub(super) fn place_new(&mut self, node: N, capacity: usize, parent: Parent<N>) {
        self.waiting.remove(&node);
        self.knots.insert(node, Knot { parent, children: Vec::new(), capacity, depth: 0 });
        self.hang(node, parent);
    }
}
