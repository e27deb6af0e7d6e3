//! The child processes: an adapter in front of the embedded origin, and three relays that joined it.
//!
//! Invariant: either all of them are ready, or none is left.

use super::child::{Child, NotReady};
use super::ports::{self, Ports, RELAYS, RelayPlaces};
use crate::exit::{DATA_DIRECTORY, Failure, RUNTIME};
use serde_json::Value;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;
use tokio::task::JoinSet;
use weir_edge::tls::SelfSigned;

/// What each child may hold. The film and an hour of live, three renditions each, are less.
const MEMORY: &str = "128MiB";
const DISK: &str = "512MiB";
/// How often ports are chosen anew when another program was faster.
const ATTEMPTS: usize = 4;

/// A relay of the demo.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) name: &'static str,
    /// Who it is among relays.
    pub(super) peer: String,
    pub(super) places: RelayPlaces,
    pub(super) child: Child,
}

/// The running network.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) adapter: Child,
    pub(super) publisher: String,
    pub(super) relays: Vec<Relay>,
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
    pub(super) async fn end(self) {
        let mut relays: JoinSet<()> = self.relays.into_iter().map(|relay| relay.child.end()).collect();
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
            let mut child = self.relay(name, places, ports.adapter_http)?;
            starting.spawn(async move {
                let line = child.ready().await?;
                Ok::<_, NotReady>(Relay { name, peer: text(&line, "relay"), places, child })
            });
        }
        let mut relays = Vec::with_capacity(RELAYS.len());
        while let Some(started) = starting.join_next().await {
            relays.push(started.map_err(|error| NotReady::Failed(Failure::new(RUNTIME, error)))??);
        }
        relays.sort_by_key(|relay| relay.name);
        Ok(Network { adapter, publisher: text(&document, "publisher"), relays, ports, spki: self.spki.clone() })
    }

    fn adapter(&self, ports: &Ports) -> Result<Child, NotReady> {
        let arguments = Arguments::new("origin")
            .with("upstream", format!("http://{}", self.origin))
            .with("http", ports.adapter_http.to_string())
            .with("peer", ports.adapter_peer.to_string())
            .with("admin", ports.adapter_admin.to_string())
            .with("data", self.data.join("adapter"));
        Child::start("the adapter", arguments.done(), self.logs.join("adapter.log")).map_err(NotReady::Failed)
    }

    fn relay(&self, name: &str, places: RelayPlaces, adapter: SocketAddr) -> Result<Child, NotReady> {
        let arguments = Arguments::new("edge")
            .with("join", format!("http://{adapter}"))
            .with("http", places.http.to_string())
            .with("listen", places.tls.to_string())
            .with("peer", places.peer.to_string())
            .with("admin", places.admin.to_string())
            .with("cert", self.certificate)
            .with("key", self.certificate)
            .with("data", self.data.join(format!("relay-{name}")));
        let log = self.logs.join(format!("relay-{name}.log"));
        Child::start(format!("relay {name}"), arguments.done(), log).map_err(NotReady::Failed)
    }
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn new(command: &str) -> Self {
        let same = ["--memory", MEMORY, "--disk", DISK, "--json", "--exit-with-stdin"];
        Self([command].into_iter().chain(same).map(OsString::from).collect())
    }

    fn with(mut self, flag: &str, value: impl Into<OsString>) -> Self {
        self.0.extend([format!("--{flag}").into(), value.into()]);
        self
    }

    fn done(self) -> Vec<OsString> {
        self.0
    }
}

fn text(line: &Value, field: &str) -> String {
    line[field].as_str().unwrap_or_default().to_owned()
}
