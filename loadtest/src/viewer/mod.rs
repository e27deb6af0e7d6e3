//! An HLS viewer without a screen: reads playlists, picks a rendition, loads and checks segments, and plays them in
//! real time against a model of a buffer.
//!
//! Invariants: every request ends within the client's time-outs and is retried at most [`Config::attempts`] times;
//! what it holds is bounded by one playlist per rendition and one segment; it stops promptly when cancelled.
//!
//! It loads the variant streams only, not the alternative audio or subtitles of `EXT-X-MEDIA`. "Section n" here means
//! RFC 8216.

mod boxes;
pub(crate) mod check;
mod config;
mod event;
mod fetch;
mod fragment;
pub(crate) mod live;
mod place;
pub(crate) mod playback;
mod rendition;
mod session;
mod summary;
mod ts;

pub use config::{Choice, Config};
pub use event::{Event, Fetched, SegmentEvent};
pub use session::Viewer;
pub use summary::{Outcome, RelayTally, Summary};
