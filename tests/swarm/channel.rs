//! A live channel of one-second segments at a scripted origin. Invariant: every segment is another, so that bytes in
//! the wrong place are seen.

use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

use super::harness::upstream::{Script, Upstream};

/// Bytes of a segment: 4 Mbit/s.
pub(crate) const LENGTH: usize = 500_000;
/// Segments that the playlist lists.
const LISTED: u64 = 5;
pub(crate) const PLAYLIST: &str = "/live/v.m3u8";

pub(crate) fn path(segment: u64) -> String {
    format!("/live/s{segment}.ts")
}

/// The bytes of a segment.
pub(crate) fn body(segment: u64) -> Bytes {
    let mut state = segment | 1 << 40;
    let mut next = || {
        // xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[4]
    };
    (0..LENGTH).map(|_| next()).collect()
}

fn list(upstream: &Upstream, newest: u64) {
    let first = newest.saturating_sub(LISTED - 1).max(1);
    let segments: String = (first..=newest).map(|segment| format!("#EXTINF:1.0,\ns{segment}.ts\n")).collect();
    let text = format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n{segments}");
    upstream.put(PLAYLIST, Script::body(text).header("content-type", "application/vnd.apple.mpegurl"));
}

/// Puts a segment on air.
pub(crate) fn publish(upstream: &Upstream, segment: u64) {
    upstream.put(&path(segment), Script::body(body(segment)).header("content-type", "video/mp2t"));
    list(upstream, segment);
}

/// On air from `first` to `last`, a segment a second; `each` hears of it before.
pub(crate) async fn broadcast(upstream: &Upstream, first: u64, last: u64, mut each: impl AsyncFnMut(u64)) {
    let began = Instant::now();
    for segment in first..=last {
        sleep_until(began + Duration::from_secs(segment - first)).await;
        each(segment).await;
        publish(upstream, segment);
    }
}
