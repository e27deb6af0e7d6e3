//! The clip: 8 s of picture and sound in three renditions, and the endless row of segments that repeating it gives.
//!
//! Invariant, checked when the clip is read: in every rendition each track's fragments follow one another without a gap,
//! all tracks loop after exactly the same time, and every segment's picture lasts [`SEGMENT`]. So segment *n* of a
//! rendition is fragment *n* mod 4, moved by ⌊*n* / 4⌋ laps, and the row is continuous for ever.

use std::time::Duration;

use bytes::Bytes;

use crate::demo::origin::boxes;
use crate::demo::origin::cut::cut;
use crate::demo::origin::error::ClipError;
use crate::demo::origin::fragment::Fragment;
use crate::demo::origin::track::{Track, read_tracks};

/// What each segment lasts.
pub(super) const SEGMENT: Duration = Duration::from_secs(2);
/// Parts of a low-latency segment.
pub(super) const PARTS: u64 = 4;

/// The embedded renditions, weakest first, by the name they have in URIs.
const EMBEDDED: [(&str, &[u8]); 3] = [
    ("360p", include_bytes!("../clip/360p.mp4")),
    ("540p", include_bytes!("../clip/540p.mp4")),
    ("720p", include_bytes!("../clip/720p.mp4")),
];

/// All renditions of the clip.
#[derive(Debug, Clone)]
pub(super) struct Clip {
    /// Weakest first; never empty.
    pub(super) renditions: Vec<Rendition>,
}

