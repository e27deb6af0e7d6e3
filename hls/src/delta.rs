//! Playlist delta updates (sections 4.4.5.2 and 6.2.5.1) made from a full playlist, line by line.
//!
//! Invariant: a delta has only lines of the full playlist, in their order and byte for byte, except `EXT-X-SKIP` itself,
//! a version number that is raised to 9, and the keys and the map that are in force behind the gap, which are repeated.

use std::collections::HashSet;
use std::time::Duration;

use crate::attribute::Attributes;
use crate::line::{Kind, lines};
use crate::playlist::Media;
use crate::write;

/// `EXT-X-SKIP` needs it (section 8).
const VERSION: u64 = 9;

/// Tags that apply to the whole playlist wherever they stand (section 4.4.2 and 4.4.3), and date ranges, which a delta
/// for `_HLS_skip=YES` keeps.
const KEPT: &[&str] = &[
    "EXTM3U",
    "EXT-X-VERSION",
    "EXT-X-INDEPENDENT-SEGMENTS",
    "EXT-X-START",
    "EXT-X-DEFINE",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-ENDLIST",
    "EXT-X-PLAYLIST-TYPE",
    "EXT-X-I-FRAMES-ONLY",
    "EXT-X-PART-INF",
    "EXT-X-SERVER-CONTROL",
    "EXT-X-DATERANGE",
];

/// Tags that apply to media segments (section 4.4.4): the first of them ends the playlist's head.
const SEGMENT_TAGS: &[&str] = &[
    "EXTINF",
    "EXT-X-BYTERANGE",
    "EXT-X-DISCONTINUITY",
    "EXT-X-KEY",
    "EXT-X-MAP",
    "EXT-X-PROGRAM-DATE-TIME",
    "EXT-X-GAP",
    "EXT-X-BITRATE",
    "EXT-X-PART",
];

/// The delta update of `text`, which was read as `media`; `None` where the full playlist is the answer: nothing lies
/// behind the skip boundary, the server does not offer it, or the text is a delta itself.
pub fn delta(text: &[u8], media: &Media) -> Option<Vec<u8>> {
    let skipped = skippable(media)?;
    let mut out = Vec::with_capacity(text.len());
    let mut copied = 0;
    let mut head = true;
    let mut passed = 0;
    let mut versioned = false;
    let mut force = Force::default();
    for line in lines(text) {
        let end =
            text[line.start..].iter().position(|&byte| byte == b'\n').map_or(text.len(), |at| line.start + at + 1);
        // Up to the line itself, so that blanks before it go with it.
        let begin = copied;
        copied = end;
        let whole = &text[begin..end];
        let kind = line.kind();
        if let Kind::Tag { name: "EXT-X-VERSION", value, .. } = kind {
            versioned = true;
            match value.parse::<u64>() {
                Ok(number) if number >= VERSION => out.extend_from_slice(whole),
                _ => out.extend_from_slice(format!("#EXT-X-VERSION:{VERSION}\n").as_bytes()),
            }
            continue;
        }
        let starts = match kind {
            Kind::Tag { name, .. } => SEGMENT_TAGS.contains(&name),
            Kind::Uri(_) | Kind::Opaque => true,
            Kind::Blank | Kind::Comment => false,
        };
        if head && starts {
            head = false;
            if !versioned {
                out.extend_from_slice(format!("#EXT-X-VERSION:{VERSION}\n").as_bytes());
            }
            out.extend_from_slice(write::skip(skipped).as_bytes());
        }
        if head || passed == skipped {
            out.extend_from_slice(whole);
            continue;
        }
        match kind {
            Kind::Uri(_) => {
                passed += 1;
                if passed == skipped {
                    force.write(&mut out);
                }
            }
            Kind::Tag { name, .. } if KEPT.contains(&name) => out.extend_from_slice(whole),
            Kind::Tag { name: "EXT-X-MAP", .. } => force.map = Some(whole),
            Kind::Tag { name: "EXT-X-KEY", value, .. } => force.key(value, whole),
            // What is not known belongs to the segment that it stands at.
            _ => {}
        }
    }
    (passed == skipped).then_some(out)
}

/// Keys and map that apply to what follows.
#[derive(Default)]
struct Force<'a> {
    keys: Vec<(&'a str, &'a [u8])>,
    map: Option<&'a [u8]>,
}

impl<'a> Force<'a> {
    /// A key applies until the next one of its format (section 4.4.4.4); `NONE` ends all.
    fn key(&mut self, value: &'a str, line: &'a [u8]) {
        let text = |name| Attributes::new(value).flatten().find(|found| found.name == name).map(|found| found.value);
        if text("METHOD") == Some("NONE") {
            self.keys.clear();
            return;
        }
        let format = text("KEYFORMAT").unwrap_or("identity");
        self.keys.retain(|(known, _)| *known != format);
        self.keys.push((format, line));
    }

