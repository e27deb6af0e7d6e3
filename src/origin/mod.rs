//! `weir origin`: the adapter in front of a platform's origin.

mod args;
mod assembly;

pub(crate) use args::OriginArgs;
pub(crate) use assembly::run;
