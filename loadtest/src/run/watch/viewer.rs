//! A virtual viewer: comes, plays, goes. Owns the order in which things are done; what a request or a playlist means is in the
//! files beside this one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::media::Item;
use super::stage::{Seat, Stage};
use super::steer::Steering;
use super::track::Track;
use crate::run::player::abr::Abr;
use crate::run::player::parsed::Parsed;
use crate::run::player::pathway::{Failed, Pathways};
use crate::run::player::position::Next;
use crate::viewer::playback::Playback;

/// A viewer that saw no picture for so long is counted as one who never did.
const UNSTARTED: Duration = Duration::from_secs(5);
/// Wait before a viewer who gave up tries again.
const RETURN: Duration = Duration::from_secs(5);
/// Doublings of the wait between attempts.
const MAX_DOUBLINGS: u32 = 3;

/// What a rendition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A variant: video, or everything.
    Main = 0,
    /// The audio that belongs to it, where it is apart.
    Audio = 1,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Something was done.
    Went,
    /// Another rung is to be opened.
    Reopen,
    /// There is nothing to do until then.
    Wait(Duration),
    /// Everything was loaded.
    Ended,
}

/// The viewing cannot go on.
#[derive(Debug)]
pub(super) struct GaveUp(pub(super) String);

/// A virtual viewer.
#[derive(Debug)]
pub(crate) struct Viewer {
    pub(super) stage: Arc<Stage>,
    pub(super) seat: Seat,
    pub(super) random: Xoshiro256PlusPlus,
    pub(super) session: String,
    /// When this viewer came.
    pub(super) came: Duration,
    pub(super) playback: Playback,
    pub(super) abr: Abr,
    pub(super) rung: Option<usize>,
    pub(super) pathways: Option<Pathways>,
    pub(super) steering: Option<Steering>,
    /// Media of the renditions that was loaded since play began or the pathways were entered, and what of it all have.
    pub(super) loaded: [Duration; 2],
    pub(super) credited: Duration,
    /// The pathway changed: everything is to be opened there.
    pub(super) moved: bool,
    /// Decryption keys that were fetched, as players do before they play.
    pub(super) keys: BTreeSet<String>,
    pub(super) live: bool,
    pub(super) bitrate: Option<u64>,
    pub(super) top_bitrate: Option<u64>,
    /// The buffer ran empty since the last request.
    pub(super) starved: bool,
    /// The playlist that the viewer was given, until the rendition that it is has been opened.
    pub(super) given: Option<(url::Url, Arc<Parsed>)>,
    /// When the next media was due, where the player had to wait for room.
    pub(super) due: Option<Duration>,
    /// Failed requests for the next media.
    pub(super) attempts: u32,
}

