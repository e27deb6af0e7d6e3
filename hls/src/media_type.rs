//! What a path's extension or a `Content-Type` says about a resource.
//!
//! Invariant: a guess only. It chooses headers and cache rules; whether text is a playlist is decided by reading it,
//! and which resource is a key by the playlist that names it.

use crate::media_type::ResourceKind::{Key, Other, Playlist, Segment, Subtitle};

/// How a resource is to be treated. There is no kind for initialisation sections: neither extension nor type tells
/// them from segments, only a playlist's `EXT-X-MAP` does ([`crate::UriRole::Map`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// HLS playlist text.
    Playlist,
    /// Media bytes: a segment, a part, an initialisation section or a whole file.
    Segment,
    /// Subtitle text (WebVTT, TTML, SubRip).
    Subtitle,
    /// A decryption key: passed through, never stored.
    Key,
    /// Anything else: images, steering lists, pages.
    Other,
}

/// Extension, media type, kind. The first line of an extension counts.
const EXTENSIONS: &[(&str, &str, ResourceKind)] = &[
    ("m3u8", "application/vnd.apple.mpegurl", Playlist),
    ("m3u", "application/vnd.apple.mpegurl", Playlist),
    ("ts", "video/mp2t", Segment),
    ("m2ts", "video/mp2t", Segment),
    ("m4s", "video/mp4", Segment),
    ("mp4", "video/mp4", Segment),
    ("m4v", "video/mp4", Segment),
    ("cmfv", "video/mp4", Segment),
    ("m4a", "audio/mp4", Segment),
    ("cmfa", "audio/mp4", Segment),
    ("aac", "audio/aac", Segment),
    ("ac3", "audio/ac3", Segment),
    ("ec3", "audio/eac3", Segment),
    ("mp3", "audio/mpeg", Segment),
    ("webm", "video/webm", Segment),
    ("vtt", "text/vtt", Subtitle),
    ("webvtt", "text/vtt", Subtitle),
    ("cmft", "application/mp4", Subtitle),
    ("ttml", "application/ttml+xml", Subtitle),
    ("srt", "application/x-subrip", Subtitle),
    ("key", "application/octet-stream", Key),
    ("mpd", "application/dash+xml", Other),
    ("jpg", "image/jpeg", Other),
    ("jpeg", "image/jpeg", Other),
    ("png", "image/png", Other),
    ("webp", "image/webp", Other),
    ("avif", "image/avif", Other),
    ("gif", "image/gif", Other),
    ("svg", "image/svg+xml", Other),
    ("ico", "image/x-icon", Other),
    ("json", "application/json", Other),
    ("html", "text/html; charset=utf-8", Other),
    ("htm", "text/html; charset=utf-8", Other),
    ("js", "text/javascript", Other),
    ("mjs", "text/javascript", Other),
    ("css", "text/css", Other),
    ("xml", "application/xml", Other),
    ("txt", "text/plain; charset=utf-8", Other),
];

/// Types that servers send for files they do not know: they say nothing.
const MEANINGLESS: &[&str] = &["application/octet-stream", "binary/octet-stream", "text/plain", "application/unknown"];

/// The types of HLS playlists (section 4 and section 10 name two; players accept all of these).
const PLAYLIST_TYPES: &[&str] = &[
    "application/vnd.apple.mpegurl",
    "application/x-mpegurl",
    "application/mpegurl",
    "audio/mpegurl",
    "audio/x-mpegurl",
];

/// The types of subtitle text.
const SUBTITLE_TYPES: &[&str] = &["text/vtt", "application/ttml+xml", "application/x-subrip"];

/// The media type for a path by its extension; a query or fragment is ignored, and so is case. `None` for an unknown
/// or missing extension (`application/octet-stream` is then the honest answer).
pub fn media_type(path: &str) -> Option<&'static str> {
    by_extension(path).map(|(media_type, _)| media_type)
}

