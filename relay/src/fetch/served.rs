//! What the fetcher answers.

use crate::{access::Withheld, object::Entry, source::SourceError};
use std::sync::Arc;

/// How a response was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Fresh, from memory.
    Hit,
    /// Fresh, from disk.
    DiskHit,
    /// Stale, because it is being refreshed (RFC 5861 section 3).
    StaleWhileRevalidate,
    /// Stale, because no source answers (RFC 5861 section 4).
    StaleIfError,
    /// Fetched for this request.
    Miss,
    /// Fetched for this request: what is held of this resource is other representations (RFC 9111 section 4.1).
    VariantMiss,
    /// Stale, and replaced by asking.
    Replaced,
    /// Only the origin could do this: the method is not GET or HEAD.
    Passed,
    /// Stale, and found unchanged by asking.
    Revalidated,
    /// Fetched for another request that came first.
    Collapsed,
}

/// A response for one requester.
#[derive(Clone)]
pub struct Served {
    /// The response, perhaps still growing.
    pub entry: Arc<Entry>,
    /// How it was come by.
    pub how: How,
}

/// Why there is no response.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum FetchError {
    /// No source could serve; the last one's reason.
    #[error("no source: {0}")]
    NoSource(SourceError),
    /// Nobody may be asked for this resource.
    #[error("nobody to ask")]
    Nobody,
    /// It is served to nobody.
    #[error("{0}")]
    Withheld(#[from] Withheld),
    /// Too many fills run already.
    #[error("too many fills at once")]
    Overloaded,
    /// The fill ended without a word; it may be tried again.
    #[error("fill abandoned")]
    Abandoned,
}

/// What those who wait for a fill hear: nothing yet, a response, or why there is none.
pub(super) type Outcome = Option<Result<Served, FetchError>>;
