//! Declaring what is held outdated: by an operator's purge, and because a request has changed something at the origin.
//! Invariant: when it returns, no look-up of this node finds what was meant, and fills under way do not bring it back.

use super::{Fetch, Spread, Spreading, purge::covers};
use crate::object::Entry;
use http::header;
use std::sync::Arc;
use weir_hls::{Reference, resolve};
use weir_protocol::{
    resource::ResourceKey,
    wire::{Purge, PurgeScope},
};

impl Fetch {
    /// Who tells the rest of the network of purges that begin here; set once, before the node serves.
    pub fn spread_by(&self, spread: Arc<dyn Spread>) {
        let _ = self.0.spread.set(spread);
    }

    /// Purges here: the number of responses that are gone or, when it is soft, stale now.
    pub async fn purge(&self, purge: &Purge) -> u64 {
        let core = &self.0.core;
        core.purges.note(purge.clone());
        if purge.scope == PurgeScope::Resource
            && let Ok(key) = ResourceKey::parse(purge.publisher, &purge.target)
            && !purge.soft
        {
            self.leave(&core.variants.take(&key));
        }
        // Whoever comes now must not join a fill whose response is meant. What has a head yet tells by it; the others
        // are left, which costs a request at most.
        self.0.fills.retain(|_, running| match &*running.outcome.borrow() {
            Some(Ok(served)) => !covers(purge, &served.entry.head.key, &served.entry.head.headers),
            Some(Err(_)) | None => false,
        });
        core.store.outdate(purge.clone(), covers, core.clock.now()).await
    }

    /// Purges here and in the rest of the network.
    pub async fn purge_everywhere(&self, purge: &Purge) -> (u64, Spreading) {
        let here = self.purge(purge).await;
        let there = match self.0.spread.get() {
            Some(spread) => spread.spread(purge).await,
            None => Spreading::default(),
        };
        (here, there)
    }

    /// The request that `answer` answers has changed `key`, and what `Location` and `Content-Location` name on the same
    /// origin (RFC 9111 section 4.4).
    pub(super) async fn invalidate(&self, key: &ResourceKey, answer: &Entry) {
        let named = [header::LOCATION, header::CONTENT_LOCATION]
            .iter()
            .filter_map(|name| answer.head.headers.get(name)?.to_str().ok())
            .filter_map(|location| match resolve(key.path.as_str(), location)? {
                Reference::SameOrigin { path, query } => {
                    let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
                    ResourceKey::parse(key.publisher, &target).ok()
                }
                // Whether another name is this origin's, nobody here knows.
                Reference::Absolute { .. } => None,
            });
        let mut targets = vec![key.clone()];
        targets.extend(named);
        targets.dedup();
        for target in targets {
            // The answer itself may be what a GET brings from now on.
            let replaced = answer.is_shareable() && answer.head.key == target;
            if !replaced {
                self.forget(&target).await;
            }
            if let Some(spread) = self.0.spread.get() {
                spread.spread(&resource(&target)).await;
            }
        }
    }

    async fn forget(&self, key: &ResourceKey) {
        let core = &self.0.core;
        let purge = resource(key);
        core.purges.note(purge.clone());
        let all = core.variants.take(key);
        self.leave(&all);
        for key in all {
            core.store.remove(&key.hash());
        }
        if core.parts.take(key) {
            core.store.outdate(purge, covers, core.clock.now()).await;
        }
    }

    /// Nobody joins the fills of these any more.
    fn leave(&self, keys: &[ResourceKey]) {
        for key in keys {
            self.0.fills.remove(&key.hash());
        }
    }
}

/// The purge of one resource in all its representations.
fn resource(key: &ResourceKey) -> Purge {
    Purge {
        publisher: key.publisher,
        number: 0,
        scope: PurgeScope::Resource,
        target: key.path_and_query(),
        soft: false,
    }
}
