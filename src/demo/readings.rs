//! Reads what the adapter and the relays count. Invariant: a node that does not answer keeps its last figures, so that
//! nothing ever counts backwards, and no reading takes longer than [`PATIENCE`].

use super::exposition;
use super::figures::{Figures, LedgerCounts, NodeCounts, RelayReading};
use super::origin::OriginStats;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for one node.
const PATIENCE: Duration = Duration::from_millis(800);
/// Longest answer that is read.
const MAX_ANSWER: usize = 1 << 20;

/// The part of `/api/v1/status` that is used.
#[derive(Debug, Deserialize)]
struct Status {
    totals: NodeCounts,
    #[serde(default)]
    connections: u64,
    /// What the adapter's ledger has taken.
    ledger: Option<LedgerCounts>,
}

/// Where to read, and what was read last.
#[derive(Debug)]
pub(super) struct Readings {
    client: Client<HttpConnector, Empty<Bytes>>,
    adapter: SocketAddr,
    relays: [SocketAddr; 3],
    origin: Arc<OriginStats>,
    last_adapter: NodeCounts,
    last_ledger: LedgerCounts,
    last_relays: [Tally; 3],
}

/// What a relay counted in all its lives: one that was started again counts from nothing.
#[derive(Debug, Default)]
struct Tally {
    /// In lives that are over.
    before: RelayReading,
    now: RelayReading,
}

impl Tally {
    fn take(&mut self, new: RelayReading) {
        if new.bytes_to_viewers < self.now.bytes_to_viewers || new.counts.misses < self.now.counts.misses {
            self.before = self.before.plus(&self.now);
        }
        self.now = new;
    }

    fn all(&self) -> RelayReading {
        self.before.plus(&self.now)
    }
}

impl Readings {
    /// Reads from these private addresses.
    pub(super) fn new(adapter: SocketAddr, relays: [SocketAddr; 3], origin: Arc<OriginStats>) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            adapter,
            relays,
            origin,
            last_adapter: NodeCounts::default(),
            last_ledger: LedgerCounts::default(),
            last_relays: Default::default(),
        }
    }

    /// Asks all at once.
    pub(super) async fn read(&mut self) -> Figures {
        let [a, b, c] = self.relays.map(|relay| self.relay(relay));
        let (adapter, a, b, c) = tokio::join!(self.status(self.adapter), a, b, c);
        if let Some(status) = adapter {
            self.last_adapter = status.totals;
            self.last_ledger = status.ledger.unwrap_or(self.last_ledger);
        }
        for (last, new) in self.last_relays.iter_mut().zip([a, b, c]) {
            match new {
                Some(new) => last.take(new),
                None => last.now.connections = 0,
            }
        }
        let relays = self.last_relays.each_ref().map(Tally::all);
        let mut figures = Figures::of(&relays, &self.last_adapter, self.origin.totals());
        figures.receipts = self.last_ledger.kept;
        figures
    }

    async fn relay(&self, admin: SocketAddr) -> Option<RelayReading> {
        let status = self.status(admin).await?;
        let text = String::from_utf8(self.get(admin, "/metrics").await?.into()).ok()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counters are whole and not negative"
        )]
        let count = |name, labels: &[_]| exposition::sum(&text, name, labels) as u64;
        Some(RelayReading {
            counts: status.totals,
            connections: status.connections,
            bytes_to_viewers: count("weir_http_response_bytes_total", &[]),
            segments: count("weir_http_requests_total", &[("kind", "segment"), ("code_class", "2xx")]),
            // What a relay makes itself, such as an error, says nothing about how fast video comes.
            first_byte: exposition::buckets(&text, "weir_ttfb_seconds", "source", "own"),
        })
    }

    async fn status(&self, admin: SocketAddr) -> Option<Status> {
        serde_json::from_slice(&self.get(admin, "/api/v1/status").await?).ok()
    }

    async fn get(&self, admin: SocketAddr, path: &str) -> Option<Bytes> {
        let uri = format!("http://{admin}{path}").parse().ok()?;
        let answer = async {
            let response = self.client.get(uri).await.ok()?;
            if !response.status().is_success() {
                return None;
            }
            Some(Limited::new(response.into_body(), MAX_ANSWER).collect().await.ok()?.to_bytes())
        };
        timeout(PATIENCE, answer).await.ok()?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_that_was_started_again_goes_on_counting() {
        let reading = |bytes, misses, connections| RelayReading {
            counts: NodeCounts { misses, ..NodeCounts::default() },
            bytes_to_viewers: bytes,
            connections,
            ..RelayReading::default()
        };
        let mut tally = Tally::default();
        for (new, all) in [((100, 3, 2), (100, 3, 2)), ((150, 4, 2), (150, 4, 2)), ((20, 1, 1), (170, 5, 1))] {
            tally.take(reading(new.0, new.1, new.2));
            assert_eq!(tally.all(), reading(all.0, all.1, all.2));
        }
    }
}
