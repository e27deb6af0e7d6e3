//! What this relay has received from others, and the receipts that it owes them. No I/O.
//!
//! Invariant: a receipt's sums never fall, its counter always rises, and nothing is in it that did not verify.

use std::collections::HashMap;
use weir_protocol::{
    Epoch, Generation, PeerReceipt, PublisherId, RelayId, ResourceHash, UnixMillis, statement::ReceivedDigest,
};

/// A receipt is owed once so many bytes are not covered by one.
const EVERY_BYTES: u64 = 1 << 20;
/// A receipt is owed so long after the first byte that is not covered by one, in milliseconds.
const EVERY_MS: u64 = 2_000;
/// Objects that come whole within so many milliseconds share a receipt.
const GATHER_MS: u64 = 50;
/// Objects of one publisher and epoch that are remembered as received. Of further ones nothing counts as new.
const MAX_OBJECTS: usize = 1 << 20;
/// Epochs before the current one whose books are kept: a transfer may settle just after the turn.
const KEPT_EPOCHS: u64 = 2;

/// Whose bytes came from whom, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Origin {
    /// Whose content.
    pub(super) publisher: PublisherId,
    /// Who sent it.
    pub(super) sender: RelayId,
    /// In which epoch of the publisher's.
    pub(super) epoch: Epoch,
}

/// A range of a body that arrived and verified.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived {
    pub(super) resource: ResourceHash,
    pub(super) generation: Generation,
    pub(super) offset: u64,
    pub(super) length: u64,
}

#[derive(Debug, Default, Clone)]
struct Book {
    /// Length of the publisher's epochs.
    epoch_ms: u64,
    counter: u64,
    bytes: u64,
    unique: u64,
    objects: u64,
    digest: ReceivedDigest,
    /// Bytes that the last receipt covers.
    covered: u64,
    /// When the first byte came that no receipt covers.
    since: Option<UnixMillis>,
    /// When an object came whole that no receipt covers.
    whole: Option<UnixMillis>,
}

impl Book {
    fn due(&self, now: UnixMillis) -> bool {
        let waits = |since: Option<UnixMillis>, longest| since.is_some_and(|since| now.since(since) >= longest);
        self.bytes - self.covered >= EVERY_BYTES || waits(self.since, EVERY_MS) || waits(self.whole, GATHER_MS)
    }
}

/// How far each object of one publisher has come in one epoch: by the first half of its resource hash, and generation.
type Reached = HashMap<([u8; 16], Generation), u64>;

/// Everything received.
#[derive(Debug, Default)]
pub(super) struct Received {
    books: HashMap<Origin, Book>,
    /// How far each object has come in each epoch, from whomever.
    reached: HashMap<(PublisherId, Epoch), Reached>,
}

impl Received {
    /// True when nothing of this origin has been noted yet.
    pub(super) fn is_new(&self, origin: &Origin) -> bool {
        !self.books.contains_key(origin)
    }

    /// Goes on from what was signed before a restart.
    pub(super) fn resume(&mut self, origin: Origin, epoch_ms: u64, last: Option<PeerReceipt>) {
        let book = last.map_or_else(
            || Book { epoch_ms, ..Book::default() },
            |last| Book {
                epoch_ms,
                counter: last.counter,
                bytes: last.bytes,
                unique: last.unique_bytes,
                objects: last.objects,
                digest: last.received,
                covered: last.bytes,
                since: None,
                whole: None,
            },
        );
        self.books.entry(origin).or_insert(book);
    }

    /// Bytes have arrived; true when a receipt is due at once.
    pub(super) fn took(&mut self, origin: Origin, arrived: &Arrived, now: UnixMillis) -> bool {
        let fresh = self.reach(&origin, arrived);
        let book = self.books.entry(origin).or_default();
        book.bytes += arrived.length;
        book.unique += fresh;
        book.digest = book.digest.and(&arrived.resource, arrived.generation, arrived.offset, arrived.length);
        book.since.get_or_insert(now);
        book.bytes - book.covered >= EVERY_BYTES
    }

    /// Bytes have arrived from the adapter, who is owed no receipt: they are nobody's news any more.
    pub(super) fn fetched(&mut self, origin: &Origin, arrived: &Arrived) {
        self.reach(origin, arrived);
    }

    /// An object is whole.
    pub(super) fn whole(&mut self, origin: Origin, now: UnixMillis) {
        let book = self.books.entry(origin).or_default();
        book.objects += 1;
        book.since.get_or_insert(now);
        book.whole.get_or_insert(now);
    }

    /// Bytes of the range that nobody has sent in this epoch.
    fn reach(&mut self, origin: &Origin, arrived: &Arrived) -> u64 {
        let reached = self.reached.entry((origin.publisher, origin.epoch)).or_default();
        let mut name = [0; 16];
        name.copy_from_slice(&arrived.resource.0[..16]);
        let full = reached.len() >= MAX_OBJECTS;
        let place = (name, arrived.generation);
        if full && !reached.contains_key(&place) {
            return 0;
        }
        let so_far = reached.entry(place).or_default();
        let end = arrived.offset.saturating_add(arrived.length);
        let fresh = end.saturating_sub(arrived.offset.max(*so_far));
        *so_far = end.max(*so_far);
        fresh
    }

    /// The origins of what one node has sent.
    pub(super) fn from(&self, sender: &RelayId) -> Vec<Origin> {
        self.books.keys().filter(|origin| origin.sender == *sender).copied().collect()
    }

