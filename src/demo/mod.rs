//! `weir demo`: a platform's origin, its adapter, three relays and a player page on one machine.
//!
//! The origin and the page live in this process; the adapter and the relays are child processes of the same program, so
//! that killing one, pausing one and reading its CPU time are real. Invariant: whatever happens to this process, its
//! children end, because each of them drains when the pipe that is its standard input closes.

mod args;
mod assembly;
mod child;
mod console;
mod control;
mod exposition;
pub(crate) mod faults;
mod figures;
mod network;
pub(crate) mod origin;
mod page;
mod ports;
mod readings;
mod settlement;
mod summary;
mod viewers;
mod ward;

pub(crate) use args::DemoArgs;
pub(crate) use assembly::run;
