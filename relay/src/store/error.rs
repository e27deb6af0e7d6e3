//! Why a store cannot be opened or used.

use super::MIN_DISK_BYTES;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Why the store cannot work; each names the path and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The process may not read or write there.
    #[error("no permission to use {path} as cache directory ({source}): change its owner or choose another directory")]
    Permission {
        /// What was refused.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Something else than a directory lies there.
    #[error("{path} is not a directory: choose another cache directory")]
    NotADirectory {
        /// What lies there.
        path: PathBuf,
    },
    /// Another process has this store open.
    #[error("the cache directory {path} is in use by another process: stop it or choose another directory")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The disk tier's cap is below [`MIN_DISK_BYTES`].
    #[error("a disk cache of {bytes} bytes is too small: give it at least {MIN_DISK_BYTES} bytes or none at all")]
    TooSmall {
        /// The cap that was asked for.
        bytes: u64,
    },
    /// The file system failed otherwise.
    #[error("cannot use the cache directory: {path}: {source}")]
    Io {
        /// What failed.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The index cannot be opened, even as an empty one.
    #[error("cannot use the cache index {path}: {why}")]
    Index {
        /// The index file.
        path: PathBuf,
        /// What the database says.
        why: String,
    },
}

impl StoreError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Permission { path, source },
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Self::NotADirectory { path },
            _ => Self::Io { path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_map_to_what_the_operator_can_do() {
        let of = |kind: io::ErrorKind| StoreError::io(Path::new("/x"), kind.into());
        assert!(matches!(of(io::ErrorKind::PermissionDenied), StoreError::Permission { .. }));
        assert!(matches!(of(io::ErrorKind::ReadOnlyFilesystem), StoreError::Permission { .. }));
        assert!(matches!(of(io::ErrorKind::NotADirectory), StoreError::NotADirectory { .. }));
        assert!(matches!(of(io::ErrorKind::StorageFull), StoreError::Io { .. }));
    }
}
