//! The origin-adapter: a node whose source is a platform's HLS origin. It signs what the origin answers (`signed`,
//! `keys`), follows live playlists while somebody watches (`follow`), reads a folder as if it were an origin
//! (`folder`), and tells relays how to join (`handler`).

pub mod folder;
pub mod follow;
pub mod handler;
pub mod keys;
pub mod signed;
