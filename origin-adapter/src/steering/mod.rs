//! Content steering: which relays a player is sent to, as an answer to `/weir/steer`.
//!
//! Invariant: an answer is always a list that no player stops at ([`weir_hls::steering`]), whatever was asked and whoever
//! is there; a relay is in it only while it reports, its door has shown that it is its own, and it covers the path.

mod answer;
mod choose;
mod place;
mod proof;
mod variants;

pub(crate) use answer::relay_of_pathway;
pub use answer::{Answered, Asked, Desk};
pub use choose::{Candidate, Viewer, choose};
pub(crate) use place::canonical;
pub use proof::{DOOR_PATH, Proofs, ProverConfig, RELAY_FIELD};

/// The pathway of a playlist's own streams, wherever it was fetched from.
pub const FIRST: &str = "A";
/// The pathway of the fall-back: the publisher's CDN or its adapter.
pub const SECOND: &str = "B";
