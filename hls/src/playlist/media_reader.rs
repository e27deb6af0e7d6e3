//! Reads a media playlist from its tags.
//!
//! The playlist's numbers, byte ranges, discontinuities and URIs go through m3u8-rs as canonical text (see the
//! folder's head). What it loses is kept beside, one [`Extra`] a segment: exact durations (it has 32-bit floats), gaps,
//! the map in force (it applies a map to one segment), parts.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::playlist::error::ReadError;
use crate::playlist::fields::{Tag, WrittenRange};
use crate::playlist::keys::Keys;
use crate::playlist::media::{
    ByteRange, MapRef, Media, Part, PlaylistType, PreloadHint, PreloadKind, RenditionReport, Segment, ServerControl,
};

/// The largest integer that JavaScript counts exactly (9007199254740991). Packagers write it, and players ask for it,
/// where they mean "to the end".
const OPEN_END: u64 = (1 << 53) - 1;

/// What m3u8-rs does not keep of a segment.
struct Extra {
    duration: Duration,
    gap: bool,
    map: Option<Arc<MapRef>>,
    parts: Vec<Part>,
}

/// What the tags since the last URI line say about the next.
#[derive(Default)]
struct Pending {
    duration: Option<Duration>,
    byte_range: Option<WrittenRange>,
    discontinuity: bool,
    gap: bool,
}

