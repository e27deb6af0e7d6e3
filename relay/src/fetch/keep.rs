//! What a fill leaves behind: the plan says what is worth keeping where, the store obeys.

use super::shared::Core;
use crate::{
    mesh::{Admission, Class},
    object::Entry,
};
use std::sync::Arc;

/// What is fresh for less than this is live: a playlist that changes, or what the origin thinks may. In milliseconds.
const LIVE_MS: u64 = 60_000;

/// Keeps a whole, shareable entry that was asked for when there had been `then` purges, unless one since then covers it
/// or it was taken down meanwhile. The second is looked at after it was inserted: whoever takes down first changes what
/// is withheld and then purges, so that one of the two sees the entry whichever comes first.
pub(super) fn keep(core: &Core, entry: Arc<Entry>, then: u64) {
    let (hash, key) = (entry.hash, entry.head.key.clone());
    if core.purges.covered_since(then, &key, &entry.head.headers) {
        core.store.remove(&hash);
        return;
    }
    if entry.head.freshness.ttl_ms < LIVE_MS
        && core.store.get(&hash).is_some_and(|held| held.head.generation > entry.head.generation)
    {
        // Two fills of one live playlist ran at once, and this one's answer is the older: it never goes backwards.
        return;
    }
    let class = if entry.head.freshness.ttl_ms < LIVE_MS { Class::Live } else { Class::Vod };
    match core.plan.admit(&key, class, core.store.is_full()) {
        Admission::Keep => core.store.insert(entry.clone()),
        Admission::MemoryOnly => core.store.insert_in_memory(entry.clone()),
    }
    if core.plan.withheld(&key.with_variant(None)).is_some() {
        core.store.remove(&hash);
        return;
    }
    core.live.note(&core.store, &entry);
}
