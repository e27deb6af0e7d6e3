//! Serves connections, whoever opened them: one control stream, and a bounded number of requests beside it.

use super::{
    Directory, Links, Networks, PeerLimits, PeerObserver, TreeDoor, answer::Answering, gate::Gate, links::Dialled,
    purge, session::Role,
};
use crate::{
    fetch::Fetch,
    quic::{BulkConnection, CLOSE_BUSY, canonical},
    upload::UploadLimit,
};
use dashmap::DashMap;
use quinn::{RecvStream, SendStream};
use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, interval_at, timeout},
};
use tokio_util::sync::CancellationToken;
use weir_protocol::ids::RelayId;

/// The first stream of an inbound connection must come this soon.
const FIRST_STREAM: Duration = Duration::from_secs(10);
/// Requests of one peer that are answered at once, over all its connections: each may hold a body in memory.
const MAX_REQUESTS: usize = 256;
/// How long the reading of what has arrived may take once a connection has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Application close code: the control stream ended or was not understood.
const CLOSE_SESSION: quinn::VarInt = quinn::VarInt::from_u32(4);

/// Answers peers.
pub struct PeerServer {
    gate: Gate,
    role: Role,
    links: Arc<Links>,
    fetch: Fetch,
    observer: Arc<dyn PeerObserver>,
    limits: PeerLimits,
    asking: DashMap<RelayId, Arc<Semaphore>>,
    upload: UploadLimit,
    trees: Option<Arc<dyn TreeDoor>>,
}

impl PeerServer {
    /// With trees of live renditions.
    pub fn with_trees(self, trees: Arc<dyn TreeDoor>) -> Self {
        Self { trees: Some(trees), ..self }
    }

    /// A relay: answers members of its networks.
    pub fn relay(networks: Arc<Networks>, fetch: Fetch, observer: Arc<dyn PeerObserver>) -> Self {
        Self {
            gate: Gate::Relay(networks.clone()),
            links: networks.links().clone(),
            role: Role::Relay(networks, fetch.clone()),
            fetch,
            observer,
            limits: PeerLimits::default(),
            asking: DashMap::new(),
            upload: UploadLimit::none(),
            trees: None,
        }
    }

    /// An adapter: tells relays of one another and answers those in its directory.
    pub fn adapter(
        directory: Arc<Directory>,
        links: Arc<Links>,
        fetch: Fetch,
        observer: Arc<dyn PeerObserver>,
    ) -> Self {
        Self {
            gate: Gate::Adapter(directory.clone()),
            links,
            role: Role::Adapter(directory),
            fetch,
            observer,
            limits: PeerLimits::default(),
            asking: DashMap::new(),
            upload: UploadLimit::none(),
            trees: None,
        }
    }

