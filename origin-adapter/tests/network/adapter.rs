//! An adapter node. Invariant: started again, it has the same keys, identity and address, and nothing else.

use super::{
    keys::Publisher,
    origin::Origin,
    seen::{Seen, Watch, until},
};
use libp2p::identity::Keypair;
use std::{net::SocketAddr, sync::Arc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use weir_origin::{keys::Signer, signed::Signed};
use weir_protocol::{ids::RelayId, keys::SigningKey, resource::ResourceKey};
use weir_relay::{
    clock::Clock,
    fetch::{Candidate, Fetch, FetchConfig, Plan},
    node::{PeerSide, PeerSideParts},
    peer::{Directory, PeerServer},
    quic::QuicConfig,
    source::Source,
    store::{Store, StoreConfig},
};

struct TheOrigin(Arc<dyn Source>);

impl Plan for TheOrigin {
    fn candidates(&self, _: &ResourceKey, _: u8) -> Vec<Candidate> {
        vec![Candidate { source: self.0.clone(), label: "origin" }]
    }
}

/// The adapter.
pub(crate) struct Adapter {
    pub(crate) origin: Origin,
    pub(crate) publisher: Publisher,
    pub(crate) relay: RelayId,
    pub(crate) address: SocketAddr,
    pub(crate) directory: Arc<Directory>,
    pub(crate) fetch: Fetch,
    pub(crate) seen: Arc<Seen>,
    identity: Keypair,
    running: Option<(PeerSide, JoinHandle<()>, CancellationToken)>,
}

impl Adapter {
    /// The publisher with this seed, in front of `origin`.
    pub(crate) async fn start(origin: Origin, seed: u8) -> Self {
        let identity = Keypair::generate_ed25519();
        Self::run(origin, Publisher::new(seed), identity, "127.0.0.1:0".parse().unwrap()).await
    }

    async fn run(origin: Origin, publisher: Publisher, identity: Keypair, listen: SocketAddr) -> Self {
        let peers = PeerSide::start(QuicConfig::new(listen, identity.clone())).await.unwrap();
        let PeerSideParts { side, links, tasks, control: _ } = peers;
        let signer = Arc::new(Signer::new(SigningKey::from_bytes(publisher.signing.secret_bytes())));
        let config = FetchConfig { max_object_bytes: 4 << 20, ..FetchConfig::default() };
        let signed = Signed::new(origin.clone(), signer, Clock::System, config.max_object_bytes);
        let store = Store::open(StoreConfig::default(), Arc::new(|_, _| None), Arc::new(())).unwrap();
        let watch = Watch::default();
        let plan = Arc::new(TheOrigin(Arc::new(signed)));
        let fetch = Fetch::new(Arc::new(store), plan, Arc::new(watch.clone()), Clock::System, config);
        let directory = Arc::new(Directory::new(&publisher.root, publisher.list()));
        let server = PeerServer::adapter(directory.clone(), links, fetch.clone(), Arc::new(watch.clone()));
        let cancel = CancellationToken::new();
        let serving = PeerSide::serve(tasks, server, cancel.clone());
        Self {
            origin,
            publisher,
            relay: RelayId::from_public_key(&identity.public()),
            address: side.address(),
            directory,
            fetch,
            seen: watch.0,
            identity,
            running: Some((side, serving, cancel)),
        }
    }

    pub(crate) fn key(&self, path: &str) -> ResourceKey {
        ResourceKey::parse(self.publisher.root.publisher_id(), path).unwrap()
    }

    /// Waits until this many relays are at their control streams.
    pub(crate) async fn knows(&self, relays: usize) {
        until("relays in the directory", || self.directory.relays().len() == relays).await;
    }

    /// Goes away; connections are closed.
    pub(crate) async fn stop(&mut self) {
        if let Some((side, serving, cancel)) = self.running.take() {
            cancel.cancel();
            serving.await.unwrap();
            side.shutdown().await;
        }
    }

    /// The same adapter again, with an empty memory.
    pub(crate) async fn restart(mut self) -> Self {
        self.stop().await;
        // The descriptor closes with the last connection's last handle, which tasks that end may hold a moment longer.
        until("the port", || std::net::UdpSocket::bind(self.address).is_ok()).await;
        Self::run(self.origin, self.publisher, self.identity, self.address).await
    }
}
