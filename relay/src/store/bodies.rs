//! The body files: `bodies/ab/<BLAKE3 root in hex>`, and temporary files beside them while they are written.
//!
//! Invariant: a file appears under its final name only complete (by rename). It is deliberately not synced: after a
//! power cut it may be short or empty, which the length and the hash tell at the next load, and it is refetched. What
//! must be ordered is the index alone, and redb syncs that.

use super::catalogue::Root;
use crate::object::Tree;
use bytes::Bytes;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

const TEMPORARY: &str = "tmp-";
/// Subdirectories, by the first byte of the root.
const FANS: u64 = 256;
/// Bytes of the directories themselves.
pub(super) const DIRECTORY_BYTES: u64 = (FANS + 2) * 4096;

/// What a start-up found under a name.
pub(super) enum Found {
    /// A body, with the file's length.
    Body(Root, u64),
    /// An unfinished write.
    Temporary,
}

/// Why a body could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The file is missing, has another length, cannot be read or hashes to something else.
    Damaged(&'static str),
    /// The system lacks something at the moment; the file may be sound.
    Busy(io::Error),
}

pub(super) struct Bodies {
    dir: PathBuf,
}

impl Bodies {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn path(&self, root: &Root) -> PathBuf {
        let name = blake3::Hash::from_bytes(*root).to_hex();
        self.dir.join(&name[..2]).join(name.as_str())
    }

    /// Writes a body. On an error nothing of it stays.
    pub(super) fn write(&self, root: &Root, pieces: &[Bytes]) -> io::Result<()> {
        let path = self.path(root);
        let name = blake3::Hash::from_bytes(*root).to_hex();
        let parent = self.dir.join(&name[..2]);
        let temporary = parent.join(format!("{TEMPORARY}{name}"));
        let written = write_all(&temporary, pieces).or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            fs::create_dir_all(&parent)?;
            write_all(&temporary, pieces)
        });
        let renamed = written.and_then(|()| fs::rename(&temporary, &path));
        if renamed.is_err() {
            // The next start-up removes it if this fails as well.
            let _ = fs::remove_file(&temporary);
        }
        renamed
    }

    /// Reads a whole body and hashes it into its tree.
    pub(super) fn read(&self, root: &Root, length: u64) -> Result<(Bytes, Tree), ReadError> {
        let bytes = read_exactly(&self.path(root), length)?;
        let tree = Tree::compute(length, |offset, length| bytes.slice(offset as usize..offset as usize + length));
        if tree.root.as_bytes() != root {
            return Err(ReadError::Damaged("its hash differs"));
        }
        Ok((bytes, tree))
    }

    /// Deletes a body; that it is gone already is no error.
    pub(super) fn delete(&self, root: &Root) -> io::Result<()> {
        gone_is_fine(fs::remove_file(self.path(root)))
    }

    /// Calls `keep` with every file of ours and deletes those it refuses.
    pub(super) fn sweep(&self, mut keep: impl FnMut(Found) -> bool) -> io::Result<()> {
        for fan in fs::read_dir(&self.dir)? {
            let fan = fan?;
            if !fan.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(fan.path())? {
                let file = file?;
                let Some(found) = file.file_name().to_str().and_then(|name| found(name, &file)) else {
                    continue;
                };
                if !keep(found) {
                    gone_is_fine(fs::remove_file(file.path()))?;
                }
            }
        }
        Ok(())
    }
}

/// What lies under this name; `None` for what is not ours.
fn found(name: &str, file: &fs::DirEntry) -> Option<Found> {
    if name.starts_with(TEMPORARY) {
        return Some(Found::Temporary);
    }
    let root = blake3::Hash::from_hex(name).ok()?;
    Some(Found::Body(*root.as_bytes(), file.metadata().ok()?.len()))
}

fn write_all(path: &Path, pieces: &[Bytes]) -> io::Result<()> {
    let mut file = File::create(path)?;
    pieces.iter().try_for_each(|piece| file.write_all(piece))
}

fn read_exactly(path: &Path, length: u64) -> Result<Bytes, ReadError> {
    let mut file = File::open(path).map_err(read_error)?;
    if file.metadata().map_err(read_error)?.len() != length {
        return Err(ReadError::Damaged("its length differs"));
    }
    let length = usize::try_from(length).map_err(|_| ReadError::Damaged("it is longer than memory"))?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes).map_err(read_error)?;
    Ok(bytes.into())
}

/// EIO and its like have no stable kind of their own; what a busy system answers has.
fn read_error(error: io::Error) -> ReadError {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    match error.kind() {
        io::ErrorKind::NotFound => ReadError::Damaged("its file is missing"),
        io::ErrorKind::OutOfMemory | io::ErrorKind::PermissionDenied | io::ErrorKind::Interrupted => {
            ReadError::Busy(error)
        }
        _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => ReadError::Busy(error),
        _ => ReadError::Damaged("its file cannot be read"),
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
