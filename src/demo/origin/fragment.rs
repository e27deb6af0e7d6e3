//! One fragment of the clip (`moof` + `mdat`) as a template: the same media at any lap of the loop.
//!
//! Invariant: of all the bytes only two fields change from lap to lap, `mfhd.sequence_number` and each track's
//! `tfdt.baseMediaDecodeTime` (ISO/IEC 14496-12 §8.8.5, §8.8.12); the latter is written with 64 bits so that it never wraps.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::demo::origin::boxes::{self, BoxAt, BoxError};
use crate::demo::origin::error::ClipError;

/// `tfhd` flags that announce optional fields before the default sample duration, and that field itself.
const TFHD_BASE_DATA_OFFSET: u32 = 0x01;
const TFHD_DESCRIPTION_INDEX: u32 = 0x02;
const TFHD_DEFAULT_DURATION: u32 = 0x08;
/// `tfhd` flag: offsets count from the start of this `moof`, so a fragment may be moved.
const TFHD_BASE_IS_MOOF: u32 = 0x02_0000;

/// `trun` flags.
const TRUN_DATA_OFFSET: u32 = 0x001;
const TRUN_FIRST_FLAGS: u32 = 0x004;
const TRUN_DURATION: u32 = 0x100;
/// Per-sample fields other than the duration: size, flags, composition offset.
const TRUN_OTHER_FIELDS: [u32; 3] = [0x200, 0x400, 0x800];

/// One track's place in time inside a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// `tfhd.track_ID`.
    pub(super) track: u32,
    /// Decoding time of the first sample in the clip, in the track's timescale.
    pub(super) starts: u64,
    /// Sum of the sample durations, in the track's timescale.
    pub(super) lasts: u64,
    /// Number of samples.
    pub(super) samples: u64,
    /// Offset of the 64-bit `baseMediaDecodeTime` in the template.
    field: usize,
}

/// A fragment that can be stamped with a sequence number and a shift in time.
#[derive(Debug, Clone)]
pub(super) struct Fragment {
    template: Bytes,
    sequence_field: usize,
    /// The tracks in the order of their `traf` boxes.
    pub(super) spans: Vec<Span>,
}

impl Fragment {
    /// Reads the fragment in `range` of `file`.
    pub(super) fn read(file: &Bytes, range: Range<usize>) -> Result<Self, ClipError> {
        let template = file.slice(range);
        let whole = 0..template.len();
        let moof = boxes::find(&template, whole, &[*b"moof"])?.ok_or(ClipError::Missing("moof"))?;
        let mfhd = boxes::find(&template, moof.content(), &[*b"mfhd"])?.ok_or(ClipError::Missing("mfhd"))?;
        let trafs = boxes::all(&template, moof.content(), *b"traf")?;
        let spans = trafs.iter().map(|traf| read_span(&template, traf)).collect::<Result<_, _>>()?;
        Ok(Self { sequence_field: mfhd.body + 4, template, spans })
    }

    /// Bytes in the fragment; the same for every stamp.
    pub(super) fn len(&self) -> usize {
        self.template.len()
    }

    /// The fragment with the given `sequence_number` and each track moved by `shift` units of its timescale, in the order
    /// of [`Fragment::spans`].
    pub(super) fn stamp(&self, sequence: u32, shift: impl Iterator<Item = u64>) -> Bytes {
        let mut bytes = BytesMut::from(&self.template[..]);
        bytes[self.sequence_field..][..4].copy_from_slice(&sequence.to_be_bytes());
        for (span, shift) in self.spans.iter().zip(shift) {
            bytes[span.field..][..8].copy_from_slice(&(span.starts + shift).to_be_bytes());
        }
        bytes.freeze()
    }
}

fn read_span(file: &[u8], traf: &BoxAt) -> Result<Span, ClipError> {
    let child = |kind| boxes::find(file, traf.content(), &[kind]);
    let tfhd = child(*b"tfhd")?.ok_or(ClipError::Missing("tfhd"))?;
    let tfdt = child(*b"tfdt")?.ok_or(ClipError::Missing("tfdt"))?;
    if boxes::u32_at(file, tfhd.body)? & TFHD_BASE_IS_MOOF == 0 {
        return Err(ClipError::Layout("offsets must count from the moof (default-base-is-moof)"));
    }
    if boxes::u32_at(file, tfdt.body)? >> 24 != 1 {
        return Err(ClipError::Layout("tfdt must be version 1 (64 bits)"));
    }
    let default = default_duration(file, &tfhd)?;
    let (mut lasts, mut samples) = (0, 0);
    for trun in boxes::all(file, traf.content(), *b"trun")? {
        lasts += run_duration(file, &trun, default)?;
        samples += u64::from(boxes::u32_at(file, trun.body + 4)?);
    }
    let field = tfdt.body + 4;
    let (track, starts) = (boxes::u32_at(file, tfhd.body + 4)?, boxes::u64_at(file, field)?);
    Ok(Span { track, starts, lasts, samples, field })
}

fn default_duration(file: &[u8], tfhd: &BoxAt) -> Result<Option<u64>, BoxError> {
    let flags = boxes::u32_at(file, tfhd.body)?;
    if flags & TFHD_DEFAULT_DURATION == 0 {
        return Ok(None);
    }
    let skip = if flags & TFHD_BASE_DATA_OFFSET == 0 { 0 } else { 8 }
        + if flags & TFHD_DESCRIPTION_INDEX == 0 { 0 } else { 4 };
    boxes::u32_at(file, tfhd.body + 8 + skip).map(|d| Some(u64::from(d)))
}

fn run_duration(file: &[u8], trun: &BoxAt, default: Option<u64>) -> Result<u64, ClipError> {
    let flags = boxes::u32_at(file, trun.body)?;
    let count = boxes::u32_at(file, trun.body + 4)?;
    if flags & TRUN_DURATION == 0 {
        let each = default.ok_or(ClipError::Missing("sample duration"))?;
        return Ok(each * u64::from(count));
    }
    let present = |flag: u32| usize::from(flags & flag != 0);
    let first = trun.body + 8 + 4 * (present(TRUN_DATA_OFFSET) + present(TRUN_FIRST_FLAGS));
    let stride = 4 * (1 + TRUN_OTHER_FIELDS.iter().map(|f| present(*f)).sum::<usize>());
    let mut sum = 0;
    // A count that the box has no room for ends with an error at the first entry outside of the file.
    for sample in 0..count as usize {
        sum += u64::from(boxes::u32_at(file, first + sample * stride)?);
    }
    Ok(sum)
}
