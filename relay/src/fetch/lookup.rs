//! The look-up. A hit is answered without waiting; everything else joins the fill that runs or starts one.

use super::{
    FetchConfig, FetchError, How, Observer, Plan, Served,
    fill::{self, Wanted},
    served::Outcome,
    shared::Core,
};
use crate::{
    clock::Clock,
    object::{Ended, Entry},
    source::SourceError,
    store::Store,
};
use dashmap::{DashMap, mapref::entry::Entry as Slot};
use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicU64};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;
use weir_protocol::{
    ids::{Generation, ResourceHash},
    resource::ResourceKey,
};

/// Times a request competes again after the fill it joined has failed.
const ATTEMPTS: usize = 2;

struct Inner {
    core: Core,
    fills: DashMap<ResourceHash, watch::Receiver<Outcome>>,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// The fetcher. Cheap to clone.
#[derive(Clone)]
pub struct Fetch(Arc<Inner>);

impl Fetch {
    /// A fetcher over a store and a plan.
    pub fn new(
        store: Arc<Store>,
        plan: Arc<dyn Plan>,
        observer: Arc<dyn Observer>,
        clock: Clock,
        config: FetchConfig,
    ) -> Self {
        Self(Arc::new(Inner {
            core: Core { store, plan, observer, clock, config, in_flight: AtomicU64::new(0) },
            fills: DashMap::new(),
            permits: Arc::new(Semaphore::new(config.max_fills)),
            tasks: TaskTracker::new(),
        }))
    }

    /// The clock that decides what is fresh.
    pub fn clock(&self) -> &Clock {
        &self.0.core.clock
    }

    /// The store below.
    pub fn store(&self) -> &Arc<Store> {
        &self.0.core.store
    }

    /// Fills under way.
    pub fn fills(&self) -> usize {
        self.0.fills.len()
    }

    /// What may be served at once from memory, without waiting.
    pub fn hit(&self, key: &ResourceKey) -> Option<Served> {
        let entry = self.0.core.store.get(&key.hash())?;
        let now = self.0.core.clock.now();
        let how = if entry.is_fresh(now) {
            How::Hit
        } else if entry.usable_while_revalidating(now) {
            // Whoever fills already is enough; an overload only leaves it stale a little longer.
            let _ = self.join_or_fill(key, 0, Wanted::Response);
            How::StaleWhileRevalidate
        } else {
            return None;
        };
        self.0.core.observer.served(&entry, how);
        Some(Served { entry, how })
    }

    /// A response for one requester: from memory or disk, by joining a fill, or by filling. `hops` is how many relays
    /// the request has passed.
    pub async fn get(&self, key: &ResourceKey, hops: u8) -> Result<Served, FetchError> {
        if let Some(served) = self.hit(key) {
            return Ok(served);
        }
        self.fetch(key, hops, Wanted::Response).await
    }

    /// What is held and may be served, from memory or disk, without asking anybody. A fill under way counts once its
    /// head is there: what has arrived of it is held.
    pub async fn held(&self, key: &ResourceKey) -> Option<Served> {
        if let Some(served) = self.hit(key) {
            return Some(served);
        }
        let hash = key.hash();
        if let Some(entry) = self.arriving(&hash).filter(|entry| entry.is_shareable()) {
            return Some(Served { entry, how: How::Collapsed });
        }
        let entry = self.kept(&hash).await?;
        entry.usable_on_error(self.0.core.clock.now()).then_some(Served { entry, how: How::StaleIfError })
    }

    /// Exactly this body, kept or arriving, however stale: for whoever has its beginning already. Asks nobody.
    pub async fn body(&self, key: &ResourceKey, generation: Generation) -> Option<Served> {
        let hash = key.hash();
        let is_it = |entry: &Arc<Entry>| entry.is_shareable() && entry.head.generation == generation;
        if let Some(entry) = self.arriving(&hash).filter(is_it) {
            return Some(Served { entry, how: How::Collapsed });
        }
        self.kept(&hash).await.filter(is_it).map(|entry| Served { entry, how: How::Hit })
    }

    /// What a fill under way has published.
    fn arriving(&self, hash: &ResourceHash) -> Option<Arc<Entry>> {
        let running = self.0.fills.get(hash)?.clone();
        let published = running.borrow().clone();
        Some(published?.ok()?.entry)
    }

    /// What is in memory or on disk, fresh or not.
    async fn kept(&self, hash: &ResourceHash) -> Option<Arc<Entry>> {
        match self.0.core.store.get(hash) {
            Some(entry) => Some(entry),
            None => self.0.core.store.load(hash, self.0.core.clock.now()).await,
        }
    }

