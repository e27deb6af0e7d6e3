//! The ledger as its users meet it: promises, proofs and witnesses; settlements, what honest relays get, what attackers
//! get, and that everybody computes the same.
#![expect(clippy::unwrap_used, reason = "tests")]

mod attacks;
mod example;
mod lines;
mod payouts;
mod promises;
mod published;
mod same;
mod support;
mod vectors;
mod witnesses;
mod world;
