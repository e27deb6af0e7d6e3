//! A strict client of Low-Latency HLS: it plays by draft-pantos-hls-rfc8216bis and holds the server to each rule that the
//! draft lays on servers. Invariant: a violation is named with its section, and nothing is forgiven.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};
use url::Url;
use weir_hls::{Bounds, Media, Part, Playlist, Position, Segment, read};

use super::harness::fetch::{Fetch, Reply};

/// Between a part's first and last byte on a loopback line, on a busy machine too: far less than a part lasts.
const LINE_SPEED: Duration = Duration::from_millis(200);
/// An answer that need not be held.
const AT_ONCE: Duration = Duration::from_millis(400);
/// How late a held answer may be, on a busy machine too.
const LATE: Duration = Duration::from_millis(1_000);
/// Boxes that a part is made of, the first and the last.
const BOXES: [&[u8]; 2] = [b"moof", b"mdat"];

/// Where a low-latency rendition is played from.
pub(crate) struct Strict {
    pub(crate) name: String,
    pub(crate) playlist: Url,
    /// A cache: it says how old its answers are.
    pub(crate) cache: bool,
    /// The URI of each media sequence number and part that was seen.
    uris: HashMap<(u64, Option<usize>), String>,
    last: Option<Position>,
}

/// An answer and how long it took.
struct Timed {
    reply: Reply,
    took: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Bytes of the part.
    pub(crate) bytes: usize,
    /// The last byte's instant.
    pub(crate) at: SystemTime,
    pub(crate) sequence: u64,
    pub(crate) part: u64,
}

impl Strict {
    pub(crate) fn new(name: &str, playlist: Url, cache: bool) -> Self {
        Self { name: name.to_owned(), playlist, cache, uris: HashMap::new(), last: None }
    }

    fn url(&self, query: &str) -> Url {
        let mut url = self.playlist.clone();
        url.set_query((!query.is_empty()).then_some(query));
        url
    }

    async fn ask(&self, url: &Url) -> Timed {
        let began = Instant::now();
        let reply = Fetch::new(url).send().await;
        Timed { reply, took: began.elapsed() }
    }

    fn fail(&self, section: &str, what: impl std::fmt::Display) -> ! {
        panic!("{}: section {section}: {what}", self.name)
    }

    fn hold(&self, right: bool, section: &str, what: impl FnOnce() -> String) {
        if !right {
            self.fail(section, what());
        }
    }

    fn media(&self, reply: &Reply, what: &str) -> Media {
        self.hold(reply.status == 200, "6.2.1", || format!("{what}: {} {}", reply.status, reply.text()));
        let kind = reply.header("content-type");
        self.hold(kind.starts_with("application/vnd.apple.mpegurl"), "4", || format!("{what}: content type {kind}"));
        if self.cache {
            self.hold(reply.header("age").parse::<u64>().is_ok(), "B.1", || format!("{what}: no Age"));
        }
        match read(&reply.body, &Bounds::default()) {
            Ok(Playlist::Media(media)) => media,
            other => self.fail("4.1", format!("{what}: {other:?}\n{}", reply.text())),
        }
    }

    /// The newest playlist, and everything that must hold of it by itself and beside those before.
    pub(crate) async fn look(&mut self) -> Media {
        let Timed { reply, took } = self.ask(&self.url("")).await;
        self.hold(took < AT_ONCE + LATE, "6.2.1", || format!("a plain playlist took {took:?}"));
        let media = self.media(&reply, "the plain playlist");
        self.check(&media);
        media
    }

