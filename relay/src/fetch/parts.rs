//! What is known of resources that are held in parts: how long they are, and which part holds their beginning. Invariant:
//! bounded; what is forgotten costs a request to a source, and a part is served by its own `Content-Range` alone.

use crate::object::Entry;
use http::{StatusCode, header};
use quick_cache::sync::Cache;
use weir_protocol::{
    ids::ResourceHash,
    part::{Part, Place, SLICE},
    resource::ResourceKey,
};

/// Resources remembered.
const MAX_RESOURCES: usize = 16_384;

/// What is known of a resource.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Length in bytes of the whole.
    pub total: u64,
    /// The part from the first byte on that is held, if one is.
    pub(super) beginning: Option<ResourceKey>,
}

pub(super) struct Parts {
    known: Cache<ResourceHash, Layout>,
}

impl Parts {
    pub(super) fn new() -> Self {
        Self { known: Cache::new(MAX_RESOURCES) }
    }

    pub(super) fn of(&self, base: &ResourceKey) -> Option<Layout> {
        self.known.get(&base.hash())
    }

    /// A response has come: a part, or what is too long to be kept whole.
    pub(super) fn learn(&self, entry: &Entry, longest: u64) {
        let base = entry.head.key.clone().with_variant(None);
        let hash = base.hash();
        // Whose length nobody announces proves nothing about the whole's.
        match place(entry).filter(|_| entry.head.length.is_some()) {
            Some(place) => {
                let before = self.known.get(&hash).filter(|layout| layout.total == place.total);
                let mut layout = before.unwrap_or(Layout { total: place.total, beginning: None });
                if place.first == 0 && entry.is_shareable() {
                    layout.beginning = Some(entry.head.key.clone());
                }
                self.known.insert(hash, layout);
            }
            None if entry.head.status == StatusCode::OK => match entry.head.length {
                Some(total) if total > longest => self.known.insert(hash, Layout { total, beginning: None }),
                // Kept whole, or of another length now.
                _ => {
                    self.known.remove(&hash);
                }
            },
            None => {}
        }
    }

    /// True when parts may be held; it is forgotten.
    pub(super) fn take(&self, base: &ResourceKey) -> bool {
        self.known.remove(&base.hash()).is_some()
    }
}

/// What brings the same bytes as `key` when the resource is short: of a part the whole, of the whole its first slice.
pub(super) fn other_form(key: &ResourceKey) -> Option<ResourceKey> {
    match &key.variant {
        None => Some(key.clone().with_variant(Some(Part::Slice(0).variant()))),
        Some(variant) => Part::of(variant).map(|_| key.clone().with_variant(None)),
    }
}

/// True for a whole that its first slice is as well: whoever asks for a part gets it as it is.
pub(super) fn is_short_whole(entry: &Entry) -> bool {
    entry.head.status == StatusCode::OK
        && entry.head.key.variant.is_none()
        && entry.head.length.is_some_and(|length| length <= SLICE)
}

/// Where a part lies in its representation; `None` for what is no part, and for one that announces another length than
/// its place has.
pub fn place(entry: &Entry) -> Option<Place> {
    if entry.head.status != StatusCode::PARTIAL_CONTENT {
        return None;
    }
    Part::of(entry.head.key.variant.as_ref()?)?;
    let place = Place::parse(entry.head.headers.get(header::CONTENT_RANGE)?.to_str().ok()?)?;
    entry.head.length.is_none_or(|length| length == place.length()).then_some(place)
}
