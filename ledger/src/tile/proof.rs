//! Proofs from tiles.
//!
//! A [`Resolver`] says which tiles a proof needs, takes them from wherever they are (files, HTTP, a database), and turns
//! them into the proof. Invariant: every hash comes from a tile that the tree of the given size has.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::merkle::{NodeHash, ProofError, RootHash, TreeSize, consistency_ranges, inclusion_ranges};
use crate::tile::place::{TILE_WIDTH, TileKind, TilePlace};

/// Levels of the tree within one tile.
const TILE_HEIGHT: u32 = 8;

/// Why tiles make no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileHashError {
    /// A tile that was asked for was not given.
    #[error("tile {0} is missing")]
    Missing(TilePlace),
    /// A tile has another number of hashes than its place says.
    #[error("tile {0} has the wrong length")]
    Width(TilePlace),
}

/// A proof that is being made from tiles.
#[derive(Debug)]
pub struct Resolver {
    size: TreeSize,
    ranges: Vec<Range<u64>>,
    tiles: BTreeMap<(u8, u64), Vec<NodeHash>>,
}

/// A subtree of 2^height leaves that begins at a multiple of its size.
struct Perfect {
    height: u32,
    index: u64,
}

impl Resolver {
    /// The inclusion proof of a leaf.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn inclusion(index: u64, size: TreeSize) -> Result<Self, ProofError> {
        Ok(Self::of(size, inclusion_ranges(index, size)?))
    }

    /// The consistency proof between two sizes.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn consistency(old: TreeSize, new: TreeSize) -> Result<Self, ProofError> {
        Ok(Self::of(new, consistency_ranges(old, new)?))
    }

    /// The root itself.
    #[must_use]
    pub fn root(size: TreeSize) -> Self {
        let whole = 0..size.get();
        Self::of(size, if size == TreeSize::EMPTY { Vec::new() } else { vec![whole] })
    }

    fn of(size: TreeSize, ranges: Vec<Range<u64>>) -> Self {
        Self { size, ranges, tiles: BTreeMap::new() }
    }

    /// The tiles that it needs, each once.
    #[must_use]
    pub fn wants(&self) -> Vec<TilePlace> {
        let mut places: Vec<TilePlace> =
            self.ranges.iter().flat_map(|range| perfect(range.clone())).map(|subtree| self.place(&subtree)).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Takes one of those tiles.
    ///
    /// # Errors
    /// [`TileHashError::Width`].
    pub fn give(&mut self, place: TilePlace, hashes: Vec<NodeHash>) -> Result<(), TileHashError> {
        if hashes.len() != usize::from(place.width) {
            return Err(TileHashError::Width(place));
        }
        self.tiles.insert((place.kind.level(), place.index), hashes);
        Ok(())
    }

    /// The proof's hashes.
    ///
    /// # Errors
    /// [`TileHashError::Missing`].
    pub fn proof(&self) -> Result<Vec<NodeHash>, TileHashError> {
        self.ranges.iter().map(|range| self.subtree(range.clone())).collect()
    }

    /// The root, of a resolver made by [`Resolver::root`].
    ///
    /// # Errors
    /// [`TileHashError::Missing`].
    pub fn root_hash(&self) -> Result<RootHash, TileHashError> {
        Ok(self.proof()?.first().map_or_else(RootHash::of_empty_tree, |root| (*root).into()))
    }

    /// Folds the perfect subtrees of a range from the right, as RFC 6962 section 2.1 nests them.
    fn subtree(&self, range: Range<u64>) -> Result<NodeHash, TileHashError> {
        let mut parts = perfect(range).into_iter().rev().map(|part| self.perfect_hash(&part));
        let smallest = parts.next().expect("a range of a proof is not empty")?;
        parts.try_fold(smallest, |right, left| Ok(NodeHash::join(&left?, &right)))
    }

    fn perfect_hash(&self, subtree: &Perfect) -> Result<NodeHash, TileHashError> {
        let place = self.place(subtree);
        let missing = TileHashError::Missing(place);
        let tile = self.tiles.get(&(place.kind.level(), place.index)).ok_or(missing)?;
        let inside = subtree.height % TILE_HEIGHT;
        let first = ((subtree.index << inside) % TILE_WIDTH) as usize;
        let mut level: Vec<NodeHash> =
            tile.get(first..first + (1 << inside)).ok_or(TileHashError::Width(place))?.to_vec();
        while level.len() > 1 {
            level = level.chunks_exact(2).map(|pair| NodeHash::join(&pair[0], &pair[1])).collect();
        }
        Ok(level[0])
    }

    fn place(&self, subtree: &Perfect) -> TilePlace {
        let level = (subtree.height / TILE_HEIGHT) as u8;
        let index = (subtree.index << (subtree.height % TILE_HEIGHT)) / TILE_WIDTH;
        TilePlace::in_tree(TileKind::Hashes(level), index, self.size).expect("a subtree of the tree lies in its tiles")
    }
}

