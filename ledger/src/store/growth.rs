//! The right edge of the log in tiles: what is needed to add leaves and to know which tile roots became final.
//!
//! Invariant: `edges[level]` holds the hashes of the level's unfinished tile, fewer than 256.

use crate::merkle::{LeafHash, NodeHash, RootHash, TreeSize};
use crate::tile::TILE_WIDTH;

/// A root of a full tile: hash number `index` of tile level `level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completed {
    /// Tile level, from 1.
    pub level: u8,
    /// Number within the level.
    pub index: u64,
    /// The root.
    pub hash: NodeHash,
}

/// A log that grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Growth {
    size: u64,
    edges: Vec<Vec<NodeHash>>,
}

impl Growth {
    /// Takes up a log of this size; `edges[level]` are the hashes of its unfinished tiles, as
    /// [`edge_widths`](Self::edge_widths) asks for them.
    #[must_use]
    pub fn resume(size: TreeSize, edges: Vec<Vec<NodeHash>>) -> Self {
        debug_assert_eq!(edges.iter().map(|edge| edge.len() as u64).collect::<Vec<_>>(), Self::edge_widths(size));
        Self { size: size.get(), edges }
    }

    /// How many hashes the unfinished tile of each level has, from level 0 to the highest level that has hashes.
    #[must_use]
    pub fn edge_widths(size: TreeSize) -> Vec<u64> {
        let mut widths = Vec::new();
        let mut hashes = size.get();
        while hashes > 0 {
            widths.push(hashes % TILE_WIDTH);
            hashes /= TILE_WIDTH;
        }
        widths
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        TreeSize::new(self.size)
    }

    /// Adds a leaf; `completed` is told of every tile that it filled.
    pub fn append(&mut self, leaf: LeafHash, mut completed: impl FnMut(Completed)) {
        let mut hash = NodeHash::from(leaf);
        let mut count = self.size;
        let mut level = 0;
        loop {
            if self.edges.len() == level {
                self.edges.push(Vec::with_capacity(TILE_WIDTH as usize));
            }
            self.edges[level].push(hash);
            count += 1;
            if !count.is_multiple_of(TILE_WIDTH) {
                break;
            }
            hash = perfect_root(std::mem::take(&mut self.edges[level]));
            level += 1;
            count = count / TILE_WIDTH - 1;
            completed(Completed { level: level as u8, index: count, hash });
        }
        self.size += 1;
    }

    /// The root over all leaves.
    #[must_use]
    pub fn root(&self) -> RootHash {
        let mut right: Option<NodeHash> = None;
        for edge in &self.edges {
            let mut end = edge.len();
            while end > 0 {
                // From the right, the smallest perfect subtree first.
                let width = 1 << end.trailing_zeros();
                let left = perfect_root(edge[end - width..end].to_vec());
                right = Some(right.map_or(left, |right| NodeHash::join(&left, &right)));
                end -= width;
            }
        }
        right.map_or_else(RootHash::of_empty_tree, Into::into)
    }
}

/// The root over a power of two of hashes.
fn perfect_root(mut hashes: Vec<NodeHash>) -> NodeHash {
    while hashes.len() > 1 {
        hashes = hashes.chunks_exact(2).map(|pair| NodeHash::join(&pair[0], &pair[1])).collect();
    }
    hashes[0]
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Completed, Growth};
    use crate::merkle::{Frontier, LeafHash, TreeSize};

    #[test]
    fn grows_like_the_tree_and_finishes_each_tile_once() {
        let mut growth = Growth::default();
        let mut frontier = Frontier::new();
        let mut completed: Vec<Completed> = Vec::new();
        for leaf in 0..70_000_u64 {
            let leaf = LeafHash::of(&leaf.to_be_bytes());
            growth.append(leaf, |tile| completed.push(tile));
            frontier.append(leaf).unwrap();
            let size = frontier.size().get();
            if size.is_multiple_of(251) || size % 256 < 2 {
                assert_eq!(growth.root(), frontier.root(), "{size} leaves");
            }
        }
        assert_eq!(growth.size(), TreeSize::new(70_000));
        let at = |level| completed.iter().filter(|tile| tile.level == level).map(|tile| tile.index).collect::<Vec<_>>();
        assert_eq!(at(1), (0..273).collect::<Vec<_>>());
        assert_eq!(at(2), [0]);
        assert_eq!(Growth::edge_widths(TreeSize::new(70_000)), [112, 17, 1]);
        assert_eq!(Growth::default().root(), Frontier::new().root());
    }
}
