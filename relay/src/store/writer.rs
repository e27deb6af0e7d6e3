//! Everything that changes the disk: one batch at a time, on a blocking thread.
//!
//! Order within a batch: doomed files are deleted, new bodies written (each reserved first), one index transaction
//! committed, rows published. A kill in between leaves bodies without an index entry or entries without a body; both
//! are dropped at the next start. After a failed commit it is unknown what the index holds, so that the resources of
//! the batch lose their rows and are removed from the index by a later one.

use super::{
    DiskOp, EvictReason, SkipReason, Tier,
    catalogue::Root,
    disk::Disk,
    index::{Change, MAX_CHANGES, MAX_PUT_BYTES},
    meta::{self, MAX_META, Vouched},
    shared::Shared,
};
use crate::object::Entry;
use bytes::Bytes;
use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// After the first thing to write, others are awaited this long, so that they share a commit and its sync.
const GATHER: Duration = Duration::from_millis(250);
/// Access stamps are written at least this often.
const STAMP_EVERY: Duration = Duration::from_secs(60);
/// Time for what is queued at shut-down; a batch that has begun is finished.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// Entries and bytes of one batch; a kill loses at most one.
const BATCH_ENTRIES: usize = 32;
const BATCH_BYTES: u64 = 32 << 20;

/// How a batch ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// More of the same can be done at once.
    More,
    /// Nothing is left, or what is left must wait because the disk fails.
    Rest,
}

/// A body that is in place, and the index entry that will refer to it.
struct Placed {
    entry: Arc<Entry>,
    root: Root,
    stamp: u64,
}

/// Writes until cancelled, then what is queued.
pub(super) async fn run(shared: &Arc<Shared>, cancel: CancellationToken) {
    let Some(disk) = &shared.disk else {
        return cancel.cancelled().await;
    };
    let mut stamps = tokio::time::interval_at(tokio::time::Instant::now() + STAMP_EVERY, STAMP_EVERY);
    stamps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !cancel.is_cancelled() {
        let stamping = tokio::select! {
            () = disk.hurry.notified() => false,
            () = disk.work.notified() => {
                tokio::select! {
                    () = disk.hurry.notified() => {}
                    () = tokio::time::sleep(GATHER) => {}
                    () = cancel.cancelled() => {}
                }
                false
            }
            _ = stamps.tick() => true,
            () = cancel.cancelled() => break,
        };
        let asked = disk.flushes.load(Ordering::Acquire);
        while batch(shared, stamping).await == Progress::More && !cancel.is_cancelled() {}
        if !cancel.is_cancelled() {
            disk.flushed.send_replace(asked);
        }
    }
    let limit = tokio::time::Instant::now() + FLUSH_LIMIT;
    while batch(shared, true).await == Progress::More && tokio::time::Instant::now() < limit {}
    disk.flushed.send_replace(u64::MAX);
}

async fn batch(shared: &Arc<Shared>, stamping: bool) -> Progress {
    let task = {
        let shared = shared.clone();
        tokio::task::spawn_blocking(move || match &shared.disk {
            Some(disk) if !disk.is_broken() => Batch { shared: &shared, disk }.run(stamping),
            _ => Progress::Rest,
        })
    };
    task.await.unwrap_or_else(|error| {
        if let (Some(disk), true) = (&shared.disk, error.is_panic()) {
            disk.give_up();
        }
        Progress::Rest
    })
}

struct Batch<'a> {
    shared: &'a Shared,
    disk: &'a Disk,
}

