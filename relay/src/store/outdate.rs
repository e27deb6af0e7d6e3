//! Dropping, or declaring stale, everything that a purge names, in both tiers. Invariant: each response is counted once,
//! in whichever tiers it lies.

use super::{meta, tiers::Store};
use crate::object::Entry;
use http::HeaderMap;
use std::{collections::HashSet, sync::Arc};
use weir_protocol::{ids::ResourceHash, resource::ResourceKey, time::UnixMillis, wire::Purge};

/// Whether a purge names a response.
pub type Covers = fn(&Purge, &ResourceKey, &HeaderMap) -> bool;

impl Store {
    /// Drops what `covers` says that `purge` names; a soft purge leaves what is in memory there, stale from `now` on,
    /// and drops only the copies on disk, whose records would claim to be fresh. Returns the number of responses. Reads
    /// the whole index of the disk tier.
    pub async fn outdate(&self, purge: Purge, covers: Covers, now: UnixMillis) -> u64 {
        let mut done: HashSet<ResourceHash> = HashSet::new();
        for entry in self.held_in_memory() {
            if covers(&purge, &entry.head.key, &entry.head.headers) {
                done.insert(entry.hash);
                if purge.soft {
                    entry.expire(now);
                    self.remove_from_disk(&entry.hash);
                } else {
                    self.remove(&entry.hash);
                }
            }
        }
        for hash in self.named_on_disk(purge, covers).await {
            self.remove_from_disk(&hash);
            done.insert(hash);
        }
        done.len() as u64
    }

    /// Entries in memory, and those that only wait for the disk writer.
    fn held_in_memory(&self) -> Vec<Arc<Entry>> {
        let mut all = self.shared.memory.all();
        if let Some(disk) = &self.shared.disk {
            all.extend(disk.lock().queue.all());
        }
        all
    }

    fn remove_from_disk(&self, hash: &ResourceHash) {
        if let Some(disk) = &self.shared.disk {
            let mut state = disk.lock();
            state.queue.remove(hash);
            state.catalogue.remove(hash);
            drop(state);
            disk.work.notify_one();
        }
    }

    async fn named_on_disk(&self, purge: Purge, covers: Covers) -> Vec<ResourceHash> {
        let shared = self.shared.clone();
        let read = tokio::task::spawn_blocking(move || {
            let Some(disk) = &shared.disk else { return Vec::new() };
            let mut named = Vec::new();
            let read = disk.index.for_each(|hash, bytes, _| {
                if let Ok((key, headers)) = meta::named(bytes)
                    && covers(&purge, &key, &headers)
                {
                    named.push(hash);
                }
            });
            if let Err(error) = read {
                disk.warn("reading the index", &error);
            }
            // What has no row is not served, whatever the index says.
            let state = disk.lock();
            named.retain(|hash| state.catalogue.row(hash).is_some());
            named
        });
        read.await.unwrap_or_default()
    }
}
