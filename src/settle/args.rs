//! What can be typed after `weir settle`.

use crate::ledger::LedgerPlace;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use weir_ledger::NoteVerifier;
use weir_protocol::{PublisherId, RelayId};

/// Arguments of `weir settle`.
#[derive(Debug, Args)]
pub(crate) struct SettleArgs {
    #[command(subcommand)]
    pub(super) tool: Tool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Tool {
    /// Settle the publisher's own ledger with a policy, and write everything that others need to check it
    Run(RunArgs),
    /// Log what old epochs came to, and delete the openings that tell of their sessions
    Forget(ForgetArgs),
    /// Show a settlement: who earned what, what is held, what was rejected and why
    Show(ShowArgs),
    /// Compute a published settlement anew and compare; exit code 3 names the first place that differs
    Verify(CheckArgs),
    /// Write what is due, for a contract or for a bank
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) place: LedgerPlace,
    /// The policy file
    #[arg(long, value_name = "FILE")]
    pub(super) policy: PathBuf,
    /// Folder for log, openings, policy and settlement
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ForgetArgs {
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// Last epoch whose sessions are forgotten; all its lines must have been released
    #[arg(long, value_name = "EPOCH")]
    pub(super) through: u64,
}

/// A published settlement, and whom to believe.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Folder that `weir settle run` wrote, or a copy of it
    pub(super) dir: PathBuf,
    /// The log's key, as `weir ledger init` prints it
    #[arg(long, value_name = "KEY")]
    pub(super) log_key: NoteVerifier,
    /// Whose ledger it is
    #[arg(long, value_name = "ID")]
    pub(super) publisher: PublisherId,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    pub(super) check: CheckArgs,
    /// Only this relay
    #[arg(long, value_name = "RELAY")]
    pub(super) relay: Option<RelayId>,
    /// Print the canonical JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What an export is for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Form {
    /// A Merkle distributor, as OpenZeppelin's StandardMerkleTree.load reads it
    Merkle,
    /// A CSV list of cumulative amounts, for bank or manual payment
    Payments,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    pub(super) check: CheckArgs,
    /// Form
    #[arg(long = "as", value_enum)]
    pub(super) form: Form,
    /// File to write instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}