impl Clip {
    /// Reads the clip inside the binary.
    pub(super) fn embedded() -> Result<Self, ClipError> {
        let read = |(name, file): &(&'static str, &'static [u8])| Rendition::read(name, &Bytes::from_static(file));
        Ok(Self { renditions: EMBEDDED.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// The rendition of that name.
    pub(super) fn rendition(&self, name: &str) -> Option<&Rendition> {
        self.renditions.iter().find(|rendition| rendition.name == name)
    }
}

/// One rendition of the clip.
#[derive(Debug, Clone)]
pub(super) struct Rendition {
    /// Name in URIs, such as `720p`.
    pub(super) name: &'static str,
    /// The init segment (`ftyp` and `moov`).
    pub(super) init: Bytes,
    /// Picture size in pixels.
    pub(super) size: (u16, u16),
    /// RFC 6381 names of all tracks, joined by commas.
    pub(super) codecs: String,
    /// Pictures per second.
    pub(super) frame_rate: f64,
    /// Checksum of the clip's file, for entity tags.
    pub(super) checksum: u64,
    fragments: Vec<Fragment>,
    /// Each fragment cut into [`PARTS`], with what the picture of each lasts.
    parts: Vec<Vec<(Fragment, Duration)>>,
    /// What a lap lasts, by track, in the track's timescale.
    laps: Vec<u64>,
}

impl Rendition {
    /// Reads a fragmented MP4: everything before the first `moof` is the init segment, each `moof` begins a segment.
    fn read(name: &'static str, file: &Bytes) -> Result<Self, ClipError> {
        let starts: Vec<usize> = boxes::all(file, 0..file.len(), *b"moof")?.iter().map(|moof| moof.start).collect();
        let ends = starts.iter().skip(1).copied().chain([file.len()]);
        let fragments: Vec<Fragment> =
            starts.iter().zip(ends).map(|(start, end)| Fragment::read(file, *start..end)).collect::<Result<_, _>>()?;
        let init = file.slice(..*starts.first().ok_or(ClipError::Missing("moof"))?);
        let tracks = read_tracks(&init, 0..init.len())?;
        let picture = tracks.iter().position(|track| track.size.is_some()).ok_or(ClipError::Missing("picture"))?;
        let laps = check_loop(&tracks, &fragments, picture)?;
        let parts = cut_all(file, &starts, &tracks, picture)?;
        let pictures: u64 = fragments.iter().map(|fragment| fragment.spans[picture].samples).sum();
        let lap_seconds = SEGMENT.as_secs_f64() * fragments.len() as f64;
        Ok(Self {
            name,
            size: tracks[picture].size.ok_or(ClipError::Missing("picture size"))?,
            codecs: tracks.iter().map(|track| track.codec.as_str()).collect::<Vec<_>>().join(","),
            frame_rate: pictures as f64 / lap_seconds,
            checksum: fnv1a(file),
            init,
            fragments,
            parts,
            laps,
        })
    }

    /// Part `part` of segment `number` of the endless row.
    pub(super) fn part(&self, number: u64, part: u64) -> Bytes {
        let (lap, fragment) = self.place(number);
        let sequence = (number.wrapping_mul(PARTS).wrapping_add(part) as u32).wrapping_add(1);
        self.parts[fragment][part as usize].0.stamp(sequence, self.laps.iter().map(|each| each * lap))
    }

    /// What the picture of a part lasts.
    pub(super) fn part_lasts(&self, number: u64, part: u64) -> Duration {
        self.parts[self.place(number).1][part as usize].1
    }

    /// The longest part.
    pub(super) fn longest_part(&self) -> Duration {
        self.parts.iter().flatten().map(|(_, lasts)| *lasts).max().unwrap_or_default()
    }

    /// Segment `number` as the row of its parts.
    pub(super) fn parted(&self, number: u64) -> Bytes {
        (0..PARTS).flat_map(|part| self.part(number, part)).collect()
    }

    /// In which lap a segment is, and which fragment it is there.
    fn place(&self, number: u64) -> (u64, usize) {
        let count = self.fragments.len() as u64;
        (number / count, (number % count) as usize)
    }

    /// Segment `number` of the endless row.
    pub(super) fn segment(&self, number: u64) -> Bytes {
        let (lap, fragment) = self.place(number);
        // Sequence numbers count from 1 and may wrap (ISO/IEC 14496-12 §8.8.5 only asks that they grow).
        let sequence = (number as u32).wrapping_add(1);
        self.fragments[fragment].stamp(sequence, self.laps.iter().map(|each| each * lap))
    }

    /// Bits per second of the largest segment (`BANDWIDTH`, RFC 8216 §4.3.4.2).
    pub(super) fn peak_bits(&self) -> u64 {
        let largest = self.fragments.iter().map(Fragment::len).max().unwrap_or(0);
        largest as u64 * 8 / SEGMENT.as_secs()
    }

    /// Bits per second over the whole lap (`AVERAGE-BANDWIDTH`).
    pub(super) fn average_bits(&self) -> u64 {
        let total: usize = self.fragments.iter().map(Fragment::len).sum();
        total as u64 * 8 / (SEGMENT.as_secs() * self.fragments.len() as u64)
    }
}

/// All fragments of a file, of which those are the starts, in parts.
fn cut_all(
    file: &Bytes,
    starts: &[usize],
    tracks: &[Track],
    picture: usize,
) -> Result<Vec<Vec<(Fragment, Duration)>>, ClipError> {
    let ends = starts.iter().skip(1).copied().chain([file.len()]);
    let each = SEGMENT.as_secs_f64() / PARTS as f64;
    let scale = f64::from(tracks[picture].timescale);
    let one = |(index, (start, end)): (usize, (&usize, usize))| {
        let begins = SEGMENT.as_secs_f64() * index as f64;
        let parts = cut(file, *start..end, tracks, begins, each, PARTS as usize)?;
        let lasts = |part: &Fragment| Duration::from_secs_f64(part.spans[picture].lasts as f64 / scale);
        Ok(parts.into_iter().map(|part| (lasts(&part), part)).map(|(lasts, part)| (part, lasts)).collect())
    };
    starts.iter().zip(ends).enumerate().map(one).collect()
}

/// Checks the module's invariant and returns what a lap lasts for each track.
fn check_loop(tracks: &[Track], fragments: &[Fragment], picture: usize) -> Result<Vec<u64>, ClipError> {
    let mut laps = vec![0; tracks.len()];
    for fragment in fragments {
        if !fragment.spans.iter().map(|span| span.track).eq(tracks.iter().map(|track| track.id)) {
            return Err(ClipError::Layout("every fragment must hold every track, in the same order"));
        }
        for (span, lap) in fragment.spans.iter().zip(&mut laps) {
            if span.starts != *lap {
                return Err(ClipError::Layout("a track has a gap or does not start at zero"));
            }
            *lap += span.lasts;
        }
        let expected = SEGMENT.as_secs() * u64::from(tracks[picture].timescale);
        if fragment.spans[picture].lasts != expected {
            return Err(ClipError::Layout("a segment's picture does not last exactly the segment's duration"));
        }
    }
    let lap = SEGMENT.as_secs() * fragments.len() as u64;
    if !tracks.iter().zip(&laps).all(|(track, length)| lap * u64::from(track.timescale) == *length) {
        return Err(ClipError::Layout("a track does not last exactly the clip's duration"));
    }
    Ok(laps)
}

/// FNV-1a, 64 bits: enough to tell one build's clip from another's in an entity tag.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
