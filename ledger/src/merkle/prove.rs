//! Proofs for others: which subtrees a proof names, and the proofs themselves.
//!
//! A proof is a list of subtree hashes. The `*_ranges` functions tell which subtrees, as ranges of leaf numbers, without
//! touching a hash, so that any store (leaf hashes, tiles, a table of nodes) can answer with what it keeps. The `prove_*`
//! functions are the answer of the simplest store, a slice of leaf hashes; they hash each leaf of the tree once.
//!
//! Invariant: ranges are non-empty, disjoint, and in the order of the proof, from the leaf's side to the root.

use std::ops::Range;

use crate::merkle::frontier::Frontier;
use crate::merkle::hash::{LeafHash, NodeHash};
use crate::merkle::size::TreeSize;

/// Why there is no such proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree has no leaf of this number yet.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    NoSuchLeaf {
        /// The leaf's number, from zero.
        index: u64,
        /// The tree's size.
        size: TreeSize,
    },
    /// An append-only tree does not shrink.
    #[error("a tree of {old} leaves is no predecessor of one of {new}")]
    Shrunk {
        /// The size that was called older.
        old: TreeSize,
        /// The size that was called newer.
        new: TreeSize,
    },
}

/// The subtrees of the inclusion proof of leaf `index` in a tree of `size` leaves: PATH of RFC 6962 section 2.1.1.
///
/// # Errors
/// [`ProofError::NoSuchLeaf`] when `index` is not below `size`.
pub fn inclusion_ranges(index: u64, size: TreeSize) -> Result<Vec<Range<u64>>, ProofError> {
    if index >= size.get() {
        return Err(ProofError::NoSuchLeaf { index, size });
    }
    let mut siblings = Vec::new();
    let mut tree = 0..size.get();
    while tree.end - tree.start > 1 {
        let (left, right) = split(&tree);
        let (inside, sibling) = if index < left.end { (left, right) } else { (right, left) };
        siblings.push(sibling);
        tree = inside;
    }
    siblings.reverse();
    Ok(siblings)
}

/// The subtrees of the proof that the tree of `new` leaves begins with the tree of `old` leaves: PROOF of RFC 6962
/// section 2.1.2. There are none when the sizes are equal or `old` is empty: every tree begins with those.
///
/// # Errors
/// [`ProofError::Shrunk`] when `old` is larger than `new`.
pub fn consistency_ranges(old: TreeSize, new: TreeSize) -> Result<Vec<Range<u64>>, ProofError> {
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    if old == TreeSize::EMPTY {
        return Ok(Vec::new());
    }
    let mut parts = Vec::new();
    let mut tree = 0..new.get();
    while tree.end != old.get() {
        let (left, right) = split(&tree);
        let (inside, sibling) = if old.get() <= left.end { (left, right) } else { (right, left) };
        parts.push(sibling);
        tree = inside;
    }
    // A subtree that begins at zero is the old tree itself, whose root the verifier holds.
    if tree.start != 0 {
        parts.push(tree);
    }
    parts.reverse();
    Ok(parts)
}

/// The inclusion proof of leaf `index` in the tree over `leaves`, in one pass over them.
///
/// # Errors
/// [`ProofError::NoSuchLeaf`] when there is no such leaf.
pub fn prove_inclusion(leaves: &[LeafHash], index: u64) -> Result<Vec<NodeHash>, ProofError> {
    Ok(hash_all(leaves, inclusion_ranges(index, size_of(leaves))?))
}

/// The proof that the tree over `leaves` begins with the tree over its first `old` leaves, in one pass over them.
///
/// # Errors
/// [`ProofError::Shrunk`] when there are fewer than `old` leaves.
pub fn prove_consistency(leaves: &[LeafHash], old: TreeSize) -> Result<Vec<NodeHash>, ProofError> {
    Ok(hash_all(leaves, consistency_ranges(old, size_of(leaves))?))
}

/// Where a tree of more than one leaf divides: at the largest power of two that leaves something to the right.
fn split(tree: &Range<u64>) -> (Range<u64>, Range<u64>) {
    let last = tree.end - tree.start - 1;
    let middle = tree.start + (1 << last.ilog2());
    (tree.start..middle, middle..tree.end)
}

fn size_of(leaves: &[LeafHash]) -> TreeSize {
    TreeSize::new(leaves.len() as u64)
}

fn hash_all(leaves: &[LeafHash], ranges: Vec<Range<u64>>) -> Vec<NodeHash> {
    ranges
        .into_iter()
        .map(|range| {
            let mut subtree = Frontier::new();
            for leaf in &leaves[range.start as usize..range.end as usize] {
                subtree.append(*leaf).expect("a slice has fewer than 2^64 leaves");
            }
            subtree.root().into()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::verify::MAX_PATH;

    #[test]
    fn ranges_of_the_rfc_example() {
        // RFC 6962 section 2.1.3: seven leaves d0..d6; [b, h, l], [c, g, l], [f, j, k], [i, k].
        let seven = TreeSize::new(7);
        assert_eq!(inclusion_ranges(0, seven), Ok(vec![1..2, 2..4, 4..7]));
        assert_eq!(inclusion_ranges(3, seven), Ok(vec![2..3, 0..2, 4..7]));
        assert_eq!(inclusion_ranges(4, seven), Ok(vec![5..6, 6..7, 0..4]));
        assert_eq!(inclusion_ranges(6, seven), Ok(vec![4..6, 0..4]));
        // [c, d, g, l], [l], [i, j, k].
        assert_eq!(consistency_ranges(TreeSize::new(3), seven), Ok(vec![2..3, 3..4, 0..2, 4..7]));
        assert_eq!(consistency_ranges(TreeSize::new(4), seven).as_deref(), Ok(std::slice::from_ref(&(4..7))));
        assert_eq!(consistency_ranges(TreeSize::new(6), seven), Ok(vec![4..6, 6..7, 0..4]));
    }

    #[test]
    fn there_is_no_proof_of_what_is_not() {
        let size = TreeSize::new(3);
        assert_eq!(inclusion_ranges(3, size), Err(ProofError::NoSuchLeaf { index: 3, size }));
        assert_eq!(
            inclusion_ranges(0, TreeSize::EMPTY),
            Err(ProofError::NoSuchLeaf { index: 0, size: TreeSize::EMPTY })
        );
        let old = TreeSize::new(4);
        assert_eq!(consistency_ranges(old, size), Err(ProofError::Shrunk { old, new: size }));
    }

    #[test]
    fn the_largest_trees_stay_within_their_numbers() {
        let largest = TreeSize::new(u64::MAX);
        assert_eq!(inclusion_ranges(0, largest).map(|ranges| ranges.len()), Ok(64));
        assert_eq!(inclusion_ranges(u64::MAX - 1, largest).map(|ranges| ranges.len()), Ok(63));
        assert_eq!(consistency_ranges(TreeSize::new(3), largest).map(|ranges| ranges.len()), Ok(MAX_PATH));
    }
}
