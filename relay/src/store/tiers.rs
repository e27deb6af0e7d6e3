//! The store: both tiers behind one door.

use super::{
    SkipReason, StoreConfig, StoreError, StoreEvents,
    disk::Disk,
    memory::Memory,
    meta::{self, Vouched},
    purge, reader, recover,
    shared::{Reverify, Shared},
    writer,
};
use crate::object::{Ended, Entry};
use std::sync::{Arc, atomic::Ordering};
use tokio_util::sync::CancellationToken;
use weir_protocol::{ids::ResourceHash, resource::ResourceKey, time::UnixMillis};

/// Bodies that wait for the disk writer may hold this many bytes (or one longest body, if that is more).
const QUEUE_BYTES: u64 = 64 << 20;
/// Loads may hold this part of the memory tier's capacity at a time, beside the tier itself.
const LOAD_PART: u64 = 4;

/// How full the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// Bytes memory may hold.
    pub memory_capacity: u64,
    /// Entries in memory.
    pub memory_entries: u64,
    /// Bytes on disk: bodies, index, directories.
    pub disk_bytes: u64,
    /// Bytes the disk tier may take; 0 without one.
    pub disk_capacity: u64,
    /// Resources on disk.
    pub disk_entries: u64,
    /// Bytes of bodies that wait for the disk writer.
    pub queued_bytes: u64,
    /// Entries that wait for the disk writer.
    pub queued_entries: u64,
}

/// Keeps whole, shareable responses. Everything but [`Store::load`] and [`Store::open`] is free of I/O.
pub struct Store {
    pub(super) shared: Arc<Shared>,
}

impl Store {
    /// Opens the store and recovers what a killed process left. Blocks for file I/O: call it before the node serves.
    ///
    /// # Errors
    /// [`StoreError`]: the directory cannot be used. A damaged index is no error: it is moved aside, and the cache
    /// begins empty.
    pub fn open(config: StoreConfig, reverify: Reverify, events: Arc<dyn StoreEvents>) -> Result<Self, StoreError> {
        let StoreConfig { memory_bytes, max_object_bytes, disk } = config;
        let memory = Memory::new(memory_bytes, max_object_bytes, events.clone());
        let disk = match disk {
            None => None,
            Some(config) => {
                let opened = recover::open(config, &*events)?;
                memory.tick(opened.catalogue.last_stamp());
                Some(Disk::new(opened, QUEUE_BYTES.max(max_object_bytes), memory_bytes / LOAD_PART))
            }
        };
        Ok(Self { shared: Arc::new(Shared { memory, disk, reverify, events, max_object: max_object_bytes }) })
    }

    /// An entry in memory.
    pub fn get(&self, hash: &ResourceHash) -> Option<Arc<Entry>> {
        self.shared.memory.get(hash)
    }

    /// An entry from disk, now in memory as well: its record verified again, its body read and hashed. `None` when
    /// there is none or what is there is damaged (then it is dropped), so that the caller fetches it. Concurrent loads
    /// of one resource read once. `now` tells which pins have ended.
    pub async fn load(&self, hash: &ResourceHash, now: UnixMillis) -> Option<Arc<Entry>> {
        reader::load(&self.shared, hash, now).await
    }

    /// Keeps a whole, shareable entry, replacing an older one of the same resource: in memory at once, on disk soon if
    /// a record or a trusted upstream vouches for it (insert it again once its record is there). Nothing else may be
    /// passed.
    pub fn insert(&self, entry: Arc<Entry>) {
        let shared = &self.shared;
        let whole = entry.body.ended() == Some(Ended::Whole) && entry.body.pieces().is_some();
        debug_assert!(whole && entry.is_shareable(), "only whole, shareable entries are stored");
        if !whole || !entry.is_shareable() {
            return;
        }
        if entry.body.length() > shared.max_object || !shared.memory.holds(entry.weight()) {
            shared.events.skipped(SkipReason::TooLarge);
            self.remove(&entry.hash);
            return;
        }
        let Some(disk) = &shared.disk else {
            drop(shared.memory.insert(entry));
            return;
        };
        let skipped = if disk.is_broken() {
            Some(SkipReason::Error)
        } else if matches!(meta::vouched(&entry), Vouched::No) {
            Some(SkipReason::Unvouched)
        } else {
            None
        };
        // Memory changes under the state lock, so that a load that ends now cannot put its older entry over this one.
        let mut state = disk.lock();
        state.catalogue.observe(entry.received);
        let evicted = shared.memory.insert(entry.clone());
        let skipped = skipped.or_else(|| (!state.queue.push(entry.clone())).then_some(SkipReason::QueueFull));
        if skipped.is_some() {
            // The copy on disk is older than this entry and must not come back after it.
            state.queue.remove(&entry.hash);
            state.catalogue.remove(&entry.hash);
        }
        drop(state);
        drop(evicted);
        disk.work.notify_one();
        if let Some(reason) = skipped {
            shared.events.skipped(reason);
        }
    }

