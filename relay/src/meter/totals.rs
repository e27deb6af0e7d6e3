//! Sums for status pages and metrics. Invariant: they only grow, and name nobody but relays and publishers.

use std::sync::atomic::{AtomicU64, Ordering};
use weir_protocol::{PeerReceipt, wire::Verdict};

/// What the meter has done since it started.
#[derive(Debug, Default)]
pub struct Totals {
    receipts_signed: AtomicU64,
    receipts_received: AtomicU64,
    claims: AtomicU64,
    viewer_receipts: AtomicU64,
    kept: AtomicU64,
    refused: [AtomicU64; 4],
}

/// The same as values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MeterTotals {
    /// Receipts signed for what other relays sent.
    pub receipts_signed: u64,
    /// Receipts that other relays signed for what was sent to them.
    pub receipts_received: u64,
    /// Claims signed for what was delivered to sessions.
    pub claims: u64,
    /// Receipts of players.
    pub viewer_receipts: u64,
    /// Messages that the publisher's ledger has taken.
    pub kept: u64,
    /// Messages that it has refused.
    pub refused: u64,
}

impl Totals {
    pub(super) fn signed(&self, receipts: usize, claims: usize) {
        self.receipts_signed.fetch_add(receipts as u64, Ordering::Relaxed);
        self.claims.fetch_add(claims as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, _: &PeerReceipt) {
        self.receipts_received.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn viewer_receipt(&self) {
        self.viewer_receipts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn judged(&self, verdict: Verdict) {
        match verdict {
            Verdict::Kept => self.kept.fetch_add(1, Ordering::Relaxed),
            refused => self.refused[refused as usize].fetch_add(1, Ordering::Relaxed),
        };
    }

    /// The values now.
    pub fn now(&self) -> MeterTotals {
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        MeterTotals {
            receipts_signed: read(&self.receipts_signed),
            receipts_received: read(&self.receipts_received),
            claims: read(&self.claims),
            viewer_receipts: read(&self.viewer_receipts),
            kept: read(&self.kept),
            refused: self.refused.iter().map(read).sum(),
        }
    }

    /// Refused messages by reason.
    pub fn refused(&self) -> [(Verdict, u64); 3] {
        [Verdict::Invalid, Verdict::NotYours, Verdict::WrongKind]
            .map(|verdict| (verdict, self.refused[verdict as usize].load(Ordering::Relaxed)))
    }
}
