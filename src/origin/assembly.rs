//! The adapter put together. Start: keys, store, source, peers, doors; only then it is ready. Stop in the opposite
//! order: doors drain first, then relays are let go (they find one another's copies), then the store flushes.

use super::{
    OriginArgs,
    args::{OriginSettings, UpstreamKind},
};
use crate::{
    exit::{Failure, RUNTIME},
    serving::{self, OneSource},
    signals,
};
use prometheus::Registry;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::interval};
use tokio_util::sync::CancellationToken;
use weir_edge::{
    admin::{Admin, Readiness, StatusSource},
    doors::{Doors, DoorsConfig, Limits, LocalAddrs},
    metrics::{EdgeMetrics, ProcessMetrics},
    routes::{Routes, RoutesConfig, Site, Sites},
    tls::TlsHolder,
};
use weir_origin::{folder::Folder, follow::follow, handler::AdapterHandler, keys::PublisherKeys, signed::Signed};
use weir_protocol::{
    ids::PublisherId,
    keys::KeyRing,
    resource::ResourceKey,
    wellknown::{PeerInfo, Policy, WELL_KNOWN_PATH, WELL_KNOWN_VERSION, WellKnown},
};
use weir_relay::{
    clock::Clock,
    fetch::Fetch,
    node::{Identity, NodeMetrics, PeerSide, PeerSideParts},
    peer::{Directory, Links, PeerServer},
    quic::{QuicConfig, multiaddr_of},
    source::{Source, Upstream, UpstreamConfig},
    store::{Reverify, Store},
};

/// How often gauges are brought up to date.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);
/// How often a fresh key list is issued; a list is good for thirty days.
const ISSUE_EVERY: Duration = Duration::from_secs(12 * 3600);
/// How long the store may take to write what waits.
const FLUSH: Duration = Duration::from_secs(10);

/// The keys that verify what this adapter has signed.
type Ring = Arc<RwLock<KeyRing>>;

