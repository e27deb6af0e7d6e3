//! What a viewer watches and how.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use url::Url;

use crate::client::{self, Protocol, Timeouts, Trust};

/// How a variant of a multivariant playlist is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The one with the highest `BANDWIDTH`.
    #[default]
    Highest,
    /// The one with the lowest `BANDWIDTH`.
    Lowest,
    /// Begins with the lowest; before each segment the highest that takes at most 80 % of the measured throughput.
    /// Live variants are taken to number their segments alike, as packagers do though section 6.3.2 does not ask it.
    Adaptive,
}

/// What a viewer watches and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// A multivariant or media playlist.
    pub url: Url,
    /// Further hosts with the same paths: scheme, host and port are taken, the path is not. At a failure the viewer goes
    /// on to the next in turn.
    pub alternatives: Vec<Url>,
    /// How to connect. An address to connect to applies to every host alike.
    pub client: client::Config,
    /// Choice of variant.
    pub choice: Choice,
    /// Play in real time. Otherwise load as fast as playlists allow, without a buffer and without stalls.
    pub realtime: bool,
    /// Stop after so much wall time; `None` plays to the end, which a live channel may not have.
    pub duration: Option<Duration>,
    /// Media that is kept loaded ahead of the play-head, in real time.
    pub buffer_target: Duration,
    /// Most requests for one resource, over all hosts, before it is given up; at least 1.
    pub attempts: u32,
    /// Wait before a host is asked again when no other is left; doubles each time up to eight times as much, and is cut
    /// by up to half at random.
    pub backoff: Duration,
    /// A host that failed is not chosen again for so long while there is another.
    pub penalty: Duration,
    /// Further request fields, in place of this client's own of the same name.
    pub headers: HeaderMap,
    /// After so much wall time no further request begins; the one under way comes to its end. `None`: requests are cut
    /// when [`duration`](Self::duration) is over.
    pub last_request: Option<Duration>,
    /// Response fields copied into events, beside `Cache-Status`, `Server-Timing` and `Via`.
    pub observe: Vec<HeaderName>,
}

impl Config {
    /// Plays the highest rendition in real time to the end, with a buffer of 10 s, 2.5 s to connect and 2.5 s to the first
    /// byte of a head, 6 attempts from 1 s apart, and a penalty of 60 s.
    pub fn new(url: Url, protocol: Protocol, trust: Trust) -> Self {
        // A player that waits longer than this for a silent relay has emptied its buffer before it tries another.
        let silence = Duration::from_millis(2500);
        let timeouts = Timeouts { connect: silence, head: silence, ..Timeouts::default() };
        Self {
            url,
            alternatives: Vec::new(),
            client: client::Config { protocol, trust, connect: None, timeouts },
            choice: Choice::default(),
            realtime: true,
            duration: None,
            buffer_target: Duration::from_secs(10),
            attempts: 6,
            backoff: Duration::from_secs(1),
            penalty: Duration::from_secs(60),
            headers: HeaderMap::new(),
            last_request: None,
            observe: Vec::new(),
        }
    }
}
