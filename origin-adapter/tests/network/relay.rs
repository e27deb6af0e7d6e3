//! An honest relay node, without doors.

use super::{
    adapter::Adapter,
    seen::{Seen, Watch, soon, until},
};
use bytes::{Bytes, BytesMut};
use libp2p::identity::Keypair;
use std::{
    future::poll_fn,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use weir_protocol::{EvidenceKey, ids::RelayId, resource::ResourceKey};
use weir_relay::{
    clock::Clock,
    control::ControlHandle,
    fetch::{Fetch, FetchConfig, FetchError, Served},
    mesh::rank,
    meter::{Journal, Meter, MeterConfig},
    node::{PeerSide, PeerSideParts},
    object::Entry,
    peer::{Links, Network, Networks, PeerLimits, PeerServer},
    push::{Push, PushConfig, watching},
    quic::QuicConfig,
    reach::{RelayReach, RelayReachParts},
    store::{Store, StoreConfig},
    upload::UploadLimit,
};

/// The relay.
pub(crate) struct Relay {
    pub(crate) id: RelayId,
    pub(crate) address: SocketAddr,
    pub(crate) fetch: Fetch,
    pub(crate) network: Arc<Network>,
    pub(crate) links: Arc<Links>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) push: Push,
    pub(crate) control: ControlHandle,
    pub(crate) meter: Option<Meter>,
    books: Option<(JoinHandle<()>, CancellationToken)>,
    running: Option<(PeerSide, JoinSet<()>, CancellationToken)>,
    _data: TempDir,
}

/// How a relay is set up.
pub(crate) struct Setup {
    pub(crate) quic: QuicConfig,
    pub(crate) clock: Clock,
    pub(crate) max_object_bytes: u64,
    pub(crate) limits: PeerLimits,
    pub(crate) push: PushConfig,
    pub(crate) upload: UploadLimit,
    /// With its part in discovery and gossip.
    pub(crate) gossips: bool,
    /// Signs receipts, with its journal in this folder.
    pub(crate) journal: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        let quic = QuicConfig::new("127.0.0.1:0".parse().unwrap(), Keypair::generate_ed25519());
        Self {
            quic,
            clock: Clock::System,
            max_object_bytes: 64 << 20,
            limits: PeerLimits::default(),
            push: PushConfig::default(),
            upload: UploadLimit::none(),
            gossips: false,
            journal: None,
        }
    }
}

impl Setup {
    /// Signs receipts, as every relay does that runs as a program.
    pub(crate) fn metered(journal: &Path) -> Self {
        Self { journal: Some(journal.to_owned()), ..Self::default() }
    }
}

impl Relay {
    /// In the adapter's network; the adapter's list of members has arrived.
    pub(crate) async fn join(adapter: &Adapter) -> Self {
        Self::with(adapter, Setup::default()).await
    }

    /// Likewise, set up like this.
    pub(crate) async fn with(adapter: &Adapter, setup: Setup) -> Self {
        let relay = Self::outside(adapter, setup).await;
        soon("a link to the adapter", relay.links.get(adapter.relay, &[adapter.address])).await.unwrap();
        until("this relay among the members", || relay.network.members().contains(&relay.id)).await;
        relay
    }