/// Runs an adapter until it is told to stop.
pub(crate) async fn run(args: OriginArgs) -> Result<(), Failure> {
    let settings = args.settle()?;
    let stop = CancellationToken::new();
    signals::listen(stop.clone()).map_err(|error| Failure::new(RUNTIME, error))?;
    if settings.exit_with_stdin {
        signals::stop_with_stdin(stop.clone());
    }
    serving::prepare(&settings.data)?;
    let keys = PublisherKeys::load_or_create(&settings.data)?;
    let identity = Identity::load_or_create(&settings.data)?;
    let registry = Registry::new();
    let node = NodeMetrics::register(&registry)?;
    let edge =
        EdgeMetrics::register(&registry, env!("CARGO_PKG_VERSION"), option_env!("WEIR_COMMIT").unwrap_or("unknown"))?;
    ProcessMetrics::register(&registry)?;
    let readiness = Readiness::new();
    let accepting = readiness.check("doors");

    let certificate = match settings.listen.as_slice() {
        [] => None,
        listen => Some(serving::certificate(settings.certificate.as_ref(), listen, &settings.data)?),
    };
    if let Some(certificate) = &certificate {
        edge.certificate_expires(certificate.not_after());
    }
    let doors = Doors::bind(DoorsConfig {
        tls: settings.listen.clone(),
        plain: settings.http.clone(),
        certificate: certificate.as_ref().map(TlsHolder::new).transpose()?,
        limits: Limits::default(),
        metrics: Some(edge.clone()),
    })?;
    let admin = Doors::bind(DoorsConfig::plain(vec![settings.admin]))?;
    let peers = PeerSide::start(QuicConfig::new(settings.peer, identity.keypair.clone())).await?;

    let name = serving::cache_name(identity.relay());
    let now = Clock::System.now();
    // Renewed with each list, since a ring is good no longer than its list.
    let ring: Ring = Arc::new(RwLock::new(keys.ring(now)?));
    let store = store(&settings, ring.clone(), &node)?;
    let limits = serving::fetch_config(settings.memory);
    let (watching, follower) = follow(node.clone());
    let plan = Arc::new(OneSource(source(&settings, &keys, &name, limits.max_object_bytes)?));
    let fetch = Fetch::new(store.clone(), plan, Arc::new(watching), Clock::System, limits);
    let directory = Arc::new(Directory::new(keys.root(), keys.list(now)?));
    let document = document(&settings, &keys, &identity, &peers).await?;

    let publisher = keys.publisher();
    let site = Site { publisher, name: Some(document.name.clone()), hosts: document.hosts.clone() };
    let routes = Routes::new(fetch.clone(), Sites::new(vec![site])?, name, edge.clone(), RoutesConfig::default());
    let handler = AdapterHandler::new(&document, Arc::new(routes)).map_err(|error| Failure::new(RUNTIME, error))?;
    let handler = Arc::new(handler);
    let PeerSideParts { side, links, tasks, control: _ } = peers;
    let status = Arc::new(OriginStatus {
        started: Instant::now(),
        publisher,
        addresses: doors.local_addrs().clone(),
        fetch: fetch.clone(),
        node: node.clone(),
        directory: directory.clone(),
        links: links.clone(),
    });
    report(&settings, &keys, &document, &doors, &admin, &side);

    let (stop_peers, stop_store, stop_admin) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let mut background = JoinSet::new();
    background.spawn({
        let (store, stop) = (store.clone(), stop_store.clone());
        async move {
            if let Err(error) = store.run(stop).await {
                tracing::error!(%error, "the disk store stopped; serving from memory");
            }
        }
    });
    let server = PeerServer::adapter(directory.clone(), links, fetch.clone(), node.clone());
    let serving_peers = PeerSide::serve(tasks, server, stop_peers.clone());
    background.spawn(follower.run(fetch.clone(), stop_peers.clone()));
    background.spawn(issue(keys, ring, document, handler.clone(), directory, stop_peers.clone()));
    background.spawn(observe(status.clone(), stop_admin.clone()));
    background.spawn(serving::announce_drain(stop.clone(), readiness.clone(), edge));
    let pages = Admin::new(registry, readiness, status, Vec::new());
    let admin = tokio::spawn(admin.run(Arc::new(pages), stop_admin.clone()));

    accepting.set(true);
    let served = doors.run(handler, stop.clone()).await;
    stop.cancel();
    stop_peers.cancel();
    if tokio::time::timeout(FLUSH, fetch.drain()).await.is_err() {
        tracing::warn!("some fills were still running at the end");
    }
    stop_store.cancel();
    serving_peers.await.map_err(|error| Failure::new(RUNTIME, error))?;
    side.shutdown().await;
    stop_admin.cancel();
    while background.join_next().await.is_some() {}
    admin.await.map_err(|error| Failure::new(RUNTIME, error))??;
    Ok(served?)
}

fn store(settings: &OriginSettings, ring: Ring, node: &Arc<NodeMetrics>) -> Result<Arc<Store>, Failure> {
    // Records on disk were signed here; a key that has been rotated out no longer vouches for them, and they are
    // fetched and signed anew.
    let reverify: Reverify = Arc::new(move |record, key: &ResourceKey| {
        let ring = ring.read().unwrap_or_else(PoisonError::into_inner);
        record.clone().verify(&ring, key, Clock::System.now()).ok()
    });
    let config = serving::store_config(settings.memory, settings.disk, settings.data.join("store"));
    Ok(Arc::new(Store::open(config, reverify, node.clone())?))
}

fn source(
    settings: &OriginSettings,
    keys: &PublisherKeys,
    name: &str,
    longest: u64,
) -> Result<Arc<dyn Source>, Failure> {
    Ok(match &settings.upstream {
        UpstreamKind::Http(url) => {
            let config = UpstreamConfig {
                ca: settings.ca.clone(),
                name: name.to_owned(),
                head_timeout: settings.upstream_timeout,
                idle_timeout: settings.upstream_timeout,
                ..UpstreamConfig::new(url.clone())
            };
            Arc::new(Signed::new(Upstream::new(config)?, keys.signer(), Clock::System, longest))
        }
        UpstreamKind::Folder(path) => Arc::new(Signed::new(Folder::new(path)?, keys.signer(), Clock::System, longest)),
    })
}

