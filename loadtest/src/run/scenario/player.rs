//! How the viewers' players behave.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::client::Protocol;

/// How a rendition is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Abr {
    /// By throughput and buffer.
    #[default]
    Adaptive,
    /// Always the one with the highest `BANDWIDTH`.
    Highest,
    /// Always the one with the lowest.
    Lowest,
}

/// Where CMCD travels (CTA-5004 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CmcdWay {
    /// In the query parameter `CMCD`.
    #[default]
    Query,
    /// In the four `CMCD-` request fields.
    Headers,
}

/// Common media client data that players send along.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cmcd {
    /// 1 (CTA-5004) or 2 (CTA-5004-A).
    #[serde(default = "version")]
    pub version: u8,
    /// Where it travels.
    #[serde(default)]
    pub way: CmcdWay,
    /// `cid`; absent: none is sent.
    pub content_id: Option<String>,
}

fn version() -> u8 {
    1
}

/// How a session token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenWay {
    /// As a query parameter of every request to a host of the target.
    #[default]
    Query,
    /// As `Authorization: Bearer`.
    Bearer,
}

/// Shares of the viewers by version of HTTP, relative to one another.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Shares(pub(crate) BTreeMap<String, f64>);

impl Shares {
    /// The versions that have a share, with it.
    pub(crate) fn each(&self) -> Vec<(Protocol, f64)> {
        self.0.iter().filter_map(|(name, share)| Some((name.parse().ok()?, *share))).filter(|one| one.1 > 0.0).collect()
    }
}

impl Default for Shares {
    fn default() -> Self {
        Self(BTreeMap::from([("h2".to_owned(), 1.0)]))
    }
}

/// How the viewers' players behave.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Player {
    /// Versions of HTTP.
    pub protocols: Shares,
    /// Viewers that share one HTTP/2 or HTTP/3 connection to a host. Over HTTP/1.1 each has its own.
    pub viewers_per_connection: u32,
    /// How a rendition is chosen.
    pub abr: Abr,
    /// Renditions above this `BANDWIDTH` are left alone, in bit/s.
    pub max_bandwidth: Option<u64>,
    /// Media that is kept loaded ahead of the play-head, in seconds.
    pub buffer_seconds: f64,
    /// Media that must be there before play begins or goes on, in seconds; at least one segment or part.
    pub start_seconds: f64,
    /// Films begin at a random place, as viewers who come back do.
    pub random_start: bool,
    /// A film that ended is begun again; otherwise its viewer leaves.
    pub repeat: bool,
    /// A viewer leaves after about so many seconds and another comes (exponentially distributed); absent: all stay.
    pub mean_stay_seconds: Option<f64>,
    /// Play low-latency playlists as such: blocking reloads and parts.
    pub low_latency: bool,
    /// Follow `EXT-X-CONTENT-STEERING`.
    pub steering: bool,
    /// A pathway or host that failed is left alone for so long while there is another, in seconds.
    pub penalty_seconds: f64,
    /// Most requests for one resource, over all pathways, before it is given up.
    pub attempts: u32,
    /// Wait before a host is asked again when no other is left, in seconds; doubles each time up to eight times as much.
    pub backoff_seconds: f64,
    /// Longest wait for a connection, in seconds.
    pub connect_seconds: f64,
    /// Longest wait for a response head, in seconds. Requests that block by design have three target durations more.
    pub first_byte_seconds: f64,
    /// Longest silence within a body, in seconds.
    pub body_seconds: f64,
    /// Common media client data; absent: none.
    pub cmcd: Option<Cmcd>,
    /// A session token that all viewers show.
    pub token: Option<String>,
    /// A file with one session token a line; viewers take them in turn.
    pub token_file: Option<PathBuf>,
    /// How tokens are shown.
    pub token_way: TokenWay,
    /// Name of the query parameter of a token.
    pub token_parameter: String,
    /// Share of the viewers, in percent, whose every segment is kept for a moment and checked: parsed, its timeline
    /// followed, its digest and signature verified. At least one viewer if it is not 0.
    pub inspect_percent: f64,
}

impl Default for Player {
    /// Adaptive over HTTP/2, eight viewers a connection, 20 s of buffer, steering, 2.5 s to the first byte, a penalty of
    /// 60 s, and one viewer in fifty inspected.
    fn default() -> Self {
        Self {
            protocols: Shares::default(),
            viewers_per_connection: 8,
            abr: Abr::default(),
            max_bandwidth: None,
            buffer_seconds: 20.0,
            start_seconds: 0.0,
            random_start: false,
            repeat: true,
            mean_stay_seconds: None,
            low_latency: true,
            steering: true,
            penalty_seconds: 60.0,
            attempts: 6,
            backoff_seconds: 0.5,
            connect_seconds: 2.5,
            first_byte_seconds: 2.5,
            body_seconds: 5.0,
            cmcd: None,
            token: None,
            token_file: None,
            token_way: TokenWay::default(),
            token_parameter: "weir_token".to_owned(),
            inspect_percent: 2.0,
        }
    }
}
