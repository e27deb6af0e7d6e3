//! What an edge can be told, by flags, environment and file.

use crate::{
    exit::{CONFIGURATION, Failure},
    settings,
};
use clap::Args;
use serde::Deserialize;
use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU64,
    path::PathBuf,
    time::Duration,
};
use url::Url;
use weir_edge::routes::RoutesConfig;
use weir_protocol::ids::PublisherId;
use weir_relay::{
    freshness::Rules,
    upload::{DEFAULT_BACKGROUND_PERCENT, UploadLimit},
};

/// Seconds between two rounds of claims.
const CLAIM_EVERY: u64 = 60;
/// Longest that can be set: an hour.
const MAX_CLAIM_EVERY: u64 = 3600;

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
    /// UDP address for other relays [default: every address, IPv6 and IPv4, port 7444].
    #[arg(long, value_name = "ADDR", env = "WEIR_EDGE__PEER")]
    peer: Option<SocketAddr>,
    /// Do not ask the router to forward ports (UPnP, NAT-PMP, PCP). On loopback nothing is asked anyway.
    #[arg(long, env = "WEIR_EDGE__NO_PORTMAP")]
    no_portmap: bool,
    /// Look for relays on the local network by multicast DNS.
    #[arg(long, env = "WEIR_EDGE__MDNS")]
    mdns: bool,
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
    /// Publisher that may be joined, by its id (pub-…); without it, whoever answers at the URL. May be given several
    /// times.
    #[arg(long = "allow-publisher", value_name = "ID", env = "WEIR_EDGE__ALLOW_PUBLISHER", value_delimiter = ',')]
    allow_publishers: Vec<PublisherId>,
    /// File of what this relay does not serve, one a line: pub-…, /path, pub-… /path, or a resource's hash. It is read
    /// anew when it changes and at SIGHUP.
    #[arg(long, value_name = "FILE", env = "WEIR_EDGE__BLOCKLIST")]
    blocklist: Option<PathBuf>,
    /// Most bytes a second sent to other relays, as bits (20Mbit) or bytes (2MiB) a second [default: no limit].
    #[arg(long, value_name = "RATE", value_parser = settings::rate, env = "WEIR_EDGE__UPLOAD_LIMIT")]
    upload_limit: Option<NonZeroU64>,
    /// Share of the upload limit, in percent, for transfers nobody waits for; they go only while nothing else does
    /// [default: 20].
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100), env = "WEIR_EDGE__BACKGROUND_SHARE")]
    background_share: Option<u8>,
    /// URL under which viewers reach this relay, such as `https://relay.example.com:7443`: adapters steer players to it.
    /// Without it they do not.
    #[arg(long, value_name = "URL", env = "WEIR_EDGE__DOOR")]
    door: Option<String>,
    /// What viewers can be sent, as bits (800Mbit) or bytes (100MiB) a second: adapters steer by how much of it is in use
    /// [default: unknown; only connections count].
    #[arg(long, value_name = "RATE", value_parser = settings::rate, env = "WEIR_EDGE__DOOR_CAPACITY")]
    door_capacity: Option<NonZeroU64>,
    /// Segments that are fetched before a player asks for them, by the playlist it was given; 0 fetches none [default: 2].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(0..=8), env = "WEIR_EDGE__PREFETCH")]
    prefetch: Option<u8>,
    /// Tell players in every response of the object and of the way to it (CMSD, CTA-5006), not only of requests with
    /// weir_cmsd=1.
    #[arg(long, env = "WEIR_EDGE__CMSD")]
    cmsd: bool,
    /// Seconds between two rounds of claims for what was delivered [default: 60].
    #[arg(long, value_name = "SECONDS", env = "WEIR_EDGE__CLAIM_SECONDS")]
    claim_seconds: Option<u64>,
    /// Configuration file (TOML) with the keys of these flags in its `edge` table.
    #[arg(long, value_name = "FILE", env = "WEIR_CONFIG")]
    config: Option<PathBuf>,
    /// Follow RFC 9111 alone: no rules of our own for live playlists, segments and errors. With --upstream; in a network
    /// the adapter decides [env: WEIR_EDGE__HTTP_STRICT].
    #[arg(long, env = "WEIR_EDGE__HTTP_STRICT")]
    http_strict: bool,
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
    no_portmap: bool,
    mdns: bool,
    admin: Option<SocketAddr>,
    data: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
    memory: Option<String>,
    disk: Option<String>,
    #[serde(alias = "http-strict")]
    http_strict: bool,
    #[serde(alias = "allow-publisher")]
    allow_publishers: Vec<PublisherId>,
    blocklist: Option<PathBuf>,
    #[serde(rename = "upload-limit")]
    upload_limit: Option<String>,
    #[serde(rename = "background-share")]
    background_share: Option<u8>,
    prefetch: Option<u8>,
    cmsd: bool,
    door: Option<String>,
    #[serde(rename = "door-capacity")]
    door_capacity: Option<String>,
    #[serde(rename = "claim-seconds")]
    claim_seconds: Option<u64>,
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
    pub(super) portmap: bool,
    pub(super) mdns: bool,
    pub(super) admin: SocketAddr,
    pub(super) data: PathBuf,
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
    pub(super) ca: Option<PathBuf>,
    pub(super) memory: u64,
    pub(super) disk: u64,
    pub(super) rules: Rules,
    pub(super) allow_publishers: Vec<PublisherId>,
    pub(super) blocklist: Option<PathBuf>,
    pub(super) upload: UploadLimit,
    /// Where viewers come, without a slash at the end.
    pub(super) door: Option<String>,
    pub(super) door_capacity: Option<NonZeroU64>,
    pub(super) prefetch: Option<u8>,
    pub(super) cmsd: bool,
    pub(super) json: bool,
    pub(super) exit_with_stdin: bool,
    pub(super) claim_every: Duration,
}

