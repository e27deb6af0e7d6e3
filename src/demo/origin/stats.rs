//! What the origin was asked for. Invariant: counters never decrease.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters shared between the origin and whoever computes what it was spared.
#[derive(Debug, Default)]
pub(crate) struct OriginStats {
    requests: AtomicU64,
    bytes: AtomicU64,
    segments: AtomicU64,
}

/// A reading of [`OriginStats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// Requests answered, whatever the status.
    pub(crate) requests: u64,
    /// Body bytes handed to the connections.
    pub(crate) bytes: u64,
    /// Requests for media segments that were answered with media (200 or 206).
    pub(crate) segments: u64,
}

impl OriginStats {
    /// Counts an answer with a body of `bytes`; `segment` says that it carries media.
    pub(super) fn answered(&self, bytes: u64, segment: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.segments.fetch_add(u64::from(segment), Ordering::Relaxed);
    }

    /// The counters now.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            requests: self.requests.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            segments: self.segments.load(Ordering::Relaxed),
        }
    }
}
