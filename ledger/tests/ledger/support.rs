//! Policies, and short ways to what a settlement says.

use std::collections::BTreeMap;

use weir_ledger::settle::{Line, Reason, Settlement};
use weir_protocol::EvidenceKey;

use crate::world::POLICY;

/// The round policy without holdback.
pub(crate) fn at_once() -> String {
    format!("{POLICY}[hold_epochs]\ne0 = 0\ne1 = 0\ne2 = 0\ne3 = 0\n")
}

pub(crate) fn of<'a>(settlement: &'a Settlement, relay: &EvidenceKey) -> Vec<&'a Line> {
    settlement.lines.iter().filter(|line| line.relay == relay.relay_id()).collect()
}

/// Accepted bytes of a relay.
pub(crate) fn accepted(settlement: &Settlement, relay: &EvidenceKey) -> u64 {
    of(settlement, relay).iter().map(|line| line.accepted).sum()
}

/// What a relay is paid, held or not.
pub(crate) fn earned(settlement: &Settlement, relay: &EvidenceKey) -> u64 {
    of(settlement, relay).iter().map(|line| line.relay_amount).sum()
}

pub(crate) fn rejected(settlement: &Settlement, relay: &EvidenceKey) -> BTreeMap<Reason, u64> {
    let mut sum = BTreeMap::new();
    for line in of(settlement, relay) {
        line.rejected.iter().for_each(|(reason, bytes)| *sum.entry(*reason).or_insert(0) += bytes);
    }
    sum
}

/// What must hold of every settlement.
pub(crate) fn adds_up(settlement: &Settlement) {
    for line in &settlement.lines {
        assert_eq!(line.claimed, line.accepted + line.rejected_bytes(), "{line:?}");
        let shares = line.creator_amount + line.platform_amount + line.relay_amount + line.to_peers;
        assert_eq!(line.amount, shares, "{line:?}");
    }
    assert!(settlement.lines.windows(2).all(|pair| pair[0].key() < pair[1].key()), "sorted, and no line twice");
    let filled: u64 = settlement.lines.iter().map(|line| line.to_peers).sum();
    let fills: u64 =
        settlement.lines.iter().filter(|line| line.kind.name() == "peer").map(|line| line.relay_amount).sum();
    assert_eq!(filled, fills, "fills move money and make none");
}
