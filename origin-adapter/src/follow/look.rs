//! One look at a playlist, and what a newer one lists that the one before did not. Invariant: of a rendition whose
//! beginning was not seen only the newest segment counts as new; nothing counts twice.

use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use weir_hls::{Media, PreloadKind};
use weir_protocol::{
    ids::{Generation, ResourceHash},
    resource::ResourceKey,
    wire::PushClass,
};
use weir_relay::{
    fetch::{Fetch, FetchError},
    live::{listed, media_of},
    object::Entry,
    push::MAX_NEW_SEGMENTS,
};

/// Segments remembered as known; a playlist that lists more has none of them fetched beforehand but its newest.
const MAX_KNOWN: usize = 1024;
/// New parts that one look may bring; more are no live edge.
const MAX_NEW_PARTS: usize = 16;
/// Parts remembered as known: those of the segments that playlists still list parts of.
const MAX_KNOWN_PARTS: usize = 256;
/// How often a follower that waits for the next version sees to it that somebody asks for it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a look found.
pub(super) struct Look {
    pub(super) key: ResourceKey,
    /// The playlist, `None` when it is no media playlist; or why there is none.
    pub(super) found: Result<(Arc<Entry>, Option<Arc<Media>>), FetchError>,
}

/// Something that a playlist lists anew.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct New {
    pub(super) key: ResourceKey,
    pub(super) class: PushClass,
    /// It may not be made yet: its source may hold a request for so long.
    pub(super) patience: Option<Duration>,
}

/// Asks the origin.
pub(super) async fn look(fetch: Fetch, key: ResourceKey) -> Look {
    let found = match fetch.receive(&key, true, Vec::new()).await {
        Ok(served) => {
            let media = media_of(&served.entry).await.map(Arc::new);
            Ok((served.entry, media))
        }
        Err(error) => Err(error),
    };
    Look { key, found }
}

/// Waits until the origin publishes another version than `known`, and asks it plainly when that takes too long.
pub(super) async fn look_on(fetch: Fetch, key: ResourceKey, known: Option<Generation>, patience: Duration) -> Look {
    let deadline = Instant::now() + patience;
    if let Some(rendition) = fetch.rendition(&key.hash()) {
        let mut versions = rendition.listen();
        while Instant::now() < deadline {
            let newest = versions.borrow_and_update().clone();
            if let Some(version) =
                newest.filter(|version| known.is_none_or(|known| version.entry.head.generation > known))
            {
                return Look { key, found: Ok((version.entry.clone(), Some(version.media.clone()))) };
            }
            fetch.bring(&key, &rendition);
            // The sender lives in the rendition, which is held here.
            let _ = timeout_at(deadline.min(Instant::now() + LOOK_EVERY), versions.changed()).await;
        }
    }
    look(fetch, key).await
}

/// What is known of a rendition.
#[derive(Default)]
pub(super) struct Known {
    generation: Option<Generation>,
    segments: VecDeque<ResourceHash>,
    parts: VecDeque<ResourceHash>,
}

impl Known {
    /// The newest body that has been seen.
    pub(super) fn generation(&self) -> Option<Generation> {
        self.generation
    }

    /// Parts that were not listed before, and the one that is announced: it is asked for before it is made, so that it
    /// is on its way as soon as it is.
    pub(super) fn new_parts_in(&mut self, playlist: &ResourceKey, media: &Media, patience: Duration) -> Vec<New> {
        let begins = self.parts.is_empty();
        let parts = media.segments.iter().flat_map(|segment| &segment.parts).chain(&media.trailing_parts);
        let mut listed_now: Vec<ResourceKey> = parts
            .filter(|part| !part.gap && part.byte_range.is_none())
            .filter_map(|part| listed(playlist, &part.uri))
            .filter(|key| !self.parts.contains(&key.hash()))
            .collect();
        if begins {
            // Whoever begins here begins with the newest.
            let older = listed_now.len().saturating_sub(1);
            self.parts.extend(listed_now.drain(..older).map(|key| key.hash()));
        }
        listed_now.truncate(MAX_NEW_PARTS);
        let mut new: Vec<New> =
            listed_now.into_iter().map(|key| New { key, class: PushClass::Part, patience: None }).collect();
        // A hint for the rest of a resource is for one that is asked for as a whole already.
        let hints = media.preload_hints.iter().filter(|hint| hint.kind == PreloadKind::Part && hint.start == 0);
        for key in hints.filter_map(|hint| listed(playlist, &hint.uri)) {
            if !self.parts.contains(&key.hash()) {
                new.push(New { key, class: PushClass::Part, patience: Some(patience) });
            }
        }
        self.parts.extend(new.iter().map(|new| new.key.hash()));
        while self.parts.len() > MAX_KNOWN_PARTS {
            self.parts.pop_front();
        }
        new
    }

