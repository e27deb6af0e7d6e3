//! Delivery directives that players add to a playlist's URI (section 6.2.5): hold the answer until a segment or part is
//! listed, and leave out what the player knows already.
//!
//! Invariant: what a playlist answers to directives is decided from its text and the directives alone, so that an
//! origin, an adapter and a relay that hold the same playlist answer alike.

use std::fmt::Write as _;
use std::time::Duration;

use crate::playlist::{Media, Position};

/// `_HLS_msn`.
const SEQUENCE: &str = "_HLS_msn";
/// `_HLS_part`.
const PART: &str = "_HLS_part";
/// `_HLS_skip`.
const SKIP: &str = "_HLS_skip";
/// Segments behind the last one that may be waited for; more is a bad request.
const MAX_AHEAD: u64 = 2;

/// What a delta update may leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Skip {
    /// `YES`: older segments.
    Segments,
    /// `v2`: older date ranges as well.
    DateRanges,
}

/// The directives of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Directives {
    /// Hold the answer until this media sequence number is listed.
    pub sequence: Option<u64>,
    /// With it: until this part of that segment is.
    pub part: Option<u64>,
    /// A delta update will do.
    pub skip: Option<Skip>,
}

/// Directives that no server can follow: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DirectiveError {
    /// Not a number.
    #[error("{0} is not a decimal integer")]
    NotANumber(&'static str),
    /// Section 6.2.5.2.
    #[error("_HLS_part needs _HLS_msn beside it")]
    PartWithoutSequence,
}

/// What a playlist answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// It is there: answer at once.
    Now,
    /// It will be: hold the answer.
    Later,
    /// It is further ahead than may be waited for: 400.
    TooFar,
}

impl Directives {
    /// The directives in a query, of which each counts where it stands first; `None` where there is none. An unknown
    /// value of `_HLS_skip`, like any unknown directive, is no directive.
    ///
    /// # Errors
    /// [`DirectiveError`].
    pub fn of(query: &str) -> Result<Option<Self>, DirectiveError> {
        let value = |name: &str| {
            query.split('&').find_map(|pair| {
                let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
                (found == name).then_some(value)
            })
        };
        let number = |name: &'static str| {
            let read = |text: &str| {
                let decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                decimal.then(|| text.parse().ok()).flatten().ok_or(DirectiveError::NotANumber(name))
            };
            value(name).map(read).transpose()
        };
        let skip = value(SKIP).and_then(|value| match value {
            "YES" => Some(Skip::Segments),
            "v2" => Some(Skip::DateRanges),
            _ => None,
        });
        let found = Self { sequence: number(SEQUENCE)?, part: number(PART)?, skip };
        if found.part.is_some() && found.sequence.is_none() {
            return Err(DirectiveError::PartWithoutSequence);
        }
        Ok((found != Self::default()).then_some(found))
    }

    /// The directives that wait for what comes next after `position`: the next part where there are parts.
    #[must_use]
    pub fn next_after(position: Position, parts: bool) -> Self {
        Self { sequence: Some(position.next_sequence), part: parts.then_some(position.next_part), skip: None }
    }

    /// As a query, in the order that section 6.2.5 asks for.
    #[must_use]
    pub fn query(&self) -> String {
        let mut query = String::new();
        let mut push = |name: &str, value: std::fmt::Arguments<'_>| {
            let between = if query.is_empty() { "" } else { "&" };
            // Writing to a String cannot fail.
            let _ = write!(query, "{between}{name}={value}");
        };
        if let Some(sequence) = self.sequence {
            push(SEQUENCE, format_args!("{sequence}"));
        }
        if let Some(part) = self.part {
            push(PART, format_args!("{part}"));
        }
        match self.skip {
            Some(Skip::Segments) => push(SKIP, format_args!("YES")),
            Some(Skip::DateRanges) => push(SKIP, format_args!("v2")),
            None => {}
        }
        query
    }
}

/// Parts behind the last listed one that may be waited for (section 6.2.5.2): three seconds of them, and at least three.
fn advance_limit(part_target: Duration) -> u64 {
    const LIMIT: Duration = Duration::from_secs(3);
    if part_target >= Duration::from_secs(1) || part_target.is_zero() {
        return 3;
    }
    u64::try_from(LIMIT.as_nanos().div_ceil(part_target.as_nanos())).unwrap_or(u64::MAX)
}

/// What this playlist answers to `directives` (section 6.2.5.2). One that has ended, or whose server does not offer
/// to block, answers at once whatever is asked.
pub fn reload(media: &Media, directives: &Directives) -> Reload {
    let Some(sequence) = directives.sequence else { return Reload::Now };
    if !media.is_live() || !media.server_control.can_block_reload {
        return Reload::Now;
    }
    let position = media.position();
    let (sequence, part) = match directives.part {
        Some(part) if is_past_the_end(media, sequence, part) => (sequence.saturating_add(1), Some(0)),
        part => (sequence, part),
    };
    if position.contains(sequence, part) {
        return Reload::Now;
    }
    // The last segment is the one before the next.
    if sequence >= position.next_sequence.saturating_add(MAX_AHEAD) {
        return Reload::TooFar;
    }
    let limit = advance_limit(media.part_target.unwrap_or_default());
    let listed = if sequence == position.next_sequence { position.next_part } else { 0 };
    // Counted from the last listed part, which is one before the next.
    if part.is_some_and(|part| part >= listed.saturating_add(limit)) {
        return Reload::TooFar;
    }
    Reload::Later
}

