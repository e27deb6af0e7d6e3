//! The edge put together. Start: store, peers, networks, routes, doors; only then it is ready. Stop in the opposite
//! order: doors drain first, because viewers are waiting; then peers, who find other sources; then the store flushes;
//! the private address goes last, so that the drain can be watched.

use super::{
    EdgeArgs,
    args::{Content, EdgeSettings},
    status::EdgeStatus,
};
use crate::{
    exit::{Failure, RUNTIME},
    serving::{self, OneSource},
    signals,
};
use prometheus::Registry;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::interval};
use tokio_util::sync::CancellationToken;
use weir_edge::{
    admin::{Admin, Readiness},
    doors::{Doors, DoorsConfig, Limits},
    metrics::{EdgeMetrics, ProcessMetrics},
    routes::{Routes, RoutesConfig, Site, Sites},
    tls::TlsHolder,
};
use weir_protocol::{ids::PublisherId, resource::ResourceKey};
use weir_relay::{
    clock::Clock,
    fetch::Fetch,
    node::{Identity, Joined, Joining, NodeMetrics, PeerSide, PeerTasks},
    peer::{Links, Networks, PeerServer},
    quic::QuicConfig,
    source::{Trusted, Upstream, UpstreamConfig},
    store::{Reverify, Store},
};

/// How often gauges are brought up to date.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);
/// How long the store may take to write what waits.
const FLUSH: Duration = Duration::from_secs(10);

/// Runs an edge until it is told to stop.
pub(crate) async fn run(args: EdgeArgs) -> Result<(), Failure> {
    let settings = args.settle()?;
    let stop = CancellationToken::new();
    signals::listen(stop.clone()).map_err(|error| Failure::new(RUNTIME, error))?;
    if settings.exit_with_stdin {
        signals::stop_with_stdin(stop.clone());
    }
    serving::prepare(&settings.data)?;
    let identity = Identity::load_or_create(&settings.data)?;
    let registry = Registry::new();
    let node = NodeMetrics::register(&registry)?;
    let edge =
        EdgeMetrics::register(&registry, env!("CARGO_PKG_VERSION"), option_env!("WEIR_COMMIT").unwrap_or("unknown"))?;
    ProcessMetrics::register(&registry)?;
    let readiness = Readiness::new();
    let accepting = readiness.check("doors");

    // Bind everything public first: a busy port is the commonest mistake, and it should cost nothing to find out.
    let certificate = serving::certificate(settings.certificate.as_ref(), &settings.listen, &settings.data)?;
    edge.certificate_expires(certificate.not_after());
    let doors = Doors::bind(DoorsConfig {
        tls: settings.listen.clone(),
        plain: settings.http.clone(),
        certificate: Some(TlsHolder::new(&certificate)?),
        limits: Limits::default(),
        metrics: Some(edge.clone()),
    })?;
    let admin = Doors::bind(DoorsConfig::plain(vec![settings.admin]))?;

    let name = serving::cache_name(identity.relay());
    let content = Supply::open(&settings, &identity, &node).await?;
    let fetch = content.fetch.clone();
    let routes =
        Routes::new(fetch.clone(), Sites::new(content.sites.clone())?, name, edge.clone(), RoutesConfig::default());
    let status = Arc::new(EdgeStatus {
        started: Instant::now(),
        relay: content.networks.is_some().then(|| identity.relay()),
        addresses: doors.local_addrs().clone(),
        fetch: fetch.clone(),
        node: node.clone(),
        edge: edge.clone(),
        networks: content.networks.clone(),
        spki: Some(certificate.spki_sha256_base64().to_owned()),
    });

    report(&settings, &identity, &doors, &admin, &content, &status);
    let stop_admin = CancellationToken::new();
    let pages = Admin::new(registry, readiness.clone(), status.clone(), Vec::new());
    let admin = tokio::spawn(admin.run(Arc::new(pages), stop_admin.clone()));
    let observing = tokio::spawn(observe(status.clone(), stop_admin.clone()));
    let draining = tokio::spawn(serving::announce_drain(stop.clone(), readiness.clone(), edge.clone()));
    accepting.set(true);
    let served = doors.run(Arc::new(routes), stop.clone()).await;
    // Also when a door ended by itself: everything else goes down with it.
    stop.cancel();
    content.close().await;
    stop_admin.cancel();
    for task in [observing, draining] {
        task.await.map_err(|error| Failure::new(RUNTIME, error))?;
    }
    admin.await.map_err(|error| Failure::new(RUNTIME, error))??;
    Ok(served?)
}

