//! `weir settle`: payouts on the command line.
//!
//! Invariant: what is shown, verified and exported was computed here from the folder's log, never taken from a file that
//! somebody wrote.

mod args;
mod command;
mod export;
mod forget;
mod run;
mod show;
mod verify;

pub(crate) use args::SettleArgs;
pub(crate) use command::run;
