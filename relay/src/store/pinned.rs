//! Entries of live windows that stay in memory whatever else is read. Invariant: they are at most so many and together
//! take at most their budget, which the rest of the memory tier does without.

use std::collections::HashMap;
use weir_protocol::{ids::ResourceHash, time::UnixMillis};

/// Pins at a time, with those whose entry is yet to come.
const MAX_PINS: usize = 4096;

struct Pin<T> {
    until: UnixMillis,
    /// The entry and its weight, once it is there and fits.
    held: Option<(T, u64)>,
}

/// Pins and what they hold.
pub(super) struct Pinned<T> {
    pins: HashMap<ResourceHash, Pin<T>>,
    budget: u64,
    bytes: u64,
    /// No pin ends before this.
    first_end: UnixMillis,
}

impl<T: Clone> Pinned<T> {
    pub(super) fn new(budget: u64) -> Self {
        Self { pins: HashMap::new(), budget, bytes: 0, first_end: UnixMillis(u64::MAX) }
    }

    /// Holds `entry`, and whatever replaces it, until `until`. False when there are too many pins.
    pub(super) fn pin(&mut self, hash: ResourceHash, until: UnixMillis, entry: Option<(T, u64)>) -> bool {
        if self.pins.len() >= MAX_PINS && !self.pins.contains_key(&hash) {
            return false;
        }
        self.let_go(&hash);
        self.pins.insert(hash, Pin { until, held: None });
        self.first_end = self.first_end.min(until);
        if let Some((entry, weight)) = entry {
            self.hold(&hash, entry, weight);
        }
        true
    }

    /// A new entry is there: kept if it is pinned and fits, in place of an older one.
    pub(super) fn hold(&mut self, hash: &ResourceHash, entry: T, weight: u64) {
        let Some(pin) = self.pins.get_mut(hash) else { return };
        self.bytes -= pin.held.take().map_or(0, |(_, weight)| weight);
        if self.bytes + weight <= self.budget {
            self.bytes += weight;
            pin.held = Some((entry, weight));
        }
    }

    /// The entry is to be forgotten; its pin stays for a newer one.
    pub(super) fn let_go(&mut self, hash: &ResourceHash) {
        if let Some(pin) = self.pins.get_mut(hash) {
            self.bytes -= pin.held.take().map_or(0, |(_, weight)| weight);
        }
    }

    /// The entries of which `goes` is true are to be forgotten; their pins stay for newer ones.
    pub(super) fn let_go_all(&mut self, goes: impl Fn(&T) -> bool) {
        for pin in self.pins.values_mut() {
            if pin.held.as_ref().is_some_and(|(entry, _)| goes(entry)) {
                self.bytes -= pin.held.take().map_or(0, |(_, weight)| weight);
            }
        }
    }

    /// Every entry that is held.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.pins.values().filter_map(|pin| Some(&pin.held.as_ref()?.0))
    }

    /// Ends what has ended by now.
    pub(super) fn observe(&mut self, now: UnixMillis) {
        if now < self.first_end {
            return;
        }
        let (mut first_end, mut freed) = (UnixMillis(u64::MAX), 0);
        self.pins.retain(|_, pin| {
            let stays = pin.until > now;
            match stays {
                true => first_end = first_end.min(pin.until),
                false => freed += pin.held.as_ref().map_or(0, |(_, weight)| *weight),
            }
            stays
        });
        self.bytes -= freed;
        self.first_end = first_end;
    }

    pub(super) fn get(&self, hash: &ResourceHash) -> Option<&T> {
        self.pins.get(hash)?.held.as_ref().map(|(entry, _)| entry)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(at: u64) -> ResourceHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&at.to_le_bytes());
        ResourceHash(bytes)
    }

    #[test]
    fn what_is_pinned_is_held_within_the_budget_until_it_ends() {
        let mut pinned = Pinned::new(100);
        assert!(pinned.pin(name(1), UnixMillis(10), Some(('a', 60))));
        assert!(pinned.pin(name(2), UnixMillis(20), Some(('b', 60))));
        assert_eq!((pinned.get(&name(1)), pinned.get(&name(2)), pinned.bytes()), (Some(&'a'), None, 60));
        pinned.hold(&name(1), 'A', 30);
        pinned.hold(&name(2), 'B', 60);
        pinned.hold(&name(3), 'c', 1);
        assert_eq!((pinned.get(&name(1)), pinned.get(&name(2)), pinned.bytes()), (Some(&'A'), Some(&'B'), 90));
        assert_eq!(pinned.get(&name(3)), None, "nobody has pinned it");
        pinned.let_go(&name(2));
        assert_eq!((pinned.get(&name(2)), pinned.bytes()), (None, 30));
        pinned.observe(UnixMillis(9));
        assert_eq!(pinned.get(&name(1)), Some(&'A'));
        pinned.observe(UnixMillis(10));
        assert_eq!((pinned.get(&name(1)), pinned.bytes(), pinned.pins.len()), (None, 0, 1));
    }

    #[test]
    fn pins_are_bounded_and_ended_ones_make_room() {
        let mut pinned = Pinned::<()>::new(100);
        assert!((0..MAX_PINS as u64).all(|at| pinned.pin(name(at), UnixMillis(10), None)));
        assert!(!pinned.pin(name(1 << 20), UnixMillis(10), None));
        assert!(pinned.pin(name(1), UnixMillis(30), None), "one that is pinned already is pinned longer");
        pinned.observe(UnixMillis(20));
        assert!(pinned.pin(name(1 << 20), UnixMillis(30), None) && pinned.pins.len() == 2);
    }
}
