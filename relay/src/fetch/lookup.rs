//! The look-up. A hit is answered without waiting; everything else joins the fill that runs or starts one.

use super::{
    Observer, Plan,
    fill::{self, Wanted},
};
use crate::{
    clock::Clock,
    object::{Ended, Entry},
    source::SourceError,
    store::Store,
};
use dashmap::{DashMap, mapref::entry::Entry as Slot};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;
use weir_protocol::{ids::ResourceHash, resource::ResourceKey};

/// Times a request competes again after the fill it joined has failed.
const ATTEMPTS: usize = 2;

/// Bounds of the fetcher.
#[derive(Debug, Clone, Copy)]
pub struct FetchConfig {
    /// Fills that may run at once; more are refused as overload.
    pub max_fills: usize,
    /// Bytes that growing bodies may hold together.
    pub max_in_flight_bytes: u64,
    /// Longest body that is kept. Longer ones are passed through a window when their length is announced, and broken
    /// off when it is not.
    pub max_object_bytes: u64,
    /// Bytes of a private body that may wait unread.
    pub private_window_bytes: u64,
}

impl Default for FetchConfig {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            max_fills: 512,
            max_in_flight_bytes: 256 * MIB,
            max_object_bytes: 64 * MIB,
            private_window_bytes: MIB,
        }
    }
}

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
    /// Too many fills run already.
    #[error("too many fills at once")]
    Overloaded,
    /// The fill ended without a word; it may be tried again.
    #[error("fill abandoned")]
    Abandoned,
}

pub(super) type Outcome = Option<Result<Served, FetchError>>;

pub(super) struct Inner {
    pub(super) store: Arc<Store>,
    pub(super) plan: Arc<dyn Plan>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) clock: Clock,
    pub(super) config: FetchConfig,
    pub(super) in_flight: AtomicU64,
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
            store,
            plan,
            observer,
            clock,
            config,
            in_flight: AtomicU64::new(0),
            fills: DashMap::new(),
            permits: Arc::new(Semaphore::new(config.max_fills)),
            tasks: TaskTracker::new(),
        }))
    }

    /// The clock that decides what is fresh.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The store below.
    pub fn store(&self) -> &Arc<Store> {
        &self.0.store
    }

    /// Fills under way.
    pub fn fills(&self) -> usize {
        self.0.fills.len()
    }

    /// What may be served at once from memory, without waiting.
    pub fn hit(&self, key: &ResourceKey) -> Option<Served> {
        let entry = self.0.store.get(&key.hash())?;
        let now = self.0.clock.now();
        let how = if entry.is_fresh(now) {
            How::Hit
        } else if entry.usable_while_revalidating(now) {
            // Whoever fills already is enough; an overload only leaves it stale a little longer.
            let _ = self.join_or_fill(key, 0, Wanted::Response);
            How::StaleWhileRevalidate
        } else {
            return None;
        };
        self.0.observer.served(&entry, how);
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
        let running = self.0.fills.get(&hash).map(|fill| fill.clone());
        if let Some(Some(Ok(served))) = running.map(|fill| fill.borrow().clone())
            && served.entry.is_shareable()
        {
            return Some(Served { entry: served.entry, how: How::Collapsed });
        }
        let now = self.0.clock.now();
        let entry = match self.0.store.get(&hash) {
            Some(entry) => entry,
            None => self.0.store.load(&hash, now).await?,
        };
        entry.usable_on_error(now).then_some(Served { entry, how: How::StaleIfError })
    }

    /// Like [`Fetch::get`], but asks a source even when what is held is fresh.
    pub async fn refresh(&self, key: &ResourceKey) -> Result<Served, FetchError> {
        self.fetch(key, 0, Wanted::Refresh).await
    }

    /// What is in memory and may be served, stale if need be, because no source answered in time.
    pub fn stale(&self, key: &ResourceKey) -> Option<Served> {
        let now = self.0.clock.now();
        let entry = self.0.store.get(&key.hash())?;
        let how = match (entry.is_fresh(now), entry.usable_on_error(now)) {
            (true, _) => How::Hit,
            (false, true) => How::StaleIfError,
            (false, false) => return None,
        };
        let served = Served { entry, how };
        self.0.observer.served(&served.entry, served.how);
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
            self.0.observer.served(&served.entry, served.how);
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
            fill::run(&inner, key, hops, wanted, publish, || done.now()).await;
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

/// Counts bytes of growing bodies against the bound, and gives them back when the fill ends.
pub(super) struct InFlight<'a> {
    inner: &'a Inner,
    bytes: u64,
}

impl<'a> InFlight<'a> {
    pub(super) fn new(inner: &'a Inner) -> Self {
        Self { inner, bytes: 0 }
    }

    /// False when the bound is passed.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        self.inner.in_flight.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.inner.config.max_in_flight_bytes
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.inner.in_flight.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
