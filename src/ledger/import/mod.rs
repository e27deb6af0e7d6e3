//! `weir ledger import-log`: the log of a CDN that pulled through relays, as evidence for what it pulled.
//!
//! * `line`: one line of a log in any of the forms. `sum`: lines added up. `run`: files into the ledger.
//!
//! Invariant: every line of every file was read and understood before anything is logged.

mod line;
mod run;
mod sum;
mod time;

pub(super) use run::run;
