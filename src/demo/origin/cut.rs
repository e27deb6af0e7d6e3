//! Cuts a fragment of the clip into shorter ones: the parts of a low-latency segment.
//!
//! Invariant: the parts have every sample of every track exactly once, with its own duration, flags and composition time,
//! and each part's `tfdt` is where its first sample was (ISO/IEC 14496-12 §8.8.8, §8.8.12).

use std::ops::Range;

use bytes::Bytes;

use crate::demo::origin::boxes::{self, BoxAt};
use crate::demo::origin::error::ClipError;
use crate::demo::origin::fragment::Fragment;
use crate::demo::origin::track::Track;

/// `tfhd` flags of fields in front of the defaults, and of the defaults.
const TFHD_BEFORE: [(u32, usize); 2] = [(0x01, 8), (0x02, 4)];
const TFHD_DURATION: u32 = 0x08;
const TFHD_SIZE: u32 = 0x10;
const TFHD_FLAGS: u32 = 0x20;
const TFHD_BASE_IS_MOOF: u32 = 0x02_0000;

/// `trun` flags.
const TRUN_OFFSET: u32 = 0x001;
const TRUN_FIRST_FLAGS: u32 = 0x004;
const TRUN_DURATION: u32 = 0x100;
const TRUN_SIZE: u32 = 0x200;
const TRUN_FLAGS: u32 = 0x400;
const TRUN_COMPOSITION: u32 = 0x800;
/// All of a sample's fields, and where the data begins.
const TRUN_ALL: u32 = TRUN_OFFSET | TRUN_DURATION | TRUN_SIZE | TRUN_FLAGS | TRUN_COMPOSITION;

/// One sample of a track.
#[derive(Debug, Clone)]
struct Sample {
    /// Decoding time and duration in the track's timescale.
    at: u64,
    lasts: u32,
    flags: u32,
    /// As written: signed or not, by the version of its run.
    composition: u32,
    data: Range<usize>,
}

/// What a track has of a fragment.
struct Run {
    track: u32,
    version: u32,
    samples: Vec<Sample>,
}

/// Cuts the fragment in `range` of `file` into `parts` parts of equal length in time, counted from `begins` seconds;
/// a sample belongs to the part in which its decoding begins.
pub(super) fn cut(
    file: &Bytes,
    range: Range<usize>,
    tracks: &[Track],
    begins: f64,
    each: f64,
    parts: usize,
) -> Result<Vec<Fragment>, ClipError> {
    let moof = boxes::find(file, range.clone(), &[*b"moof"])?.ok_or(ClipError::Missing("moof"))?;
    let trafs = boxes::all(file, moof.content(), *b"traf")?;
    let runs: Vec<Run> = trafs.iter().map(|traf| read_run(file, &moof, traf)).collect::<Result<_, _>>()?;
    let part_of = |run: &Run, sample: &Sample| {
        let scale = tracks.iter().find(|track| track.id == run.track).map_or(1, |track| track.timescale);
        // A hair more than the start, so that a sample that begins at the cut lies behind it.
        let after = sample.at as f64 / f64::from(scale) - begins + 1e-6;
        ((after / each).max(0.0) as usize).min(parts - 1)
    };
    (0..parts)
        .map(|part| {
            let of_part: Vec<(u32, u32, Vec<&Sample>)> = runs
                .iter()
                .map(|run| {
                    let samples = run.samples.iter().filter(|sample| part_of(run, sample) == part);
                    (run.track, run.version, samples.collect())
                })
                .collect();
            let made = write(file, &of_part)?;
            let length = made.len();
            Fragment::read(&made, 0..length)
        })
        .collect()
}

