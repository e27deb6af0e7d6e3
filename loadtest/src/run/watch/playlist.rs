//! The playlists of a viewing: the first one, the renditions', and following what changes.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use url::Url;
use weir_hls::{MAX_BYTES, Media, Playlist};
use weir_protocol::UnixMillis;

use super::inspect::{self, Inspector, Received};
use super::load::{Asked, Got, Trouble};
use super::pool::authority;
use super::steer::Steering;
use super::track::{Track, anchor, beside};
use super::viewer::{GaveUp, Kind, Viewer};
use crate::run::player::abr::Buffer;
use crate::run::player::cmcd::Object;
use crate::run::player::parsed::{Parsed, pathways, whole};
use crate::run::player::pathway::{Pathway, Pathways, Rung};
use crate::run::player::position::Position;
use crate::viewer::live::{self, Update};

/// Shortest wait before a blocking reload that brought nothing is sent again.
const LEAST_RELOAD: Duration = Duration::from_millis(100);
/// A blocking reload may take so many target durations longer than another request.
const BLOCKING: u32 = 3;

/// A playlist that came.
struct Came {
    parsed: Arc<Parsed>,
    host: String,
}

impl Viewer {
    /// Reads the playlist that the viewer was given, and learns the pathways and rungs.
    pub(super) async fn enter(&mut self) -> Result<(), GaveUp> {
        let count = self.stage.urls.len();
        let penalty = Duration::from_secs_f64(self.stage.player.penalty_seconds);
        let turn = (0..count).map(|step| &self.stage.urls[(self.seat.host + step) % count]);
        let hosts: Vec<Pathway> = turn.map(|url| host(url, vec![rung(url.clone())])).collect();
        self.pathways = Pathways::new(hosts.clone(), None, penalty, false);
        let (url, came) = loop {
            let url = self.current()?.ladder[0].url.clone();
            match self.playlist(Asked::text(&url, MAX_BYTES as u64)).await {
                Ok(came) => break (url, came),
                Err(trouble) if self.is_tired() => return Err(GaveUp(trouble.detail)),
                Err(_) => drop(self.stumble(&authority(&url)).await),
            }
        };
        self.attempts = 0;
        let Playlist::Multivariant(multivariant) = &came.parsed.playlist else {
            self.given = Some((url, came.parsed));
            return Ok(());
        };
        let max = self.stage.player.max_bandwidth;
        let listed = pathways(multivariant, &url, max);
        let server = came.parsed.steering.as_ref().filter(|_| self.stage.player.steering);
        let first = self.current()?.id.clone();
        self.pathways = if server.is_some() || listed.len() > 1 {
            let begin = server.and_then(|(_, pathway)| pathway.as_deref());
            Pathways::new(listed, begin, penalty, server.is_some())
        } else {
            let same = hosts.iter().map(|one| {
                let ladder = pathways(multivariant, &one.ladder[0].url, max).into_iter().next();
                Pathway { id: one.id.clone(), ladder: ladder.map(|one| one.ladder).unwrap_or_default() }
            });
            Pathways::new(same.collect(), Some(&first), penalty, false)
        };
        if self.pathways.is_none() {
            return Err(GaveUp(format!("{url} lists no variant that can be fetched")));
        }
        let now = self.stage.now();
        self.steering = server.and_then(|(server, _)| Some(Steering::new(url.join(server).ok()?, now)));
        Ok(())
    }

    pub(super) fn current(&self) -> Result<&Pathway, GaveUp> {
        self.pathways.as_ref().map(Pathways::current).ok_or_else(|| GaveUp("there is no pathway".to_owned()))
    }

    /// Chooses a rung for the next media; says whether it is another.
    pub(super) fn adapt(&mut self, track: &Track) -> bool {
        let Some(pathways) = &self.pathways else { return false };
        let ladder: Vec<u64> = pathways.current().ladder.iter().map(|rung| rung.bandwidth).collect();
        let player = &self.stage.player;
        // At the live edge there is never more media than the distance to it.
        let aim = Duration::from_secs_f64(player.buffer_seconds);
        let target = if self.live { aim.min(self.playback.level() + track.behind_edge()) } else { aim };
        let buffer = Buffer { level: self.playback.level(), target };
        let rung = self.abr.choose(&ladder, self.rung, buffer);
        let changed = self.rung.is_some_and(|old| old != rung);
        self.rung = Some(rung);
        if changed {
            self.stage.write(&self.seat, |tally| tally.switches += 1);
        }
        changed
    }

