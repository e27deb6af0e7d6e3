//! What can be typed after `weir origin probe`.

use crate::{private::ADMIN, settings};
use clap::Args;
use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};
use url::Url;
use weir_load::client::Protocol;
use weir_protocol::RelayId;

/// Sessions of one command, at all relays together.
pub(super) const MAX_SESSIONS: usize = 4096;

/// Flags of `weir origin probe`.
#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// The adapter's data directory, with the publisher's keys and the plans of probes.
    #[arg(long, value_name = "DIR", env = "WEIR_ORIGIN__DATA")]
    data: Option<PathBuf>,
    /// Private address of the adapter, if it runs on this machine: it logs what is stated here.
    #[arg(long, value_name = "ADDR", env = "WEIR_ORIGIN__ADMIN", default_value_t = ADMIN)]
    pub(super) admin: SocketAddr,
    /// A relay to probe, as ID=URL under which it serves the paths; may be given several times. Without, every relay that
    /// reports a door to the adapter.
    #[arg(long = "relay", value_name = "ID=URL")]
    pub(super) relays: Vec<Target>,
    /// Path and query of a playlist to play, such as /film/master.m3u8; of several, each session draws one.
    #[arg(long = "path", value_name = "PATH")]
    pub(super) paths: Vec<String>,
    /// Sessions at each relay; 0 only plays and reveals what was planned before.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) sessions: usize,
    /// How long a session lasts; each draws between half and one and a half times as long.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = crate::token::life)]
    pub(super) watch: Duration,
    /// When a list is revealed, counted from its epoch's end: not before relays have claimed, or one could claim honestly
    /// for the probes alone. Best the policy's claim window.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = crate::token::life)]
    pub(super) reveal_after: Duration,
    /// What the tokens are good for; a probe's token should look like the publisher's others.
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub(super) prefix: String,
    /// How long the tokens are good, from their session's beginning.
    #[arg(long = "for", value_name = "TIME", default_value = "6h", value_parser = crate::token::life)]
    pub(super) life: Duration,
    /// Most bytes that the tokens allow.
    #[arg(long, value_name = "SIZE", value_parser = settings::bytes)]
    pub(super) max_bytes: Option<u64>,
    /// Name the relay in each token, where the publisher's others do.
    #[arg(long)]
    pub(super) assign: bool,
    /// `User-Agent` of the sessions; of several, each draws one [default: those of common browsers].
    #[arg(long, value_name = "TEXT")]
    pub(super) user_agent: Vec<String>,
    /// The page that ordinary players are on: sent as `Origin` and `Referer`.
    #[arg(long, value_name = "URL")]
    pub(super) page: Option<Url>,
    /// h1, h2 or h3 [default: h2 for https, h1 for http].
    #[arg(long, value_name = "VERSION")]
    pub(super) protocol: Option<Protocol>,
    /// Extra certificates (PEM) to trust.
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
}

impl ProbeArgs {
    pub(super) fn directory(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| settings::data_directory("origin"))
    }
}

/// A relay and where it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) relay: RelayId,
    pub(super) url: Url,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, url) = text.split_once('=').ok_or_else(|| format!("{text}: write ID=URL"))?;
        let relay = id.parse().map_err(|error| format!("{id}: {error}"))?;
        let url = Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
        match url.scheme() {
            "http" | "https" => Ok(Self { relay, url }),
            other => Err(format!("{other}: relays serve http and https")),
        }
    }
}
