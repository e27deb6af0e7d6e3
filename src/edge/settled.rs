//! What a publisher's settlement says of this relay, as it stands beside the log.
//!
//! Invariant: it is shown as what the publisher says; that it is computed of this log's tree is checked by the audit, that it
//! is computed right is `weir settle verify`, which needs the openings.

use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use weir_ledger::{RootHash, TreeSize, settle::Reason};
use weir_protocol::{PublisherId, RelayId};

/// The tree that a settlement was computed of, and what it says of one relay.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) size: TreeSize,
    pub(super) root: RootHash,
    pub(super) shown: Value,
}

/// What is read of `settlement.json`; it may say more.
#[derive(Deserialize)]
struct File {
    version: u64,
    publisher: PublisherId,
    tree_size: u64,
    root: String,
    currency: String,
    time_ms: u64,
    lines: Vec<Line>,
    relays: Vec<Total>,
}

#[derive(Deserialize)]
struct Line {
    relay: RelayId,
    claimed: u64,
    accepted: u64,
    rejected: BTreeMap<Reason, u64>,
}

#[derive(Deserialize)]
struct Total {
    relay: RelayId,
    held: u64,
    paid: u64,
}

/// Reads a settlement for a relay.
pub(super) fn read(json: &[u8], publisher: &PublisherId, me: &RelayId) -> Result<Settled, String> {
    let file: File = serde_json::from_slice(json).map_err(|error| format!("settlement.json: {error}"))?;
    if file.version != 1 || file.publisher != *publisher {
        return Err("settlement.json is of another version or publisher".into());
    }
    let root = file.root.parse().map_err(|error| format!("settlement.json: root: {error}"))?;
    let (mut claimed, mut accepted) = (0_u64, 0_u64);
    let mut rejected: BTreeMap<&str, Value> = BTreeMap::new();
    let mut cuts: BTreeMap<Reason, u64> = BTreeMap::new();
    for line in file.lines.iter().filter(|line| line.relay == *me) {
        claimed = claimed.saturating_add(line.claimed);
        accepted = accepted.saturating_add(line.accepted);
        for (reason, cut) in &line.rejected {
            let sum = cuts.entry(*reason).or_insert(0);
            *sum = sum.saturating_add(*cut);
        }
    }
    for (reason, cut) in cuts {
        rejected.insert(reason.code(), json!({ "bytes": cut, "because": reason.explanation() }));
    }
    let total = file.relays.iter().find(|total| total.relay == *me);
    let (held, paid) = total.map_or((0, 0), |total| (total.held, total.paid));
    let shown = json!({
        "tree_size": file.tree_size, "time_ms": file.time_ms, "currency": file.currency,
        "claimed_bytes": claimed, "accepted_bytes": accepted, "rejected": rejected,
        "earned_micro": held.saturating_add(paid), "held_micro": held, "released_micro": paid,
    });
    Ok(Settled { size: TreeSize::new(file.tree_size), root, shown })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::EvidenceKey;

    #[test]
    fn a_relay_finds_its_own_lines_and_why_they_were_lowered() {
        let [me, other] = [1, 2].map(|seed| EvidenceKey::from_bytes(&[seed; 32]).relay_id());
        let publisher = PublisherId([7; 32]);
        let line = |relay: &RelayId, claimed: u64, accepted: u64| {
            json!({ "relay": relay, "claimed": claimed, "accepted": accepted,
                    "rejected": { "not_reported": claimed - accepted }, "grade": "E1" })
        };
        let file = json!({
            "version": 1, "publisher": publisher, "tree_size": 9, "root": RootHash::of_empty_tree().to_string(),
            "currency": "EUR", "time_ms": 5, "lines": [line(&me, 10, 7), line(&other, 99, 9), line(&me, 5, 5)],
            "relays": [{ "relay": other, "held": 1, "paid": 1 }, { "relay": me, "held": 4, "paid": 3 }],
        });
        let text = file.to_string();
        let read_by = |publisher: &PublisherId| read(text.as_bytes(), publisher, &me);
        let settled = read_by(&publisher).unwrap();
        assert_eq!(settled.size, TreeSize::new(9));
        let of = |name: &str| settled.shown[name].as_u64().unwrap();
        assert_eq!((of("claimed_bytes"), of("accepted_bytes")), (15, 12));
        assert_eq!((of("earned_micro"), of("held_micro"), of("released_micro")), (7, 4, 3));
        assert_eq!(settled.shown["rejected"]["not_reported"]["bytes"], 3);
        assert!(read_by(&PublisherId([8; 32])).is_err() && read(b"{}", &publisher, &me).is_err());
    }
}
