//! One viewing: what is fetched next, and when.

mod playlists;
mod segments;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use url::Position;
use weir_hls::{MapRef, Media, Variant};

use super::check::{Checker, Finding};
use super::config::{Choice, Config};
use super::event::{Event, Fetched};
use super::fetch::{Fetcher, GaveUp};
use super::live;
use super::place::Place;
use super::playback::Playback;
use super::rendition::Throughput;
use super::summary::{Log, Outcome, Summary};
use crate::client;

/// How often it is looked whether the last request has come to its end.
const CLOSING: Duration = Duration::from_millis(20);

/// A viewer that has not begun.
#[derive(Debug)]
pub struct Viewer {
    duration: Option<Duration>,
    last_request: Option<Duration>,
    session: Session,
}

impl Viewer {
    /// Prepares a viewing. Events that find no room in `sink` are counted as lost and never waited for.
    ///
    /// # Errors
    /// [`client::Error::Trust`] when the trust roots cannot be read.
    pub fn new(config: Config, sink: mpsc::Sender<Event>) -> Result<Self, client::Error> {
        let session = Session {
            fetcher: Fetcher::new(&config, rand::make_rng())?,
            started: Instant::now(),
            log: Log::new(sink),
            playback: config.realtime.then(|| Playback::new(config.buffer_target)),
            checker: Checker::default(),
            throughput: Throughput::default(),
            ladder: Vec::new(),
            rung: 0,
            entry: Place::Shared(config.url[Position::BeforePath..Position::AfterQuery].to_owned()),
            choice: config.choice,
        };
        Ok(Self { duration: config.duration, last_request: config.last_request, session })
    }

    /// Watches until the end, the configured time or the cancellation.
    pub async fn run(self, cancel: CancellationToken) -> Summary {
        let Self { duration, last_request, mut session } = self;
        session.started = Instant::now();
        let over = async {
            match duration {
                Some(duration) => sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        let busy = session.fetcher.busy();
        let closing = async {
            let Some(last) = last_request else { return std::future::pending().await };
            sleep(last).await;
            while busy.load(Ordering::Relaxed) {
                sleep(CLOSING).await;
            }
        };
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => Outcome::Stopped,
            () = over => Outcome::DurationReached,
            () = closing => Outcome::DurationReached,
            ended = session.drive() => match ended {
                Ok(()) => Outcome::Completed,
                Err(Failed(reason)) => Outcome::Failed { reason },
            }
        };
        session.finish(outcome).await
    }
}

/// The viewing cannot go on.
#[derive(Debug)]
struct Failed(String);

impl From<GaveUp> for Failed {
    fn from(error: GaveUp) -> Self {
        Self(error.to_string())
    }
}

#[derive(Debug)]
struct Session {
    fetcher: Fetcher,
    started: Instant,
    log: Log,
    playback: Option<Playback>,
    checker: Checker,
    throughput: Throughput,
    /// Variants by rising bandwidth; empty when a media playlist is played directly.
    ladder: Vec<Variant>,
    rung: usize,
    entry: Place,
    choice: Choice,
}

/// The media playlist that is played.
#[derive(Debug)]
struct Track {
    place: Place,
    media: Media,
    /// Media sequence number of the segment to fetch next.
    next: u64,
    /// Initialisation section that the last segment had.
    map: Option<Arc<MapRef>>,
    /// When the playlist may be loaded again, since the viewing began.
    reload_at: Duration,
    /// Host and port the playlist came from.
    relay: String,
}

impl Session {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    async fn finish(mut self, outcome: Outcome) -> Summary {
        let now = self.now();
        if let Some((relay, bytes)) = self.fetcher.cut() {
            self.log.cut(&relay, bytes, false);
        }
        self.fetcher.close().await;
        let mut summary = self.log.into_summary();
        summary.outcome = outcome;
        summary.seconds = now.as_secs_f64();
        if let Some(playback) = &mut self.playback {
            playback.advance(now);
            let (stalls, stalled) = playback.stalls();
            summary.stalls = stalls;
            summary.stall_seconds = stalled.as_secs_f64();
            summary.played_seconds = playback.played().as_secs_f64();
            summary.startup_seconds = playback.started().map(|started| started.as_secs_f64());
        }
        summary
    }

    async fn drive(&mut self) -> Result<(), Failed> {
        let mut track = self.begin().await?;
        loop {
            let now = self.now();
            let is_live = track.media.is_live();
            if is_live && now >= track.reload_at {
                self.reload(&mut track).await?;
                continue;
            }
            if let Some(first) = track.media.segments.first().map(|first| first.media_sequence)
                && track.next < first
            {
                self.log.tell(Event::Skipped { count: first - track.next });
                self.checker.reset();
                track.next = first;
            }
            let mut wake = is_live.then_some(track.reload_at);
            if live::segment(&track.media, track.next).is_some() {
                let room = self.room(now);
                if room <= now {
                    self.segment(&mut track).await?;
                    continue;
                }
                wake = Some(wake.map_or(room, |at| at.min(room)));
            }
            match wake {
                Some(at) => sleep_until(self.started + at).await,
                None => break,
            }
        }
        let now = self.now();
        if let Some(playback) = &mut self.playback {
            playback.complete(now);
            sleep_until(self.started + playback.empty_at()).await;
        }
        Ok(())
    }

    /// When the buffer has room for another segment.
    fn room(&mut self, now: Duration) -> Duration {
        self.playback.as_mut().map_or(Duration::ZERO, |playback| {
            playback.advance(now);
            playback.room_at()
        })
    }

    fn at(&self, track: &Track, uri: &str) -> Result<Place, Failed> {
        let place = track.place.reference(uri, self.fetcher.hosts());
        place.ok_or_else(|| Failed(format!("the playlist lists {uri}, which cannot be fetched")))
    }

    fn load(&mut self, media: Duration) {
        let now = self.now();
        if let Some(stood) = self.playback.as_mut().and_then(|playback| playback.loaded(now, media)) {
            self.log.tell(Event::Stall { seconds: stood.as_secs_f64() });
        }
    }

    fn report(&mut self, fetched: &Fetched, findings: impl IntoIterator<Item = Finding>) {
        for Finding { class, detail } in findings {
            self.log.tell(Event::Integrity { url: fetched.url.clone(), class, detail });
        }
    }

    fn report_at(&mut self, track: &Track, Finding { class, detail }: Finding) {
        let url = self.fetcher.url(&track.place);
        self.log.tell(Event::Integrity { url, class, detail });
    }
}

impl Track {
    fn new(place: Place, media: Media, begun: Duration, relay: String) -> Self {
        let next = live::start(&media);
        let reload_at = begun + live::reload_after(media.target_duration, true);
        Self { place, media, next, map: None, reload_at, relay }
    }
}
