//! The low-latency playlist made from the origin's, line by line. Invariant: every line of the origin's up to the last
//! segment that is shown stands in it as it was, except the version, which is raised to 9, and the server control.

use super::held::{Segment, part_of};
use std::{collections::VecDeque, fmt::Write, time::Duration};
use weir_hls::{Media, Part, PreloadHint, PreloadKind, RenditionReport, ServerControl, write};

/// `EXT-X-SKIP` needs it.
const VERSION: u64 = 9;
/// Parts are listed of what lies within so many target durations of the end (section 4.4.4.9).
const WITH_PARTS: u32 = 3;
const HOLD_BACK: u32 = 3;
const SKIP_UNTIL: u32 = 6;

/// What is shown of a channel.
pub(super) struct Shown<'a> {
    /// The origin's playlist.
    pub(super) text: &'a str,
    pub(super) media: &'a Media,
    /// In order; the last one may still be made.
    pub(super) segments: &'a VecDeque<Segment>,
    /// The first segment that is not whole here.
    pub(super) next: u64,
    /// The URI of the part that is made next, when it can be told.
    pub(super) hint: Option<&'a str>,
    pub(super) part_target: Duration,
    pub(super) reports: &'a [RenditionReport],
}

impl Shown<'_> {
    /// The playlist.
    pub(super) fn text(&self) -> String {
        let mut out = String::with_capacity(self.text.len() + 4096);
        let with_parts = self.with_parts_from();
        let mut sequence = self.media.media_sequence;
        let mut pending: Vec<&str> = Vec::new();
        let mut cut = false;
        for line in self.text.split_inclusive('\n') {
            let tag = line.trim();
            if tag.is_empty() || tag.starts_with('#') {
                pending.push(line);
                continue;
            }
            if sequence >= self.next {
                cut = true;
                break;
            }
            for held in pending.drain(..) {
                if held.trim_start().starts_with("#EXTINF") && sequence >= with_parts {
                    self.parts(&mut out, sequence);
                }
                self.line(&mut out, held);
            }
            out.push_str(line);
            ended(&mut out);
            sequence += 1;
        }
        if !cut {
            for held in pending {
                self.line(&mut out, held);
            }
            ended(&mut out);
        }
        // What is whole here and not listed at the origin yet.
        for segment in self.segments.iter().filter(|segment| segment.sequence >= sequence) {
            self.parts(&mut out, segment.sequence);
            if segment.whole {
                append(&mut out, format_args!("#EXTINF:{:.5},\n{}\n", segment.duration().as_secs_f64(), segment.uri));
            }
        }
        if let Some(uri) = self.hint {
            let hint = PreloadHint { kind: PreloadKind::Part, uri: uri.to_owned(), start: 0, length: None };
            out.push_str(&write::preload_hint(&hint));
        }
        for report in self.reports {
            out.push_str(&write::rendition_report(report));
        }
        out
    }

    /// A line of the origin's.
    fn line(&self, out: &mut String, line: &str) {
        let tag = line.trim();
        if let Some(version) = tag.strip_prefix("#EXT-X-VERSION:") {
            let version = version.parse().unwrap_or(VERSION).max(VERSION);
            return append(out, format_args!("#EXT-X-VERSION:{version}\n"));
        }
        if tag.starts_with("#EXT-X-SERVER-CONTROL:") {
            return;
        }
        out.push_str(line);
        if tag.starts_with("#EXT-X-TARGETDURATION:") {
            ended(out);
            let target = self.media.target_duration;
            let control = ServerControl {
                can_block_reload: true,
                can_skip_until: Some(target * SKIP_UNTIL),
                can_skip_dateranges: false,
                hold_back: Some(target * HOLD_BACK),
                part_hold_back: Some(self.part_target * HOLD_BACK),
            };
            out.push_str(&write::server_control(&control));
            out.push_str(&write::part_inf(self.part_target));
            if !self.text.contains("#EXT-X-VERSION:") {
                append(out, format_args!("#EXT-X-VERSION:{VERSION}\n"));
            }
        }
    }

    fn parts(&self, out: &mut String, sequence: u64) {
        let Some(segment) = self.segments.iter().find(|segment| segment.sequence == sequence) else { return };
        for (index, cut) in segment.parts.iter().enumerate() {
            out.push_str(&write::part(&Part {
                uri: part_of(&segment.uri, index),
                duration: cut.duration,
                byte_range: None,
                independent: cut.independent,
                gap: false,
            }));
        }
    }

    /// The first segment whose parts are listed. The one in the making does not count: when it becomes whole, nothing
    /// that lay within reach a moment ago is missing.
    fn with_parts_from(&self) -> u64 {
        let mut behind = Duration::ZERO;
        for segment in self.segments.iter().rev().filter(|segment| segment.whole) {
            if behind >= self.media.target_duration * WITH_PARTS {
                return segment.sequence + 1;
            }
            behind += segment.duration();
        }
        0
    }
}

