//! Loading from disk: the record verified again, the whole body read and hashed, and only then an entry.
//!
//! Invariants: loads of one resource are one load; what a load found damaged has no row any more when it ends, and its
//! file is deleted by the writer; a load that was overtaken by an insertion or a removal puts nothing into memory.

use super::{
    DiskOp, EvictReason, IntegrityStage, Tier,
    bodies::ReadError,
    catalogue::Row,
    disk::{Disk, LOADS_AT_ONCE, Loaded},
    meta::Meta,
    shared::Shared,
};
use crate::object::{Entry, Growing};
use std::{sync::Arc, time::Instant};
use tokio::sync::watch;
use weir_protocol::{ids::ResourceHash, record::SignedRecord, time::UnixMillis};

/// What a look-up has to do.
enum Role {
    Done(Option<Arc<Entry>>),
    Follow(watch::Receiver<Loaded>),
    Lead(Lead),
}

/// The one load of a resource. However it ends, those who follow are told: by its result, or, when it was given up
/// before it began to read, by its disappearance, upon which one of them leads.
struct Lead {
    shared: Arc<Shared>,
    hash: ResourceHash,
    row: Row,
    length: u64,
    result: watch::Sender<Loaded>,
}

impl Drop for Lead {
    fn drop(&mut self) {
        if let Some(disk) = &self.shared.disk {
            disk.lock().loads.remove(&self.hash);
        }
    }
}

/// Why an entry was not loaded.
enum Miss {
    /// The copy is no good: forget it.
    Damaged(IntegrityStage, &'static str),
    /// Not now.
    Unavailable,
}

pub(super) async fn load(shared: &Arc<Shared>, hash: &ResourceHash, now: UnixMillis) -> Option<Arc<Entry>> {
    let disk = shared.disk.as_ref()?;
    loop {
        match role(shared, disk, hash, now) {
            Role::Done(entry) => return entry,
            Role::Follow(mut result) => {
                if let Ok(loaded) = result.wait_for(Option::is_some).await {
                    return loaded.clone().flatten();
                }
            }
            Role::Lead(lead) => {
                let units = lead.length.div_ceil(disk.load_unit).clamp(1, u64::from(LOADS_AT_ONCE));
                let permit = disk.gate.clone().acquire_many_owned(units as u32).await.ok()?;
                // It goes on when this caller leaves, since others may follow it; the permit bounds how many do.
                let task = tokio::task::spawn_blocking(move || {
                    let _permit = permit;
                    let loaded = lead.run();
                    lead.result.send_replace(Some(loaded.clone()));
                    loaded
                });
                return task.await.unwrap_or_else(|error| {
                    if error.is_panic() {
                        disk.give_up();
                    }
                    None
                });
            }
        }
    }
}

fn role(shared: &Arc<Shared>, disk: &Disk, hash: &ResourceHash, now: UnixMillis) -> Role {
    let mut state = disk.lock();
    state.catalogue.observe(now);
    if let Some(entry) = shared.memory.get(hash).or_else(|| state.queue.get(hash).cloned()) {
        return Role::Done(Some(entry));
    }
    if let Some(result) = state.loads.get(hash) {
        return Role::Follow(result.clone());
    }
    let Some(row) = state.catalogue.row(hash).filter(|_| !disk.is_broken()) else {
        return Role::Done(None);
    };
    let (result, receiver) = watch::channel(None);
    state.loads.insert(*hash, receiver);
    let length = state.catalogue.length(&row.root).unwrap_or(0);
    Role::Lead(Lead { shared: shared.clone(), hash: *hash, row, length, result })
}

impl Lead {
    fn run(&self) -> Option<Arc<Entry>> {
        let disk = self.shared.disk.as_ref()?;
        let started = Instant::now();
        let read = self.read(disk);
        self.shared.events.disk_io(DiskOp::Read, started.elapsed().as_secs_f64());
        match read {
            Ok(entry) => self.keep(disk, Arc::new(entry)),
            Err(Miss::Unavailable) => None,
            Err(Miss::Damaged(stage, why)) => {
                self.forget(disk, stage, why);
                None
            }
        }
    }

    fn read(&self, disk: &Disk) -> Result<Entry, Miss> {
        let bytes = disk.index.get(&self.hash).map_err(|error| {
            disk.warn("reading the index", &error);
            Miss::Unavailable
        })?;
        let bytes = bytes.ok_or(Miss::Damaged(IntegrityStage::DiskIndex, "it is not in the index"))?;
        let meta = Meta::decode(&bytes).map_err(|_| Miss::Damaged(IntegrityStage::DiskIndex, "it cannot be read"))?;
        if meta.root != self.row.root {
            // The writer is just replacing it.
            return Err(Miss::Unavailable);
        }
        if meta.key.hash() != self.hash {
            return Err(Miss::Damaged(IntegrityStage::DiskIndex, "it is another resource's"));
        }
        let record = self.verify(&meta)?;
        let (body, tree) = disk.bodies.read(&meta.root, meta.length).map_err(|error| match error {
            ReadError::Damaged(why) => Miss::Damaged(IntegrityStage::DiskBody, why),
            ReadError::Busy(error) => {
                disk.warn("reading a body", &error);
                Miss::Unavailable
            }
        })?;
        Ok(meta.into_entry(Growing::whole(body, Some(tree)), record))
    }

    /// The record, verified again. A record that does not verify now is a miss and stays: the publisher's keys may not
    /// be here yet, and once it is useless it is evicted like anything unused.
    fn verify(&self, meta: &Meta) -> Result<Option<Arc<SignedRecord>>, Miss> {
        let Some(record) = &meta.record else { return Ok(None) };
        let record = (self.shared.reverify)(record, &meta.key).ok_or(Miss::Unavailable)?;
        let signed = record.body();
        if signed.root != meta.root || signed.length != meta.length || signed.key != meta.key {
            return Err(Miss::Damaged(IntegrityStage::DiskRecord, "its record is over another body"));
        }
        Ok(Some(Arc::new(record)))
    }

    fn keep(&self, disk: &Disk, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let mut state = disk.lock();
        if state.catalogue.row(&self.hash).map(|row| row.born) != Some(self.row.born) {
            return self.shared.memory.get(&self.hash);
        }
        state.catalogue.touch(&self.hash);
        self.shared.memory.tick(state.catalogue.last_stamp());
        let newer = self.shared.memory.get(&self.hash).or_else(|| state.queue.get(&self.hash).cloned());
        if newer.is_some() {
            return newer;
        }
        let evicted = self.shared.memory.insert(entry.clone());
        drop(state);
        drop(evicted);
        Some(entry)
    }

    fn forget(&self, disk: &Disk, stage: IntegrityStage, why: &'static str) {
        let mut state = disk.lock();
        if state.catalogue.row(&self.hash).map(|row| row.born) != Some(self.row.born) {
            // Removed or replaced while it was read: what is missing is missing rightly.
            return;
        }
        let rows = match stage {
            IntegrityStage::DiskBody => state.catalogue.remove_body(&self.row.root),
            IntegrityStage::DiskIndex | IntegrityStage::DiskRecord => usize::from(state.catalogue.remove(&self.hash)),
        };
        drop(state);
        disk.work.notify_one();
        self.shared.events.integrity_failure(stage);
        for _ in 0..rows {
            self.shared.events.evicted(Tier::Disk, EvictReason::Damaged);
        }
        tracing::warn!(resource = %self.hash.short(), stage = stage.label(), why, "damaged cache entry dropped");
    }
}