/// Where content comes from, running.
struct Supply {
    fetch: Fetch,
    store: Arc<Store>,
    sites: Vec<Site>,
    networks: Option<Arc<Networks>>,
    peers: Option<PeerSide>,
    tasks: JoinSet<()>,
    stop_peers: CancellationToken,
    stop_store: CancellationToken,
}

impl Supply {
    async fn open(settings: &EdgeSettings, identity: &Identity, node: &Arc<NodeMetrics>) -> Result<Self, Failure> {
        match &settings.content {
            Content::Upstream(url) => {
                Self::upstream(settings, url.clone(), serving::cache_name(identity.relay()), node)
            }
            Content::Join(urls) => Self::join(settings, urls, identity, node).await,
        }
    }

    fn store(settings: &EdgeSettings, reverify: Reverify, node: &Arc<NodeMetrics>) -> Result<Arc<Store>, Failure> {
        let config = serving::store_config(settings.memory, settings.disk, settings.data.join("cache"));
        Ok(Arc::new(Store::open(config, reverify, node.clone())?))
    }

    fn upstream(
        settings: &EdgeSettings,
        url: url::Url,
        name: String,
        node: &Arc<NodeMetrics>,
    ) -> Result<Self, Failure> {
        // A pull-through cache holds nothing signed, so nothing is verified again when it comes from disk.
        let store = Self::store(settings, Arc::new(|_, _| None), node)?;
        let publisher = PublisherId::unsigned(url.as_str());
        let mut config = UpstreamConfig::new(url);
        config.ca.clone_from(&settings.ca);
        config.name = name;
        let limits = serving::fetch_config(settings.memory);
        let source = Trusted::new(Upstream::new(config)?, Clock::System, limits.max_object_bytes);
        let plan = Arc::new(OneSource(Arc::new(source)));
        let fetch = Fetch::new(store.clone(), plan, node.clone(), Clock::System, limits);
        let mut supply = Self {
            fetch,
            store,
            sites: vec![Site { publisher, name: None, hosts: Vec::new() }],
            networks: None,
            peers: None,
            tasks: JoinSet::new(),
            stop_peers: CancellationToken::new(),
            stop_store: CancellationToken::new(),
        };
        supply.run_store();
        Ok(supply)
    }

    async fn join(
        settings: &EdgeSettings,
        urls: &[url::Url],
        identity: &Identity,
        node: &Arc<NodeMetrics>,
    ) -> Result<Self, Failure> {
        let peers = PeerSide::start(QuicConfig::new(settings.peer, identity.keypair.clone())).await?;
        let networks = Arc::new(Networks::new(peers.links.clone(), Clock::System));
        let mut joined: Vec<Joined> = Vec::new();
        for url in urls {
            let joining = Joining {
                url: url.clone(),
                ca: settings.ca.clone(),
                data: settings.data.clone(),
                me: identity.relay(),
                clock: Clock::System,
            };
            let one = joining.join().await?;
            networks.join(one.network.clone());
            joined.push(one);
        }
        let known = networks.clone();
        let reverify: Reverify = Arc::new(move |record, key: &ResourceKey| {
            let ring = known.get(&key.publisher)?.ring();
            record.clone().verify(&ring, key, Clock::System.now()).ok()
        });
        let store = Self::store(settings, reverify, node)?;
        let fetch = Fetch::new(
            store.clone(),
            networks.clone(),
            node.clone(),
            Clock::System,
            serving::fetch_config(settings.memory),
        );
        let sites = joined.iter().map(|one| Site {
            publisher: one.document.publisher,
            name: Some(one.document.name.clone()),
            hosts: one.document.hosts.clone(),
        });
        let mut supply = Self {
            fetch: fetch.clone(),
            store,
            sites: sites.collect(),
            networks: Some(networks.clone()),
            peers: Some(peers.side),
            tasks: JoinSet::new(),
            stop_peers: CancellationToken::new(),
            stop_store: CancellationToken::new(),
        };
        supply.run_store();
        supply.run_peers(
            peers.tasks,
            PeerServer::relay(networks, fetch, Clock::System, node.clone()),
            joined,
            &peers.links,
        );
        Ok(supply)
    }

