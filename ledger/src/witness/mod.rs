//! Witnesses: parties that sign under a log's checkpoint that they saw no other history (C2SP `tlog-witness`).
//!
//! * `message`: the request `add-checkpoint` and its answers.
//! * `decide`: what a witness does about a request, without I/O.
//! * `state`: the latest checkpoint that a witness signed for each log, on disk before the signature leaves.

mod decide;
mod message;
mod state;

pub use decide::{Refusal, Witness};
pub use message::{AddCheckpoint, Answer, MAX_REQUEST};
pub use state::{WitnessState, WitnessStateError};
