//! Digests of byte ranges: the record of a single-file resource covers all of it, which a player that plays ranges never
//! has. So what a playlist lists as a range can be asked for as a small page with the range's SHA-256, which is signed
//! like any page.
//!
//! Invariant: only ranges that a playlist lists are digested, each at most `MAX_RANGE` bytes; at most `MAX_RESOURCES`
//! resources are remembered, with `MAX_LISTED` ranges each.

use bytes::Bytes;
use http::{StatusCode, header};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::poll_fn,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};
use weir_hls::{Bounds, ByteRange, Playlist, Reference, read, resolve};
use weir_protocol::{ids::PublisherId, part::Part, resource::ResourceKey};
use weir_relay::{
    fetch::{Fetch, Served, place},
    object::{Ended, Entry},
};

/// Longest range that is digested, in bytes.
const MAX_RANGE: u64 = 32 << 20;
const MAX_RESOURCES: usize = 4096;
const MAX_LISTED: usize = 32_768;

/// Why there is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The question names no resource or no range.
    #[error("name a resource and a range: /weir/record?key=<path and query, percent-encoded>&range=<first>-<last>")]
    BadQuestion,
    /// No playlist that was seen lists it.
    #[error("no playlist that is known here lists this range: name one that does with &playlist=<path and query>")]
    NotListed,
    /// Longer than the bound.
    #[error("a range is at most 33554432 bytes")]
    TooLong,
    /// The bytes cannot be had.
    #[error("the bytes of the range are not to be had")]
    Unavailable,
}

/// What a playlist has listed, and where the bytes come from.
pub struct Ranges {
    publisher: PublisherId,
    fetch: OnceLock<Fetch>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listed: HashMap<String, HashSet<(u64, u64)>>,
    order: VecDeque<String>,
}

/// The page.
#[derive(Serialize)]
struct Page<'a> {
    publisher: String,
    key: &'a str,
    content_range: String,
    content_digest: String,
    etag: Option<&'a str>,
}

impl Ranges {
    /// Of one publisher's resources; nothing is listed yet.
    pub fn new(publisher: PublisherId) -> Self {
        Self { publisher, fetch: OnceLock::new(), state: Mutex::default() }
    }

