//! Following a playlist that changes: where to begin, when to reload, and whether a new version continues the old.
//! Without I/O and clock.

use std::time::Duration;

use weir_hls::{Media, Segment};

/// Shortest wait between two reloads: a playlist may state a target duration of 0.
const SHORTEST_RELOAD: Duration = Duration::from_millis(200);

/// The media sequence number to begin with: the first segment, or in a live playlist one that begins no less than three
/// target durations (or the server's `HOLD-BACK`) before the end (section 6.3.3).
pub(crate) fn start(media: &Media) -> u64 {
    if !media.is_live() {
        return media.media_sequence;
    }
    let distance = media.server_control.hold_back.unwrap_or(3 * media.target_duration);
    let mut from_end = Duration::ZERO;
    for segment in media.segments.iter().rev() {
        from_end += segment.duration;
        if from_end >= distance {
            return segment.media_sequence;
        }
    }
    media.media_sequence
}

/// How long after a load began the next may begin: the target duration, or half of it when nothing had changed
/// (section 6.3.4).
pub(crate) fn reload_after(target: Duration, changed: bool) -> Duration {
    if changed { target } else { target / 2 }.max(SHORTEST_RELOAD)
}

/// The segment with this media sequence number.
pub(crate) fn segment(media: &Media, sequence: u64) -> Option<&Segment> {
    let first = media.segments.first()?.media_sequence;
    media.segments.get(usize::try_from(sequence.checked_sub(first)?).ok()?)
}

/// The media sequence number after the last.
pub(crate) fn end(media: &Media) -> u64 {
    media.position().next_sequence
}

/// How a new version of a playlist relates to the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Update {
    /// It says something new.
    Advanced,
    /// It says the same.
    Unchanged,
    /// It is older: its media sequence or its end lies before.
    Backwards,
    /// A segment has another URI than before (section 6.2.1), not counting the query.
    Renamed(u64),
}

/// Compares two versions.
pub(crate) fn compare(old: &Media, new: &Media) -> Update {
    if new.media_sequence < old.media_sequence || end(new) < end(old) || (old.ended && !new.ended) {
        return Update::Backwards;
    }
    for one in &new.segments {
        if let Some(before) = segment(old, one.media_sequence)
            && (without_query(&before.uri) != without_query(&one.uri) || before.byte_range != one.byte_range)
        {
            return Update::Renamed(one.media_sequence);
        }
    }
    if end(new) > end(old) || new.media_sequence > old.media_sequence || new.ended != old.ended {
        Update::Advanced
    } else {
        Update::Unchanged
    }
}

fn without_query(uri: &str) -> &str {
    uri.split('?').next().unwrap_or(uri)
}

/// The segment of `new` that begins when segment `sequence` of `old` does, both being whole presentations.
pub(crate) fn same_time(old: &Media, sequence: u64, new: &Media) -> u64 {
    let before = old.segments.iter().take_while(|one| one.media_sequence < sequence);
    let time: Duration = before.map(|one| one.duration).sum();
    let mut begin = Duration::ZERO;
    for one in &new.segments {
        // The middle decides, so that durations that differ by rounding do not shift the choice.
        if begin + one.duration / 2 > time {
            return one.media_sequence;
        }
        begin += one.duration;
    }
    end(new)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fmt::Write;

    use weir_hls::{Bounds, Playlist};

    use super::*;

    fn media(first: u64, names: &[&str], seconds: f64, ended: bool) -> Media {
        let mut text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
        for name in names {
            write!(text, "#EXTINF:{seconds},\n{name}\n").unwrap();
        }
        if ended {
            text.push_str("#EXT-X-ENDLIST\n");
        }
        match weir_hls::read(text.as_bytes(), &Bounds::default()).unwrap() {
            Playlist::Media(media) => media,
            Playlist::Multivariant(_) => panic!("a media playlist"),
        }
    }

    #[test]
    fn begins_three_target_durations_before_the_live_edge() {
        assert_eq!(start(&media(10, &["a", "b", "c", "d", "e"], 2.0, false)), 12);
        assert_eq!(start(&media(10, &["a", "b"], 2.0, false)), 10);
        assert_eq!(start(&media(10, &["a", "b", "c", "d", "e"], 2.0, true)), 10);
    }

    #[test]
    fn reloads_after_a_target_duration_or_half() {
        assert_eq!(reload_after(Duration::from_secs(2), true), Duration::from_secs(2));
        assert_eq!(reload_after(Duration::from_secs(2), false), Duration::from_secs(1));
        assert_eq!(reload_after(Duration::ZERO, true), SHORTEST_RELOAD);
    }

    #[test]
    fn tells_a_step_forward_from_one_back() {
        let old = media(10, &["a", "b", "c"], 2.0, false);
        assert_eq!(compare(&old, &media(11, &["b?t=2", "c", "d"], 2.0, false)), Update::Advanced);
        assert_eq!(compare(&old, &old), Update::Unchanged);
        assert_eq!(compare(&old, &media(10, &["a", "b", "c"], 2.0, true)), Update::Advanced);
        assert_eq!(compare(&old, &media(9, &["z", "a", "b"], 2.0, false)), Update::Backwards);
        assert_eq!(compare(&old, &media(10, &["a", "b"], 2.0, false)), Update::Backwards);
        assert_eq!(compare(&old, &media(11, &["c", "d"], 2.0, false)), Update::Renamed(11));
        assert_eq!(compare(&old, &media(20, &["x"], 2.0, false)), Update::Advanced);
    }

    #[test]
    fn finds_segments_by_number_and_time() {
        let old = media(0, &["a", "b", "c", "d"], 2.0, true);
        assert_eq!(segment(&old, 2).unwrap().uri, "c");
        assert_eq!(segment(&old, 4), None);
        let halves = media(5, &["a", "b", "c", "d", "e", "f", "g", "h"], 1.0, true);
        assert_eq!(same_time(&old, 2, &halves), 9);
        assert_eq!(same_time(&old, 4, &halves), 13);
    }
}
