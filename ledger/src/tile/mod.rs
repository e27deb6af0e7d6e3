//! The log as static files (C2SP `tlog-tiles`): tiles of 256 hashes, bundles of 256 entries, and beside them the
//! openings of those entries.
//!
//! * `place`: which tiles a tree has, and their paths.
//! * `bundle`: entries and openings as bytes.
//! * `proof`: inclusion and consistency proofs from tiles, whoever keeps them.
//! * `folder`: the files: writing them so that a reader never sees half of one, and reading them back.

mod bundle;
mod folder;
mod place;
mod proof;

pub use bundle::{BundleError, MAX_OPENINGS_BUNDLE, decode_entries, decode_openings, encode_entries, encode_openings};
pub use folder::{CHECKPOINT_FILE, Folder, FolderError};
pub use place::{ParsePathError, TILE_WIDTH, TileKind, TilePlace};
pub use proof::{Resolver, TileHashError};
