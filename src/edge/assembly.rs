//! The edge put together. Start: store, peers, networks, routes, doors; only then it is ready. Stop in the opposite
//! order: doors drain first, because viewers are waiting; then peers, who find other sources; then the store flushes;
//! the private address goes last, so that the drain can be watched.

use super::{EdgeArgs, args::EdgeSettings, publishers::Joint, status::EdgeStatus, supply::Supply};
use crate::{
    exit::{Failure, RUNTIME},
    serving, signals,
};
use prometheus::Registry;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::interval};
use tokio_util::sync::CancellationToken;
use weir_edge::{
    admin::{Admin, PurgeDesk, Readiness},
    doors::{Doors, DoorsConfig, Limits},
    metrics::{EdgeMetrics, ProcessMetrics},
    routes::{About, KeyLists, Routes, Sites},
    tls::TlsHolder,
    tokens::Gate as TokenGate,
};
use weir_relay::{
    clock::Clock,
    http::Handler,
    node::{Identity, NodeMetrics, PeerSide},
    push::Push,
    quic::Gate,
    reach::ReachReport,
};

/// How often gauges are brought up to date.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);

/// Makes another handler of the routes.
pub(crate) type Door = Box<dyn FnOnce(Arc<dyn Handler>) -> Arc<dyn Handler> + Send>;

/// What another part of this program puts around an edge; nothing by default.
#[derive(Default)]
pub(crate) struct Around {
    /// What the doors call instead of the routes.
    pub(crate) door: Option<Door>,
    /// A switch in front of the peer socket.
    pub(crate) gate: Option<Gate>,
    /// The clock by which the relay judges ages, grants and signatures.
    pub(crate) clock: Clock,
}

/// Runs an edge until it is told to stop.
pub(crate) async fn run(args: EdgeArgs) -> Result<(), Failure> {
    run_within(args, CancellationToken::new(), Around::default()).await
}

/// The same, with something around it, until a signal comes or `stop` is cancelled.
pub(crate) async fn run_within(args: EdgeArgs, stop: CancellationToken, around: Around) -> Result<(), Failure> {
    let settings = args.settle()?;
    signals::listen(stop.clone()).map_err(|error| Failure::new(RUNTIME, error))?;
    if settings.exit_with_stdin {
        signals::stop_with_stdin(stop.clone());
    }
    serving::prepare(&settings.data)?;
    let identity = Identity::load_or_create(&settings.data)?;
    let registry = Registry::new();
    let node = NodeMetrics::register(&registry)?;
    node.limits_upload(settings.upload.rate().map_or(0, std::num::NonZeroU64::get));
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
    let content =
        Supply::open(&settings, &identity, &node, &doors.local_addrs().tls, around.gate, around.clock).await?;
    let fetch = content.fetch.clone();
    let mut routes =
        Routes::new(fetch.clone(), Sites::new(content.sites.clone())?, name, edge.clone(), settings.routes())
            .steering(content.steers(identity.relay()));
    if let Some(networks) = content.networks.clone() {
        let keys: KeyLists = Arc::new(move |publisher| Some(networks.get(publisher)?.ring().encoded().to_vec()));
        routes = routes.telling(About { relay: identity.relay(), keys });
    }
    if let Some((networks, meter)) = content.networks.clone().zip(content.meter.clone()) {
        routes = routes.behind(TokenGate::new(identity.relay(), Arc::new(Joint(networks)), Some(meter)));
    }
    let status = Arc::new(EdgeStatus {
        started: Instant::now(),
        relay: content.networks.is_some().then(|| identity.relay()),
        addresses: doors.local_addrs().clone(),
        fetch: fetch.clone(),
        node: node.clone(),
        edge: edge.clone(),
        networks: content.networks.clone(),
        reach: content.reach.clone(),
        push: content.push.clone(),
        meter: content.meter.clone(),
        audits: content.audits.clone(),
        spki: Some(certificate.spki_sha256_base64().to_owned()),
    });

    report(&settings, &identity, &doors, &admin, &content, &status);
    let stop_admin = CancellationToken::new();
    let publishers = content.sites.iter().map(|site| site.publisher).collect();
    let purges = PurgeDesk::new(fetch, publishers, serving::admin_token(&settings.data)?);
    let pages = Admin::new(registry, readiness.clone(), status.clone(), Vec::new()).purging(purges);
    let admin = tokio::spawn(admin.run(Arc::new(pages), stop_admin.clone()));
    let observing = tokio::spawn(observe(status.clone(), stop_admin.clone()));
    let reaching = tokio::spawn(tell_reachability(content.reach.clone(), settings.json, stop_admin.clone()));
    let draining = tokio::spawn(serving::announce_drain(stop.clone(), readiness.clone(), edge.clone()));
    let reporting = tokio::spawn(content.report_door(&settings, &edge, stop.clone(), stop_admin.clone()));
    accepting.set(true);
    let routes: Arc<dyn Handler> = Arc::new(routes);
    let routes = match around.door {
        Some(door) => door(routes),
        None => routes,
    };
    let served = doors.run(routes, stop.clone()).await;
    // Also when a door ended by itself: everything else goes down with it.
    stop.cancel();
    content.close().await;
    stop_admin.cancel();
    for task in [observing, draining, reaching, reporting] {
        task.await.map_err(|error| Failure::new(RUNTIME, error))?;
    }
    admin.await.map_err(|error| Failure::new(RUNTIME, error))??;
    Ok(served?)
}

/// Prints how this relay can be reached, once that is known, and each time it changes.
async fn tell_reachability(reach: Option<watch::Receiver<ReachReport>>, json: bool, stop: CancellationToken) {
    let Some(mut reach) = reach.filter(|_| !json) else { return };
    let mut told = None;
    loop {
        let line = reach.borrow_and_update().sentence();
        let known = reach.borrow().known_after_ms.is_some();
        if known && told.as_ref() != Some(&line) {
            println!("✔ reachability  {line}");
            told = Some(line);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = reach.changed() => if changed.is_err() { return },
        }
    }
}

async fn observe(status: Arc<EdgeStatus>, stop: CancellationToken) {
    let mut ticks = interval(OBSERVE_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                let (members, _) = status.peers();
                if let Some(reach) = &status.reach {
                    status.node.reachable(reach.borrow().conclusion.class);
                }
                status.node.observe(status.fetch.store(), status.networks.as_ref().map(|networks| &**networks.links()), members);
                status.node.observe_push(status.push.as_ref().map_or((0, 0), Push::totals));
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
