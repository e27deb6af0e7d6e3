//! How far a live playlist has come.
//!
//! Invariant: positions of one rendition are ordered as the playlists were published. A relay that answers with a
//! playlist only if its position is not below the last one never goes backwards. Positions of different renditions
//! are not comparable (section 6.3.2).

use std::fmt;

/// The end of a media playlist: the first segment and part that are not in it yet. Counting what comes next, not
/// what was last, puts the whole segment 7 after all of its parts and before the first part of segment 8.
///
/// The order is by segment, then part, then whether the playlist has ended, then discontinuity sequence (section
/// 6.2.2: none of them may decrease).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Media sequence number of the first segment that is not complete.
    pub next_sequence: u64,
    /// Index of the first part of that segment that is not listed: 0 where none is.
    pub next_part: u64,
    /// Whether nothing more will come.
    pub ended: bool,
    /// `EXT-X-DISCONTINUITY-SEQUENCE` of the playlist.
    pub discontinuity_sequence: u64,
}

impl Position {
    /// Media sequence number of the last segment that is complete or has a part; `None` for an empty playlist that
    /// starts at 0.
    pub fn last_sequence(&self) -> Option<u64> {
        if self.next_part > 0 { Some(self.next_sequence) } else { self.next_sequence.checked_sub(1) }
    }

    /// Index of the last listed part of the segment being made; `None` between segments.
    pub fn last_part(&self) -> Option<u64> {
        self.next_part.checked_sub(1)
    }

    /// Whether a playlist with this end satisfies a blocking request for a segment, or for one of its parts (section
    /// 6.2.5.2). A part index past a complete segment is satisfied only by the first part of the following one.
    pub fn contains(&self, media_sequence: u64, part: Option<u64>) -> bool {
        match part {
            Some(part) if media_sequence == self.next_sequence => part < self.next_part,
            _ => media_sequence < self.next_sequence,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.next_sequence, self.next_part)?;
        if self.ended { f.write_str(" ended") } else { Ok(()) }
    }
}
