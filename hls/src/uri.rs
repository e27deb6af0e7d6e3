//! Where a playlist holds URIs, and what each is for.
//!
//! Invariant: the table here is the only list of URI-bearing tags, so what [`crate::Playlist::uris`] lists and what
//! [`crate::rewrite`] offers are the same. Tag and attribute names are compared whole.

use std::fmt;
use std::ops::Range;

use crate::attribute::Attributes;
use crate::line::{Kind, lines};

/// What a URI in a playlist is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UriRole {
    /// The URI line after `EXT-X-STREAM-INF` (section 4.4.6.2).
    Variant,
    /// `EXT-X-MEDIA` (section 4.4.6.1).
    Rendition,
    /// `EXT-X-I-FRAME-STREAM-INF` (section 4.4.6.3).
    IFrame,
    /// A URI line that no `EXT-X-STREAM-INF` precedes: a media segment.
    Segment,
    /// `EXT-X-PART` (section 4.4.4.9).
    Part,
    /// `EXT-X-MAP` (section 4.4.4.5).
    Map,
    /// `EXT-X-KEY` (section 4.4.4.4).
    Key,
    /// `EXT-X-SESSION-KEY` (section 4.4.6.5).
    SessionKey,
    /// `EXT-X-SESSION-DATA` (section 4.4.6.4).
    SessionData,
    /// `EXT-X-PRELOAD-HINT` (section 4.4.5.3).
    PreloadHint,
    /// `EXT-X-RENDITION-REPORT` (section 4.4.5.4).
    RenditionReport,
    /// `SERVER-URI` of `EXT-X-CONTENT-STEERING` (section 4.4.6.6).
    Steering,
    /// `X-ASSET-URI` of `EXT-X-DATERANGE`: an interstitial's playlist (appendix D).
    Asset,
    /// `X-ASSET-LIST` of `EXT-X-DATERANGE`: a JSON list of interstitials (appendix D).
    AssetList,
}

/// Tag, attribute, role.
const ATTRIBUTES: &[(&str, &str, UriRole)] = &[
    ("EXT-X-MEDIA", "URI", UriRole::Rendition),
    ("EXT-X-I-FRAME-STREAM-INF", "URI", UriRole::IFrame),
    ("EXT-X-PART", "URI", UriRole::Part),
    ("EXT-X-MAP", "URI", UriRole::Map),
    ("EXT-X-KEY", "URI", UriRole::Key),
    ("EXT-X-SESSION-KEY", "URI", UriRole::SessionKey),
    ("EXT-X-SESSION-DATA", "URI", UriRole::SessionData),
    ("EXT-X-PRELOAD-HINT", "URI", UriRole::PreloadHint),
    ("EXT-X-RENDITION-REPORT", "URI", UriRole::RenditionReport),
    ("EXT-X-CONTENT-STEERING", "SERVER-URI", UriRole::Steering),
    ("EXT-X-DATERANGE", "X-ASSET-URI", UriRole::Asset),
    ("EXT-X-DATERANGE", "X-ASSET-LIST", UriRole::AssetList),
];

impl UriRole {
    /// Whether the URI names a playlist.
    pub fn is_playlist(self) -> bool {
        matches!(self, Self::Variant | Self::Rendition | Self::IFrame | Self::RenditionReport | Self::Asset)
    }

    /// Whether the URI names media that a player of this playlist fetches: a segment, a part or an initialisation
    /// section, announced or hinted at.
    pub fn is_media(self) -> bool {
        matches!(self, Self::Segment | Self::Part | Self::Map | Self::PreloadHint)
    }

    /// Whether the URI names a decryption key.
    pub fn is_key(self) -> bool {
        matches!(self, Self::Key | Self::SessionKey)
    }
}

impl fmt::Display for UriRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Variant => "variant",
            Self::Rendition => "rendition",
            Self::IFrame => "i-frame",
            Self::Segment => "segment",
            Self::Part => "part",
            Self::Map => "map",
            Self::Key => "key",
            Self::SessionKey => "session-key",
            Self::SessionData => "session-data",
            Self::PreloadHint => "preload-hint",
            Self::RenditionReport => "rendition-report",
            Self::Steering => "steering",
            Self::Asset => "asset",
            Self::AssetList => "asset-list",
        })
    }
}

/// A URI that a playlist references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUri {
    /// What it is for.
    pub role: UriRole,
    /// As written: relative or absolute, with `EXT-X-DEFINE` variables unresolved.
    pub uri: String,
}

/// How a URI stands in the text, and so which characters would end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Line,
    Quoted,
    /// An attribute value without quotation marks: against section 4.4, yet seen.
    Bare,
}

/// A URI at its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot<'a> {
    pub(crate) role: UriRole,
    pub(crate) form: Form,
    /// Byte range of `uri` in the input.
    pub(crate) range: Range<usize>,
    pub(crate) uri: &'a str,
}

/// Visits every URI of a playlist in the order of the text. Empty values and `data:` URIs are left out: there is
/// nothing to fetch. Lines that are not text are left out too.
pub(crate) fn visit<'a>(input: &'a [u8], mut f: impl FnMut(Spot<'a>)) {
    let mut after_stream_inf = false;
    for line in lines(input) {
        match line.kind() {
            Kind::Uri(uri) => {
                let role = if after_stream_inf { UriRole::Variant } else { UriRole::Segment };
                after_stream_inf = false;
                if !is_data(uri) {
                    f(Spot { role, form: Form::Line, range: line.start..line.start + uri.len(), uri });
                }
            }
            Kind::Tag { name, value, value_at } => {
                after_stream_inf |= name == "EXT-X-STREAM-INF";
                if !ATTRIBUTES.iter().any(|(tag, ..)| *tag == name) {
                    continue;
                }
                for found in Attributes::new(value).flatten() {
                    let Some((.., role)) =
                        ATTRIBUTES.iter().find(|(tag, attribute, _)| *tag == name && *attribute == found.name)
                    else {
                        continue;
                    };
                    if found.value.is_empty() || is_data(found.value) {
                        continue;
                    }
                    let start = value_at + found.at;
                    let form = if found.quoted { Form::Quoted } else { Form::Bare };
                    let range = start..start + found.value.len();
                    f(Spot { role: *role, form, range, uri: found.value });
                }
            }
            Kind::Blank | Kind::Comment | Kind::Opaque => {}
        }
    }
}

/// Whether a URI carries its content itself (RFC 2397).
pub(crate) fn is_data(uri: &str) -> bool {
    uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spots_point_at_their_text() {
        let input = "#EXTM3U\r\n#EXT-X-MAP:URI=\"i,1.mp4\",BYTERANGE=\"5@0\"\r\n#EXTINF:1,\r\n seg.m4s \r\n";
        let mut seen = Vec::new();
        visit(input.as_bytes(), |spot| {
            assert_eq!(&input[spot.range.clone()], spot.uri);
            seen.push((spot.role, spot.form, spot.uri));
        });
        assert_eq!(seen, [(UriRole::Map, Form::Quoted, "i,1.mp4"), (UriRole::Segment, Form::Line, "seg.m4s")]);
    }

    #[test]
    fn names_are_compared_whole() {
        let input = "#EXT-X-KEYS:URI=\"a\"\n#EXT-X-KEY:XURI=\"b\",uri=\"c\"\n#EXT-X-MEDIA-SEQUENCE:URI=\"d\"\n";
        visit(input.as_bytes(), |spot| panic!("{spot:?}"));
    }
}