    /// It could not be had: it counts as new when it is listed again.
    pub(super) fn forget(&mut self, key: &ResourceKey) {
        let hash = key.hash();
        self.parts.retain(|known| *known != hash);
    }

    /// True when this body of the playlist is newer than all before.
    pub(super) fn advance(&mut self, entry: &Entry) -> bool {
        let newer = self.generation.is_none_or(|known| entry.head.generation > known);
        if newer {
            self.generation = Some(entry.head.generation);
        }
        newer
    }

    /// Segments, and initialisation sections they need, that were not listed before; in order.
    pub(super) fn new_in(&mut self, playlist: &ResourceKey, media: &Media) -> Vec<ResourceKey> {
        let begins = self.segments.is_empty();
        let mut new = Vec::new();
        for segment in media.segments.iter().rev() {
            // Ranges of one large file are fetched as they are asked for.
            if segment.gap || segment.byte_range.is_some() {
                continue;
            }
            let Some(key) = listed(playlist, &segment.uri) else { continue };
            if self.segments.contains(&key.hash()) {
                break;
            }
            if self.parts.contains(&key.hash()) {
                // It was announced as a whole before it was made.
                continue;
            }
            new.push(key);
            let map = segment.map.as_ref().filter(|map| map.byte_range.is_none());
            if let Some(map) = map.and_then(|map| listed(playlist, &map.uri)) {
                let known = self.segments.contains(&map.hash()) || new.contains(&map);
                new.extend((!known).then_some(map));
            }
            if begins || new.len() >= MAX_NEW_SEGMENTS {
                break;
            }
        }
        new.reverse();
        if begins {
            // Older ones are known in so far as they are not new.
            let listed =
                media.segments.iter().rev().take(MAX_KNOWN).filter_map(|segment| listed(playlist, &segment.uri));
            let older: Vec<ResourceHash> = listed.map(|key| key.hash()).collect();
            self.segments.extend(older.into_iter().rev());
        }
        self.segments.extend(new.iter().map(ResourceKey::hash));
        while self.segments.len() > MAX_KNOWN {
            self.segments.pop_front();
        }
        new
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_hls::{Bounds, Playlist, read};
    use weir_protocol::ids::PublisherId;

    fn new(known: &mut Known, text: &str) -> Vec<String> {
        let playlist = ResourceKey::parse(PublisherId::from_bytes([1; 32]), "/live/v.m3u8").unwrap();
        let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n{text}");
        let Playlist::Media(media) = read(text.as_bytes(), &Bounds::default()).unwrap() else { panic!("media") };
        known.new_in(&playlist, &media).into_iter().map(|key| key.path_and_query()).collect()
    }

    #[test]
    fn only_what_was_not_listed_before_is_new() {
        let mut known = Known::default();
        assert_eq!(new(&mut known, "#EXTINF:4,\na.ts\n#EXTINF:4,\nb.ts\n"), ["/live/b.ts"]);
        assert!(new(&mut known, "#EXTINF:4,\na.ts\n#EXTINF:4,\nb.ts\n").is_empty());
        assert_eq!(
            new(&mut known, "#EXTINF:4,\nb.ts\n#EXTINF:4,\nc.ts\n#EXTINF:4,\nd.ts?x=1\n"),
            ["/live/c.ts", "/live/d.ts?x=1"]
        );
    }

    #[test]
    fn an_initialisation_section_comes_before_its_first_segment_and_once() {
        let mut known = Known::default();
        let map = "#EXT-X-MAP:URI=\"init.mp4\"\n";
        assert_eq!(new(&mut known, &format!("{map}#EXTINF:4,\na.m4s\n")), ["/live/init.mp4", "/live/a.m4s"]);
        assert_eq!(new(&mut known, &format!("{map}#EXTINF:4,\na.m4s\n#EXTINF:4,\nb.m4s\n")), ["/live/b.m4s"]);
    }

    #[test]
    fn gaps_ranges_and_other_hosts_are_not_fetched() {
        let mut known = Known::default();
        let text = "#EXT-X-GAP\n#EXTINF:4,\na.ts\n#EXTINF:4,\n#EXT-X-BYTERANGE:9@0\nall.ts\n#EXTINF:4,\nhttps://other.example/c.ts\n";
        assert!(new(&mut known, text).is_empty());
    }
}
