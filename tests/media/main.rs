//! Real HLS made by ffmpeg, from an origin through the adapter and three relay processes to players: the bytes are the
//! origin's at every edge and door, ffmpeg plays them without a word, and relays really feed one another.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../harness/mod.rs"]
mod harness;

mod flow;
mod keys;
mod live;
mod ranges;
mod vod;