    fn check(&mut self, media: &Media) {
        let target = media.target_duration;
        let control = media.server_control;
        self.hold(control.can_block_reload, "B.1", || "CAN-BLOCK-RELOAD is missing".into());
        let Some(part_target) = media.part_target else { self.fail("4.4.3.7", "PART-INF is missing") };
        self.hold(control.part_hold_back.is_some_and(|back| back >= part_target * 2), "4.4.3.8", || {
            format!("PART-HOLD-BACK {:?}", control.part_hold_back)
        });
        self.hold(control.hold_back.is_none_or(|back| back >= target * 3), "4.4.3.8", || {
            format!("HOLD-BACK {:?}", control.hold_back)
        });
        self.hold(control.can_skip_until.is_some_and(|until| until >= target * 6), "4.4.3.8", || {
            format!("CAN-SKIP-UNTIL {:?}", control.can_skip_until)
        });
        let position = media.position();
        if let Some(last) = self.last {
            self.hold(position >= last, "6.2.2", || format!("the playlist went from {last} to {position}"));
        }
        self.last = Some(position);
        for segment in &media.segments {
            let rounded = segment.duration.as_secs_f64().round();
            self.hold(rounded <= target.as_secs_f64(), "4.4.3.1", || format!("segment of {:?}", segment.duration));
            self.known((segment.media_sequence, None), &segment.uri);
            self.parts(segment.media_sequence, &segment.parts, part_target, Some(segment));
        }
        self.parts(position.next_sequence, &media.trailing_parts, part_target, None);
        let recent = media.segments.iter().rev().take(3).all(|segment| !segment.parts.is_empty());
        self.hold(recent, "4.4.4.9", || {
            let parts: Vec<_> = media.segments.iter().map(|one| (one.media_sequence, one.parts.len())).collect();
            format!("parts within three target durations of the end are missing: {parts:?}, then {position}")
        });
        self.hold(!media.preload_hints.is_empty(), "B.1", || "no preload hint".into());
        for reported in &media.rendition_reports {
            let relative = !reported.uri.contains("://") && !reported.uri.starts_with('/');
            self.hold(relative, "4.4.5.4", || format!("rendition report of {}", reported.uri));
        }
    }

    fn parts(&mut self, sequence: u64, parts: &[Part], part_target: Duration, whole: Option<&Segment>) {
        for (index, part) in parts.iter().enumerate() {
            self.hold(part.duration <= part_target, "4.4.4.9", || format!("part of {:?}", part.duration));
            let last = whole.is_some() && index + 1 == parts.len();
            self.hold(last || part.duration >= part_target.mul_f64(0.85), "4.4.3.7", || {
                format!("part {index} of segment {sequence} lasts {:?}", part.duration)
            });
            self.known((sequence, Some(index)), &part.uri);
        }
    }

    /// Section 6.3.4: the URI of a known media sequence number does not change.
    fn known(&mut self, place: (u64, Option<usize>), uri: &str) {
        let before = self.uris.entry(place).or_insert_with(|| uri.to_owned()).clone();
        self.hold(before == uri, "6.3.4", || format!("{place:?} was {before} and is {uri}"));
    }

    /// Waits for the next part of the playlist, as a player at the live edge does.
    pub(crate) async fn next(&mut self, from: &Media) -> Media {
        let position = from.position();
        let query = format!("_HLS_msn={}&_HLS_part={}", position.next_sequence, position.next_part);
        let Timed { reply, took } = self.ask(&self.url(&query)).await;
        let media = self.media(&reply, &query);
        self.hold(media.position().contains(position.next_sequence, Some(position.next_part)), "6.2.5.2", || {
            format!("asked for {query}, got a playlist up to {}", media.position())
        });
        let part = from.part_target.unwrap_or_default();
        self.hold(took < part + LATE, "6.2.5.2", || format!("{query} was held for {took:?}"));
        let target = from.target_duration.as_secs();
        let control = reply.header("cache-control");
        let said = control.split("max-age=").nth(1).and_then(|text| text.split(',').next()?.trim().parse::<u64>().ok());
        self.hold(said.is_some_and(|age| age <= 6 * target), "B.1", || format!("Cache-Control: {control}"));
        self.check(&media);
        media
    }

