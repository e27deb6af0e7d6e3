//! What is declared outdated in a publisher's network, and who has done it.
//!
//! Invariant: a purge names its publisher, so that nobody's word counts beyond its own content.

use minicbor::{Decode, Encode};

use crate::ids::PublisherId;
use crate::resource::MAX_PATH_AND_QUERY;
use crate::wire::{WireError, bounded};

/// The feature in a Hello of a relay that purges when it is told to.
pub const PURGE_FEATURE: &str = "purge";

/// What a purge names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum PurgeScope {
    /// Everything of the publisher.
    #[n(0)]
    All,
    /// One path and query in canonical form, with all its variants.
    #[n(1)]
    Resource,
    /// One canonical path with every query.
    #[n(2)]
    Path,
    /// Every path that begins so.
    #[n(3)]
    Prefix,
    /// Every response that its origin tagged so (`Cache-Tag`, `Surrogate-Key`).
    #[n(4)]
    Tag,
}

/// A purge, from the adapter to its relays.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Purge {
    /// Whose content.
    #[n(0)]
    pub publisher: PublisherId,
    /// Told again when it is done.
    #[n(1)]
    pub number: u64,
    /// What is named.
    #[n(2)]
    pub scope: PurgeScope,
    /// Its name: a target, path, prefix or tag; at most 4096 bytes.
    #[n(3)]
    pub target: String,
    /// True: it is stale from now on, but may still be validated, and served while no source answers.
    #[n(4)]
    pub soft: bool,
}

impl Purge {
    pub(super) fn check(&self) -> Result<(), WireError> {
        bounded(&self.target, MAX_PATH_AND_QUERY, "target")
    }
}

/// A relay has purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Purged {
    /// The purge's number.
    #[n(0)]
    pub number: u64,
    /// Responses that are gone or stale now.
    #[n(1)]
    pub count: u64,
}
