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
    /// Join the network of the publisher whose adapter answers at this URL. May be given several times
    /// [env: WEIR_EDGE__JOIN].
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    join: Vec<Url>,
    /// Be a plain pull-through cache of this URL instead, outside any network [env: WEIR_EDGE__UPSTREAM].
    #[arg(long, value_name = "URL")]
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
    #[arg(long, value_name = "FILE", env = "WEIR_EDGE__CERT")]
    cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate.
    #[arg(long, value_name = "FILE", env = "WEIR_EDGE__KEY")]
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
        let content = content([
            ("the command line", self.join, self.upstream),
            ("the environment", variable("WEIR_EDGE__JOIN")?, variable("WEIR_EDGE__UPSTREAM")?.pop()),
            ("the configuration file", file.join, file.upstream),
        ])?;
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

/// The first place that names content decides. Which place it was is known only because these two settings are read
/// from the environment here: clap hands flags and environment over mixed.
fn content(places: [(&str, Vec<Url>, Option<Url>); 3]) -> Result<Content, Failure> {
    for (place, join, upstream) in places {
        return match upstream {
            Some(_) if !join.is_empty() => Err(Failure::new(
                CONFIGURATION,
                format!(
                    "{place} names both join and upstream: a relay is part of networks or caches one upstream; keep one"
                ),
            )),
            Some(url) => Ok(Content::Upstream(url)),
            None if join.is_empty() => continue,
            None => Ok(Content::Join(join)),
        };
    }
    Err(Failure::new(
        CONFIGURATION,
        "nothing to serve: name a publisher's network (--join URL) or an upstream (--upstream URL)",
    ))
}

/// URLs in an environment variable, separated by commas; unset and empty are none.
fn variable(name: &str) -> Result<Vec<Url>, Failure> {
    let text = std::env::var_os(name).unwrap_or_default();
    let text = text.to_str().ok_or_else(|| Failure::new(CONFIGURATION, format!("{name} is not UTF-8")))?;
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| Url::parse(part).map_err(|error| Failure::new(CONFIGURATION, format!("{name}: {part}: {error}"))))
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_names_content_decides() {
        let url = |name: &str| Url::parse(&format!("http://{name}/")).unwrap();
        let none = || ("", Vec::new(), None);
        let join = || ("the file", vec![url("join")], None);
        let upstream = || ("the command line", Vec::new(), Some(url("upstream")));
        let found = |places| match content(places) {
            Ok(Content::Upstream(url)) => format!("upstream {url}"),
            Ok(Content::Join(urls)) => format!("join {}", urls[0]),
            Err(failure) => failure.to_string(),
        };
        assert_eq!(found([upstream(), join(), join()]), "upstream http://upstream/");
        assert_eq!(found([none(), join(), upstream()]), "join http://join/");
        let both = ("the file", vec![url("join")], Some(url("upstream")));
        assert!(found([none(), none(), both]).starts_with("the file names both join and upstream"));
        assert!(found([none(), none(), none()]).starts_with("nothing to serve"));
    }
}
