//! Pushing on one node: what its feeds, subscriptions and trees share, and the door at which streams of trees come in.
//! Invariant: a pushed object reaches a subscription only from the node that it is subscribed at.

use super::{
    PushConfig, Watched, arrival::Arrival, feed::Feed, follow, lead::Lead, observer::PushObserver, serve::Child,
    trees::Trees,
};
use crate::{
    clock::Clock,
    fetch::Fetch,
    meter::Meter,
    peer::{Directory, Links, Networks, PeerObserver, Reply, ReplyReader, TreeDoor, refuse},
};
use dashmap::DashMap;
use futures_util::{FutureExt, future::BoxFuture};
use quinn::{RecvStream, SendStream};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use weir_protocol::{
    ids::{RelayId, ResourceHash},
    resource::ResourceKey,
    wire::{RefusalReason, Request, RequestKind},
};

/// Children beyond its own capacity that a relay takes for a while, when their parents have failed.
const SPARE_SEATS: usize = 2;
/// Relays that the adapter feeds beside one in each region, while trees are being repaired.
const ROOT_SEATS: usize = 8;
/// Renditions that relays ask the adapter for and that wait to be led.
const WANTED: usize = 256;

/// Where objects of one subscription go.
pub(super) struct Inbox {
    pub(super) from: RelayId,
    pub(super) arrivals: mpsc::Sender<Arrival>,
    /// How long an object may stand still.
    pub(super) patience: Duration,
}

enum Role {
    Relay(Arc<Networks>),
    Root(Trees),
}

struct Inner {
    role: Role,
    fetch: Fetch,
    links: Arc<Links>,
    peers: Arc<dyn PeerObserver>,
    observer: Arc<dyn PushObserver>,
    config: PushConfig,
    feeds: DashMap<ResourceHash, Arc<Feed>>,
    inboxes: DashMap<u64, Inbox>,
    next_id: AtomicU64,
}

/// Pushing on one node. Cheap to clone.
#[derive(Clone)]
pub struct Push(Arc<Inner>);

impl Push {
    fn new(
        role: Role,
        fetch: Fetch,
        links: Arc<Links>,
        peers: Arc<dyn PeerObserver>,
        observer: Arc<dyn PushObserver>,
        config: PushConfig,
    ) -> Self {
        let (feeds, inboxes, next_id) = (DashMap::new(), DashMap::new(), AtomicU64::new(1));
        Self(Arc::new(Inner { role, fetch, links, peers, observer, config, feeds, inboxes, next_id }))
    }

    /// A relay: [`Push::follow`] subscribes to what its viewers watch.
    pub fn relay(
        networks: Arc<Networks>,
        fetch: Fetch,
        peers: Arc<dyn PeerObserver>,
        observer: Arc<dyn PushObserver>,
        config: PushConfig,
    ) -> Self {
        let links = networks.links().clone();
        Self::new(Role::Relay(networks), fetch, links, peers, observer, config)
    }

    /// An adapter: it leads feeds ([`Push::lead`]) and keeps trees ([`Push::tend`]). Playlists that relays want to be
    /// led come out of the receiver; `directory` knows the relays.
    pub fn root(
        fetch: Fetch,
        links: Arc<Links>,
        peers: Arc<dyn PeerObserver>,
        observer: Arc<dyn PushObserver>,
        config: PushConfig,
        directory: Arc<Directory>,
    ) -> (Self, mpsc::Receiver<ResourceKey>) {
        let (wanted, wants) = mpsc::channel(WANTED);
        (Self::new(Role::Root(Trees::new(directory, wanted)), fetch, links, peers, observer, config), wants)
    }

    /// Follows what is watched until `cancel`; a relay's.
    pub async fn follow(self, watched: Watched, cancel: CancellationToken) {
        if let Role::Relay(networks) = &self.0.role {
            follow::run(&self, networks, watched, cancel).await;
        }
    }

    /// Keeps the trees until `cancel`; an adapter's.
    pub async fn tend(self, cancel: CancellationToken) {
        if let Role::Root(trees) = &self.0.role {
            trees.tend(cancel).await;
        }
    }

    /// Leads the rendition with this playlist.
    pub fn lead(&self, playlist: &ResourceKey) -> Lead {
        let hash = playlist.hash();
        // Later than any numbering that this adapter has led under before.
        let epoch = self.clock().now().0.max(1);
        let feed = Arc::new(Feed::new(playlist.clone(), epoch, true));
        if let Some(former) = self.0.feeds.insert(hash, feed.clone()) {
            former.close();
        }
        Lead::new(self.clone(), feed)
    }

    /// True while a relay is in a tree of this rendition or fed from here.
    pub fn is_wanted(&self, playlist: &ResourceKey) -> bool {
        let hash = playlist.hash();
        let in_tree = matches!(&self.0.role, Role::Root(trees) if trees.has(&hash));
        in_tree || self.0.feeds.get(&hash).is_some_and(|feed| feed.children() > 0)
    }

