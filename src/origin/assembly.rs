//! The adapter put together. Start: keys, store, source, peers, doors; only then it is ready. Stop in the opposite
//! order: doors drain first, then relays are let go (they find one another's copies), then the store flushes.

use super::{
    OriginArgs, Ring,
    args::{OriginCommand, OriginSettings, UpstreamKind},
    document::{document, issue},
    evidence::EvidenceCommand,
    ledger::{LOG_PATH, LedgerSide},
    probe,
    status::{OriginStatus, observe, report},
    takedown::{self, TakedownCommand},
};
use crate::{
    exit::{Failure, RUNTIME},
    ledger::Files,
    reload::ListFile,
    serving::{self, OneSource},
    signals,
};
use prometheus::Registry;
use std::{
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use weir_edge::{
    admin::{Admin, PurgeDesk, Readiness},
    doors::{Doors, DoorsConfig, Limits},
    metrics::{EdgeMetrics, ProcessMetrics},
    routes::{Routes, RoutesConfig, Site, Sites, Steers},
    tls::TlsHolder,
    tokens::{Gate, Publishers},
};
use weir_ledger::tile::Folder as LogFolder;
use weir_origin::{
    collector::Collector,
    folder::Folder,
    follow::Follower,
    granting::{AllowList, Grants, Rule},
    handler::AdapterHandler,
    keys::PublisherKeys,
    ll::LowLatency,
    observe::{ObservedDoors, Observer, Whom, restore},
    own::Own,
    ranges::Ranges,
    reports::Reports,
    signed::Signed,
    steering::{Desk, Proofs, ProverConfig},
    takedown::Takedowns,
};
use weir_protocol::{epoch::DEFAULT_EPOCH_MS, ids::PublisherId, keys::KeyRing, resource::ResourceKey};
use weir_relay::{
    access::{Kept, Withheld},
    clock::Clock,
    fetch::Fetch,
    node::{Identity, NodeMetrics, PeerSide, PeerSideParts},
    peer::{Directory, PeerServer},
    push::{Push, PushConfig, watching},
    quic::QuicConfig,
    reach::AdapterReach,
    source::{RawSource, Source, Upstream, UpstreamConfig},
    store::{Reverify, Store},
};

/// How long the store may take to write what waits.
const FLUSH: Duration = Duration::from_secs(10);

/// Connections of relays, both protocols together: every relay of a large network has one for bytes and may have one for
/// control. Idle ones hold no windows.
const MAX_CONNECTIONS: u32 = 32_768;

/// Runs an adapter until it is told to stop.
pub(crate) async fn run(mut args: OriginArgs) -> Result<(), Failure> {
    match args.command.take() {
        Some(OriginCommand::Takedown(args)) => return takedown::run(args).await,
        Some(OriginCommand::Probe(args)) => return probe::run(*args).await,
        None => {}
    }
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
    let mut quic = QuicConfig::new(settings.peer, identity.keypair.clone());
    quic.tuning.max_connections = MAX_CONNECTIONS;
    let peers = PeerSide::start(quic).await?;

    let name = serving::cache_name(identity.relay());
    let now = Clock::System.now();
    // Renewed with each list, since a ring is good no longer than its list.
    let ring: Ring = Arc::new(RwLock::new(keys.ring(now)?));
    let store = store(&settings, ring.clone(), &node)?;
    let limits = serving::fetch_config(settings.memory);
    let (watching, watched) = watching(node.clone());
    let (list, rule) = match &settings.grant_list {
        None => (None, Rule::Open),
        Some(path) => {
            let (file, list) = ListFile::open(path, AllowList::parse)?;
            (Some(file), Rule::List(list))
        }
    };
    let called = settings.hosts.first().cloned().or_else(|| settings.name.clone());
    let called = called.unwrap_or_else(|| keys.publisher().to_string());
    let ledger = LedgerSide::open(&settings.ledger, &settings.data, &called).await?;
    let epoch_ms = ledger.as_ref().map_or(DEFAULT_EPOCH_MS, |ledger| ledger.epoch_ms);
    let grants = Grants::new(keys.signer(), ring.clone(), settings.grant_epochs, rule).counting_by(epoch_ms);
    let grants = Arc::new(grants);
    let directory = Arc::new(Directory::new(keys.root(), keys.list(now)?, grants.clone(), Clock::System));
    let collector = ledger.as_ref().map(|ledger| {
        let collector = Collector::new(ring.clone(), ledger.submitter.clone(), &directory, Clock::System);
        directory.set_collector(Arc::new(collector.clone()));
        collector
    });
    let kept = Kept::of(&settings.data.join("takedowns"), keys.publisher());
    let takedowns = Takedowns::open(keys.signer(), directory.clone(), kept, Clock::System)?;
    let reports = Reports::register(&registry)?;
    let proofs = Arc::new(Proofs::default());
    let links = peers.links.clone();
    let way = links.clone();
    let desk = Arc::new(Desk::new(directory.clone(), proofs.clone(), move |relay| way.round_trip(relay)));
    let ranges = Arc::new(Ranges::new(keys.publisher()));
    let own = OwnPages { desk, reports: reports.clone(), ranges: ranges.clone() };
    let observer = match &ledger {
        None => None,
        Some(ledger) => {
            let whom = Whom::new(directory.clone(), proofs.clone());
            let observer = Observer::new(ring.clone(), whom, epoch_ms, Clock::System, &registry)?;
            // Before the first sighting: sums go on where they stood.
            restore(&observer, ledger.log.store(), epoch_ms).await.map_err(|error| Failure::new(RUNTIME, error))?;
            Some(Arc::new(observer))
        }
    };
    let (source, packager) = source(&settings, &keys, &name, limits.max_object_bytes, own)?;
    let withdrawn = directory.clone();
    let plan = Arc::new(OneSource::new(source, move |key| {
        withdrawn.withdrawn().covers(key, Clock::System.now()).then_some(Withheld::TakenDown)
    }));
    let fetch = Fetch::new(store.clone(), plan, Arc::new(watching), Clock::System, limits);
    ranges.attach(fetch.clone());
    // Whatever is purged here, the relays purge as well.
    fetch.spread_by(directory.clone());
    let document = document(&settings, &keys, &identity, &peers).await?;

    let publisher = keys.publisher();
    let site = Site { publisher, name: Some(document.name.clone()), hosts: document.hosts.clone() };
    let policies = settings.steering.clone().map(|steering| (publisher, steering)).into_iter().collect();
    let own = OwnContent { publisher, ring: ring.clone(), required: settings.require_tokens };
    let gate = Gate::new(identity.relay(), Arc::new(own), None);
    let routes = Routes::new(fetch.clone(), Sites::new(vec![site])?, name, edge.clone(), RoutesConfig::default())
        .steering(Steers { policies, ..Steers::default() })
        .behind(gate);
    let mut handler = AdapterHandler::new(&document, Arc::new(routes)).map_err(|error| Failure::new(RUNTIME, error))?;
    if let Some(ledger) = &ledger {
        handler = handler.with_pages(LOG_PATH, Arc::new(Files::new(LogFolder::new(&ledger.folder), LOG_PATH)));
    }
    let handler = Arc::new(handler);
    let observed = Arc::new(ObservedDoors::new(handler.clone(), reports, observer.clone()));
    let PeerSideParts { side, tasks, control, .. } = peers;
    let addresses = document.adapter.addresses.iter().filter_map(|address| address.parse().ok()).collect();
    let reach = AdapterReach::start(control, side.events(), directory.clone(), addresses)
        .await
        .map_err(|error| Failure::new(RUNTIME, error))?;
    let (push, wants) =
        Push::root(fetch.clone(), links.clone(), node.clone(), node.clone(), PushConfig::default(), directory.clone());
    let follower = Follower::new(watched).pushing(push.clone(), wants);
    let status = Arc::new(OriginStatus {
        started: Instant::now(),
        publisher,
        addresses: doors.local_addrs().clone(),
        fetch: fetch.clone(),
        node: node.clone(),
        directory: directory.clone(),
        links: links.clone(),
        push: push.clone(),
        proofs: proofs.clone(),
        collector,
        observer: observer.clone(),
    });
    report(&settings, &keys, &document, &doors, &admin, &side, ledger.as_ref());

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
    let server = server.with_trees(Arc::new(push.clone()));
    let serving_peers = PeerSide::serve(tasks, server, stop_peers.clone());
    background.spawn(reach.run(stop_peers.clone()));
    background.spawn(follower.run(fetch.clone(), stop_peers.clone()));
    background.spawn(push.tend(stop_peers.clone()));
    background.spawn({
        let (directory, config, stop) =
            (directory.clone(), ProverConfig { ca: settings.ca.clone() }, stop_peers.clone());
        let proofs = proofs.clone();
        async move {
            if let Err(error) = proofs.run(directory, config, stop).await {
                tracing::error!(%error, "no relay's door can be asked who it is: players are not steered to relays");
            }
        }
    });
    if let Some(packager) = packager {
        background.spawn(packager(stop_peers.clone()));
    }
    let evidence = ledger.as_ref().map(|ledger| EvidenceCommand {
        log: ledger.log.clone(),
        submitter: ledger.submitter.clone(),
        ring: ring.clone(),
        epoch_ms,
    });
    let submitter = ledger.as_ref().map(|ledger| ledger.submitter.clone());
    if let Some((observer, submitter)) = observer.zip(submitter.clone()) {
        // It ends after the doors and before the ledger, with what is left to state.
        background.spawn(observer.run(submitter, keys.signer(), publisher, epoch_ms, stop_peers.clone()));
    }
    background.spawn(issue(keys, ring, document, handler.clone(), directory.clone(), submitter, stop_peers.clone()));
    background.spawn(observe(status.clone(), stop_admin.clone()));
    background.spawn(serving::announce_drain(stop.clone(), readiness.clone(), edge));
    if let Some(file) = list {
        let directory = directory.clone();
        let renew = move |list| {
            grants.set_rule(Rule::List(list));
            directory.policy_changed();
        };
        background.spawn(file.watch(AllowList::parse, renew, stop_peers.clone()));
    }
    let purges = PurgeDesk::new(fetch.clone(), vec![publisher], serving::admin_token(&settings.data)?);
    let mut pages = Admin::new(registry, readiness, status, Vec::new()).purging(purges);
    if settings.admin.ip().is_loopback() {
        pages = pages.with_command(TakedownCommand::new(takedowns, publisher));
        if let Some(command) = evidence {
            pages = pages.with_command(Arc::new(command));
        }
    } else {
        tracing::warn!(
            "the private address is not on loopback: content cannot be taken down over it, nor evidence logged"
        );
    }
    let admin = tokio::spawn(admin.run(Arc::new(pages), stop_admin.clone()));

    accepting.set(true);
    let served = doors.run(observed, stop.clone()).await;
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
    if let Some(ledger) = ledger {
        ledger.close().await?;
    }
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

/// What stands in front of the origin.
struct OwnPages {
    desk: Arc<Desk>,
    reports: Arc<Reports>,
    ranges: Arc<Ranges>,
}

/// What makes channels of low latency, until it is told to stop.
type Packaging = Box<dyn FnOnce(CancellationToken) -> Pin<Box<dyn Future<Output = ()> + Send>>>;

fn source(
    settings: &OriginSettings,
    keys: &PublisherKeys,
    name: &str,
    longest: u64,
    own: OwnPages,
) -> Result<(Arc<dyn Source>, Option<Packaging>), Failure> {
    Ok(match &settings.upstream {
        UpstreamKind::Http(url) => {
            let config = UpstreamConfig {
                ca: settings.ca.clone(),
                name: name.to_owned(),
                head_timeout: settings.upstream_timeout,
                idle_timeout: settings.upstream_timeout,
                ..UpstreamConfig::new(url.clone())
            };
            signed(Upstream::new(config)?, settings, keys, longest, own)
        }
        UpstreamKind::Folder(path) => signed(Folder::new(path)?, settings, keys, longest, own),
    })
}

/// A raw source under the publisher's signature, behind the adapter's own pages, with low latency if that is wished for.
fn signed<S: RawSource>(
    source: S,
    settings: &OriginSettings,
    keys: &PublisherKeys,
    longest: u64,
    own: OwnPages,
) -> (Arc<dyn Source>, Option<Packaging>) {
    let OwnPages { desk, reports, ranges } = own;
    let Some(config) = settings.low_latency else {
        let source = Own::new(source, Some(desk), reports, ranges);
        let signed = Signed::new(source, keys.signer(), Clock::System, longest).judging_by(settings.rules);
        return (Arc::new(signed), None);
    };
    let (source, packager) = LowLatency::new(source, config);
    let source = Own::new(source, Some(desk), reports, ranges);
    let signed = Signed::new(source, keys.signer(), Clock::System, longest).judging_by(settings.rules);
    (Arc::new(signed), Some(Box::new(move |stop| Box::pin(packager.run(stop)))))
}

/// The adapter's own content behind its gate.
struct OwnContent {
    publisher: PublisherId,
    ring: Ring,
    required: bool,
}

impl Publishers for OwnContent {
    fn ring(&self, publisher: &PublisherId) -> Option<Arc<KeyRing>> {
        let ring = || self.ring.read().unwrap_or_else(PoisonError::into_inner).clone();
        (*publisher == self.publisher).then(|| Arc::new(ring()))
    }

    fn requires_token(&self, _: &PublisherId) -> bool {
        self.required
    }
}