fn read_run(file: &[u8], moof: &BoxAt, traf: &BoxAt) -> Result<Run, ClipError> {
    let child = |kind| boxes::find(file, traf.content(), &[kind]);
    let tfhd = child(*b"tfhd")?.ok_or(ClipError::Missing("tfhd"))?;
    let tfdt = child(*b"tfdt")?.ok_or(ClipError::Missing("tfdt"))?;
    let flags = boxes::u32_at(file, tfhd.body)?;
    let mut at = tfhd.body + 8;
    at += TFHD_BEFORE.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, size)| size).sum::<usize>();
    let mut default = |flag: u32| -> Result<Option<u32>, ClipError> {
        if flags & flag == 0 {
            return Ok(None);
        }
        at += 4;
        Ok(Some(boxes::u32_at(file, at - 4)?))
    };
    let (duration, size, sample_flags) = (default(TFHD_DURATION)?, default(TFHD_SIZE)?, default(TFHD_FLAGS)?);
    let mut run = Run { track: boxes::u32_at(file, tfhd.body + 4)?, version: 0, samples: Vec::new() };
    let mut time = boxes::u64_at(file, tfdt.body + 4)?;
    let mut data = moof.end + 8;
    for trun in boxes::all(file, traf.content(), *b"trun")? {
        let head = boxes::u32_at(file, trun.body)?;
        run.version = head >> 24;
        let count = boxes::u32_at(file, trun.body + 4)?;
        let mut at = trun.body + 8;
        let mut field = |flag: u32| -> Result<Option<u32>, ClipError> {
            if head & flag == 0 {
                return Ok(None);
            }
            at += 4;
            Ok(Some(boxes::u32_at(file, at - 4)?))
        };
        if let Some(offset) = field(TRUN_OFFSET)? {
            data = moof.start + offset as usize;
        }
        let mut first = field(TRUN_FIRST_FLAGS)?;
        for _ in 0..count {
            let lasts = field(TRUN_DURATION)?.or(duration).ok_or(ClipError::Missing("sample duration"))?;
            let length = field(TRUN_SIZE)?.or(size).ok_or(ClipError::Missing("sample size"))? as usize;
            let own = field(TRUN_FLAGS)?;
            let flags = first.take().or(own).or(sample_flags).ok_or(ClipError::Missing("sample flags"))?;
            let composition = field(TRUN_COMPOSITION)?.unwrap_or(0);
            let end = data.checked_add(length).filter(|end| *end <= file.len()).ok_or(ClipError::Missing("sample"))?;
            run.samples.push(Sample { at: time, lasts, flags, composition, data: data..end });
            (time, data) = (time + u64::from(lasts), end);
        }
    }
    Ok(run)
}

/// A box of these contents.
fn boxed(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let size = content.len() as u32 + 8;
    [&size.to_be_bytes()[..], &kind, content].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A fragment of these samples, track after track.
fn write(file: &[u8], tracks: &[(u32, u32, Vec<&Sample>)]) -> Result<Bytes, ClipError> {
    let mut data = Vec::new();
    let mut offsets = Vec::new();
    for (_, _, samples) in tracks {
        offsets.push(data.len());
        for sample in samples {
            data.extend_from_slice(&file[sample.data.clone()]);
        }
    }
    // The data's offset depends on the length of what is in front of it, which does not depend on the offset.
    let moof = |base: usize| -> Result<Vec<u8>, ClipError> {
        let mut content = boxed(*b"mfhd", &words(&[0, 0]));
        for ((track, version, samples), offset) in tracks.iter().zip(&offsets) {
            let first = samples.first().ok_or(ClipError::Layout("a part without a sample of some track"))?;
            let tfhd = boxed(*b"tfhd", &words(&[TFHD_BASE_IS_MOOF, *track]));
            let tfdt = boxed(*b"tfdt", &[words(&[1 << 24]), first.at.to_be_bytes().to_vec()].concat());
            let mut run = vec![version << 24 | TRUN_ALL, samples.len() as u32, (base + offset) as u32];
            for sample in samples {
                let size = sample.data.len() as u32;
                run.extend([sample.lasts, size, sample.flags, sample.composition]);
            }
            content.extend(boxed(*b"traf", &[tfhd, tfdt, boxed(*b"trun", &words(&run))].concat()));
        }
        Ok(boxed(*b"moof", &content))
    };
    let length = moof(0)?.len();
    let mut whole = moof(length + 8)?;
    whole.extend(boxed(*b"mdat", &data));
    Ok(whole.into())
}
