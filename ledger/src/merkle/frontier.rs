//! A growing tree in at most 64 hashes.
//!
//! Invariant: `peaks` holds the roots of the perfect subtrees that the size's binary digits name, largest (leftmost)
//! first. That is all a tree needs to take further leaves and to tell its root.

use crate::merkle::hash::{LeafHash, NodeHash, RootHash};
use crate::merkle::size::TreeSize;

/// Why a frontier is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// The tree has 2^64 - 1 leaves.
    #[error("the tree is full: its size has no larger 64-bit number")]
    Full,
    /// A stored frontier has another number of peaks than its size has binary ones: it is damaged.
    #[error("a tree of {size} leaves has {expected} peaks, {found} were given")]
    Peaks {
        /// The size that was given.
        size: TreeSize,
        /// The peaks that a tree of this size has.
        expected: usize,
        /// The peaks that were given.
        found: usize,
    },
}

/// The right edge of an append-only tree: it grows by one leaf in amortised constant time and forgets the leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: TreeSize,
    peaks: Vec<NodeHash>,
}

impl Frontier {
    /// The tree without leaves.
    pub const fn new() -> Self {
        Self { size: TreeSize::EMPTY, peaks: Vec::new() }
    }

    /// Takes up a tree where [`size`](Self::size) and [`peaks`](Self::peaks) left it.
    ///
    /// # Errors
    /// [`FrontierError::Peaks`] when the number of peaks does not fit the size.
    pub fn resume(size: TreeSize, peaks: Vec<NodeHash>) -> Result<Self, FrontierError> {
        let expected = size.get().count_ones() as usize;
        if peaks.len() != expected {
            return Err(FrontierError::Peaks { size, expected, found: peaks.len() });
        }
        Ok(Self { size, peaks })
    }

    /// Adds a leaf on the right.
    ///
    /// # Errors
    /// [`FrontierError::Full`] after 2^64 - 1 leaves; the tree is unchanged.
    pub fn append(&mut self, leaf: LeafHash) -> Result<(), FrontierError> {
        let next = self.size.next().ok_or(FrontierError::Full)?;
        // Each binary one at the low end of the old size is a perfect subtree as large as the one that just became
        // complete to its right.
        let mut node = NodeHash::from(leaf);
        for _ in 0..self.size.get().trailing_ones() {
            let left = self.peaks.pop().expect("the frontier holds one peak per binary one of its size");
            node = NodeHash::join(&left, &node);
        }
        self.peaks.push(node);
        self.size = next;
        Ok(())
    }

    /// The number of leaves so far.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// The roots of the perfect subtrees, largest first: what to store so as to [`resume`](Self::resume).
    pub fn peaks(&self) -> &[NodeHash] {
        &self.peaks
    }

    /// The Merkle Tree Hash over all leaves so far (RFC 6962 section 2.1).
    pub fn root(&self) -> RootHash {
        let mut peaks = self.peaks.iter().rev();
        let Some(smallest) = peaks.next() else {
            return RootHash::of_empty_tree();
        };
        peaks.fold(*smallest, |right, left| NodeHash::join(left, &right)).into()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn resumes_where_it_stopped() {
        let mut whole = Frontier::new();
        for leaf in 0..100_u8 {
            let mut resumed = Frontier::resume(whole.size(), whole.peaks().to_vec()).unwrap();
            whole.append(LeafHash::of(&[leaf])).unwrap();
            resumed.append(LeafHash::of(&[leaf])).unwrap();
            assert_eq!(resumed, whole);
            assert!(whole.peaks().len() <= 7, "a hundred leaves fit seven peaks");
        }
    }

    #[test]
    fn a_damaged_frontier_is_refused() {
        let peak = NodeHash::from(LeafHash::of(b""));
        let size = TreeSize::new(5);
        assert_eq!(Frontier::resume(size, vec![peak]), Err(FrontierError::Peaks { size, expected: 2, found: 1 }));
    }

    #[test]
    fn a_full_tree_takes_no_leaf_and_stays_as_it_is() {
        let peaks = vec![NodeHash::from(LeafHash::of(b"")); 64];
        let mut full = Frontier::resume(TreeSize::new(u64::MAX), peaks).unwrap();
        let before = full.clone();
        assert_eq!(full.append(LeafHash::of(b"one too many")), Err(FrontierError::Full));
        assert_eq!(full, before);
    }
}
