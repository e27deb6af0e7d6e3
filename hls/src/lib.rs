//! HLS playlists read behind bounds and rewritten line by line, without I/O.
//!
//! Everything here works on bytes that a stranger may have written. Reading ([`read`]) is bounded before the first
//! line is parsed and answers with small types of our own; rewriting ([`rewrite`]) never goes through those types, so
//! a playlist that this crate understands only in part still passes through it byte for byte. "Section n" in this
//! crate means draft-pantos-hls-rfc8216bis.
//!
//! - [`media_type`] and [`ResourceKind`]: what a path or a `Content-Type` says about a resource.
//! - [`read`], [`Playlist`], [`Media`], [`Multivariant`]: what a playlist says.
//! - [`Position`]: how far a live playlist has come, so that it never goes backwards.
//! - [`UriRole`], [`rewrite`]: every URI in a playlist, and how to exchange some of them.
//! - [`cmcd`]: what a player says of itself.
//! - [`steering`]: steering lists, and playlists that tell of a steering server.
//! - [`Directives`], [`reload`](reload()), [`delta`](delta()): what low-latency players ask of a playlist, and its answer.
//! - [`mod@write`]: the tags of low-latency playlists as text.
//! - [`resolve`]: what a reference in a playlist points at.

mod attribute;
pub mod cmcd;
mod delta;
mod directives;
mod line;
mod media_type;
mod playlist;
mod resolve;
mod rewrite;
pub mod steering;
mod uri;
pub mod write;

pub use delta::delta;
pub use directives::{DirectiveError, Directives, Reload, Skip, reload};
pub use media_type::{ResourceKind, media_type};
pub use playlist::{
    Bounds, ByteRange, Limit, MAX_BYTES, MAX_LINE_BYTES, MAX_LINES, MAX_SECONDS, MapRef, Media, Multivariant, Part,
    Playlist, PlaylistType, Position, PreloadHint, PreloadKind, ReadError, Rendition, RenditionKind, RenditionReport,
    Resolution, Segment, ServerControl, Variant, read,
};
pub use resolve::{Reference, resolve};
pub use rewrite::rewrite;
pub use uri::{ListedUri, UriRole};
