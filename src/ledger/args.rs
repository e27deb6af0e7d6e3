//! What can be typed after `weir ledger`.

use super::open::LedgerPlace;
use crate::private::ADMIN;
use clap::{Args, Subcommand};
use std::{net::SocketAddr, path::PathBuf};
use weir_ledger::NoteVerifier;
use weir_protocol::{PublisherId, RelayId};

/// Arguments of `weir ledger`.
#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    #[command(subcommand)]
    pub(super) tool: Tool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Tool {
    /// Make a publisher's ledger: its key, its store, its first leaves
    Init(InitArgs),
    /// Sign a checkpoint over everything in the store and write the log's files
    Publish(PublishArgs),
    /// Serve a folder of log files over HTTP
    Serve(ServeArgs),
    /// Cosign checkpoints of logs that only grow (C2SP tlog-witness)
    Witness(WitnessArgs),
    /// Check a log (a folder or URL) or a .tlog-proof file; exit code 3 if something does not hold
    Verify(VerifyArgs),
    /// Log what a CDN that pulls with service tokens received, from its own log files
    ImportLog(ImportArgs),
    /// Show what a published ledger says about a relay, and prove that its leaves are in the log
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    #[command(flatten)]
    pub(super) place: LedgerPlace,
    /// The log's name, best its future address without scheme: video.example.com/ledger
    #[arg(long, value_name = "NAME")]
    pub(super) origin: String,
    /// Length of an epoch in milliseconds; receipts count by epoch
    #[arg(long, value_name = "MS", default_value_t = weir_protocol::epoch::DEFAULT_EPOCH_MS)]
    pub(super) epoch_ms: u64,
    /// Where to keep it: redb:///path/to/file, or postgres://user@host/database for several adapters
    #[arg(long, value_name = "URL", env = "WEIR_LEDGER__STORE")]
    pub(super) store: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    #[command(flatten)]
    pub(super) place: LedgerPlace,
    /// Folder for checkpoint and tiles
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Write the openings too: what the leaves are, with the sessions' random ids
    #[arg(long)]
    pub(super) openings: bool,
    /// A witness to ask for its signature, as URL=KEY; repeat for several
    #[arg(long, value_name = "URL=KEY")]
    pub(super) witness: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Folder that `weir ledger publish` or `weir settle run` wrote
    pub(super) dir: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7095")]
    pub(super) listen: SocketAddr,
    /// End when standard input ends
    #[arg(long, hide = true)]
    pub(super) exit_with_stdin: bool,
}

#[derive(Debug, Args)]
pub(super) struct WitnessArgs {
    /// Folder for the witness's key and state
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// The witness's name, best its address without scheme
    #[arg(long, value_name = "NAME")]
    pub(super) name: String,
    /// Key of a log to watch, as `weir ledger init` prints it; repeat for several
    #[arg(long, value_name = "KEY", required = true)]
    pub(super) log: Vec<NoteVerifier>,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7096")]
    pub(super) listen: SocketAddr,
    /// End when standard input ends
    #[arg(long, hide = true)]
    pub(super) exit_with_stdin: bool,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// A folder, a http(s) URL, or a file that ends in .tlog-proof
    pub(super) what: String,
    /// The log's key, as `weir ledger init` prints it
    #[arg(long, value_name = "KEY")]
    pub(super) log_key: NoteVerifier,
    /// A witness whose signature must be under the checkpoint; repeat for several
    #[arg(long, value_name = "KEY")]
    pub(super) witness: Vec<NoteVerifier>,
    /// An earlier checkpoint of the log, which must be its beginning
    #[arg(long, value_name = "FILE")]
    pub(super) since: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Which relay
    pub(super) relay: RelayId,
    /// Folder that `weir settle run` wrote
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// The log's key
    #[arg(long, value_name = "KEY")]
    pub(super) log_key: NoteVerifier,
    /// Whose ledger it is
    #[arg(long, value_name = "ID")]
    pub(super) publisher: PublisherId,
    /// Print the proof of this leaf in the form .tlog-proof instead
    #[arg(long, value_name = "LEAF")]
    pub(super) proof: Option<u64>,
    /// Print JSON
    #[arg(long, conflicts_with = "proof")]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    pub(super) place: LedgerPlace,
    /// Private address of the adapter, if it runs on this machine: it logs what is imported
    #[arg(long, value_name = "ADDR", env = "WEIR_ORIGIN__ADMIN", default_value_t = ADMIN)]
    pub(super) admin: SocketAddr,
    /// Whose host a log names: HOST=ID, or HOST:PORT=ID as the log writes it; repeat for several
    #[arg(long = "relay", value_name = "HOST=ID", value_parser = host)]
    pub(super) relays: Vec<(String, RelayId)>,
    /// Count these files instead of what was imported of the same sessions and epochs before
    #[arg(long)]
    pub(super) replace: bool,
    /// Log files: JSON lines, CSV, or W3C extended; all files of an epoch together
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,
}

fn host(text: &str) -> Result<(String, RelayId), String> {
    let (host, id) = text.rsplit_once('=').ok_or_else(|| format!("{text}: write HOST=ID"))?;
    let relay = id.parse().map_err(|error| format!("{id}: {error}"))?;
    Ok((host.to_owned(), relay))
}
