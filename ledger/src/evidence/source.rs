//! Openings, whoever keeps them.

use crate::leaf::Opening;
use crate::merkle::TreeSize;
use crate::tile::{Folder, FolderError, TileKind, TilePlace};

/// Why openings cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is no such leaf.
    #[error("there is no leaf {0}")]
    NoLeaf(u64),
}

/// The openings of a tree of a certain size.
pub trait LeafSource {
    /// The size.
    fn size(&self) -> TreeSize;

    /// Visits every leaf in order; `None` for an opening that was deleted or is withheld.
    ///
    /// # Errors
    /// [`SourceError`].
    fn for_each(&self, visit: &mut dyn FnMut(u64, Option<Opening>)) -> Result<(), SourceError>;

    /// The opening of one leaf.
    ///
    /// # Errors
    /// [`SourceError`].
    fn opening(&self, index: u64) -> Result<Option<Opening>, SourceError>;
}

/// Openings in memory.
#[derive(Debug, Clone, Default)]
pub struct Leaves(pub Vec<Option<Opening>>);

impl LeafSource for Leaves {
    fn size(&self) -> TreeSize {
        TreeSize::new(self.0.len() as u64)
    }

    fn for_each(&self, visit: &mut dyn FnMut(u64, Option<Opening>)) -> Result<(), SourceError> {
        (0..).zip(&self.0).for_each(|(index, opening)| visit(index, opening.clone()));
        Ok(())
    }

    fn opening(&self, index: u64) -> Result<Option<Opening>, SourceError> {
        usize::try_from(index).ok().and_then(|at| self.0.get(at)).cloned().ok_or(SourceError::NoLeaf(index))
    }
}

/// The openings that a folder shows of a tree of this size.
impl LeafSource for (&Folder, TreeSize) {
    fn size(&self) -> TreeSize {
        self.1
    }

    fn for_each(&self, visit: &mut dyn FnMut(u64, Option<Opening>)) -> Result<(), SourceError> {
        for place in TilePlace::added(TileKind::Openings, TreeSize::EMPTY, self.1) {
            let openings = self.0.openings(&place)?;
            place.range().zip(openings).for_each(|(index, opening)| visit(index, opening));
        }
        Ok(())
    }

    fn opening(&self, index: u64) -> Result<Option<Opening>, SourceError> {
        let missing = SourceError::NoLeaf(index);
        let bundle = index / crate::tile::TILE_WIDTH;
        let Some(place) = TilePlace::in_tree(TileKind::Openings, bundle, self.1) else { return Err(missing) };
        let mut openings = self.0.openings(&place)?;
        let at = (index - place.range().start) as usize;
        if at < openings.len() { Ok(openings.swap_remove(at)) } else { Err(missing) }
    }
}
