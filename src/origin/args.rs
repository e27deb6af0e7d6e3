//! What an adapter can be told, by flags, environment and file.

use super::{probe::ProbeArgs, takedown::TakedownArgs};
use crate::{
    exit::{CONFIGURATION, Failure},
    settings,
};
use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use url::Url;
use weir_origin::{granting::DEFAULT_GRANT_EPOCHS, ll::LowLatencyConfig};
use weir_protocol::{
    epoch::DEFAULT_EPOCH_MS,
    grant::MAX_GRANT_MS,
    wellknown::{Steering, is_publisher_name},
};
use weir_relay::freshness::Rules;

/// Flags of `weir origin`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct OriginArgs {
    #[command(subcommand)]
    pub(super) command: Option<OriginCommand>,
    /// The HLS origin: an http(s) URL that paths are appended to, or a folder.
    #[arg(long, value_name = "URL|DIR", env = "WEIR_ORIGIN__UPSTREAM")]
    upstream: Option<String>,
    /// Address of the plain HTTP door: joining relays and fall-back for players [default: 127.0.0.1:7080].
    #[arg(long, value_name = "ADDR", env = "WEIR_ORIGIN__HTTP", value_delimiter = ',')]
    http: Vec<SocketAddr>,
    /// Address of encrypted doors as well.
    #[arg(long, value_name = "ADDR", env = "WEIR_ORIGIN__LISTEN", value_delimiter = ',')]
    listen: Vec<SocketAddr>,
    /// UDP address for relays [default: every address, IPv6 and IPv4, port 7081].
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
    /// Who may join: `open` for every relay, `list` for those of --grant-list [default: open, or list when there is one].
    #[arg(long, value_name = "RULE", env = "WEIR_ORIGIN__GRANT")]
    grant: Option<GrantRule>,
    /// File of the relays that may join, one a line: RELAY-ID [region=NAME] [weight=MBIT] [scope=/PATH]... It is read
    /// anew when it changes and at SIGHUP.
    #[arg(long, value_name = "FILE", env = "WEIR_ORIGIN__GRANT_LIST")]
    grant_list: Option<PathBuf>,
    /// Hours that a grant holds for; relays go on exchanging so long without the adapter [default: 72].
    #[arg(long, value_name = "HOURS", env = "WEIR_ORIGIN__GRANT_HOURS")]
    grant_hours: Option<u64>,
    /// URL under which players reach this adapter, such as `https://origin.example.com`: it answers steering there, and is
    /// the fall-back when no relay serves. Without it and --steer-fallback, players are not steered.
    #[arg(long, value_name = "URL", env = "WEIR_ORIGIN__PUBLIC_URL")]
    public_url: Option<String>,
    /// URL under which a CDN serves the same paths: the fall-back instead of --public-url.
    #[arg(long, value_name = "URL", env = "WEIR_ORIGIN__STEER_FALLBACK")]
    steer_fallback: Option<String>,
    /// Tell players of the steering server in every multivariant playlist, not only in those that are asked for with
    /// weir_steer=1.
    #[arg(long, env = "WEIR_ORIGIN__STEER")]
    steer: bool,
    /// Keep a ledger of what relays deliver, and make one if there is none: in the data directory, or where the URL says
    /// (redb:///path/to/file, or postgres://user@host/database for several adapters). One that `weir ledger init` made in
    /// the data directory is kept without this flag.
    #[arg(long, value_name = "URL", num_args = 0..=1, require_equals = true, default_missing_value = "", env = "WEIR_ORIGIN__LEDGER")]
    ledger: Option<String>,
    /// Name of a ledger that is made, best its future address without scheme [default: NAME/ledger].
    #[arg(long, value_name = "NAME", env = "WEIR_ORIGIN__LEDGER_NAME")]
    ledger_name: Option<String>,
    /// Length of the epochs of a ledger that is made, in milliseconds [default: 3600000].
    #[arg(long, value_name = "MS", env = "WEIR_ORIGIN__EPOCH_MS")]
    epoch_ms: Option<u64>,
    /// Serve nothing without a session token (weir token).
    #[arg(long, env = "WEIR_ORIGIN__REQUIRE_TOKENS")]
    require_tokens: bool,
    /// Configuration file (TOML) with the keys of these flags in its `origin` table.
    #[arg(long, value_name = "FILE", env = "WEIR_CONFIG")]
    config: Option<PathBuf>,
    /// Follow RFC 9111 alone: no rules of our own for live playlists, segments and errors [env:
    /// WEIR_ORIGIN__HTTP_STRICT].
    #[arg(long, env = "WEIR_ORIGIN__HTTP_STRICT")]
    http_strict: bool,
    /// Make Low-Latency HLS of live playlists of chunked CMAF: the segment that is being made is asked for before it is
    /// listed and passed on in parts [env: WEIR_ORIGIN__LL].
    #[arg(long, env = "WEIR_ORIGIN__LL")]
    ll: bool,
    /// With --ll: what a part should last, in seconds [default: 0.5].
    #[arg(long, value_name = "SECONDS", env = "WEIR_ORIGIN__PART_TARGET")]
    part_target: Option<f64>,
    /// Print one JSON line with all addresses when ready, instead of lines for people.
    #[arg(long)]
    json: bool,
    /// Drain when standard input ends: for programs that start adapters as children.
    #[arg(long)]
    exit_with_stdin: bool,
}

/// What can be told to a running adapter.
#[derive(Subcommand)]
pub(crate) enum OriginCommand {
    /// Withdraw content at every relay of a running adapter's network, or list what is withdrawn.
    Takedown(TakedownArgs),
    /// Play as a viewer through relays and compare what they claim with what came: blind probes.
    Probe(Box<ProbeArgs>),
}