/// True for a part index that a complete segment does not have: it means the first part of the next segment. Segments
/// so old that their parts are not listed any more have all parts that anybody asks for.
fn is_past_the_end(media: &Media, sequence: u64, part: u64) -> bool {
    let segment = media.segments.iter().rev().find(|segment| segment.media_sequence == sequence);
    segment.is_some_and(|segment| !segment.parts.is_empty() && part >= segment.parts.len() as u64)
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

    /// Segments 10 (four parts) and 11 (three parts) are complete, of 12 two parts are listed.
    fn live(control: &str, end: &str) -> Media {
        let part = |n: u32| format!("#EXT-X-PART:DURATION=0.5,URI=\"p{n}\"\n");
        let parts = |range: std::ops::Range<u32>| range.map(part).collect::<String>();
        media(&format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n{control}#EXT-X-PART-INF:PART-TARGET=0.5\n#EXT-X-MEDIA-SEQUENCE:9\n\
             #EXTINF:2,\ns9\n{}#EXTINF:2,\ns10\n{}#EXTINF:1.5,\ns11\n{}{end}",
            parts(0..4),
            parts(4..7),
            parts(7..9),
        ))
    }

    fn asked(query: &str) -> Directives {
        Directives::of(query).unwrap().unwrap()
    }

    #[test]
    fn directives_are_read_and_written() {
        assert_eq!(Directives::of("a=1&_HLS_push=1"), Ok(None));
        assert_eq!(Directives::of("_HLS_skip=later"), Ok(None));
        let all = "_HLS_msn=7&_HLS_part=0&_HLS_skip=v2";
        assert_eq!(asked(all).query(), all);
        assert_eq!(asked("_HLS_skip=YES&x&_HLS_msn=7&_HLS_msn=8").query(), "_HLS_msn=7&_HLS_skip=YES");
        assert_eq!(Directives::of("_HLS_part=1"), Err(DirectiveError::PartWithoutSequence));
        for bad in
            ["_HLS_msn=", "_HLS_msn", "_HLS_msn=-1", "_HLS_msn=+1", "_HLS_msn=1.5", "_HLS_msn=99999999999999999999"]
        {
            assert_eq!(Directives::of(bad), Err(DirectiveError::NotANumber("_HLS_msn")), "{bad}");
        }
        assert_eq!(Directives::of("_HLS_msn=1&_HLS_part=x"), Err(DirectiveError::NotANumber("_HLS_part")));
    }

    #[test]
    fn what_is_listed_is_answered_and_what_follows_is_waited_for() {
        let media = live("#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5\n", "");
        let answer = |query: &str| reload(&media, &asked(query));
        for (query, expected) in [
            ("_HLS_skip=YES", Reload::Now),
            ("_HLS_msn=3", Reload::Now),
            ("_HLS_msn=11", Reload::Now),
            ("_HLS_msn=12", Reload::Later),
            ("_HLS_msn=13", Reload::Later),
            ("_HLS_msn=14", Reload::TooFar),
            ("_HLS_msn=18446744073709551615&_HLS_part=9", Reload::TooFar),
            ("_HLS_msn=12&_HLS_part=0", Reload::Now),
            ("_HLS_msn=12&_HLS_part=1", Reload::Now),
            ("_HLS_msn=12&_HLS_part=2", Reload::Later),
            ("_HLS_msn=12&_HLS_part=7", Reload::Later),
            ("_HLS_msn=12&_HLS_part=8", Reload::TooFar),
            ("_HLS_msn=13&_HLS_part=0", Reload::Later),
            // Segment 10 has four parts and 11 has three: what comes after them is the next one's first.
            ("_HLS_msn=10&_HLS_part=4", Reload::Now),
            ("_HLS_msn=11&_HLS_part=2", Reload::Now),
            ("_HLS_msn=11&_HLS_part=3", Reload::Now),
            // Of segment 9 no parts are listed any more.
            ("_HLS_msn=9&_HLS_part=40", Reload::Now),
        ] {
            assert_eq!(answer(query), expected, "{query}");
        }
    }

    #[test]
    fn a_part_past_the_end_of_the_last_segment_is_the_first_of_the_next() {
        let control = "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n";
        let part = "#EXT-X-PART:DURATION=0.5,URI=\"p\"\n";
        let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{control}{part}{part}#EXTINF:1,\ns0\n");
        assert_eq!(reload(&media(&text), &asked("_HLS_msn=0&_HLS_part=2")), Reload::Later);
        let more = format!("{text}{part}");
        assert_eq!(reload(&media(&more), &asked("_HLS_msn=0&_HLS_part=2")), Reload::Now);
    }

    #[test]
    fn nothing_is_waited_for_where_nothing_comes_or_blocking_is_not_offered() {
        let control = "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n";
        let far = asked("_HLS_msn=900&_HLS_part=900");
        assert_eq!(reload(&live(control, "#EXT-X-ENDLIST\n"), &far), Reload::Now);
        assert_eq!(reload(&live("", ""), &far), Reload::Now);
    }

    #[test]
    fn three_seconds_of_parts_may_be_waited_for() {
        for (ms, limit) in [(2_000, 3), (1_000, 3), (999, 4), (500, 6), (334, 9), (0, 3)] {
            assert_eq!(advance_limit(Duration::from_millis(ms)), limit, "{ms}");
        }
    }
}
