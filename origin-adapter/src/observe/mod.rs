//! What the publisher sees of a session by itself: steering polls, playlist and key requests at the adapter's own doors,
//! and CMCD reports that players post there. It becomes observations in the ledger, an upper bound on what a relay can
//! have delivered (docs/rewards.md).
//!
//! * `book`: the sums, without I/O. `rate`: how much strangers may send. `whom`: which relay a pathway or URL means.
//! * `observer`: from requests to sightings. `door`: the adapter's doors. `log`: into the ledger, and back after a restart.
//!
//! Invariant: only what comes straight to the adapter's doors counts, never what a relay passes on; a session is known by
//! the hash of its token and by nothing else, and its leaf is salted.

mod book;
mod door;
mod log;
mod observer;
mod rate;
mod whom;

pub use book::Place;
pub use door::ObservedDoors;
pub use log::{RestoreError, imported, restore};
pub use observer::{ObservedTotals, Observer};
pub use whom::Whom;
