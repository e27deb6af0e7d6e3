//! An adapter node. Invariant: started again, it has the same keys, identity and address, and nothing else.

use super::{
    keys::Publisher,
    origin::Origin,
    seen::{Seen, Watch, until},
};
use libp2p::identity::Keypair;
use std::{
    net::SocketAddr,
    sync::{Arc, RwLock},
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use weir_origin::{
    follow::Follower,
    granting::{DEFAULT_GRANT_EPOCHS, Grants, Rule},
    keys::Signer,
    signed::Signed,
    takedown::Takedowns,
};
use weir_protocol::{ids::RelayId, keys::SigningKey, resource::ResourceKey};
use weir_relay::{
    access::{Kept, Withheld},
    clock::Clock,
    fetch::{Candidate, Fetch, FetchConfig, Plan},
    node::{PeerSide, PeerSideParts},
    peer::{Directory, PeerServer},
    push::{Push, PushConfig, watching},
    quic::{QuicConfig, multiaddr_of},
    reach::AdapterReach,
    source::Source,
    store::{Store, StoreConfig},
};

struct TheOrigin(Arc<dyn Source>, Arc<Directory>);

impl Plan for TheOrigin {
    fn candidates(&self, _: &ResourceKey, _: u8) -> Vec<Candidate> {
        vec![Candidate { source: self.0.clone(), label: "origin" }]
    }

    fn withheld(&self, key: &ResourceKey) -> Option<Withheld> {
        self.1.withdrawn().covers(key, Clock::System.now()).then_some(Withheld::TakenDown)
    }
}

/// The adapter.
pub(crate) struct Adapter {
    pub(crate) origin: Origin,
    pub(crate) publisher: Publisher,
    pub(crate) relay: RelayId,
    pub(crate) address: SocketAddr,
    pub(crate) directory: Arc<Directory>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) takedowns: Takedowns,
    pub(crate) fetch: Fetch,
    pub(crate) seen: Arc<Seen>,
    pub(crate) push: Push,
    identity: Keypair,
    running: Option<(PeerSide, JoinSet<()>, CancellationToken)>,
    data: TempDir,
}

impl Adapter {
    /// The publisher with this seed, in front of `origin`.
    pub(crate) async fn start(origin: Origin, seed: u8) -> Self {
        Self::granting(origin, seed, Rule::Open).await
    }

    /// The same, with a say in who is granted what.
    pub(crate) async fn granting(origin: Origin, seed: u8, rule: Rule) -> Self {
        let identity = Keypair::generate_ed25519();
        let data = tempfile::tempdir().unwrap();
        Self::run(origin, Publisher::new(seed), identity, "127.0.0.1:0".parse().unwrap(), rule, data).await
    }

    async fn run(
        origin: Origin,
        publisher: Publisher,
        identity: Keypair,
        listen: SocketAddr,
        rule: Rule,
        data: TempDir,
    ) -> Self {
        let peers = PeerSide::start(QuicConfig::new(listen, identity.clone())).await.unwrap();
        let PeerSideParts { side, links, tasks, control } = peers;
        let signer = Arc::new(Signer::new(SigningKey::from_bytes(publisher.signing.secret_bytes())));
        let config = FetchConfig { max_object_bytes: 4 << 20, ..FetchConfig::default() };
        let signed = Signed::new(origin.clone(), signer, Clock::System, config.max_object_bytes);
        let store = Store::open(StoreConfig::default(), Arc::new(|_, _| None), Arc::new(())).unwrap();
        let watch = Watch::default();
        let key = || Arc::new(Signer::new(SigningKey::from_bytes(publisher.signing.secret_bytes())));
        let ring = Arc::new(RwLock::new(publisher.ring()));
        let grants = Arc::new(Grants::new(key(), ring, DEFAULT_GRANT_EPOCHS, rule));
        let directory = Arc::new(Directory::new(&publisher.root, publisher.list(), grants.clone(), Clock::System));
        let kept = Kept::of(data.path(), publisher.root.publisher_id());
        let takedowns = Takedowns::open(key(), directory.clone(), kept, Clock::System).unwrap();
        let plan = Arc::new(TheOrigin(Arc::new(signed), directory.clone()));
        let (observer, watched) = watching(Arc::new(watch.clone()));
        let fetch = Fetch::new(Arc::new(store), plan, Arc::new(observer), Clock::System, config);
        let shared = Arc::new(watch.clone());
        let (push, wants) =
            Push::root(fetch.clone(), links.clone(), shared.clone(), shared, PushConfig::default(), directory.clone());
        let server = PeerServer::adapter(directory.clone(), links, fetch.clone(), Arc::new(watch.clone()));
        let server = server.with_trees(Arc::new(push.clone()));
        let cancel = CancellationToken::new();
        let serving = PeerSide::serve(tasks, server, cancel.clone());
        let mut running = JoinSet::new();
        running.spawn(async move { serving.await.unwrap() });
        let at = vec![multiaddr_of(side.address())];
        let reach = AdapterReach::start(control, side.events(), directory.clone(), at).await.unwrap();
        running.spawn(reach.run(cancel.clone()));
        running.spawn(Follower::new(watched).pushing(push.clone(), wants).run(fetch.clone(), cancel.clone()));
        running.spawn(push.clone().tend(cancel.clone()));
        Self {
            origin,
            publisher,
            relay: RelayId::from_public_key(&identity.public()),
            address: side.address(),
            directory,
            grants,
            takedowns,
            fetch,
            seen: watch.0,
            push,
            identity,
            data,
            running: Some((side, running, cancel)),
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
        if let Some((side, running, cancel)) = self.running.take() {
            cancel.cancel();
            running.join_all().await;
            side.shutdown().await;
        }
    }

    /// The same adapter again, with an empty memory.
    pub(crate) async fn restart(mut self) -> Self {
        self.stop().await;
        let Self { origin, publisher, identity, address, push, data, .. } = self;
        // It holds the dialer, and with it the descriptor.
        drop(push);
        // The descriptor closes with the last connection's last handle, which tasks that end may hold a moment longer.
        until("the port", || std::net::UdpSocket::bind(address).is_ok()).await;
        Self::run(origin, publisher, identity, address, Rule::Open, data).await
    }
}
