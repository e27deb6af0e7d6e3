//! Writes the playlists (RFC 8216).
//!
//! Invariant: every URI is relative to its playlist and every attribute is computed from the clip, so the same text is
//! true behind any relay.

use std::fmt::Write;
use std::ops::Range;

use crate::demo::origin::calendar::rfc3339;
use crate::demo::origin::clip::{Clip, SEGMENT};
use crate::demo::origin::programme::Channel;

/// Fragmented MP4 with `EXT-X-MAP` needs version 6 (§7); 7 is what current tools write.
const HEAD: &str = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n";

/// The multivariant playlist of either programme: one directory for each rendition.
pub(super) fn master(clip: &Clip) -> String {
    let mut text = String::from(HEAD);
    for rendition in &clip.renditions {
        let (peak, average) = (rendition.peak_bits(), rendition.average_bits());
        let ((width, height), rate) = (rendition.size, rendition.frame_rate);
        let (codecs, name) = (&rendition.codecs, rendition.name);
        append(
            &mut text,
            format_args!(
                "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{codecs}\",\
                 RESOLUTION={width}x{height},FRAME-RATE={rate:.3}\n{name}/index.m3u8\n"
            ),
        );
    }
    text
}

/// A rendition's playlist of the film.
pub(super) fn film(segments: Range<u64>) -> String {
    let mut text = String::from(HEAD);
    let target = SEGMENT.as_secs();
    append(&mut text, format_args!("#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:{}\n", segments.start));
    text.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MAP:URI=\"init.mp4\"\n");
    for number in segments {
        append_segment(&mut text, number);
    }
    text.push_str("#EXT-X-ENDLIST\n");
    text
}

/// A rendition's playlist of the live channel.
pub(super) fn live(channel: &Channel, window: Range<u64>) -> String {
    let mut text = String::from(HEAD);
    let target = SEGMENT.as_secs();
    append(&mut text, format_args!("#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:{}\n", window.start));
    text.push_str("#EXT-X-MAP:URI=\"init.mp4\"\n");
    for number in window {
        append(&mut text, format_args!("#EXT-X-PROGRAM-DATE-TIME:{}\n", rfc3339(channel.starts(number))));
        append_segment(&mut text, number);
    }
    text
}

fn append_segment(text: &mut String, number: u64) {
    append(text, format_args!("#EXTINF:{:.5},\nseg-{number}.m4s\n", SEGMENT.as_secs_f64()));
}

fn append(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("writing to a String cannot fail");
}
