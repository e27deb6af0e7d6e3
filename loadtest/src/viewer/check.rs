//! Whether what was received can be played: initialisation sections, fragments, transport streams. What is none of
//! these (packed audio, WebVTT) and what is encrypted is not looked into.

use std::io::Cursor;

use super::boxes::{BoxError, boxes};
use super::fragment::{Continuity, Defaults, defaults, runs};
use super::ts::{self, TsError};

/// Boxes that hold boxes, on the way to what a player needs of an initialisation section.
const CONTAINERS: [&[u8; 4]; 7] = [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"mvex"];

/// Something that cannot be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// As counted in the summary.
    pub(crate) class: &'static str,
    /// For people.
    pub(crate) detail: String,
}

impl Finding {
    pub(crate) fn new(class: &'static str, detail: impl ToString) -> Self {
        Self { class, detail: detail.to_string() }
    }
}

/// Checks one rendition, segment after segment.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    defaults: Defaults,
    continuity: Continuity,
}

impl Checker {
    /// The next segment need not continue the last one.
    pub(crate) fn reset(&mut self) {
        self.continuity.reset();
    }

    /// Takes an initialisation section; the segments that follow belong to it.
    pub(crate) fn init(&mut self, bytes: &[u8]) -> Option<Finding> {
        self.reset();
        match read_init(bytes) {
            Ok(defaults) => {
                self.defaults = defaults;
                None
            }
            Err(reason) => {
                self.defaults.clear();
                Some(Finding::new("init", reason))
            }
        }
    }

    /// Takes a media segment, which has an initialisation section or not.
    pub(crate) fn segment(&mut self, bytes: &[u8], has_init: bool) -> Vec<Finding> {
        if has_init {
            return match runs(bytes, &self.defaults) {
                Ok(runs) => {
                    let breaks = self.continuity.follow(&runs);
                    breaks.into_iter().map(|one| Finding::new("decode-time", one)).collect()
                }
                Err(error) => {
                    self.reset();
                    vec![Finding::new("boxes", error)]
                }
            };
        }
        if bytes.first() != Some(&ts::SYNC) {
            return if bytes.is_empty() { vec![Finding::new("ts-sync", "empty segment")] } else { Vec::new() };
        }
        match ts::check(bytes) {
            Ok(()) => Vec::new(),
            Err(error @ TsError::Counter { .. }) => vec![Finding::new("ts-counter", error)],
            Err(error) => vec![Finding::new("ts-sync", error)],
        }
    }
}

/// Reads an initialisation section with the `mp4` crate, which is not made for hostile input: the box structure is
/// walked first, so that it meets none that is cut short or reaches too far.
fn read_init(bytes: &[u8]) -> Result<Defaults, String> {
    let mut inside = vec![bytes];
    while let Some(data) = inside.pop() {
        for atom in boxes(data) {
            let atom = atom.map_err(|error| error.to_string())?;
            if CONTAINERS.contains(&&atom.kind) {
                inside.push(atom.payload);
            }
        }
    }
    let movie =
        mp4::Mp4Reader::read_header(Cursor::new(bytes), bytes.len() as u64).map_err(|error| error.to_string())?;
    if movie.tracks().is_empty() {
        return Err(BoxError::Missing("trak").to_string());
    }
    defaults(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_init_is_told() {
        let mut checker = Checker::default();
        for bad in [&b""[..], b"#EXTM3U\n", b"\0\0\0\x08ftyp", b"\0\0\0\x0fmoov\0\0\0\xfftrak"] {
            assert_eq!(checker.init(bad).map(|finding| finding.class), Some("init"), "{bad:?}");
        }
    }

    #[test]
    fn segments_are_told_apart() {
        let mut checker = Checker::default();
        assert_eq!(checker.segment(b"ID3 packed audio", false), []);
        assert_eq!(checker.segment(b"", false)[0].class, "ts-sync");
        assert_eq!(checker.segment(b"Gxx", false)[0].class, "ts-sync");
        assert_eq!(checker.segment(b"<html>", true)[0].class, "boxes");
    }
}