impl Viewer {
    pub(crate) fn new(stage: Arc<Stage>, seat: Seat) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seat.seed);
        let session = format!("{:016x}", random.random::<u64>());
        let (playback, abr) = fresh(&stage);
        Self {
            came: stage.now(),
            stage,
            seat,
            random,
            session,
            playback,
            abr,
            rung: None,
            pathways: None,
            steering: None,
            loaded: [Duration::ZERO; 2],
            credited: Duration::ZERO,
            moved: false,
            keys: BTreeSet::new(),
            live: false,
            bitrate: None,
            top_bitrate: None,
            starved: false,
            given: None,
            due: None,
            attempts: 0,
        }
    }

    /// Watches until it is told to stop.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let arrival = sleep_until(self.stage.started + self.seat.comes);
        if cancel.run_until_cancelled(arrival).await.is_none() {
            return;
        }
        loop {
            self.come();
            let stay = match self.stage.player.mean_stay_seconds {
                Some(mean) => Duration::from_secs_f64(-mean * (1.0 - self.random.random::<f64>()).ln()),
                None => Duration::MAX,
            };
            let leaves = async {
                if stay == Duration::MAX {
                    std::future::pending().await
                } else {
                    tokio::time::sleep(stay).await;
                }
            };
            let ended = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                () = leaves => Some(Ok(())),
                ended = self.watch() => Some(ended),
            };
            let gave_up = matches!(&ended, Some(Err(_)));
            self.go(gave_up);
            match ended {
                None => return,
                Some(Ok(())) if self.stage.player.mean_stay_seconds.is_none() => return,
                Some(Ok(())) => {}
                Some(Err(GaveUp(reason))) => {
                    tracing::debug!(reason, "a viewer gave up");
                    if cancel.run_until_cancelled(tokio::time::sleep(RETURN)).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    fn come(&mut self) {
        self.stage.present.fetch_add(1, Ordering::Relaxed);
        self.came = self.stage.now();
        (self.playback, self.abr) = fresh(&self.stage);
        (self.rung, self.pathways, self.steering) = (None, None, None);
        (self.loaded, self.credited, self.moved) = ([Duration::ZERO; 2], Duration::ZERO, false);
        self.keys.clear();
        self.given = None;
        (self.starved, self.due, self.attempts) = (false, None, 0);
        self.session = format!("{:016x}", self.random.random::<u64>());
        self.show();
    }

    /// Tells what the viewer shows from now on.
    pub(super) fn show(&self) {
        let Some(screen) = self.stage.screens.get(self.seat.number as usize) else { return };
        match self.playback.started() {
            None => screen.starting(),
            Some(_) if self.playback.is_stalled() => screen.empty(),
            Some(_) => screen.plays_until(self.playback.empty_at()),
        }
    }

    /// Leaves, and tells how it was.
    fn go(&mut self, gave_up: bool) {
        self.stage.present.fetch_sub(1, Ordering::Relaxed);
        if let Some(screen) = self.stage.screens.get(self.seat.number as usize) {
            screen.absent();
        }
        let now = self.stage.now();
        self.playback.advance(now);
        let (stalls, stalled) = self.playback.stalls();
        let stayed = now.saturating_sub(self.came);
        self.stage.write(&self.seat, |tally| {
            tally.viewers += 1;
            tally.gave_up += u64::from(gave_up);
            tally.unstarted += u64::from(self.playback.started().is_none() && (gave_up || stayed > UNSTARTED));
            tally.stalled_viewers += u64::from(stalls > 0);
            tally.stalls += stalls;
            tally.stalled += stalled.as_secs_f64();
            tally.played += self.playback.played().as_secs_f64();
            tally.watched += stayed.as_secs_f64();
            if let Some(since) = self.playback.stalled_since() {
                tally.stood(since, now);
            }
        });
    }

    async fn watch(&mut self) -> Result<(), GaveUp> {
        self.enter().await?;
        let mut main = self.open(Kind::Main, None).await?;
        let mut audio = self.audio(&main, None).await?;
        loop {
            let steered = self.steer().await;
            if std::mem::take(&mut self.moved) || steered {
                main = self.open(Kind::Main, Some(&main)).await?;
                audio = self.audio(&main, audio.as_ref()).await?;
                continue;
            }
            // Whoever is behind is served first.
            let audio_first = audio.is_some() && self.loaded[1] < self.loaded[0];
            let mut waits = Vec::with_capacity(2);
            for kind in if audio_first { [Kind::Audio, Kind::Main] } else { [Kind::Main, Kind::Audio] } {
                let track = match kind {
                    Kind::Main => Some(&mut main),
                    Kind::Audio => audio.as_mut(),
                };
                let Some(track) = track else { continue };
                match self.step(kind, track).await? {
                    Step::Went => {
                        waits.clear();
                        break;
                    }
                    Step::Reopen => {
                        main = self.open(Kind::Main, Some(&main)).await?;
                        if audio.as_ref().map(|track| &track.url) != self.audio_url().as_ref() {
                            audio = self.audio(&main, audio.as_ref()).await?;
                        }
                        waits.clear();
                        break;
                    }
                    Step::Wait(at) => waits.push(at),
                    Step::Ended => waits.push(Duration::MAX),
                }
            }
            match waits.iter().min() {
                None => {}
                Some(&Duration::MAX) => {
                    self.playback.complete(self.stage.now());
                    self.sleep_until(self.playback.empty_at()).await;
                    return Ok(());
                }
                Some(at) => self.sleep_until((*at).min(self.steering_due())).await,
            }
        }
    }

    /// Does the next thing that a rendition needs.
    async fn step(&mut self, kind: Kind, track: &mut Track) -> Result<Step, GaveUp> {
        let now = self.stage.now();
        if track.is_due(now) {
            self.reload(track).await?;
            return Ok(Step::Went);
        }
        let item = match track.position.next(track.media(), track.plays_parts(&self.stage.player)) {
            Next::Missed(count) => {
                track.position.sequence += count;
                track.position.part = 0;
                self.skipped(track, count);
                return Ok(Step::Went);
            }
            Next::Done => {
                track.position = track.position.after_segment();
                track.of_segment = Duration::ZERO;
                return Ok(Step::Went);
            }
            Next::End if self.stage.player.repeat => {
                track.begin_again();
                return Ok(Step::Went);
            }
            Next::End => return Ok(Step::Ended),
            Next::Wait if track.blocks(&self.stage.player) => {
                self.reload(track).await?;
                return Ok(Step::Went);
            }
            Next::Wait => return Ok(Step::Wait(track.reload_at)),
            Next::Segment(segment) => Item::segment(segment, track),
            Next::Part(part) => Item::part(part, track),
        };
        self.playback.advance(now);
        let ahead = self.loaded[kind as usize].saturating_sub(self.credited);
        let room = self.playback.room_at() + ahead;
        if room > now {
            if kind == Kind::Main {
                self.due = Some(room);
            }
            let reload = if self.live { track.reload_at } else { Duration::MAX };
            return Ok(Step::Wait(room.min(reload)));
        }
        if kind == Kind::Main && track.position.part == 0 && self.adapt(track) {
            return Ok(Step::Reopen);
        }
        self.play(kind, track, item).await?;
        Ok(Step::Went)
    }

    /// Sleeps, and notes how late it woke up.
    pub(super) async fn sleep_until(&self, at: Duration) {
        // A day is longer than any round.
        let at = at.min(self.stage.now() + Duration::from_secs(86_400));
        sleep_until(self.stage.started + at).await;
        let late = self.stage.now().saturating_sub(at);
        self.stage.write(&self.seat, |tally| tally.lateness.record(late));
    }

    /// After a failed request: goes on at another pathway, or waits. Says whether the pathway changed.
    pub(super) async fn stumble(&mut self, host: &str) -> bool {
        let now = self.stage.now();
        self.attempts += 1;
        let before = self.pathways.as_ref().map(|pathways| pathways.current().id.clone());
        match self.pathways.as_mut().map(|pathways| pathways.failed(now)) {
            Some(Failed::Moved { from, to }) => {
                tracing::debug!(from, to, "a viewer goes on elsewhere");
                self.stage.write(&self.seat, |tally| {
                    tally.failovers += 1;
                    tally.host(host).left += 1;
                });
                true
            }
            _ => {
                let longest = Duration::from_secs_f64(self.stage.player.backoff_seconds)
                    * (1 << self.attempts.saturating_sub(1).min(MAX_DOUBLINGS));
                let wait = longest.mul_f64(self.random.random_range(0.5..=1.0));
                tokio::time::sleep(wait).await;
                before != self.pathways.as_ref().map(|pathways| pathways.current().id.clone())
            }
        }
    }

    /// Whether a resource has been asked for often enough.
    pub(super) fn is_tired(&self) -> bool {
        self.attempts >= self.stage.player.attempts
    }

    pub(super) fn skipped(&self, track: &mut Track, count: u64) {
        self.stage.write(&self.seat, |tally| tally.skipped += count);
        track.inspector.reset();
    }
}

/// A player before it plays.
fn fresh(stage: &Stage) -> (Playback, Abr) {
    let player = &stage.player;
    let start = Duration::from_secs_f64(player.start_seconds);
    let playback = Playback::new(Duration::from_secs_f64(player.buffer_seconds)).with_start(start);
    (playback, Abr::new(player.abr))
}
