//! How long a response is fresh, how long it may be served stale, and whether it may be kept: RFC 9111 as a shared
//! cache, RFC 5861, and the rules for HLS playlists on top. Pure functions; the time is an argument.

mod directives;
mod judge;

pub use directives::Directives;
pub use judge::{Judged, Judgement, judge};
