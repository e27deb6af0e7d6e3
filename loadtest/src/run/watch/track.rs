//! A rendition that is played: its playlist, and how far it was loaded.

use std::sync::Arc;
use std::time::Duration;

use url::Url;
use weir_hls::Media;

use super::inspect::Inspector;
use crate::run::player::parsed::Parsed;
use crate::run::player::position::Position;
use crate::run::scenario::Player;
use crate::viewer::live;

/// The media playlist that is played.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) url: Url,
    pub(super) parsed: Arc<Parsed>,
    /// A delta update completed, in place of what was parsed.
    pub(super) whole: Option<Media>,
    /// Media sequence number of a segment, and when it was made, in seconds since 1970.
    pub(super) anchor: Option<(u64, f64)>,
    pub(super) position: Position,
    pub(super) map: Option<Arc<weir_hls::MapRef>>,
    /// When the playlist may be loaded again.
    pub(super) reload_at: Duration,
    /// When this version came.
    pub(super) loaded_at: Duration,
    /// Duration of the parts of the current segment that were loaded.
    pub(super) of_segment: Duration,
    pub(super) inspector: Inspector,
    /// There is audio apart from it.
    pub(super) is_video: bool,
}

impl Track {
    pub(super) fn media(&self) -> &Media {
        match (&self.whole, self.parsed.media()) {
            (Some(whole), _) => whole,
            (None, Some(media)) => media,
            (None, None) => unreachable!("a track is made of media playlists only"),
        }
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.media().is_live() && now >= self.reload_at
    }

    /// Whether parts are played.
    pub(super) fn plays_parts(&self, player: &Player) -> bool {
        player.low_latency && self.media().part_target.is_some()
    }

    /// Whether the next reload is one that the server holds back until there is something new.
    pub(super) fn blocks(&self, player: &Player) -> bool {
        player.low_latency && self.media().server_control.can_block_reload && self.media().is_live()
    }

    /// Plays a film from its beginning.
    pub(super) fn begin_again(&mut self) {
        self.position = Position { sequence: self.media().media_sequence, part: 0 };
        self.inspector.reset();
    }

    /// When the media at the position was made, in seconds since 1970.
    pub(super) fn made(&self) -> Option<f64> {
        let (anchor, at) = self.anchor?;
        let media = self.media();
        let begin = |sequence: u64| {
            let before = media.segments.iter().take_while(|one| one.media_sequence < sequence);
            before.map(|one| one.duration.as_secs_f64()).sum::<f64>()
        };
        Some(at + begin(self.position.sequence) - begin(anchor) + self.of_segment.as_secs_f64())
    }

    /// Media between the position and the end of the playlist.
    pub(super) fn behind_edge(&self) -> Duration {
        let media = self.media();
        let after = media.segments.iter().filter(|one| one.media_sequence >= self.position.sequence);
        let segments: Duration = after.map(|one| one.duration).sum();
        let parts: Duration = media.trailing_parts.iter().map(|part| part.duration).sum();
        (segments + parts).saturating_sub(self.of_segment)
    }

    /// The same playlist, to try positions on.
    fn shallow(&self) -> Self {
        Self {
            url: self.url.clone(),
            parsed: Arc::clone(&self.parsed),
            whole: self.whole.clone(),
            map: None,
            inspector: Inspector::default(),
            ..*self
        }
    }

    /// Takes a newer version.
    pub(super) fn accept(&mut self, parsed: Arc<Parsed>, whole: Option<Media>, now: Duration) {
        self.anchor = anchor(&parsed);
        (self.parsed, self.whole, self.loaded_at) = (parsed, whole, now);
    }
}

/// A dated segment of a playlist: the first, or the last where a discontinuity hides the first's date.
pub(super) fn anchor(parsed: &Parsed) -> Option<(u64, f64)> {
    let segments = &parsed.media()?.segments;
    [0, segments.len().checked_sub(1)?]
        .into_iter()
        .find_map(|index| Some((segments.get(index)?.media_sequence, parsed.made(index)?)))
}

/// Where audio begins that belongs to a variant: at the same date, or as far from the beginning of a film, or from the end of
/// a channel.
pub(super) fn beside(main: &Track, audio: &Track) -> Position {
    let (of_main, of_audio) = (main.media(), audio.media());
    if !of_main.is_live() {
        return Position { sequence: live::same_time(of_main, main.position.sequence, of_audio), part: 0 };
    }
    let mut at = audio.position;
    let wanted = main.made();
    for sequence in of_audio.segments.iter().map(|one| one.media_sequence).chain([live::end(of_audio)]).rev() {
        at = Position { sequence, part: 0 };
        let here = Track { position: at, of_segment: Duration::ZERO, ..audio.shallow() };
        let reached = match (wanted, here.made()) {
            (Some(wanted), Some(made)) => made <= wanted + 0.1,
            _ => here.behind_edge() + Duration::from_millis(100) >= main.behind_edge(),
        };
        if reached {
            break;
        }
    }
    at
}
