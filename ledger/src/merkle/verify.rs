//! The checks of somebody who has no leaves, only a root and a size that a publisher signed together.
//!
//! The algorithms are those of RFC 9162 sections 2.1.3.2 and 2.1.4.2, which spells out what RFC 6962 leaves to the
//! reader for the same tree. Invariant: a proof has exactly one acceptable length, and work is bounded by it.
//!
//! A root alone does not fix its tree's size (the proof of leaf 0 is the same for three leaves and for four), so size
//! and root must come from one signed checkpoint.

use crate::merkle::hash::{LeafHash, NodeHash, RootHash};
use crate::merkle::size::TreeSize;

/// Hashes that no proof exceeds: a tree of 64-bit size is at most 64 levels high, and a consistency proof names one
/// subtree more than it has levels.
pub const MAX_PATH: usize = 65;

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The leaf's number is not below the tree's size.
    #[error("leaf {index} cannot be in a tree of {size} leaves")]
    NoSuchLeaf {
        /// The leaf's number, from zero.
        index: u64,
        /// The tree's size.
        size: TreeSize,
    },
    /// The tree that was called newer is smaller.
    #[error("a tree of {new} leaves cannot continue one of {old}")]
    Shrunk {
        /// The size that was called older.
        old: TreeSize,
        /// The size that was called newer.
        new: TreeSize,
    },
    /// The proof has too few or too many hashes for these sizes.
    #[error("a proof of {0} hashes does not fit the tree's shape")]
    Length(usize),
    /// The proof does not lead to the root of the (newer) tree.
    #[error("the proof leads to another root than the tree's")]
    Root,
    /// The proof does not lead to the root of the older tree: the two trees disagree about what came first.
    #[error("the proof leads to another root than the older tree's")]
    OldRoot,
}

/// Checks that `leaf` is number `index` of the tree of `size` leaves with this `root` (RFC 6962 section 2.1.1).
///
/// # Errors
/// Every reason of [`VerifyError`] but `Shrunk` and `OldRoot`.
pub fn verify_inclusion(
    leaf: LeafHash,
    index: u64,
    size: TreeSize,
    root: RootHash,
    path: &[NodeHash],
) -> Result<(), VerifyError> {
    if index >= size.get() {
        return Err(VerifyError::NoSuchLeaf { index, size });
    }
    let mut climb = Climb { node: index, last: size.get() - 1 };
    let mut hash = NodeHash::from(leaf);
    for sibling in path {
        hash = match climb.step().ok_or(VerifyError::Length(path.len()))? {
            Side::Left => NodeHash::join(sibling, &hash),
            Side::Right => NodeHash::join(&hash, sibling),
        };
    }
    if climb.last != 0 {
        return Err(VerifyError::Length(path.len()));
    }
    if RootHash::from(hash) == root { Ok(()) } else { Err(VerifyError::Root) }
}

