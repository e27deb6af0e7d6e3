//! The lines of one epoch.

use std::collections::BTreeMap;

use weir_protocol::{Epoch, RelayId};

use crate::evidence::{Book, Inflation};
use crate::settle::claims::{Item, Sessions, judge};
use crate::settle::fills::pay;
use crate::settle::line::{Grade, Line};
use crate::settle::money::{Rate, divide, millionths};
use crate::settle::policy::{Claw, Policy, PriceKind};
use crate::settle::reason::Reason;

/// Items that go into one line, and the price that they have in common.
type Key = (String, RelayId, PriceKind, String, Grade, Option<Rate>);

/// Computes an epoch that is closed. `inflation` measures a relay with the probes that count for this epoch's lines and
/// that were revealed by the time when a line with this release epoch is released.
pub(super) fn lines(
    book: &Book,
    policy: &Policy,
    epoch: Epoch,
    sessions: &mut Sessions,
    inflation: &dyn Fn(&RelayId, Epoch) -> Inflation,
) -> Vec<Line> {
    let enough = |relay: &RelayId| inflation(relay, epoch).probes >= policy.probes.least;
    let items = judge(book, policy, epoch, sessions, enough);
    let mut before_probes: BTreeMap<(RelayId, Grade), u64> = BTreeMap::new();
    let mut groups: BTreeMap<Key, Item> = BTreeMap::new();
    for item in items {
        *before_probes.entry((item.relay, item.grade)).or_insert(0) += item.accepted;
        let key = (item.relay.to_string(), item.relay, item.kind, item.path.clone(), item.grade, item.rate);
        match groups.get_mut(&key) {
            None => {
                groups.insert(key, item);
            }
            Some(sum) => {
                sum.claimed += item.claimed;
                sum.accepted += item.accepted;
                item.rejected.into_iter().for_each(|(reason, bytes)| *sum.rejected.entry(reason).or_insert(0) += bytes);
            }
        }
    }
    let mut lines: Vec<(Option<Rate>, Line)> =
        groups.into_iter().map(|((.., rate), item)| (rate, line(policy, epoch, item, inflation))).collect();
    price(&mut lines);
    let mut lines = merged(lines);
    lines.iter_mut().for_each(|line| share(policy, line));
    pay(book, policy, epoch, &before_probes, &mut lines);
    lines.sort_by(|a, b| a.key().cmp(&b.key()));
    lines
}

fn line(policy: &Policy, epoch: Epoch, mut item: Item, inflation: &dyn Fn(&RelayId, Epoch) -> Inflation) -> Line {
    let release_epoch = Epoch(epoch.0.saturating_add(item.grade.hold(&policy.hold_epochs)));
    let measured = inflation(&item.relay, release_epoch);
    let ppm = match policy.probes.claw {
        _ if measured.probes < policy.probes.least || measured.inflated == 0 => 0,
        Claw::Low => measured.low_ppm,
        Claw::Estimate => measured.estimate_ppm,
        Claw::High => measured.high_ppm,
    };
    let clawed = millionths(item.accepted, ppm);
    item.accepted -= clawed;
    if clawed > 0 {
        *item.rejected.entry(Reason::Inflation).or_insert(0) += clawed;
    }
    Line {
        epoch,
        relay: item.relay,
        kind: item.kind,
        path: item.path,
        grade: item.grade,
        claimed: item.claimed,
        accepted: item.accepted,
        rejected: item.rejected,
        inflation_ppm: ppm,
        amount: 0,
        creator: None,
        creator_amount: 0,
        platform_amount: 0,
        to_peers: 0,
        relay_amount: 0,
        release_epoch,
    }
}

/// Prices what has the same price and grade together, and divides it by the largest remainder: no fraction is lost by
/// being spread over many lines.
fn price(lines: &mut [(Option<Rate>, Line)]) {
    let mut groups: BTreeMap<(Rate, PriceKind, Grade), Vec<usize>> = BTreeMap::new();
    for (at, (rate, line)) in lines.iter().enumerate() {
        if let Some(rate) = rate {
            groups.entry((*rate, line.kind, line.grade)).or_default().push(at);
        }
    }
    for ((rate, ..), places) in groups {
        let bytes: Vec<u64> = places.iter().map(|at| lines[*at].1.accepted).collect();
        let whole = bytes.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        for (at, amount) in places.iter().zip(divide(rate.amount(whole), &bytes)) {
            lines[*at].1.amount = amount;
        }
    }
}

/// Lines that differ in price only, as when a grant with another price came in the middle, are one line.
fn merged(lines: Vec<(Option<Rate>, Line)>) -> Vec<Line> {
    let mut merged: Vec<Line> = Vec::with_capacity(lines.len());
    for (_, line) in lines {
        // They are sorted, so such lines stand side by side.
        match merged.last_mut().filter(|last| last.key() == line.key()) {
            None => merged.push(line),
            Some(sum) => {
                sum.claimed += line.claimed;
                sum.accepted += line.accepted;
                sum.amount += line.amount;
                line.rejected.into_iter().for_each(|(reason, bytes)| *sum.rejected.entry(reason).or_insert(0) += bytes);
            }
        }
    }
    merged
}

fn share(policy: &Policy, line: &mut Line) {
    let split = policy.splits.iter().find(|split| split.path == line.path);
    let (creator, platform) = split.map_or((0, 0), |split| (split.creator_permille, split.platform_permille));
    let parts = divide(line.amount, &[creator, platform, 1000 - creator - platform]);
    line.creator = split.and_then(|split| split.creator.clone());
    [line.creator_amount, line.platform_amount, line.relay_amount] = [parts[0], parts[1], parts[2]];
}
