//! One channel in the making: follows the origin's playlist, reads the segment that comes next, and shows each part when it
//! is whole.

use super::{
    ahead::{Ahead, AheadError, Step, add},
    channel::{Channel, Version},
    held::{Segment, part_of},
    inner::Inner,
    look::{Looked, Unfit, check, get, look, relative, target},
    playlist::Shown,
    predict,
    tracks::Tracks,
};
use futures_util::future::BoxFuture;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep_until};
use weir_hls::{Bounds, Media, Playlist, RenditionReport, read};
use weir_relay::source::{RawResponse, RawSource, SourceError};

/// A channel ends when nobody has asked for so long, or for so many target durations.
const IDLE: Duration = Duration::from_secs(10);
const IDLE_TARGETS: u32 = 5;
/// Shortest and longest pause between two looks.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(3);
/// Pause before a segment is asked for again that was not there.
const RETRY: Duration = Duration::from_millis(200);
/// Failures after which a listed segment is shown without parts.
const MAX_FAILURES: u32 = 5;
/// Segments held, and target durations of them: as many as list parts, and as many again after that.
const MAX_HELD: usize = 64;
const HELD_TARGETS: u32 = 7;
/// Segments by which the origin may be ahead before the channel begins anew at its end.
const MAX_BEHIND: u64 = 2;

/// The first version waits for what the origin has of the segment in the making, this long at most: a player begins where
/// the first playlist that it sees ends, and stays as far behind.
const SETTLE: Duration = Duration::from_millis(750);
/// What the origin has has come when nothing more came for so long.
const QUIET: Duration = Duration::from_millis(50);

/// One channel that is being made.
pub(super) struct Maker<S> {
    pub(super) inner: Arc<Inner<S>>,
    pub(super) channel: Arc<Channel>,
    /// The origin's newest playlist.
    pub(super) text: String,
    pub(super) media: Media,
    pub(super) tracks: Tracks,
    pub(super) part_target: Duration,
    /// In order; the last one may be in the making.
    pub(super) segments: VecDeque<Segment>,
    /// The first segment that is not whole here.
    pub(super) next: u64,
    /// The path of that one, when it can be told.
    pub(super) announced: Option<String>,
    pub(super) ahead: Option<Ahead>,
    pub(super) opening: Option<BoxFuture<'static, Result<RawResponse, SourceError>>>,
    pub(super) looking: Option<BoxFuture<'static, Looked>>,
    pub(super) look_at: Instant,
    pub(super) retry_at: Instant,
    pub(super) failures: u32,
    /// Parts of the segment that were shown before it broke off and was asked for again.
    pub(super) skip: usize,
    /// Until then, nothing is shown.
    pub(super) settling: Option<Settling>,
}

/// A channel is about to show its first version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settling {
    at: Instant,
    by: Instant,
}

impl Settling {
    pub(super) fn begin() -> Self {
        let by = Instant::now() + SETTLE;
        Self { at: by, by }
    }

    /// Something has come; more may.
    fn came(&mut self) {
        self.at = self.by.min(Instant::now() + QUIET);
    }
}

/// The future's result, or nothing for ever.
async fn maybe<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

