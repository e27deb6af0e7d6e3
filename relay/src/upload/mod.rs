//! How much the node uploads: one limit for everything, by urgency, with a share for what nobody waits for.
//! Invariant: without a limit nothing here costs anything; with one, more urgent transfers never wait for less urgent
//! ones longer than one piece takes.

mod bucket;
mod limit;
mod queue;

pub use limit::{DEFAULT_BACKGROUND_PERCENT, UploadLimit};
