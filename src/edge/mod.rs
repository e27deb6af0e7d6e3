//! `weir edge`: one relay with doors.

mod args;
mod assembly;
mod status;

pub(crate) use args::EdgeArgs;
pub(crate) use assembly::run;