    /// Like [`Fetch::get`], but asks a source even when what is held is fresh.
    pub async fn refresh(&self, key: &ResourceKey) -> Result<Served, FetchError> {
        self.fetch(key, 0, Wanted::Refresh).await
    }

    /// What is in memory and may be served, stale if need be, because no source answered in time.
    pub fn stale(&self, key: &ResourceKey) -> Option<Served> {
        let now = self.0.core.clock.now();
        let entry = self.0.core.store.get(&key.hash())?;
        let how = match (entry.is_fresh(now), entry.usable_on_error(now)) {
            (true, _) => How::Hit,
            (false, true) => How::StaleIfError,
            (false, false) => return None,
        };
        let served = Served { entry, how };
        self.0.core.observer.served(&served.entry, served.how);
        Some(served)
    }

    async fn fetch(&self, key: &ResourceKey, hops: u8, wanted: Wanted) -> Result<Served, FetchError> {
        let mut last = FetchError::Abandoned;
        for _ in 0..ATTEMPTS {
            let (mut outcome, first) = self.join_or_fill(key, hops, wanted)?;
            let mut served = match wait(&mut outcome).await {
                Ok(served) => served,
                // Waiters of a failed fill compete again; whoever started it has tried every source itself.
                Err(error) if first && error != FetchError::Abandoned => return Err(error),
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            if !first && !served.entry.is_shareable() {
                // What may not be shared is fetched for each requester alone.
                let mut own = self.start(key, hops, wanted, None)?;
                served = wait(&mut own).await?;
            } else if !first && served.how == How::Miss {
                if let Some(Ended::Failed(why)) = served.entry.body.ended() {
                    last = FetchError::NoSource(SourceError::Unreachable(why.to_string()));
                    continue;
                }
                served.how = How::Collapsed;
            }
            self.0.core.observer.served(&served.entry, served.how);
            return Ok(served);
        }
        Err(last)
    }

    fn join_or_fill(
        &self,
        key: &ResourceKey,
        hops: u8,
        wanted: Wanted,
    ) -> Result<(watch::Receiver<Outcome>, bool), FetchError> {
        match self.0.fills.entry(key.hash()) {
            Slot::Occupied(mut running) if is_broken(running.get()) => {
                // A viewer whose body broke off asks again at once, while the broken fill is still being put away.
                let outcome = self.start(key, hops, wanted, Some(key.hash()))?;
                running.insert(outcome.clone());
                Ok((outcome, true))
            }
            Slot::Occupied(running) => Ok((running.get().clone(), false)),
            Slot::Vacant(slot) => {
                let outcome = self.start(key, hops, wanted, Some(key.hash()))?;
                slot.insert(outcome.clone());
                Ok((outcome, true))
            }
        }
    }

    /// Starts a fill; with `registered` it takes itself out of the registry when others must start their own.
    fn start(
        &self,
        key: &ResourceKey,
        hops: u8,
        wanted: Wanted,
        registered: Option<ResourceHash>,
    ) -> Result<watch::Receiver<Outcome>, FetchError> {
        let permit = self.0.permits.clone().try_acquire_owned().map_err(|_| FetchError::Overloaded)?;
        let (publish, outcome) = watch::channel(None);
        let (inner, key, own) = (self.0.clone(), key.clone(), outcome.clone());
        self.0.tasks.spawn(async move {
            let done = Unregister { inner: &inner, own: Mutex::new(registered.map(|hash| (hash, own))) };
            fill::run(&inner.core, key, hops, wanted, publish, || done.now()).await;
            drop(done);
            drop(permit);
        });
        Ok(outcome)
    }

    /// Waits until no fill runs any more; new ones are still accepted, so the doors must be shut first.
    pub async fn drain(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

/// Takes a fill out of the registry, unless its place is another fill's by now. After that only requesters listen to
/// the fill.
struct Unregister<'a> {
    inner: &'a Inner,
    own: Mutex<Option<(ResourceHash, watch::Receiver<Outcome>)>>,
}

impl Unregister<'_> {
    fn now(&self) {
        if let Some((hash, own)) = self.own.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.inner.fills.remove_if(&hash, |_, running| running.same_channel(&own));
        }
    }
}

fn is_broken(running: &watch::Receiver<Outcome>) -> bool {
    match &*running.borrow() {
        Some(Ok(served)) => matches!(served.entry.body.ended(), Some(Ended::Failed(_))),
        _ => false,
    }
}

impl Drop for Unregister<'_> {
    fn drop(&mut self) {
        self.now();
    }
}

async fn wait(outcome: &mut watch::Receiver<Outcome>) -> Result<Served, FetchError> {
    match outcome.wait_for(Option::is_some).await {
        Ok(found) => found.clone().unwrap_or(Err(FetchError::Abandoned)),
        Err(_) => Err(FetchError::Abandoned),
    }
}