    /// The receipts that are due now (`all`: every one that says anything new), in a fixed order, each with the length of
    /// its epoch.
    pub(super) fn due(&mut self, me: RelayId, now: UnixMillis, all: bool) -> Vec<(PeerReceipt, u64)> {
        let mut due: Vec<(PeerReceipt, u64)> = Vec::new();
        for (origin, book) in &mut self.books {
            if book.since.is_none() || !(all || book.due(now)) {
                continue;
            }
            book.counter += 1;
            (book.covered, book.since, book.whole) = (book.bytes, None, None);
            let receipt = PeerReceipt {
                publisher: origin.publisher,
                sender: origin.sender,
                receiver: me,
                epoch: origin.epoch,
                counter: book.counter,
                bytes: book.bytes,
                unique_bytes: book.unique,
                objects: book.objects,
                received: book.digest,
                time: now,
            };
            due.push((receipt, book.epoch_ms));
        }
        due.sort_unstable_by_key(|(receipt, _)| (receipt.publisher, receipt.sender, receipt.epoch));
        due
    }

    /// Drops the books of epochs that are over, once nothing in them waits for a receipt.
    pub(super) fn forget(&mut self, publisher: &PublisherId, current: Epoch) {
        let over = |epoch: Epoch| epoch.0 + KEPT_EPOCHS < current.0;
        self.books.retain(|origin, book| origin.publisher != *publisher || !over(origin.epoch) || book.since.is_some());
        self.reached.retain(|(of, epoch), _| of != publisher || !over(*epoch));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::EvidenceKey;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn relay(seed: u8) -> RelayId {
        EvidenceKey::from_bytes(&[seed; 32]).relay_id()
    }

    fn origin(sender: u8) -> Origin {
        Origin { publisher: PublisherId([1; 32]), sender: relay(sender), epoch: Epoch(7) }
    }

    fn range(object: u8, offset: u64, length: u64) -> Arrived {
        Arrived { resource: ResourceHash([object; 32]), generation: Generation(1), offset, length }
    }

    #[test]
    fn a_receipt_is_due_after_a_mebibyte_two_seconds_or_a_whole_object() {
        let mut received = Received::default();
        assert!(!received.took(origin(2), &range(1, 0, EVERY_BYTES - 1), NOW));
        assert!(received.due(relay(9), NOW, false).is_empty());
        assert!(received.took(origin(2), &range(1, EVERY_BYTES - 1, 1), NOW));
        let first = received.due(relay(9), NOW, false).pop().unwrap().0;
        assert_eq!((first.counter, first.bytes, first.objects), (1, EVERY_BYTES, 0));
        assert!(received.due(relay(9), NOW.plus_ms(9_999), false).is_empty(), "nothing new, nothing signed");
        received.took(origin(2), &range(1, EVERY_BYTES, 5), NOW);
        assert!(received.due(relay(9), NOW.plus_ms(EVERY_MS - 1), false).is_empty());
        let second = received.due(relay(9), NOW.plus_ms(EVERY_MS), false).pop().unwrap().0;
        assert_eq!((second.counter, second.bytes), (2, EVERY_BYTES + 5));
        received.whole(origin(2), NOW);
        let third = received.due(relay(9), NOW.plus_ms(GATHER_MS), false).pop().unwrap().0;
        assert_eq!((third.counter, third.bytes, third.objects), (3, EVERY_BYTES + 5, 1));
    }

    #[test]
    fn bytes_are_new_once_whoever_sends_them() {
        let mut received = Received::default();
        received.fetched(&origin(9), &range(1, 0, 10));
        received.took(origin(2), &range(1, 0, 30), NOW);
        received.took(origin(3), &range(1, 20, 20), NOW);
        received.took(origin(3), &range(2, 0, 5), NOW);
        let due = received.due(relay(9), NOW, true);
        let unique: u64 = due.iter().map(|(receipt, _)| receipt.unique_bytes).sum();
        assert_eq!(unique, 20 + 10 + 5);
        assert_eq!(due.iter().map(|(receipt, _)| receipt.bytes).sum::<u64>(), 30 + 20 + 5);
    }

    #[test]
    fn sums_go_on_where_they_stood() {
        let mut received = Received::default();
        received.took(origin(2), &range(1, 0, 100), NOW);
        let last = received.due(relay(9), NOW, true).pop().unwrap().0;
        let mut after = Received::default();
        assert!(after.is_new(&origin(2)));
        after.resume(origin(2), 1000, Some(last.clone()));
        assert!(after.due(relay(9), NOW.plus_ms(EVERY_MS), false).is_empty());
        after.took(origin(2), &range(2, 0, 1), NOW);
        let next = after.due(relay(9), NOW, true).pop().unwrap().0;
        assert_eq!((next.counter, next.bytes), (last.counter + 1, 101));
        assert_eq!(next.received, last.received.and(&ResourceHash([2; 32]), Generation(1), 0, 1));
    }

    #[test]
    fn epochs_that_are_over_are_forgotten() {
        let mut received = Received::default();
        received.took(origin(2), &range(1, 0, 100), NOW);
        received.forget(&PublisherId([1; 32]), Epoch(99));
        assert!(!received.is_new(&origin(2)), "a receipt is still owed");
        received.due(relay(9), NOW, true);
        received.forget(&PublisherId([1; 32]), Epoch(9));
        assert!(!received.is_new(&origin(2)));
        received.forget(&PublisherId([1; 32]), Epoch(10));
        assert!(received.is_new(&origin(2)));
    }
}
