//! Who is measured: any HLS server, or the relays of a running demo.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use super::player::Shares;

/// A server, or several with the same content under the same paths.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its name in the report.
    pub name: String,
    /// Playlists, one for each host. Viewers are spread over the hosts evenly and go on to the next when theirs fails.
    #[serde(default)]
    pub urls: Vec<Url>,
    /// The page of a running `weir demo`, which tells its relays' addresses. Instead of `urls`.
    pub demo: Option<Url>,
    /// Channel of the demo: a path such as `/film/master.m3u8`, or `film`, `live`, or another that the demo names.
    pub channel: Option<String>,
    /// Versions of HTTP, instead of the player's.
    pub protocols: Option<Shares>,
    /// Trust the certificates in this PEM file too.
    pub ca: Option<PathBuf>,
    /// Accept any certificate. The demo's are accepted anyway.
    #[serde(default)]
    pub insecure: bool,
    /// Connect to this address, whatever the hosts resolve to.
    pub connect: Option<SocketAddr>,
    /// Server processes whose CPU time is measured. A demo tells its own.
    #[serde(default)]
    pub server_pids: Vec<u32>,
    /// Where `/.well-known/weir` is: the publisher's keys, by which signatures are checked. A demo tells its own.
    pub verify: Option<Url>,
    /// The publisher whose keys these must be (`pub-…`).
    pub publisher: Option<String>,
}
