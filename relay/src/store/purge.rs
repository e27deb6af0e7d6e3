//! Forgetting whatever a condition on the key names. Invariant: what was whole and held when the purge began is gone
//! from both tiers when it ends; the files follow with the writer's next batch.

use super::{meta, shared::Shared};
use crate::object::Entry;
use std::{collections::HashSet, sync::Arc};
use weir_protocol::{ids::ResourceHash, resource::ResourceKey};

pub(super) async fn purge(shared: &Arc<Shared>, matches: impl Fn(&ResourceKey) -> bool + Send + 'static) -> usize {
    let of = |entry: &Entry| matches(&entry.head.key);
    let mut found: HashSet<ResourceHash> = shared.memory.find(of).into_iter().collect();
    shared.memory.remove_all(of);
    let Some(disk) = &shared.disk else { return found.len() };
    {
        let mut state = disk.lock();
        for hash in state.queue.find(of) {
            state.queue.remove(&hash);
            found.insert(hash);
        }
    }
    let reading = {
        let shared = shared.clone();
        tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            let Some(disk) = shared.disk.as_ref().filter(|disk| !disk.is_broken()) else { return found };
            let read = disk.index.for_each(|hash, bytes, _| {
                if meta::key_of(bytes).is_ok_and(|key| matches(&key)) {
                    found.push(hash);
                }
            });
            if let Err(error) = read {
                disk.warn("reading the index for a purge", &error);
            }
            found
        })
    };
    match reading.await {
        Ok(on_disk) => found.extend(on_disk),
        Err(error) if error.is_panic() => disk.give_up(),
        Err(_) => {}
    }
    let mut state = disk.lock();
    for hash in &found {
        state.queue.remove(hash);
        state.catalogue.remove(hash);
        // A load that ended meanwhile has put its copy back.
        shared.memory.remove(hash);
    }
    drop(state);
    disk.work.notify_one();
    found.len()
}
