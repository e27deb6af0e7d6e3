//! The two routes with their links and nodes.

use super::origin;
use anyhow::Context as _;
use libp2p::identity::Keypair;
use prometheus::Registry;
use std::{
    net::SocketAddr,
    sync::{Arc, RwLock},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;
use weir_edge::{
    doors::{Doors, DoorsConfig, Limits},
    metrics::EdgeMetrics,
    routes::{Routes, RoutesConfig, Site, Sites},
    tls::{SelfSigned, TlsHolder},
};
use weir_load::impair::{self, Impairment, LinkConfig};
use weir_origin::{
    granting::{DEFAULT_GRANT_EPOCHS, Grants, Rule},
    keys::Signer,
    signed::Signed,
};
use weir_protocol::{
    ids::{PublisherId, RelayId},
    keys::{KeyEntry, KeyRing, RootKey, SigningKey, SigningKeyList},
    resource::ResourceKey,
};
use weir_relay::{
    clock::Clock,
    fetch::{Candidate, Fetch, FetchConfig, Plan},
    mesh::rank,
    node::{NodeMetrics, PeerSide, PeerSideParts},
    peer::{Directory, Links, Network, Networks, PeerServer},
    quic::QuicConfig,
    source::{Source, Upstream, UpstreamConfig},
    store::{DiskConfig, Store, StoreConfig},
};

const DAY_MS: u64 = 86_400_000;
/// Links between the viewer and the origin by way of the relays.
const LINKS: u32 = 4;
/// Longest wait for the members to know each other.
const MEMBERS: Duration = Duration::from_secs(10);
const LOCAL: &str = "127.0.0.1:0";

/// Everything that runs.
pub(super) struct Route {
    publisher: PublisherId,
    members: [RelayId; 2],
    direct: Impairment,
    plain: Impairment,
    secure: Impairment,
    _links: Vec<Impairment>,
    _sides: Vec<PeerSide>,
    _tasks: JoinSet<()>,
    _data: TempDir,
}

struct TheOrigin(Arc<dyn Source>);

impl Plan for TheOrigin {
    fn candidates(&self, _: &ResourceKey, _: u8) -> Vec<Candidate> {
        vec![Candidate { source: self.0.clone(), label: "origin" }]
    }
}

struct Relay {
    id: RelayId,
    address: SocketAddr,
    network: Arc<Network>,
    links: Arc<Links>,
    fetch: Fetch,
}

async fn link(to: SocketAddr, delay: Duration, loss: f64, seed: u64) -> anyhow::Result<Impairment> {
    let mut config = impair::Config::new(LOCAL.parse()?, to);
    config.up = LinkConfig::new(delay, loss)?;
    config.down = config.up;
    config.seed = seed;
    Ok(Impairment::bind(config).await?)
}

/// What nodes are made of.
struct Parts<'a> {
    data: &'a TempDir,
    tasks: JoinSet<()>,
    sides: Vec<PeerSide>,
    registry: Registry,
}

impl Parts<'_> {
    fn metrics() -> anyhow::Result<Arc<NodeMetrics>> {
        Ok(NodeMetrics::register(&Registry::new())?)
    }

    /// With a disk tier, as a node has it.
    fn store(&mut self, name: &str) -> anyhow::Result<Arc<Store>> {
        let disk = Some(DiskConfig::new(self.data.path().join(name)));
        let store = Store::open(StoreConfig { disk, ..StoreConfig::default() }, Arc::new(|_, _| None), Arc::new(()))?;
        let store = Arc::new(store);
        let running = store.clone();
        self.tasks.spawn(async move {
            if let Err(error) = running.run(CancellationToken::new()).await {
                eprintln!("the store stopped: {error}");
            }
        });
        Ok(store)
    }

    async fn relay(&mut self, name: &str, ring: &KeyRing, adapter: (RelayId, SocketAddr)) -> anyhow::Result<Relay> {
        let identity = Keypair::generate_ed25519();
        let id = RelayId::from_public_key(&identity.public());
        let PeerSideParts { side, links, tasks, control: _ } =
            PeerSide::start(QuicConfig::new(LOCAL.parse()?, identity)).await?;
        let networks = Arc::new(Networks::new(links.clone(), Clock::System));
        let network = Arc::new(Network::new(id, ring.clone(), adapter.0, vec![adapter.1]));
        networks.join(network.clone());
        let metrics = Self::metrics()?;
        let store = self.store(name)?;
        let fetch = Fetch::new(store, networks.clone(), metrics.clone(), Clock::System, FetchConfig::default());
        let server = PeerServer::relay(networks, fetch.clone(), metrics);
        self.serve(tasks, server);
        let address = side.address();
        self.sides.push(side);
        Ok(Relay { id, address, network, links, fetch })
    }

    fn serve(&mut self, tasks: weir_relay::node::PeerTasks, server: PeerServer) {
        let serving = PeerSide::serve(tasks, server, CancellationToken::new());
        self.tasks.spawn(async move {
            if let Err(error) = serving.await {
                eprintln!("a peer server failed: {error}");
            }
        });
    }

    fn doors(&mut self, fetch: Fetch, publisher: PublisherId) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        let tls = SelfSigned::new(self.data.path().join("tls"), ["127.0.0.1".to_owned()]);
        let metrics = EdgeMetrics::register(&self.registry, "bench", "bench")?;
        let doors = Doors::bind(DoorsConfig {
            tls: vec![LOCAL.parse()?],
            plain: vec![LOCAL.parse()?],
            certificate: Some(TlsHolder::new(&tls.load_or_create(SystemTime::now())?)?),
            limits: Limits::default(),
            metrics: Some(metrics.clone()),
        })?;
        let (plain, secure) = (doors.local_addrs().plain[0], doors.local_addrs().tls[0]);
        let sites = Sites::new(vec![Site { publisher, name: None, hosts: Vec::new() }])?;
        let routes = Routes::new(fetch, sites, "weir-bench".into(), metrics, RoutesConfig::default());
        self.tasks.spawn(async move {
            if let Err(error) = doors.run(Arc::new(routes), CancellationToken::new()).await {
                eprintln!("the doors failed: {error}");
            }
        });
        Ok((plain, secure))
    }
}

