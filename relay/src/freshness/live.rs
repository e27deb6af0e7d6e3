//! What a live playlist's freshness is capped by (draft-pantos-hls-rfc8216bis appendix B.1): half a target duration, and
//! stale on error until one and a half target durations after the playlist last advanced.

use std::time::Duration;
use weir_protocol::freshness::Freshness;

/// Caps `freshness`; `explicit` is what the origin says in milliseconds.
pub(super) fn cap(freshness: &mut Freshness, target: Duration, explicit: Option<u64>, since_advance_ms: u64) {
    let target_ms = u64::try_from(target.as_millis()).unwrap_or(u64::MAX);
    let limit_ms = target_ms.saturating_mul(3) / 2;
    let left_ms = limit_ms.saturating_sub(since_advance_ms);
    // A playlist that should have advanced by now is not served as fresh.
    let cap_ms = if left_ms == 0 { 0 } else { target_ms / 2 };
    freshness.ttl_ms = explicit.map_or(cap_ms, |said| said.min(cap_ms));
    freshness.stale_if_error_ms = left_ms.saturating_sub(freshness.ttl_ms);
}
