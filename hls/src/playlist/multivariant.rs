//! What a multivariant playlist says (section 4.4.6).
//!
//! Invariant: URIs are as written; every variant and I-frame stream has one.

use crate::uri::ListedUri;

/// A multivariant playlist.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Multivariant {
    /// `EXT-X-STREAM-INF`, in order.
    pub variants: Vec<Variant>,
    /// `EXT-X-I-FRAME-STREAM-INF`, in order.
    pub i_frame_streams: Vec<Variant>,
    /// `EXT-X-MEDIA`, in order.
    pub renditions: Vec<Rendition>,
    /// `URI` of every `EXT-X-SESSION-KEY` whose method is not `NONE` and that is not a `data:` URI, each once.
    pub session_keys: Vec<String>,
    pub(crate) uris: Vec<ListedUri>,
}

impl Multivariant {
    /// Every URI with its role, in the order of the text and as written; `data:` URIs are left out.
    pub fn uris(&self) -> &[ListedUri] {
        &self.uris
    }
}

/// A variant or I-frame stream (sections 4.4.6.2 and 4.4.6.3).
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// As written.
    pub uri: String,
    /// `BANDWIDTH`: peak, in bit/s.
    pub bandwidth: u64,
    /// `AVERAGE-BANDWIDTH`, in bit/s.
    pub average_bandwidth: Option<u64>,
    /// `CODECS`.
    pub codecs: Option<String>,
    /// `RESOLUTION`.
    pub resolution: Option<Resolution>,
    /// `FRAME-RATE`, in frames per second; finite and not negative.
    pub frame_rate: Option<f64>,
    /// `AUDIO`: a group of [`Multivariant::renditions`].
    pub audio: Option<String>,
    /// `VIDEO`.
    pub video: Option<String>,
    /// `SUBTITLES`.
    pub subtitles: Option<String>,
    /// `PATHWAY-ID`; where absent, the pathway is `.`.
    pub pathway: Option<String>,
    /// `STABLE-VARIANT-ID`.
    pub stable_id: Option<String>,
}

/// In pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// In pixels.
    pub width: u64,
    /// In pixels.
    pub height: u64,
}

/// `TYPE` of `EXT-X-MEDIA`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RenditionKind {
    /// `AUDIO`.
    Audio,
    /// `VIDEO`.
    Video,
    /// `SUBTITLES`.
    Subtitles,
    /// `CLOSED-CAPTIONS`: carried in the video, so without a URI.
    ClosedCaptions,
}

/// `EXT-X-MEDIA` (section 4.4.6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// `TYPE`.
    pub kind: RenditionKind,
    /// `GROUP-ID`.
    pub group: String,
    /// `NAME`.
    pub name: String,
    /// `LANGUAGE` (RFC 5646).
    pub language: Option<String>,
    /// As written; `None` where the rendition is muxed into the variants.
    pub uri: Option<String>,
    /// `DEFAULT=YES`.
    pub default: bool,
    /// `AUTOSELECT=YES`.
    pub autoselect: bool,
}
