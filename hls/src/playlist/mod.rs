//! Reads playlists behind bounds.
//!
//! m3u8-rs does the reading, but never sees a stranger's text. It was found to: take the part of an `EXTINF` title
//! after a comma for a URI; let an attribute list swallow following lines up to the next `=`, in time quadratic in
//! the text; turn numbers that do not fit into zero; read `EXT-X-DISCONTINUITY` out of any tag that starts with it;
//! drop the rest of the playlist at the first byte that is not UTF-8; reject keys with `METHOD=NONE`; apply
//! `EXT-X-MAP` to one segment only; lose parts. So every line is first checked and read here, and m3u8-rs is given a
//! canonical text written from checked values, in which none of this can occur; what it gives back must agree with
//! what went in.
//!
//! Invariant: reading is bounded by [`Bounds`] before the first line is parsed, linear in the text, free of panics,
//! and no number is ever silently changed.

mod bounds;
mod error;
mod fields;
mod keys;
mod media;
mod media_reader;
mod multivariant;
mod multivariant_reader;
mod position;

use crate::line::{Kind, lines};
use crate::playlist::fields::Tag;
use crate::uri::{ListedUri, visit};

pub use bounds::{Bounds, MAX_BYTES, MAX_LINE_BYTES, MAX_LINES};
pub use error::{Limit, ReadError};
pub use fields::MAX_SECONDS;
pub use media::{
    ByteRange, MapRef, Media, Part, PlaylistType, PreloadHint, PreloadKind, RenditionReport, Segment, ServerControl,
};
pub use multivariant::{Multivariant, Rendition, RenditionKind, Resolution, Variant};
pub use position::Position;

/// A playlist that has been read.
#[derive(Debug, Clone, PartialEq)]
pub enum Playlist {
    /// Lists other playlists (section 4.4.6).
    Multivariant(Multivariant),
    /// Lists media segments (section 4.4.3).
    Media(Media),
}

impl Playlist {
    /// Every URI that the playlist references, with its role, in the order of the text and as written. `data:` URIs
    /// and empty ones are left out.
    pub fn uris(&self) -> &[ListedUri] {
        match self {
            Self::Multivariant(multivariant) => &multivariant.uris,
            Self::Media(media) => &media.uris,
        }
    }

    /// The media playlist, if it is one.
    pub fn as_media(&self) -> Option<&Media> {
        match self {
            Self::Media(media) => Some(media),
            Self::Multivariant(_) => None,
        }
    }
}

/// Tags that occur in multivariant playlists only.
const MULTIVARIANT_TAGS: &[&str] = &[
    "EXT-X-STREAM-INF",
    "EXT-X-I-FRAME-STREAM-INF",
    "EXT-X-MEDIA",
    "EXT-X-SESSION-DATA",
    "EXT-X-SESSION-KEY",
    "EXT-X-CONTENT-STEERING",
];

/// Tags that occur in media playlists only and decide what an unclear playlist is.
const MEDIA_TAGS: &[&str] = &["EXT-X-TARGETDURATION", "EXTINF", "EXT-X-MEDIA-SEQUENCE", "EXT-X-PART", "EXT-X-ENDLIST"];

/// Reads a playlist.
///
/// # Errors
/// [`ReadError::TooLarge`] where a bound is passed, [`ReadError::NotAPlaylist`] where the first line is not `#EXTM3U`
/// (section 4.4.1.1), [`ReadError::Malformed`] where a line that matters cannot be read as the specification says
/// (numbers that do not fit, missing attributes, both kinds of tags in one text), [`ReadError::Disagreement`] where
/// m3u8-rs reads the checked text differently.
pub fn read(bytes: &[u8], bounds: &Bounds) -> Result<Playlist, ReadError> {
    bounds.check(bytes)?;
    let mut first = true;
    let mut tags = Vec::new();
    for line in lines(bytes) {
        let kind = line.kind();
        if std::mem::take(&mut first) && !matches!(kind, Kind::Tag { name: "EXTM3U", .. }) {
            return Err(ReadError::NotAPlaylist);
        }
        match kind {
            Kind::Blank | Kind::Comment => {}
            Kind::Opaque => return Err(ReadError::malformed(line.number, "", "not UTF-8 text")),
            Kind::Uri(uri) => tags.push(Tag { line: line.number, name: "", value: uri }),
            Kind::Tag { name, value, .. } => tags.push(Tag { line: line.number, name, value }),
        }
    }
    if first {
        return Err(ReadError::NotAPlaylist);
    }
    let multivariant = tags.iter().find(|tag| MULTIVARIANT_TAGS.contains(&tag.name));
    let media = tags.iter().find(|tag| MEDIA_TAGS.contains(&tag.name));
    if let (Some(one), Some(other)) = (multivariant, media) {
        let later = if one.line > other.line { one } else { other };
        return Err(later.malformed("tags of media and multivariant playlists in one text"));
    }
    let is_multivariant = multivariant.is_some();
    let mut playlist = if is_multivariant {
        Playlist::Multivariant(multivariant_reader::read(&tags)?)
    } else {
        Playlist::Media(media_reader::read(&tags)?)
    };
    let uris = match &mut playlist {
        Playlist::Multivariant(multivariant) => &mut multivariant.uris,
        Playlist::Media(media) => &mut media.uris,
    };
    visit(bytes, |spot| uris.push(ListedUri { role: spot.role, uri: spot.uri.to_owned() }));
    Ok(playlist)
}

#[cfg(test)]
mod tests;
