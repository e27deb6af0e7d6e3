//! The built-in viewers of `--seconds`: they play in real time, check every segment, and go on at another relay when
//! theirs fails.
//!
//! Invariant: every viewer ends by the time that was asked for, or when told to stop.

use super::network::Relay;
use crate::exit::{Failure, RUNTIME};
use crate::ledger::now;
use crate::token;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;
use weir_load::client::{Protocol, Trust};
use weir_load::viewer::{Config, Event, Outcome, Summary, Viewer};
use weir_origin::keys::PublisherKeys;
use weir_protocol::token::SessionClaims;

/// Who watches what: programme, index of the relay, version of HTTP. Two relays serve the film and two the live channel,
/// so that one has it from another; two viewers share each relay, so that the later one finds what the earlier one fetched.
const SEATS: [(&str, usize, Protocol); 6] = [
    ("film", 0, Protocol::H1),
    ("live", 1, Protocol::H1),
    ("film", 2, Protocol::H3),
    ("film", 0, Protocol::H2),
    ("live", 1, Protocol::H2),
    ("live", 2, Protocol::H3),
];
/// How many come at once; the others come later, by this time or a quarter of the whole.
const AT_ONCE: usize = 3;
const LATER: Duration = Duration::from_secs(2);
/// Events that may wait to be told; further ones are counted and not told.
const EVENTS: usize = 256;
/// Longer than any demo.
const TOKEN_LIFE: Duration = Duration::from_secs(2 * 86_400);
/// A film that ended is not begun again for less than this.
const SHORTEST: Duration = Duration::from_secs(2);

/// Built-in viewers at work.
#[derive(Debug)]
pub(super) struct Viewers {
    tasks: JoinSet<Result<Vec<Summary>, weir_load::client::Error>>,
    events: mpsc::Receiver<Event>,
    summaries: Vec<Summary>,
}

impl Viewers {
    /// Seats all of them.
    ///
    /// Each has a token of its own from `keys`, so that relays are paid for what they deliver to it.
    pub(super) fn start(
        relays: &[Relay],
        keys: &PublisherKeys,
        time: Duration,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let (sink, events) = mpsc::channel(EVENTS);
        let until = Instant::now() + time;
        let mut tasks = JoinSet::new();
        for (seat, (programme, place, protocol)) in SEATS.into_iter().enumerate() {
            let delay = if seat < AT_ONCE { Duration::ZERO } else { LATER.min(time / 4) };
            let token = token::issue(keys, now(), TOKEN_LIFE, |claims| SessionClaims {
                prefix: format!("/{programme}/"),
                ..claims
            })?;
            let base = |relay: &Relay| {
                let (scheme, address) = door(relay, protocol);
                let url = Url::parse(&format!("{scheme}://{address}/{programme}/master.m3u8"))?;
                Ok::<_, url::ParseError>(token::with(url, &token))
            };
            let mut urls = relays[place..]
                .iter()
                .chain(&relays[..place])
                .map(base)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| Failure::new(RUNTIME, error))?;
            // The relays' certificate is the demo's own; what was received is checked by its content.
            let mut config = Config::new(urls.remove(0), protocol, Trust::Insecure);
            config.alternatives = urls;
            let (sink, stop) = (sink.clone(), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => return Ok(Vec::new()),
                    () = tokio::time::sleep(delay) => {}
                }
                watch(config, until, sink, stop).await
            });
        }
        Ok(Self { tasks, events, summaries: Vec::new() })
    }

    /// The next thing worth telling; nothing when all viewers have ended. Safe to call off.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => {
                    if let Some(text) = tell(&event) {
                        return Ok(Some(text));
                    }
                }
                ended = self.tasks.join_next() => match ended {
                    None => return Ok(None),
                    Some(ended) => {
                        let summaries = ended.map_err(|error| Failure::new(RUNTIME, error))?;
                        self.summaries.extend(summaries.map_err(|error| Failure::new(RUNTIME, error))?);
                    }
                },
            }
        }
    }

    /// What the viewers saw, when all have ended.
    pub(super) fn into_summaries(self) -> Vec<Summary> {
        self.summaries
    }
}

fn door(relay: &Relay, protocol: Protocol) -> (&'static str, SocketAddr) {
    match protocol {
        Protocol::H1 => ("http", relay.places.http),
        Protocol::H2 | Protocol::H3 => ("https", relay.places.tls),
    }
}

/// One viewer; the film begins again when it is over.
async fn watch(
    config: Config,
    until: Instant,
    sink: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> Result<Vec<Summary>, weir_load::client::Error> {
    let mut summaries = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let viewer = Viewer::new(Config { duration: Some(left), ..config.clone() }, sink.clone())?;
        let summary = viewer.run(stop.clone()).await;
        let is_over = summary.outcome != Outcome::Completed;
        summaries.push(summary);
        if is_over || until.saturating_duration_since(Instant::now()) < SHORTEST {
            return Ok(summaries);
        }
    }
}

/// What people should hear of.
fn tell(event: &Event) -> Option<String> {
    Some(match event {
        Event::Failure { url, reason, .. } => format!("! viewer: {url}: {reason}"),
        Event::Failover { from, to, .. } => format!("  viewer goes on at {to} instead of {from}"),
        Event::Stall { seconds } => format!("! viewer stood still for {seconds:.1} s"),
        Event::Integrity { url, detail, .. } => format!("! viewer: {url} cannot be right: {detail}"),
        _ => return None,
    })
}
