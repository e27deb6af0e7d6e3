//! The origin-adapter: a node whose source is a platform's HLS origin. It signs what the origin answers (`signed`,
//! `keys`), follows live playlists while somebody watches (`follow`), reads a folder as if it were an origin
//! (`folder`), tells relays how to join (`handler`), decides who may (`granting`), withdraws content (`takedown`), sends
//! players to relays (`steering`), digests ranges (`ranges`), counts what players report (`reports`), takes in the
//! evidence of what relays delivered (`collector`), and states what the publisher saw itself (`observe`).

pub mod collector;
pub mod folder;
pub mod follow;
pub mod granting;
pub mod handler;
pub mod keys;
pub mod ll;
pub mod observe;
pub mod own;
pub mod ranges;
pub mod reports;
pub mod signed;
pub mod steering;
pub mod takedown;
