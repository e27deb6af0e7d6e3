//! What relays submit, on its way into the ledger: who may submit what, how fast, and what is verified.
//!
//! * `rate`: how much one relay may submit. `judge`: which messages are good. `collect`: the way into the log.
//!
//! Invariant: an outcome that says "kept" is given after the leaf is durable; nothing becomes a leaf whose signature did
//! not verify, or that is another relay's business.

mod collect;
mod judge;
mod rate;

pub use collect::{Collector, CollectorTotals};
