//! The playlists of a viewing: finding the first, following a channel's, changing rungs.

use weir_hls::{Bounds, Playlist};

use super::{Failed, Session, Track};
use crate::viewer::check::Finding;
use crate::viewer::event::Event;
use crate::viewer::fetch::{Got, Wanted};
use crate::viewer::live::{self, Update};
use crate::viewer::place::Place;
use crate::viewer::rendition::{choose, ladder};

impl Session {
    /// Reads the playlist that the viewer was given, and the media playlist that it leads to.
    pub(super) async fn begin(&mut self) -> Result<Track, Failed> {
        let entry = self.entry.clone();
        let begun = self.now();
        let (playlist, relay) = self.playlist(&entry).await?.map_err(|finding| Failed(finding.detail))?;
        match playlist {
            Playlist::Media(media) => Ok(Track::new(entry, media, begun, relay)),
            Playlist::Multivariant(multivariant) => {
                let mut variants = multivariant.variants;
                // Of pathways (draft-pantos-hls-rfc8216bis, content steering) those on the viewer's own hosts are played.
                let shared =
                    |uri: &str| matches!(self.entry.reference(uri, self.fetcher.hosts()), Some(Place::Shared(_)));
                if variants.iter().any(|variant| shared(&variant.uri)) {
                    variants.retain(|variant| shared(&variant.uri));
                }
                self.ladder = ladder(variants);
                if self.ladder.is_empty() {
                    return Err(Failed("the multivariant playlist has no variant".to_owned()));
                }
                self.rung = choose(&self.ladder, self.choice, &self.throughput);
                self.track().await
            }
        }
    }

    /// Loads the media playlist of the current rung.
    async fn track(&mut self) -> Result<Track, Failed> {
        let variant = &self.ladder[self.rung];
        self.log.tell(Event::Rendition { uri: variant.uri.clone(), bandwidth: variant.bandwidth });
        let place = self
            .entry
            .reference(&variant.uri, self.fetcher.hosts())
            .ok_or_else(|| Failed(format!("the variant {} cannot be fetched", variant.uri)))?;
        let begun = self.now();
        let (playlist, relay) = self.playlist(&place).await?.map_err(|finding| Failed(finding.detail))?;
        match playlist {
            Playlist::Media(media) => Ok(Track::new(place, media, begun, relay)),
            Playlist::Multivariant(_) => Err(Failed("a variant is itself a multivariant playlist".to_owned())),
        }
    }

    /// Fetches and reads a playlist; says from whom it came.
    async fn playlist(&mut self, place: &Place) -> Result<Result<(Playlist, String), Finding>, Failed> {
        let bounds = Bounds::default();
        let wanted = Wanted { place, range: None, max: bounds.max_bytes as u64 };
        let Got { fetched, body, .. } = self.fetcher.get(wanted, &mut self.log).await?;
        let read = match weir_hls::read(&body, &bounds) {
            Ok(playlist) => Ok((playlist, fetched.relay.clone())),
            Err(error) => {
                let finding = Finding::new("playlist", error);
                self.report(&fetched, [finding.clone()]);
                Err(finding)
            }
        };
        self.log.tell(Event::Playlist { fetched });
        Ok(read)
    }

    pub(super) async fn reload(&mut self, track: &mut Track) -> Result<(), Failed> {
        let begun = self.now();
        let target = track.media.target_duration;
        let mut changed = false;
        if let Ok((Playlist::Media(media), relay)) = self.playlist(&track.place).await? {
            let update = live::compare(&track.media, &media);
            changed = matches!(update, Update::Advanced | Update::Renamed(_));
            match update {
                // Another host may legitimately be a little behind; one host never goes back.
                Update::Backwards if relay == track.relay => {
                    let detail = format!("from {} to {}", track.media.position(), media.position());
                    self.report_at(track, Finding::new("playlist-backwards", detail));
                }
                Update::Backwards => {}
                Update::Renamed(sequence) => {
                    self.report_at(track, Finding::new("playlist-renamed", format!("segment {sequence}")));
                }
                Update::Advanced | Update::Unchanged => {}
            }
            if update != Update::Backwards {
                track.media = media;
                track.relay = relay;
            }
        }
        track.reload_at = begun + live::reload_after(target, changed);
        Ok(())
    }

    /// Changes to the rung that the throughput allows.
    pub(super) async fn adapt(&mut self, track: &mut Track) -> Result<(), Failed> {
        if self.ladder.is_empty() {
            return Ok(());
        }
        let rung = choose(&self.ladder, self.choice, &self.throughput);
        if rung == self.rung {
            return Ok(());
        }
        self.rung = rung;
        let mut other = self.track().await?;
        other.next =
            if track.media.is_live() { track.next } else { live::same_time(&track.media, track.next, &other.media) };
        self.checker.reset();
        *track = other;
        Ok(())
    }
}
