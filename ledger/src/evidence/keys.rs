//! The publisher's keys as its log shows them.
//!
//! Invariant: a statement is verified with the latest key list that was issued before it was received, so that a list
//! which revokes a key does not undo what the key signed while it was good.

use weir_protocol::keys::KeyRing;
use weir_protocol::{PublisherId, UnixMillis};

/// Key lists by the time they were issued.
#[derive(Debug, Default)]
pub(super) struct KeyHistory {
    rings: Vec<KeyRing>,
}

impl KeyHistory {
    /// Adds a list, if its root signature is good; `received` is when it came into the log.
    pub(super) fn add(&mut self, publisher: PublisherId, bytes: &[u8], received: UnixMillis) -> bool {
        match KeyRing::verify(publisher, bytes, received) {
            Ok(ring) => {
                self.rings.push(ring);
                self.rings.sort_by_key(KeyRing::issued);
                true
            }
            Err(_) => false,
        }
    }

    /// The lists to try for something that was received then, the likeliest first: the list in force, then earlier ones
    /// (the statement may have been under way while a new list came), then later ones (it may name keys of the past).
    pub(super) fn rings_at(&self, received: UnixMillis) -> impl Iterator<Item = &KeyRing> {
        let split = self.rings.partition_point(|ring| ring.issued() <= received);
        self.rings[..split].iter().rev().chain(&self.rings[split..])
    }
}