/// Who may join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum GrantRule {
    Open,
    List,
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
    #[serde(alias = "http-strict")]
    http_strict: bool,
    ll: bool,
    #[serde(alias = "part-target")]
    part_target: Option<f64>,
    grant: Option<GrantRule>,
    #[serde(alias = "grant-list")]
    grant_list: Option<PathBuf>,
    #[serde(alias = "grant-hours")]
    grant_hours: Option<u64>,
    #[serde(alias = "public-url")]
    public_url: Option<String>,
    #[serde(alias = "steer-fallback")]
    steer_fallback: Option<String>,
    steer: bool,
    ledger: Option<String>,
    #[serde(alias = "ledger-name")]
    ledger_name: Option<String>,
    #[serde(alias = "epoch-ms")]
    epoch_ms: Option<u64>,
    #[serde(alias = "require-tokens")]
    require_tokens: bool,
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
    pub(super) rules: Rules,
    /// Low latency is made of what has none.
    pub(super) low_latency: Option<LowLatencyConfig>,
    /// Relays that may join; `None`: every relay.
    pub(super) grant_list: Option<PathBuf>,
    pub(super) grant_epochs: u64,
    pub(super) steering: Option<Steering>,
    pub(super) ledger: LedgerWish,
    pub(super) require_tokens: bool,
    pub(super) json: bool,
    pub(super) exit_with_stdin: bool,
}

/// The ledger that is wanted.
pub(super) struct LedgerWish {
    /// Absent: the one that is there, if there is one; empty: in the data directory.
    pub(super) store: Option<String>,
    pub(super) name: Option<String>,
    pub(super) epoch_ms: Option<u64>,
}

/// Seconds.
const DEFAULT_UPSTREAM_TIMEOUT: f64 = 10.0;
const DEFAULT_PART_TARGET: f64 = 0.5;
/// Hours.
const MAX_GRANT_EPOCHS: u64 = MAX_GRANT_MS / DEFAULT_EPOCH_MS;
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
        let part_target = self.part_target.or(file.part_target).unwrap_or(DEFAULT_PART_TARGET);
        if !(0.1..=5.0).contains(&part_target) {
            return Err(bad("part-target must lie between 0.1 and 5 seconds".into()));
        }
        let low_latency = (self.ll || file.ll).then(|| LowLatencyConfig {
            part_target: Duration::from_secs_f64(part_target),
            ..LowLatencyConfig::default()
        });
        let name = self.name.or(file.name);
        if let Some(name) = name.as_deref().filter(|name| !is_publisher_name(name)) {
            return Err(bad(format!("{name}: a name has 1 to 63 of a-z, 0-9, - _ . and is not \"weir\"")));
        }
        let certificate = settings::certificate(self.cert.or(file.cert), self.key.or(file.key))?;
        let mut http = settings::several(self.http, file.http);
        if http.is_empty() {
            http.push(SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT)));
        }
        let grant_list = match (self.grant.or(file.grant), self.grant_list.or(file.grant_list)) {
            (Some(GrantRule::Open), Some(_)) => {
                return Err(bad("grant is open, but there is a grant list: leave one of the two out".into()));
            }
            (Some(GrantRule::List), None) => {
                return Err(bad("grant is list, but no list is named (--grant-list FILE)".into()));
            }
            (_, list) => list,
        };
        let grant_epochs = self.grant_hours.or(file.grant_hours).unwrap_or(DEFAULT_GRANT_EPOCHS);
        if !(1..=MAX_GRANT_EPOCHS).contains(&grant_epochs) {
            return Err(bad(format!("grant-hours must lie between 1 and {MAX_GRANT_EPOCHS}")));
        }
        let steering = steering(
            settings::door(self.public_url.or(file.public_url))?,
            settings::door(self.steer_fallback.or(file.steer_fallback))?,
            self.steer || file.steer,
        )?;
        Ok(OriginSettings {
            steering,
            upstream,
            upstream_timeout: Duration::from_secs_f64(upstream_timeout),
            http,
            listen: settings::several(self.listen, file.listen),
            peer: self.peer.or(file.peer).unwrap_or_else(|| settings::any_address(PEER_PORT)),
            announce: settings::several(self.announce, file.announce),
            admin: self.admin.or(file.admin).unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT))),
            data: self.data.or(file.data).unwrap_or_else(|| settings::data_directory("origin")),
            name,
            hosts: settings::several(self.hosts, file.hosts),
            certificate,
            ca: self.ca.or(file.ca),
            memory: settings::size(self.memory, file.memory, DEFAULT_MEMORY)?,
            disk: settings::size(self.disk, file.disk, DEFAULT_DISK)?,
            rules: if self.http_strict || file.http_strict { Rules::Strict } else { Rules::Video },
            low_latency,
            grant_list,
            grant_epochs,
            ledger: LedgerWish {
                store: self.ledger.or(file.ledger),
                name: self.ledger_name.or(file.ledger_name),
                epoch_ms: self.epoch_ms.or(file.epoch_ms),
            },
            require_tokens: self.require_tokens || file.require_tokens,
            json: self.json,
            exit_with_stdin: self.exit_with_stdin,
        })
    }
}

/// How players are steered; a second pathway is what makes it possible.
fn steering(server: Option<String>, fallback: Option<String>, always: bool) -> Result<Option<Steering>, Failure> {
    match fallback.or_else(|| server.clone()) {
        Some(fallback) => Ok(Some(Steering { fallback, server, always })),
        None if always => Err(Failure::new(
            CONFIGURATION,
            "steer needs a fall-back for players: name --public-url or --steer-fallback",
        )),
        None => Ok(None),
    }
}
