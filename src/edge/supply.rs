//! Where an edge's content comes from: an upstream that is trusted, or the networks of publishers, with the store, the meter
//! and the peers. Invariant: what was delivered is claimed before the peers go, who carry it away.

use super::{
    args::{Content, EdgeSettings},
    audit::Audit,
    door::PublicDoor,
};
use crate::{
    exit::Failure,
    reload::ListFile,
    serving::{self, OneSource},
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use weir_edge::{
    doors::Limits,
    metrics::EdgeMetrics,
    routes::{Site, Steers},
};
use weir_protocol::{
    ids::{PublisherId, RelayId},
    resource::ResourceKey,
    wellknown::Steering,
};
use weir_relay::{
    access::{Blocklist, Withheld},
    clock::Clock,
    control::ControlConfig,
    fetch::Fetch,
    meter::{Journal, Meter, MeterConfig},
    node::{Identity, Joined, Joining, NodeMetrics, PeerSide, PeerTasks},
    peer::{Links, Networks, PeerServer},
    push::{Push, PushConfig, watching},
    quic::{Gate, QuicConfig},
    reach::{Ports, ReachReport, RelayReach, RelayReachParts},
    source::{Trusted, Upstream, UpstreamConfig},
    store::{Reverify, Store},
};

/// What was signed and received, in the data directory.
const JOURNAL: &str = "journal.redb";
/// How long the store may take to write what waits.
const FLUSH: Duration = Duration::from_secs(10);

/// Where content comes from, running.
pub(super) struct Supply {
    pub(super) fetch: Fetch,
    store: Arc<Store>,
    pub(super) sites: Vec<Site>,
    steering: HashMap<PublisherId, Steering>,
    pub(super) networks: Option<Arc<Networks>>,
    pub(super) reach: Option<watch::Receiver<ReachReport>>,
    pub(super) push: Option<Push>,
    pub(super) peers: Option<PeerSide>,
    pub(super) meter: Option<Meter>,
    pub(super) audits: Vec<Arc<Audit>>,
    /// Signs and submits; ends before the peers do, who carry it away.
    books: Option<JoinHandle<()>>,
    tasks: JoinSet<()>,
    stop_books: CancellationToken,
    stop_peers: CancellationToken,
    stop_store: CancellationToken,
}

impl Supply {
    pub(super) async fn open(
        settings: &EdgeSettings,
        identity: &Identity,
        node: &Arc<NodeMetrics>,
        doors: &[SocketAddr],
        gate: Option<Gate>,
        clock: Clock,
    ) -> Result<Self, Failure> {
        match &settings.content {
            Content::Upstream(url) => {
                Self::upstream(settings, url.clone(), serving::cache_name(identity.relay()), node, clock)
            }
            Content::Join(urls) => Self::join(settings, urls, identity, node, doors, gate, clock).await,
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
        clock: Clock,
    ) -> Result<Self, Failure> {
        // A pull-through cache holds nothing signed, so nothing is verified again when it comes from disk.
        let store = Self::store(settings, Arc::new(|_, _| None), node)?;
        let publisher = PublisherId::unsigned(url.as_str());
        let mut config = UpstreamConfig::new(url);
        config.ca.clone_from(&settings.ca);
        config.name = name;
        let limits = serving::fetch_config(settings.memory);
        let source =
            Trusted::new(Upstream::new(config)?, clock.clone(), limits.max_object_bytes).judging_by(settings.rules);
        let blocked = Arc::new(RwLock::new(Arc::new(Blocklist::default())));
        let refuses = blocked.clone();
        let plan = Arc::new(OneSource::new(Arc::new(source), move |key| {
            let list = refuses.read().unwrap_or_else(PoisonError::into_inner);
            list.covers(key).then_some(Withheld::Blocked)
        }));
        let fetch = Fetch::new(store.clone(), plan, node.clone(), clock, limits);
        let mut supply = Self {
            fetch,
            store,
            sites: vec![Site { publisher, name: None, hosts: Vec::new() }],
            steering: HashMap::new(),
            networks: None,
            reach: None,
            push: None,
            peers: None,
            meter: None,
            audits: Vec::new(),
            books: None,
            tasks: JoinSet::new(),
            stop_books: CancellationToken::new(),
            stop_peers: CancellationToken::new(),
            stop_store: CancellationToken::new(),
        };
        supply.run_store();
        supply.watch_blocklist(settings, move |supply, list| {
            let list = Arc::new(list);
            *blocked.write().unwrap_or_else(PoisonError::into_inner) = list.clone();
            let store = supply.clone();
            // It is refused from now on; forgetting it may take its time.
            tokio::spawn(async move { store.purge(move |key| list.covers(key)).await });
        })?;
        Ok(supply)
    }

    /// Reads the operator's blocklist, if there is one, and hands it and each later version to `set`.
    fn watch_blocklist(
        &mut self,
        settings: &EdgeSettings,
        set: impl Fn(&Arc<Store>, Blocklist) + Send + 'static,
    ) -> Result<(), Failure> {
        let Some(path) = &settings.blocklist else { return Ok(()) };
        let (file, list) = ListFile::open(path, Blocklist::parse)?;
        set(&self.store, list);
        let (store, stop) = (self.store.clone(), self.stop_peers.clone());
        self.tasks.spawn(file.watch(Blocklist::parse, move |list| set(&store, list), stop));
        Ok(())
    }

    async fn join(
        settings: &EdgeSettings,
        urls: &[url::Url],
        identity: &Identity,
        node: &Arc<NodeMetrics>,
        doors: &[SocketAddr],
        gate: Option<Gate>,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let control = ControlConfig { mdns: settings.mdns, ..ControlConfig::default() };
        let socket = QuicConfig { gate, ..QuicConfig::new(settings.peer, identity.keypair.clone()) };
        let peers = PeerSide::start_with(socket, control).await?;
        let networks = Arc::new(Networks::new(peers.links.clone(), clock.clone()));
        let journal = Journal::open(&settings.data.join(JOURNAL))?;
        let counting = MeterConfig { claim_every: settings.claim_every };
        let (meter, books) = Meter::new(journal, identity.evidence_key()?, clock.clone(), counting);
        networks.set_meter(meter.clone());
        let stop_books = CancellationToken::new();
        let mut joined: Vec<Joined> = Vec::new();
        for url in urls {
            let joining = Joining {
                url: url.clone(),
                ca: settings.ca.clone(),
                data: settings.data.clone(),
                me: identity.relay(),
                allowed: settings.allow_publishers.clone(),
                clock: clock.clone(),
            };
            let one = joining.join().await?;
            networks.join(one.network.clone());
            joined.push(one);
        }
        let (known, by) = (networks.clone(), clock.clone());
        let reverify: Reverify = Arc::new(move |record, key: &ResourceKey| {
            let ring = known.get(&key.publisher)?.ring();
            record.clone().verify(&ring, key, by.now()).ok()
        });
        let store = Self::store(settings, reverify, node)?;
        let (watching, watched) = watching(node.clone());
        let fetch = Fetch::new(
            store.clone(),
            networks.clone(),
            Arc::new(watching),
            clock,
            serving::fetch_config(settings.memory),
        );
        let limited = PushConfig { upload: settings.upload.clone(), ..PushConfig::default() };
        let push = Push::relay(networks.clone(), fetch.clone(), node.clone(), node.clone(), limited);
        let audits = joined.iter().zip(urls).map(|(one, url)| {
            Audit::new(identity.relay(), one.network.clone(), meter.clone(), url, settings.ca.as_ref(), &settings.data)
                .map(Arc::new)
        });
        let audits = audits.collect::<Result<Vec<_>, _>>()?;
        let sites = joined.iter().map(|one| Site {
            publisher: one.document.publisher,
            name: Some(one.document.name.clone()),
            hosts: one.document.hosts.clone(),
        });
        let steering = joined
            .iter()
            .filter_map(|one| Some((one.document.publisher, one.document.policy.steering.clone()?)))
            .collect();
        let sent = node.clone();
        let (reach, reports) = RelayReach::new(RelayReachParts {
            me: identity.relay(),
            control: peers.control,
            events: peers.side.events(),
            local: peers.side.local_addresses(),
            networks: networks.clone(),
            data: settings.data.clone(),
            ports: settings.portmap.then(|| Ports { peer: Some(peers.side.address()), doors: doors.to_vec() }),
            sent: Box::new(move || sent.totals().bytes_to_peers),
        });
        let mut supply = Self {
            fetch: fetch.clone(),
            store,
            sites: sites.collect(),
            steering,
            networks: Some(networks.clone()),
            reach: Some(reports),
            push: Some(push.clone()),
            peers: Some(peers.side),
            meter: Some(meter),
            audits,
            books: Some(tokio::spawn(books.run(stop_books.clone()))),
            tasks: JoinSet::new(),
            stop_books,
            stop_peers: CancellationToken::new(),
            stop_store: CancellationToken::new(),
        };
        for audit in supply.audits.clone() {
            supply.tasks.spawn(audit.run(supply.stop_peers.clone()));
        }
        supply.run_store();
        let refusing = networks.clone();
        supply.watch_blocklist(settings, move |_, list| refusing.set_blocklist(list))?;
        supply.run_peers(
            peers.tasks,
            PeerServer::relay(networks, fetch, node.clone())
                .with_trees(Arc::new(push.clone()))
                .with_upload_limit(settings.upload.clone()),
            joined,
            &peers.links,
        );
        supply.tasks.spawn(reach.run(supply.stop_peers.clone()));
        supply.tasks.spawn(push.follow(watched, supply.stop_peers.clone()));
        Ok(supply)
    }

    /// What the doors know of steering.
    pub(super) fn steers(&self, relay: RelayId) -> Steers {
        let Some(networks) = self.networks.clone() else { return Steers::default() };
        let region = move |publisher: &PublisherId| {
            let grant = networks.get(publisher).and_then(|network| network.own_grant());
            grant.map(|grant| grant.grant().region.clone()).unwrap_or_default()
        };
        Steers { relay: Some(relay), policies: self.steering.clone(), region: Arc::new(region) }
    }

    /// Tells adapters of the door that the operator has named, if one is.
    pub(super) fn report_door(
        &self,
        settings: &EdgeSettings,
        metrics: &Arc<EdgeMetrics>,
        drain: CancellationToken,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let one = self.sites.len() == 1;
        let prefix = |site: &Site| site.name.as_ref().filter(|_| !one).map_or(String::new(), |name| format!("/{name}"));
        let prefixes = self.sites.iter().map(|site| (site.publisher, prefix(site))).collect();
        let door = settings.door.clone().map(|url| PublicDoor {
            url,
            capacity: settings.door_capacity,
            prefixes,
            max_connections: Limits::default().max_connections,
        });
        let (networks, metrics) = (self.networks.clone(), metrics.clone());
        async move {
            if let (Some(door), Some(networks)) = (door, networks) {
                door.report(networks, metrics, drain, stop).await;
            }
        }
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

    pub(super) async fn close(mut self) {
        // Doors have drained: what they delivered is claimed, and submitted while the adapter still listens.
        self.stop_books.cancel();
        if let Some(Err(error)) = match self.books.take() {
            Some(books) => Some(books.await),
            None => None,
        } {
            tracing::error!(%error, "the meter's books failed");
        }
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