/// Cuts a range that begins at a multiple of its largest part into perfect subtrees, largest first.
fn perfect(range: Range<u64>) -> Vec<Perfect> {
    let mut parts = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let height = (range.end - at).ilog2();
        parts.push(Perfect { height, index: at >> height });
        at += 1 << height;
    }
    parts
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Resolver, TileHashError};
    use crate::merkle::{Frontier, LeafHash, NodeHash, TreeSize, prove_consistency, prove_inclusion};
    use crate::tile::place::TilePlace;

    fn leaves(count: u64) -> Vec<LeafHash> {
        (0..count).map(|leaf| LeafHash::of(&leaf.to_be_bytes())).collect()
    }

    fn frontier(leaves: &[LeafHash]) -> Frontier {
        let mut frontier = Frontier::new();
        leaves.iter().for_each(|leaf| frontier.append(*leaf).unwrap());
        frontier
    }

    /// A tile as the definition of the specification says, from all leaves.
    fn tile(place: &TilePlace, leaves: &[LeafHash]) -> Vec<NodeHash> {
        let span = 256_usize.pow(u32::from(place.kind.level()));
        let roots = place.range().map(|at| {
            let first = at as usize * span;
            frontier(&leaves[first..first + span]).root().into()
        });
        roots.collect()
    }

    fn filled(mut resolver: Resolver, leaves: &[LeafHash]) -> Resolver {
        for place in resolver.wants() {
            resolver.give(place, tile(&place, leaves)).unwrap();
        }
        resolver
    }

    #[test]
    fn proofs_from_tiles_are_those_from_leaves() {
        for size in [1, 2, 3, 7, 255, 256, 257, 511, 600, 66_000] {
            let leaves = leaves(size);
            let tree = TreeSize::new(size);
            assert_eq!(filled(Resolver::root(tree), &leaves).root_hash().unwrap(), frontier(&leaves).root(), "{size}");
            for index in [0, 1, size / 2, 254, 255, 256, size - 1].into_iter().filter(|index| *index < size) {
                let proof = filled(Resolver::inclusion(index, tree).unwrap(), &leaves).proof().unwrap();
                assert_eq!(proof, prove_inclusion(&leaves, index).unwrap(), "leaf {index} of {size}");
            }
            for old in [0, 1, 2, size / 3, 256, size].into_iter().filter(|old| *old <= size) {
                let old = TreeSize::new(old);
                let proof = filled(Resolver::consistency(old, tree).unwrap(), &leaves).proof().unwrap();
                assert_eq!(proof, prove_consistency(&leaves, old).unwrap(), "{old} to {size}");
            }
        }
    }

    #[test]
    fn a_missing_tile_is_named() {
        let resolver = Resolver::inclusion(0, TreeSize::new(70_000)).unwrap();
        let missing = resolver.wants()[0];
        assert_eq!(resolver.proof(), Err(TileHashError::Missing(missing)));
        let mut resolver = resolver;
        assert!(resolver.give(missing, vec![]).is_err());
        assert!(resolver.wants().len() <= 4, "a proof of 17 hashes needs few tiles");
        assert!(Resolver::root(TreeSize::EMPTY).wants().is_empty());
    }
}
