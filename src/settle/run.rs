//! `weir settle run`: the publisher's side.
//!
//! The policy and a mark of the time become leaves first, so that the settlement depends on nothing outside the log.

use super::args::RunArgs;
use crate::exit::{CONFIGURATION, DATA_DIRECTORY, Failure, RUNTIME};
use crate::ledger::{Ledger, amount};
use crate::origin::LOG_FOLDER;
use std::process::ExitCode;
use std::time::Duration;
use weir_ledger::log::{Publisher, Submission, WitnessClient};
use weir_ledger::note::NoteVerifier;
use weir_ledger::settle::{
    HashedPolicy, POLICY_FILE, Policy, SETTLEMENT_CSV, SETTLEMENT_JSON, SettleError, SettleInput, Settlement, settle,
};
use weir_ledger::tile::{Folder, FolderError};
use weir_protocol::statement::Kind;

/// A settlement asks nobody: `weir ledger publish --witness` does.
struct NoWitness;

impl WitnessClient for NoWitness {
    fn key(&self) -> &NoteVerifier {
        unreachable!("there is no witness to ask")
    }

    async fn post(&self, _body: String) -> Result<(u16, String), String> {
        Err("there is no witness to ask".into())
    }
}

/// Settles.
pub(super) async fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let (ledger, file, policy) = open(&args).await?;
    ledger.add(vec![leaf(Kind::Policy, &file)?]).await?;
    let settled = settle_into(&ledger, &file, policy, &Folder::new(&args.out)).await?;
    // Beside the log that the adapter shows, relays find what they earned; it names no session.
    let shown = args.place.directory().join(LOG_FOLDER);
    if shown.is_dir() {
        write(&Folder::new(shown), &file, &settled)?;
    }
    tell(&settled, &args, ledger.verifier());
    Ok(ExitCode::SUCCESS)
}

/// The ledger, and the policy as a file and as what it says.
pub(super) async fn open(args: &RunArgs) -> Result<(Ledger, Vec<u8>, HashedPolicy), Failure> {
    let file = std::fs::read(&args.policy)
        .map_err(|error| Failure::new(CONFIGURATION, format!("cannot read {}: {error}", args.policy.display())))?;
    let policy = Policy::read(&file)
        .map_err(|error| Failure::new(CONFIGURATION, format!("{}: {error}", args.policy.display())))?;
    let ledger = Ledger::open(&args.place).await?;
    ledger.add_key_list().await?;
    Ok((ledger, file, policy))
}

/// What the publisher itself says, as a leaf.
pub(super) fn leaf(kind: Kind, message: &[u8]) -> Result<Submission, Failure> {
    Submission::own(kind, message).map_err(|error| Failure::new(RUNTIME, error))
}

/// Marks the time, publishes, settles, and writes the settlement beside the log.
pub(super) async fn settle_into(
    ledger: &Ledger,
    file: &[u8],
    policy: HashedPolicy,
    folder: &Folder,
) -> Result<Settlement, Failure> {
    // A mark is a leaf of its own each time: its message is what makes it one.
    let mark: [u8; 16] = rand::random();
    ledger.add(vec![leaf(Kind::Mark, &mark)?]).await?;
    let witnesses: Vec<NoWitness> = Vec::new();
    let every = Duration::from_secs(1);
    let checkpoint = Publisher::new(ledger.log.clone(), Some(folder.clone()), true, witnesses, every).publish().await?;
    let publisher = ledger.publisher();
    let (size, root) = (checkpoint.checkpoint().size, checkpoint.checkpoint().root);
    let out = folder.clone();
    let settled = tokio::task::spawn_blocking(move || {
        settle(SettleInput { source: &(&out, size), root, publisher, policy: &policy })
    });
    let settled = settled.await.map_err(|error| Failure::new(RUNTIME, error))?;
    let settled = settled.map_err(|error| match error {
        SettleError::EpochLength { .. } => Failure::new(CONFIGURATION, error),
        error => Failure::new(RUNTIME, error),
    })?;
    write(folder, file, &settled)?;
    Ok(settled)
}

fn write(folder: &Folder, policy: &[u8], settled: &Settlement) -> Result<(), Failure> {
    let disk = |error: FolderError| Failure::new(DATA_DIRECTORY, error);
    let json = settled.json().map_err(|error| Failure::new(RUNTIME, error))?;
    folder.write(POLICY_FILE, policy).map_err(disk)?;
    folder.write(SETTLEMENT_JSON, json.as_bytes()).map_err(disk)?;
    folder.write(SETTLEMENT_CSV, settled.csv().as_bytes()).map_err(disk)
}

fn tell(settled: &Settlement, args: &RunArgs, log: &NoteVerifier) {
    let currency = &settled.currency;
    println!("✔ settled    {} lines from {} leaves", settled.lines.len(), settled.tree_size);
    for relay in &settled.relays {
        let (held, paid) = (amount(relay.held, currency), amount(relay.paid, currency));
        println!("  {}  {paid} released, {held} held", relay.relay);
    }
    for note in &settled.probes {
        println!("  {}", super::show::probes(note));
    }
    for open in &settled.open_epochs {
        println!("  epoch {} is open until {} ms", open.epoch, open.closes_ms);
    }
    if !settled.withheld.is_empty() {
        println!("✘ {} leaves have no opening: nobody can check this settlement", settled.withheld.len());
    }
    println!("✔ written to {}; others check it with", args.out.display());
    println!("  weir settle verify DIR --publisher {} --log-key '{log}'", settled.publisher);
}
