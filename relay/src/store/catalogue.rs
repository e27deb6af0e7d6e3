//! What lies on disk, in what order it was used, and what it takes: the disk tier's decisions without its I/O.
//!
//! Invariants: a body's bytes are counted from before its file is written until after it is deleted; a file is deleted
//! only when no row and no writer refers to it; a resource without a row is not served, whatever the index says.

use std::collections::{BTreeMap, HashMap, HashSet, hash_map};
use weir_protocol::{ids::ResourceHash, time::UnixMillis};

/// BLAKE3 hash of a body: the name of its file.
pub(super) type Root = [u8; 32];

/// Live windows that may be pinned at a time.
const MAX_PINS: usize = 4096;
/// Files take whole blocks of this size.
const BLOCK: u64 = 4096;
/// A file's part of its directory.
const NAME_BYTES: u64 = 256;
/// Longer files may need one more block for the map of their extents.
const MAPPED_BYTES: u64 = 1 << 20;

/// What a body of `length` bytes takes on disk as `du` counts, with its name.
pub(super) fn charge(length: u64) -> u64 {
    length.div_ceil(BLOCK) * BLOCK + if length > MAPPED_BYTES { BLOCK } else { 0 } + NAME_BYTES
}

/// A resource on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Its body.
    pub(super) root: Root,
    /// Tells this row from an earlier or later one of the same resource.
    pub(super) born: u64,
    stamp: u64,
}

struct Body {
    length: u64,
    holders: u64,
}

pub(super) struct Catalogue {
    rows: HashMap<ResourceHash, Row>,
    bodies: HashMap<Root, Body>,
    order: BTreeMap<u64, ResourceHash>,
    pins: HashMap<ResourceHash, UnixMillis>,
    /// Files without a holder, with their charge.
    doomed: HashMap<Root, u64>,
    /// Resources whose index entry must go.
    unindexed: HashSet<ResourceHash>,
    /// Resources whose access stamp is newer than the index's.
    restamped: HashSet<ResourceHash>,
    last_stamp: u64,
    charged: u64,
    reserved: u64,
    doomed_bytes: u64,
    now: UnixMillis,
    max_rows: usize,
}

impl Catalogue {
    pub(super) fn new(max_rows: usize) -> Self {
        Self {
            rows: HashMap::new(),
            bodies: HashMap::new(),
            order: BTreeMap::new(),
            pins: HashMap::new(),
            doomed: HashMap::new(),
            unindexed: HashSet::new(),
            restamped: HashSet::new(),
            last_stamp: 0,
            charged: 0,
            reserved: 0,
            doomed_bytes: 0,
            now: UnixMillis(0),
            max_rows,
        }
    }

    fn next_stamp(&mut self) -> u64 {
        self.last_stamp += 1;
        self.last_stamp
    }

    /// The latest time anybody told; pins end by it.
    pub(super) fn observe(&mut self, now: UnixMillis) {
        self.now = self.now.max(now);
    }

    /// Accesses counted so far.
    pub(super) fn last_stamp(&self) -> u64 {
        self.last_stamp
    }

    pub(super) fn row(&self, hash: &ResourceHash) -> Option<Row> {
        self.rows.get(hash).copied()
    }

