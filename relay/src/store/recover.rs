//! Opening a directory that a running, a killed or an older process left behind.
//!
//! Invariant: afterwards every row has an indexed body whose file has the indexed length, no other file of ours is
//! left, and the directory is below its cap. The work is one pass over the index and one over the file names; bodies
//! are hashed when they are loaded.

use super::{
    DiskConfig, EvictReason, IntegrityStage, MIN_DISK_BYTES, StoreError, StoreEvents, Tier,
    bodies::{Bodies, Found},
    catalogue::{Catalogue, Root},
    disk::{Opened, budget},
    index::{Change, Index},
    meta,
};
use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, TryLockError},
    path::Path,
};
use weir_protocol::ids::ResourceHash;

/// The catalogue lies in memory (about 250 bytes a row), so rows are bounded by the cap as well: one for each of these.
const BYTES_PER_ROW: u64 = 64 << 10;
const MIN_ROWS: u64 = 16 << 10;
const MAX_ROWS: u64 = 4 << 20;
/// An index moved aside is kept for inspection only if it takes at most this part of the cap.
const ASIDE_PART: u64 = 16;
/// An index beyond this part of the cap is compacted.
const INDEX_PART: u64 = 8;

struct Indexed {
    hash: ResourceHash,
    root: Root,
    length: u64,
    stamp: u64,
}

/// Opens the directory for this process alone.
pub(super) fn open(config: DiskConfig, events: &dyn StoreEvents) -> Result<Opened, StoreError> {
    let DiskConfig { dir, bytes: cap } = config;
    if cap < MIN_DISK_BYTES {
        return Err(StoreError::TooSmall { bytes: cap });
    }
    create_dir(&dir)?;
    let lock = lock(&dir)?;
    let files = dir.join("bodies");
    create_dir(&files)?;
    let index = Index::open(dir.join("index.redb"))?;
    let aside = aside(&dir, cap)?;
    let bodies = Bodies::new(files.clone());
    let mut change = Change::default();
    let mut rows = read_index(&index, &mut change)?;
    let present = sweep(&bodies, &rows, events).map_err(|source| StoreError::io(&files, source))?;
    rows.retain(|row| {
        let there = present.contains(&row.root);
        if !there {
            change.remove.push(row.hash);
        }
        there
    });
    rows.sort_by_key(|row| row.stamp);
    let max_rows = (cap / BYTES_PER_ROW).clamp(MIN_ROWS, MAX_ROWS);
    let mut catalogue = Catalogue::new(max_rows as usize);
    for row in &rows {
        catalogue.found(row.hash, row.root, row.length, row.stamp);
    }
    let parts = Parts { cap, aside, bodies: &bodies, index: &index, events };
    parts.fit(&mut catalogue, change).map_err(|source| StoreError::io(&files, source))?;
    if index.bytes() > cap / INDEX_PART {
        index.compact();
        parts.fit(&mut catalogue, Change::default()).map_err(|source| StoreError::io(&files, source))?;
    }
    Ok(Opened { cap, bodies, index, catalogue, aside, lock, dir })
}

fn create_dir(dir: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(dir).map_err(|source| StoreError::io(dir, source))?;
    if dir.is_dir() { Ok(()) } else { Err(StoreError::NotADirectory { path: dir.to_owned() }) }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(|source| StoreError::io(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(StoreError::io(&path, source)),
    }
}

/// Bytes of an index that was moved aside; one that would crowd out bodies is deleted.
fn aside(dir: &Path, cap: u64) -> Result<u64, StoreError> {
    let path = dir.join("index.redb.damaged");
    let bytes = fs::metadata(&path).map_or(0, |meta| meta.len());
    if bytes > cap / ASIDE_PART {
        fs::remove_file(&path).map_err(|source| StoreError::io(&path, source))?;
        return Ok(0);
    }
    Ok(bytes)
}

/// The rows of the index; what cannot be read is to be removed.
fn read_index(index: &Index, change: &mut Change) -> Result<Vec<Indexed>, StoreError> {
    let mut rows = Vec::new();
    let read = index.for_each(|hash, bytes, stamp| match meta::body_of(bytes) {
        Ok((root, length)) => rows.push(Indexed { hash, root, length, stamp }),
        Err(_) => change.remove.push(hash),
    });
    read.map_err(|error| StoreError::Index { path: "index.redb".into(), why: error.to_string() })?;
    Ok(rows)
}

/// Deletes temporary files, bodies that no row refers to and bodies of another length; returns those that stay.
fn sweep(bodies: &Bodies, rows: &[Indexed], events: &dyn StoreEvents) -> std::io::Result<HashSet<Root>> {
    let wanted: HashMap<Root, u64> = rows.iter().map(|row| (row.root, row.length)).collect();
    let mut present = HashSet::new();
    bodies.sweep(|found| match found {
        Found::Temporary => false,
        Found::Body(root, length) => match wanted.get(&root) {
            Some(expected) if *expected == length => {
                present.insert(root);
                true
            }
            Some(_) => {
                events.integrity_failure(IntegrityStage::DiskBody);
                false
            }
            None => false,
        },
    })?;
    Ok(present)
}

/// What fitting the rows below the cap needs.
struct Parts<'a> {
    cap: u64,
    aside: u64,
    bodies: &'a Bodies,
    index: &'a Index,
    events: &'a dyn StoreEvents,
}

impl Parts<'_> {
    /// Evicts until the directory is below its cap and commits that together with `change`. A commit can make the
    /// index grow, so that a few more rows must go.
    fn fit(&self, catalogue: &mut Catalogue, mut change: Change) -> std::io::Result<()> {
        loop {
            let budget = budget(self.cap, self.index, self.aside);
            for _ in catalogue.shrink(budget, catalogue.max_rows(), |_| 0) {
                self.events.evicted(Tier::Disk, EvictReason::Capacity);
            }
            for root in catalogue.doomed() {
                self.bodies.delete(&root)?;
                catalogue.deleted(&root);
            }
            change.remove.extend(catalogue.take_unindexed(usize::MAX));
            if change.remove.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.index.commit(&change) {
                // A full disk is no reason not to start: without a row an index entry is not served, and the writer
                // removes it later.
                tracing::warn!(%error, "stale entries stay in the cache index for now");
                change.remove.drain(..).for_each(|hash| catalogue.unindex(hash));
                return self.index.reopen().map_err(std::io::Error::other);
            }
            change.remove.clear();
        }
    }
}