    fn run_store(&mut self) {
        let (store, stop) = (self.store.clone(), self.stop_store.clone());
        self.tasks.spawn(async move {
            if let Err(error) = store.run(stop).await {
                tracing::error!(%error, "the disk cache stopped; serving from memory");
            }
        });
    }

    fn run_peers(&mut self, tasks: PeerTasks, server: PeerServer, joined: Vec<Joined>, links: &Arc<Links>) {
        let serving = PeerSide::serve(tasks, server, self.stop_peers.clone());
        self.tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the peer server failed");
            }
        });
        for one in joined {
            self.tasks.spawn(one.stay(links.clone(), self.stop_peers.clone()));
        }
    }

    async fn close(mut self) {
        self.stop_peers.cancel();
        if tokio::time::timeout(FLUSH, self.fetch.drain()).await.is_err() {
            tracing::warn!("some fills were still running at the end");
        }
        self.stop_store.cancel();
        if let Some(peers) = self.peers.take() {
            peers.shutdown().await;
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn observe(status: Arc<EdgeStatus>, stop: CancellationToken) {
    let mut ticks = interval(OBSERVE_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                let (members, _) = status.peers();
                status.node.observe(status.fetch.store(), status.networks.as_ref().map(|networks| &**networks.links()), members);
            }
        }
    }
}

fn report(
    settings: &EdgeSettings,
    identity: &Identity,
    doors: &Doors,
    admin: &Doors,
    content: &Supply,
    status: &EdgeStatus,
) {
    let addresses = doors.local_addrs();
    let admin = admin.local_addrs().plain.first().copied();
    let peer = content.peers.as_ref().map(PeerSide::address);
    if settings.json {
        let line = serde_json::json!({
            "relay": identity.relay().to_string(),
            "tls": addresses.tls, "http": addresses.plain, "admin": admin, "peer": peer, "spki_sha256": status.spki,
        });
        println!("{line}");
        return;
    }
    if identity.created {
        println!(
            "✔ identity      {} created in {}; no wallet, no account",
            identity.relay().short(),
            settings.data.display()
        );
    } else {
        println!("✔ identity      {}", identity.relay().short());
    }
    for site in &content.sites {
        match &site.name {
            Some(name) => println!("✔ joined        {} (as /{name}/ or by host name)", site.publisher.short()),
            None => println!("✔ pull-through  no mesh, no signatures: the upstream is trusted by its TLS"),
        }
    }
    for address in &addresses.tls {
        println!("✔ https         https://{address}  (HTTP/1.1, HTTP/2, and HTTP/3 on UDP)");
    }
    for address in &addresses.plain {
        println!("✔ http          http://{address}");
    }
    if let Some(peer) = peer {
        println!("✔ peers         UDP {peer}");
    }
    if let Some(admin) = admin {
        println!("✔ private       http://{admin}/readyz  /metrics  /api/v1/status");
    }
    println!(
        "✔ limits        memory {} MiB, disk {} MiB in {}",
        settings.memory >> 20,
        settings.disk >> 20,
        settings.data.display()
    );
}
