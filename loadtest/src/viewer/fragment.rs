//! Decode times of movie fragments (ISO/IEC 14496-12 section 8.8): whether each begins where the one before ended.

use std::collections::BTreeMap;

use super::boxes::{Atom, BoxError, Fields, boxes, find};

/// Most tracks of a movie that are looked at.
const MAX_TRACKS: usize = 64;

/// `tfhd` flags (section 8.8.7).
const BASE_DATA_OFFSET: u32 = 0x1;
const SAMPLE_DESCRIPTION_INDEX: u32 = 0x2;
const DEFAULT_SAMPLE_DURATION: u32 = 0x8;
/// `trun` flags (section 8.8.8).
const DATA_OFFSET: u32 = 0x1;
const FIRST_SAMPLE_FLAGS: u32 = 0x4;
const SAMPLE_DURATION: u32 = 0x100;
const OTHER_SAMPLE_FIELDS: [u32; 3] = [0x200, 0x400, 0x800];

/// `default_sample_duration` of each track, from `moov/mvex/trex` (section 8.8.3).
pub(super) type Defaults = BTreeMap<u32, u32>;

/// Reads the defaults of an initialisation section.
pub(super) fn defaults(init: &[u8]) -> Result<Defaults, BoxError> {
    let mvex = find(find(init, "moov")?, "mvex")?;
    let mut defaults = Defaults::new();
    for atom in boxes(mvex) {
        let atom = atom?;
        if atom.kind == *b"trex" && defaults.len() < MAX_TRACKS {
            let mut fields = Fields::new("trex", atom.payload);
            fields.full()?;
            let (track, _description, duration) = (fields.u32()?, fields.u32()?, fields.u32()?);
            defaults.insert(track, duration);
        }
    }
    Ok(defaults)
}

/// One track's run of samples in one fragment, in ticks of the track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    track: u32,
    begin: u64,
    /// Sum of the sample durations.
    length: u64,
    /// Longest sample.
    frame: u64,
}

/// Reads the runs of a media segment, and makes sure that each `moof` is followed by its `mdat`.
pub(super) fn runs(segment: &[u8], defaults: &Defaults) -> Result<Vec<Run>, BoxError> {
    let mut runs = Vec::new();
    let mut awaits_data = false;
    for atom in boxes(segment) {
        let atom = atom?;
        match &atom.kind {
            b"moof" if awaits_data => return Err(BoxError::Missing("mdat")),
            b"moof" => {
                awaits_data = true;
                for inner in boxes(atom.payload) {
                    let inner = inner?;
                    if inner.kind == *b"traf" {
                        runs.push(run(inner.payload, defaults)?);
                    }
                }
            }
            b"mdat" => awaits_data = false,
            _ => {}
        }
    }
    match (runs.is_empty(), awaits_data) {
        (true, _) => Err(BoxError::Missing("moof")),
        (false, true) => Err(BoxError::Missing("mdat")),
        (false, false) => Ok(runs),
    }
}

fn run(traf: &[u8], defaults: &Defaults) -> Result<Run, BoxError> {
    let mut header = Fields::new("tfhd", find(traf, "tfhd")?);
    let (_, flags) = header.full()?;
    let track = header.u32()?;
    if flags & BASE_DATA_OFFSET != 0 {
        header.u64()?;
    }
    if flags & SAMPLE_DESCRIPTION_INDEX != 0 {
        header.u32()?;
    }
    let default =
        if flags & DEFAULT_SAMPLE_DURATION != 0 { header.u32()? } else { defaults.get(&track).copied().unwrap_or(0) };
    let mut time = Fields::new("tfdt", find(traf, "tfdt")?);
    let begin = match time.full()? {
        (0, _) => u64::from(time.u32()?),
        _ => time.u64()?,
    };
    let mut run = Run { track, begin, length: 0, frame: 0 };
    for atom in boxes(traf) {
        let Atom { kind, payload } = atom?;
        if kind == *b"trun" {
            samples(payload, default.into(), &mut run)?;
        }
    }
    Ok(run)
}

fn samples(trun: &[u8], default: u64, run: &mut Run) -> Result<(), BoxError> {
    let mut fields = Fields::new("trun", trun);
    let (_, flags) = fields.full()?;
    let count = fields.u32()?;
    for flag in [DATA_OFFSET, FIRST_SAMPLE_FLAGS] {
        if flags & flag != 0 {
            fields.u32()?;
        }
    }
    if flags & SAMPLE_DURATION == 0 {
        run.length = run.length.saturating_add(default * u64::from(count));
        run.frame = run.frame.max(default);
        return Ok(());
    }
    let others = OTHER_SAMPLE_FIELDS.iter().filter(|&&flag| flags & flag != 0).count();
    // Ends at the payload's end at the latest, whatever the count says.
    for _ in 0..count {
        let duration = u64::from(fields.u32()?);
        for _ in 0..others {
            fields.u32()?;
        }
        run.length = run.length.saturating_add(duration);
        run.frame = run.frame.max(duration);
    }
    Ok(())
}

