//! What the fetcher is told by others: whom to ask, and who listens.

use super::How;
use crate::{
    access::Withheld,
    mesh::{Admission, Class},
    object::Entry,
    source::{Source, SourceError},
};
use futures_util::future::BoxFuture;
use std::{sync::Arc, time::Duration};
use weir_protocol::{
    resource::ResourceKey,
    wire::{Found, Purge},
};

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

    /// The same with the fill's stage ([`mesh`](crate::mesh)). A plan without relays waits for none: anybody may wait
    /// for its fills.
    fn route(&self, key: &ResourceKey, hops: u8) -> Route {
        Route { stage: u8::MAX, candidates: self.candidates(key, hops) }
    }

    /// The same with the sources nearest to the origin alone, for requests that nobody else should see or could answer.
    fn direct(&self, key: &ResourceKey, hops: u8) -> Route {
        self.route(key, hops)
    }

    /// Relays that are said to have it, to be asked for what they hold. Nobody, where there is no network.
    fn holders(&self, key: &ResourceKey, found: &[Found]) -> Vec<Candidate> {
        let _ = (key, found);
        Vec::new()
    }

    /// Somebody wants it; `held` when this node has it. True when the node should fetch it in the background. Called for
    /// every request: must not block.
    fn requested(&self, key: &ResourceKey, held: bool) -> bool {
        let _ = (key, held);
        false
    }

    /// Where a filled object is kept; `full` when the disk is.
    fn admit(&self, key: &ResourceKey, class: Class, full: bool) -> Admission {
        let _ = (key, class, full);
        Admission::Keep
    }

    /// Why a resource is not served at all, whoever asks and whatever is held. Called for every request: must not
    /// block.
    fn withheld(&self, key: &ResourceKey) -> Option<Withheld> {
        let _ = key;
        None
    }
}

/// Whom a fill asks.
pub struct Route {
    /// A request may wait for this fill only if its own stage is not higher.
    pub stage: u8,
    /// The sources, best first.
    pub candidates: Vec<Candidate>,
}

/// What became of a second request beside a late one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hedge {
    /// It answered first, or alone.
    Won,
    /// The late one answered first.
    Lost,
    /// It got no answer.
    Failed,
}

impl Hedge {
    /// The label used in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Lost => "lost",
            Self::Failed => "failed",
        }
    }
}

/// Tells the rest of a network what has been purged here.
pub trait Spread: Send + Sync + 'static {
    /// Resolves when the others have purged, or have not in time.
    fn spread<'a>(&'a self, purge: &'a Purge) -> BoxFuture<'a, Spreading>;
}

/// How far a purge has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spreading {
    /// Relays that were told.
    pub told: usize,
    /// Relays that have done it.
    pub done: usize,
    /// Responses they dropped or declared stale, together.
    pub count: u64,
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
    /// A second relay was asked beside a late one.
    fn hedged(&self, how: Hedge) {
        let _ = how;
    }
    /// A transfer that had begun went on from another source.
    fn failed_over(&self, why: &SourceError) {
        let _ = why;
    }
}
