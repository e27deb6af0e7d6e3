//! What the init segment (`moov`) says of a track: timescale, picture size, and the codec's name (RFC 6381 §3.3).
//!
//! Invariant: nothing about the media is written down twice; the playlists' attributes come from here.

use std::ops::Range;

use crate::demo::origin::boxes::{self, BoxAt};
use crate::demo::origin::error::ClipError;

/// Bytes of a visual sample entry before its child boxes (ISO/IEC 14496-12 §12.1.3), and where the size stands.
const VISUAL_ENTRY: usize = 78;
const VISUAL_WIDTH: usize = 24;
const VISUAL_HEIGHT: usize = 26;
/// Bytes of an audio sample entry before its child boxes (§12.2.3).
const AUDIO_ENTRY: usize = 28;
/// Descriptor tags of ISO/IEC 14496-1 §7.2.2.
const ES_DESCRIPTOR: u8 = 3;
const DECODER_CONFIG: u8 = 4;
const DECODER_SPECIFIC: u8 = 5;

/// A track of the clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Track {
    /// `tkhd.track_ID`.
    pub(super) id: u32,
    /// Units per second.
    pub(super) timescale: u32,
    /// RFC 6381 name, such as `avc1.64001f`.
    pub(super) codec: String,
    /// Width and height in pixels; `None` for sound.
    pub(super) size: Option<(u16, u16)>,
}

/// Reads all tracks of the `moov` in `range`.
pub(super) fn read_tracks(file: &[u8], range: Range<usize>) -> Result<Vec<Track>, ClipError> {
    let moov = boxes::find(file, range, &[*b"moov"])?.ok_or(ClipError::Missing("moov"))?;
    boxes::all(file, moov.content(), *b"trak")?.iter().map(|trak| read_track(file, trak)).collect()
}

fn read_track(file: &[u8], trak: &BoxAt) -> Result<Track, ClipError> {
    let find = |path: &[[u8; 4]], name| boxes::find(file, trak.content(), path)?.ok_or(ClipError::Missing(name));
    let tkhd = find(&[*b"tkhd"], "tkhd")?;
    let mdhd = find(&[*b"mdia", *b"mdhd"], "mdhd")?;
    let stsd = find(&[*b"mdia", *b"minf", *b"stbl", *b"stsd"], "stsd")?;
    // Version 1 of both headers has 64-bit times before the field.
    let skip = |at: &BoxAt| boxes::u32_at(file, at.body).map(|word| if word >> 24 == 1 { 16 } else { 8 });
    let entries = stsd.body + 8..stsd.end;
    let (codec, size) = if let Some(avc1) = boxes::find(file, entries.clone(), &[*b"avc1"])? {
        let size = (boxes::u16_at(file, avc1.body + VISUAL_WIDTH)?, boxes::u16_at(file, avc1.body + VISUAL_HEIGHT)?);
        (avc_codec(file, &avc1)?, Some(size))
    } else if let Some(mp4a) = boxes::find(file, entries, &[*b"mp4a"])? {
        (aac_codec(file, &mp4a)?, None)
    } else {
        return Err(ClipError::Layout("a track must be H.264 or AAC"));
    };
    Ok(Track {
        id: boxes::u32_at(file, tkhd.body + 4 + skip(&tkhd)?)?,
        timescale: boxes::u32_at(file, mdhd.body + 4 + skip(&mdhd)?)?,
        codec,
        size,
    })
}

/// `avc1.PPCCLL` from the decoder configuration record (ISO/IEC 14496-15 §5.3.3).
fn avc_codec(file: &[u8], entry: &BoxAt) -> Result<String, ClipError> {
    let children = entry.body + VISUAL_ENTRY..entry.end;
    let config = boxes::find(file, children, &[*b"avcC"])?.ok_or(ClipError::Missing("avcC"))?;
    let profile_and_level = boxes::u32_at(file, config.body)? & 0x00ff_ffff;
    Ok(format!("avc1.{profile_and_level:06x}"))
}

/// `mp4a.40.N` from the elementary stream descriptor: N is the audio object type.
fn aac_codec(file: &[u8], entry: &BoxAt) -> Result<String, ClipError> {
    let children = entry.body + AUDIO_ENTRY..entry.end;
    let esds = boxes::find(file, children, &[*b"esds"])?.ok_or(ClipError::Missing("esds"))?;
    let missing = || ClipError::Missing("AudioSpecificConfig");
    let stream = descriptor(&file[esds.body + 4..esds.end], ES_DESCRIPTOR).ok_or_else(missing)?;
    let decoder = stream.get(3..).and_then(|rest| descriptor(rest, DECODER_CONFIG)).ok_or_else(missing)?;
    let specific = decoder.get(13..).and_then(|rest| descriptor(rest, DECODER_SPECIFIC)).ok_or_else(missing)?;
    let (indication, object) = decoder.first().zip(specific.first()).ok_or_else(missing)?;
    Ok(format!("mp4a.{indication:02x}.{}", object >> 3))
}

/// The content of the descriptor that `bytes` begins with, if it has the given tag. Its length comes in groups of seven
/// bits, of which there are at most four.
fn descriptor(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (first, rest) = bytes.split_first()?;
    let digits = rest.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
    let length = rest[..digits].iter().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
    rest.get(digits..).and_then(|content| content.get(..length)).filter(|_| *first == tag)
}
