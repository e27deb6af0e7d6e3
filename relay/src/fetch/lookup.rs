//! The look-up. A hit is answered without waiting; everything else joins the fill that runs or starts one (`register`).

use super::{
    Ask, Candidate, FetchConfig, FetchError, How, Observer, Plan, Served, Spread,
    awaited::Awaited,
    fill::Wanted,
    parts::{Layout, Parts, is_short_whole, other_form},
    purge::Purges,
    running::Running,
    served::Outcome,
    shared::Core,
    variants::Variants,
    way::Way,
};
use crate::{
    access::Withheld,
    clock::Clock,
    live::Renditions,
    mesh::LAST_STAGE,
    object::{Ended, Entry},
    source::{Asked, Hold, SourceError},
    store::Store,
};
use dashmap::{DashMap, mapref::entry::Entry as Slot};
use std::{
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::Duration,
};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;
use weir_protocol::{
    ids::{Generation, ResourceHash},
    resource::ResourceKey,
    time::UnixMillis,
    wire::Class,
};

/// Fills that may fail before their waiter hears of it.
const ATTEMPTS: usize = 2;

pub(super) struct Inner {
    pub(super) core: Core,
    pub(super) fills: DashMap<ResourceHash, Running>,
    pub(super) spread: OnceLock<Arc<dyn Spread>>,
    /// Until when a playlist that is pushed here counts as fresh, on the word of who pushes it.
    pub(super) current: DashMap<ResourceHash, UnixMillis>,
    awaited: Awaited,
    pub(super) permits: Arc<Semaphore>,
    background: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
}