    /// Where bytes come from: the adapter's own fetcher, so that the origin is asked once however they are wanted.
    pub fn attach(&self, fetch: Fetch) {
        let _ = self.fetch.set(fetch);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A playlist passes by.
    pub fn learn(&self, target: &str, text: &[u8]) {
        let Ok(playlist) = ResourceKey::parse(self.publisher, target) else { return };
        let Ok(Playlist::Media(media)) = read(text, &Bounds::default()) else { return };
        let mut found: Vec<(&str, ByteRange)> = Vec::new();
        let mut add = |uri, range: Option<ByteRange>| found.extend(range.map(|range| (uri, range)));
        for segment in &media.segments {
            add(segment.uri.as_str(), segment.byte_range);
            if let Some(map) = &segment.map {
                add(&map.uri, map.byte_range);
            }
            for part in &segment.parts {
                add(&part.uri, part.byte_range);
            }
        }
        for part in &media.trailing_parts {
            add(&part.uri, part.byte_range);
        }
        // Segment after segment names the same file.
        let mut last: Option<(&str, Option<String>)> = None;
        let mut state = self.state();
        for (uri, range) in found.into_iter().filter(|(_, range)| range.length > 0) {
            let known = last.take().filter(|(known, _)| *known == uri).map(|(_, key)| key);
            let key = known.unwrap_or_else(|| named(&playlist, uri));
            if let Some(key) = &key {
                state.add(key, (range.offset, range.end() - 1));
            }
            last = Some((uri, key));
        }
    }

    /// The page for a question.
    ///
    /// # Errors
    /// [`RangeError`].
    pub async fn answer(&self, query: &str) -> Result<Vec<u8>, RangeError> {
        let mut values: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let mut key = |name: &str| {
            let target = values.remove(name)?;
            ResourceKey::parse(self.publisher, &target).ok()
        };
        let (playlist, resource) = (key("playlist"), key("key").ok_or(RangeError::BadQuestion)?);
        let (first, last) = values.get("range").and_then(|range| parse(range)).ok_or(RangeError::BadQuestion)?;
        let target = resource.path_and_query();
        if !self.lists(&target, (first, last))
            && let Some(playlist) = playlist
        {
            let served = self.fetch()?.get(&playlist, 0).await.map_err(|_| RangeError::NotListed)?;
            let text = whole(&served.entry).await.ok_or(RangeError::NotListed)?;
            self.learn(&playlist.path_and_query(), &text);
        }
        if !self.lists(&target, (first, last)) {
            return Err(RangeError::NotListed);
        }
        if last - first >= MAX_RANGE {
            return Err(RangeError::TooLong);
        }
        let (digest, total, etag) = self.digest(&resource, first, last).await.ok_or(RangeError::Unavailable)?;
        let page = Page {
            publisher: self.publisher.to_string(),
            key: &target,
            content_range: format!("bytes {first}-{last}/{total}"),
            content_digest: format!("sha-256=:{}:", data_encoding::BASE64.encode(&digest)),
            etag: etag.as_deref(),
        };
        serde_json::to_vec(&page).map_err(|_| RangeError::Unavailable)
    }

    fn fetch(&self) -> Result<&Fetch, RangeError> {
        self.fetch.get().ok_or(RangeError::Unavailable)
    }

    fn lists(&self, target: &str, range: (u64, u64)) -> bool {
        self.state().listed.get(target).is_some_and(|ranges| ranges.contains(&range))
    }

    /// Over slices, or the whole where the origin knows no ranges.
    async fn digest(&self, key: &ResourceKey, first: u64, last: u64) -> Option<([u8; 32], u64, Option<String>)> {
        let (mut hash, mut at) = (Sha256::new(), first);
        let mut is: Option<(u64, Option<String>)> = None;
        while at <= last {
            let slice = key.clone().with_variant(Some(Part::at(at).variant()));
            let Served { entry, .. } = self.fetch().ok()?.get(&slice, 0).await.ok()?;
            let etag = entry.head.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
            let (begin, total) = match place(&entry) {
                Some(place) => (place.first, place.total),
                None if entry.head.status == StatusCode::OK => (0, entry.head.length?),
                None => return None,
            };
            // Slices of two representations make no range of either.
            if is.get_or_insert_with(|| (total, etag.clone())) != &(total, etag) || last >= total || at < begin {
                return None;
            }
            let mut reader = entry.body.reader(at - begin, Some(last + 1 - begin));
            let before = at;
            while let Some(piece) = poll_fn(|cx| reader.poll_next(cx)).await {
                let piece = piece.ok()?;
                hash.update(&piece);
                at += piece.len() as u64;
            }
            if at == before {
                return None;
            }
        }
        let (total, etag) = is?;
        Some((hash.finalize().into(), total, etag))
    }
}

impl State {
    fn add(&mut self, target: &str, range: (u64, u64)) {
        if !self.listed.contains_key(target) {
            self.order.push_back(target.to_owned());
            if self.order.len() > MAX_RESOURCES
                && let Some(oldest) = self.order.pop_front()
            {
                self.listed.remove(&oldest);
            }
        }
        let ranges = self.listed.entry(target.to_owned()).or_default();
        if ranges.len() < MAX_LISTED {
            ranges.insert(range);
        }
    }
}

/// `first-last`.
fn parse(range: &str) -> Option<(u64, u64)> {
    let (first, last) = range.split_once('-')?;
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// The target on the same origin that a playlist's reference names, in the form that requests have.
fn named(playlist: &ResourceKey, uri: &str) -> Option<String> {
    let Reference::SameOrigin { path, query } = resolve(playlist.path.as_str(), uri)? else { return None };
    let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
    ResourceKey::parse(playlist.publisher, &target).ok().map(|key| key.path_and_query())
}

async fn whole(entry: &Entry) -> Option<Bytes> {
    while entry.body.ended().is_none() {
        entry.body.beyond(entry.body.length()).await;
    }
    match entry.body.ended() {
        Some(Ended::Failed(_)) => None,
        _ => entry.body.joined(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_playlists_list_is_known_by_its_target() {
        let ranges = Ranges::new(PublisherId([1; 32]));
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"100@0\"\n\
                    #EXTINF:2,\n#EXT-X-BYTERANGE:50@100\nall.mp4\n#EXTINF:2,\n#EXT-X-BYTERANGE:60\nall.mp4\n#EXTINF:2,\nplain.mp4\n";
        ranges.learn("/a/v.m3u8?x=1", text.as_bytes());
        for range in [(0, 99), (100, 149), (150, 209)] {
            assert!(ranges.lists("/a/all.mp4", range), "{range:?}");
        }
        assert!(!ranges.lists("/a/all.mp4", (0, 100)) && !ranges.lists("/a/plain.mp4", (0, 0)));
        for n in 0..=MAX_RESOURCES {
            ranges.state().add(&format!("/{n}"), (0, 1));
        }
        assert!(!ranges.lists("/a/all.mp4", (0, 99)));
        assert_eq!(ranges.state().listed.len(), MAX_RESOURCES);
    }

    #[test]
    fn ranges_are_two_numbers() {
        assert_eq!(parse("0-99"), Some((0, 99)));
        for wrong in ["", "5", "5-", "-5", "5-4", "+1-2", "1-2-3", "99999999999999999999-1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
