//! Reads what the adapter and the relays count. Invariant: a node that does not answer keeps its last figures, so that
//! nothing ever counts backwards, and no reading takes longer than [`PATIENCE`].

use super::exposition;
use super::figures::{Figures, NodeCounts, RelayReading};
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
}

/// Where to read, and what was read last.
#[derive(Debug)]
pub(super) struct Readings {
    client: Client<HttpConnector, Empty<Bytes>>,
    adapter: SocketAddr,
    relays: [SocketAddr; 3],
    origin: Arc<OriginStats>,
    last_adapter: NodeCounts,
    last_relays: [RelayReading; 3],
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
            last_relays: Default::default(),
        }
    }

    /// Asks all at once.
    pub(super) async fn read(&mut self) -> Figures {
        let [a, b, c] = self.relays.map(|relay| self.relay(relay));
        let (adapter, a, b, c) = tokio::join!(self.status(self.adapter), a, b, c);
        if let Some(status) = adapter {
            self.last_adapter = status.totals;
        }
        for (last, new) in self.last_relays.iter_mut().zip([a, b, c]) {
            match new {
                Some(new) => *last = new,
                None => last.connections = 0,
            }
        }
        Figures::of(&self.last_relays, &self.last_adapter, self.origin.totals())
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
