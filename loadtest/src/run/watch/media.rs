//! Media on its way into the buffer: initialisation sections, segments, parts.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use weir_hls::{ByteRange, MapRef, Part, Segment};

use super::inspect::Received;
use super::load::{Asked, Got};
use super::playlist::unix_millis;
use super::pool::authority;
use super::track::Track;
use super::viewer::{GaveUp, Kind, Viewer};
use crate::run::player::cmcd::Object;

/// Longest initialisation section and segment, in bytes.
const MAX_INIT: u64 = 1 << 20;
const MAX_SEGMENT: u64 = 64 << 20;

/// A segment or part that is to be loaded.
#[derive(Debug)]
pub(super) struct Item {
    uri: String,
    range: Option<ByteRange>,
    duration: Duration,
    map: Option<Arc<MapRef>>,
    discontinuity: bool,
    gap: bool,
    is_part: bool,
    encrypted: bool,
    /// The object after it, as the playlist writes it.
    next: Option<String>,
}

impl Item {
    pub(super) fn segment(segment: &Segment, track: &Track) -> Self {
        let (position, media) = (track.position, track.media());
        let next = crate::viewer::live::segment(media, position.sequence + 1);
        Self {
            uri: segment.uri.clone(),
            range: segment.byte_range,
            duration: segment.duration,
            map: segment.map.clone(),
            discontinuity: segment.discontinuity && position.part == 0,
            gap: segment.gap,
            is_part: false,
            encrypted: !media.keys.is_empty(),
            next: next.map(|one| one.uri.clone()),
        }
    }

    pub(super) fn part(part: &Part, track: &Track) -> Self {
        let (position, media) = (track.position, track.media());
        // The segment that is being made has the map of the last one that is listed.
        let segment = crate::viewer::live::segment(media, position.sequence).or(media.segments.last());
        let listed = crate::viewer::live::segment(media, position.sequence);
        Self {
            uri: part.uri.clone(),
            range: part.byte_range,
            duration: part.duration,
            map: segment.and_then(|one| one.map.clone()),
            discontinuity: listed.is_some_and(|one| one.discontinuity) && position.part == 0,
            gap: part.gap,
            is_part: true,
            encrypted: !media.keys.is_empty(),
            next: media.preload_hints.first().map(|hint| hint.uri.clone()),
        }
    }
}

impl Viewer {
    /// Loads an item and puts it into the buffer. After a failure the position stays, and is tried again or skipped.
    pub(super) async fn play(&mut self, kind: Kind, track: &mut Track, item: Item) -> Result<(), GaveUp> {
        let begun = self.stage.now();
        let due = if kind == Kind::Main { self.due.take() } else { None }.map_or(begun, |due| due.min(begun));
        if item.discontinuity {
            track.inspector.reset();
        }
        if item.gap {
            self.skipped(track, 1);
            self.buffered(kind, track, &item);
            return Ok(());
        }
        if item.map != track.map
            && let Some(map) = item.map.clone()
            && !self.init(track, &map).await?
        {
            return Ok(());
        }
        track.map.clone_from(&item.map);
        let Ok(url) = track.url.join(&item.uri) else {
            return Err(GaveUp(format!("{} lists {}, which cannot be fetched", track.url, item.uri)));
        };
        let keep = self.seat.inspected;
        let asked = Asked {
            url: &url,
            range: item.range,
            max: MAX_SEGMENT,
            keep,
            // A part that is hinted at may be held back until it is there.
            patience: if item.is_part { track.media().target_duration } else { Duration::ZERO },
            object: match kind {
                Kind::Audio => Object::Audio,
                Kind::Main if track.is_video => Object::Video,
                Kind::Main => Object::Muxed,
            },
            duration: Some(item.duration),
            next: item.next.as_deref(),
        };
        let Got { exchange, host, body, version } = match self.request(asked).await {
            Ok(got) => got,
            Err(trouble) => return self.missed(kind, track, &item, &authority(&url), &trouble.detail).await,
        };
        self.attempts = 0;
        let now = self.stage.now();
        self.abr.add(exchange.body_bytes, exchange.total);
        let waited = begun.saturating_sub(due);
        let total = now.saturating_sub(due);
        self.stage.write(&self.seat, |tally| {
            tally.segments += 1;
            tally.host(&host).segments += 1;
            *tally.versions.entry(version.to_owned()).or_default() += 1;
            // Connecting is part of what a viewer waits for.
            let connecting = total.saturating_sub(waited).saturating_sub(exchange.total);
            tally.first_byte.record(waited + connecting + exchange.first_byte);
            tally.segment.record(total);
            tally.corrected.record_due(total, item.duration.max(Duration::from_millis(50)));
            let bits = exchange.body_bytes as f64 * 8.0;
            let seconds = item.duration.as_secs_f64();
            // Audio adds to the bits of the same seconds.
            let seconds = if kind == Kind::Main { seconds } else { 0.0 };
            tally.media_bits += bits;
            tally.media_seconds += seconds;
            let second = tally.second(now);
            second.media_bits += bits;
            second.media_seconds += seconds;
            second.segments += 1;
            second.segment_seconds += total.as_secs_f64();
            second.slowest = second.slowest.max(total.as_secs_f64());
        });
        if keep {
            if let Some(asked) = item.range
                && body.len() as u64 != asked.length
            {
                self.suspect("range", &format!("{url}: {} bytes of {}", body.len(), asked.length));
            }
            let whole = exchange.status == StatusCode::OK && item.range.is_none();
            if whole {
                self.verify(Received { url: &url, status: exchange.status, headers: &exchange.headers, body: &body });
            }
            if !item.encrypted {
                self.stage.write(&self.seat, |tally| {
                    track.inspector.segment(&body, item.map.is_some(), &mut tally.integrity);
                });
            }
        }
        self.buffered(kind, track, &item);
        Ok(())
    }

