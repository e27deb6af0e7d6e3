//! What a media playlist says (section 4.4.3 to 4.4.5).
//!
//! Invariant: values built by the reader have no overflow left in them: every segment's media sequence number and
//! every byte range's end fit 64 bits. URIs are as written.

use std::sync::Arc;
use std::time::Duration;

use crate::playlist::position::Position;
use crate::uri::ListedUri;

/// `EXT-X-PLAYLIST-TYPE` (section 4.4.3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaylistType {
    /// Never changes.
    Vod,
    /// Grows only at its end.
    Event,
}

/// A media playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// `EXT-X-TARGETDURATION`. May be zero: the specification does not forbid it.
    pub target_duration: Duration,
    /// `EXT-X-MEDIA-SEQUENCE`, 0 where absent: the number of the first segment, also of a skipped one.
    pub media_sequence: u64,
    /// `EXT-X-DISCONTINUITY-SEQUENCE`, 0 where absent.
    pub discontinuity_sequence: u64,
    /// Whether `EXT-X-ENDLIST` is there.
    pub ended: bool,
    /// `None` where absent or of another value.
    pub playlist_type: Option<PlaylistType>,
    /// `EXT-X-I-FRAMES-ONLY` (section 4.4.3.6).
    pub i_frames_only: bool,
    /// Segments that a delta update leaves out before the first of `segments` (`EXT-X-SKIP`, section 4.4.5.2).
    pub skipped_segments: u64,
    /// In order; the media sequence numbers are consecutive.
    pub segments: Vec<Segment>,
    /// Parts of the segment after the last of `segments`, which is still being made.
    pub trailing_parts: Vec<Part>,
    /// `URI` of every `EXT-X-KEY` whose method is not `NONE` and that is not a `data:` URI, in order, each once.
    pub keys: Vec<String>,
    /// `EXT-X-SERVER-CONTROL`; all off where absent.
    pub server_control: ServerControl,
    /// `PART-TARGET` of `EXT-X-PART-INF` (section 4.4.3.7).
    pub part_target: Option<Duration>,
    /// `EXT-X-PRELOAD-HINT`, in order.
    pub preload_hints: Vec<PreloadHint>,
    /// `EXT-X-RENDITION-REPORT`, in order.
    pub rendition_reports: Vec<RenditionReport>,
    pub(crate) uris: Vec<ListedUri>,
}

impl Media {
    /// Whether the playlist will still change.
    pub fn is_live(&self) -> bool {
        !self.ended && self.playlist_type != Some(PlaylistType::Vod)
    }

    /// How far the playlist has come.
    pub fn position(&self) -> Position {
        Position {
            // The reader has checked that this sum fits.
            next_sequence: self
                .media_sequence
                .saturating_add(self.skipped_segments)
                .saturating_add(self.segments.len() as u64),
            next_part: self.trailing_parts.len() as u64,
            ended: self.ended,
            discontinuity_sequence: self.discontinuity_sequence,
        }
    }

    /// The sum of the durations of the listed segments and trailing parts. Skipped segments are not in it.
    pub fn duration(&self) -> Duration {
        let segments = self.segments.iter().map(|segment| segment.duration);
        segments
            .chain(self.trailing_parts.iter().map(|part| part.duration))
            .fold(Duration::ZERO, Duration::saturating_add)
    }

    /// Every URI with its role, in the order of the text and as written; `data:` URIs are left out.
    pub fn uris(&self) -> &[ListedUri] {
        &self.uris
    }
}

/// A media segment (section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// As written.
    pub uri: String,
    /// `EXTINF`, exact to the nanosecond.
    pub duration: Duration,
    /// `EXT-X-BYTERANGE` with its offset resolved; `None` for the whole resource.
    pub byte_range: Option<ByteRange>,
    /// Its media sequence number.
    pub media_sequence: u64,
    /// Whether `EXT-X-DISCONTINUITY` precedes it.
    pub discontinuity: bool,
    /// `EXT-X-GAP`: the resource may legitimately be missing (section 4.4.4.7).
    pub gap: bool,
    /// The initialisation section in force, shared by the segments it applies to.
    pub map: Option<Arc<MapRef>>,
    /// Its parts, where the playlist still lists them.
    pub parts: Vec<Part>,
}

/// A sub-range of a resource. `offset + length` fits 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}

impl ByteRange {
    /// The byte after the last.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// `EXT-X-MAP` (section 4.4.4.5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MapRef {
    /// As written.
    pub uri: String,
    /// `None` for the whole resource.
    pub byte_range: Option<ByteRange>,
}

/// `EXT-X-PART` (section 4.4.4.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// As written.
    pub uri: String,
    /// `DURATION`.
    pub duration: Duration,
    /// With its offset resolved; `None` for the whole resource.
    pub byte_range: Option<ByteRange>,
    /// `INDEPENDENT=YES`.
    pub independent: bool,
    /// `GAP=YES`.
    pub gap: bool,
}

/// `EXT-X-SERVER-CONTROL` (section 4.4.3.8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerControl {
    /// `CAN-BLOCK-RELOAD=YES`.
    pub can_block_reload: bool,
    /// `CAN-SKIP-UNTIL`.
    pub can_skip_until: Option<Duration>,
    /// `CAN-SKIP-DATERANGES=YES`.
    pub can_skip_dateranges: bool,
    /// `HOLD-BACK`.
    pub hold_back: Option<Duration>,
    /// `PART-HOLD-BACK`.
    pub part_hold_back: Option<Duration>,
}

/// What a preload hint announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreloadKind {
    /// `TYPE=PART`.
    Part,
    /// `TYPE=MAP`.
    Map,
}

/// `EXT-X-PRELOAD-HINT` (section 4.4.5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreloadHint {
    /// What it announces.
    pub kind: PreloadKind,
    /// As written.
    pub uri: String,
    /// `BYTERANGE-START`, 0 where absent.
    pub start: u64,
    /// `BYTERANGE-LENGTH`; `None` up to the end of the resource, which an end at or past 9007199254740991 also means.
    pub length: Option<u64>,
}

/// `EXT-X-RENDITION-REPORT` (section 4.4.5.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenditionReport {
    /// As written.
    pub uri: String,
    /// `LAST-MSN`.
    pub last_msn: Option<u64>,
    /// `LAST-PART`.
    pub last_part: Option<u64>,
}
