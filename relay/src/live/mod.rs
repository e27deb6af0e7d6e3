//! Live playlists as players of low-latency streams see them (draft-pantos-hls-rfc8216bis section 6.2.5): versions that
//! follow one another, requests that wait for the next one, and media that is announced before it is made.
//!
//! Invariant: what is known here comes from playlists that the store was given, newest first and bounded; a version never
//! goes backwards, and nobody waits without a limit.

mod control;
mod growth;
mod listed;
mod listing;
mod rendition;
mod renditions;
mod version;

pub(crate) use control::as_plain;
pub use growth::Growth;
pub use listed::{listed, media_of};
pub use listing::Listing;
pub(crate) use listing::hold;
pub use rendition::Rendition;
pub use renditions::Renditions;
pub use version::{Form, Version};