const DEFAULT_MEMORY: u64 = 256 << 20;
const DEFAULT_DISK: u64 = 10 << 30;
const DOORS_PORT: u16 = 7443;
const PEER_PORT: u16 = 7444;
const ADMIN_PORT: u16 = 7090;

impl EdgeSettings {
    /// How requests are answered.
    pub(super) fn routes(&self) -> RoutesConfig {
        let default = RoutesConfig::default();
        RoutesConfig {
            prefetch: self.prefetch.map_or(default.prefetch, usize::from),
            cmsd: self.cmsd,
            capacity: self.door_capacity,
            ..default
        }
    }
}

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
            peer: self.peer.or(file.peer).unwrap_or_else(|| settings::any_address(PEER_PORT)),
            portmap: !(self.no_portmap || file.no_portmap),
            mdns: self.mdns || file.mdns,
            admin: self.admin.or(file.admin).unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT))),
            data: self.data.or(file.data).unwrap_or_else(|| settings::data_directory("edge")),
            certificate,
            ca: self.ca.or(file.ca),
            memory: settings::size(self.memory, file.memory, DEFAULT_MEMORY)?,
            disk: settings::size(self.disk, file.disk, DEFAULT_DISK)?,
            rules: if self.http_strict || file.http_strict { Rules::Strict } else { Rules::Video },
            allow_publishers: settings::several(self.allow_publishers, file.allow_publishers),
            blocklist: self.blocklist.or(file.blocklist),
            upload: upload(
                self.upload_limit,
                file.upload_limit.as_deref(),
                self.background_share.or(file.background_share),
            )?,
            door: settings::door(self.door.or(file.door))?,
            door_capacity: match self.door_capacity {
                Some(rate) => Some(rate),
                None => rate(file.door_capacity.as_deref())?,
            },
            prefetch: self.prefetch.or(file.prefetch),
            cmsd: self.cmsd || file.cmsd,
            claim_every: claim_every(self.claim_seconds.or(file.claim_seconds))?,
            json: self.json,
            exit_with_stdin: self.exit_with_stdin,
        })
    }
}

fn claim_every(seconds: Option<u64>) -> Result<Duration, Failure> {
    let seconds = seconds.unwrap_or(CLAIM_EVERY);
    if !(1..=MAX_CLAIM_EVERY).contains(&seconds) {
        return Err(Failure::new(
            CONFIGURATION,
            format!("claim-seconds {seconds} is not between 1 and {MAX_CLAIM_EVERY}"),
        ));
    }
    Ok(Duration::from_secs(seconds))
}

/// The limit of a flag or the environment, else of the file, else none.
fn upload(flag: Option<NonZeroU64>, file: Option<&str>, share: Option<u8>) -> Result<UploadLimit, Failure> {
    let share = share.unwrap_or(DEFAULT_BACKGROUND_PERCENT);
    if !(1..=100).contains(&share) {
        return Err(Failure::new(CONFIGURATION, format!("background-share {share} is not between 1 and 100 percent")));
    }
    let file = rate(file)?;
    Ok(flag.or(file).map_or_else(UploadLimit::none, |rate| UploadLimit::new(rate, share)))
}

/// A rate in the file.
fn rate(file: Option<&str>) -> Result<Option<NonZeroU64>, Failure> {
    file.map(settings::rate).transpose().map_err(|error| Failure::new(CONFIGURATION, error))
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