/// A fragment that does not begin where the one before ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("track {track}: baseMediaDecodeTime {found}, expected {expected} within {tolerance}")]
pub(super) struct Break {
    track: u32,
    expected: u64,
    found: u64,
    tolerance: u64,
}

/// Where each track's next fragment has to begin.
#[derive(Debug, Default)]
pub(super) struct Continuity {
    expected: BTreeMap<u32, u64>,
}

impl Continuity {
    /// Forgets: the next fragment may begin anywhere.
    pub(super) fn reset(&mut self) {
        self.expected.clear();
    }

    /// Checks runs in order; a difference of up to one frame is rounding.
    pub(super) fn follow(&mut self, runs: &[Run]) -> Vec<Break> {
        let mut breaks = Vec::new();
        for run in runs {
            if let Some(&expected) = self.expected.get(&run.track)
                && expected.abs_diff(run.begin) > run.frame
            {
                breaks.push(Break { track: run.track, expected, found: run.begin, tolerance: run.frame });
            }
            // Without durations nothing can be expected.
            if run.length == 0 {
                self.expected.remove(&run.track);
            } else if self.expected.len() < MAX_TRACKS || self.expected.contains_key(&run.track) {
                self.expected.insert(run.track, run.begin.saturating_add(run.length));
            }
        }
        breaks
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn atom(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len() + 8).unwrap();
        [&size.to_be_bytes()[..], kind, payload].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn moof(track: u32, time: u32, trun: &[u32]) -> Vec<u8> {
        let inner =
            [atom(b"tfhd", &words(&[0, track])), atom(b"tfdt", &words(&[0, time])), atom(b"trun", &words(trun))]
                .concat();
        atom(b"moof", &atom(b"traf", &inner))
    }

    #[test]
    fn durations_come_from_the_samples_or_the_defaults() {
        let mdat = atom(b"mdat", b"x");
        let explicit =
            [moof(1, 1000, &[SAMPLE_DURATION | DATA_OFFSET | 0x200, 2, 99, 40, 7, 50, 7]), mdat.clone()].concat();
        let found = runs(&explicit, &Defaults::new()).unwrap();
        assert_eq!(found, [Run { track: 1, begin: 1000, length: 90, frame: 50 }]);
        let implied = [moof(2, 5, &[0, 3]), mdat].concat();
        let found = runs(&implied, &Defaults::from([(2, 512)])).unwrap();
        assert_eq!(found, [Run { track: 2, begin: 5, length: 1536, frame: 512 }]);
    }

    #[test]
    fn fragments_must_be_whole() {
        let none = Defaults::new();
        assert_eq!(runs(&atom(b"mdat", b"x"), &none), Err(BoxError::Missing("moof")));
        assert_eq!(runs(&moof(1, 0, &[0, 1]), &none), Err(BoxError::Missing("mdat")));
        let lies = [moof(1, 0, &[SAMPLE_DURATION, u32::MAX, 1]), atom(b"mdat", b"x")].concat();
        assert!(matches!(runs(&lies, &none), Err(BoxError::Short { .. })));
        let mut cut = [moof(1, 0, &[0, 1]), atom(b"mdat", b"xyz")].concat();
        cut.pop();
        assert!(matches!(runs(&cut, &none), Err(BoxError::Short { .. })));
    }

    #[test]
    fn times_continue_within_a_frame() {
        let mut continuity = Continuity::default();
        let run = |begin| Run { track: 1, begin, length: 100, frame: 10 };
        assert_eq!(continuity.follow(&[run(0), run(100), run(210)]), []);
        let broken = continuity.follow(&[run(321)]);
        assert_eq!(broken, [Break { track: 1, expected: 310, found: 321, tolerance: 10 }]);
        assert_eq!(continuity.follow(&[run(421)]), [], "one jump is reported once");
        continuity.reset();
        assert_eq!(continuity.follow(&[run(0)]), []);
    }

    #[test]
    fn defaults_of_every_track_are_read() {
        let trex = |track, duration| atom(b"trex", &words(&[0, track, 1, duration, 0, 0]));
        let init = atom(b"moov", &atom(b"mvex", &[trex(1, 512), trex(2, 1024)].concat()));
        assert_eq!(defaults(&init).unwrap(), Defaults::from([(1, 512), (2, 1024)]));
        assert_eq!(defaults(b""), Err(BoxError::Missing("moov")));
    }
}
