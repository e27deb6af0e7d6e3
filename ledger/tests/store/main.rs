//! The stores: one suite for both, crashes, lost writes and full disks.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../support/postgres.rs"]
mod postgres;

mod crash;
mod disk;
mod suite;
mod support;
