//! The result of a viewing.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::sync::mpsc;

use super::event::{Event, Fetched};

/// Why the viewing ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Played to the end.
    Completed,
    /// The configured time was over.
    DurationReached,
    /// Cancelled.
    Stopped,
    /// Could not go on.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What one host served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RelayTally {
    /// Media segments.
    pub segments: u64,
    /// Bytes of anything.
    pub bytes: u64,
    /// Failed requests.
    pub failures: u64,
    /// Requests that were under way when the viewing ended.
    pub cut: u64,
    /// Bytes of body of requests that did not come to their end.
    pub cut_bytes: u64,
}

/// What a viewing came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Why it ended.
    pub outcome: Outcome,
    /// Wall time, in seconds.
    pub seconds: f64,
    /// Media played in real time, in seconds.
    pub played_seconds: f64,
    /// Wall time until play began, in seconds; absent when it never did or not in real time.
    pub startup_seconds: Option<f64>,
    /// Media segments fetched.
    pub segments: u64,
    /// Bytes of body of everything fetched with success.
    pub bytes: u64,
    /// Playlists fetched.
    pub playlists: u64,
    /// Times the buffer ran empty, one that still lasts included.
    pub stalls: u64,
    /// How long play stood still because of that, in seconds.
    pub stall_seconds: f64,
    /// Segments left out.
    pub skipped_segments: u64,
    /// Changes of host after a failure.
    pub failovers: u64,
    /// Things received that cannot be right.
    pub integrity_failures: u64,
    /// The same by class: `playlist`, `playlist-backwards`, `playlist-renamed`, `range`, `init`, `boxes`,
    /// `decode-time`, `ts-sync`, `ts-counter`.
    pub integrity: BTreeMap<&'static str, u64>,
    /// Failed requests by class.
    pub errors: BTreeMap<String, u64>,
    /// Hosts that were asked.
    pub relays: BTreeMap<String, RelayTally>,
    /// Segments by version of HTTP.
    pub versions: BTreeMap<&'static str, u64>,
    /// Events that the receiver had no room for.
    pub events_lost: u64,
}

impl Summary {
    /// Whether media came, all of it was right and nothing ended the viewing before its time.
    pub fn is_clean(&self) -> bool {
        self.segments > 0 && self.integrity_failures == 0 && !matches!(self.outcome, Outcome::Failed { .. })
    }
}

/// Tells events and adds them up: what a summary counts is what was told.
#[derive(Debug)]
pub(super) struct Log {
    sink: mpsc::Sender<Event>,
    summary: Summary,
}

impl Log {
    pub(super) fn new(sink: mpsc::Sender<Event>) -> Self {
        let summary = Summary {
            outcome: Outcome::Completed,
            seconds: 0.0,
            played_seconds: 0.0,
            startup_seconds: None,
            segments: 0,
            bytes: 0,
            playlists: 0,
            stalls: 0,
            stall_seconds: 0.0,
            skipped_segments: 0,
            failovers: 0,
            integrity_failures: 0,
            integrity: BTreeMap::new(),
            errors: BTreeMap::new(),
            relays: BTreeMap::new(),
            versions: BTreeMap::new(),
            events_lost: 0,
        };
        Self { sink, summary }
    }

    /// Counts an event and passes it on, if the receiver has room: a slow receiver must not slow the viewer down.
    pub(super) fn tell(&mut self, event: Event) {
        let summary = &mut self.summary;
        match &event {
            Event::Playlist { fetched } => {
                summary.playlists += 1;
                summary.served(fetched);
            }
            Event::Init { fetched } => {
                summary.served(fetched);
            }
            Event::Segment(segment) => {
                summary.segments += 1;
                *summary.versions.entry(segment.fetched.version).or_default() += 1;
                summary.served(&segment.fetched).segments += 1;
            }
            Event::Failure { class, relay, .. } => {
                *summary.errors.entry(class.clone()).or_default() += 1;
                summary.relays.entry(relay.clone()).or_default().failures += 1;
            }
            Event::Failover { .. } => summary.failovers += 1,
            Event::Skipped { count } => summary.skipped_segments += count,
            Event::Integrity { class, .. } => {
                summary.integrity_failures += 1;
                *summary.integrity.entry(class).or_default() += 1;
            }
            // Stalls are taken from the buffer's model at the end, since one may still last.
            Event::Rendition { .. } | Event::Stall { .. } => {}
        }
        if self.sink.try_send(event).is_err() {
            summary.events_lost += 1;
        }
    }

    /// A request did not come to its end.
    pub(super) fn cut(&mut self, relay: &str, bytes: u64, failed: bool) {
        let relay = self.summary.relays.entry(relay.to_owned()).or_default();
        relay.cut += u64::from(!failed);
        relay.cut_bytes += bytes;
    }

    /// The counts, to be completed.
    pub(super) fn into_summary(self) -> Summary {
        self.summary
    }
}

impl Summary {
    fn served(&mut self, fetched: &Fetched) -> &mut RelayTally {
        self.bytes += fetched.bytes;
        let relay = self.relays.entry(fetched.relay.clone()).or_default();
        relay.bytes += fetched.bytes;
        relay
    }
}
