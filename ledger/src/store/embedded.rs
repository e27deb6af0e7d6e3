//! The store of one process: redb.
//!
//! Every append is one transaction and one durable commit in two phases, with the allocator's state saved: what a crash
//! leaves opens at once however large the ledger is, and no content that strangers submit can make a torn commit look
//! whole. After an I/O error redb refuses all work until it is opened again, so the store opens it again by itself.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError, TableDefinition, WriteTransaction,
};

use weir_protocol::UnixMillis;

use crate::leaf::{Commitment, MessageId, Opening};
use crate::merkle::{NodeHash, TreeSize};
use crate::store::error::StoreError;
use crate::store::growth::{Completed, Growth};
use crate::store::place::{Placed, following};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta/1");
const ENTRIES: TableDefinition<'_, u64, &[u8; 32]> = TableDefinition::new("entries/1");
const OPENINGS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("openings/1");
const IDS: TableDefinition<'_, &[u8; 16], u64> = TableDefinition::new("ids/1");
const NODES: TableDefinition<'_, (u8, u64), &[u8; 32]> = TableDefinition::new("nodes/1");

const ORIGIN: &str = "origin";
const LATEST: &str = "latest time of receipt";
const CHECKPOINT: &str = "checkpoint";
const CHECKPOINT_SIZE: &str = "checkpoint size";
/// Pages that redb keeps in memory, in bytes.
const CACHE_BYTES: usize = 256 << 20;

/// How to open the database: tests open it on storage of their own.
pub type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// redb in this process.
pub struct Embedded {
    path: PathBuf,
    opener: Opener,
    /// `None` after a failure, until the next call opens it again. Held for moments only, so readers never wait for a
    /// commit.
    database: Mutex<Option<Arc<Database>>>,
    /// Whoever holds this writes. It follows the database, and is read again whenever a commit failed.
    growth: Mutex<Option<Growth>>,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embedded({})", self.path.display())
    }
}