/// Checks that the tree of `new` leaves with root `new_root` begins with the tree of `old` leaves with root `old_root`
/// (RFC 6962 section 2.1.2).
///
/// The proof is empty when the sizes are equal, where the roots must be, and when `old` is empty, where `old_root` must
/// be that of the tree without leaves; any tree may follow it.
///
/// # Errors
/// Every reason of [`VerifyError`] but `NoSuchLeaf`.
pub fn verify_consistency(
    old: TreeSize,
    old_root: RootHash,
    new: TreeSize,
    new_root: RootHash,
    proof: &[NodeHash],
) -> Result<(), VerifyError> {
    let wrong_length = VerifyError::Length(proof.len());
    if old > new {
        return Err(VerifyError::Shrunk { old, new });
    }
    if old == TreeSize::EMPTY && old_root != RootHash::of_empty_tree() {
        return Err(VerifyError::OldRoot);
    }
    if old == TreeSize::EMPTY || old == new {
        if !proof.is_empty() {
            return Err(wrong_length);
        }
        return if old == new && old_root != new_root { Err(VerifyError::Root) } else { Ok(()) };
    }
    // Where the old tree is a perfect subtree of the new one, the proof begins above it and its root is the start.
    let (start, rest) = if old.get().is_power_of_two() {
        (NodeHash::from(old_root), proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(wrong_length.clone())?;
        (*first, rest)
    };
    let perfect = (old.get() - 1).trailing_ones();
    let mut climb = Climb { node: (old.get() - 1) >> perfect, last: (new.get() - 1) >> perfect };
    let (mut old_hash, mut new_hash) = (start, start);
    for sibling in rest {
        match climb.step().ok_or(wrong_length.clone())? {
            Side::Left => {
                old_hash = NodeHash::join(sibling, &old_hash);
                new_hash = NodeHash::join(sibling, &new_hash);
            }
            // What lies to the right came after the old tree.
            Side::Right => new_hash = NodeHash::join(&new_hash, sibling),
        }
    }
    if climb.last != 0 {
        return Err(wrong_length);
    }
    if RootHash::from(old_hash) != old_root {
        return Err(VerifyError::OldRoot);
    }
    if RootHash::from(new_hash) == new_root { Ok(()) } else { Err(VerifyError::Root) }
}

/// On which side of the climbing node its sibling stands.
enum Side {
    Left,
    Right,
}

/// The way from a node up to the root: the node's number within its level, and that of the level's last node.
struct Climb {
    node: u64,
    last: u64,
}

impl Climb {
    /// One level with a sibling up, or `None` at the root.
    fn step(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let side = if self.node & 1 == 1 {
            Side::Left
        } else if self.node == self.last {
            // The last node of a level may lack a sibling there: it rises unchanged until it is a right child.
            let alone = self.node.trailing_zeros();
            self.node >>= alone;
            self.last >>= alone;
            Side::Left
        } else {
            Side::Right
        };
        self.node >>= 1;
        self.last >>= 1;
        Some(side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_that_cannot_be_are_told_from_wrong_hashes() {
        let leaf = LeafHash::of(b"");
        let root = RootHash::from(NodeHash::from(leaf));
        let (one, two) = (TreeSize::new(1), TreeSize::new(2));
        assert_eq!(verify_inclusion(leaf, 0, one, root, &[]), Ok(()));
        assert_eq!(verify_inclusion(leaf, 1, one, root, &[]), Err(VerifyError::NoSuchLeaf { index: 1, size: one }));
        assert_eq!(verify_inclusion(leaf, 0, two, root, &[]), Err(VerifyError::Length(0)));
        assert_eq!(verify_inclusion(leaf, 0, one, root, &[leaf.into()]), Err(VerifyError::Length(1)));
        assert_eq!(verify_consistency(two, root, one, root, &[]), Err(VerifyError::Shrunk { old: two, new: one }));
    }

    #[test]
    fn the_empty_tree_begins_every_tree_but_has_one_root() {
        let empty = RootHash::of_empty_tree();
        let root = RootHash::from(NodeHash::from(LeafHash::of(b"")));
        let one = TreeSize::new(1);
        assert_eq!(verify_consistency(TreeSize::EMPTY, empty, one, root, &[]), Ok(()));
        assert_eq!(verify_consistency(TreeSize::EMPTY, root, one, root, &[]), Err(VerifyError::OldRoot));
        assert_eq!(verify_consistency(TreeSize::EMPTY, empty, TreeSize::EMPTY, empty, &[]), Ok(()));
        assert_eq!(verify_consistency(TreeSize::EMPTY, empty, TreeSize::EMPTY, root, &[]), Err(VerifyError::Root));
        assert_eq!(verify_consistency(one, root, one, empty, &[]), Err(VerifyError::Root));
        assert_eq!(verify_consistency(one, root, one, root, &[root.into()]), Err(VerifyError::Length(1)));
    }
}