impl Route {
    /// Both routes take `one_way` in each direction.
    pub(super) async fn open(one_way: Duration, loss: f64) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let mut parts = Parts { data: &data, tasks: JoinSet::new(), sides: Vec::new(), registry: Registry::new() };
        let (quarter, now) = (one_way / LINKS, Clock::System.now());
        let origin = origin::start(&mut parts.tasks).await?;
        let direct = link(origin, one_way, loss, 1).await?;

        let (root, signing) = (RootKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let publisher = root.publisher_id();
        let keys = vec![KeyEntry::new(&signing, now.minus_ms(DAY_MS), now.plus_ms(DAY_MS))];
        let list = SigningKeyList { publisher, issued: now, expires: now.plus_ms(DAY_MS), keys }.sign(&root)?;
        let ring = KeyRing::verify(publisher, &list, now)?;

        let upstream = link(origin, quarter, loss, 2).await?;
        let identity = Keypair::generate_ed25519();
        let adapter = RelayId::from_public_key(&identity.public());
        let PeerSideParts { side, links, tasks, control: _ } =
            PeerSide::start(QuicConfig::new(LOCAL.parse()?, identity)).await?;
        let signer = Arc::new(Signer::new(signing));
        let url = Url::parse(&format!("http://{}", upstream.local_addr()))?;
        let config = FetchConfig::default();
        let signed = Signed::new(
            Upstream::new(UpstreamConfig::new(url))?,
            signer.clone(),
            Clock::System,
            config.max_object_bytes,
        );
        let metrics = Parts::metrics()?;
        let plan = Arc::new(TheOrigin(Arc::new(signed)));
        let fetch = Fetch::new(parts.store("adapter")?, plan, metrics.clone(), Clock::System, config);
        let grants = Grants::new(signer, Arc::new(RwLock::new(ring.clone())), DEFAULT_GRANT_EPOCHS, Rule::Open);
        let directory = Arc::new(Directory::new(&root, list, Arc::new(grants), Clock::System));
        parts.serve(tasks, PeerServer::adapter(directory, links, fetch, metrics));
        // A's own link to the adapter carries no object.
        let to_adapter =
            [link(side.address(), quarter * 2, loss, 3).await?, link(side.address(), quarter, loss, 4).await?];
        parts.sides.push(side);

        let a = parts.relay("a", &ring, (adapter, to_adapter[0].local_addr())).await?;
        let b = parts.relay("b", &ring, (adapter, to_adapter[1].local_addr())).await?;
        let between = link(b.address, quarter, loss, 5).await?;
        for relay in [&a, &b] {
            relay.links.get(adapter, &relay.network.adapter_addresses()).await?;
        }
        let known = async {
            while a.network.members().len() < 2 || b.network.members().len() < 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(MEMBERS, known).await.context("the relays did not hear of each other")?;
        // By way of the link between them; it stays, whatever addresses the adapter names.
        a.links.get(b.id, &[between.local_addr()]).await?;

        let (plain, secure) = parts.doors(a.fetch.clone(), publisher)?;
        let Parts { tasks, sides, .. } = parts;
        Ok(Self {
            publisher,
            members: [a.id, b.id],
            direct,
            plain: link(plain, quarter, loss, 6).await?,
            secure: link(secure, quarter, loss, 7).await?,
            _links: [upstream, between].into_iter().chain(to_adapter).collect(),
            _sides: sides,
            _tasks: tasks,
            _data: data,
        })
    }

    pub(super) fn direct(&self) -> SocketAddr {
        self.direct.local_addr()
    }

    pub(super) fn plain(&self) -> SocketAddr {
        self.plain.local_addr()
    }

    pub(super) fn secure(&self) -> SocketAddr {
        self.secure.local_addr()
    }

    /// A path of this number that B owns; other numbers give other paths.
    pub(super) fn cold_path(&self, number: usize) -> String {
        (0..)
            .map(|salt| format!("/{number}-{salt}.m4s"))
            .find(|path| {
                ResourceKey::parse(self.publisher, path)
                    .is_ok_and(|key| rank(&key.hash(), self.members.iter())[0] == self.members[1])
            })
            .unwrap_or_default()
    }
}
