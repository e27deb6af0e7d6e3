//! The log's files in a folder that any web server can serve.
//!
//! Invariant: a reader sees a checkpoint only when every tile of its tree is there. Tiles are written beside their place
//! and renamed; the checkpoint comes last. A partial tile stays until the full one is there, as `tlog-tiles` asks.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::leaf::{Commitment, Opening};
use crate::merkle::NodeHash;
use crate::tile::bundle::{BundleError, MAX_OPENINGS_BUNDLE, decode_entries, decode_openings};
use crate::tile::place::TilePlace;

/// The checkpoint's name in the folder.
pub const CHECKPOINT_FILE: &str = "checkpoint";
/// Longest file that is read, in bytes.
const MAX_FILE: u64 = MAX_OPENINGS_BUNDLE as u64;

/// Why a file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Reading or writing failed.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is in the file is no such tile.
    #[error("{place}: {why}")]
    Content {
        /// Which tile.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A folder with a log's files.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at this path, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Writes a file whole or not at all. It is on disk when this returns.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let path = self.root.join(name);
        let fail = |source| FolderError::Io { path: path.clone(), source };
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(fail)?;
        let temporary = path.with_extension(format!("tmp{}", std::process::id()));
        let written = (|| {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            fs::File::open(parent)?.sync_all()
        })();
        if written.is_err() {
            // What is left of it is in nobody's way but the disk's.
            let _ = fs::remove_file(&temporary);
        }
        written.map_err(fail)
    }

    /// Removes the partial tiles that a full one replaces.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn remove_partials(&self, full: &TilePlace) -> Result<(), FolderError> {
        let path = self.root.join(format!("{}.p", full.full()));
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(FolderError::Io { path, source }),
            _ => Ok(()),
        }
    }

    /// Reads a file; `None` if there is none.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FolderError> {
        let path = self.root.join(name);
        let fail = |source| FolderError::Io { path: path.clone(), source };
        match fs::metadata(&path) {
            Ok(meta) if meta.len() > MAX_FILE => Err(fail(io::Error::from(io::ErrorKind::FileTooLarge))),
            Ok(_) => fs::read(&path).map(Some).map_err(fail),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fail(error)),
        }
    }

    /// Whether a tile is there, or the full one in its place.
    #[must_use]
    pub fn has(&self, place: &TilePlace) -> bool {
        [*place, place.full()].iter().any(|place| self.root.join(place.to_string()).is_file())
    }

    /// The narrower states of a tile that are still there, in no order.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn earlier(&self, place: &TilePlace) -> Result<Vec<TilePlace>, FolderError> {
        let path = self.root.join(format!("{}.p", place.full()));
        let fail = |source| FolderError::Io { path: path.clone(), source };
        let states = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            states => states.map_err(fail)?,
        };
        let mut earlier = Vec::new();
        for state in states {
            let width = state.map_err(fail)?.file_name().to_str().and_then(|name| name.parse::<u16>().ok());
            earlier.extend(
                width.filter(|width| (1..place.width).contains(width)).map(|width| TilePlace { width, ..*place }),
            );
        }
        Ok(earlier)
    }

    /// Reads a tile, or the full one in its place.
    fn tile(&self, place: &TilePlace) -> Result<Vec<u8>, FolderError> {
        if let Some(bytes) = self.read(&place.to_string())? {
            return Ok(bytes);
        }
        let path = self.root.join(place.to_string());
        let missing = || FolderError::Io { path, source: io::ErrorKind::NotFound.into() };
        self.read(&place.full().to_string())?.ok_or_else(missing)
    }

    /// The hashes of a tile.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn hashes(&self, place: &TilePlace) -> Result<Vec<NodeHash>, FolderError> {
        let bytes = self.tile(place)?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        let width = usize::from(place.width);
        let whole = rest.is_empty() && (hashes.len() == width || hashes.len() == usize::from(place.full().width));
        if !whole {
            let why = format!("{} bytes instead of {}", bytes.len(), 32 * width);
            return Err(FolderError::Content { place: place.to_string(), why });
        }
        Ok(hashes[..width].iter().map(|hash| NodeHash::from_bytes(*hash)).collect())
    }

    /// The commitments of a bundle.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn entries(&self, place: &TilePlace) -> Result<Vec<Commitment>, FolderError> {
        self.bundle(place, decode_entries)
    }

    /// The openings of a bundle.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn openings(&self, place: &TilePlace) -> Result<Vec<Option<Opening>>, FolderError> {
        self.bundle(place, decode_openings)
    }

    fn bundle<T>(
        &self,
        place: &TilePlace,
        decode: impl Fn(&[u8], u16) -> Result<Vec<T>, BundleError>,
    ) -> Result<Vec<T>, FolderError> {
        let bytes = self.tile(place)?;
        let full = place.full().width;
        let decoded = decode(&bytes, place.width).or_else(|error| decode(&bytes, full).map_err(|_| error));
        let mut items =
            decoded.map_err(|error| FolderError::Content { place: place.to_string(), why: error.to_string() })?;
        items.truncate(usize::from(place.width));
        Ok(items)
    }
}