    /// Knows the network's keys, but has not come to the adapter.
    pub(crate) async fn outside(adapter: &Adapter, setup: Setup) -> Self {
        let Setup { quic, clock, max_object_bytes, limits, push, upload, gossips, journal } = setup;
        let id = RelayId::from_public_key(&quic.identity.public());
        let secret = quic.identity.clone().try_into_ed25519().unwrap().secret();
        let metering = journal.map(|folder| {
            let journal = Journal::open(&folder.join(format!("{id}.redb"))).unwrap();
            let key = EvidenceKey::from_bytes(secret.as_ref().try_into().unwrap());
            let every = MeterConfig { claim_every: Duration::from_millis(200) };
            Meter::new(journal, key, clock.clone(), every)
        });
        let peers = PeerSide::start(quic).await.unwrap();
        let PeerSideParts { side, links, tasks, control } = peers;
        let data = tempfile::tempdir().unwrap();
        let networks = Arc::new(Networks::new(links.clone(), clock.clone()));
        let network = Arc::new(Network::new(id, adapter.publisher.ring(), adapter.relay, vec![adapter.address]));
        let (meter, books) = metering.unzip();
        if let Some(meter) = &meter {
            networks.set_meter(meter.clone());
        }
        networks.join(network.clone());
        let books = books.map(|books| {
            let stop = CancellationToken::new();
            (tokio::spawn(books.run(stop.clone())), stop)
        });
        let store = Store::open(StoreConfig::default(), Arc::new(|_, _| None), Arc::new(())).unwrap();
        let watch = Watch::default();
        let config = FetchConfig { max_object_bytes, ..FetchConfig::default() };
        let (observer, watched) = watching(Arc::new(watch.clone()));
        let fetch = Fetch::new(Arc::new(store), networks.clone(), Arc::new(observer), clock, config);
        let shared = Arc::new(watch.clone());
        let push = Push::relay(networks.clone(), fetch.clone(), shared.clone(), shared, push);
        let reach = gossips.then(|| {
            let parts = RelayReachParts {
                me: id,
                control: control.clone(),
                events: side.events(),
                local: side.local_addresses(),
                networks: networks.clone(),
                data: data.path().to_owned(),
                ports: None,
                sent: Box::new(|| 0),
            };
            RelayReach::new(parts).0
        });
        let server = PeerServer::relay(networks, fetch.clone(), Arc::new(watch.clone())).with_limits(limits);
        let server = server.with_trees(Arc::new(push.clone())).with_upload_limit(upload);
        let cancel = CancellationToken::new();
        let serving = PeerSide::serve(tasks, server, cancel.clone());
        let mut running = JoinSet::new();
        running.spawn(async move { serving.await.unwrap() });
        running.spawn(push.clone().follow(watched, cancel.clone()));
        if let Some(reach) = reach {
            running.spawn(reach.run(cancel.clone()));
        }
        Self {
            id,
            address: side.address(),
            fetch,
            network,
            links,
            seen: watch.0,
            push,
            control,
            meter,
            books,
            running: Some((side, running, cancel)),
            _data: data,
        }
    }

    /// Waits until this relay has heard of so many members.
    pub(crate) async fn knows(&self, members: usize) {
        until("the members", || self.network.members().len() == members).await;
    }

    pub(crate) fn key(&self, path: &str) -> ResourceKey {
        ResourceKey::parse(self.network.publisher, path).unwrap()
    }

    /// As a viewer's request would.
    pub(crate) async fn try_get(&self, path: &str) -> Result<Served, FetchError> {
        soon("an answer", self.fetch.get(&self.key(path), 0)).await
    }

    /// The whole body as a viewer gets it, or why it broke off.
    pub(crate) async fn body(&self, path: &str) -> Result<Bytes, String> {
        let served = self.try_get(path).await.map_err(|error| error.to_string())?;
        let body = soon("the whole body", read(&served.entry)).await?;
        // Until it has left the register, another request would join this fill.
        until("the fill put away", || self.fetch.fills() == 0).await;
        Ok(body)
    }

    pub(crate) async fn stop(&mut self) {
        if let Some((books, stop)) = self.books.take() {
            stop.cancel();
            books.await.unwrap();
        }
        if let Some((side, running, cancel)) = self.running.take() {
            cancel.cancel();
            running.join_all().await;
            side.shutdown().await;
        }
    }
}

/// Reads behind the writer to the end.
pub(crate) async fn read(entry: &Entry) -> Result<Bytes, String> {
    let mut reader = entry.body.reader(0, None);
    let mut all = BytesMut::new();
    while let Some(piece) = poll_fn(|cx| reader.poll_next(cx)).await {
        all.extend_from_slice(&piece.map_err(|why| why.to_string())?);
    }
    Ok(all.freeze())
}

/// A path `/NAME-n.ts` whose owners rank in this order.
pub(crate) fn owned_by(adapter: &Adapter, name: &str, ranked: &[RelayId]) -> String {
    (0..100_000)
        .map(|n| format!("/{name}-{n}.ts"))
        .find(|path| rank(&adapter.key(path).hash(), ranked.iter()) == ranked)
        .unwrap()
}