    /// Like [`Store::insert`], but in memory only; a copy of it on disk is removed, since it would be older.
    pub fn insert_in_memory(&self, entry: Arc<Entry>) {
        let shared = &self.shared;
        let whole = entry.body.ended() == Some(Ended::Whole) && entry.body.pieces().is_some();
        debug_assert!(whole && entry.is_shareable(), "only whole, shareable entries are stored");
        if !whole || !entry.is_shareable() {
            return;
        }
        self.remove(&entry.hash);
        if entry.body.length() > shared.max_object || !shared.memory.holds(entry.weight()) {
            return shared.events.skipped(SkipReason::TooLarge);
        }
        drop(shared.memory.insert(entry));
        shared.events.skipped(SkipReason::NotAdmitted);
    }

    /// True when the disk tier has begun to evict, or soon will. Without one: false.
    pub fn is_full(&self) -> bool {
        self.shared.disk.as_ref().is_some_and(|disk| disk.lock().catalogue.bytes() >= disk.budget() / 10 * 9)
    }

    /// Forgets a resource in both tiers at once. The index follows with the writer's next commit; a kill before that
    /// brings the entry back.
    pub fn remove(&self, hash: &ResourceHash) {
        let Some(disk) = &self.shared.disk else {
            return self.shared.memory.remove(hash);
        };
        let mut state = disk.lock();
        state.queue.remove(hash);
        state.catalogue.remove(hash);
        self.shared.memory.remove(hash);
        drop(state);
        disk.work.notify_one();
    }

    /// Forgets every resource whose key `matches`: in memory at once, on disk after reading the index through on a
    /// blocking thread. An entry that is inserted meanwhile may stay. Returns how many went.
    pub async fn purge(&self, matches: impl Fn(&ResourceKey) -> bool + Send + 'static) -> usize {
        purge::purge(&self.shared, matches).await
    }

    /// Until `until` memory keeps this resource, whatever else is read, as far as an eighth of its capacity goes, and
    /// the disk tier evicts it after all that are not pinned; also if it is not there yet. False when too many are pinned.
    pub fn pin(&self, hash: &ResourceHash, until: UnixMillis) -> bool {
        let on_disk = self.shared.disk.as_ref().is_none_or(|disk| disk.lock().catalogue.pin(*hash, until));
        self.shared.memory.pin(hash, until) && on_disk
    }

    /// How full both tiers are.
    pub fn usage(&self) -> Usage {
        let memory = &self.shared.memory;
        let mut usage = Usage {
            memory_bytes: memory.bytes(),
            memory_capacity: memory.capacity(),
            memory_entries: memory.len(),
            disk_bytes: 0,
            disk_capacity: 0,
            disk_entries: 0,
            queued_bytes: 0,
            queued_entries: 0,
        };
        if let Some(disk) = &self.shared.disk {
            usage.disk_bytes = disk.bytes();
            usage.disk_capacity = disk.cap;
            let state = disk.lock();
            usage.disk_entries = state.catalogue.len() as u64;
            usage.queued_bytes = state.queue.bytes();
            usage.queued_entries = state.queue.len();
        }
        usage
    }

    /// Waits until everything inserted and removed before is on disk, or was skipped because the disk fails. Needs
    /// [`Store::run`]; after its end it returns at once.
    pub async fn flush(&self) {
        let Some(disk) = &self.shared.disk else { return };
        let mine = disk.flushes.fetch_add(1, Ordering::AcqRel) + 1;
        disk.hurry.notify_one();
        // The sender lives as long as the store.
        let _ = disk.flushed.subscribe().wait_for(|done| *done >= mine).await;
    }

    /// Writes to disk until cancelled, then what is queued, within five seconds. Run it once, beside everything else;
    /// a failing disk does not end it.
    ///
    /// # Errors
    /// None at present: a disk tier that fails is skipped, and serving goes on.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) -> Result<(), StoreError> {
        writer::run(&self.shared, cancel).await;
        Ok(())
    }
}