/// The fetcher. Cheap to clone.
#[derive(Clone)]
pub struct Fetch(pub(super) Arc<Inner>);

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
            core: Core {
                store,
                plan,
                observer,
                clock,
                config,
                in_flight: AtomicU64::new(0),
                way: Way::default(),
                variants: Variants::new(),
                purges: Purges::default(),
                parts: Parts::new(),
                live: Renditions::new(),
            },
            fills: DashMap::new(),
            spread: OnceLock::new(),
            current: DashMap::new(),
            awaited: Awaited::default(),
            permits: Arc::new(Semaphore::new(config.max_fills)),
            background: Arc::new(Semaphore::new(config.max_background)),
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

    /// Why a resource is served to nobody, in whatever representation.
    pub fn withheld(&self, key: &ResourceKey) -> Option<Withheld> {
        match key.variant {
            None => self.0.core.plan.withheld(key),
            Some(_) => self.0.core.plan.withheld(&key.clone().with_variant(None)),
        }
    }

    /// What may be served at once from memory, without waiting.
    pub fn hit(&self, key: &ResourceKey) -> Option<Served> {
        self.hit_for(&Ask::plain(key, 0))
    }

    /// The same for a request whose fields select a representation.
    pub fn hit_for(&self, ask: &Ask) -> Option<Served> {
        let served = self.found(ask)?;
        self.0.core.plan.requested(&served.entry.head.key, true);
        self.0.core.observer.served(&served.entry, served.how);
        Some(served)
    }

    fn found(&self, ask: &Ask) -> Option<Served> {
        if self.withheld(&ask.key).is_some() {
            return None;
        }
        let core = &self.0.core;
        let key = core.variants.resolve(&ask.key, &ask.asked);
        let now = core.clock.now();
        let usable = |key: &ResourceKey| {
            let entry = core.store.get(&key.hash())?;
            if entry.is_fresh(now) || self.is_current(&entry, now) {
                Some((entry, How::Hit))
            } else if entry.usable_while_revalidating(now) {
                Some((entry, How::StaleWhileRevalidate))
            } else {
                None
            }
        };
        let found = usable(&key).or_else(|| short_whole(&key, usable)).or_else(|| {
            let other = core.variants.in_best_language(&ask.key, &ask.asked)?;
            usable(&other).filter(|(_, how)| *how == How::Hit)
        });
        let (entry, how) = found?;
        if how == How::StaleWhileRevalidate {
            // Whoever fills already is enough; an overload only leaves it stale a little longer. The asker does not wait.
            let _ = self.join_or_fill(&key, &Ask { hops: 0, ..ask.clone() }, Wanted::Response);
        }
        Some(Served { entry, how })
    }

    /// Until `until` what is held of this resource counts as fresh, as long as its signed lifetime lets it be served at
    /// all: whoever pushes it says that there is nothing newer. `None` takes the word back.
    pub fn set_current(&self, hash: ResourceHash, until: Option<UnixMillis>) {
        match until {
            Some(until) => self.0.current.insert(hash, until),
            None => self.0.current.remove(&hash).map(|(_, until)| until),
        };
    }

    pub(super) fn is_current(&self, entry: &Entry, now: UnixMillis) -> bool {
        entry.usable_on_error(now) && self.0.current.get(&entry.hash).is_some_and(|until| now < *until)
    }

    /// Takes in what is pushed here: a fill that asks `first` before anybody else and that requesters join. With
    /// `refresh` it runs although what is held is fresh. When another fill is under way already, that one's outcome.
    /// Nobody is counted as served.
    pub async fn receive(&self, key: &ResourceKey, refresh: bool, first: Vec<Candidate>) -> Result<Served, FetchError> {
        let wanted = if refresh { Wanted::Refresh } else { Wanted::Response };
        // When `first` fails, this node asks the adapter and what others hold, but no owner, which may itself be waiting
        // for what this node passes on.
        let joined = self.join_or_fill_from(key, &Ask::plain(key, LAST_STAGE), wanted, first);
        self.0.awaited.begun(&key.hash());
        wait(&mut joined?.0).await
    }

    /// The same for what a live playlist announces before it is made: its source may hold the answer so long.
    pub async fn receive_held(&self, key: &ResourceKey, patience: Duration) -> Result<Served, FetchError> {
        let asked = Asked::default().holding(Some(Hold { awaits: None, patience }));
        let ask = Ask { asked: Arc::new(asked), ..Ask::plain(key, LAST_STAGE) };
        wait(&mut self.join_or_fill(key, &ask, Wanted::Response)?.0).await
    }

    /// This resource should begin to be pushed here within that time: whoever asks for it meanwhile waits for that
    /// instead of asking elsewhere.
    pub fn await_push(&self, hash: ResourceHash, within: Duration) {
        self.0.awaited.announce(hash, within);
    }

    /// What is known of a resource that is held in parts or is too long to be held whole.
    pub fn layout(&self, key: &ResourceKey) -> Option<Layout> {
        self.0.core.parts.of(key)
    }

    /// Longest body that is kept whole, in bytes.
    pub fn longest(&self) -> u64 {
        self.0.core.config.max_object_bytes
    }

    /// True while the whole of it is being fetched.
    pub fn is_arriving(&self, key: &ResourceKey) -> bool {
        self.0.fills.contains_key(&key.hash())
    }

    /// A response for one requester: from memory or disk, by joining a fill, or by filling. `hops` is the request's
    /// stage ([`mesh`](crate::mesh)): 0 for a viewer's.
    pub async fn get(&self, key: &ResourceKey, hops: u8) -> Result<Served, FetchError> {
        self.get_for(&Ask::plain(key, hops)).await
    }

    /// Like [`Fetch::get`], with the urgency that the requester names. Whoever joins a fill that runs already shares
    /// the urgency of the one that started it.
    pub async fn get_as(&self, key: &ResourceKey, hops: u8, class: Class) -> Result<Served, FetchError> {
        self.get_for(&Ask { class, ..Ask::plain(key, hops) }).await
    }

    /// The same for a request whose fields may matter.
    pub async fn get_for(&self, ask: &Ask) -> Result<Served, FetchError> {
        if let Some(served) = self.hit_for(ask) {
            return Ok(served);
        }
        self.0.core.plan.requested(&self.0.core.variants.resolve(&ask.key, &ask.asked), false);
        self.fetch(ask, Wanted::Response).await
    }

    /// What is held and may be served, from memory or disk, without asking anybody. A fill under way counts once its
    /// head is there, if a request of this stage may wait for it: what has arrived of it is held. Whoever is asked in
    /// vain for what it should hold fetches it in the background. Does not count as served: nobody watches because others look.
    pub async fn held(&self, key: &ResourceKey, hops: u8) -> Option<Served> {
        self.held_for(&Ask::plain(key, hops)).await
    }

    /// The same for a request whose fields select a representation.
    pub async fn held_for(&self, ask: &Ask) -> Option<Served> {
        let plan = &self.0.core.plan;
        if let Some(served) = self.found(ask) {
            plan.requested(&served.entry.head.key, true);
            return Some(served);
        }
        if self.withheld(&ask.key).is_some() {
            return None;
        }
        let key = self.0.core.variants.resolve(&ask.key, &ask.asked);
        let hash = key.hash();
        if let Some(entry) = self.arriving(&hash, ask.hops).filter(|entry| entry.is_shareable()) {
            return Some(Served { entry, how: How::Collapsed });
        }
        let kept = self.kept(&hash).await.filter(|entry| entry.usable_on_error(self.0.core.clock.now()));
        if plan.requested(&key, kept.is_some()) {
            self.replicate_for(&Ask { key, ..ask.clone() });
        }
        kept.map(|entry| Served { entry, how: How::StaleIfError })
    }

    /// Fetches in the background, behind everything that somebody waits for, unless enough is fetched so already.
    pub fn replicate(&self, key: &ResourceKey) {
        self.replicate_for(&Ask::plain(key, 0));
    }

    fn replicate_for(&self, ask: &Ask) {
        if ask.asked.is_passed() || ask.asked.is_personal() {
            return;
        }
        let Ok(place) = self.0.background.clone().try_acquire_owned() else { return };
        let (key, hash) = (&ask.key, ask.key.hash());
        let ask = Ask { hops: 0, class: Class::Background, behind: None, ..ask.clone() };
        if let Slot::Vacant(slot) = self.0.fills.entry(hash)
            && let Ok(running) = self.start(key, &ask, Wanted::Response, Vec::new(), Some(hash), Some(place))
        {
            slot.insert(running);
        }
    }

    /// Exactly this body, kept or arriving, however stale: for whoever has its beginning already. Asks nobody.
    pub async fn body(&self, key: &ResourceKey, generation: Generation, hops: u8) -> Option<Served> {
        if self.withheld(key).is_some() {
            return None;
        }
        let hash = key.hash();
        let is_it = |entry: &Arc<Entry>| entry.is_shareable() && entry.head.generation == generation;
        if let Some(entry) = self.arriving(&hash, hops).filter(is_it) {
            return Some(Served { entry, how: How::Collapsed });
        }
        self.kept(&hash).await.filter(is_it).map(|entry| Served { entry, how: How::Hit })
    }

    /// What a fill under way has published, for a request that may wait for it.
    fn arriving(&self, hash: &ResourceHash, hops: u8) -> Option<Arc<Entry>> {
        let running = self.0.fills.get(hash).filter(|running| running.admits(hops))?.clone();
        let published = running.join().borrow().clone();
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
        self.fetch(&Ask::plain(key, 0), Wanted::Refresh).await
    }

    /// What is in memory and may be served, stale if need be, because no source answered in time.
    pub fn stale(&self, key: &ResourceKey) -> Option<Served> {
        self.stale_for(&Ask::plain(key, 0))
    }

    /// The same for a request whose fields select a representation.
    pub fn stale_for(&self, ask: &Ask) -> Option<Served> {
        if self.withheld(&ask.key).is_some() {
            return None;
        }
        let now = self.0.core.clock.now();
        let entry = self.0.core.store.get(&self.0.core.variants.resolve(&ask.key, &ask.asked).hash())?;
        let how = match (entry.is_fresh(now), entry.usable_on_error(now)) {
            (true, _) => How::Hit,
            (false, true) => How::StaleIfError,
            (false, false) => return None,
        };
        let served = Served { entry, how };
        self.0.core.observer.served(&served.entry, served.how);
        Some(served)
    }

    /// Asks the origin, by way of the sources nearest to it, to do something; nothing that is held answers it. What it
    /// changes is forgotten here and in the rest of the network (RFC 9111 section 4.4).
    pub async fn pass(&self, ask: &Ask) -> Result<Served, FetchError> {
        let served = wait(&mut self.alone(&ask.key, ask, Wanted::Response)?).await?;
        let status = served.entry.head.status;
        // A report to the network's own pages changes no content, and there may be thousands a second.
        let own = ask.key.path.as_str().starts_with("/weir/");
        if !own && !ask.asked.method.is_safe() && (status.is_success() || status.is_redirection()) {
            self.invalidate(&ask.key, &served.entry).await;
        }
        self.0.core.observer.served(&served.entry, served.how);
        Ok(served)
    }

    pub(super) async fn fetch(&self, ask: &Ask, wanted: Wanted) -> Result<Served, FetchError> {
        let mut last = FetchError::Abandoned;
        let (mut failures, mut overtaken) = (0, false);
        while failures < ATTEMPTS {
            let key = self.0.core.variants.resolve(&ask.key, &ask.asked);
            if ask.asked.is_authorized() {
                // Whether others may have it, only the answer tells.
                let served = wait(&mut self.alone(&key, ask, wanted)?).await?;
                self.0.core.observer.served(&served.entry, served.how);
                return Ok(served);
            }
            self.0.awaited.wait(&key.hash()).await;
            if let Some(served) = self.in_other_form(&key, ask).await {
                self.0.core.observer.served(&served.entry, served.how);
                return Ok(served);
            }
            let (mut outcome, first) = self.join_or_fill(&key, ask, wanted)?;
            let mut served = match wait(&mut outcome).await {
                Ok(served) => served,
                // What is pushed here took its place, most likely, and is no failure once.
                Err(FetchError::Abandoned) if !std::mem::replace(&mut overtaken, true) => continue,
                // Waiters of a failed fill compete again; whoever started it has tried every source itself.
                Err(error) if first && error != FetchError::Abandoned => return Err(error),
                Err(error) => {
                    (last, failures) = (error, failures + 1);
                    continue;
                }
            };
            if !first && !self.suits(ask, &served) {
                // What may not be shared, and what another request selects, is fetched for each requester alone; of
                // what is known to vary by now, the right representation may be there or on its way.
                let now_known = self.0.core.variants.resolve(&ask.key, &ask.asked);
                served = match now_known == key {
                    true => wait(&mut self.alone(&key, ask, wanted)?).await?,
                    false => Box::pin(self.fetch(ask, wanted)).await?,
                };
            } else if !first && matches!(served.how, How::Miss | How::VariantMiss | How::Replaced) {
                if let Some(Ended::Failed(why)) = served.entry.body.ended() {
                    last = FetchError::NoSource(SourceError::Unreachable(why.to_string()));
                    failures += 1;
                    continue;
                }
                served.how = How::Collapsed;
            }
            self.0.core.observer.served(&served.entry, served.how);
            return Ok(served);
        }
        Err(last)
    }

    /// The whole of a short resource, when it is on its way for whoever asked for it in the other form: as a whole
    /// instead of a part, or the other way round. Waits for the head, by which it is known to be short.
    async fn in_other_form(&self, key: &ResourceKey, ask: &Ask) -> Option<Served> {
        if ask.asked.is_passed() {
            return None;
        }
        let hash = other_form(key)?.hash();
        let running =
            self.0.fills.get(&hash).filter(|running| running.admits(ask.hops)).map(|running| running.clone())?;
        if self.0.fills.contains_key(&key.hash()) || running.is_broken() || self.is_stale(&running.outcome) {
            return None;
        }
        let mut served = wait(&mut running.join()).await.ok()?;
        let broken = matches!(served.entry.body.ended(), Some(Ended::Failed(_)));
        if matches!(served.how, How::Miss | How::VariantMiss | How::Replaced) {
            served.how = How::Collapsed;
        }
        (served.entry.is_shareable() && is_short_whole(&served.entry) && !broken).then_some(served)
    }

    /// True when a response that was fetched for somebody else answers this request, too.
    fn suits(&self, ask: &Ask, served: &Served) -> bool {
        let key = &served.entry.head.key;
        let selected = || ask.asked.variant(&served.entry.head.vary()) == key.variant;
        served.entry.is_shareable() && (*key == ask.key || selected())
    }

    /// Waits until no fill runs any more; new ones are still accepted, so the doors must be shut first.
    pub async fn drain(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

/// The whole that is held, for a part of it.
fn short_whole(
    key: &ResourceKey,
    usable: impl Fn(&ResourceKey) -> Option<(Arc<Entry>, How)>,
) -> Option<(Arc<Entry>, How)> {
    key.variant.as_ref()?;
    usable(&other_form(key)?).filter(|(entry, how)| *how == How::Hit && is_short_whole(entry))
}

pub(super) async fn wait(outcome: &mut watch::Receiver<Outcome>) -> Result<Served, FetchError> {
    match outcome.wait_for(Option::is_some).await {
        Ok(found) => found.clone().unwrap_or(Err(FetchError::Abandoned)),
        Err(_) => Err(FetchError::Abandoned),
    }
}
