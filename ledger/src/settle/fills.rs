//! What relays get for filling other relays: out of the receiver's own share.
//!
//! Invariant: a fill moves money from the receiver's lines to the sender's and creates none. So relays that pass bytes to
//! one another in a circle share what one of them earns from viewers, and nothing if nobody watches.

use std::collections::BTreeMap;

use weir_protocol::{Epoch, RelayId};

use crate::evidence::{Book, Terms};
use crate::settle::line::{Grade, Line};
use crate::settle::money::{Rate, cap, divide};
use crate::settle::policy::{Policy, PriceKind};
use crate::settle::reason::Reason;

/// What a receiver has to share, in one grade.
#[derive(Debug, Clone, Copy, Default)]
struct Purse {
    /// Bytes accepted of its claims before probes: fixed when the epoch closes.
    bytes: u64,
    /// Millionths that it earns.
    amount: u64,
}

/// One receipt's part in one grade.
struct Fill {
    sender: RelayId,
    rate: Rate,
    claimed: u64,
}

/// Adds lines for fills, and takes what they cost from the receivers' lines. `before_probes` are accepted bytes by relay
/// and grade as they stood when the epoch closed.
pub(super) fn pay(
    book: &Book,
    policy: &Policy,
    epoch: Epoch,
    before_probes: &BTreeMap<(RelayId, Grade), u64>,
    lines: &mut Vec<Line>,
) {
    let mut purses: BTreeMap<RelayId, BTreeMap<Grade, Purse>> = BTreeMap::new();
    for ((relay, grade), bytes) in before_probes {
        purses.entry(*relay).or_default().entry(*grade).or_default().bytes = *bytes;
    }
    let mut own: BTreeMap<(RelayId, Grade), Vec<usize>> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        purses.entry(line.relay).or_default().entry(line.grade).or_default().amount += line.relay_amount;
        own.entry((line.relay, line.grade)).or_default().push(at);
    }
    let mut earned: BTreeMap<(RelayId, Grade), Line> = BTreeMap::new();
    let mut receivers: BTreeMap<RelayId, Vec<(RelayId, u64)>> = BTreeMap::new();
    for receipt in book.receipts.get(&epoch).into_iter().flatten().map(|latest| &latest.statement) {
        receivers.entry(receipt.receiver).or_default().push((receipt.sender, receipt.unique_bytes));
    }
    for (receiver, receipts) in receivers {
        let none = BTreeMap::new();
        let purse = purses.get(&receiver).unwrap_or(&none);
        for (grade, fills) in by_grade(book, policy, epoch, purse, &receipts, &mut earned) {
            let share = purse.get(&grade).map_or(0, |purse| purse.amount);
            let share = u128::from(share) * u128::from(policy.peer.share_permille) / 1000;
            let spent = spend(policy, epoch, grade, u64::try_from(share).unwrap_or(u64::MAX), fills, &mut earned);
            charge(lines, own.get(&(receiver, grade)).map_or(&[], Vec::as_slice), spent);
        }
    }
    lines.extend(earned.into_values());
}

/// Spreads a receiver's receipts over its grades, in proportion to what it delivered in each.
fn by_grade(
    book: &Book,
    policy: &Policy,
    epoch: Epoch,
    purse: &BTreeMap<Grade, Purse>,
    receipts: &[(RelayId, u64)],
    earned: &mut BTreeMap<(RelayId, Grade), Line>,
) -> BTreeMap<Grade, Vec<Fill>> {
    let mut fills: BTreeMap<Grade, Vec<Fill>> = BTreeMap::new();
    let weights: Vec<u64> = purse.values().map(|purse| purse.bytes).collect();
    for (sender, bytes) in receipts {
        let terms = book.terms(sender, epoch, policy.epoch_ms);
        let rate = terms.first().map(|terms: &&Terms| {
            let region = terms.grant.region.as_str();
            terms
                .micro_per_gib(PriceKind::Peer.class())
                .map(Rate::per_gib)
                .or_else(|| policy.price(PriceKind::Peer, region, epoch))
        });
        let refused = match rate {
            // The adapter sends without a grant and asks for nothing.
            None => Some(Reason::NoGrant),
            Some(None) => Some(Reason::NoPrice),
            Some(Some(_)) if weights.iter().all(|weight| *weight == 0) => Some(Reason::ReceiverShare),
            Some(Some(_)) => None,
        };
        if let Some(reason) = refused {
            add(policy, epoch, Grade::E0, earned, *sender, *bytes, 0, 0, reason);
            continue;
        }
        let rate = rate.flatten().unwrap_or(Rate::per_gb(0));
        for (grade, claimed) in purse.keys().zip(divide(*bytes, &weights)) {
            fills.entry(*grade).or_default().push(Fill { sender: *sender, rate, claimed });
        }
    }
    fills
}

/// Pays fills out of a share; returns what they cost.
fn spend(
    policy: &Policy,
    epoch: Epoch,
    grade: Grade,
    share: u64,
    fills: Vec<Fill>,
    earned: &mut BTreeMap<(RelayId, Grade), Line>,
) -> u64 {
    let asked: Vec<u64> = fills.iter().map(|fill| fill.rate.amount(fill.claimed)).collect();
    let given = cap(&asked, share);
    for ((fill, asked), given) in fills.iter().zip(&asked).zip(&given) {
        // Bytes that are worth less than a millionth are accepted, and come to nothing.
        let accepted = if given == asked { fill.claimed } else { fill.rate.bytes(*given).min(fill.claimed) };
        add(policy, epoch, grade, earned, fill.sender, fill.claimed, accepted, *given, Reason::ReceiverShare);
    }
    given.iter().sum()
}

#[expect(clippy::too_many_arguments, reason = "the columns of one line")]
fn add(
    policy: &Policy,
    epoch: Epoch,
    grade: Grade,
    earned: &mut BTreeMap<(RelayId, Grade), Line>,
    sender: RelayId,
    claimed: u64,
    accepted: u64,
    amount: u64,
    reason: Reason,
) {
    let line = earned.entry((sender, grade)).or_insert_with(|| Line {
        epoch,
        relay: sender,
        kind: PriceKind::Peer,
        path: String::new(),
        grade,
        claimed: 0,
        accepted: 0,
        rejected: BTreeMap::new(),
        inflation_ppm: 0,
        amount: 0,
        creator: None,
        creator_amount: 0,
        platform_amount: 0,
        to_peers: 0,
        relay_amount: 0,
        release_epoch: Epoch(epoch.0.saturating_add(grade.hold(&policy.hold_epochs))),
    });
    line.claimed += claimed;
    line.accepted += accepted;
    if claimed > accepted {
        *line.rejected.entry(reason).or_insert(0) += claimed - accepted;
    }
    line.amount += amount;
    line.relay_amount += amount;
}

/// Takes what was spent from the receiver's own lines of the grade, in proportion to what they earn.
fn charge(lines: &mut [Line], own: &[usize], spent: u64) {
    let weights: Vec<u64> = own.iter().map(|at| lines[*at].relay_amount).collect();
    for (at, part) in own.iter().zip(divide(spent, &weights)) {
        lines[*at].to_peers += part;
        lines[*at].relay_amount -= part;
    }
}
