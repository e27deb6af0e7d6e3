//! Where in a playlist a player is, and what it loads next: whole segments, or at the live edge the parts of one that is still
//! being made.

use std::time::Duration;

use weir_hls::{Media, Part, Segment};

use crate::viewer::live;

/// Part hold-back where the server names none, in part target durations (section 4.4.3.8).
const HOLD_BACK_PARTS: u32 = 3;

/// The next media to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Media sequence number.
    pub(crate) sequence: u64,
    /// Part of that segment; 0 is its beginning.
    pub(crate) part: u64,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Next<'a> {
    /// Load this segment. The first parts of it may have been loaded before.
    Segment(&'a Segment),
    /// Load this part of the segment that is being made, or was lately.
    Part(&'a Part),
    /// The segment is complete: go on at the following one.
    Done,
    /// So many segments left the playlist before they were loaded.
    Missed(u64),
    /// Nothing is listed yet.
    Wait,
    /// Everything was loaded.
    End,
}

impl Position {
    /// Where to begin.
    pub(crate) fn start(media: &Media, low_latency: bool) -> Self {
        match media.part_target {
            Some(target) if low_latency && media.is_live() => edge(media, target),
            _ => Self { sequence: live::start(media), part: 0 },
        }
    }

    /// What comes next.
    pub(crate) fn next<'a>(&self, media: &'a Media, low_latency: bool) -> Next<'a> {
        if let Some(first) = media.segments.first().map(|first| first.media_sequence)
            && self.sequence < first
        {
            return Next::Missed(first - self.sequence);
        }
        if let Some(segment) = live::segment(media, self.sequence) {
            if self.part == 0 {
                return Next::Segment(segment);
            }
            let index = usize::try_from(self.part).unwrap_or(usize::MAX);
            return match segment.parts.get(index) {
                Some(part) => Next::Part(part),
                None if segment.parts.is_empty() => Next::Segment(segment),
                None => Next::Done,
            };
        }
        if !media.is_live() {
            return Next::End;
        }
        let index = usize::try_from(self.part).unwrap_or(usize::MAX);
        if low_latency && self.sequence == live::end(media) {
            return media.trailing_parts.get(index).map_or(Next::Wait, Next::Part);
        }
        Next::Wait
    }

    /// The position after a whole segment.
    pub(crate) fn after_segment(self) -> Self {
        Self { sequence: self.sequence + 1, part: 0 }
    }

    /// The position after a part.
    pub(crate) fn after_part(self) -> Self {
        Self { part: self.part + 1, ..self }
    }

    /// What a blocking reload asks for (section 6.2.5.2): the first segment and part that the playlist does not list.
    pub(crate) fn awaited(media: &Media) -> (u64, Option<u64>) {
        let position = media.position();
        (position.next_sequence, media.part_target.map(|_| position.next_part))
    }
}

/// A part whose begin is no less than the part hold-back before the end and that can be decoded alone, or a segment's
/// beginning.
fn edge(media: &Media, target: Duration) -> Position {
    let distance = media.server_control.part_hold_back.unwrap_or(target * HOLD_BACK_PARTS);
    let mut from_end = Duration::ZERO;
    let trailing = [(live::end(media), media.trailing_parts.as_slice(), Duration::ZERO)];
    let segments = media.segments.iter().rev().map(|one| (one.media_sequence, one.parts.as_slice(), one.duration));
    for (sequence, parts, whole) in trailing.into_iter().chain(segments) {
        if parts.is_empty() {
            from_end += whole;
        }
        for (index, part) in parts.iter().enumerate().rev() {
            from_end += part.duration;
            if from_end >= distance && (part.independent || index == 0) {
                return Position { sequence, part: index as u64 };
            }
        }
        if from_end >= distance {
            return Position { sequence, part: 0 };
        }
    }
    Position { sequence: media.media_sequence + media.skipped_segments, part: 0 }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bytes::Bytes;

    use super::super::parsed::Parsed;
    use super::*;

    /// Two whole segments, the second with its parts, and two parts of the third.
    const LOW_LATENCY: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5\n#EXT-X-MEDIA-SEQUENCE:7\n\
        #EXTINF:2,\n7.mp4\n\
        #EXT-X-PART:DURATION=0.5,URI=\"8.0\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.5,URI=\"8.1\"\n\
        #EXT-X-PART:DURATION=0.5,URI=\"8.2\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.5,URI=\"8.3\"\n#EXTINF:2,\n8.mp4\n\
        #EXT-X-PART:DURATION=0.5,URI=\"9.0\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.5,URI=\"9.1\"\n";

    fn media(text: &str) -> Media {
        Parsed::read(Bytes::from(text.to_owned())).unwrap().media().unwrap().clone()
    }

    #[test]
    fn begins_at_an_independent_part_behind_the_part_hold_back() {
        let media = media(LOW_LATENCY);
        assert_eq!(Position::start(&media, true), Position { sequence: 8, part: 2 });
        assert_eq!(Position::start(&media, false), Position { sequence: 7, part: 0 });
    }

    #[test]
    fn walks_parts_and_segments_to_the_edge() {
        let media = media(LOW_LATENCY);
        let mut at = Position { sequence: 8, part: 2 };
        let mut loaded = Vec::new();
        loop {
            match at.next(&media, true) {
                Next::Part(part) => {
                    loaded.push(part.uri.as_str());
                    at = at.after_part();
                }
                Next::Segment(segment) => {
                    loaded.push(segment.uri.as_str());
                    at = at.after_segment();
                }
                Next::Done => at = at.after_segment(),
                end => {
                    assert_eq!(end, Next::Wait);
                    break;
                }
            }
        }
        assert_eq!(loaded, ["8.2", "8.3", "9.0", "9.1"]);
        assert_eq!(Position::awaited(&media), (9, Some(2)));
        assert_eq!(at, Position { sequence: 9, part: 2 });
    }

    #[test]
    fn a_segment_whose_parts_are_gone_is_loaded_whole() {
        let media = media(LOW_LATENCY);
        let Next::Segment(segment) = (Position { sequence: 7, part: 3 }).next(&media, true) else {
            panic!("a segment")
        };
        assert_eq!(segment.uri, "7.mp4");
        assert_eq!(Position { sequence: 5, part: 1 }.next(&media, true), Next::Missed(2));
    }

    #[test]
    fn a_film_ends() {
        let film = media("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na\n#EXT-X-ENDLIST\n");
        assert_eq!(Position { sequence: 1, part: 0 }.next(&film, true), Next::End);
    }
}
