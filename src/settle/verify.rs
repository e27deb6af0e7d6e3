//! `weir settle verify`, and the check that stands before every view.

use super::args::CheckArgs;
use crate::exit::{CHECK_FAILED, Failure};
use std::process::ExitCode;
use weir_ledger::settle::{Checked, check_folder};
use weir_ledger::tile::Folder;

/// Computes a folder's settlement anew and compares it with what the folder says.
pub(super) fn check(args: &CheckArgs) -> Result<Checked, Failure> {
    check_folder(&Folder::new(&args.dir), &args.log_key, args.publisher)
        .map_err(|error| Failure::new(CHECK_FAILED, format!("check failed: {error}")))
}

/// Verifies, and says what agrees.
pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let checked = check(args)?;
    let (state, settled) = (checked.checkpoint.checkpoint(), &checked.settlement);
    println!("✔ {}: {} leaves, root {}", state.origin, state.size, state.root);
    println!("✔ every tile, entry and opening agrees with it");
    println!("✔ policy {}", settled.policy);
    println!("✔ {} lines and {} payouts are what the log comes to", settled.lines.len(), settled.payouts.len());
    if !settled.from_totals.is_empty() {
        println!("  of {} epochs the openings were deleted; their totals in the log stand", settled.from_totals.len());
    }
    Ok(ExitCode::SUCCESS)
}
