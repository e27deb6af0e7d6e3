//! What can go wrong with a store.

use std::io;
use std::path::PathBuf;

/// Why a store refuses or fails.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room: nothing is acknowledged until there is.
    #[error("the ledger's disk is full: nothing is acknowledged until there is room ({0})")]
    Full(String),
    /// Another process has the file.
    #[error(
        "{} is in use by another process; stop it, or keep the ledger in PostgreSQL, which several adapters can share",
        .0.display()
    )]
    InUse(PathBuf),
    /// The store cannot be reached, or reading or writing failed; trying again may help.
    #[error("the ledger's store does not answer: {0}")]
    Unavailable(String),
    /// The store is there and what it holds is not what a ledger writes.
    #[error("the ledger's store is damaged: {0}; restore it from a copy, and compare it with the published tiles")]
    Damaged(String),
    /// The store holds another log.
    #[error("the store holds the log {found}, not {expected}: name another store, or the log's own origin")]
    Foreign {
        /// The log that was asked for.
        expected: String,
        /// The log that is there.
        found: String,
    },
    /// Written by another version.
    #[error("the store has format {0}; this program reads format 1")]
    Format(u64),
    /// This process's clock is behind the log's latest leaf.
    #[error(
        "this machine's clock is {behind_ms} ms behind the ledger's latest entry: set the clocks of all adapters by NTP"
    )]
    Clock {
        /// By how much, in milliseconds.
        behind_ms: u64,
    },
    /// More leaves in one append than allowed.
    #[error("{0} leaves in one append; at most 4096 are allowed")]
    TooMany(usize),
}

impl StoreError {
    /// An I/O error, told apart by whether the disk is full.
    pub(super) fn io(error: &io::Error) -> Self {
        // A quota and a limit of the process on file sizes are full disks too.
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full(error.to_string())
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
