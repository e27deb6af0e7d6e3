//! What a relay keeps: bodies by object, the least recently used ones thrown out first when there are too many bytes.
//! The store's order of eviction is richer; here only its bound and its recency matter.

use super::content::Object;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Kept bodies.
#[derive(Debug)]
pub(super) struct Cache {
    capacity: u64,
    bytes: u64,
    /// Size and the number of the last use.
    held: FxHashMap<Object, (u32, u32)>,
    /// Uses in their order; one whose number is not the last of its object is void.
    uses: VecDeque<(Object, u32)>,
    clock: u32,
}

impl Cache {
    pub(super) fn new(capacity: u64) -> Self {
        Self { capacity, bytes: 0, held: FxHashMap::default(), uses: VecDeque::new(), clock: 0 }
    }

    /// Is it here? Counts as a use.
    pub(super) fn touch(&mut self, object: Object) -> bool {
        self.clock = self.clock.wrapping_add(1);
        let Some(held) = self.held.get_mut(&object) else { return false };
        // Recency matters only to a cache that is nearly full; until then the list of uses stays short.
        if self.bytes * 2 > self.capacity {
            held.1 = self.clock;
            self.uses.push_back((object, self.clock));
        }
        true
    }

    pub(super) fn holds(&self, object: Object) -> bool {
        self.held.contains_key(&object)
    }

    /// True when keeping so many more bytes throws something out.
    pub(super) fn is_full(&self, more: u32) -> bool {
        self.bytes + u64::from(more) > self.capacity
    }

    /// Keeps a body.
    pub(super) fn keep(&mut self, object: Object, bytes: u32) {
        self.clock = self.clock.wrapping_add(1);
        if self.held.insert(object, (bytes, self.clock)).is_none() {
            self.bytes += u64::from(bytes);
        }
        self.uses.push_back((object, self.clock));
        while self.bytes > self.capacity {
            let Some((oldest, used)) = self.uses.pop_front() else { return };
            if self.held.get(&oldest).is_some_and(|held| held.1 == used) {
                self.drop(oldest);
            }
        }
    }

    /// Throws a body out.
    pub(super) fn drop(&mut self, object: Object) {
        if let Some((bytes, _)) = self.held.remove(&object) {
            self.bytes -= u64::from(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_the_bound_holds() {
        let mut cache = Cache::new(100);
        for object in 0..3 {
            cache.keep(object, 30);
        }
        assert!(cache.touch(0) && !cache.touch(9));
        cache.keep(3, 30);
        assert_eq!((0..4).map(|object| cache.holds(object)).collect::<Vec<_>>(), [true, false, true, true]);
        assert_eq!(cache.bytes, 90);
        cache.drop(0);
        assert!(!cache.holds(0) && cache.bytes == 60);
    }
}
