//! What an edge can be told, by flags, environment and file.

use crate::{
    exit::{CONFIGURATION, Failure},
    settings,
};
use clap::Args;
use serde::Deserialize;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};
use url::Url;

/// Flags of `weir edge`.
#[derive(Args)]
pub(crate) struct EdgeArgs {
    /// Join the network of the publisher whose adapter answers at this URL. May be given several times.
    #[arg(long, value_name = "URL", env = "WEIR_EDGE__JOIN", value_delimiter = ',')]
    join: Vec<Url>,
    /// Be a plain pull-through cache of this URL instead, outside any network.
    #[arg(long, value_name = "URL", env = "WEIR_EDGE__UPSTREAM", conflicts_with = "join")]
    upstream: Option<Url>,
    /// Address of the encrypted doors: HTTP/1.1 and HTTP/2 on TCP, HTTP/3 on UDP [default: 0.0.0.0:7443].
    #[arg(long, value_name = "ADDR", env = "WEIR_EDGE__LISTEN", value_delimiter = ',')]
    listen: Vec<SocketAddr>,
    /// Address of a plain HTTP door, for use behind another CDN or on loopback.
    #[arg(long, value_name = "ADDR", env = "WEIR_EDGE__HTTP", value_delimiter = ',')]
    http: Vec<SocketAddr>,
    /// UDP address for other relays [default: 0.0.0.0:7444].
    #[arg(long, value_name = "ADDR", env = "WEIR_EDGE__PEER")]
    peer: Option<SocketAddr>,
    /// Private address of /livez /readyz /metrics /api/v1/status [default: 127.0.0.1:7090].
    #[arg(long, value_name = "ADDR", env = "WEIR_EDGE__ADMIN")]
    admin: Option<SocketAddr>,
    /// Directory for everything it keeps: identity, certificate, cache.
    #[arg(long, value_name = "DIR", env = "WEIR_EDGE__DATA")]
    data: Option<PathBuf>,
    /// Certificate chain (PEM) of the encrypted doors; without it, a self-signed one is made and kept.
    #[arg(long, value_name = "FILE", env = "WEIR_EDGE__CERT", requires = "key")]
    cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate.
    #[arg(long, value_name = "FILE", env = "WEIR_EDGE__KEY", requires = "cert")]
    key: Option<PathBuf>,
    /// Extra certificates (PEM) to trust when joining or pulling.
    #[arg(long, value_name = "FILE", env = "WEIR_EDGE__CA")]
    ca: Option<PathBuf>,
    /// Memory for the cache, for example 256MiB.
    #[arg(long, value_name = "SIZE", value_parser = settings::bytes, env = "WEIR_EDGE__MEMORY")]
    memory: Option<u64>,
    /// Disk for the cache, for example 10GiB.
    #[arg(long, value_name = "SIZE", value_parser = settings::bytes, env = "WEIR_EDGE__DISK")]
    disk: Option<u64>,
    /// Configuration file (TOML) with the keys of these flags in its `edge` table.
    #[arg(long, value_name = "FILE", env = "WEIR_CONFIG")]
    config: Option<PathBuf>,
    /// Print one JSON line with all addresses when ready, instead of lines for people.
    #[arg(long)]
    json: bool,
    /// Drain when standard input ends: for programs that start edges as children.
    #[arg(long)]
    exit_with_stdin: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    edge: FileEdge,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileEdge {
    join: Vec<Url>,
    upstream: Option<Url>,
    listen: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    peer: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    data: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
    memory: Option<String>,
    disk: Option<String>,
}

/// Where an edge gets its content.
pub(super) enum Content {
    /// Publishers' networks.
    Join(Vec<Url>),
    /// One upstream, trusted by its TLS.
    Upstream(Url),
}

/// Everything decided.
pub(super) struct EdgeSettings {
    pub(super) content: Content,
    pub(super) listen: Vec<SocketAddr>,
    pub(super) http: Vec<SocketAddr>,
    pub(super) peer: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) data: PathBuf,
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
    pub(super) ca: Option<PathBuf>,
    pub(super) memory: u64,
    pub(super) disk: u64,
    pub(super) json: bool,
    pub(super) exit_with_stdin: bool,
}

const DEFAULT_MEMORY: u64 = 256 << 20;
const DEFAULT_DISK: u64 = 10 << 30;
const DOORS_PORT: u16 = 7443;
const PEER_PORT: u16 = 7444;
const ADMIN_PORT: u16 = 7090;

impl EdgeArgs {
    /// Flags over environment over file over defaults.
    pub(super) fn settle(self) -> Result<EdgeSettings, Failure> {
        let file: File = settings::read(self.config.as_deref())?;
        let file = file.edge;
        let join = if self.join.is_empty() && self.upstream.is_none() { file.join } else { self.join };
        let upstream = self.upstream.or(file.upstream.filter(|_| join.is_empty()));
        let content = match upstream {
            Some(url) => Content::Upstream(url),
            None if join.is_empty() => {
                return Err(Failure::new(
                    CONFIGURATION,
                    "nothing to serve: name a publisher's network (--join URL) or an upstream (--upstream URL)",
                ));
            }
            None => Content::Join(join),
        };
        let any = |port: u16| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let certificate = settings::certificate(self.cert.or(file.cert), self.key.or(file.key))?;
        let mut listen = settings::several(self.listen, file.listen);
        if listen.is_empty() {
            listen.push(any(DOORS_PORT));
        }
        Ok(EdgeSettings {
            content,
            listen,
            http: settings::several(self.http, file.http),
            peer: self.peer.or(file.peer).unwrap_or(any(PEER_PORT)),
            admin: self.admin.or(file.admin).unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT))),
            data: self.data.or(file.data).unwrap_or_else(|| settings::data_directory("edge")),
            certificate,
            ca: self.ca.or(file.ca),
            memory: settings::size(self.memory, file.memory, DEFAULT_MEMORY)?,
            disk: settings::size(self.disk, file.disk, DEFAULT_DISK)?,
            json: self.json,
            exit_with_stdin: self.exit_with_stdin,
        })
    }
}
