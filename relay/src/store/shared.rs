//! What the store's door, its loads and its writer share: both tiers and the way back to a verified record.

use super::{StoreEvents, disk::Disk, memory::Memory};
use std::sync::Arc;
use weir_protocol::{
    record::{SignedRecord, UnverifiedRecord},
    resource::ResourceKey,
};

/// How a record that was read from disk becomes a verified one again: the key rings live elsewhere. `None` when it does
/// not verify (now). It was verified before it was stored; a ring that has expired meanwhile is the caller's decision.
pub type Reverify = Arc<dyn Fn(&UnverifiedRecord, &ResourceKey) -> Option<SignedRecord> + Send + Sync>;

/// Both tiers, and what they need of the node.
pub(super) struct Shared {
    pub(super) memory: Memory,
    pub(super) disk: Option<Disk>,
    pub(super) reverify: Reverify,
    pub(super) events: Arc<dyn StoreEvents>,
    /// Longest body that is kept, in bytes.
    pub(super) max_object: u64,
}
