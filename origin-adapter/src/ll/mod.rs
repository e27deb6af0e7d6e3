//! Low latency for an ordinary origin (`weir origin --ll`): a raw source that stands in front of another one and turns its
//! live playlists of chunked CMAF into Low-Latency HLS (draft-pantos-hls-rfc8216bis). The segment that is being made is
//! asked for before any playlist lists it, cut at its `moof` boxes as it comes, and each part is listed and handed out
//! when it is whole; requests for the next version or part are held. Whatever stands behind this sees an LL origin.
//!
//! Invariants: what cannot be cut passes through as it is; a byte of the origin's media is in exactly one part, in its
//! order; channels, segments and bytes that are held are bounded.

mod ahead;
mod answer;
mod channel;
mod chunks;
mod cut;
mod held;
mod inner;
mod look;
mod maker;
mod package;
mod playlist;
mod predict;
mod source;
mod tracks;

pub use inner::LowLatencyConfig;
pub use package::Packager;
pub use source::LowLatency;