impl Batch<'_> {
    fn run(&self, stamping: bool) -> Progress {
        let _alone = self.disk.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // The index may have grown since bodies were reserved against its size.
        self.shrink();
        let entries = self.disk.lock().queue.take(BATCH_ENTRIES, BATCH_BYTES);
        let mut change = Change::default();
        let mut placed = Vec::new();
        let mut put_bytes = 0;
        for entry in entries {
            match self.place(&entry) {
                Ok((root, meta, stamp)) => {
                    put_bytes += meta.len();
                    change.put.push((entry.hash, meta, stamp));
                    placed.push(Placed { entry, root, stamp });
                }
                Err(reason) => self.skip(&entry, reason),
            }
            // The rest of a batch with long index entries goes into a transaction of its own.
            if put_bytes + MAX_META > MAX_PUT_BYTES {
                self.commit(&mut change, &mut placed);
                self.shrink();
                put_bytes = 0;
            }
        }
        {
            let mut state = self.disk.lock();
            change.remove = state.catalogue.take_unindexed(MAX_CHANGES);
            if stamping {
                change.touch = state.catalogue.take_restamped(MAX_CHANGES - change.remove.len());
            }
        }
        // Fewer stamps than fit are all there were; those of loads that go on meanwhile wait for the next round.
        let full = stamping && change.remove.len() + change.touch.len() == MAX_CHANGES;
        let committed = self.commit(&mut change, &mut placed);
        self.shrink();
        let state = self.disk.lock();
        let more = state.queue.has_more() || committed && (full || state.catalogue.has_unindexed());
        if more { Progress::More } else { Progress::Rest }
    }

    /// Puts the entry's body in place and holds it.
    fn place(&self, entry: &Arc<Entry>) -> Result<(Root, Vec<u8>, u64), SkipReason> {
        let (root, pieces) = content(entry).ok_or(SkipReason::Unvouched)?;
        let meta = meta::encode(entry, &root).ok_or(SkipReason::TooLarge)?;
        let length = entry.body.length();
        let shared = {
            let mut state = self.disk.lock();
            state.catalogue.observe(entry.received);
            state.catalogue.hold(&root)
        };
        if !shared {
            self.reserve(length)?;
            let started = Instant::now();
            let written = self.disk.bodies.write(&root, &pieces);
            self.shared.events.disk_io(DiskOp::Write, started.elapsed().as_secs_f64());
            let mut state = self.disk.lock();
            if let Err(error) = written {
                state.catalogue.unreserve(length);
                drop(state);
                self.disk.warn("writing a body", &error);
                return Err(SkipReason::Error);
            }
            state.catalogue.adopt(root, length);
        }
        let stamp = self.disk.lock().catalogue.stamp();
        Ok((root, meta, stamp))
    }

    fn reserve(&self, length: u64) -> Result<(), SkipReason> {
        let budget = self.disk.budget();
        let memory = &self.shared.memory;
        let evicted = {
            let mut state = self.disk.lock();
            state.catalogue.reserve(length, budget, |hash| memory.touched(hash)).ok_or(SkipReason::TooLarge)?
        };
        self.evicted(evicted.len());
        self.delete_doomed();
        let mut state = self.disk.lock();
        if state.catalogue.bytes() > budget {
            // Files that could not be deleted still take their room.
            state.catalogue.unreserve(length);
            return Err(SkipReason::Error);
        }
        Ok(())
    }

    /// Brings the bodies below what the index leaves over now, and deletes what nobody refers to.
    fn shrink(&self) {
        let budget = self.disk.budget();
        let memory = &self.shared.memory;
        let evicted = {
            let mut state = self.disk.lock();
            let rows = state.catalogue.max_rows();
            state.catalogue.shrink(budget, rows, |hash| memory.touched(hash))
        };
        self.evicted(evicted.len());
        self.delete_doomed();
    }

    fn evicted(&self, count: usize) {
        for _ in 0..count {
            self.shared.events.evicted(Tier::Disk, EvictReason::Capacity);
        }
    }

    fn skip(&self, entry: &Arc<Entry>, reason: SkipReason) {
        let mut state = self.disk.lock();
        if state.queue.finish(entry) {
            // An older copy must not come back in its place.
            state.catalogue.remove(&entry.hash);
        }
        drop(state);
        self.shared.events.skipped(reason);
    }

    fn delete_doomed(&self) {
        let doomed = self.disk.lock().catalogue.doomed();
        for root in doomed {
            match self.disk.bodies.delete(&root) {
                Ok(()) => self.disk.lock().catalogue.deleted(&root),
                Err(error) => self.disk.warn("deleting a body", &error),
            }
        }
    }

    /// Commits the change and publishes or gives up what was placed; both are empty afterwards.
    fn commit(&self, change: &mut Change, placed: &mut Vec<Placed>) -> bool {
        let change = std::mem::take(change);
        if change.remove.is_empty() && change.put.is_empty() && change.touch.is_empty() {
            return true;
        }
        let started = Instant::now();
        let committed = self.disk.index.commit(&change);
        self.shared.events.disk_io(DiskOp::Commit, started.elapsed().as_secs_f64());
        match committed {
            Ok(()) => self.publish(placed),
            Err(error) => {
                self.disk.warn("writing the index", &error);
                self.abandon(&change, placed);
                if let Err(error) = self.disk.index.reopen() {
                    self.disk.warn("opening the index again", &error);
                }
                return false;
            }
        }
        true
    }

    fn publish(&self, placed: &mut Vec<Placed>) {
        let mut state = self.disk.lock();
        for Placed { entry, root, stamp } in placed.drain(..) {
            if state.queue.finish(&entry) {
                state.catalogue.put(entry.hash, root, stamp);
            } else {
                // Removed or replaced while it was written.
                state.catalogue.unindex(entry.hash);
                state.catalogue.release(&root);
            }
        }
        self.shared.memory.tick(state.catalogue.last_stamp());
    }

    fn abandon(&self, change: &Change, placed: &mut Vec<Placed>) {
        let mut state = self.disk.lock();
        for hash in &change.remove {
            state.catalogue.unindex(*hash);
        }
        for Placed { entry, root, .. } in placed.drain(..) {
            state.queue.finish(&entry);
            state.catalogue.unindex(entry.hash);
            state.catalogue.release(&root);
            self.shared.events.skipped(SkipReason::Error);
        }
    }
}

/// The body's pieces and its hash. The record's root was verified against the body when it was received; without a
/// record or a tree the body is hashed here.
fn content(entry: &Entry) -> Option<(Root, Vec<Bytes>)> {
    let pieces = entry.body.pieces()?;
    let root = match (meta::vouched(entry), entry.body.tree()) {
        (Vouched::No, _) => return None,
        (Vouched::Record(record), _) if record.body().length != entry.body.length() => return None,
        (Vouched::Record(record), _) => record.body().root,
        (Vouched::Trusted, Some(tree)) => *tree.root.as_bytes(),
        (Vouched::Trusted, None) => {
            let mut hasher = blake3::Hasher::new();
            pieces.iter().for_each(|piece| {
                hasher.update(piece);
            });
            *hasher.finalize().as_bytes()
        }
    };
    Some((root, pieces))
}
