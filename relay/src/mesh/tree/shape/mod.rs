//! The tree itself: who hangs where. Every change leaves it nearly complete by moving few relays, each alone or with
//! all that hangs below it.
//!
//! Invariants, whatever comes in whatever order: no circle; children never exceed capacity; no relay that can feed
//! others is deeper than one that cannot; no relay is more than one step deeper than a free place; whoever has no place
//! has none because there is none.

mod hang;
mod settle;

use super::{LEAST_CHILDREN, Parent, Place};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// Relays looked at when another's place is to be taken over.
const SUCCESSORS: usize = 16;
/// Backups that are told, the adapter included.
const MAX_BACKUPS: usize = 4;

#[derive(Debug)]
struct Knot<N> {
    parent: Parent<N>,
    children: Vec<N>,
    /// Children it may have; 0 is a leaf.
    capacity: usize,
    depth: u32,
}

/// One tree.
#[derive(Debug)]
pub(super) struct Shape<N> {
    knots: BTreeMap<N, Knot<N>>,
    heads: Vec<N>,
    root_children: usize,
    /// Known, but without a place: nobody has room.
    waiting: BTreeMap<N, usize>,
    /// Placed relays with room, by depth, most room first.
    open: BTreeSet<(u32, Reverse<usize>, N)>,
    /// All placed relays, by whether they can feed others and by depth.
    feeders: BTreeSet<(u32, N)>,
    leaves: BTreeSet<(u32, N)>,
    touched: BTreeSet<N>,
}

fn slots(capacity: usize) -> usize {
    if capacity < LEAST_CHILDREN { 0 } else { capacity }
}

impl<N: Copy + Ord> Shape<N> {
    /// An empty tree whose root feeds so many relays itself.
    pub(super) fn new(root_children: usize) -> Self {
        Self {
            knots: BTreeMap::new(),
            heads: Vec::new(),
            root_children: root_children.max(1),
            waiting: BTreeMap::new(),
            open: BTreeSet::new(),
            feeders: BTreeSet::new(),
            leaves: BTreeSet::new(),
            touched: BTreeSet::new(),
        }
    }

    pub(super) fn contains(&self, node: &N) -> bool {
        self.knots.contains_key(node) || self.waiting.contains_key(node)
    }

    pub(super) fn len(&self) -> usize {
        self.knots.len() + self.waiting.len()
    }

    pub(super) fn parent(&self, node: &N) -> Option<Parent<N>> {
        self.knots.get(node).map(|knot| knot.parent)
    }

    /// A relay comes, able to feed so many others.
    pub(super) fn join(&mut self, node: N, capacity: usize) {
        if self.contains(&node) {
            return self.set_capacity(&node, capacity);
        }
        self.waiting.insert(node, slots(capacity));
        self.touched.insert(node);
        self.settle();
    }

    /// A relay goes. Another that nobody will miss at its place, the deepest that can feed others, takes over its place
    /// and its children: nothing below them moves, and nobody gets deeper.
    pub(super) fn leave(&mut self, node: &N) {
        self.waiting.remove(node);
        let Some(children) = self.knots.get(node).map(|knot| knot.children.len()) else { return };
        let successor = (children > 0).then(|| self.successor(node)).flatten();
        let mut orphans = Vec::new();
        if let Some(successor) = successor {
            self.unhang(&successor);
            orphans.extend(self.disown(&successor));
        }
        let parent = self.unhang(node);
        let mut heirs = self.disown(node);
        self.knots.remove(node);
        self.touched.remove(node);
        if let Some(successor) = successor {
            self.hang(successor, parent);
            let room = self.knots.get(&successor).map_or(0, |knot| knot.capacity);
            let rest = heirs.split_off(room.min(heirs.len()));
            for heir in std::mem::replace(&mut heirs, rest) {
                self.hang(heir, Parent::Node(successor));
            }
        }
        orphans.extend(heirs);
        self.adopt(orphans);
        self.settle();
    }

    /// Who takes a leaving relay's place: the child that can feed most if it feeds nobody yet, otherwise one of the
    /// deepest.
    fn successor(&self, node: &N) -> Option<N> {
        let feeds_nobody = |one: &N| self.knots.get(one).is_some_and(|knot| knot.children.is_empty());
        if let Some(heir) = self.heir(node).filter(feeds_nobody) {
            return Some(heir);
        }
        let (needed, depth) = (self.children(Parent::Node(*node)).len(), self.depth(node));
        // Deeper than the one that leaves, so none that it hangs below; or beside it, with nothing to leave behind.
        let free = |(at, one): &&(u32, N)| *at > depth || (*at == depth && one != node && feeds_nobody(one));
        let deepest = || self.feeders.iter().rev().filter(free).map(|(_, one)| *one).take(SUCCESSORS);
        let fits = |one: &N| self.knots.get(one).is_some_and(|knot| knot.capacity >= needed);
        deepest().find(fits).or_else(|| deepest().next())
    }

