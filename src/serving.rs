//! What an edge and an adapter assemble alike: certificate, sizes of store and fetcher, the plan of a node with one
//! source, and the word that it drains.

use crate::exit::{DATA_DIRECTORY, Failure};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};
use tokio_util::sync::CancellationToken;
use weir_edge::{
    admin::Readiness,
    metrics::EdgeMetrics,
    tls::{SelfSigned, TlsMaterial},
};
use weir_protocol::{ids::RelayId, resource::ResourceKey};
use weir_relay::{
    fetch::{Candidate, FetchConfig, Plan},
    source::Source,
    store::{DiskConfig, StoreConfig},
};

/// Characters of the identity that name a cache.
const NAME: usize = 6;

/// Makes the data directory, or says why it cannot be used.
pub(crate) fn prepare(data: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(data)
        .map_err(|error| Failure::new(DATA_DIRECTORY, format!("cannot use data directory {}: {error}", data.display())))
}

/// This cache's name in `Cache-Status` and `Via`: the last characters of its identity, which are its own.
pub(crate) fn cache_name(relay: RelayId) -> String {
    let relay = relay.to_string();
    format!("weir-{}", &relay[relay.len().saturating_sub(NAME)..])
}

/// The operator's certificate and key, or a self-signed one for `listen` that is made once and kept in `data`.
pub(crate) fn certificate(
    own: Option<&(PathBuf, PathBuf)>,
    listen: &[SocketAddr],
    data: &Path,
) -> Result<TlsMaterial, Failure> {
    let now = SystemTime::now();
    Ok(match own {
        Some((certificate, key)) => TlsMaterial::load(certificate, key, now)?,
        None => {
            let addresses = listen.iter().filter(|address| !address.ip().is_unspecified());
            let names = addresses.map(|address| address.ip().to_string());
            SelfSigned::new(data.join("tls"), names).load_or_create(now)?
        }
    })
}

/// Both tiers of the store; with `disk` 0 nothing is kept on disk.
pub(crate) fn store_config(memory: u64, disk: u64, dir: PathBuf) -> StoreConfig {
    StoreConfig {
        memory_bytes: memory,
        disk: (disk > 0).then_some(DiskConfig { dir, bytes: disk }),
        ..StoreConfig::default()
    }
}

/// Bounds of the fetcher beside a memory tier of `memory` bytes.
pub(crate) fn fetch_config(memory: u64) -> FetchConfig {
    let default = FetchConfig::default();
    FetchConfig {
        max_in_flight_bytes: memory.max(default.private_window_bytes),
        max_object_bytes: default.max_object_bytes.min(memory / 4),
        ..default
    }
}

/// The plan of a node that has one source: the adapter's origin, a pull-through cache's upstream.
pub(crate) struct OneSource(pub(crate) Arc<dyn Source>);

impl Plan for OneSource {
    fn candidates(&self, _: &ResourceKey, _: u8) -> Vec<Candidate> {
        vec![Candidate { source: self.0.clone(), label: "origin" }]
    }
}

/// Says that the process drains as soon as it is told to stop.
pub(crate) async fn announce_drain(stop: CancellationToken, readiness: Readiness, edge: Arc<EdgeMetrics>) {
    stop.cancelled().await;
    readiness.drain();
    edge.set_draining(true);
}
