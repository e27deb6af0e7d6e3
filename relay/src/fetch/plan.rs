//! What the fetcher is told by others: whom to ask, and who listens.

use super::How;
use crate::{
    object::Entry,
    source::{Source, SourceError},
};
use std::{sync::Arc, time::Duration};

use weir_protocol::resource::ResourceKey;

/// One source to ask.
#[derive(Clone)]
pub struct Candidate {
    /// The source.
    pub source: Arc<dyn Source>,
    /// `origin`, `adapter` or `peer`: for Cache-Status and metrics.
    pub label: &'static str,
}

/// Decides whom to ask for a resource.
pub trait Plan: Send + Sync + 'static {
    /// The sources to try, best first. `hops` is how many relays the request has passed.
    fn candidates(&self, key: &ResourceKey, hops: u8) -> Vec<Candidate>;
}

/// Learns what happens, for metrics and for following what is watched. Called on hot paths: must not block.
pub trait Observer: Send + Sync + 'static {
    /// A response is being given to somebody.
    fn served(&self, entry: &Arc<Entry>, how: How) {
        let _ = (entry, how);
    }
    /// A source was asked; `Ok` when a head came back, `took` after the question.
    fn asked(&self, label: &'static str, result: Result<(), &SourceError>, took: Duration) {
        let _ = (label, result, took);
    }
    /// Bytes arrived from a source.
    fn filled(&self, label: &'static str, bytes: u64) {
        let _ = (label, bytes);
    }
    /// A transfer that had begun went on from another source.
    fn failed_over(&self, why: &SourceError) {
        let _ = why;
    }
}