impl<S: RawSource> Maker<S> {
    /// Goes on until nobody asks (true) or the channel ends (false).
    pub(super) async fn run(&mut self) -> Result<bool, Unfit> {
        let target = self.media.target_duration.max(Duration::from_secs(1));
        loop {
            let patience = target * 3;
            let (look_at, retry_at) = (self.look_at, self.retry_at);
            let (settles_at, settling) = (self.settling.map_or(look_at, |one| one.at), self.settling.is_some());
            let (may_look, may_open) = (self.looking.is_none(), self.ahead.is_none() && self.opening.is_none());
            let stepping = async {
                match &mut self.ahead {
                    Some(ahead) => ahead.step(&self.tracks, patience).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                step = stepping => self.stepped(step)?,
                opened = maybe(&mut self.opening) => {
                    self.opening = None;
                    self.opened(opened)?;
                }
                looked = maybe(&mut self.looking) => {
                    self.looking = None;
                    self.look_at = Instant::now() + self.pause();
                    match looked {
                        Ok((text, media)) => if self.looked(text, media)? { return Ok(false) },
                        Err(error) => tracing::debug!(%error, "a look at a channel failed"),
                    }
                }
                () = sleep_until(look_at), if may_look => {
                    if self.channel.idle() > IDLE.max(target * IDLE_TARGETS) {
                        return Ok(true);
                    }
                    self.looking = Some(look(&self.inner, &self.channel.path));
                }
                () = sleep_until(retry_at), if may_open => self.open(),
                () = sleep_until(settles_at), if settling => self.settle()?,
            }
        }
    }

    /// What there is now is shown, and whatever comes from now on.
    fn settle(&mut self) -> Result<(), Unfit> {
        self.settling = None;
        self.show()
    }

    pub(super) fn pause(&self) -> Duration {
        (self.media.target_duration / 2).clamp(SHORTEST, LONGEST)
    }

    pub(super) fn hold(&mut self, segment: Segment) {
        self.inner.segments.insert(segment.path.clone(), self.channel.clone());
        self.segments.push_back(segment);
        let held = |segments: &VecDeque<Segment>| -> Duration { segments.iter().skip(1).map(Segment::duration).sum() };
        let most = self.media.target_duration * HELD_TARGETS;
        while self.segments.len() > MAX_HELD || self.segments.len() > 1 && held(&self.segments) > most {
            if let Some(old) = self.segments.pop_front() {
                self.inner.segments.remove(&old.path);
            }
        }
    }

    /// As the playlist or this channel names it.
    fn uri_of(&self, sequence: u64) -> Option<&str> {
        let listed = self.media.segments.iter().rev().find(|segment| segment.media_sequence == sequence);
        let held = || self.segments.iter().rev().find(|segment| segment.sequence == sequence);
        listed.map(|segment| segment.uri.as_str()).or_else(|| held().map(|segment| segment.uri.as_str()))
    }

    fn is_listed(&self, sequence: u64) -> bool {
        self.media.segments.last().is_some_and(|segment| segment.media_sequence >= sequence)
    }

    /// The URI of the next segment: listed, or guessed.
    fn next_uri(&self) -> Option<String> {
        if let Some(uri) = self.uri_of(self.next) {
            return Some(uri.to_owned());
        }
        predict::next(self.uri_of(self.next.checked_sub(2)?)?, self.uri_of(self.next - 1)?)
    }

    pub(super) fn open(&mut self) {
        match self.next_uri().and_then(|uri| target(&self.channel.path, &uri)) {
            Some(path) => self.opening = Some(get(&self.inner, &path)),
            // It may be listed soon.
            None => self.retry_at = Instant::now() + RETRY,
        }
    }

    fn opened(&mut self, opened: Result<RawResponse, SourceError>) -> Result<(), Unfit> {
        let Some(uri) = self.next_uri() else { return Ok(()) };
        match opened {
            Ok(response) => {
                self.settling.iter_mut().for_each(Settling::came);
                self.ahead = Some(Ahead::new(response.body, self.part_target));
                match self.segments.back().filter(|segment| segment.sequence == self.next) {
                    Some(begun) => self.skip = begun.parts.len(),
                    None => {
                        let path = target(&self.channel.path, &uri).ok_or(Unfit::Kind("of media at another host"))?;
                        self.skip = 0;
                        self.hold(Segment::new(self.next, uri, path));
                    }
                }
            }
            Err(error) => self.failed(&error)?,
        }
        Ok(())
    }

    /// The next segment could not be had, or broke off.
    fn failed(&mut self, error: &dyn std::fmt::Display) -> Result<(), Unfit> {
        self.ahead = None;
        self.retry_at = Instant::now() + RETRY;
        if !self.is_listed(self.next) {
            // A guess, perhaps too early: there is nothing to wait for.
            return if self.settling.is_some() { self.settle() } else { Ok(()) };
        }
        tracing::debug!(%error, sequence = self.next, "a segment was not cut");
        self.failures += 1;
        if self.failures > MAX_FAILURES {
            if self.segments.back().is_none_or(|segment| segment.sequence != self.next)
                && let Some((uri, path)) =
                    self.next_uri().and_then(|uri| Some((uri.clone(), target(&self.channel.path, &uri)?)))
            {
                self.hold(Segment::new(self.next, uri, path));
            }
            self.complete(false)?;
        }
        Ok(())
    }

    fn stepped(&mut self, step: Result<Step, AheadError>) -> Result<(), Unfit> {
        let (parts, end) = match step {
            Ok(Step::Parts(parts)) => (parts, None),
            Ok(Step::End(last, exact)) => (last.into_iter().collect(), Some(exact)),
            Err(error) => return self.failed(&error),
        };
        self.settling.iter_mut().for_each(Settling::came);
        let again = self.skip.min(parts.len());
        self.skip -= again;
        let Some(segment) = self.segments.back_mut() else { return Ok(()) };
        match (add(segment, parts.into_iter().skip(again), &self.inner.budget), end) {
            (Err(error), _) => self.failed(&error),
            (Ok(_), Some(exact)) => self.complete(exact),
            (Ok(true), None) => self.show(),
            (Ok(false), None) => Ok(()),
        }
    }

    /// The next segment is whole, or given up.
    pub(super) fn complete(&mut self, exact: bool) -> Result<(), Unfit> {
        if let Some(segment) = self.segments.back_mut() {
            (segment.whole, segment.exact) = (true, segment.exact && exact);
        }
        self.ahead = None;
        self.next += 1;
        self.failures = 0;
        self.retry_at = Instant::now();
        self.show()
    }

    /// Takes in a newer playlist; true when it has ended.
    fn looked(&mut self, text: String, media: Media) -> Result<bool, Unfit> {
        if text == self.text || media.position() < self.media.position() {
            return Ok(false);
        }
        (self.text, self.media) = (text, media);
        if self.media.ended {
            let version = Version {
                text: self.text.clone().into(),
                media: self.media.clone(),
                parts: HashMap::new(),
                segments: HashMap::new(),
                hint: None,
            };
            self.channel.show(version);
            return Ok(true);
        }
        check(&self.media)?;
        let end = self.media.position().next_sequence;
        let making = self.segments.back().filter(|segment| segment.sequence == self.next);
        let wrong = making.is_some_and(|making| {
            let listed = self.media.segments.iter().find(|segment| segment.media_sequence == self.next);
            listed.is_some_and(|listed| listed.uri != making.uri)
        });
        if wrong || end > self.next + MAX_BEHIND || self.media.media_sequence > self.next {
            // Guessed wrongly, or too slow: begin anew at the newest segment.
            for segment in self.segments.drain(..) {
                self.inner.segments.remove(&segment.path);
            }
            (self.ahead, self.opening, self.skip) = (None, None, 0);
            self.next = end.saturating_sub(1);
            self.retry_at = Instant::now();
        }
        self.show()?;
        Ok(false)
    }

    /// Shows what there is now, unless it is to settle first.
    fn show(&mut self) -> Result<(), Unfit> {
        if self.settling.is_some() {
            return Ok(());
        }
        let hint = self.hint();
        self.announce(hint.as_ref().map(|(segment, _)| segment.as_str()));
        let hint = hint.map(|(segment, index)| part_of(&segment, index));
        let reports = self.reports();
        let shown = Shown {
            text: &self.text,
            media: &self.media,
            segments: &self.segments,
            next: self.next,
            hint: hint.as_deref(),
            part_target: self.part_target,
            reports: &reports,
        };
        let text = shown.text();
        let Ok(Playlist::Media(media)) = read(text.as_bytes(), &Bounds::default()) else {
            return Err(Unfit::Kind("not what a low-latency playlist can be made of"));
        };
        let before = self.channel.shown();
        if before.is_some_and(|before| media.position() < before.media.position()) {
            // The origin's media is behind what was shown: that stays until it has caught up.
            return Ok(());
        }
        let mut version =
            Version { text: text.into(), media, parts: HashMap::new(), segments: HashMap::new(), hint: None };
        for segment in &self.segments {
            for (index, part) in segment.parts.iter().enumerate() {
                version.parts.insert(part_of(&segment.path, index), part.bytes.clone());
            }
            if let Some(body) = segment.body() {
                version.segments.insert(segment.path.clone(), body);
            }
        }
        version.hint = version.media.preload_hints.first().and_then(|hint| target(&self.channel.path, &hint.uri));
        self.channel.show(version);
        Ok(())
    }

    /// The segment and index of the part that is made next, when it can be told: of the segment in the making, unless that
    /// has come to what the one before it lasted; then the first of the one after it.
    fn hint(&self) -> Option<(String, usize)> {
        let uri = self.next_uri()?;
        let Some(making) = self.segments.back().filter(|segment| segment.sequence == self.next) else {
            return Some((uri, 0));
        };
        let before = self.segments.iter().rev().nth(1).map(Segment::duration);
        if before.is_some_and(|before| making.duration() + self.part_target / 4 >= before) {
            return Some((predict::next(self.uri_of(self.next.checked_sub(1)?)?, &uri)?, 0));
        }
        Some((uri, making.parts.len()))
    }

    /// Requests for parts of the segment that is announced are this channel's.
    pub(super) fn announce(&mut self, segment: Option<&str>) {
        let path = segment.and_then(|uri| target(&self.channel.path, uri));
        if path == self.announced {
            return;
        }
        if let Some(before) = std::mem::replace(&mut self.announced, path)
            && !self.segments.iter().any(|segment| segment.path == before)
        {
            self.inner.segments.remove(&before);
        }
        if let Some(path) = &self.announced {
            self.inner.segments.insert(path.clone(), self.channel.clone());
        }
    }

    fn reports(&self) -> Vec<RenditionReport> {
        let siblings = self.inner.siblings.get(&self.channel.path).map(|siblings| siblings.clone());
        let others = siblings.iter().flat_map(|siblings| siblings.iter()).filter(|path| **path != self.channel.path);
        let report = |path: &String| {
            let (sequence, part) = self.inner.channels.get(path)?.last()?;
            let uri = relative(&self.channel.path, path);
            Some(RenditionReport { uri, last_msn: Some(sequence), last_part: Some(part) })
        };
        others.filter_map(report).collect()
    }
}