    /// Renditions followed or led now, and children fed.
    pub fn totals(&self) -> (usize, usize) {
        (self.0.feeds.len(), self.0.feeds.iter().map(|feed| feed.children()).sum())
    }

    /// Relays in the trees of a rendition, of an adapter.
    pub fn relays(&self, playlist: &ResourceKey) -> usize {
        match &self.0.role {
            Role::Root(trees) => trees.relays(&playlist.hash()),
            Role::Relay(_) => 0,
        }
    }

    /// The network whose adapter this is; `None` of a relay.
    pub(super) fn directory(&self) -> Option<&Directory> {
        match &self.0.role {
            Role::Root(trees) => Some(trees.directory()),
            Role::Relay(_) => None,
        }
    }

    pub(super) fn feed(&self, playlist: &ResourceKey) -> Option<Arc<Feed>> {
        self.0.feeds.get(&playlist.hash()).map(|feed| feed.clone())
    }

    /// A feed of a rendition that is about to be followed.
    pub(super) fn add_feed(&self, feed: Arc<Feed>) {
        self.0.feeds.insert(feed.playlist.hash(), feed);
    }

    /// The rendition is not followed any more.
    pub(super) fn unfollow(&self, feed: &Arc<Feed>) {
        feed.close();
        self.0.feeds.remove_if(&feed.playlist.hash(), |_, known| Arc::ptr_eq(known, feed));
    }

    pub(super) fn fetch(&self) -> &Fetch {
        &self.0.fetch
    }

    pub(super) fn clock(&self) -> &Clock {
        self.0.fetch.clock()
    }

    pub(super) fn links(&self) -> &Arc<Links> {
        &self.0.links
    }

    pub(super) fn peers(&self) -> &dyn PeerObserver {
        &*self.0.peers
    }

    /// Who owes receipts; an adapter is owed none.
    pub(super) fn meter(&self) -> Option<&Meter> {
        match &self.0.role {
            Role::Relay(networks) => networks.meter(),
            Role::Root(_) => None,
        }
    }

    pub(super) fn observer(&self) -> &dyn PushObserver {
        &*self.0.observer
    }

    pub(super) fn config(&self) -> &PushConfig {
        &self.0.config
    }

    pub(super) fn inboxes(&self) -> &DashMap<u64, Inbox> {
        &self.0.inboxes
    }

    pub(super) fn next_id(&self) -> u64 {
        self.0.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Children that may be fed of this rendition.
    pub(super) fn seats(&self, feed: &Feed) -> usize {
        match (&self.0.role, feed.offered()) {
            (Role::Root(trees), _) => trees.regions(&feed.playlist.hash()) + ROOT_SEATS,
            (Role::Relay(_), 0 | 1) => 0,
            (Role::Relay(_), children) => children + SPARE_SEATS,
        }
    }

    /// A stream that the other side opened for an object that we have subscribed to.
    fn arrive(&self, peer: RelayId, request: &Request, key: ResourceKey, receive: RecvStream) {
        let (Some(push), Some(generation)) = (request.push, request.generation) else { return };
        let Some(inbox) = self.0.inboxes.get(&push.id).filter(|inbox| inbox.from == peer) else { return };
        let reply = Reply::new(ReplyReader::new(receive), inbox.patience);
        let arrival = Arrival { from: peer, key, generation, offset: request.offset, push, reply };
        // Whoever floods the queue loses the rest: the stream is stopped when it is dropped.
        let _ = inbox.arrivals.try_send(arrival);
    }

    async fn door(self, peer: RelayId, request: Request, mut send: SendStream, receive: RecvStream) {
        let Ok(key) = request.resource_key() else { return };
        match (request.kind, &self.0.role) {
            (RequestKind::Push, _) => {
                self.arrive(peer, &request, key, receive);
                let _ = send.finish();
            }
            (RequestKind::Place, Role::Root(trees)) => {
                let children = request.place.map_or(0, |place| place.children);
                if let Err(error) = trees.serve(peer, key, children, send, receive).await {
                    tracing::debug!(peer = %peer.short(), %error, "a relay has left a tree");
                }
            }
            (RequestKind::Subscribe, _) => match (self.feed(&key), request.subscribe) {
                (Some(feed), Some(subscribe)) => {
                    Child { push: self, feed, peer, subscribe }.run(send, receive).await;
                }
                _ => {
                    // The asker turns to others, whether it hears this or not.
                    let _ = refuse(&mut send, RefusalReason::UpstreamFailed, "not followed here".into()).await;
                    let _ = send.finish();
                }
            },
            _ => {
                let _ = refuse(&mut send, RefusalReason::BadRequest, "this node keeps no trees".into()).await;
                let _ = send.finish();
            }
        }
    }
}

impl TreeDoor for Push {
    fn serve(&self, peer: RelayId, request: Request, send: SendStream, receive: RecvStream) -> BoxFuture<'static, ()> {
        self.clone().door(peer, request, send, receive).boxed()
    }
}