    /// Where the audio of the current rung is, where it is apart.
    pub(super) fn audio_url(&self) -> Option<Url> {
        let ladder = &self.pathways.as_ref()?.current().ladder;
        ladder.get(self.rung?.min(ladder.len() - 1))?.audio.clone()
    }

    /// Opens the audio that belongs to a variant, at the same time of the media.
    pub(super) async fn audio(&mut self, main: &Track, before: Option<&Track>) -> Result<Option<Track>, GaveUp> {
        if self.audio_url().is_none() {
            self.loaded[1] = self.loaded[0];
            return Ok(None);
        }
        let mut track = self.open(Kind::Audio, before).await?;
        if before.is_none() {
            track.position = beside(main, &track);
        }
        Ok(Some(track))
    }

    /// Loads the media playlist of the current rung, or of its audio, at the current pathway, to go on where another was, or to
    /// begin.
    pub(super) async fn open(&mut self, kind: Kind, before: Option<&Track>) -> Result<Track, GaveUp> {
        let (url, parsed) = loop {
            let ladder = &self.current()?.ladder;
            let bandwidths: Vec<u64> = ladder.iter().map(|rung| rung.bandwidth).collect();
            let empty = Buffer { level: Duration::ZERO, target: Duration::from_secs(1) };
            let index = self.rung.unwrap_or_else(|| self.abr.choose(&bandwidths, None, empty)).min(ladder.len() - 1);
            let rung = &ladder[index];
            let url = if kind == Kind::Audio { rung.audio.as_ref().unwrap_or(&rung.url) } else { &rung.url }.clone();
            (self.bitrate, self.top_bitrate) = (Some(bandwidths[index]), bandwidths.last().copied());
            self.rung = Some(index);
            if let Some((_, parsed)) = self.given.take_if(|(given, _)| *given == url) {
                break (url, parsed);
            }
            match self.playlist(Asked::text(&url, MAX_BYTES as u64)).await {
                Ok(came) if came.parsed.media().is_some() => break (url, came.parsed),
                Ok(_) => return Err(GaveUp(format!("{url}: a variant is itself a multivariant playlist"))),
                Err(trouble) if self.is_tired() => return Err(GaveUp(trouble.detail)),
                Err(_) => {
                    let moved = self.stumble(&authority(&url)).await;
                    // What was opened at the old pathway has to follow.
                    self.moved |= moved && kind == Kind::Audio;
                }
            }
        };
        let now = self.stage.now();
        let Some(media) = parsed.media() else { return Err(GaveUp(format!("{url}: no media playlist"))) };
        self.live = media.is_live();
        self.keys_of(media, &url).await;
        let low_latency = self.stage.player.low_latency && media.part_target.is_some();
        let position = match before {
            None if !self.live && self.stage.player.random_start => {
                let count = media.segments.len().max(1);
                Position { sequence: media.media_sequence + self.random.random_range(0..count) as u64, part: 0 }
            }
            None => Position::start(media, low_latency),
            Some(before) if self.live => before.position,
            Some(before) => {
                let sequence = live::same_time(before.media(), before.position.sequence, media);
                Position { sequence, part: 0 }
            }
        };
        Ok(Track {
            anchor: anchor(&parsed),
            position,
            map: None,
            reload_at: now + live::reload_after(media.target_duration, true),
            loaded_at: now,
            of_segment: before.filter(|_| self.live).map_or(Duration::ZERO, |before| before.of_segment),
            inspector: Inspector::default(),
            is_video: kind == Kind::Main && self.audio_url().is_some(),
            whole: None,
            url,
            parsed,
        })
    }

