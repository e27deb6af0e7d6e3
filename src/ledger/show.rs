//! `weir ledger show`: what a published ledger says about one relay.

use super::args::ShowArgs;
use super::text::{amount, bytes};
use crate::exit::{CHECK_FAILED, CONFIGURATION, Failure};
use serde_json::json;
use std::process::ExitCode;
use weir_ledger::evidence::LeafSource as _;
use weir_ledger::log::InclusionProof;
use weir_ledger::settle::{Checked, Line, check_folder};
use weir_ledger::tile::{Folder, Resolver};
use weir_protocol::statement::{Kind, Unverified};
use weir_protocol::{EdgeClaim, PayeeChange, PeerReceipt};

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(CHECK_FAILED, format!("check failed: {error}"))
}

/// Shows.
pub(super) fn run(args: ShowArgs) -> Result<ExitCode, Failure> {
    let folder = Folder::new(&args.dir);
    let checked = check_folder(&folder, &args.log_key, args.publisher).map_err(failed)?;
    if let Some(leaf) = args.proof {
        print!("{}", prove(&folder, &checked, leaf)?);
        return Ok(ExitCode::SUCCESS);
    }
    let leaves = leaves(&folder, &checked, &args)?;
    let settled = &checked.settlement;
    let lines: Vec<(&Line, bool)> = settled.lines_with_state().filter(|(line, _)| line.relay == args.relay).collect();
    if args.json {
        let payouts: Vec<_> = settled.payouts.iter().filter(|payout| payout.relay == args.relay).collect();
        let total = settled.relays.iter().find(|total| total.relay == args.relay);
        let lines: Vec<_> =
            lines.iter().map(|(line, released)| json!({ "line": line, "released": released })).collect();
        let leaves: Vec<_> = leaves.iter().map(|(leaf, kind)| json!({ "leaf": leaf, "kind": kind.name() })).collect();
        println!(
            "{}",
            json!({ "relay": args.relay, "total": total, "payouts": payouts, "lines": lines, "leaves": leaves })
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("relay {} in {} ({} leaves, checked)", args.relay, settled.origin, settled.tree_size);
    if lines.is_empty() {
        println!("  nothing is settled yet; open epochs: {}", settled.open_epochs.len());
    }
    for (line, released) in lines {
        print_line(line, released, &settled.currency);
    }
    if let Some(total) = settled.relays.iter().find(|total| total.relay == args.relay) {
        let currency = &settled.currency;
        println!(
            "earned {}, of which held {}",
            amount(total.held + total.paid, currency),
            amount(total.held, currency)
        );
    }
    for payout in settled.payouts.iter().filter(|payout| payout.relay == args.relay) {
        let to = payout.account.as_deref().or(payout.address.as_deref()).unwrap_or("nobody yet: name a payee");
        println!("to pay {} in all, to {to} ({:?})", amount(payout.cumulative, &settled.currency), payout.status);
    }
    for note in settled.misconduct.iter().filter(|note| note.relay == args.relay) {
        println!("✘ contradicted itself in epoch {}: leaves {} and {}", note.epoch, note.leaves[0], note.leaves[1]);
    }
    println!("✔ {} of its messages are in the log; --proof LEAF prints one's proof:", leaves.len());
    for (leaf, kind) in leaves {
        println!("  leaf {leaf}  {kind}");
    }
    Ok(ExitCode::SUCCESS)
}

fn print_line(line: &Line, released: bool, currency: &str) {
    let state = if released { "paid".to_owned() } else { format!("held until epoch {}", line.release_epoch) };
    println!(
        "epoch {} {} {} {:?}: {} B claimed, {} B accepted, {} ({state})",
        line.epoch,
        line.kind.name(),
        if line.path.is_empty() { "/" } else { &line.path },
        line.grade,
        bytes(line.claimed),
        bytes(line.accepted),
        amount(line.relay_amount, currency),
    );
    for (reason, cut) in &line.rejected {
        println!("  − {} B {}: {}", bytes(*cut), reason.code(), reason.explanation());
    }
    if line.to_peers > 0 {
        println!("  {} of it go to the relays that it was filled from", amount(line.to_peers, currency));
    }
}

/// The leaves that hold a relay's own messages, and receipts for what it sent.
fn leaves(folder: &Folder, checked: &Checked, args: &ShowArgs) -> Result<Vec<(u64, Kind)>, Failure> {
    let mut found = Vec::new();
    let source = (folder, checked.checkpoint.checkpoint().size);
    let visited = source.for_each(&mut |leaf, opening| {
        let Some(opening) = opening else { return };
        let message = opening.message.into();
        let own = match opening.kind {
            Kind::EdgeClaim => {
                Unverified::<EdgeClaim>::new(message).claimed().is_ok_and(|said| said.edge == args.relay)
            }
            Kind::PeerReceipt => {
                Unverified::<PeerReceipt>::new(message).claimed().is_ok_and(|said| said.sender == args.relay)
            }
            Kind::PayeeChange => {
                Unverified::<PayeeChange>::new(message).claimed().is_ok_and(|said| said.relay == args.relay)
            }
            _ => false,
        };
        if own {
            found.push((leaf, opening.kind));
        }
    });
    visited.map_err(failed)?;
    Ok(found)
}

/// The proof of a leaf, made from the folder and checked before it is printed.
fn prove(folder: &Folder, checked: &Checked, leaf: u64) -> Result<InclusionProof, Failure> {
    let size = checked.checkpoint.checkpoint().size;
    let mut resolver = Resolver::inclusion(leaf, size).map_err(|error| Failure::new(CONFIGURATION, error))?;
    for place in resolver.wants() {
        let hashes = folder.hashes(&place).map_err(failed)?;
        resolver.give(place, hashes).map_err(failed)?;
    }
    let path = resolver.proof().map_err(failed)?;
    let opening = (folder, size).opening(leaf).map_err(failed)?;
    let proof = InclusionProof { index: leaf, path, opening, checkpoint: checked.checkpoint.clone() };
    if proof.opening.is_some() {
        proof.verify_opening().map_err(failed)?;
    }
    Ok(proof)
}
