//! `weir ledger`: the log on the command line. One file for each subcommand; what they share is in `open` (the
//! publisher's own ledger), `fetch` (a log at a URL) and `text` (bytes and amounts for people).

mod args;
mod command;
mod fetch;
mod import;
mod init;
mod open;
mod publish;
mod serve;
mod show;
mod text;
mod verify;
mod witness;

pub(crate) use args::LedgerArgs;
pub(crate) use command::run;
pub(crate) use init::make;
pub(crate) use open::{Ledger, LedgerPlace, now};
pub(crate) use serve::{Files, IDENTITY_FILE};
pub(crate) use text::{amount, bytes};
