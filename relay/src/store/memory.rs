//! The memory tier: entries by hash, weighed by what they take, and beside them what is pinned (counted twice where it is
//! in both). Invariant: the sum of the weights never exceeds the capacity. A weight is taken once, at insertion, because the cache subtracts at removal what it asks for then.

use super::{
    events::{EvictReason, StoreEvents, Tier},
    pinned::Pinned,
};
use crate::object::Entry;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter, sync::Cache};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use weir_protocol::{ids::ResourceHash, time::UnixMillis};

/// An entry may take this part of the memory tier.
const LARGEST_PART: u64 = 4;
/// This part of the memory tier is for what is pinned.
const PINNED_PART: u64 = 8;
/// What an entry weighs on average, for the first size of the cache's tables.
const TYPICAL_WEIGHT: u64 = 256 << 10;
const SHARDS_PER_CORE: u64 = 4;

pub(super) struct Slot {
    entry: Arc<Entry>,
    weight: u64,
    /// The disk tier's access count when this was read last.
    touched: AtomicU64,
}

#[derive(Clone)]
struct SlotWeight;

impl Weighter<ResourceHash, Arc<Slot>> for SlotWeight {
    fn weight(&self, _: &ResourceHash, slot: &Arc<Slot>) -> u64 {
        slot.weight
    }
}

#[derive(Clone)]
struct Report(Arc<dyn StoreEvents>);

impl Lifecycle<ResourceHash, Arc<Slot>> for Report {
    /// Evicted entries, so that their bytes are freed after the locks are released.
    type RequestState = Evicted;

    fn on_evict(&self, state: &mut Evicted, _: ResourceHash, slot: Arc<Slot>) {
        self.0.evicted(Tier::Memory, EvictReason::Capacity);
        state.0.push(slot);
    }
}

/// What an insertion pushed out; drop it outside of locks.
#[derive(Default)]
#[must_use]
pub(super) struct Evicted(Vec<Arc<Slot>>);

pub(super) struct Memory {
    cache: Cache<ResourceHash, Arc<Slot>, SlotWeight, DefaultHashBuilder, Report>,
    pinned: Mutex<Pinned<Arc<Slot>>>,
    capacity: u64,
    tick: AtomicU64,
}

impl Memory {
    pub(super) fn new(capacity: u64, max_object: u64, events: Arc<dyn StoreEvents>) -> Self {
        let largest = (capacity / LARGEST_PART).min(max_object).max(1);
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        // The capacity is divided among the shards, and one must hold the largest entry with room for others.
        let pinned = capacity / PINNED_PART;
        let shards = ((capacity - pinned) / (2 * largest)).clamp(1, cores * SHARDS_PER_CORE);
        let options = OptionsBuilder::new()
            .shards(1 << shards.ilog2())
            .estimated_items_capacity((capacity / TYPICAL_WEIGHT).clamp(64, 1 << 20) as usize)
            .weight_capacity(capacity - pinned)
            .build()
            .expect("both capacities are set");
        let cache = Cache::with_options(options, SlotWeight, DefaultHashBuilder::default(), Report(events));
        Self { cache, pinned: Mutex::new(Pinned::new(pinned)), capacity, tick: AtomicU64::new(0) }
    }

    /// True when an entry of this weight can be kept.
    pub(super) fn holds(&self, weight: u64) -> bool {
        weight <= self.capacity / LARGEST_PART
    }

    fn pinned(&self) -> MutexGuard<'_, Pinned<Arc<Slot>>> {
        // Nothing panics between related changes.
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, hash: &ResourceHash) -> Option<Arc<Entry>> {
        let slot = self.cache.get(hash).or_else(|| self.pinned().get(hash).cloned())?;
        slot.touched.store(self.tick.load(Ordering::Relaxed), Ordering::Relaxed);
        Some(slot.entry.clone())
    }

    /// Everything that is kept now; what is pinned may come twice.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        let mut all: Vec<_> = self.cache.iter().map(|(_, slot)| slot.entry.clone()).collect();
        all.extend(self.pinned().all().map(|slot| slot.entry.clone()));
        all
    }

    pub(super) fn insert(&self, entry: Arc<Entry>) -> Evicted {
        let mut evicted = Evicted::default();
        let (hash, weight, now) = (entry.hash, entry.weight(), entry.received);
        let slot = Arc::new(Slot { entry, weight, touched: AtomicU64::new(0) });
        {
            let mut pinned = self.pinned();
            pinned.observe(now);
            pinned.hold(&hash, slot.clone(), weight);
        }
        self.cache.insert_with_lifecycle(hash, slot, &mut evicted);
        evicted
    }

    /// Keeps the entry, now or when it comes, until `until`. False when too many are pinned.
    pub(super) fn pin(&self, hash: &ResourceHash, until: UnixMillis) -> bool {
        let slot = self.cache.peek(hash);
        let mut pinned = self.pinned();
        let slot = slot.or_else(|| pinned.get(hash).cloned());
        pinned.pin(*hash, until, slot.map(|slot| (slot.clone(), slot.weight)))
    }

    pub(super) fn remove(&self, hash: &ResourceHash) {
        self.pinned().let_go(hash);
        self.cache.remove(hash);
    }

    /// Removes every entry of which `goes` is true.
    pub(super) fn remove_all(&self, goes: impl Fn(&Entry) -> bool) {
        self.pinned().let_go_all(|slot| goes(&slot.entry));
        self.cache.retain(|_, slot| !goes(&slot.entry));
    }

    /// The hashes of the entries of which `of` is true; what is pinned may come twice.
    pub(super) fn find(&self, of: impl Fn(&Entry) -> bool) -> Vec<ResourceHash> {
        self.all().into_iter().filter(|entry| of(entry)).map(|entry| entry.hash).collect()
    }

    /// The access count when the entry was read last from here; 0 when it is not here.
    pub(super) fn touched(&self, hash: &ResourceHash) -> u64 {
        self.cache.peek(hash).map_or(0, |slot| slot.touched.load(Ordering::Relaxed))
    }

    /// The disk tier's access count is now `tick`.
    pub(super) fn tick(&self, tick: u64) {
        self.tick.store(tick, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.cache.weight() + self.pinned().bytes()
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn len(&self) -> u64 {
        self.cache.len() as u64
    }
}
