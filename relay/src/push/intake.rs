//! Objects that are being pushed to this relay for one rendition: each becomes a fill that viewers join, and part of
//! the feed as soon as its head is there. Invariant: an object has one fill, however many parents push it one after
//! another; no more are under way than the bound.

use super::{
    arrival::{Arrival, Means, PushSource, STREAMS, TRIES},
    feed::{Feed, Object},
    node::Push,
    observer::Stage,
};
use crate::{
    fetch::Candidate,
    mesh::tree::Position,
    object::{Ended, Entry},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet};
use weir_protocol::{
    ids::{Generation, ResourceHash},
    resource::ResourceKey,
    wire::{MAX_RUNNING, PushClass},
};

/// Media objects that are remembered as having come.
const MAX_RECENT: usize = 64;
/// Attempts to get a playlist when a fill that was under way brought an older one.
const ATTEMPTS: usize = 2;

struct Running {
    streams: mpsc::Sender<Arrival>,
    entry: Arc<OnceLock<Arc<Entry>>>,
}

/// An object whose fill is over.
pub(super) struct Done {
    epoch: u64,
    number: u64,
    pub(super) class: PushClass,
    /// The response, when it is whole.
    pub(super) entry: Option<Arc<Entry>>,
}

/// What is being pushed.
pub(super) struct Intake {
    push: Push,
    feed: Arc<Feed>,
    means: Means,
    retention: Duration,
    running: BTreeMap<u64, Running>,
    tasks: JoinSet<Done>,
    /// Media objects that came last.
    recent: VecDeque<ResourceHash>,
}

impl Intake {
    pub(super) fn new(push: Push, feed: Arc<Feed>, means: Means, retention: Duration) -> Self {
        Self { push, feed, means, retention, running: BTreeMap::new(), tasks: JoinSet::new(), recent: VecDeque::new() }
    }

    /// What a parent must know to send what is missing. `with_running` names objects that stand still because their
    /// parent has failed.
    pub(super) fn position(&self, with_running: bool) -> Position {
        let (epoch, next) = self.feed.next();
        let length = |running: &Running| running.entry.get().map_or(0, |entry| entry.body.length());
        let running = self.running.iter().filter(|_| with_running);
        let running = running.map(|(number, running)| (*number, length(running))).take(MAX_RUNNING).collect();
        Position { epoch, next, running }
    }

    /// A new numbering: what is under way comes to its end as it can.
    pub(super) fn begin(&mut self) {
        self.running.clear();
    }

    /// True while something is under way.
    pub(super) fn is_busy(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// True when this is one of the media objects that came last.
    pub(super) fn has_seen(&self, key: &ResourceHash) -> bool {
        self.recent.contains(key)
    }

    /// An object begins to arrive, or goes on.
    pub(super) fn arrive(&mut self, arrival: Arrival) {
        let (epoch, number) = (arrival.push.epoch, arrival.push.number);
        if epoch != self.feed.next().0 || arrival.key.publisher != self.feed.playlist.publisher {
            return;
        }
        if let Some(running) = self.running.get(&number) {
            // More than can be read are not needed.
            let _ = running.streams.try_send(arrival);
            return;
        }
        if self.feed.has(epoch, number) || self.running.len() >= MAX_RUNNING {
            return;
        }
        let (streams, arrivals) = mpsc::channel(STREAMS);
        let entry = Arc::new(OnceLock::new());
        self.running.insert(number, Running { streams: streams.clone(), entry: entry.clone() });
        if arrival.push.class != PushClass::Playlist {
            self.recent.push_back(arrival.key.hash());
            if self.recent.len() > MAX_RECENT {
                self.recent.pop_front();
            }
        }
        let label = if arrival.from == self.means.network.adapter { "adapter" } else { "peer" };
        let source = Arc::new(PushSource::new(self.means.clone(), arrivals));
        let taking = Taking {
            push: self.push.clone(),
            feed: self.feed.clone(),
            first: vec![Candidate { source, label }; TRIES],
            retention: self.retention,
            epoch,
            number,
            key: arrival.key.clone(),
            generation: arrival.generation,
            class: arrival.push.class,
            begun_ms: arrival.push.begun_ms,
            entry,
        };
        // The queue is new and empty.
        let _ = streams.try_send(arrival);
        self.tasks.spawn(taking.run());
    }

    /// The next object whose fill is over. Waits for ever while none is under way.
    pub(super) async fn done(&mut self) -> Done {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(done)) => {
                    if self.feed.next().0 == done.epoch {
                        self.running.remove(&done.number);
                    }
                    return done;
                }
                Some(Err(error)) => tracing::error!(%error, "taking in a pushed object failed"),
                None => std::future::pending().await,
            }
        }
    }

    /// Fills go on; nobody listens to them here any more.
    pub(super) async fn close(mut self) {
        self.tasks.shutdown().await;
    }
}

struct Taking {
    push: Push,
    feed: Arc<Feed>,
    first: Vec<Candidate>,
    retention: Duration,
    epoch: u64,
    number: u64,
    key: ResourceKey,
    generation: Generation,
    class: PushClass,
    begun_ms: u64,
    entry: Arc<OnceLock<Arc<Entry>>>,
}

impl Taking {
    async fn run(self) -> Done {
        let entry = self.take().await;
        if entry.is_none() {
            self.feed.skip(self.epoch, self.number);
        }
        Done { epoch: self.epoch, number: self.number, class: self.class, entry }
    }

    async fn take(&self) -> Option<Arc<Entry>> {
        let entry = self.head().await?;
        self.arrived(Stage::Head);
        // Set once: this is the only task for this object.
        let _ = self.entry.set(entry.clone());
        if self.class == PushClass::Playlist {
            // It is passed on when it is whole: one that does not verify to its end stops here.
            whole(&entry).await?;
        }
        self.feed.insert(
            self.epoch,
            self.number,
            Object {
                key: self.key.clone(),
                generation: entry.head.generation,
                class: self.class,
                begun_ms: self.begun_ms,
                playlist: (self.class == PushClass::Playlist).then(|| entry.clone()),
            },
        );
        whole(&entry).await?;
        self.arrived(Stage::Whole);
        let until = self.push.clock().now().plus_ms(u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX));
        // Without a disk tier, or with too many pins, it is kept like everything else.
        let _ = self.push.fetch().store().pin(&entry.hash, until);
        Some(entry)
    }

    async fn head(&self) -> Option<Arc<Entry>> {
        let refresh = self.class == PushClass::Playlist;
        for _ in 0..ATTEMPTS {
            match self.push.fetch().receive(&self.key, refresh, self.first.clone()).await {
                Ok(served) if served.entry.head.generation < self.generation => {}
                Ok(served) => return Some(served.entry).filter(|entry| entry.is_shareable()),
                Err(error) => {
                    tracing::debug!(number = self.number, %error, "a pushed object was not taken in");
                    return None;
                }
            }
        }
        None
    }

    fn arrived(&self, stage: Stage) {
        let after = self.push.clock().now().0.saturating_sub(self.begun_ms);
        self.push.observer().arrived(stage, Duration::from_millis(after));
    }
}

/// Waits until the body is whole; `None` when it failed.
async fn whole(entry: &Entry) -> Option<()> {
    loop {
        match entry.body.ended() {
            Some(Ended::Whole) => return Some(()),
            Some(Ended::Failed(_)) => return None,
            None => {
                entry.body.beyond(entry.body.length()).await;
            }
        }
    }
}