async fn document(
    settings: &OriginSettings,
    keys: &PublisherKeys,
    identity: &Identity,
    peers: &PeerSideParts,
) -> Result<WellKnown, Failure> {
    let addresses = if settings.announce.is_empty() {
        peers.control.listeners().await.map_err(|error| Failure::new(RUNTIME, error))?
    } else {
        settings.announce.iter().copied().map(multiaddr_of).collect()
    };
    let publisher = keys.publisher();
    let adapter = PeerInfo { relay: identity.relay(), addresses: addresses.iter().map(ToString::to_string).collect() };
    let short: String = publisher.to_string().chars().take("pub-".len() + 8).collect();
    Ok(WellKnown {
        version: WELL_KNOWN_VERSION,
        publisher,
        name: settings.name.clone().unwrap_or(short),
        hosts: settings.hosts.clone(),
        keys: keys.list(Clock::System.now())?,
        bootstrap: vec![adapter.clone()],
        adapter,
        policy: Policy {
            max_object_bytes: Some(serving::fetch_config(settings.memory).max_object_bytes),
            tokens_required: false,
        },
    })
}

/// Issues key lists anew, to relays and in the document.
async fn issue(
    keys: PublisherKeys,
    ring: Ring,
    mut document: WellKnown,
    handler: Arc<AdapterHandler>,
    directory: Arc<Directory>,
    stop: CancellationToken,
) {
    let mut ticks = interval(ISSUE_EVERY);
    ticks.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => match keys.list(Clock::System.now()) {
                Ok(list) => {
                    if let Ok(renewed) = keys.ring(Clock::System.now()) {
                        *ring.write().unwrap_or_else(PoisonError::into_inner) = renewed;
                    }
                    document.keys.clone_from(&list);
                    directory.set_keys(list);
                    if let Err(error) = handler.set_document(&document) {
                        tracing::error!(%error, "the join document was not renewed");
                    }
                }
                Err(error) => tracing::error!(%error, "the key list was not renewed"),
            },
        }
    }
}

struct OriginStatus {
    started: Instant,
    publisher: PublisherId,
    addresses: LocalAddrs,
    fetch: Fetch,
    node: Arc<NodeMetrics>,
    directory: Arc<Directory>,
    links: Arc<Links>,
}

impl StatusSource for OriginStatus {
    fn status(&self) -> Value {
        let relays: Vec<Value> = self
            .directory
            .relays()
            .iter()
            .map(|relay| {
                let round_trip = self.links.round_trip(relay).map(|time| time.as_secs_f64());
                json!({ "relay": relay.to_string(), "round_trip_seconds": round_trip })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "publisher": self.publisher.to_string(),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "doors": { "tls": self.addresses.tls, "plain": self.addresses.plain },
            "relays": relays,
            "fills": self.fetch.fills(),
            "totals": self.node.totals(),
        })
    }
}

async fn observe(status: Arc<OriginStatus>, stop: CancellationToken) {
    let mut ticks = interval(OBSERVE_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                let members = status.directory.relays().len();
                status.node.observe(status.fetch.store(), Some(&status.links), members);
            }
        }
    }
}

fn report(
    settings: &OriginSettings,
    keys: &PublisherKeys,
    document: &WellKnown,
    doors: &Doors,
    admin: &Doors,
    peers: &PeerSide,
) {
    let addresses = doors.local_addrs();
    let private: Option<SocketAddr> = admin.local_addrs().plain.first().copied();
    if settings.json {
        let line = json!({
            "publisher": document.publisher.to_string(), "name": document.name,
            "adapter": document.adapter.relay.to_string(),
            "http": addresses.plain, "tls": addresses.tls, "admin": private, "peer": peers.address(),
        });
        println!("{line}");
        return;
    }
    match &settings.upstream {
        UpstreamKind::Http(url) => println!("✔ upstream   {url}"),
        UpstreamKind::Folder(path) => println!("✔ upstream   folder {}", path.display()),
    }
    println!("✔ publisher  {} known as /{}/", document.publisher, document.name);
    if keys.created {
        println!("  its root key was made just now: keep a copy of {} in a safe place", keys.root_path.display());
    }
    println!("✔ relays     come to {}", document.adapter.addresses.join(" · "));
    for address in &addresses.plain {
        println!("✔ join       weir edge --join http://{address}   (document: http://{address}{WELL_KNOWN_PATH})");
    }
    for address in &addresses.tls {
        println!("✔ https      https://{address}");
    }
    if let Some(private) = private {
        println!("✔ private    http://{private}/readyz  /metrics  /api/v1/status");
    }
}
