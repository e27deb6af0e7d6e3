//! Faults and malice against whole processes: crowds, kills, garbage, wrong starts, drains. Each test says what a viewer
//! sees.

#![expect(clippy::unwrap_used, reason = "tests")]

mod content;
mod crowd;
mod drain;
mod exits;
mod fuzz;
mod garbage;
#[path = "../harness/mod.rs"]
mod harness;
mod kills;
mod steering;
