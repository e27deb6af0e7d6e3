//! The disk tier as its reader and its writer share it.
//!
//! Invariant: bodies, the index file, the room it may grow into and the directories together stay below the cap,
//! because every body is reserved before it is written against what the index leaves over.

use super::{
    bodies::{Bodies, DIRECTORY_BYTES},
    catalogue::Catalogue,
    index::Index,
    queue::Queue,
};
use crate::object::Entry;
use std::{
    collections::HashMap,
    fs::File,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, Semaphore, watch};
use weir_protocol::ids::ResourceHash;

/// A failing disk is warned about this often.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// Loads that read and hash at the same time.
pub(super) const LOADS_AT_ONCE: u32 = 32;

/// How a load ended, for those who wait for it: `None` while it runs.
pub(super) type Loaded = Option<Option<Arc<Entry>>>;

pub(super) struct State {
    pub(super) catalogue: Catalogue,
    pub(super) queue: Queue,
    pub(super) loads: HashMap<ResourceHash, watch::Receiver<Loaded>>,
}

pub(super) struct Disk {
    pub(super) dir: PathBuf,
    pub(super) cap: u64,
    pub(super) bodies: Bodies,
    pub(super) index: Index,
    pub(super) state: Mutex<State>,
    /// Bytes lying in the directory that the store does not manage: an index moved aside.
    pub(super) aside: u64,
    /// Held by whoever writes.
    pub(super) writing: Mutex<()>,
    /// There is something to write.
    pub(super) work: Notify,
    /// Somebody waits for it to be written.
    pub(super) hurry: Notify,
    /// Flushes asked for, and the last one that is done.
    pub(super) flushes: AtomicU64,
    pub(super) flushed: watch::Sender<u64>,
    /// Bytes that loads may hold, in units of `load_unit`.
    pub(super) gate: Arc<Semaphore>,
    pub(super) load_unit: u64,
    broken: AtomicBool,
    warned: Mutex<Option<Instant>>,
    /// Locked as long as this lives.
    pub(super) _lock: File,
}

/// The parts that opening a directory yields.
pub(super) struct Opened {
    pub(super) dir: PathBuf,
    pub(super) cap: u64,
    pub(super) bodies: Bodies,
    pub(super) index: Index,
    pub(super) catalogue: Catalogue,
    pub(super) aside: u64,
    pub(super) lock: File,
}

impl Disk {
    /// `largest` is the longest body that is kept, `queue_bytes` what may wait for the writer and `load_bytes` what
    /// loads may hold at a time.
    pub(super) fn new(opened: Opened, queue_bytes: u64, load_bytes: u64) -> Self {
        let Opened { dir, cap, bodies, index, catalogue, aside, lock } = opened;
        let state = State { catalogue, queue: Queue::new(queue_bytes), loads: HashMap::new() };
        Self {
            dir,
            cap,
            bodies,
            index,
            state: Mutex::new(state),
            aside,
            writing: Mutex::new(()),
            work: Notify::new(),
            hurry: Notify::new(),
            flushes: AtomicU64::new(0),
            flushed: watch::Sender::new(0),
            gate: Arc::new(Semaphore::new(LOADS_AT_ONCE as usize)),
            load_unit: (load_bytes / u64::from(LOADS_AT_ONCE)).max(1),
            broken: AtomicBool::new(false),
            warned: Mutex::new(None),
            _lock: lock,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between related changes of the state; what a poisoned one holds is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that bodies may take now.
    pub(super) fn budget(&self) -> u64 {
        budget(self.cap, &self.index, self.aside)
    }

    /// Bytes taken now.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().catalogue.bytes() + self.index.bytes() + DIRECTORY_BYTES + self.aside
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Takes the disk tier out of use for this process: the database panicked, and what it holds cannot be told.
    pub(super) fn give_up(&self) {
        if !self.broken.swap(true, Ordering::AcqRel) {
            self.lock().queue.clear();
            tracing::error!(dir = %self.dir.display(), "the cache index failed: the disk tier is off until a restart");
        }
    }

    /// Warns about a failing disk once in a while.
    pub(super) fn warn(&self, doing: &str, error: &dyn std::fmt::Display) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            *warned = Some(Instant::now());
            tracing::warn!(dir = %self.dir.display(), doing, %error, "the disk cache fails; serving goes on without it");
        }
    }
}

/// What a cap leaves for bodies beside the index, its growth and the directories.
pub(super) fn budget(cap: u64, index: &Index, aside: u64) -> u64 {
    cap.saturating_sub(DIRECTORY_BYTES + aside + index.bytes() + index.growth())
}
