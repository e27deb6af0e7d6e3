//! Follows live playlists while somebody watches or a relay wants them pushed: the origin is asked for each once, new
//! segments are fetched as soon as they are listed, and both go down the trees of the rendition.

mod follower;
mod look;

pub use follower::Follower;
