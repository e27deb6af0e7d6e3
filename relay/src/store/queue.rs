//! Entries that wait for the disk writer. Invariant: entries and bytes are bounded, and for one resource only the
//! newest entry waits.

use crate::object::Entry;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use weir_protocol::ids::ResourceHash;

const MAX_WAITING: usize = 1024;

struct Waiting {
    entry: Arc<Entry>,
    /// False while the writer has it.
    in_order: bool,
}

pub(super) struct Queue {
    waiting: HashMap<ResourceHash, Waiting>,
    order: VecDeque<ResourceHash>,
    bytes: u64,
    max_bytes: u64,
}

impl Queue {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { waiting: HashMap::new(), order: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// False when there is no room; then an older entry of the resource is gone as well.
    pub(super) fn push(&mut self, entry: Arc<Entry>) -> bool {
        let hash = entry.hash;
        self.remove(&hash);
        let bytes = self.bytes + entry.body.length();
        if bytes > self.max_bytes || self.waiting.len() >= MAX_WAITING {
            return false;
        }
        self.bytes = bytes;
        self.order.push_back(hash);
        self.waiting.insert(hash, Waiting { entry, in_order: true });
        true
    }

    pub(super) fn get(&self, hash: &ResourceHash) -> Option<&Arc<Entry>> {
        self.waiting.get(hash).map(|waiting| &waiting.entry)
    }

    /// Everything that waits.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        self.waiting.values().map(|waiting| waiting.entry.clone()).collect()
    }

    pub(super) fn remove(&mut self, hash: &ResourceHash) {
        if let Some(old) = self.waiting.remove(hash) {
            self.bytes -= old.entry.body.length();
            if old.in_order {
                self.order.retain(|other| other != hash);
            }
        }
    }

    /// The hashes of waiting entries of which `of` is true.
    pub(super) fn find(&self, of: impl Fn(&Entry) -> bool) -> Vec<ResourceHash> {
        self.waiting.iter().filter(|(_, waiting)| of(&waiting.entry)).map(|(hash, _)| *hash).collect()
    }

    /// Hands out the oldest entries: at least one, at most `count`, and no more once `bytes` are reached. They stay
    /// readable here until [`Queue::finish`].
    pub(super) fn take(&mut self, count: usize, bytes: u64) -> Vec<Arc<Entry>> {
        let mut taken = Vec::new();
        let mut sum = 0;
        while taken.len() < count && sum < bytes {
            let Some(waiting) = self.order.pop_front().and_then(|hash| self.waiting.get_mut(&hash)) else {
                break;
            };
            waiting.in_order = false;
            sum += waiting.entry.body.length();
            taken.push(waiting.entry.clone());
        }
        taken
    }

    /// Forgets an entry that was handed out. False when it was removed or replaced meanwhile.
    pub(super) fn finish(&mut self, entry: &Arc<Entry>) -> bool {
        let current = self.get(&entry.hash).is_some_and(|waiting| Arc::ptr_eq(waiting, entry));
        if current {
            self.remove(&entry.hash);
        }
        current
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.order.clear();
        self.bytes = 0;
    }

    pub(super) fn has_more(&self) -> bool {
        !self.order.is_empty()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn len(&self) -> u64 {
        self.waiting.len() as u64
    }
}
