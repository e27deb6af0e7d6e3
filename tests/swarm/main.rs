//! A live channel and many relay processes: it goes down the tree once, and whoever is killed is not missed. And one in
//! parts, of which each is everywhere a moment after it was made.

#![expect(clippy::unwrap_used, reason = "tests")]

mod channel;
#[path = "../harness/mod.rs"]
mod harness;
mod low_latency;
mod spread;
mod strict;
mod viewer;
