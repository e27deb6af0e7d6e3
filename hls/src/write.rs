//! Writes the tags of low-latency playlists (sections 4.4.3.7, 4.4.3.8, 4.4.4.9, 4.4.5.2 to 4.4.5.4), one line each with
//! its line feed, for origins and packagers of our own.
//!
//! Invariant: a value cannot end its line or its quotation early: what would is percent-encoded, as in
//! [`rewrite`](crate::rewrite()).

use std::time::Duration;

use crate::playlist::{ByteRange, Part, PreloadHint, PreloadKind, RenditionReport, ServerControl};
use crate::rewrite::push_encoded;
use crate::uri::Form;

/// Seconds with five decimals, as players compare them.
fn seconds(duration: Duration) -> String {
    format!("{:.5}", duration.as_secs_f64())
}

fn quoted(uri: &str) -> String {
    let mut out = Vec::with_capacity(uri.len());
    push_encoded(&mut out, uri, Form::Quoted);
    String::from_utf8_lossy(&out).into_owned()
}

/// `EXT-X-SERVER-CONTROL`.
#[must_use]
pub fn server_control(control: &ServerControl) -> String {
    let mut list = Vec::new();
    if control.can_block_reload {
        list.push("CAN-BLOCK-RELOAD=YES".to_owned());
    }
    let durations = [
        ("CAN-SKIP-UNTIL", control.can_skip_until),
        ("HOLD-BACK", control.hold_back),
        ("PART-HOLD-BACK", control.part_hold_back),
    ];
    list.extend(durations.iter().filter_map(|(name, value)| value.map(|value| format!("{name}={}", seconds(value)))));
    if control.can_skip_dateranges && control.can_skip_until.is_some() {
        list.push("CAN-SKIP-DATERANGES=YES".to_owned());
    }
    format!("#EXT-X-SERVER-CONTROL:{}\n", list.join(","))
}

/// `EXT-X-PART-INF`.
#[must_use]
pub fn part_inf(target: Duration) -> String {
    format!("#EXT-X-PART-INF:PART-TARGET={}\n", seconds(target))
}

/// `EXT-X-PART`.
#[must_use]
pub fn part(part: &Part) -> String {
    let mut line = format!("#EXT-X-PART:DURATION={},URI=\"{}\"", seconds(part.duration), quoted(&part.uri));
    if let Some(ByteRange { offset, length }) = part.byte_range {
        line.push_str(&format!(",BYTERANGE=\"{length}@{offset}\""));
    }
    if part.independent {
        line.push_str(",INDEPENDENT=YES");
    }
    if part.gap {
        line.push_str(",GAP=YES");
    }
    line.push('\n');
    line
}

/// `EXT-X-SKIP`.
#[must_use]
pub fn skip(segments: u64) -> String {
    format!("#EXT-X-SKIP:SKIPPED-SEGMENTS={segments}\n")
}

/// `EXT-X-PRELOAD-HINT`.
#[must_use]
pub fn preload_hint(hint: &PreloadHint) -> String {
    let kind = match hint.kind {
        PreloadKind::Part => "PART",
        PreloadKind::Map => "MAP",
    };
    let mut line = format!("#EXT-X-PRELOAD-HINT:TYPE={kind},URI=\"{}\"", quoted(&hint.uri));
    if hint.start > 0 || hint.length.is_some() {
        line.push_str(&format!(",BYTERANGE-START={}", hint.start));
    }
    if let Some(length) = hint.length {
        line.push_str(&format!(",BYTERANGE-LENGTH={length}"));
    }
    line.push('\n');
    line
}

/// `EXT-X-RENDITION-REPORT`.
#[must_use]
pub fn rendition_report(report: &RenditionReport) -> String {
    let mut line = format!("#EXT-X-RENDITION-REPORT:URI=\"{}\"", quoted(&report.uri));
    if let Some(sequence) = report.last_msn {
        line.push_str(&format!(",LAST-MSN={sequence}"));
    }
    if let Some(part) = report.last_part {
        line.push_str(&format!(",LAST-PART={part}"));
    }
    line.push('\n');
    line
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::playlist::{Bounds, Playlist, read};

    #[test]
    fn what_is_written_is_read_again() {
        let control = ServerControl {
            can_block_reload: true,
            can_skip_until: Some(Duration::from_secs(12)),
            can_skip_dateranges: true,
            hold_back: Some(Duration::from_secs(6)),
            part_hold_back: Some(Duration::from_millis(1500)),
        };
        let range = |offset| Some(ByteRange { offset, length: 20 });
        let one = Part {
            uri: "a\"b.m4s".into(),
            duration: Duration::from_millis(500),
            byte_range: range(7),
            independent: true,
            gap: false,
        };
        let other = Part { uri: "c.m4s".into(), byte_range: None, independent: false, gap: true, ..one.clone() };
        let hint = PreloadHint { kind: PreloadKind::Part, uri: "d.m4s".into(), start: 27, length: None };
        let report = RenditionReport { uri: "../x.m3u8".into(), last_msn: Some(3), last_part: Some(1) };
        let text = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n{}{}{}{}{}{}{}",
            server_control(&control),
            part_inf(Duration::from_millis(500)),
            skip(3),
            part(&one),
            part(&other),
            preload_hint(&hint),
            rendition_report(&report),
        );
        let Playlist::Media(media) = read(text.as_bytes(), &Bounds::default()).unwrap() else { panic!("{text}") };
        assert_eq!((media.server_control, media.part_target), (control, Some(Duration::from_millis(500))));
        assert_eq!(media.skipped_segments, 3);
        assert_eq!(media.trailing_parts, [Part { uri: "a%22b.m4s".into(), ..one }, other]);
        assert_eq!((media.preload_hints, media.rendition_reports), (vec![hint], vec![report]));
    }
}
