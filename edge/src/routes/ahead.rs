//! What comes next: the segments that playlists list which were served here, so that the one a player will ask for is
//! there before it asks. A playlist says so first; a player's own word (CMCD `nor`) counts only for what a playlist that
//! is known lists, since it is often wrong and anybody may write it.
//!
//! Invariant: at most [`MAX_PLAYLISTS`] playlists with [`MAX_SEGMENTS`] segments in all are remembered, the newest; a
//! prefetch is a background fill, of which the fetcher runs few and none that anybody waits for stands behind one.

use super::told::Told;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use weir_hls::{Bounds, Media, Playlist, Reference, read, resolve};
use weir_protocol::{
    ids::{Generation, ResourceHash},
    part::Part,
    resource::ResourceKey,
};
use weir_relay::{fetch::Fetch, object::Entry};

const MAX_PLAYLISTS: usize = 1024;
const MAX_SEGMENTS: usize = 65_536;
/// Segments of one playlist that are remembered, the last ones: a film of ten hours.
const MAX_LISTED: usize = 18_000;

/// A segment as its playlist lists it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    pub(super) key: ResourceKey,
    /// In ms.
    pub(super) duration: u64,
}

/// What is known of a segment and what follows it.
pub(super) struct Place {
    pub(super) segment: Segment,
    pub(super) next: Vec<ResourceKey>,
    /// Its playlist still grows.
    pub(super) live: bool,
}

struct Listed {
    generation: Generation,
    live: bool,
    segments: Arc<[Segment]>,
}

#[derive(Default)]
struct State {
    playlists: HashMap<ResourceHash, Listed>,
    places: HashMap<ResourceHash, (ResourceHash, usize)>,
    order: VecDeque<ResourceHash>,
}

/// The playlists that were served.
#[derive(Default)]
pub(super) struct Ahead(Mutex<State>);

impl Ahead {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A playlist was served; its text is read once for each generation.
    pub(super) fn learn(&self, entry: &Entry) {
        let key = entry.head.key.clone().with_variant(None);
        let (hash, generation) = (key.hash(), entry.head.generation);
        if self.state().playlists.get(&hash).is_some_and(|listed| listed.generation == generation) {
            return;
        }
        let Some(text) = entry.body.joined() else { return };
        if let Ok(Playlist::Media(media)) = read(&text, &Bounds::default()) {
            self.list(&key, generation, &media);
        }
    }

    fn list(&self, playlist: &ResourceKey, generation: Generation, media: &Media) {
        let skipped = media.segments.len().saturating_sub(MAX_LISTED);
        let mut segments: Vec<Segment> = Vec::with_capacity(media.segments.len() - skipped);
        for segment in &media.segments[skipped..] {
            let Some(key) = named(playlist, &segment.uri) else { continue };
            // Ranges of one file are one resource here.
            if segments.last().is_none_or(|last| last.key != key) {
                segments
                    .push(Segment { key, duration: u64::try_from(segment.duration.as_millis()).unwrap_or(u64::MAX) });
            }
        }
        let hash = playlist.hash();
        let mut state = self.state();
        state.forget(&hash);
        for (at, segment) in segments.iter().enumerate() {
            state.places.insert(segment.key.hash(), (hash, at));
        }
        state.playlists.insert(hash, Listed { generation, live: media.is_live(), segments: segments.into() });
        state.order.push_back(hash);
        while state.playlists.len() > MAX_PLAYLISTS || state.places.len() > MAX_SEGMENTS {
            let Some(oldest) = state.order.front().copied() else { break };
            state.forget(&oldest);
        }
    }

    /// Where a segment stands, and up to `count` that follow it.
    pub(super) fn place(&self, key: &ResourceKey, count: usize) -> Option<Place> {
        let state = self.state();
        let (playlist, at) = state.places.get(&key.hash())?;
        let listed = state.playlists.get(playlist)?;
        let next = listed.segments.iter().skip(at + 1).take(count).map(|segment| segment.key.clone()).collect();
        Some(Place { segment: listed.segments.get(*at)?.clone(), next, live: listed.live })
    }

