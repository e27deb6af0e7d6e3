//! The adapter's end of a feed: what it appends goes down the trees of the rendition.

use super::{
    feed::{Feed, Object},
    node::Push,
};
use crate::{fetch::Served, object::Entry};
use std::sync::Arc;
use weir_protocol::wire::PushClass;

/// A rendition that this adapter leads; it ends when this is dropped.
pub struct Lead {
    push: Push,
    feed: Arc<Feed>,
}

impl Lead {
    pub(super) fn new(push: Push, feed: Arc<Feed>) -> Self {
        Self { push, feed }
    }

    /// True while a relay wants it.
    pub fn is_wanted(&self) -> bool {
        self.push.is_wanted(&self.feed.playlist)
    }

    /// The origin has just confirmed that the newest playlist is current.
    pub fn looked(&self) {
        self.feed.looked();
    }

    /// Pushes a playlist, whole and signed.
    pub fn playlist(&self, entry: &Arc<Entry>) {
        self.feed.looked();
        self.append(entry, PushClass::Playlist, Some(entry.clone()));
    }

    /// Pushes a segment or a part, which may still be growing.
    pub fn media(&self, served: &Served, class: PushClass) {
        self.append(&served.entry, class, None);
    }

    fn append(&self, entry: &Entry, class: PushClass, playlist: Option<Arc<Entry>>) {
        if entry.is_shareable() {
            let begun_ms = self.push.clock().now().0;
            let key = entry.head.key.clone();
            self.feed.append(Object { key, generation: entry.head.generation, class, begun_ms, playlist });
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.push.unfollow(&self.feed);
    }
}
