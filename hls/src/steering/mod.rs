//! Content steering (draft-pantos-content-steering): the list that a steering server answers with, and a multivariant
//! playlist that tells a player of it.
//!
//! Invariant: a [`SteeringList`] that is written is one that no player stops at: version 1, a time to live inside
//! [`TTL_SECONDS`], at least two pathways; and an injected playlist holds every line of the original, in order, with at
//! most attributes added to its end.

mod inject;
mod list;
mod stable;
mod tags;

pub use inject::{Injection, NotInjected, inject};
pub use list::{
    ListError, MAX_CLONES, MAX_LIST_BYTES, MAX_PRIORITY, MEDIA_TYPE, PathwayClone, SteeringList, TTL_SECONDS,
    UriReplacement, is_pathway_id,
};
pub use stable::{StableUri, stable_uris};
