//! Tiles and their paths.
//!
//! Invariant: a path has one spelling; what `parse` accepts is exactly what `Display` writes.

use std::fmt;
use std::str::FromStr;

use crate::merkle::TreeSize;

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Levels of the tree that one tile spans.
const TILE_HEIGHT: u32 = 8;
/// Highest tile level that a 64-bit tree has.
const MAX_LEVEL: u8 = 7;

/// What is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes of this tile level.
    Hashes(u8),
    /// The log's entries.
    Entries,
    /// The openings of the entries: an addition to the specification.
    Openings,
}

/// One tile or bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePlace {
    /// What it holds.
    pub kind: TileKind,
    /// Number within its level.
    pub index: u64,
    /// How many hashes or entries it has: 1 to 256.
    pub width: u16,
}

/// Why a path names no tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile")]
pub struct ParsePathError;

impl TileKind {
    /// The level in tiles: entries and openings stand at level 0.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::Hashes(level) => level,
            Self::Entries | Self::Openings => 0,
        }
    }
}

impl TilePlace {
    /// The tile with this number in a tree of this size; `None` if there is none.
    #[must_use]
    pub fn in_tree(kind: TileKind, index: u64, size: TreeSize) -> Option<Self> {
        let hashes = hashes_at(kind.level(), size);
        let first = index.checked_mul(TILE_WIDTH)?;
        let width = hashes.checked_sub(first)?.min(TILE_WIDTH);
        let width = u16::try_from(width).ok().filter(|width| *width > 0)?;
        Some(Self { kind, index, width })
    }

    /// All places of a kind that a tree of size `new` has and one of size `old` has not, in order.
    pub fn added(kind: TileKind, old: TreeSize, new: TreeSize) -> impl Iterator<Item = Self> {
        let (had, has) = (hashes_at(kind.level(), old), hashes_at(kind.level(), new));
        let first = if has > had { had / TILE_WIDTH } else { u64::MAX / TILE_WIDTH };
        (first..has.div_ceil(TILE_WIDTH)).filter_map(move |index| Self::in_tree(kind, index, new))
    }

    /// The hash levels of a tree of this size.
    pub fn levels(size: TreeSize) -> impl Iterator<Item = u8> {
        (0..=MAX_LEVEL).take_while(move |level| hashes_at(*level, size) > 0)
    }

    /// Numbers of its hashes or entries within their level.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<u64> {
        let first = self.index * TILE_WIDTH;
        first..first + u64::from(self.width)
    }

    /// Whether it is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == TILE_WIDTH
    }

    /// The full tile at the same place.
    #[must_use]
    pub fn full(self) -> Self {
        Self { width: TILE_WIDTH as u16, ..self }
    }
}

/// Hashes at a tile level: roots of the full subtrees of 256^level leaves.
fn hashes_at(level: u8, size: TreeSize) -> u64 {
    size.get().checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0)
}

impl fmt::Display for TilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
            TileKind::Openings => f.write_str("openings/")?,
        }
        let mut groups = vec![format!("{:03}", self.index % 1000)];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        groups.reverse();
        f.write_str(&groups.join("/"))?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for TilePlace {
    type Err = ParsePathError;

    fn from_str(path: &str) -> Result<Self, ParsePathError> {
        let (kind, rest) = if let Some(rest) = path.strip_prefix("tile/entries/") {
            (TileKind::Entries, rest)
        } else if let Some(rest) = path.strip_prefix("openings/") {
            (TileKind::Openings, rest)
        } else {
            let (level, rest) =
                path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or(ParsePathError)?;
            (TileKind::Hashes(level.parse().map_err(|_| ParsePathError)?), rest)
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().map_err(|_| ParsePathError)?),
            None => (rest, TILE_WIDTH as u16),
        };
        let mut index = 0_u64;
        for group in number.split('/') {
            let digits: u64 = group.trim_start_matches('x').parse().map_err(|_| ParsePathError)?;
            index = index.checked_mul(1000).and_then(|index| index.checked_add(digits)).ok_or(ParsePathError)?;
        }
        let place = Self { kind, index, width };
        let fits = kind.level() <= MAX_LEVEL
            && (1..=TILE_WIDTH).contains(&u64::from(width))
            && index <= u64::MAX / TILE_WIDTH
            && place.to_string() == path;
        if fits { Ok(place) } else { Err(ParsePathError) }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{TileKind, TilePlace};
    use crate::merkle::TreeSize;

    #[test]
    fn paths_of_the_specification() {
        let place = |kind, index, width| TilePlace { kind, index, width };
        for (path, expected) in [
            ("tile/0/x001/x234/067", place(TileKind::Hashes(0), 1_234_067, 256)),
            ("tile/2/000.p/1", place(TileKind::Hashes(2), 0, 1)),
            ("tile/entries/273.p/112", place(TileKind::Entries, 273, 112)),
            ("openings/x001/000", place(TileKind::Openings, 1000, 256)),
        ] {
            assert_eq!(expected.to_string(), path);
            assert_eq!(path.parse(), Ok(expected));
        }
        for path in [
            "",
            "tile",
            "tile/0/",
            "tile/00/000",
            "tile/8/000",
            "tile/0/1",
            "tile/0/001/002",
            "tile/0/x000/001",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/../000",
            "tile/0/+01",
            "/tile/0/000",
            "tile/0/x18446744073709551/616",
        ] {
            assert!(path.parse::<TilePlace>().is_err(), "{path}");
        }
    }

    #[test]
    fn the_tree_of_the_specifications_example() {
        // "a tree of size 70,000": 273 full and one partial of width 112, one full and one of 17, one of 1.
        let size = TreeSize::new(70_000);
        assert_eq!(TilePlace::levels(size).collect::<Vec<_>>(), [0, 1, 2]);
        let tiles = |level| TilePlace::added(TileKind::Hashes(level), TreeSize::EMPTY, size).collect::<Vec<_>>();
        assert_eq!((tiles(0).len(), tiles(0)[272].is_full(), tiles(0)[273].width), (274, true, 112));
        assert_eq!((tiles(1).len(), tiles(1)[1].width), (2, 17));
        assert_eq!((tiles(2).len(), tiles(2)[0].width), (1, 1));
        // A tree of 256 has a full tile and one of width 1 above it.
        assert_eq!(TilePlace::in_tree(TileKind::Hashes(1), 0, TreeSize::new(256)).unwrap().width, 1);
        assert_eq!(TilePlace::in_tree(TileKind::Hashes(1), 0, TreeSize::new(255)), None);
    }

    #[test]
    fn only_what_changed_is_added() {
        let added = |old, new| {
            TilePlace::added(TileKind::Entries, TreeSize::new(old), TreeSize::new(new))
                .map(|place| (place.index, place.width))
                .collect::<Vec<_>>()
        };
        assert_eq!(added(0, 0), []);
        assert_eq!(added(3, 3), []);
        assert_eq!(added(3, 5), [(0, 5)]);
        assert_eq!(added(255, 257), [(0, 256), (1, 1)]);
        assert_eq!(added(256, 257), [(1, 1)]);
    }
}
