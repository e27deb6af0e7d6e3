//! The cache store on a real file system: what survives restarts, kills, damage and a full disk.
#![expect(clippy::unwrap_used, reason = "tests")]

mod caps;
mod crash;
mod damage;
mod keep;
mod opening;
mod purge;
mod support;
