//! `weir settle show`.

use super::args::ShowArgs;
use super::verify::check;
use crate::exit::{Failure, RUNTIME};
use crate::ledger::{amount, bytes};
use std::collections::BTreeMap;
use std::process::ExitCode;
use weir_ledger::settle::{PayStatus, ProbeNote, Reason, Settlement};

/// Shows.
pub(super) fn run(args: &ShowArgs) -> Result<ExitCode, Failure> {
    let settled = check(&args.check)?.settlement;
    if args.json {
        print!("{}", settled.json().map_err(|error| Failure::new(RUNTIME, error))?);
        return Ok(ExitCode::SUCCESS);
    }
    let currency = &settled.currency;
    println!("{} · {} leaves · policy {}", settled.origin, settled.tree_size, settled.policy);
    for relay in settled.relays.iter().filter(|relay| args.relay.is_none_or(|only| only == relay.relay)) {
        println!("{}", relay.relay);
        println!("  {} B claimed, {} B accepted", bytes(relay.claimed), bytes(relay.accepted));
        println!("  {} released, {} held", amount(relay.paid, currency), amount(relay.held, currency));
        for (reason, cut) in rejected(&settled, &relay.relay) {
            println!("  − {} B {}: {}", bytes(cut), reason.code(), reason.explanation());
        }
    }
    if args.relay.is_none() {
        for creator in &settled.creators {
            let (paid, held) = (amount(creator.paid, currency), amount(creator.held, currency));
            println!("creator {}: {paid} released, {held} held", creator.creator);
        }
        let (paid, held) = (amount(settled.platform.paid, currency), amount(settled.platform.held, currency));
        println!("platform: {paid} released, {held} held");
    }
    for payout in settled.payouts.iter().filter(|payout| args.relay.is_none_or(|only| only == payout.relay)) {
        let to = payout.account.as_deref().or(payout.address.as_deref()).unwrap_or("nobody yet");
        let status = match payout.status {
            PayStatus::Due => "due",
            PayStatus::BelowMinimum => "below the minimum, waits",
            PayStatus::NoPayee => "waits until the relay names a payee",
        };
        println!("to {to}: {} in all, {status}", amount(payout.cumulative, currency));
    }
    for note in settled.probes.iter().filter(|note| args.relay.is_none_or(|only| only == note.relay)) {
        println!("{}", probes(note));
    }
    for note in &settled.misconduct {
        println!("✘ {} contradicted itself in epoch {}: leaves {:?}", note.relay, note.epoch, note.leaves);
    }
    Ok(ExitCode::SUCCESS)
}

/// What probes measured of a relay.
pub(super) fn probes(note: &ProbeNote) -> String {
    let percent = |ppm: u64| format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100);
    format!(
        "probes of {}: {} of {} inflated; {} of what it claims was not delivered (95 %: {} to {})",
        note.relay,
        note.inflated,
        note.probes,
        percent(note.estimate_ppm),
        percent(note.low_ppm),
        percent(note.high_ppm)
    )
}

fn rejected(settled: &Settlement, relay: &weir_protocol::RelayId) -> BTreeMap<Reason, u64> {
    let mut sum = BTreeMap::new();
    for line in settled.lines.iter().filter(|line| line.relay == *relay) {
        line.rejected.iter().for_each(|(reason, cut)| *sum.entry(*reason).or_insert(0) += cut);
    }
    sum
}
