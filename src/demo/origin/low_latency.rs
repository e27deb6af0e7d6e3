//! The live channel as Low-Latency HLS (draft-pantos-hls-rfc8216bis): which parts exist at which instant, the playlist
//! that lists them, and until when a request for what is not made yet is held.
//!
//! Invariant: a part is listed from the instant at which it is complete, never before, and everything is a function of
//! the clock, so a request that is held is answered at an instant that is known beforehand.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use weir_hls::{
    Bounds, Directives, Part, Playlist, PreloadHint, PreloadKind, Reload, RenditionReport, ServerControl, delta, read,
    reload, write,
};

use crate::demo::origin::calendar::rfc3339;
use crate::demo::origin::clip::{Clip, PARTS, Rendition, SEGMENT};
use crate::demo::origin::programme::Channel;

/// Segments in the playlist: enough for delta updates to leave some out.
const WINDOW: u64 = 15;
/// Segments from the end on whose parts are listed: three target durations (section 4.4.4.9).
const WITH_PARTS: u64 = 3;
/// The skip boundary must be at least six target durations from the end (section 4.4.3.8).
const SKIP_UNTIL: u32 = 6;
/// Parts and target durations that a player should stay behind the end (section 4.4.3.8).
const HOLD_BACK: u32 = 3;

/// How a request is to be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// At once.
    Now,
    /// At this instant.
    At(SystemTime),
    /// 400.
    Bad(String),
}

/// A place in the row of parts: segment and part.
type Place = (u64, u64);

/// What each part lasts, on average.
fn each() -> Duration {
    SEGMENT / PARTS as u32
}

/// When a part is complete.
pub(super) fn made(channel: &Channel, (number, part): Place) -> SystemTime {
    channel.starts(number) + each() * (part as u32 + 1)
}

/// The first part that is not complete.
fn next(channel: &Channel, now: SystemTime) -> Place {
    let aired = now.duration_since(channel.starts(WINDOW)).unwrap_or_default();
    let parts = u64::try_from(aired.as_nanos() / each().as_nanos()).unwrap_or(u64::MAX / 2);
    (WINDOW + parts / PARTS, parts % PARTS)
}

/// When a part can be fetched: it is there, or will be, or neither.
pub(super) fn fetchable(channel: &Channel, place: Place, now: SystemTime) -> Option<Answer> {
    let next = next(channel, now);
    let oldest = next.0.saturating_sub(2 * WINDOW + 1);
    if place.1 >= PARTS || place.0 < oldest || place > next {
        return None;
    }
    Some(if place == next { Answer::At(made(channel, place)) } else { Answer::Now })
}

/// The first segment of the playlist whose segments end before `last`.
pub(super) fn first(last: u64) -> u64 {
    last.saturating_sub(WINDOW)
}

/// The segments that can be fetched.
pub(super) fn has_segment(channel: &Channel, number: u64, now: SystemTime) -> bool {
    let next = next(channel, now);
    number < next.0 && number >= next.0.saturating_sub(2 * WINDOW + 1)
}

/// How a request for a playlist is to be answered.
pub(super) fn directed(clip: &Clip, rendition: &Rendition, channel: &Channel, query: &str, now: SystemTime) -> Answer {
    let directives = match Directives::of(query) {
        Ok(Some(directives)) => directives,
        Ok(None) => return Answer::Now,
        Err(error) => return Answer::Bad(error.to_string()),
    };
    let text = playlist(clip, rendition, channel, now);
    let Ok(Playlist::Media(media)) = read(text.as_bytes(), &Bounds::default()) else { return Answer::Now };
    match (reload(&media, &directives), directives.sequence) {
        (Reload::Now, _) | (_, None) => Answer::Now,
        (Reload::TooFar, _) => Answer::Bad("_HLS_msn or _HLS_part lies too far ahead".into()),
        // A part past the segment's end is the next one's first.
        (Reload::Later, Some(number)) => Answer::At(match directives.part {
            Some(part) if part >= PARTS => made(channel, (number + 1, 0)),
            Some(part) => made(channel, (number, part)),
            None => made(channel, (number, PARTS - 1)),
        }),
    }
}

/// The playlist, as much of it as the request wants.
pub(super) fn answer(clip: &Clip, rendition: &Rendition, channel: &Channel, query: &str, now: SystemTime) -> String {
    let text = playlist(clip, rendition, channel, now);
    let skips = matches!(Directives::of(query), Ok(Some(Directives { skip: Some(_), .. })));
    let shortened = || match read(text.as_bytes(), &Bounds::default()) {
        Ok(Playlist::Media(media)) => delta(text.as_bytes(), &media).and_then(|delta| String::from_utf8(delta).ok()),
        _ => None,
    };
    if skips { shortened().unwrap_or(text) } else { text }
}

fn part_of(rendition: &Rendition, (number, part): Place) -> Part {
    Part {
        uri: part_name((number, part)),
        duration: rendition.part_lasts(number, part),
        byte_range: None,
        // The picture's groups are as long as segments.
        independent: part == 0,
        gap: false,
    }
}

fn part_name((number, part): Place) -> String {
    format!("seg-{number}.{part}.m4s")
}

