//! The segments of a viewing: fetched, checked, loaded into the buffer, or left out.

use std::time::Duration;

use weir_hls::{ByteRange, MapRef};

use super::{Failed, Session, Track};
use crate::viewer::check::Finding;
use crate::viewer::config::Choice;
use crate::viewer::event::{Event, SegmentEvent};
use crate::viewer::fetch::{Got, Wanted};
use crate::viewer::live;
use crate::viewer::playback::Playback;

/// Longest initialisation section, in bytes.
const MAX_INIT: u64 = 1 << 20;
/// Longest media segment, in bytes.
const MAX_SEGMENT: u64 = 64 << 20;

impl Session {
    /// Fetches, checks and plays the next segment, which the playlist lists.
    pub(super) async fn segment(&mut self, track: &mut Track) -> Result<(), Failed> {
        if self.choice == Choice::Adaptive {
            self.adapt(track).await?;
        }
        let Some(segment) = live::segment(&track.media, track.next).cloned() else {
            return Ok(());
        };
        track.next += 1;
        if segment.discontinuity {
            self.checker.reset();
        }
        if segment.gap {
            self.skip();
            self.load(segment.duration);
            return Ok(());
        }
        if segment.map != track.map
            && let Some(map) = &segment.map
        {
            match self.init(track, map).await {
                Ok(()) => {}
                Err(error) => return self.lost(track, error),
            }
        }
        track.map.clone_from(&segment.map);
        let place = self.at(track, &segment.uri)?;
        let wanted = Wanted { place: &place, range: segment.byte_range, max: MAX_SEGMENT };
        let Got { fetched, body, took } = match self.fetcher.get(wanted, &mut self.log).await {
            Ok(got) => got,
            Err(error) => return self.lost(track, error.into()),
        };
        self.throughput.add(fetched.bytes, took);
        let mut findings = Vec::from_iter(length_finding(&body, segment.byte_range));
        // Of encrypted segments only the length can be told.
        if track.media.keys.is_empty() {
            findings.extend(self.checker.segment(&body, segment.map.is_some()));
        }
        self.report(&fetched, findings);
        self.load(segment.duration);
        let level = self.playback.as_ref().map_or(Duration::ZERO, Playback::level);
        self.log.tell(Event::Segment(SegmentEvent {
            fetched,
            media_sequence: segment.media_sequence,
            duration_seconds: segment.duration.as_secs_f64(),
            bandwidth: self.ladder.get(self.rung).map(|variant| variant.bandwidth),
            buffer_seconds: level.as_secs_f64(),
        }));
        Ok(())
    }

    async fn init(&mut self, track: &Track, map: &MapRef) -> Result<(), Failed> {
        let place = self.at(track, &map.uri)?;
        let wanted = Wanted { place: &place, range: map.byte_range, max: MAX_INIT };
        let Got { fetched, body, .. } = self.fetcher.get(wanted, &mut self.log).await?;
        let findings = length_finding(&body, map.byte_range).into_iter().chain(self.checker.init(&body));
        let findings: Vec<_> = findings.collect();
        self.report(&fetched, findings);
        self.log.tell(Event::Init { fetched });
        Ok(())
    }

    /// A resource was given up: a channel goes on without it, a film cannot.
    fn lost(&mut self, track: &Track, error: Failed) -> Result<(), Failed> {
        if !track.media.is_live() {
            return Err(error);
        }
        self.skip();
        Ok(())
    }

    pub(super) fn skip(&mut self) {
        self.log.tell(Event::Skipped { count: 1 });
        self.checker.reset();
    }
}

fn length_finding(body: &[u8], range: Option<ByteRange>) -> Option<Finding> {
    let asked = range?.length;
    let got = body.len() as u64;
    (got != asked).then(|| Finding::new("range", format!("{got} bytes of {asked}")))
}