    /// Takes a relay's children from it, each off the tree with all below it.
    fn disown(&mut self, node: &N) -> Vec<N> {
        let children = self.children(Parent::Node(*node)).to_vec();
        for child in &children {
            self.unhang(child);
        }
        children
    }

    /// What a relay can feed has changed.
    pub(super) fn set_capacity(&mut self, node: &N, capacity: usize) {
        let capacity = slots(capacity);
        if let Some(waiting) = self.waiting.get_mut(node) {
            *waiting = capacity;
        }
        let Some(knot) = self.knots.get(node).filter(|knot| knot.capacity != capacity) else { return self.settle() };
        let surplus: Vec<N> = knot.children.iter().skip(capacity).copied().collect();
        for orphan in &surplus {
            self.unhang(orphan);
        }
        self.unindex(node);
        if let Some(knot) = self.knots.get_mut(node) {
            knot.capacity = capacity;
        }
        self.index(node);
        self.adopt(surplus);
        self.settle();
    }

    /// A relay has found itself another parent. It stays there when there is room and no circle comes of it.
    pub(super) fn moved(&mut self, node: &N, parent: Parent<N>) {
        let Some(knot) = self.knots.get(node) else { return };
        let room = match parent {
            Parent::Root => self.heads.len() < self.root_children,
            Parent::Node(at) => {
                self.knots.get(&at).is_some_and(|knot| knot.children.len() < knot.capacity)
                    && !self.hangs_below(parent, node)
            }
        };
        if knot.parent == parent || !room {
            return;
        }
        self.unhang(node);
        self.hang(*node, parent);
        self.settle();
    }

    /// A relay must not stay where it hangs: it goes to the nearest free place elsewhere, if there is one.
    pub(super) fn move_away(&mut self, node: &N) {
        let parent = self.parent(node);
        let elsewhere = self
            .open
            .iter()
            .map(|(_, _, at)| *at)
            .find(|at| Some(Parent::Node(*at)) != parent && !self.hangs_below(Parent::Node(*at), node));
        if let (Some(_), Some(at)) = (parent, elsewhere) {
            self.unhang(node);
            self.hang(*node, Parent::Node(at));
            self.settle();
        }
    }

    /// Where a relay hangs and whom it turns to; `None` while there is no room for it.
    pub(super) fn place(&self, node: &N) -> Option<Place<N>> {
        let knot = self.knots.get(node)?;
        let mut backups = Vec::with_capacity(MAX_BACKUPS);
        if let Parent::Node(parent) = knot.parent {
            let above = self.knots.get(&parent).map_or(Parent::Root, |knot| knot.parent);
            let uncles: Vec<N> =
                self.children(above).iter().copied().filter(|uncle| *uncle != parent && self.feeds(uncle)).collect();
            let siblings = self.children(knot.parent);
            let index = siblings.iter().position(|sibling| sibling == node).unwrap_or(0);
            let uncle = uncles.get(index % uncles.len().max(1)).copied().map(Parent::Node);
            match self.heir(&parent) {
                // When the parent dies, one child takes its place, and the others come to it or to uncles: so nobody
                // gets all orphans at once.
                Some(heir) if heir != *node => backups.extend(uncle.into_iter().chain([Parent::Node(heir), above])),
                _ => backups.extend([above].into_iter().chain(uncle)),
            }
            backups.retain(|backup| *backup != Parent::Root);
        }
        backups.push(Parent::Root);
        Some(Place { parent: knot.parent, backups, depth: knot.depth })
    }

    /// Relays whose place may have changed since the last call.
    pub(super) fn take_touched(&mut self) -> BTreeSet<N> {
        std::mem::take(&mut self.touched)
    }

    /// This relay must be told its place again.
    pub(super) fn touch_one(&mut self, node: N) {
        self.touched.insert(node);
    }

    fn feeds(&self, node: &N) -> bool {
        self.knots.get(node).is_some_and(|knot| knot.capacity > 0)
    }

    fn children(&self, parent: Parent<N>) -> &[N] {
        match parent {
            Parent::Root => &self.heads,
            Parent::Node(node) => self.knots.get(&node).map_or(&[], |knot| &knot.children),
        }
    }

    /// The child that would take a relay's place: the one that can feed most.
    fn heir(&self, node: &N) -> Option<N> {
        let capacity = |child: &&N| self.knots.get(child).map_or(0, |knot| knot.capacity);
        self.children(Parent::Node(*node)).iter().rev().filter(|child| self.feeds(child)).max_by_key(capacity).copied()
    }

    fn hangs_below(&self, mut at: Parent<N>, node: &N) -> bool {
        while let Parent::Node(one) = at {
            if one == *node {
                return true;
            }
            at = self.parent(&one).unwrap_or(Parent::Root);
        }
        false
    }
}

#[cfg(test)]
mod tests;