fn append(out: &mut String, line: std::fmt::Arguments<'_>) {
    out.write_fmt(line).expect("writing to a String cannot fail");
}

/// The last line of a file may lack its end.
fn ended(out: &mut String) {
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::ll::cut::Cut;
    use bytes::Bytes;
    use weir_hls::{Bounds, Playlist, read};

    fn media(text: &str) -> Media {
        match read(text.as_bytes(), &Bounds::default()).unwrap() {
            Playlist::Media(media) => media,
            Playlist::Multivariant(_) => panic!("a media playlist was expected"),
        }
    }

    fn segment(sequence: u64, parts: usize, whole: bool) -> Segment {
        let cut = |index| Cut { bytes: Bytes::new(), duration: Duration::from_millis(500), independent: index == 0 };
        let uri = format!("s{sequence}.m4s");
        let mut segment = Segment::new(sequence, uri.clone(), format!("/{uri}"));
        (segment.parts, segment.whole) = ((0..parts).map(cut).collect(), whole);
        segment
    }

    #[test]
    fn lines_are_kept_and_parts_stand_before_their_segment() {
        let text = "#EXTM3U\r\n#EXT-X-VERSION:6\r\n#EXT-X-TARGETDURATION:2\r\n#EXT-X-MEDIA-SEQUENCE:5\r\n\
            #EXT-X-MAP:URI=\"i.mp4\"\r\n#X-OWN\r\n#EXTINF:2.0,a\r\ns5.m4s\r\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z\r\n\
            #EXTINF:2.0,b\r\ns6.m4s\r\n#EXTINF:2.0,c\r\ns7.m4s\r\n#EXT-X-DATERANGE:ID=\"x\",START-DATE=\"2026-01-01T00:00:00Z\"";
        let origins = media(text);
        let shown = |segments: &VecDeque<Segment>, next, hint| {
            let shown = Shown {
                text,
                media: &origins,
                segments,
                next,
                hint,
                part_target: Duration::from_millis(550),
                reports: &[],
            };
            shown.text()
        };
        // Segment 7 is listed at the origin, but only half of it is here.
        let behind: VecDeque<Segment> = [segment(6, 4, true), segment(7, 2, false)].into();
        let made = shown(&behind, 7, Some("s7.m4s.part2.m4s"));
        let read = media(&made);
        assert_eq!((read.position().next_sequence, read.position().next_part), (7, 2));
        assert_eq!(read.segments[1].parts.len(), 4);
        assert_eq!(read.preload_hints[0].uri, "s7.m4s.part2.m4s");
        assert!(made.contains(
            "#X-OWN\r\n#EXTINF:2.0,a\r\ns5.m4s\r\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z\r\n#EXT-X-PART"
        ));
        assert!(!made.contains("DATERANGE") && made.contains("#EXT-X-VERSION:9\n"));
        // Segment 8 is whole here before the origin lists it.
        let ahead: VecDeque<Segment> = (6..9).map(|n| segment(n, 4, true)).chain([segment(9, 0, false)]).collect();
        let made = shown(&ahead, 9, Some("s9.m4s.part0.m4s"));
        let read = media(&made);
        assert_eq!((read.position().next_sequence, read.position().next_part), (9, 0));
        assert_eq!(read.segments[3].uri, "s8.m4s");
        assert_eq!(read.preload_hints[0].uri, "s9.m4s.part0.m4s");
        assert!(made.contains("DATERANGE"));
        assert!(read.server_control.can_block_reload);
    }
}
