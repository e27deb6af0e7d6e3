//! `weir edge`: one relay with doors.

mod args;
mod assembly;
mod audit;
mod door;
mod publishers;
mod settled;
mod status;
mod supply;

pub(crate) use args::EdgeArgs;
pub(crate) use assembly::{Around, run, run_within};