    fn is_listed(&self, key: &ResourceKey) -> bool {
        self.state().places.contains_key(&key.hash())
    }

    /// Fetches what follows `key`, in the background, unless it is there: up to `count` segments by the playlist, and what
    /// the player names.
    pub(super) fn prefetch(&self, fetch: &Fetch, key: &ResourceKey, told: &Told, count: usize) {
        if count == 0 {
            return;
        }
        let Some(place) = self.place(key, count) else { return };
        let mut wanted = place.next;
        for next in told.cmcd.iter().flat_map(|cmcd| &cmcd.next).take(count) {
            let Some(named) = named(key, &next.uri).filter(|named| named != key && self.is_listed(named)) else {
                continue;
            };
            let named = match next.range {
                Some((first, _)) if first > 0 => named.with_variant(Some(Part::at(first).variant())),
                _ => named,
            };
            if !wanted.contains(&named) {
                wanted.push(named);
            }
        }
        for key in wanted {
            if fetch.store().get(&key.hash()).is_none() {
                fetch.replicate(&key);
            }
        }
    }
}

impl State {
    fn forget(&mut self, playlist: &ResourceHash) {
        self.order.retain(|known| known != playlist);
        let Some(listed) = self.playlists.remove(playlist) else { return };
        for segment in listed.segments.iter() {
            let hash = segment.key.hash();
            if self.places.get(&hash).is_some_and(|(of, _)| of == playlist) {
                self.places.remove(&hash);
            }
        }
    }
}

/// The resource on the same origin that a reference from `base` names.
fn named(base: &ResourceKey, uri: &str) -> Option<ResourceKey> {
    let Reference::SameOrigin { path, query } = resolve(base.path.as_str(), uri)? else { return None };
    let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
    ResourceKey::parse(base.publisher, &target).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::ids::PublisherId;

    fn key(path: &str) -> ResourceKey {
        ResourceKey::parse(PublisherId([1; 32]), path).unwrap()
    }

    fn media(first: usize, count: usize) -> Media {
        let lines: String = (first..first + count).map(|n| format!("#EXTINF:2.5,\ns{n}.ts\n")).collect();
        let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:{first}\n{lines}");
        read(text.as_bytes(), &Bounds::default()).unwrap().as_media().unwrap().clone()
    }

    #[test]
    fn what_follows_is_what_the_newest_playlist_lists() {
        let ahead = Ahead::default();
        ahead.list(&key("/a/live.m3u8"), Generation(1), &media(0, 4));
        let next = |path: &str| ahead.place(&key(path), 2).map(|place| place.next);
        assert_eq!(next("/a/s1.ts"), Some(vec![key("/a/s2.ts"), key("/a/s3.ts")]));
        assert_eq!(next("/a/s3.ts"), Some(Vec::new()));
        assert_eq!(next("/s1.ts"), None);
        ahead.list(&key("/a/live.m3u8"), Generation(2), &media(2, 4));
        assert_eq!(next("/a/s1.ts"), None, "it has left the playlist");
        assert_eq!(next("/a/s3.ts"), Some(vec![key("/a/s4.ts"), key("/a/s5.ts")]));
        let place = ahead.place(&key("/a/s3.ts"), 0).unwrap();
        assert!(place.live && place.segment.duration == 2500);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let ahead = Ahead::default();
        for n in 0..MAX_PLAYLISTS + 10 {
            ahead.list(&key(&format!("/{n}/p.m3u8")), Generation(1), &media(0, 3));
        }
        assert_eq!(ahead.state().playlists.len(), MAX_PLAYLISTS);
        assert!(!ahead.is_listed(&key("/0/s0.ts")) && ahead.is_listed(&key("/1000/s0.ts")));
        for n in 0..5 {
            ahead.list(&key(&format!("/long-{n}/p.m3u8")), Generation(1), &media(0, MAX_LISTED + 5));
        }
        let state = ahead.state();
        assert!(state.places.len() <= MAX_SEGMENTS && state.order.len() == state.playlists.len());
    }
}