    pub(super) fn length(&self, root: &Root) -> Option<u64> {
        self.bodies.get(root).map(|body| body.length)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Rows there may be.
    pub(super) fn max_rows(&self) -> usize {
        self.max_rows
    }

    /// Bytes of bodies on disk or about to be.
    pub(super) fn bytes(&self) -> u64 {
        self.charged + self.reserved
    }

    /// Records an access.
    pub(super) fn touch(&mut self, hash: &ResourceHash) {
        let stamp = self.next_stamp();
        if let Some(row) = self.rows.get_mut(hash) {
            self.order.remove(&row.stamp);
            row.stamp = stamp;
            self.order.insert(stamp, *hash);
            self.restamped.insert(*hash);
        }
    }

    /// Evict `hash` last until `until`. False when too many are pinned.
    pub(super) fn pin(&mut self, hash: ResourceHash, until: UnixMillis) -> bool {
        if self.pins.len() >= MAX_PINS && !self.pins.contains_key(&hash) {
            let now = self.now;
            self.pins.retain(|_, until| *until > now);
            if self.pins.len() >= MAX_PINS {
                return false;
            }
        }
        self.pins.insert(hash, until);
        true
    }

    /// Keeps an existing body from being deleted, for a row that is about to refer to it. False when it is not there.
    pub(super) fn hold(&mut self, root: &Root) -> bool {
        let body = self.bodies.get_mut(root);
        body.map(|body| body.holders += 1).is_some()
    }

    /// Lets go of a body; the last holder dooms the file.
    pub(super) fn release(&mut self, root: &Root) {
        let hash_map::Entry::Occupied(mut body) = self.bodies.entry(*root) else {
            return;
        };
        body.get_mut().holders -= 1;
        if body.get().holders == 0 {
            let charge = charge(body.remove().length);
            self.doomed.insert(*root, charge);
            self.doomed_bytes += charge;
        }
    }

    /// Makes room for a body of `length` bytes within `budget`, evicting what was used least recently; `touched` tells
    /// when the memory tier read a resource last. Returns the evicted, or `None` when there is no room to be made.
    /// What it evicts is counted until its files are deleted: check [`Catalogue::bytes`] after that.
    pub(super) fn reserve(
        &mut self,
        length: u64,
        budget: u64,
        touched: impl Fn(&ResourceHash) -> u64,
    ) -> Option<Vec<ResourceHash>> {
        let wanted = charge(length);
        // One body may not clear the whole tier.
        if wanted > budget / 2 {
            return None;
        }
        let evicted = self.shrink(budget - wanted, self.max_rows - 1, touched);
        let fits = self.bytes() - self.doomed_bytes + wanted <= budget && self.rows.len() < self.max_rows;
        fits.then(|| {
            self.reserved += wanted;
            evicted
        })
    }

    /// Evicts until no more than `budget` bytes (without what waits to be deleted) and `rows` rows are left.
    pub(super) fn shrink(
        &mut self,
        budget: u64,
        rows: usize,
        touched: impl Fn(&ResourceHash) -> u64,
    ) -> Vec<ResourceHash> {
        let mut evicted = Vec::new();
        while self.rows.len() > rows || self.bytes() - self.doomed_bytes > budget {
            let Some(hash) = self.evict(&touched) else { break };
            evicted.push(hash);
        }
        evicted
    }

    /// Gives a reservation back.
    pub(super) fn unreserve(&mut self, length: u64) {
        self.reserved -= charge(length);
    }

    /// Turns a reservation into a body with one holder.
    pub(super) fn adopt(&mut self, root: Root, length: u64) {
        self.unreserve(length);
        self.deleted(&root);
        self.charged += charge(length);
        self.bodies.insert(root, Body { length, holders: 1 });
    }

    /// A row found at start-up, with a body whose file is there. Rows come in the order of their stamps; damaged
    /// stamps that do not rise are replaced.
    pub(super) fn found(&mut self, hash: ResourceHash, root: Root, length: u64, stamp: u64) {
        let stamp = stamp.max(self.last_stamp + 1);
        if let hash_map::Entry::Vacant(vacant) = self.bodies.entry(root) {
            vacant.insert(Body { length, holders: 0 });
            self.charged += charge(length);
        }
        self.hold(&root);
        self.last_stamp = stamp;
        self.rows.insert(hash, Row { root, born: stamp, stamp });
        self.order.insert(stamp, hash);
    }

    /// Makes the resource refer to a body that the caller holds; the hold becomes the row's.
    pub(super) fn put(&mut self, hash: ResourceHash, root: Root, stamp: u64) {
        self.remove(&hash);
        self.unindexed.remove(&hash);
        self.rows.insert(hash, Row { root, born: stamp, stamp });
        self.order.insert(stamp, hash);
    }

    /// A stamp for a row that is about to be put.
    pub(super) fn stamp(&mut self) -> u64 {
        self.next_stamp()
    }

    /// Forgets the resource; its index entry and, with the last holder, its file follow.
    pub(super) fn remove(&mut self, hash: &ResourceHash) -> bool {
        let Some(row) = self.rows.remove(hash) else {
            return false;
        };
        self.order.remove(&row.stamp);
        self.restamped.remove(hash);
        self.unindexed.insert(*hash);
        self.release(&row.root);
        true
    }

    /// The index may have an entry for this resource that no row stands for.
    pub(super) fn unindex(&mut self, hash: ResourceHash) {
        self.remove(&hash);
        self.unindexed.insert(hash);
    }

    /// Forgets every resource with this body; returns how many.
    pub(super) fn remove_body(&mut self, root: &Root) -> usize {
        let hashes: Vec<_> = self.rows.iter().filter(|(_, row)| row.root == *root).map(|(hash, _)| *hash).collect();
        hashes.iter().filter(|hash| self.remove(hash)).count()
    }

    /// Evicts the least recently used row, sparing first what the memory tier reads or a pin holds, then pins alone.
    fn evict(&mut self, touched: &impl Fn(&ResourceHash) -> u64) -> Option<ResourceHash> {
        for (spare_read, spare_pinned) in [(true, true), (false, true), (false, false)] {
            for _ in 0..self.rows.len() {
                let (stamp, hash) = self.order.first_key_value().map(|(stamp, hash)| (*stamp, *hash))?;
                let read = spare_read && touched(&hash) > stamp;
                let pinned = spare_pinned && self.pins.get(&hash).is_some_and(|until| *until > self.now);
                if read || pinned {
                    self.touch(&hash);
                } else {
                    self.remove(&hash);
                    return Some(hash);
                }
            }
        }
        None
    }

    /// Files to delete now.
    pub(super) fn doomed(&self) -> Vec<Root> {
        self.doomed.keys().copied().collect()
    }

    /// The file is gone (or replaced by its equal).
    pub(super) fn deleted(&mut self, root: &Root) {
        if let Some(charge) = self.doomed.remove(root) {
            self.charged -= charge;
            self.doomed_bytes -= charge;
        }
    }

    /// At most `limit` resources whose index entry must go.
    pub(super) fn take_unindexed(&mut self, limit: usize) -> Vec<ResourceHash> {
        let taken: Vec<_> = self.unindexed.iter().take(limit).copied().collect();
        for hash in &taken {
            self.unindexed.remove(hash);
        }
        taken
    }

    pub(super) fn has_unindexed(&self) -> bool {
        !self.unindexed.is_empty()
    }

    /// At most `limit` resources with their access stamps, for the index.
    pub(super) fn take_restamped(&mut self, limit: usize) -> Vec<(ResourceHash, u64)> {
        let taken: Vec<_> = self.restamped.iter().take(limit).copied().collect();
        for hash in &taken {
            self.restamped.remove(hash);
        }
        taken.into_iter().filter_map(|hash| Some((hash, self.rows.get(&hash)?.stamp))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: fn(&ResourceHash) -> u64 = |_| 0;

    fn hash(at: u8) -> ResourceHash {
        ResourceHash([at; 32])
    }

    fn filled(count: u8) -> Catalogue {
        let mut catalogue = Catalogue::new(1000);
        for at in 0..count {
            catalogue.found(hash(at), [at; 32], 4096, u64::from(at) + 1);
        }
        catalogue
    }

    #[test]
    fn the_least_recently_used_goes_first_and_its_bytes_count_until_deleted() {
        let mut catalogue = filled(4);
        catalogue.touch(&hash(0));
        let full = catalogue.bytes();
        assert_eq!(full, 4 * charge(4096));
        assert_eq!(catalogue.reserve(4096, full, NONE), Some(vec![hash(1)]));
        assert_eq!(catalogue.bytes(), full + charge(4096));
        for root in catalogue.doomed() {
            catalogue.deleted(&root);
        }
        assert_eq!(catalogue.bytes(), full);
        assert_eq!(catalogue.take_unindexed(9), vec![hash(1)]);
    }

    #[test]
    fn a_shared_body_lives_as_long_as_its_last_row() {
        let mut catalogue = Catalogue::new(10);
        catalogue.found(hash(1), [9; 32], 100, 1);
        catalogue.found(hash(2), [9; 32], 100, 2);
        assert_eq!(catalogue.bytes(), charge(100));
        assert!(catalogue.remove(&hash(1)));
        assert!(catalogue.doomed().is_empty());
        assert!(catalogue.remove(&hash(2)));
        assert_eq!(catalogue.doomed(), vec![[9; 32]]);
    }

    #[test]
    fn a_row_replaced_under_the_same_body_keeps_it() {
        let mut catalogue = filled(1);
        assert!(catalogue.hold(&[0; 32]));
        let stamp = catalogue.stamp();
        catalogue.put(hash(0), [0; 32], stamp);
        assert!(catalogue.doomed().is_empty());
        assert!(!catalogue.has_unindexed());
        assert_eq!(catalogue.bytes(), charge(4096));
    }

    #[test]
    fn pinned_and_read_rows_are_spared_but_not_for_ever() {
        let mut catalogue = filled(3);
        catalogue.observe(UnixMillis(100));
        assert!(catalogue.pin(hash(0), UnixMillis(200)));
        assert!(catalogue.pin(hash(1), UnixMillis(50)));
        let read = |of: &ResourceHash| if *of == hash(1) { 5 } else { 0 };
        assert_eq!(catalogue.evict(&read), Some(hash(2)));
        assert_eq!(catalogue.evict(&|of| if *of == hash(1) { u64::MAX } else { 0 }), Some(hash(1)));
        assert_eq!(catalogue.evict(&NONE), Some(hash(0)));
        assert_eq!(catalogue.evict(&NONE), None);
    }

    #[test]
    fn pins_are_bounded_and_expired_ones_make_room() {
        let mut catalogue = Catalogue::new(1);
        let name = |at: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&at.to_le_bytes());
            ResourceHash(bytes)
        };
        for at in 0..MAX_PINS {
            assert!(catalogue.pin(name(at), UnixMillis(10)));
        }
        assert!(!catalogue.pin(name(MAX_PINS), UnixMillis(10)));
        catalogue.observe(UnixMillis(10));
        assert!(catalogue.pin(name(MAX_PINS), UnixMillis(20)));
    }

    #[test]
    fn one_body_never_clears_the_tier() {
        let mut catalogue = filled(4);
        assert_eq!(catalogue.reserve(60_000, 100_000, NONE), None);
        assert_eq!(catalogue.len(), 4);
    }
}
