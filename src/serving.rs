//! What an edge and an adapter assemble alike: certificate, sizes of store and fetcher, the plan of a node with one
//! source, and the word that it drains.

use crate::exit::{DATA_DIRECTORY, Failure};
use std::{
    io::Write,
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
    access::Withheld,
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

/// The token for orders at the private address, made once and kept in `data` where only its owner reads it.
pub(crate) fn admin_token(data: &Path) -> Result<String, Failure> {
    let path = data.join("admin.token");
    let failed = |what: &str, error: std::io::Error| {
        Failure::new(DATA_DIRECTORY, format!("cannot {what} the admin token {}: {error}", path.display()))
    };
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", error)),
    }
    let token: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
    let written = tempfile::Builder::new().prefix(".admin.token").tempfile_in(data).and_then(|mut file| {
        // A temporary file is its owner's alone, and stays so under its final name.
        file.write_all(token.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        std::fs::File::open(data)?.sync_all()
    });
    written.map_err(|error| failed("write", error))?;
    Ok(token)
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

/// Says what is served to nobody.
type Refusal = Box<dyn Fn(&ResourceKey) -> Option<Withheld> + Send + Sync>;

/// The plan of a node that has one source: the adapter's origin, a pull-through cache's upstream.
pub(crate) struct OneSource {
    source: Arc<dyn Source>,
    withheld: Refusal,
}

impl OneSource {
    /// That source, and what is served to nobody.
    pub(crate) fn new(
        source: Arc<dyn Source>,
        withheld: impl Fn(&ResourceKey) -> Option<Withheld> + Send + Sync + 'static,
    ) -> Self {
        Self { source, withheld: Box::new(withheld) }
    }
}

impl Plan for OneSource {
    fn candidates(&self, _: &ResourceKey, _: u8) -> Vec<Candidate> {
        vec![Candidate { source: self.source.clone(), label: "origin" }]
    }

    fn withheld(&self, key: &ResourceKey) -> Option<Withheld> {
        (self.withheld)(key)
    }
}

/// Says that the process drains as soon as it is told to stop.
pub(crate) async fn announce_drain(stop: CancellationToken, readiness: Readiness, edge: Arc<EdgeMetrics>) {
    stop.cancelled().await;
    readiness.drain();
    edge.set_draining(true);
}
