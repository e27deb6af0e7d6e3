//! `weir origin probe`: the publisher plays as a viewer through relays and compares what they claim with what came.
//!
//! * `args`: what can be typed. `plan`: who is probed, when, and by which token (no I/O). `keep`: plans on the disk.
//! * `play`: one session. `run`: commitments before the epoch, sessions in it, revelation afterwards.
//!
//! Invariant: a list is in the ledger by its hash before its epoch begins, and is revealed only when every session of it
//! either came to its end or never began: what was received is known, or nothing is said.

mod args;
mod keep;
mod plan;
mod play;
mod run;

pub(super) use args::ProbeArgs;
pub(super) use run::run;
