//! The register of fills: who asks for what is being fetched already joins, others start a fill. Invariants: of one
//! resource at most one fill is found here; a fill that may wait for its asker is not joined but replaced.

use super::{
    Ask, Candidate, FetchError, Served,
    fill::{self, Errand, Wanted},
    lookup::{Fetch, Inner},
    running::{Progress, Running},
    served::Outcome,
    shared::Place,
};
use dashmap::mapref::entry::Entry as Slot;
use std::sync::{Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, watch};
use weir_protocol::{ids::ResourceHash, resource::ResourceKey};

impl Fetch {
    /// A fill that nobody joins.
    pub(super) fn alone(
        &self,
        key: &ResourceKey,
        ask: &Ask,
        wanted: Wanted,
    ) -> Result<watch::Receiver<Outcome>, FetchError> {
        if let Some(why) = self.withheld(key) {
            return Err(why.into());
        }
        Ok(self.start(key, ask, wanted, Vec::new(), None, None)?.outcome)
    }

    pub(super) fn join_or_fill(
        &self,
        key: &ResourceKey,
        ask: &Ask,
        wanted: Wanted,
    ) -> Result<(watch::Receiver<Outcome>, bool), FetchError> {
        self.join_or_fill_from(key, ask, wanted, Vec::new())
    }

    pub(super) fn join_or_fill_from(
        &self,
        key: &ResourceKey,
        ask: &Ask,
        wanted: Wanted,
        first: Vec<Candidate>,
    ) -> Result<(watch::Receiver<Outcome>, bool), FetchError> {
        if let Some(why) = self.withheld(key) {
            return Err(why.into());
        }
        match self.0.fills.entry(key.hash()) {
            // A viewer whose body broke off asks again at once, while the broken fill is still being put away. A head
            // that was there before this request may be no answer to it (RFC 9111 section 4). And a fill that waits for
            // relays may be waiting for the asker: its place in the register is a newer one's, which everybody may wait
            // for.
            Slot::Occupied(mut slot)
                if slot.get().is_broken()
                    || self.is_stale(&slot.get().outcome)
                    || !slot.get().admits(ask.hops)
                    || self.is_overtaken(&key.hash(), slot.get(), &first) =>
            {
                let pushed = !first.is_empty();
                let running = self.start(key, ask, wanted, first, Some(key.hash()), None)?;
                let former = slot.insert(running.clone());
                if pushed {
                    // Whoever waits for it goes on with what is pushed: a relay that was asked may wait for this one.
                    former.progress.overtake();
                }
                Ok((running.outcome, true))
            }
            Slot::Occupied(running) => Ok((running.get().join(), false)),
            Slot::Vacant(slot) => {
                let running = self.start(key, ask, wanted, first, Some(key.hash()), None)?;
                slot.insert(running.clone());
                Ok((running.outcome, true))
            }
        }
    }

    /// True when a part is pushed here while somebody's request for it waits elsewhere: perhaps at a relay that waits for
    /// this push to be passed on.
    fn is_overtaken(&self, hash: &ResourceHash, running: &Running, first: &[Candidate]) -> bool {
        let pushed = !first.is_empty() && running.outcome.borrow().is_none();
        pushed && self.0.core.live.listing(hash).is_some()
    }

    /// True when a fill has published what may be stored, but may not be reused for whoever comes now.
    pub(super) fn is_stale(&self, running: &watch::Receiver<Outcome>) -> bool {
        let now = self.0.core.clock.now();
        match &*running.borrow() {
            Some(Ok(Served { entry, .. })) => {
                let usable = entry.is_fresh(now) || entry.usable_while_revalidating(now) || self.is_current(entry, now);
                entry.is_shareable() && !usable
            }
            _ => false,
        }
    }

    /// Starts a fill of what `ask` wants, `key`; with `registered` it takes itself out of the registry when others must
    /// start their own, and with `background` it gives way as long as nobody waits for it.
    pub(super) fn start(
        &self,
        key: &ResourceKey,
        ask: &Ask,
        wanted: Wanted,
        first: Vec<Candidate>,
        registered: Option<ResourceHash>,
        background: Option<OwnedSemaphorePermit>,
    ) -> Result<Running, FetchError> {
        let permit = self.0.permits.clone().try_acquire_owned().map_err(|_| FetchError::Overloaded)?;
        // Planned before anybody can find it in the register: whether others may wait for it depends on the plan.
        let route = self.0.core.route(key, &ask.asked, ask.hops);
        let progress = Progress::new(route.stage, background.is_none());
        let mut candidates = first;
        candidates.extend(route.candidates);
        let errand = Errand { ask: Ask { key: key.clone(), ..ask.clone() }, wanted, candidates };
        let (publish, outcome) = watch::channel(None);
        let running = Running { outcome, progress: progress.clone() };
        let (inner, own) = (self.0.clone(), running.clone());
        self.0.tasks.spawn(async move {
            let places = registered.map(|hash| (hash, own)).into_iter().collect();
            let done = Registered { inner: &inner, places: Mutex::new(places) };
            let first = background.is_none().then(|| inner.core.way.awaited());
            let published = publish.clone();
            unless_overtaken(fill::run(&inner.core, errand, &progress, publish, &done), &progress, &published).await;
            drop(published);
            drop((first, done));
            drop((background, permit));
        });
        Ok(running)
    }
}

/// A fill's places in the registry, given up when it ends unless they are another fill's by now. After that only
/// requesters listen to the fill.
struct Registered<'a> {
    inner: &'a Inner,
    places: Mutex<Vec<(ResourceHash, Running)>>,
}

impl Place for Registered<'_> {
    fn leave(&self) {
        for (hash, own) in self.places.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            self.inner.fills.remove_if(&hash, |_, running| running.outcome.same_channel(&own.outcome));
        }
    }

    fn also(&self, hash: ResourceHash) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(own) = places.first().map(|(_, own)| own.clone()) else { return };
        if let Slot::Vacant(vacant) = self.inner.fills.entry(hash) {
            vacant.insert(own.clone());
            places.push((hash, own));
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Runs a fill to its end, unless it is overtaken before it has a head: then nobody may be reading.
async fn unless_overtaken(filling: impl Future<Output = ()>, progress: &Progress, published: &watch::Sender<Outcome>) {
    tokio::pin!(filling);
    tokio::select! {
        biased;
        () = &mut filling => {}
        () = progress.overtaken() => if published.borrow().is_some() { filling.await },
    }
}