impl ResourceKind {
    /// The kind of a resource by its path and, where known, its `Content-Type` field value.
    ///
    /// A playlist's or key's extension outweighs the type: origins often mislabel both, and mistaking a key for a
    /// segment would store it. Otherwise a type that says something outweighs the extension.
    pub fn of(path: &str, content_type: Option<&str>) -> Self {
        let by_path = by_extension(path).map_or(Other, |(_, kind)| kind);
        if matches!(by_path, Playlist | Key) {
            return by_path;
        }
        content_type.and_then(by_content_type).unwrap_or(by_path)
    }

    /// Whether the resource is text that is worth compressing.
    pub fn is_text(self) -> bool {
        matches!(self, Playlist | Subtitle)
    }
}

fn by_extension(path: &str) -> Option<(&'static str, ResourceKind)> {
    let path = path.split(['?', '#']).next()?;
    let (_, extension) = path.rsplit('/').next()?.rsplit_once('.')?;
    EXTENSIONS
        .iter()
        .find(|(known, ..)| known.eq_ignore_ascii_case(extension))
        .map(|(_, media_type, kind)| (*media_type, *kind))
}

fn by_content_type(value: &str) -> Option<ResourceKind> {
    let essence = value.split(';').next()?.trim();
    let is_in = |list: &[&str]| list.iter().any(|known| known.eq_ignore_ascii_case(essence));
    if !essence.contains('/') || is_in(MEANINGLESS) {
        return None;
    }
    if is_in(PLAYLIST_TYPES) {
        return Some(Playlist);
    }
    if is_in(SUBTITLE_TYPES) {
        return Some(Subtitle);
    }
    let top = essence.split('/').next()?;
    let is_media = ["video", "audio"].iter().any(|known| known.eq_ignore_ascii_case(top));
    Some(if is_media || essence.eq_ignore_ascii_case("application/mp4") { Segment } else { Other })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions() {
        assert_eq!(media_type("/live/master.M3U8?tok=a.ts"), Some("application/vnd.apple.mpegurl"));
        assert_eq!(media_type("/a.b/seg-00001.m4s"), Some("video/mp4"));
        assert_eq!(media_type("/a/seg.ts#t"), Some("video/mp2t"));
        assert_eq!(media_type("/k/enc.key"), Some("application/octet-stream"));
        assert_eq!(media_type("/subs/en.vtt"), Some("text/vtt"));
        assert_eq!(media_type("/dir.ts/file"), None);
        assert_eq!(media_type("/file."), None);
        assert_eq!(media_type(""), None);
    }

    #[test]
    fn kinds() {
        let of = ResourceKind::of;
        assert_eq!(of("/a.m3u8", None), Playlist);
        assert_eq!(of("/a.m3u8", Some("text/plain")), Playlist);
        assert_eq!(of("/play", Some("Application/X-MpegURL; charset=UTF-8")), Playlist);
        assert_eq!(of("/play", Some(" audio/mpegurl ;x=y")), Playlist);
        assert_eq!(of("/play", Some("application/vnd.apple.mpegurl")), Playlist);
        assert_eq!(of("/a.ts", Some("application/octet-stream")), Segment);
        assert_eq!(of("/a.ts", Some("text/vtt")), Subtitle);
        assert_eq!(of("/a.key", Some("video/mp2t")), Key);
        assert_eq!(of("/x", Some("video/MP4")), Segment);
        assert_eq!(of("/a.ts", Some("text/html")), Other);
        assert_eq!(of("/a.ts", Some("nonsense")), Segment);
        assert_eq!(of("/x", Some("application/vnd.apple.steering-list")), Other);
        assert_eq!(of("/x", None), Other);
    }

    #[test]
    fn the_table_names_each_extension_once() {
        for (index, (extension, ..)) in EXTENSIONS.iter().enumerate() {
            assert!(EXTENSIONS[index + 1..].iter().all(|(other, ..)| other != extension), "{extension}");
        }
    }
}
