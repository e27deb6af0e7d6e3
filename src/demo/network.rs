//! The child processes: an adapter in front of the embedded origin, and three relays that joined it.
//!
//! Invariant: either all of them are ready, or none is left.

use super::child::{Child, NotReady};
use super::ports::{self, Ports, RELAYS, RelayPlaces};
use super::ward::{Start, Ward};
use crate::exit::{DATA_DIRECTORY, Failure, RUNTIME};
use serde_json::Value;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::task::JoinSet;
use weir_edge::tls::SelfSigned;

/// What each child may hold. The film and an hour of live, three renditions each, are less.
const MEMORY: &str = "128MiB";
const DISK: &str = "512MiB";
/// The demo's ledger: epochs are short, so that it can be settled when the demo ends.
const LEDGER_NAME: &str = "demo/ledger";
pub(super) const EPOCH_MS: u64 = 2_000;
/// How often ports are chosen anew when another program was faster.
const ATTEMPTS: usize = 4;

/// A relay of the demo.
#[derive(Clone)]
pub(super) struct Relay {
    pub(super) name: &'static str,
    /// Who it is among relays.
    pub(super) peer: String,
    pub(super) places: RelayPlaces,
    pub(super) ward: Arc<Ward>,
}

/// The running network.
pub(super) struct Network {
    pub(super) adapter: Child,
    /// Where the adapter keeps what it keeps, its keys among it.
    pub(super) adapter_data: PathBuf,
    pub(super) publisher: String,
    pub(super) relays: Arc<[Relay]>,
    pub(super) ports: Ports,
    /// What a browser has to be told so that it accepts the relays' certificate: base64 of its key's SHA-256.
    pub(super) spki: String,
}

impl Network {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// When a child ends or is silent; the end of its log is part of the text.
    pub(super) async fn start(origin: SocketAddr, data: &Path, usual_ports: bool) -> Result<Self, Failure> {
        let unwritable = |error| Failure::new(DATA_DIRECTORY, format!("cannot use {}: {error}", data.display()));
        let logs = data.join("logs");
        std::fs::create_dir_all(&logs).map_err(unwritable)?;
        // One certificate for all, so that one flag makes a browser accept the three.
        let tls = SelfSigned::new(data.join("tls"), []);
        let spki = tls.load_or_create(SystemTime::now())?.spki_sha256_base64().to_owned();
        let plan = Plan { origin, data, logs: &logs, certificate: &tls.path(), spki };
        let mut busy = None;
        for attempt in 0..ATTEMPTS {
            let ports = ports::plan(usual_ports && attempt == 0)
                .map_err(|error| Failure::new(RUNTIME, format!("no free ports on loopback: {error}")))?;
            match plan.start(ports).await {
                Ok(network) => return Ok(network),
                Err(NotReady::Failed(failure)) => return Err(failure),
                Err(NotReady::PortBusy(failure)) => busy = Some(failure),
            }
        }
        Err(busy.unwrap_or_else(|| Failure::new(RUNTIME, "no attempt was made")))
    }

    /// Lets the relays drain, then the adapter, and waits for all of them.
    pub(super) async fn end(&mut self) {
        let mut relays: JoinSet<()> =
            self.relays.iter().map(|relay| relay.ward.clone()).map(|ward| async move { ward.end().await }).collect();
        while relays.join_next().await.is_some() {}
        self.adapter.end().await;
    }
}

struct Plan<'a> {
    origin: SocketAddr,
    data: &'a Path,
    logs: &'a Path,
    certificate: &'a Path,
    spki: String,
}

impl Plan<'_> {
    async fn start(&self, ports: Ports) -> Result<Network, NotReady> {
        // Relays ask the adapter for the network's description when they start, so it comes first.
        let mut adapter = self.adapter(&ports)?;
        let document = adapter.ready().await?;
        let mut starting = JoinSet::new();
        for (name, places) in RELAYS.into_iter().zip(ports.relays) {
            let start = self.relay(name, places, ports.adapter_http);
            let mut child = start().map_err(NotReady::Failed)?;
            starting.spawn(async move {
                let line = child.ready().await?;
                let ward = Arc::new(Ward::new(name, child, start));
                Ok::<_, NotReady>(Relay { name, peer: text(&line, "relay"), places, ward })
            });
        }
        let mut relays = Vec::with_capacity(RELAYS.len());
        while let Some(started) = starting.join_next().await {
            relays.push(started.map_err(|error| NotReady::Failed(Failure::new(RUNTIME, error)))??);
        }
        relays.sort_by_key(|relay| relay.name);
        Ok(Network {
            adapter,
            adapter_data: self.adapter_data(),
            publisher: text(&document, "publisher"),
            relays: relays.into(),
            ports,
            spki: self.spki.clone(),
        })
    }

    fn adapter(&self, ports: &Ports) -> Result<Child, NotReady> {
        let arguments = Arguments::new("origin")
            .with("upstream", format!("http://{}", self.origin))
            .with("http", ports.adapter_http.to_string())
            .with("peer", ports.adapter_peer.to_string())
            .with("admin", ports.adapter_admin.to_string())
            .with("data", self.adapter_data())
            .with("ledger-name", LEDGER_NAME)
            .with("epoch-ms", EPOCH_MS.to_string())
            .alone("ledger")
            .alone("exit-with-stdin");
        Child::start("the adapter", arguments.done(), self.logs.join("adapter.log")).map_err(NotReady::Failed)
    }

    fn adapter_data(&self) -> PathBuf {
        self.data.join("adapter")
    }

    /// How a relay is started, the first time and again.
    fn relay(&self, name: &'static str, places: RelayPlaces, adapter: SocketAddr) -> Start {
        let arguments = Arguments::new("demo-relay")
            .with("join", format!("http://{adapter}"))
            .with("http", places.http.to_string())
            .with("listen", places.tls.to_string())
            .with("peer", places.peer.to_string())
            .with("admin", places.admin.to_string())
            .with("cert", self.certificate)
            .with("key", self.certificate)
            .with("data", self.data.join(format!("relay-{name}")))
            .with("claim-seconds", "1")
            .done();
        let log = self.logs.join(format!("relay-{name}.log"));
        Box::new(move || Child::start(format!("relay {name}"), arguments.clone(), log.clone()))
    }
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn new(command: &str) -> Self {
        let same = ["--memory", MEMORY, "--disk", DISK, "--json"];
        Self([command].into_iter().chain(same).map(OsString::from).collect())
    }

    fn with(mut self, flag: &str, value: impl Into<OsString>) -> Self {
        self.0.extend([format!("--{flag}").into(), value.into()]);
        self
    }

    fn alone(mut self, flag: &str) -> Self {
        self.0.push(format!("--{flag}").into());
        self
    }

    fn done(self) -> Vec<OsString> {
        self.0
    }
}

fn text(line: &Value, field: &str) -> String {
    line[field].as_str().unwrap_or_default().to_owned()
}
