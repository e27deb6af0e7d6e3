//! The two programmes: which segments of the endless row exist at which instant.
//!
//! Invariant: a live segment is announced only when it is complete, the window only moves forward with the clock, and a
//! segment that left the window stays fetchable for its own duration and that of the longest playlist that listed it
//! (RFC 8216 §6.2.2).

use std::ops::Range;
use std::time::{Duration, SystemTime};

use crate::demo::origin::clip::SEGMENT;

/// Segments in the live window.
pub(super) const WINDOW: u64 = 6;
/// Segments that stay fetchable after they left the window: their own duration and that of the window.
const LINGER: u64 = 1 + WINDOW;
/// What the film lasts.
pub(super) const FILM: Duration = Duration::from_secs(128);
/// When the channel went on the air: 2026-01-01T00:00:00Z. A fixed date makes segment numbers independent of when the
/// process started, so a restarted origin continues where the old one was, and keeps media times small enough for
/// players that count in floating point.
const ON_AIR: Duration = Duration::from_secs(1_767_225_600);

/// The film: a fixed number of segments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Film;

impl Film {
    /// Its segments.
    pub(super) fn segments(self) -> Range<u64> {
        0..FILM.as_secs() / SEGMENT.as_secs()
    }
}

/// The endless live channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel {
    on_air: SystemTime,
}

impl Channel {
    /// The channel of the demo.
    pub(super) fn new() -> Self {
        Self { on_air: SystemTime::UNIX_EPOCH + ON_AIR }
    }

    /// The instant at which segment `number` starts; it is complete one [`SEGMENT`] later.
    pub(super) fn starts(&self, number: u64) -> SystemTime {
        self.on_air + Duration::from_secs(number * SEGMENT.as_secs())
    }

    /// The segments in the window at `now`. Before the channel is a whole window old (a clock that is badly wrong) the
    /// window is the first one, so a playlist is never empty.
    pub(super) fn window(&self, now: SystemTime) -> Range<u64> {
        let aired = now.duration_since(self.on_air).unwrap_or(Duration::ZERO);
        let complete = (aired.as_secs() / SEGMENT.as_secs()).max(WINDOW);
        complete - WINDOW..complete
    }

    /// The segments that can be fetched at `now`.
    pub(super) fn fetchable(&self, now: SystemTime) -> Range<u64> {
        let window = self.window(now);
        window.start.saturating_sub(LINGER)..window.end
    }

    /// When the window last moved.
    pub(super) fn moved(&self, now: SystemTime) -> SystemTime {
        self.starts(self.window(now).end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + ON_AIR + Duration::from_millis(ms)
    }

    #[test]
    fn a_segment_enters_the_window_when_it_is_complete() {
        let channel = Channel::new();
        assert_eq!(channel.window(at(99_999)), 43..49);
        assert_eq!(channel.window(at(100_000)), 44..50);
        assert_eq!(channel.starts(50), at(100_000));
        assert_eq!(channel.moved(at(101_999)), at(100_000));
    }

    #[test]
    fn a_segment_outlives_the_window_by_fourteen_seconds() {
        let channel = Channel::new();
        // Segment 43 leaves the window at 100 s.
        assert!(channel.fetchable(at(113_999)).contains(&43));
        assert!(!channel.fetchable(at(114_000)).contains(&43));
        assert!(!channel.fetchable(at(100_000)).contains(&50));
    }

    #[test]
    fn a_clock_before_the_channel_sees_its_first_window() {
        let channel = Channel::new();
        assert_eq!(channel.window(SystemTime::UNIX_EPOCH), 0..WINDOW);
        assert_eq!(channel.fetchable(SystemTime::UNIX_EPOCH), 0..WINDOW);
    }

    #[test]
    fn the_film_lasts_at_least_two_minutes() {
        assert_eq!(Film.segments(), 0..64);
    }
}
