//! What tests of whole flows share: `weir` child processes on loopback, a scripted upstream, an HTTP client, real media
//! and waits.
//!
//! Invariants: everything listens on loopback ports that the system chooses, so that tests run side by side; every wait
//! ends with a message that says what did not happen; what is dropped takes only its own child or task with it.

#![allow(dead_code, reason = "which helpers are used differs from test program to test program")]

pub(crate) mod fetch;
pub(crate) mod ffmpeg;
pub(crate) mod files;
pub(crate) mod process;
pub(crate) mod upstream;
pub(crate) mod wait;
pub(crate) mod weir;
