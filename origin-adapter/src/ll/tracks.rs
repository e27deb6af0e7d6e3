//! What an initialisation section says of its tracks: how their time is counted and what samples default to. Invariant:
//! read with mp4-atom behind a bound; an origin's file is a stranger's.

use mp4_atom::{Atom, Decode, FourCC, Header, Moof, Moov};
use std::time::Duration;

/// Longest initialisation section, in bytes.
pub(super) const MAX_INIT: usize = 1 << 20;
/// Samples of one fragment that are counted; more is no fragment of a live stream.
const MAX_SAMPLES: usize = 65_536;
/// `sample_is_non_sync_sample` (ISO/IEC 14496-12 section 8.8.3.1).
const NOT_SYNC: u32 = 0x0001_0000;

/// Why an initialisation section or fragment cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MediaError {
    /// Not MP4 boxes, or not those that are needed.
    #[error("no fragmented MP4: {0}")]
    Malformed(String),
    /// Longer than may be held.
    #[error("a box or fragment longer than {0} bytes")]
    TooLarge(usize),
}

#[derive(Debug, Clone)]
struct Track {
    id: u32,
    timescale: u32,
    default_duration: u32,
    default_flags: u32,
}

/// The tracks of a rendition.
#[derive(Debug, Clone)]
pub(super) struct Tracks {
    /// The one that time is counted by comes first: the picture, or else any.
    tracks: Vec<Track>,
}

/// What a fragment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fragment {
    pub(super) duration: Duration,
    /// It begins with a sample that needs no other.
    pub(super) independent: bool,
}

impl Tracks {
    /// Reads an initialisation section.
    pub(super) fn of_init(init: &[u8]) -> Result<Self, MediaError> {
        if init.len() > MAX_INIT {
            return Err(MediaError::TooLarge(MAX_INIT));
        }
        let mut rest = init;
        while !rest.is_empty() {
            let header = Header::decode(&mut rest).map_err(|error| MediaError::Malformed(error.to_string()))?;
            let size = header.size.unwrap_or(rest.len());
            let Some((mut body, after)) = rest.split_at_checked(size) else {
                return Err(MediaError::Malformed("a box that is cut off".into()));
            };
            if header.kind == Moov::KIND {
                let moov = Moov::decode_body(&mut body).map_err(|error| MediaError::Malformed(error.to_string()))?;
                return Self::of_moov(&moov);
            }
            rest = after;
        }
        Err(MediaError::Malformed("no moov".into()))
    }

    fn of_moov(moov: &Moov) -> Result<Self, MediaError> {
        let trex = |id| moov.mvex.iter().flat_map(|mvex| &mvex.trex).find(move |trex| trex.track_id == id);
        let is_picture = |handler: FourCC| handler == FourCC::new(b"vide");
        let mut tracks: Vec<(bool, Track)> = moov
            .trak
            .iter()
            .map(|trak| {
                let id = trak.tkhd.track_id;
                let (default_duration, default_flags) =
                    trex(id).map_or((0, 0), |trex| (trex.default_sample_duration, trex.default_sample_flags));
                let track = Track { id, timescale: trak.mdia.mdhd.timescale, default_duration, default_flags };
                (is_picture(trak.mdia.hdlr.handler), track)
            })
            .filter(|(_, track)| track.timescale > 0)
            .collect();
        if moov.mvex.is_none() || tracks.is_empty() {
            return Err(MediaError::Malformed("no movie that goes on in fragments".into()));
        }
        tracks.sort_by_key(|(picture, _)| !picture);
        Ok(Self { tracks: tracks.into_iter().map(|(_, track)| track).collect() })
    }

    /// What a fragment is, by its `moof`'s body.
    pub(super) fn fragment(&self, mut moof: &[u8]) -> Result<Fragment, MediaError> {
        let moof = Moof::decode_body(&mut moof).map_err(|error| MediaError::Malformed(error.to_string()))?;
        let found = self.tracks.iter().find_map(|track| {
            let traf = moof.traf.iter().find(|traf| traf.tfhd.track_id == track.id)?;
            Some((track, traf))
        });
        let Some((track, traf)) = found else {
            return Err(MediaError::Malformed("a fragment of tracks that the movie does not have".into()));
        };
        let (tfhd, runs) = (&traf.tfhd, &traf.trun);
        if runs.iter().map(|run| run.samples.len()).fold(0, usize::saturating_add) > MAX_SAMPLES {
            return Err(MediaError::Malformed(format!("more than {MAX_SAMPLES} samples in a fragment")));
        }
        let duration = tfhd.default_sample_duration.unwrap_or(track.default_duration);
        let units: u64 = runs
            .iter()
            .flat_map(|run| run.samples.iter())
            .map(|sample| u64::from(sample.duration.unwrap_or(duration)))
            .sum();
        let first = runs.iter().flat_map(|run| run.samples.iter()).next();
        let Some(first) = first else { return Err(MediaError::Malformed("a fragment without samples".into())) };
        let flags = first.flags.or(tfhd.default_sample_flags).unwrap_or(track.default_flags);
        let duration = Duration::from_secs_f64(units as f64 / f64::from(track.timescale));
        Ok(Fragment { duration, independent: flags & NOT_SYNC == 0 })
    }
}