    /// Bad requests are refused, at once.
    pub(crate) async fn bad_requests(&self, media: &Media) {
        let Position { next_sequence, next_part, .. } = media.position();
        let limit = 1 + (3.0 / media.part_target.unwrap_or_default().as_secs_f64()).ceil() as u64;
        for query in [
            "_HLS_part=0".to_owned(),
            "_HLS_msn=soon".to_owned(),
            "_HLS_msn=-1".to_owned(),
            format!("_HLS_msn={next_sequence}&_HLS_part=x"),
            // Two segments more than may be waited for, since the playlist goes on meanwhile.
            format!("_HLS_msn={}", next_sequence + 4),
            format!("_HLS_msn={}&_HLS_part={}", next_sequence + 1, next_part + limit + 8),
        ] {
            let Timed { reply, took } = self.ask(&self.url(&query)).await;
            self.hold(reply.status == 400, "6.2.5.2", || format!("{query}: {} {}", reply.status, reply.text()));
            self.hold(took < AT_ONCE + LATE, "6.2.5.2", || format!("{query} took {took:?}"));
        }
    }

    /// What is listed already is answered at once, and directives in any order are the same.
    pub(crate) async fn at_once(&self, media: &Media) {
        let Position { next_sequence, .. } = media.position();
        for query in [
            format!("_HLS_msn={}", next_sequence - 1),
            format!("_HLS_part=0&_HLS_msn={}", next_sequence - 1),
            format!("_HLS_msn={}", next_sequence.saturating_sub(5)),
        ] {
            let Timed { reply, took } = self.ask(&self.url(&query)).await;
            self.media(&reply, &query);
            self.hold(took < AT_ONCE, "6.2.5.2", || format!("{query} was held for {took:?}"));
        }
    }

    /// A part index past the last part means the first part of the next segment; a sequence number alone means the
    /// whole segment.
    pub(crate) async fn past_the_end(&mut self, media: &Media) {
        let Position { next_sequence, .. } = media.position();
        let query = format!("_HLS_msn={}&_HLS_part=4", next_sequence);
        let Timed { reply, .. } = self.ask(&self.url(&query)).await;
        let found = self.media(&reply, &query);
        self.hold(found.position().contains(next_sequence + 1, Some(0)), "6.2.5.2", || {
            format!("{query}: a playlist up to {}", found.position())
        });
        let next = found.position().next_sequence;
        let query = format!("_HLS_msn={next}");
        let Timed { reply, .. } = self.ask(&self.url(&query)).await;
        let found = self.media(&reply, &query);
        self.hold(found.position().next_sequence > next, "6.2.5.2", || {
            format!("{query}: a playlist up to {}", found.position())
        });
        self.check(&found);
    }

    /// A delta update stands for the full playlist.
    pub(crate) async fn delta(&mut self, media: &Media) {
        let Position { next_sequence, next_part, .. } = media.position();
        for query in [
            "_HLS_skip=YES".to_owned(),
            format!("_HLS_msn={next_sequence}&_HLS_part={next_part}&_HLS_skip=YES"),
            "_HLS_skip=v2".to_owned(),
            "_HLS_skip=LATER".to_owned(),
        ] {
            let Timed { reply, .. } = self.ask(&self.url(&query)).await;
            let found = self.media(&reply, &query);
            if query.ends_with("YES") {
                self.hold(found.skipped_segments > 0, "6.2.5.1", || format!("{query}: nothing was skipped"));
                let version = reply.text().lines().find_map(|line| line.strip_prefix("#EXT-X-VERSION:")?.parse().ok());
                self.hold(version.is_some_and(|version: u64| version >= 9), "8", || format!("version {version:?}"));
            }
            self.hold(found.position() >= media.position(), "6.2.5.1", || format!("{query}: {}", found.position()));
            let until = media.server_control.can_skip_until.unwrap_or_default();
            let duration = found.duration();
            self.hold(duration >= until, "6.2.5.1", || format!("{query}: only {duration:?} are left"));
            for segment in &found.segments {
                self.known((segment.media_sequence, None), &segment.uri);
                if let Some(listed) = media.segments.iter().find(|one| one.media_sequence == segment.media_sequence) {
                    let same = listed.duration == segment.duration && listed.map == segment.map;
                    self.hold(same, "6.2.5.1", || format!("{query}: {segment:?} instead of {listed:?}"));
                }
            }
        }
    }

