//! All live playlists of this node that offer low latency, and the media they list. Invariant: bounded; what is forgotten
//! is learned again with the next version.

use super::{Growth, Listing, Rendition, Version, listed};
use crate::{object::Entry, store::Store};
use http::{StatusCode, header};
use quick_cache::sync::Cache;
use std::sync::Arc;
use weir_hls::{Bounds, Media, Playlist, PreloadKind, ResourceKind, read};
use weir_protocol::{ids::ResourceHash, resource::ResourceKey};

/// Playlists remembered.
const MAX_RENDITIONS: usize = 1024;
/// Parts and hints remembered.
const MAX_LISTED: usize = 16_384;
/// Segments in the making of which parts are ranges.
const MAX_GROWTHS: usize = 2048;
/// Segments from the end on whose parts are looked at with each version: older ones were new before.
const RECENT: usize = 4;
/// A playlist in which none of these occurs offers nothing that needs more than a cache.
const OFFERS: [&str; 3] = ["CAN-BLOCK-RELOAD=YES", "CAN-SKIP-UNTIL=", "#EXT-X-PART:"];

/// The registry.
pub struct Renditions {
    known: Cache<ResourceHash, Arc<Rendition>>,
    listed: Cache<ResourceHash, Listing>,
    growths: Cache<ResourceHash, Arc<Growth>>,
}

impl Renditions {
    pub(crate) fn new() -> Self {
        Self { known: Cache::new(MAX_RENDITIONS), listed: Cache::new(MAX_LISTED), growths: Cache::new(MAX_GROWTHS) }
    }

    /// The playlist of this name, when it is known to offer low latency.
    pub fn get(&self, playlist: &ResourceHash) -> Option<Arc<Rendition>> {
        self.known.get(playlist)
    }

    /// What live playlists say of this resource.
    pub fn listing(&self, media: &ResourceHash) -> Option<Listing> {
        self.listed.get(media)
    }

    /// How far the parts of this resource are listed, when they are ranges of it.
    pub fn growth(&self, media: &ResourceHash) -> Option<Arc<Growth>> {
        self.growths.get(media)
    }

    /// Takes in what has come, if it is a version of such a playlist.
    pub(crate) fn note(&self, store: &Store, entry: &Arc<Entry>) {
        let head = &entry.head;
        let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let playlist = ResourceKind::of(head.key.path.as_str(), content_type) == ResourceKind::Playlist;
        if !playlist || head.status != StatusCode::OK || head.key.variant.is_some() {
            return;
        }
        let known = self.known.get(&entry.hash);
        if let Some(version) = known.as_ref().and_then(|known| known.newest())
            && version.entry.head.generation == head.generation
        {
            // Found unchanged: as fresh as this word of it.
            self.publish(entry, version.media.clone());
            return;
        }
        let Some(text) = entry.body.joined() else { return };
        let offers = || std::str::from_utf8(&text).is_ok_and(|text| OFFERS.iter().any(|offer| text.contains(offer)));
        if known.is_none() && !offers() {
            return;
        }
        let Ok(Playlist::Media(media)) = read(&text, &Bounds::default()) else { return };
        if known.is_none() && !media.is_live() {
            return;
        }
        let media = Arc::new(media);
        self.learn(store, &head.key, &media);
        self.publish(entry, media);
    }

    fn publish(&self, entry: &Arc<Entry>, media: Arc<Media>) {
        let new = || Ok::<_, std::convert::Infallible>(Arc::new(Rendition::new()));
        let Ok(rendition) = self.known.get_or_insert_with(&entry.hash, new);
        rendition.publish(Version::new(entry.clone(), media));
    }

    /// Parts of this resource are listed up to `end`.
    fn grow(&self, hash: &ResourceHash, end: u64) {
        let new = || Ok::<_, std::convert::Infallible>(Arc::new(Growth::new(0)));
        let Ok(growth) = self.growths.get_or_insert_with(hash, new);
        growth.release(end);
    }

    /// Which resources are parts now. That one was missing before it was listed says nothing about it any more.
    fn learn(&self, store: &Store, playlist: &ResourceKey, media: &Media) {
        let target = media.target_duration;
        let recent = &media.segments[media.segments.len().saturating_sub(RECENT)..];
        let forget_missing = |hash: &ResourceHash| {
            if store.get(hash).is_some_and(|held| held.head.status.is_client_error()) {
                store.remove(hash);
            }
        };
        for segment in recent {
            if let Some(key) = listed(playlist, &segment.uri) {
                forget_missing(&key.hash());
            }
        }
        let parts = || recent.iter().flat_map(|segment| &segment.parts).chain(&media.trailing_parts);
        for part in parts().filter(|part| !part.gap) {
            if let Some(key) = listed(playlist, &part.uri) {
                let hash = key.hash();
                forget_missing(&hash);
                self.listed.insert(hash, Listing { target, hinted: false, whole: part.byte_range.is_none() });
                if let Some(range) = part.byte_range {
                    self.grow(&hash, range.end());
                }
            }
        }
        // A segment that is listed is made.
        for segment in recent.iter().filter(|segment| segment.byte_range.is_none()) {
            if let Some(key) = listed(playlist, &segment.uri)
                && let Some(growth) = self.growths.get(&key.hash())
            {
                growth.release(u64::MAX);
            }
        }
        // Which of the two a hint is for, the parts before it tell.
        let by_range = parts().last().is_some_and(|part| part.byte_range.is_some());
        for hint in media.preload_hints.iter().filter(|_| media.is_live()) {
            let Some(key) = listed(playlist, &hint.uri) else { continue };
            let hash = key.hash();
            let whole = hint.kind == PreloadKind::Part && hint.start == 0 && hint.length.is_none() && !by_range;
            if by_range && hint.kind == PreloadKind::Part {
                self.grow(&hash, hint.start);
            }
            // The rest of a resource of which parts are listed already is no resource of its own.
            if self.listed.get(&hash).is_none_or(|known| known.hinted) {
                self.listed.insert(hash, Listing { target, hinted: true, whole });
            }
        }
    }
}
