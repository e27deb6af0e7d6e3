//! What a playlist says that is held here.

use crate::object::Entry;
use weir_hls::{Bounds, Media, Playlist, Reference, read, resolve};
use weir_protocol::resource::ResourceKey;

/// The media playlist in an entry, once its body is whole; `None` when it is something else.
pub async fn media_of(entry: &Entry) -> Option<Media> {
    while entry.body.ended().is_none() {
        entry.body.beyond(entry.body.length()).await;
    }
    match read(&entry.body.joined()?, &Bounds::default()) {
        Ok(Playlist::Media(media)) => Some(media),
        _ => None,
    }
}

/// The resource that a URI in this playlist names, when it is on the same origin.
pub fn listed(playlist: &ResourceKey, uri: &str) -> Option<ResourceKey> {
    let Reference::SameOrigin { path, query } = resolve(playlist.path.as_str(), uri)? else { return None };
    let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
    ResourceKey::parse(playlist.publisher, &target).ok()
}