    /// Other bounds than the default ones.
    #[must_use]
    pub fn with_limits(mut self, limits: PeerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Replies keep to this limit.
    #[must_use]
    pub fn with_upload_limit(self, upload: UploadLimit) -> Self {
        Self { upload, ..self }
    }

    /// Serves connections from both receivers until `cancel`: `inbound` were opened by others, `dialled` by
    /// [`Links`]. Both queues are bounded, and so are connections, by the socket below.
    pub async fn run(
        self: Arc<Self>,
        mut inbound: mpsc::Receiver<BulkConnection>,
        mut dialled: mpsc::Receiver<Dialled>,
        cancel: CancellationToken,
    ) {
        let purging = self.clone().purge(cancel.clone());
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            purging.await;
            None
        });
        let mut from: HashMap<IpAddr, usize> = HashMap::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(link) = inbound.recv() => {
                    let address = link.remote.ip();
                    let open = from.entry(address).or_default();
                    if *open >= self.limits.per_address {
                        link.conn.close(CLOSE_BUSY, b"too many connections from this address");
                        continue;
                    }
                    *open += 1;
                    let serving = self.clone().connection(link, None, cancel.clone());
                    connections.spawn(async move {
                        serving.await;
                        Some(address)
                    });
                }
                Some(Dialled { link, control }) = dialled.recv() => {
                    let serving = self.clone().connection(link, Some(control), cancel.clone());
                    connections.spawn(async move {
                        serving.await;
                        None
                    });
                }
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Ok(Some(address)) = ended
                        && let Entry::Occupied(mut open) = from.entry(address)
                    {
                        *open.get_mut() -= 1;
                        if *open.get() == 0 {
                            open.remove();
                        }
                    }
                }
            }
        }
        while connections.join_next().await.is_some() {}
    }

    async fn purge(self: Arc<Self>, cancel: CancellationToken) {
        let store = self.fetch.store().clone();
        match &self.role {
            Role::Relay(networks, _) => purge::of_relay(networks.clone(), store, cancel).await,
            Role::Adapter(directory) => purge::of_adapter(directory.clone(), store, cancel).await,
        }
    }

    async fn connection(
        self: Arc<Self>,
        link: BulkConnection,
        control: Option<(SendStream, RecvStream)>,
        cancel: CancellationToken,
    ) {
        let (peer, connection) = (RelayId::from(link.peer), link.conn);
        let dialled = control.is_some();
        let control = match control {
            Some(streams) => streams,
            // Whoever dialled opens the control stream before any other, and streams arrive in order.
            None => match timeout(FIRST_STREAM, connection.accept_bi()).await {
                Ok(Ok(streams)) => streams,
                Ok(Err(_)) | Err(_) => return connection.close(CLOSE_SESSION, b"no control stream"),
            },
        };
        let mut requests = JoinSet::new();
        let entered = Notify::new();
        let place = connection.clone();
        let session = self.role.run(peer, move || canonical(place.remote_address()), control, &entered, &cancel);
        // The registry may be dialling the same node at this moment: the connection is offered as long as that takes.
        let adopting = self.links.adopt(peer, &connection);
        let mut strangers = interval_at(Instant::now() + self.limits.stranger, self.limits.stranger);
        let places = self.places(peer);
        tokio::pin!(session, adopting);
        let (mut accepting, mut adopted) = (false, dialled);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                ended = &mut session => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %peer.short(), %error, "control stream ended");
                    }
                    // Without its control stream a connection has no membership; it is opened anew when needed.
                    connection.close(CLOSE_SESSION, b"control stream ended");
                    break;
                }
                // Requests wait for the Hello, so that a relay that has just come is known when it asks.
                () = entered.notified(), if !accepting => accepting = true,
                () = &mut adopting, if !adopted => adopted = true,
                _ = strangers.tick(), if !dialled => if !self.gate.knows(&peer) {
                    connection.close(CLOSE_SESSION, b"not a member");
                    break;
                },
                stream = connection.accept_bi(), if accepting => match stream {
                    Ok(streams) => {
                        requests.spawn(self.clone().request(peer, places.clone(), streams));
                    }
                    Err(_) => {
                        // What the control stream still holds is read: a refusal says why just before the end.
                        let _ = timeout(LAST_WORDS, &mut session).await;
                        break;
                    }
                },
                Some(_) = requests.join_next(), if !requests.is_empty() => {}
            }
        }
        requests.shutdown().await;
        drop(places);
        self.asking.remove_if(&peer, |_, places| Arc::strong_count(places) == 1);
    }

    /// Requests of one peer, over all its connections together.
    fn places(&self, peer: RelayId) -> Arc<Semaphore> {
        self.asking.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(MAX_REQUESTS))).clone()
    }

    async fn request(
        self: Arc<Self>,
        peer: RelayId,
        places: Arc<Semaphore>,
        (send, receive): (SendStream, RecvStream),
    ) {
        // More wait for a place; how many can is bounded by the streams a connection may open.
        let Ok(_place) = places.acquire_owned().await else { return };
        let answering = Answering {
            fetch: &self.fetch,
            observer: &*self.observer,
            limits: self.limits,
            upload: &self.upload,
            meter: match &self.role {
                Role::Relay(networks, _) => networks.meter(),
                Role::Adapter(_) => None,
            },
            peer,
        };
        if let Err(error) = answering.run(&self.gate, self.trees.as_deref(), send, receive).await {
            tracing::debug!(peer = %peer.short(), %error, "reply ended early");
        }
    }
}
