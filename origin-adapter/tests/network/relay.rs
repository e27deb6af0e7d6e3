//! An honest relay node, without doors.

use super::{
    adapter::Adapter,
    seen::{Seen, Watch, soon, until},
};
use bytes::{Bytes, BytesMut};
use libp2p::identity::Keypair;
use std::{future::poll_fn, net::SocketAddr, sync::Arc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use weir_protocol::{ids::RelayId, resource::ResourceKey};
use weir_relay::{
    clock::Clock,
    fetch::{Fetch, FetchConfig, FetchError, Served},
    mesh::rank,
    node::{PeerSide, PeerSideParts},
    object::Entry,
    peer::{Links, Network, Networks, PeerServer},
    quic::QuicConfig,
    store::{Store, StoreConfig},
};

/// The relay.
pub(crate) struct Relay {
    pub(crate) id: RelayId,
    pub(crate) address: SocketAddr,
    pub(crate) fetch: Fetch,
    pub(crate) network: Arc<Network>,
    pub(crate) links: Arc<Links>,
    pub(crate) seen: Arc<Seen>,
    running: Option<(PeerSide, JoinHandle<()>, CancellationToken)>,
}

/// How a relay is set up.
pub(crate) struct Setup {
    pub(crate) quic: QuicConfig,
    pub(crate) clock: Clock,
    pub(crate) max_object_bytes: u64,
}

impl Default for Setup {
    fn default() -> Self {
        let quic = QuicConfig::new("127.0.0.1:0".parse().unwrap(), Keypair::generate_ed25519());
        Self { quic, clock: Clock::System, max_object_bytes: 64 << 20 }
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
        let Setup { quic, clock, max_object_bytes } = setup;
        let id = RelayId::from_public_key(&quic.identity.public());
        let peers = PeerSide::start(quic).await.unwrap();
        let PeerSideParts { side, links, tasks, control: _ } = peers;
        let networks = Arc::new(Networks::new(links.clone(), clock.clone()));
        let network = Arc::new(Network::new(id, adapter.publisher.ring(), adapter.relay, vec![adapter.address]));
        networks.join(network.clone());
        let store = Store::open(StoreConfig::default(), Arc::new(|_, _| None), Arc::new(())).unwrap();
        let watch = Watch::default();
        let config = FetchConfig { max_object_bytes, ..FetchConfig::default() };
        let fetch = Fetch::new(Arc::new(store), networks.clone(), Arc::new(watch.clone()), clock.clone(), config);
        let server = PeerServer::relay(networks, fetch.clone(), clock, Arc::new(watch.clone()));
        let cancel = CancellationToken::new();
        let serving = PeerSide::serve(tasks, server, cancel.clone());
        Self {
            id,
            address: side.address(),
            fetch,
            network,
            links,
            seen: watch.0,
            running: Some((side, serving, cancel)),
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
        if let Some((side, serving, cancel)) = self.running.take() {
            cancel.cancel();
            serving.await.unwrap();
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
