//! The buffer of a player that plays in real time. Time arrives as the duration since the viewing began.
//!
//! Invariant: media is played once, at the speed of time, and only while some is loaded; a stall begins exactly when
//! the last loaded moment was played.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was played yet.
    Starting,
    /// Playing since the model was last brought up to date.
    Playing,
    /// Empty since then.
    Stalled(Duration),
    /// Everything was played.
    Ended,
}

/// The buffer and its play-head.
#[derive(Debug)]
pub(crate) struct Playback {
    target: Duration,
    /// Media that must be there before play begins or goes on.
    start: Duration,
    state: State,
    level: Duration,
    now: Duration,
    complete: bool,
    started: Option<Duration>,
    played: Duration,
    stalls: u64,
    stalled: Duration,
}

impl Playback {
    pub(crate) fn new(target: Duration) -> Self {
        Self {
            target,
            start: Duration::ZERO,
            state: State::Starting,
            level: Duration::ZERO,
            now: Duration::ZERO,
            complete: false,
            started: None,
            played: Duration::ZERO,
            stalls: 0,
            stalled: Duration::ZERO,
        }
    }

    /// Plays, at first and after a stall, only when so much is loaded.
    pub(crate) fn with_start(self, start: Duration) -> Self {
        Self { start, ..self }
    }

    /// Whether play stands still because nothing is loaded.
    pub(crate) fn is_stalled(&self) -> bool {
        matches!(self.state, State::Stalled(_))
    }

    /// Since when play stands still.
    pub(crate) fn stalled_since(&self) -> Option<Duration> {
        match self.state {
            State::Stalled(since) => Some(since),
            _ => None,
        }
    }

    /// Brings the model up to `now`.
    pub(crate) fn advance(&mut self, now: Duration) {
        if self.state == State::Playing {
            let passed = now.saturating_sub(self.now);
            let played = passed.min(self.level);
            self.level -= played;
            self.played += played;
            if self.level.is_zero() {
                if self.complete {
                    self.state = State::Ended;
                } else {
                    self.stalls += 1;
                    self.state = State::Stalled(self.now + played);
                }
            }
        }
        self.now = self.now.max(now);
    }

    /// Media was loaded. Says how long play had stood still, when it goes on now.
    pub(crate) fn loaded(&mut self, now: Duration, media: Duration) -> Option<Duration> {
        self.advance(now);
        self.level += media;
        if self.level.is_zero() || self.level < self.start {
            return None;
        }
        match self.state {
            State::Starting => {
                self.started = Some(now);
                self.state = State::Playing;
                None
            }
            State::Stalled(since) => {
                let stood = now.saturating_sub(since);
                self.stalled += stood;
                self.state = State::Playing;
                Some(stood)
            }
            State::Playing | State::Ended => None,
        }
    }

    /// No more media will be loaded: running empty is the end from now on.
    pub(crate) fn complete(&mut self, now: Duration) {
        self.advance(now);
        self.complete = true;
        if let State::Stalled(since) = self.state {
            // What looked like a stall was the end of the media.
            self.stalls -= 1;
            self.state = State::Ended;
            self.now = self.now.max(since);
        }
    }

    /// Media ahead of the play-head.
    pub(crate) fn level(&self) -> Duration {
        self.level
    }

    /// When there is room for another segment.
    pub(crate) fn room_at(&self) -> Duration {
        self.now + self.level.saturating_sub(self.target)
    }

    /// When the loaded media ends.
    pub(crate) fn empty_at(&self) -> Duration {
        self.now + self.level
    }

    pub(crate) fn started(&self) -> Option<Duration> {
        self.started
    }

    pub(crate) fn played(&self) -> Duration {
        self.played
    }

    /// Stalls and their sum; one that still lasts counts up to now.
    pub(crate) fn stalls(&self) -> (u64, Duration) {
        let open = match self.state {
            State::Stalled(since) => self.now.saturating_sub(since),
            _ => Duration::ZERO,
        };
        (self.stalls, self.stalled + open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_stall_lasts_from_the_last_loaded_moment_to_the_next_segment() {
        let mut playback = Playback::new(s(10));
        assert_eq!(playback.loaded(s(1), s(4)), None);
        assert_eq!(playback.started(), Some(s(1)));
        // Media lasts until 5; the next segment comes at 8.
        assert_eq!(playback.loaded(s(8), s(4)), Some(s(3)));
        assert_eq!(playback.stalls(), (1, s(3)));
        playback.advance(s(13));
        assert_eq!(playback.stalls(), (2, s(4)), "a stall that lasts is counted so far");
        assert_eq!(playback.played(), s(8));
    }

    #[test]
    fn room_comes_when_the_level_falls_to_the_target() {
        let mut playback = Playback::new(s(10));
        playback.loaded(s(0), s(6));
        assert_eq!(playback.room_at(), s(0));
        playback.loaded(s(1), s(6));
        assert_eq!(playback.level(), s(11));
        assert_eq!(playback.room_at(), s(2));
    }

    #[test]
    fn the_end_is_no_stall() {
        let mut playback = Playback::new(s(10));
        playback.loaded(s(0), s(2));
        playback.complete(s(1));
        assert_eq!(playback.empty_at(), s(2));
        playback.advance(s(9));
        assert_eq!((playback.stalls(), playback.played()), ((0, s(0)), s(2)));

        let mut late = Playback::new(s(10));
        late.loaded(s(0), s(2));
        late.complete(s(5));
        assert_eq!(late.stalls(), (0, s(0)), "learning of the end late does not make it a stall");
    }

    #[test]
    fn play_waits_for_the_media_it_needs_to_start() {
        let mut playback = Playback::new(s(10)).with_start(s(4));
        playback.loaded(s(1), s(2));
        assert_eq!(playback.started(), None);
        playback.loaded(s(2), s(2));
        assert_eq!(playback.started(), Some(s(2)));
        assert_eq!(playback.loaded(s(7), s(2)), None, "stalled since 6, and 2 s are not enough");
        assert_eq!((playback.is_stalled(), playback.stalled_since()), (true, Some(s(6))));
        assert_eq!(playback.loaded(s(8), s(2)), Some(s(2)));
    }

    #[test]
    fn nothing_loaded_never_starts() {
        let mut playback = Playback::new(s(10));
        assert_eq!(playback.loaded(s(3), s(0)), None);
        playback.advance(s(10));
        assert_eq!((playback.started(), playback.stalls().0), (None, 0));
    }
}