    /// A part that is listed comes whole, at the speed of the line.
    pub(crate) async fn part(&self, uri: &str) -> Reply {
        let url = self.playlist.join(uri).unwrap();
        let began = Instant::now();
        let (mut first, mut body) = (None, Vec::new());
        let reply = Fetch::new(&url).stream(|chunk| {
            first.get_or_insert_with(Instant::now);
            body.extend_from_slice(&chunk);
        });
        let mut reply = reply.await.unwrap_or_else(|error| self.fail("6.2.6", format!("{uri}: {error}")));
        let took = began.elapsed();
        self.hold(reply.status == 200, "6.2.2", || format!("{uri}: {} after {took:?}", reply.status));
        let spread = first.map_or(Duration::ZERO, |first| first.elapsed());
        self.hold(spread < LINE_SPEED, "6.2.6", || format!("{uri} was trickled over {spread:?}"));
        let length = reply.header("content-length");
        self.hold(length == body.len().to_string(), "6.2.6", || format!("{uri}: {length} announced, {}", body.len()));
        for kind in BOXES {
            let there = body.windows(4).any(|window| window == kind);
            self.hold(there, "3.3", || format!("{uri} is no fragment: no {}", String::from_utf8_lossy(kind)));
        }
        reply.body = body.into();
        reply
    }

    /// What is announced may be asked for before it is made, and is what the next playlist lists.
    pub(crate) async fn hinted(&mut self, media: &Media) -> Arrival {
        let position = media.position();
        let hint = media.preload_hints[0].uri.clone();
        let (mut sequence, mut part) = (position.next_sequence, position.next_part);
        let began = Instant::now();
        let reply = self.part(&hint).await;
        let (at, took) = (SystemTime::now(), began.elapsed());
        let held = media.part_target.unwrap_or_default() + LATE;
        self.hold(took < held, "6.2.6", || format!("{hint}, which was announced, took {took:?}"));
        let next = self.next(media).await;
        let of = |sequence| match next.segments.iter().find(|segment| segment.media_sequence == sequence) {
            Some(segment) => &segment.parts,
            None => &next.trailing_parts,
        };
        if next.position().next_sequence > sequence && part >= of(sequence).len() as u64 {
            // The segment had all its parts: what was announced is the first of the next one.
            (sequence, part) = (sequence + 1, 0);
        }
        let listed = of(sequence).get(usize::try_from(part).unwrap()).map(|part| part.uri.clone());
        self.hold(listed.as_ref() == Some(&hint), "4.4.5.3", || format!("{hint} was announced, {listed:?} is listed"));
        Arrival { bytes: reply.body.len(), at, sequence, part }
    }

    /// Parts stay for three target durations when they are not listed any more.
    pub(crate) async fn kept(&mut self, uri: &str) {
        let mut media = self.look().await;
        let lists = |media: &Media| {
            media
                .segments
                .iter()
                .flat_map(|segment| &segment.parts)
                .chain(&media.trailing_parts)
                .any(|one| one.uri == uri)
        };
        while lists(&media) {
            media = self.next(&media).await;
        }
        let gone = Instant::now();
        while gone.elapsed() + media.part_target.unwrap_or_default() * 2 < media.target_duration * 3 {
            media = self.next(&media).await;
        }
        self.part(uri).await;
    }

    /// What is reported of the other renditions is so.
    pub(crate) async fn reports(&self, media: &Media, others: usize) {
        let reports = &media.rendition_reports;
        self.hold(reports.len() == others, "B.1", || format!("{} rendition reports", reports.len()));
        for report in reports {
            let other = Self::new(&self.name, self.playlist.join(&report.uri).unwrap(), self.cache);
            let Timed { reply, .. } = other.ask(&other.url("")).await;
            let found = other.media(&reply, &report.uri).position();
            let (Some(sequence), Some(last)) = (report.last_msn, found.last_sequence()) else {
                self.fail("4.4.5.4", format!("{report:?} beside {found}"));
            };
            self.hold(last.abs_diff(sequence) <= 1, "4.4.5.4", || format!("{report:?}, but it is at {found}"));
        }
    }
}