fn playlist(clip: &Clip, rendition: &Rendition, channel: &Channel, now: SystemTime) -> String {
    let (last, parts) = next(channel, now);
    let first = first(last);
    let target = rendition.longest_part();
    let control = ServerControl {
        can_block_reload: true,
        can_skip_until: Some(SEGMENT * SKIP_UNTIL),
        can_skip_dateranges: false,
        hold_back: Some(SEGMENT * HOLD_BACK),
        part_hold_back: Some(target * HOLD_BACK),
    };
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    let mut line = |line: std::fmt::Arguments<'_>| text.write_fmt(line).expect("writing to a String cannot fail");
    line(format_args!("#EXT-X-TARGETDURATION:{}\n", SEGMENT.as_secs()));
    line(format_args!("{}{}", write::server_control(&control), write::part_inf(target)));
    line(format_args!("#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-MAP:URI=\"init.mp4\"\n"));
    for number in first..last {
        line(format_args!("#EXT-X-PROGRAM-DATE-TIME:{}\n", rfc3339(channel.starts(number))));
        for part in (0..PARTS).filter(|_| number + WITH_PARTS >= last) {
            line(format_args!("{}", write::part(&part_of(rendition, (number, part)))));
        }
        line(format_args!("#EXTINF:{:.5},\nseg-{number}.m4s\n", SEGMENT.as_secs_f64()));
    }
    if parts > 0 {
        line(format_args!("#EXT-X-PROGRAM-DATE-TIME:{}\n", rfc3339(channel.starts(last))));
    }
    for part in 0..parts {
        line(format_args!("{}", write::part(&part_of(rendition, (last, part)))));
    }
    let hint = PreloadHint { kind: PreloadKind::Part, uri: part_name((last, parts)), start: 0, length: None };
    line(format_args!("{}", write::preload_hint(&hint)));
    let (number, part) = if parts > 0 { (last, parts - 1) } else { (last - 1, PARTS - 1) };
    for other in clip.renditions.iter().filter(|other| other.name != rendition.name) {
        let uri = format!("../{}/index.m3u8", other.name);
        let report = RenditionReport { uri, last_msn: Some(number), last_part: Some(part) };
        line(format_args!("{}", write::rendition_report(&report)));
    }
    text
}

/// N and P of `seg-N.P.m4s`, in its one spelling.
pub(super) fn place_of(file: &str) -> Option<Place> {
    let (number, part) = file.strip_prefix("seg-")?.strip_suffix(".m4s")?.split_once('.')?;
    let place = (number.parse().ok()?, part.parse().ok()?);
    (part_name(place) == file).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RENDITION: &str = "540p";

    fn at(ms: u64) -> SystemTime {
        Channel::new().starts(0) + Duration::from_millis(ms)
    }

    #[test]
    fn a_part_is_listed_as_soon_as_it_is_complete() {
        let (clip, channel) = (Clip::embedded().expect("the clip"), Channel::new());
        let rendition = clip.rendition(RENDITION).expect("the rendition");
        let listed = |ms| {
            let text = playlist(&clip, rendition, &channel, at(ms));
            let Ok(Playlist::Media(media)) = read(text.as_bytes(), &Bounds::default()) else { panic!("{text}") };
            media
        };
        for (ms, next) in
            [(100_000, (50, 0)), (100_499, (50, 0)), (100_500, (50, 1)), (101_999, (50, 3)), (102_000, (51, 0))]
        {
            let position = listed(ms).position();
            assert_eq!((position.next_sequence, position.next_part), next, "{ms}");
        }
        let media = listed(100_600);
        assert_eq!(media.segments.len() as u64, WINDOW);
        assert_eq!(media.segments.iter().filter(|segment| segment.parts.len() as u64 == PARTS).count(), 3);
        assert_eq!(media.preload_hints[0].uri, "seg-50.1.m4s");
        assert_eq!(media.rendition_reports.len(), 2);
        for segment in media.segments.iter().filter(|segment| !segment.parts.is_empty()) {
            let sum: Duration = segment.parts.iter().map(|part| part.duration).sum();
            assert_eq!(sum, segment.duration);
            // All parts but a segment's last last at least 85 % of the target (section 4.4.3.7).
            let target = media.part_target.expect("a part target");
            assert!(segment.parts.iter().all(|part| part.duration <= target && part.duration >= target.mul_f64(0.85)));
        }
    }

    #[test]
    fn who_asks_for_the_next_part_is_answered_when_it_is_made() {
        let (clip, channel) = (Clip::embedded().expect("the clip"), Channel::new());
        let rendition = clip.rendition(RENDITION).expect("the rendition");
        let now = at(100_600);
        let asked = |query: &str| directed(&clip, rendition, &channel, query, now);
        assert_eq!(asked(""), Answer::Now);
        assert_eq!(asked("_HLS_msn=50&_HLS_part=0"), Answer::Now);
        assert_eq!(asked("_HLS_msn=50&_HLS_part=1"), Answer::At(at(101_000)));
        assert_eq!(asked("_HLS_msn=50&_HLS_part=4"), Answer::At(at(102_500)));
        assert_eq!(asked("_HLS_msn=50"), Answer::At(at(102_000)));
        assert!(matches!(asked("_HLS_msn=52"), Answer::Bad(_)));
        assert!(matches!(asked("_HLS_part=1"), Answer::Bad(_)));
        assert_eq!(fetchable(&channel, (50, 0), now), Some(Answer::Now));
        assert_eq!(fetchable(&channel, (50, 1), now), Some(Answer::At(at(101_000))));
        assert_eq!(fetchable(&channel, (50, 2), now), None);
        assert_eq!(fetchable(&channel, (2, 0), now), None);
        let whole = answer(&clip, rendition, &channel, "", now);
        assert!(answer(&clip, rendition, &channel, "_HLS_skip=YES", now).len() < whole.len() - 300);
    }
}