    fn write(&self, out: &mut Vec<u8>) {
        for (_, line) in &self.keys {
            out.extend_from_slice(line);
        }
        out.extend_from_slice(self.map.unwrap_or_default());
    }
}

/// How many segments lie wholly behind the skip boundary.
fn skippable(media: &Media) -> Option<u64> {
    let until = media.server_control.can_skip_until.filter(|until| !until.is_zero())?;
    if media.skipped_segments > 0 {
        return None;
    }
    let mut behind: Duration = media.trailing_parts.iter().map(|part| part.duration).sum();
    let mut count = 0;
    for (index, segment) in media.segments.iter().enumerate().rev() {
        if behind >= until {
            count = index + 1;
            break;
        }
        behind = behind.saturating_add(segment.duration);
    }
    // A range without an offset continues the segment before it, which must then be listed.
    while count > 0 && media.segments.get(count).is_some_and(|next| continues(&media.segments[count - 1], next)) {
        count -= 1;
    }
    u64::try_from(count).ok().filter(|count| *count > 0)
}

/// True when `next` may be written as the continuation of `before`: ranges of one resource, or parts of one.
fn continues(before: &crate::playlist::Segment, next: &crate::playlist::Segment) -> bool {
    let by_range = before.uri == next.uri
        && matches!((before.byte_range, next.byte_range), (Some(one), Some(other)) if one.end() == other.offset);
    let uris: HashSet<&str> =
        before.parts.iter().filter(|part| part.byte_range.is_some()).map(|part| &*part.uri).collect();
    by_range || next.parts.first().is_some_and(|part| part.byte_range.is_some() && uris.contains(&*part.uri))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::playlist::{Bounds, Playlist, read};

    fn media(text: &str) -> Media {
        match read(text.as_bytes(), &Bounds::default()).unwrap() {
            Playlist::Media(media) => media,
            Playlist::Multivariant(_) => panic!("a media playlist was expected"),
        }
    }

    fn made(text: &str) -> Option<String> {
        delta(text.as_bytes(), &media(text)).map(|delta| String::from_utf8(delta).unwrap())
    }

    const HEAD: &str = "#EXTM3U\r\n#EXT-X-VERSION:6\r\n#EXT-X-TARGETDURATION:2\r\n\
        #EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=12.0,CAN-BLOCK-RELOAD=YES\r\n#EXT-X-MEDIA-SEQUENCE:5\r\n";

    fn segments(range: std::ops::Range<u32>) -> String {
        range
            .map(|n| format!("#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:{n:02}Z\r\n#EXTINF:2,\r\ns{n}.m4s\r\n"))
            .collect()
    }

    #[test]
    fn old_segments_are_replaced_and_every_other_line_is_kept() {
        let tail = "#EXT-X-PART:DURATION=0.5,URI=\"p\"\r\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"q\"\r\n#EXT-X-NEW:1";
        let map = "#EXT-X-MAP:URI=\"init.mp4\"\r\n";
        let key = "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\r\n";
        let date = "#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2026-01-01T00:00:00Z\"\r\n";
        let full =
            format!("{HEAD}# note\r\n{map}{}{date}#EXT-X-CUE-OUT\r\n{key}{}{tail}", segments(0..2), segments(2..10));
        // Twelve seconds before the end: half a second of parts and six whole segments may not be skipped.
        let head = HEAD.replace("#EXT-X-VERSION:6\r\n", "#EXT-X-VERSION:9\n");
        let expected =
            format!("{head}# note\r\n#EXT-X-SKIP:SKIPPED-SEGMENTS=4\n{date}{key}{map}{}{tail}", segments(4..10));
        assert_eq!(made(&full).unwrap(), expected);
        let (full, delta) = (media(&full), media(&expected));
        assert_eq!(delta.position(), full.position());
        assert_eq!(delta.segments, full.segments[4..]);
    }

    #[test]
    fn nothing_is_skipped_where_nothing_is_old_or_nothing_was_promised() {
        assert_eq!(made(&format!("{HEAD}{}", segments(0..6))), None);
        assert!(made(&format!("{HEAD}{}", segments(0..7))).unwrap().contains("SKIPPED-SEGMENTS=1\n"));
        assert_eq!(made(&format!("{HEAD}#EXT-X-SKIP:SKIPPED-SEGMENTS=2\n{}", segments(0..9))), None);
        let unpromised = HEAD.replace("CAN-SKIP-UNTIL=12.0,", "");
        assert_eq!(made(&format!("{unpromised}{}", segments(0..9))), None);
    }

    #[test]
    fn a_range_that_continues_is_not_torn_from_what_it_continues() {
        let ranges: String = (0..9).map(|_| "#EXTINF:2,\n#EXT-X-BYTERANGE:10\nall.mp4\n").collect();
        let first = ranges.replacen("BYTERANGE:10", "BYTERANGE:10@0", 1);
        assert_eq!(made(&format!("{HEAD}{first}")), None);
    }
}