struct Reader<'a> {
    canonical: String,
    out: Media,
    target_duration: Option<Duration>,
    pending: Pending,
    extras: Vec<Extra>,
    map: Option<Arc<MapRef>>,
    /// Resource and end of the sub-range that the previous segment or part was: where an implicit one continues.
    segment_end: Option<(&'a str, u64)>,
    part_end: Option<(&'a str, u64)>,
    keys: Keys<'a>,
}

pub(crate) fn read(tags: &[Tag<'_>]) -> Result<Media, ReadError> {
    let mut reader = Reader::new();
    for tag in tags {
        reader.take(tag)?;
    }
    reader.finish()
}

impl<'a> Reader<'a> {
    fn new() -> Self {
        Self {
            canonical: String::from("#EXTM3U\n"),
            out: Media {
                target_duration: Duration::ZERO,
                media_sequence: 0,
                discontinuity_sequence: 0,
                ended: false,
                playlist_type: None,
                i_frames_only: false,
                skipped_segments: 0,
                segments: Vec::new(),
                trailing_parts: Vec::new(),
                keys: Vec::new(),
                server_control: ServerControl::default(),
                part_target: None,
                preload_hints: Vec::new(),
                rendition_reports: Vec::new(),
                uris: Vec::new(),
            },
            target_duration: None,
            pending: Pending::default(),
            extras: Vec::new(),
            map: None,
            segment_end: None,
            part_end: None,
            keys: Keys::default(),
        }
    }

    fn take(&mut self, tag: &Tag<'a>) -> Result<(), ReadError> {
        match tag.name {
            "" => self.segment(tag)?,
            "EXTINF" => self.pending.duration = Some(tag.seconds()?),
            "EXT-X-BYTERANGE" => self.pending.byte_range = Some(tag.written_range()?),
            "EXT-X-DISCONTINUITY" => self.pending.discontinuity = true,
            "EXT-X-GAP" => self.pending.gap = true,
            "EXT-X-PART" => self.part(tag)?,
            "EXT-X-MAP" => self.map = Some(Arc::new(map(tag)?)),
            "EXT-X-KEY" => self.keys.add(tag)?,
            "EXT-X-TARGETDURATION" => {
                let target = tag.seconds()?;
                self.target_duration = Some(target);
                // An integer by section 4.4.3.1; a fraction, as some packagers write, rounds up for m3u8-rs only.
                self.push("EXT-X-TARGETDURATION", target.as_secs() + u64::from(target.subsec_nanos() > 0));
            }
            "EXT-X-MEDIA-SEQUENCE" | "EXT-X-DISCONTINUITY-SEQUENCE" => self.push(tag.name, tag.integer()?),
            "EXT-X-PLAYLIST-TYPE" if matches!(tag.value, "VOD" | "EVENT") => self.push(tag.name, tag.value),
            "EXT-X-ENDLIST" | "EXT-X-I-FRAMES-ONLY" => {
                let _ = writeln!(self.canonical, "#{}", tag.name);
            }
            "EXT-X-SERVER-CONTROL" => self.out.server_control = server_control(tag)?,
            "EXT-X-PART-INF" => self.out.part_target = tag.fields()?.seconds("PART-TARGET")?,
            "EXT-X-SKIP" => {
                let skipped = tag.fields()?.integer("SKIPPED-SEGMENTS")?;
                self.out.skipped_segments = skipped.ok_or_else(|| tag.malformed("SKIPPED-SEGMENTS is missing"))?;
            }
            "EXT-X-PRELOAD-HINT" => self.out.preload_hints.extend(preload_hint(tag)?),
            "EXT-X-RENDITION-REPORT" => {
                let fields = tag.fields()?;
                self.out.rendition_reports.push(RenditionReport {
                    uri: fields.required("URI")?.to_owned(),
                    last_msn: fields.integer("LAST-MSN")?,
                    last_part: fields.integer("LAST-PART")?,
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes a tag with a value to the canonical text. Writing to a String cannot fail.
    fn push(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.canonical, "#{name}:{value}");
    }

    fn segment(&mut self, tag: &Tag<'a>) -> Result<(), ReadError> {
        let pending = std::mem::take(&mut self.pending);
        let duration = pending.duration.ok_or_else(|| tag.malformed("no EXTINF precedes"))?;
        let range = resolve_range(tag, tag.value, pending.byte_range, self.segment_end)?;
        self.segment_end = range.map(|range| (tag.value, range.end()));
        if let Some(ByteRange { offset, length }) = range {
            self.push("EXT-X-BYTERANGE", format_args!("{length}@{offset}"));
        }
        if pending.discontinuity {
            self.canonical.push_str("#EXT-X-DISCONTINUITY\n");
        }
        self.canonical.push_str(tag.value);
        self.canonical.push('\n');
        self.extras.push(Extra {
            duration,
            gap: pending.gap,
            map: self.map.clone(),
            parts: std::mem::take(&mut self.out.trailing_parts),
        });
        Ok(())
    }

    fn part(&mut self, tag: &Tag<'a>) -> Result<(), ReadError> {
        let fields = tag.fields()?;
        let uri = fields.required("URI")?;
        let byte_range = resolve_range(tag, uri, fields.written_range("BYTERANGE")?, self.part_end)?;
        self.part_end = byte_range.map(|range| (uri, range.end()));
        self.out.trailing_parts.push(Part {
            uri: uri.to_owned(),
            duration: fields.seconds("DURATION")?.ok_or_else(|| tag.malformed("DURATION is missing"))?,
            byte_range,
            independent: fields.flag("INDEPENDENT"),
            gap: fields.flag("GAP"),
        });
        Ok(())
    }

    fn finish(self) -> Result<Media, ReadError> {
        let whole = |reason| ReadError::malformed(0, "EXT-X-MEDIA-SEQUENCE", reason);
        let mut out = self.out;
        out.target_duration = self
            .target_duration
            .ok_or_else(|| ReadError::malformed(0, "EXT-X-TARGETDURATION", "a required tag is missing"))?;
        let read = m3u8_rs::parse_media_playlist_res(self.canonical.as_bytes())
            .map_err(|_| ReadError::Disagreement("a media playlist"))?;
        if read.segments.len() != self.extras.len() {
            return Err(ReadError::Disagreement("the number of segments"));
        }
        out.keys = self.keys.into_uris();
        out.media_sequence = read.media_sequence;
        out.discontinuity_sequence = read.discontinuity_sequence;
        out.ended = read.end_list;
        out.i_frames_only = read.i_frames_only;
        out.playlist_type = match read.playlist_type {
            Some(m3u8_rs::MediaPlaylistType::Vod) => Some(PlaylistType::Vod),
            Some(m3u8_rs::MediaPlaylistType::Event) => Some(PlaylistType::Event),
            Some(m3u8_rs::MediaPlaylistType::Other(_)) | None => None,
        };
        let first = read
            .media_sequence
            .checked_add(out.skipped_segments)
            .ok_or_else(|| whole("media sequence numbers do not fit 64 bits"))?;
        first
            .checked_add(read.segments.len() as u64)
            .and_then(|next| next.checked_add(1))
            .ok_or_else(|| whole("media sequence numbers do not fit 64 bits"))?;
        out.segments = read
            .segments
            .into_iter()
            .zip(self.extras)
            .zip(first..)
            .map(|((read, extra), media_sequence)| {
                let byte_range = read
                    .byte_range
                    .map(|range| ByteRange { offset: range.offset.unwrap_or_default(), length: range.length });
                Segment {
                    uri: read.uri,
                    duration: extra.duration,
                    byte_range,
                    media_sequence,
                    discontinuity: read.discontinuity,
                    gap: extra.gap,
                    map: extra.map,
                    parts: extra.parts,
                }
            })
            .collect();
        Ok(out)
    }
}

/// Gives a byte range its offset: where none is written, the range continues the previous one of the same resource
/// (sections 4.4.4.2 and 4.4.4.9).
fn resolve_range(
    tag: &Tag<'_>,
    uri: &str,
    written: Option<WrittenRange>,
    previous: Option<(&str, u64)>,
) -> Result<Option<ByteRange>, ReadError> {
    let Some((length, offset)) = written else {
        return Ok(None);
    };
    let offset = match (offset, previous) {
        (Some(offset), _) => offset,
        (None, Some((before, end))) if before == uri => end,
        (None, _) => return Err(tag.malformed("a byte range without offset continues nothing")),
    };
    offset.checked_add(length).ok_or_else(|| tag.malformed("a byte range ends past 64 bits"))?;
    Ok(Some(ByteRange { offset, length }))
}

fn map(tag: &Tag<'_>) -> Result<MapRef, ReadError> {
    let fields = tag.fields()?;
    let uri = fields.required("URI")?;
    // A map continues nothing: without an offset it starts at the beginning.
    let byte_range = resolve_range(tag, uri, fields.written_range("BYTERANGE")?, Some((uri, 0)))?;
    Ok(MapRef { uri: uri.to_owned(), byte_range })
}

fn server_control(tag: &Tag<'_>) -> Result<ServerControl, ReadError> {
    let fields = tag.fields()?;
    Ok(ServerControl {
        can_block_reload: fields.flag("CAN-BLOCK-RELOAD"),
        can_skip_until: fields.seconds("CAN-SKIP-UNTIL")?,
        can_skip_dateranges: fields.flag("CAN-SKIP-DATERANGES"),
        hold_back: fields.seconds("HOLD-BACK")?,
        part_hold_back: fields.seconds("PART-HOLD-BACK")?,
    })
}

/// A hint of an unknown type is ignored, as section 4.4.5.3 says.
fn preload_hint(tag: &Tag<'_>) -> Result<Option<PreloadHint>, ReadError> {
    let fields = tag.fields()?;
    let kind = match fields.required("TYPE")? {
        "PART" => PreloadKind::Part,
        "MAP" => PreloadKind::Map,
        _ => return Ok(None),
    };
    let start = fields.integer("BYTERANGE-START")?.unwrap_or(0);
    let length = fields.integer("BYTERANGE-LENGTH")?.filter(|length| start.saturating_add(*length) < OPEN_END);
    Ok(Some(PreloadHint { kind, uri: fields.required("URI")?.to_owned(), start, length }))
}
