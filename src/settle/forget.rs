//! `weir settle forget`: what an epoch came to stays, who watched it goes.
//!
//! Invariant: openings are deleted only after the totals that stand for them are in the log, and the settlement that the
//! folder shows afterwards has the same lines.

use super::args::ForgetArgs;
use super::run::{leaf, open, settle_into};
use crate::exit::{CONFIGURATION, DATA_DIRECTORY, Failure, RUNTIME};
use crate::ledger::bytes;
use std::collections::BTreeSet;
use std::process::ExitCode;
use weir_ledger::TreeSize;
use weir_ledger::settle::{Settlement, forgettable, totals_messages};
use weir_ledger::tile::Folder;
use weir_protocol::Epoch;
use weir_protocol::statement::Kind;

/// Forgets.
pub(super) async fn run(args: ForgetArgs) -> Result<ExitCode, Failure> {
    let through = Epoch(args.through);
    let (ledger, file, policy) = open(&args.run).await?;
    let folder = Folder::new(&args.run.out);
    let before = settle_into(&ledger, &file, policy.clone(), &folder).await?;
    for epoch in epochs(&before, through) {
        let messages = totals_messages(&before, epoch).map_err(|error| Failure::new(RUNTIME, error))?;
        let messages = messages.ok_or_else(|| {
            let advice = "name an earlier one, or wait";
            Failure::new(CONFIGURATION, format!("lines of epoch {epoch} are still held and can change: {advice}"))
        })?;
        for message in messages {
            ledger.add(vec![leaf(Kind::EpochTotals, message.as_bytes())?]).await?;
        }
    }
    let source = (&folder, TreeSize::new(before.tree_size));
    let leaves = forgettable(&source, through).map_err(|error| Failure::new(DATA_DIRECTORY, error))?;
    let store = ledger.log.store();
    let forgotten = store.forget(leaves).await.map_err(|error| Failure::new(DATA_DIRECTORY, error))?;
    // The folder's openings are written anew from what is left.
    let openings = folder.path().join("openings");
    std::fs::remove_dir_all(&openings)
        .map_err(|error| Failure::new(DATA_DIRECTORY, format!("cannot remove {}: {error}", openings.display())))?;
    let after = settle_into(&ledger, &file, policy, &folder).await?;
    if after.lines != before.lines {
        return Err(Failure::new(RUNTIME, "the settlement has other lines than before; restore the store from a copy"));
    }
    println!("✔ {} openings are deleted; {} lines stand as before", bytes(forgotten), after.lines.len());
    println!("  Delete older copies of {} yourself.", openings.display());
    Ok(ExitCode::SUCCESS)
}

/// Epochs with lines, up to `through`, whose totals are not in the log yet.
fn epochs(settled: &Settlement, through: Epoch) -> BTreeSet<Epoch> {
    let kept: BTreeSet<Epoch> = settled.from_totals.iter().copied().collect();
    let epochs = settled.lines.iter().map(|line| line.epoch).filter(|epoch| *epoch <= through);
    epochs.filter(|epoch| !kept.contains(epoch)).collect()
}