impl Embedded {
    /// Opens or creates the file, whose folder must exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: &Path, origin: &str) -> Result<Self, StoreError> {
        let file = path.to_owned();
        Self::open_with(path, Box::new(move || builder().create(&file)), origin)
    }

    /// Opens the database that `opener` gives; `path` is for messages.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_with(path: &Path, opener: Opener, origin: &str) -> Result<Self, StoreError> {
        let store = Self { path: path.to_owned(), opener, database: Mutex::default(), growth: Mutex::default() };
        let first = (store.opener)().map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(store.path.clone()),
            error => store.unopened(error),
        })?;
        *lock(&store.database) = Some(Arc::new(first));
        store.write(|write, _| {
            let found = {
                let mut meta = write.open_table(META)?;
                let found = meta.get(ORIGIN)?.map(|value| value.value().to_vec());
                if found.is_none() {
                    meta.insert(ORIGIN, origin.as_bytes())?;
                }
                write.open_table(ENTRIES)?;
                write.open_table(OPENINGS)?;
                write.open_table(IDS)?;
                write.open_table(NODES)?;
                found
            };
            match found {
                Some(found) if found != origin.as_bytes() => {
                    let found = String::from_utf8_lossy(&found).into_owned();
                    Err(Failed::Own(StoreError::Foreign { expected: origin.to_owned(), found }))
                }
                Some(_) => Ok(()),
                None => Ok(write.commit()?),
            }
        })?;
        Ok(store)
    }

    /// A builder with this store's settings.
    #[must_use]
    pub fn builder() -> redb::Builder {
        builder()
    }

    pub(super) fn append(&self, openings: Vec<Opening>) -> Result<Vec<Placed>, StoreError> {
        self.write(|write, kept| {
            // Taken out, so that a failure on the way leaves nothing half grown behind.
            let mut growth = match kept.take() {
                Some(growth) => growth,
                None => resume(&write)?,
            };
            let placed = add(&write, &mut growth, openings)?;
            if placed.iter().any(|placed| placed.fresh) {
                write.commit()?;
            }
            *kept = Some(growth);
            Ok(placed)
        })
    }

    pub(super) fn size(&self) -> Result<TreeSize, StoreError> {
        self.read(|read| {
            let last = read.open_table(ENTRIES)?.last()?.map(|(index, _)| index.value() + 1);
            Ok(TreeSize::new(last.unwrap_or(0)))
        })
    }

    pub(super) fn entries(&self, range: Range<u64>) -> Result<Vec<Commitment>, StoreError> {
        self.read(|read| {
            let table = read.open_table(ENTRIES)?;
            table.range(range)?.map(|row| Ok(Commitment(*row?.1.value()))).collect()
        })
    }

    pub(super) fn nodes(&self, level: u8, range: Range<u64>) -> Result<Vec<NodeHash>, StoreError> {
        self.read(|read| {
            let table = read.open_table(NODES)?;
            let rows = table.range((level, range.start)..(level, range.end))?;
            rows.map(|row| Ok(NodeHash::from_bytes(*row?.1.value()))).collect()
        })
    }

    pub(super) fn openings(&self, range: Range<u64>) -> Result<Vec<(u64, Opening)>, StoreError> {
        self.read(|read| {
            let table = read.open_table(OPENINGS)?;
            let mut openings = Vec::new();
            for row in table.range(range)? {
                let (index, bytes) = row?;
                openings.push((index.value(), decode(bytes.value())?));
            }
            Ok(openings)
        })
    }

    pub(super) fn find(&self, id: &MessageId) -> Result<Option<u64>, StoreError> {
        self.read(|read| Ok(read.open_table(IDS)?.get(&id.0)?.map(|index| index.value())))
    }

    pub(super) fn forget(&self, indices: &[u64]) -> Result<u64, StoreError> {
        self.write(|write, _| {
            let mut forgotten = 0;
            {
                let mut openings = write.open_table(OPENINGS)?;
                let mut ids = write.open_table(IDS)?;
                for index in indices {
                    let id = match openings.remove(index)? {
                        Some(bytes) => decode(bytes.value())?.id(),
                        None => continue,
                    };
                    ids.remove(&id.0)?;
                    forgotten += 1;
                }
            }
            write.commit()?;
            Ok(forgotten)
        })
    }

    pub(super) fn checkpoint(&self) -> Result<Option<String>, StoreError> {
        self.read(|read| match read.open_table(META)?.get(CHECKPOINT)? {
            None => Ok(None),
            Some(note) => match std::str::from_utf8(note.value()) {
                Ok(note) => Ok(Some(note.to_owned())),
                Err(_) => Err(Failed::Own(StoreError::Damaged("the checkpoint is no text".into()))),
            },
        })
    }

    pub(super) fn keep_checkpoint(&self, size: TreeSize, note: &str) -> Result<(), StoreError> {
        self.write(|write, _| {
            {
                let mut meta = write.open_table(META)?;
                let kept =
                    meta.get(CHECKPOINT_SIZE)?.and_then(|kept| kept.value().try_into().ok()).map(u64::from_be_bytes);
                if kept.is_some_and(|kept| kept > size.get()) {
                    return Ok(());
                }
                meta.insert(CHECKPOINT_SIZE, size.get().to_be_bytes().as_slice())?;
                meta.insert(CHECKPOINT, note.as_bytes())?;
            }
            Ok(write.commit()?)
        })
    }

    fn read<T>(&self, work: impl FnOnce(&redb::ReadTransaction) -> Result<T, Failed>) -> Result<T, StoreError> {
        let database = self.database()?;
        let done = database.begin_read().map_err(Failed::from).and_then(|read| work(&read));
        done.map_err(|error| self.failed(error))
    }

    /// Runs one writing transaction at a time.
    fn write<T>(
        &self,
        work: impl FnOnce(WriteTransaction, &mut Option<Growth>) -> Result<T, Failed>,
    ) -> Result<T, StoreError> {
        let mut growth = lock(&self.growth);
        let database = self.database()?;
        begin(&database).and_then(|write| work(write, &mut growth)).map_err(|error| {
            *growth = None;
            self.failed(error)
        })
    }

    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let mut database = lock(&self.database);
        if let Some(database) = &*database {
            return Ok(Arc::clone(database));
        }
        let opened = (self.opener)().map_err(|error| self.unopened(error))?;
        Ok(Arc::clone(database.insert(Arc::new(opened))))
    }

    /// Closes the database after an error of its own, so that the next call opens it anew: redb answers nothing else
    /// after an I/O error.
    fn failed(&self, error: Failed) -> StoreError {
        if !matches!(error, Failed::Own(_)) {
            *lock(&self.database) = None;
        }
        self.failure(error)
    }

    fn unopened(&self, error: DatabaseError) -> StoreError {
        match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::Unavailable("its last readers are still ending".into()),
            DatabaseError::Storage(error) => self.failure(Failed::Redb(error.into())),
            other => StoreError::Damaged(format!("{}: {other}", self.path.display())),
        }
    }

    fn failure(&self, error: Failed) -> StoreError {
        match error {
            Failed::Own(error) => error,
            Failed::Redb(redb::Error::Io(error)) => StoreError::io(&error),
            Failed::Redb(redb::Error::PreviousIo) => StoreError::Unavailable("after an earlier failure".into()),
            Failed::Redb(error) => StoreError::Damaged(format!("{}: {error}", self.path.display())),
        }
    }
}

