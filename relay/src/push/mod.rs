//! Live renditions pushed down trees: the node's side of `mesh::tree`. An adapter leads a feed (`lead`) and keeps the
//! trees (`trees`); a relay subscribes to what its viewers watch (`follow`, `subscription`), takes pushed objects in as
//! fills that viewers join (`arrival`), and passes them on to its children while they still grow (`serve`).
//!
//! Invariants: what is pushed is verified like any reply before it is stored, served or passed on; a feed exists only
//! while somebody watches or a child is fed; renditions, children, objects under way and everything that waits are
//! bounded; a child that cannot keep up is let go rather than waited for.

mod arrival;
mod config;
mod feed;
mod follow;
mod intake;
mod lead;
mod node;
mod observer;
mod parent;
mod place;
mod serve;
mod subscription;
mod trees;
mod watching;

pub use config::{MAX_NEW_SEGMENTS, PushConfig};
pub use feed::{Feed, Object};
pub use lead::Lead;
pub use node::Push;
pub use observer::{PushEvent, PushObserver, Stage};
pub use watching::{Watched, Watching, watching};
