//! What an adapter can be told, by flags, environment and file.

use crate::{
    exit::{CONFIGURATION, Failure},
    settings,
};
use clap::Args;
use serde::Deserialize;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use url::Url;
use weir_protocol::wellknown::is_publisher_name;

/// Flags of `weir origin`.
#[derive(Args)]
pub(crate) struct OriginArgs {
    /// The HLS origin: an http(s) URL that paths are appended to, or a folder.
    #[arg(long, value_name = "URL|DIR", env = "WEIR_ORIGIN__UPSTREAM")]
    upstream: Option<String>,
    /// Address of the plain HTTP door: joining relays and fall-back for players [default: 127.0.0.1:7080].
    #[arg(long, value_name = "ADDR", env = "WEIR_ORIGIN__HTTP", value_delimiter = ',')]
    http: Vec<SocketAddr>,
    /// Address of encrypted doors as well.
    #[arg(long, value_name = "ADDR", env = "WEIR_ORIGIN__LISTEN", value_delimiter = ',')]
    listen: Vec<SocketAddr>,
    /// UDP address for relays [default: 0.0.0.0:7081].
    #[arg(long, value_name = "ADDR", env = "WEIR_ORIGIN__PEER")]
    peer: Option<SocketAddr>,
    /// UDP addresses that relays are told to come to, when they differ from the one listened on.
    #[arg(long, value_name = "ADDR", env = "WEIR_ORIGIN__ANNOUNCE", value_delimiter = ',')]
    announce: Vec<SocketAddr>,
    /// Private address of /livez /readyz /metrics /api/v1/status [default: 127.0.0.1:7091].
    #[arg(long, value_name = "ADDR", env = "WEIR_ORIGIN__ADMIN")]
    admin: Option<SocketAddr>,
    /// Directory for everything it keeps: keys, identity, store.
    #[arg(long, value_name = "DIR", env = "WEIR_ORIGIN__DATA")]
    data: Option<PathBuf>,
    /// Constant first path component under which relays of several publishers know this one.
    #[arg(long, value_name = "NAME", env = "WEIR_ORIGIN__NAME")]
    name: Option<String>,
    /// Host name that is this publisher's own on relays. May be given several times.
    #[arg(long = "host", value_name = "NAME", env = "WEIR_ORIGIN__HOST", value_delimiter = ',')]
    hosts: Vec<String>,
    /// Certificate chain (PEM) of the encrypted doors.
    #[arg(long, value_name = "FILE", env = "WEIR_ORIGIN__CERT")]
    cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate.
    #[arg(long, value_name = "FILE", env = "WEIR_ORIGIN__KEY")]
    key: Option<PathBuf>,
    /// Extra certificates (PEM) to trust for the upstream.
    #[arg(long, value_name = "FILE", env = "WEIR_ORIGIN__CA")]
    ca: Option<PathBuf>,
    /// Longest wait for the upstream's head and between two pieces of a body, in seconds [default: 10].
    #[arg(long, value_name = "SECONDS", env = "WEIR_ORIGIN__UPSTREAM_TIMEOUT")]
    upstream_timeout: Option<f64>,
    /// Memory for the store, for example 256MiB.
    #[arg(long, value_name = "SIZE", value_parser = settings::bytes, env = "WEIR_ORIGIN__MEMORY")]
    memory: Option<u64>,
    /// Disk for the store, for example 10GiB; 0 keeps nothing on disk.
    #[arg(long, value_name = "SIZE", value_parser = settings::bytes, env = "WEIR_ORIGIN__DISK")]
    disk: Option<u64>,
    /// Configuration file (TOML) with the keys of these flags in its `origin` table.
    #[arg(long, value_name = "FILE", env = "WEIR_CONFIG")]
    config: Option<PathBuf>,
    /// Print one JSON line with all addresses when ready, instead of lines for people.
    #[arg(long)]
    json: bool,
    /// Drain when standard input ends: for programs that start adapters as children.
    #[arg(long)]
    exit_with_stdin: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    origin: FileOrigin,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileOrigin {
    upstream: Option<String>,
    http: Vec<SocketAddr>,
    listen: Vec<SocketAddr>,
    peer: Option<SocketAddr>,
    announce: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    data: Option<PathBuf>,
    name: Option<String>,
    #[serde(alias = "host")]
    hosts: Vec<String>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
    #[serde(alias = "upstream-timeout")]
    upstream_timeout: Option<f64>,
    memory: Option<String>,
    disk: Option<String>,
}

/// What is in front of the adapter.
pub(super) enum UpstreamKind {
    Http(Url),
    Folder(PathBuf),
}

/// Everything decided.
pub(super) struct OriginSettings {
    pub(super) upstream: UpstreamKind,
    pub(super) upstream_timeout: Duration,
    pub(super) http: Vec<SocketAddr>,
    pub(super) listen: Vec<SocketAddr>,
    pub(super) peer: SocketAddr,
    pub(super) announce: Vec<SocketAddr>,
    pub(super) admin: SocketAddr,
    pub(super) data: PathBuf,
    pub(super) name: Option<String>,
    pub(super) hosts: Vec<String>,
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
    pub(super) ca: Option<PathBuf>,
    pub(super) memory: u64,
    pub(super) disk: u64,
    pub(super) json: bool,
    pub(super) exit_with_stdin: bool,
}

/// Seconds.
const DEFAULT_UPSTREAM_TIMEOUT: f64 = 10.0;
const DEFAULT_MEMORY: u64 = 256 << 20;
const DEFAULT_DISK: u64 = 2 << 30;
const HTTP_PORT: u16 = 7080;
const PEER_PORT: u16 = 7081;
const ADMIN_PORT: u16 = 7091;

impl OriginArgs {
    /// Flags over environment over file over defaults.
    pub(super) fn settle(self) -> Result<OriginSettings, Failure> {
        let bad = |text: String| Failure::new(CONFIGURATION, text);
        let file: File = settings::read(self.config.as_deref())?;
        let file = file.origin;
        let upstream = self.upstream.or(file.upstream).ok_or_else(|| {
            bad("no origin to stand in front of: name it (--upstream https://cdn.example.com/hls/ or a folder)".into())
        })?;
        let upstream = match Url::parse(&upstream) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => UpstreamKind::Http(url),
            Ok(url) if url.has_host() => {
                return Err(bad(format!("{}: upstreams are http, https or folders", url.scheme())));
            }
            _ => UpstreamKind::Folder(upstream.into()),
        };
        let upstream_timeout = self.upstream_timeout.or(file.upstream_timeout).unwrap_or(DEFAULT_UPSTREAM_TIMEOUT);
        if !(0.1..=300.0).contains(&upstream_timeout) {
            return Err(bad("upstream-timeout must lie between 0.1 and 300 seconds".into()));
        }
        let name = self.name.or(file.name);
        if let Some(name) = name.as_deref().filter(|name| !is_publisher_name(name)) {
            return Err(bad(format!("{name}: a name has 1 to 63 of a-z, 0-9, - _ . and is not \"weir\"")));
        }
        let certificate = settings::certificate(self.cert.or(file.cert), self.key.or(file.key))?;
        let mut http = settings::several(self.http, file.http);
        if http.is_empty() {
            http.push(SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT)));
        }
        Ok(OriginSettings {
            upstream,
            upstream_timeout: Duration::from_secs_f64(upstream_timeout),
            http,
            listen: settings::several(self.listen, file.listen),
            peer: self.peer.or(file.peer).unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PEER_PORT))),
            announce: settings::several(self.announce, file.announce),
            admin: self.admin.or(file.admin).unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT))),
            data: self.data.or(file.data).unwrap_or_else(|| settings::data_directory("origin")),
            name,
            hosts: settings::several(self.hosts, file.hosts),
            certificate,
            ca: self.ca.or(file.ca),
            memory: settings::size(self.memory, file.memory, DEFAULT_MEMORY)?,
            disk: settings::size(self.disk, file.disk, DEFAULT_DISK)?,
            json: self.json,
            exit_with_stdin: self.exit_with_stdin,
        })
    }
}