    /// Loads an initialisation section; says whether it came.
    async fn init(&mut self, track: &mut Track, map: &MapRef) -> Result<bool, GaveUp> {
        let Ok(url) = track.url.join(&map.uri) else {
            return Err(GaveUp(format!("{} has the map {}, which cannot be fetched", track.url, map.uri)));
        };
        let keep = self.seat.inspected;
        let asked = Asked { range: map.byte_range, keep, object: Object::Init, ..Asked::text(&url, MAX_INIT) };
        match self.request(asked).await {
            Ok(Got { exchange, body, .. }) => {
                if map.byte_range.is_none() && keep {
                    self.verify(Received {
                        url: &url,
                        status: exchange.status,
                        headers: &exchange.headers,
                        body: &body,
                    });
                }
                if keep {
                    self.stage.write(&self.seat, |tally| track.inspector.init(&body, &mut tally.integrity));
                }
                Ok(true)
            }
            Err(trouble) if self.is_tired() => Err(GaveUp(trouble.detail)),
            Err(_) => {
                self.moved |= self.stumble(&authority(&url)).await;
                Ok(false)
            }
        }
    }

    /// A segment or part did not come: it is asked for elsewhere or again; in the end a channel goes on without it, and a film
    /// cannot.
    async fn missed(
        &mut self,
        kind: Kind,
        track: &mut Track,
        item: &Item,
        host: &str,
        detail: &str,
    ) -> Result<(), GaveUp> {
        if !self.is_tired() {
            self.moved |= self.stumble(host).await;
            return Ok(());
        }
        if !self.live {
            return Err(GaveUp(detail.to_owned()));
        }
        self.attempts = 0;
        self.skipped(track, 1);
        // Players jump over what is missing: it is no longer waited for, and not played.
        self.loaded[kind as usize] += item.duration;
        self.credited += item.duration;
        self.advance(track, item);
        Ok(())
    }

    /// Puts an item into the buffer.
    fn buffered(&mut self, kind: Kind, track: &mut Track, item: &Item) {
        let now = self.stage.now();
        // Of a segment whose first parts were loaded, only the rest is new.
        let media = if item.is_part { item.duration } else { item.duration.saturating_sub(track.of_segment) };
        self.loaded[kind as usize] += media;
        if kind == Kind::Main && !track.is_video {
            self.loaded[1] = self.loaded[0];
        }
        // What all renditions have can be played.
        let both = self.loaded[0].min(self.loaded[1]);
        let media = both.saturating_sub(self.credited);
        self.credited = self.credited.max(both);
        let had_started = self.playback.started().is_some();
        let was_stalled = self.playback.is_stalled();
        let stood = self.playback.loaded(now, media);
        self.show();
        self.starved |= stood.is_some() || self.playback.is_stalled() || was_stalled;
        self.advance(track, item);
        let latency = (self.live && kind == Kind::Main).then(|| self.latency(track, now)).flatten();
        self.stage.write(&self.seat, |tally| {
            if let Some(stood) = stood {
                tally.stood(now.saturating_sub(stood), now);
            }
            if let Some(started) = self.playback.started().filter(|_| !had_started) {
                tally.start_up.record(started.saturating_sub(self.came));
            }
            if let Some((latency, dated)) = latency {
                tally.latency.record(latency);
                tally.dated += u64::from(dated);
            }
        });
    }

    fn advance(&self, track: &mut Track, item: &Item) {
        if item.is_part {
            track.position = track.position.after_part();
            track.of_segment += item.duration;
        } else {
            track.position = track.position.after_segment();
            track.of_segment = Duration::ZERO;
        }
    }

    /// How far the play-head is behind the moment the media was made, and whether the playlist has dates to tell.
    fn latency(&self, track: &Track, now: Duration) -> Option<(Duration, bool)> {
        self.playback.started()?;
        let level = self.playback.level();
        match track.made() {
            Some(made) => {
                let age = unix_millis() as f64 / 1e3 - made;
                Some((Duration::try_from_secs_f64(age.max(0.0)).ok()? + level, true))
            }
            None => Some((track.behind_edge() + level + now.saturating_sub(track.loaded_at), false)),
        }
    }
}