/// A panic elsewhere leaves nothing wrong behind: the database undoes what was not committed, and `growth` is taken out
/// while it changes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What fails inside a transaction.
enum Failed {
    Own(StoreError),
    Redb(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn begin(database: &Database) -> Result<WriteTransaction, Failed> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    Ok(write)
}

fn decode(bytes: &[u8]) -> Result<Opening, Failed> {
    Opening::decode(bytes).map_err(|error| Failed::Own(StoreError::Damaged(format!("an opening: {error}"))))
}

fn resume(write: &WriteTransaction) -> Result<Growth, Failed> {
    let entries = write.open_table(ENTRIES)?;
    let nodes = write.open_table(NODES)?;
    let size = entries.last()?.map_or(0, |(index, _)| index.value() + 1);
    let mut edges = Vec::new();
    let mut hashes = size;
    for (level, width) in Growth::edge_widths(TreeSize::new(size)).into_iter().enumerate() {
        let range = hashes - width..hashes;
        let edge: Vec<NodeHash> = if level == 0 {
            let rows = entries.range(range)?;
            rows.map(|row| Ok(Commitment(*row?.1.value()).leaf_hash().into())).collect::<Result<_, StorageError>>()?
        } else {
            let level = level as u8;
            let rows = nodes.range((level, range.start)..(level, range.end))?;
            rows.map(|row| Ok(NodeHash::from_bytes(*row?.1.value()))).collect::<Result<_, StorageError>>()?
        };
        if edge.len() as u64 != width {
            return Err(Failed::Own(StoreError::Damaged(format!("{} of {width} hashes at level {level}", edge.len()))));
        }
        edges.push(edge);
        hashes /= crate::tile::TILE_WIDTH;
    }
    Ok(Growth::resume(TreeSize::new(size), edges))
}

fn add(write: &WriteTransaction, growth: &mut Growth, openings: Vec<Opening>) -> Result<Vec<Placed>, Failed> {
    let mut entries = write.open_table(ENTRIES)?;
    let mut bodies = write.open_table(OPENINGS)?;
    let mut ids = write.open_table(IDS)?;
    let mut nodes = write.open_table(NODES)?;
    let mut meta = write.open_table(META)?;
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
    let mut latest = UnixMillis(meta.get(LATEST)?.and_then(|bytes| number(bytes.value())).unwrap_or(0));
    let mut placed = Vec::with_capacity(openings.len());
    for mut opening in openings {
        let id = opening.id();
        if let Some(index) = ids.get(&id.0)?.map(|index| index.value()) {
            let kept = bodies.get(index)?.map(|bytes| decode(bytes.value())).transpose()?;
            let missing = || Failed::Own(StoreError::Damaged(format!("leaf {index} has an id and no opening")));
            placed.push(Placed { index, opening: kept.ok_or_else(missing)?, fresh: false });
            continue;
        }
        let index = growth.size().get();
        opening.received = following(latest, opening.received).map_err(Failed::Own)?;
        latest = opening.received;
        let commitment = opening.commitment();
        entries.insert(index, &commitment.0)?;
        bodies.insert(index, opening.encode().as_slice())?;
        ids.insert(&id.0, index)?;
        let mut full: Vec<Completed> = Vec::new();
        growth.append(commitment.leaf_hash(), |completed| full.push(completed));
        for completed in full {
            nodes.insert((completed.level, completed.index), completed.hash.as_bytes())?;
        }
        placed.push(Placed { index, opening, fresh: true });
    }
    meta.insert(LATEST, latest.0.to_be_bytes().as_slice())?;
    Ok(placed)
}