    /// Loads the playlist again, at the live edge of a low-latency channel with a request that the server holds back.
    pub(super) async fn reload(&mut self, track: &mut Track) -> Result<(), GaveUp> {
        let begun = self.stage.now();
        let (mut url, mut patience) = (track.url.clone(), Duration::ZERO);
        let media = track.media();
        let target = media.target_duration;
        let blocks = track.blocks(&self.stage.player);
        if blocks {
            let (sequence, part) = Position::awaited(media);
            let mut query = url.query_pairs_mut();
            query.append_pair("_HLS_msn", &sequence.to_string());
            if let Some(part) = part {
                query.append_pair("_HLS_part", &part.to_string());
            }
            // Half the skip boundary, so that what is skipped is surely known (section 6.2.5.1).
            if media
                .server_control
                .can_skip_until
                .is_some_and(|until| begun.saturating_sub(track.loaded_at) < until / 2)
            {
                query.append_pair("_HLS_skip", "YES");
            }
            drop(query);
            patience = target * BLOCKING;
        }
        let asked = Asked { patience, ..Asked::text(&url, MAX_BYTES as u64) };
        let came = match self.playlist(asked).await {
            Ok(came) => came,
            Err(trouble) => {
                if self.is_tired() {
                    return Err(GaveUp(trouble.detail));
                }
                self.moved |= self.stumble(&authority(&url)).await;
                track.reload_at = self.stage.now();
                return Ok(());
            }
        };
        self.attempts = 0;
        let now = self.stage.now();
        let Some(media) = came.parsed.media() else { return Ok(()) };
        let completed = if media.skipped_segments > 0 { whole(track.media(), media) } else { None };
        if media.skipped_segments > 0 && completed.is_none() {
            self.suspect("playlist-delta", &format!("{url}: skips segments that were not listed before"));
            return Ok(());
        }
        let newer = completed.as_ref().unwrap_or(media);
        let update = live::compare(track.media(), newer);
        let grown = newer.position() > track.media().position();
        match &update {
            Update::Backwards => {
                let detail =
                    format!("{url} at {}: from {} to {}", came.host, track.media().position(), newer.position());
                self.suspect("playlist-backwards", &detail);
            }
            Update::Renamed(sequence) => self.suspect("playlist-renamed", &format!("{url}: segment {sequence}")),
            Update::Advanced | Update::Unchanged => {}
        }
        if update != Update::Backwards {
            track.accept(Arc::clone(&came.parsed), completed, now);
        }
        track.reload_at = match (blocks, grown) {
            // The next one is held back by the server; until it is sent, what is listed now is loaded.
            (true, true) => now + target,
            (true, false) => now + LEAST_RELOAD,
            (false, changed) => begun + live::reload_after(target, changed || update == Update::Advanced),
        };
        if blocks && !grown {
            self.sleep_until(track.reload_at).await;
        }
        Ok(())
    }

    /// Fetches and reads a playlist.
    async fn playlist(&mut self, asked: Asked<'_>) -> Result<Came, Trouble> {
        let Got { exchange, host, body, .. } = self.request(asked).await?;
        if asked.patience.is_zero() {
            self.stage.write(&self.seat, |tally| tally.playlist.record(exchange.total));
        }
        self.stage.write(&self.seat, |tally| tally.playlists += 1);
        if self.seat.inspected {
            let received =
                Received { url: asked.url, status: exchange.status, headers: &exchange.headers, body: &body };
            self.verify(received);
        }
        match self.read(body) {
            Ok(parsed) => Ok(Came { parsed, host }),
            Err(detail) => {
                let detail = format!("{}: {detail}", asked.url);
                let now = self.stage.now();
                self.stage.write(&self.seat, |tally| tally.failed(now, &host, "playlist", &detail));
                Err(Trouble { detail })
            }
        }
    }

    /// Reads a playlist, or takes what another viewer has read.
    fn read(&self, body: Bytes) -> Result<Arc<Parsed>, weir_hls::ReadError> {
        let shelf = || self.stage.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shelf().find(&body) {
            return Ok(known);
        }
        let parsed = Arc::new(Parsed::read(body)?);
        shelf().put(&parsed);
        Ok(parsed)
    }

    /// Fetches keys that were not fetched yet. Whether they open anything is not tried.
    async fn keys_of(&mut self, media: &Media, base: &Url) {
        let new: Vec<Url> = media.keys.iter().filter_map(|uri| base.join(uri).ok()).collect();
        for url in new {
            if self.keys.insert(url.to_string()) {
                let asked = Asked { object: Object::Key, ..Asked::text(&url, 1 << 16) };
                drop(self.request(asked).await);
            }
        }
    }

    /// Compares a body with its digest and signature.
    pub(super) fn verify(&self, received: Received<'_>) {
        let now = UnixMillis(unix_millis());
        self.stage.write(&self.seat, |tally| {
            inspect::signature(received, self.stage.keys.as_ref(), now, &mut tally.integrity);
        });
    }

    /// Something that was received cannot be right.
    pub(super) fn suspect(&self, class: &str, detail: &str) {
        self.stage.write(&self.seat, |tally| tally.integrity.fail(class, detail));
    }
}

fn host(url: &Url, ladder: Vec<Rung>) -> Pathway {
    Pathway { id: authority(url), ladder }
}

fn rung(url: Url) -> Rung {
    Rung { url, bandwidth: 0, stable_id: None, audio: None }
}

/// Milliseconds since 1970.
pub(super) fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
