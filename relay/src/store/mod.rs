//! Where whole responses are kept: a memory tier of shared bytes before a disk tier of plain files with an index.
//!
//! Invariants: nothing leaves the disk tier that was not hashed and compared on the way; both tiers stay below their
//! caps at every moment; a kill at any moment leaves a directory that opens, where every indexed body verifies or is
//! dropped. A lost copy is refetched, so losing one is always preferred to serving or counting a wrong one.
//!
//! Lock order: the state lock may be taken alone or before a shard of the memory tier, never the other way round, and
//! never across an await or file I/O.

mod bodies;
mod catalogue;
mod config;
mod disk;
mod error;
mod events;
mod index;
mod memory;
mod meta;
mod outdate;
mod pinned;
mod purge;
mod queue;
mod reader;
mod recover;
mod shared;
mod tiers;
mod writer;

pub use config::{DiskConfig, MIN_DISK_BYTES, StoreConfig};
pub use error::StoreError;
pub use events::{DiskOp, EvictReason, IntegrityStage, SkipReason, StoreEvents, Tier};
pub use outdate::Covers;
pub use shared::Reverify;
pub use tiers::{Store, Usage};
