//! The index of the disk tier in redb: resource hash to CBOR, and resource hash to access stamp.
//!
//! Invariants: one commit carries everything a batch of writes and deletions changed; a database that reports damage
//! is moved aside and replaced by an empty one, because every body can be refetched. After an I/O error redb refuses
//! all work until it is opened again, so the index reopens itself.

use super::StoreError;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, TableError,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use weir_protocol::ids::ResourceHash;

const ENTRIES: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("entries/1");
const ACCESS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("access/1");
/// Pages redb keeps in memory.
const CACHE_BYTES: usize = 8 << 20;
/// What one transaction writes beside the pages it replaces: [`MAX_CHANGES`] leaves of both tables, the branches above
/// them and [`MAX_PUT_BYTES`] of new values, rounded up generously.
const TRANSACTION_BYTES: u64 = 3 << 20;
/// Resources one transaction may change.
pub(super) const MAX_CHANGES: usize = 128;
/// Index entries one transaction may add, in bytes.
pub(super) const MAX_PUT_BYTES: usize = 512 << 10;

/// One transaction: removals first, then entries with their stamps, then stamps alone.
#[derive(Default)]
pub(super) struct Change {
    pub(super) remove: Vec<ResourceHash>,
    pub(super) put: Vec<(ResourceHash, Vec<u8>, u64)>,
    pub(super) touch: Vec<(ResourceHash, u64)>,
}

pub(super) struct Index {
    path: PathBuf,
    /// `None` while it could not be opened again.
    database: RwLock<Option<Database>>,
    bytes: AtomicU64,
}

impl Index {
    /// Opens the index, checked; a damaged one begins anew. The caller has locked the directory.
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let database = match open_caught(&path) {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::Locked { path }),
            Err(DatabaseError::Storage(StorageError::Io(source))) if !is_damage(&source) => {
                return Err(StoreError::io(&path, source));
            }
            Err(damage) => {
                let aside = path.with_extension("redb.damaged");
                tracing::warn!(index = %path.display(), aside = %aside.display(), error = %damage,
                    "the cache index is damaged: moved aside, the cache begins empty");
                fs::rename(&path, &aside).map_err(|source| StoreError::io(&path, source))?;
                let why = |error: DatabaseError| StoreError::Index { path: path.clone(), why: error.to_string() };
                open_caught(&path).map_err(why)?
            }
        };
        let index = Self { path, database: RwLock::new(Some(database)), bytes: AtomicU64::new(0) };
        index.measure();
        Ok(index)
    }

    /// Bytes of the index file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Bytes the file may grow by in one transaction: redb doubles a file that has no room for what is written.
    pub(super) fn growth(&self) -> u64 {
        self.bytes() + 2 * TRANSACTION_BYTES
    }

    fn measure(&self) {
        if let Ok(meta) = fs::metadata(&self.path) {
            self.bytes.store(meta.len(), Ordering::Release);
        }
    }

    /// The entry of a resource.
    pub(super) fn get(&self, hash: &ResourceHash) -> Result<Option<Vec<u8>>, redb::Error> {
        self.with(|database| {
            let table = match database.begin_read()?.open_table(ENTRIES) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            Ok(table.get(hash.as_bytes())?.map(|value| value.value().to_vec()))
        })
    }

    /// Calls `each` with every entry and its stamp.
    pub(super) fn for_each(&self, mut each: impl FnMut(ResourceHash, &[u8], u64)) -> Result<(), redb::Error> {
        self.with(|database| {
            let read = database.begin_read()?;
            let entries = match read.open_table(ENTRIES) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(()),
                table => table?,
            };
            let access = read.open_table(ACCESS)?;
            for item in entries.iter()? {
                let (hash, value) = item?;
                let stamp = access.get(hash.value())?.map_or(0, |stamp| stamp.value());
                each(ResourceHash(*hash.value()), value.value(), stamp);
            }
            Ok(())
        })
    }

    /// Commits and syncs one change.
    pub(super) fn commit(&self, change: &Change) -> Result<(), redb::Error> {
        let result = self.with(|database| {
            let write = database.begin_write()?;
            {
                let mut entries = write.open_table(ENTRIES)?;
                let mut access = write.open_table(ACCESS)?;
                for hash in &change.remove {
                    entries.remove(hash.as_bytes())?;
                    access.remove(hash.as_bytes())?;
                }
                for (hash, meta, stamp) in &change.put {
                    entries.insert(hash.as_bytes(), meta.as_slice())?;
                    access.insert(hash.as_bytes(), stamp)?;
                }
                for (hash, stamp) in &change.touch {
                    access.insert(hash.as_bytes(), stamp)?;
                }
            }
            Ok(write.commit()?)
        });
        self.measure();
        result
    }

    /// Gives unused pages back to the file system, at start-up, when no reader is about.
    pub(super) fn compact(&self) {
        let mut guard = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = guard.as_mut().map(Database::compact) {
            tracing::warn!(index = %self.path.display(), %error, "the cache index could not be compacted");
        }
        drop(guard);
        self.measure();
    }

    /// Opens the database again after an I/O error.
    pub(super) fn reopen(&self) -> Result<(), DatabaseError> {
        let mut guard = self.database.write().unwrap_or_else(PoisonError::into_inner);
        *guard = None;
        *guard = Some(builder().open(&self.path)?);
        Ok(())
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        work(guard.as_ref().ok_or(redb::Error::DatabaseClosed)?)
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// A damaged file may make redb panic instead of reporting it; nothing outlives the unwinding but the file.
fn open_caught(path: &Path) -> Result<Database, DatabaseError> {
    std::panic::catch_unwind(|| open_checked(path))
        .unwrap_or_else(|_| Err(StorageError::Corrupted("it cannot be read".to_owned()).into()))
}

/// Opens or creates the database and reads every page once: redb checks pages only then, and later panics on what it
/// cannot read.
fn open_checked(path: &Path) -> Result<Database, DatabaseError> {
    let mut database = builder().create(path)?;
    if !database.check_integrity()? {
        tracing::info!(index = %path.display(), "the cache index was repaired");
    }
    Ok(database)
}

/// redb reports a file that is no database, or too short for one, as these kinds.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
