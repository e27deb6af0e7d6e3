//! Metrics of the QUIC connections to other nodes. Invariant: no label names a node; a network of a thousand relays has
//! as many series as one of two.

use crate::peer::TransportNow;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

pub(super) struct TransportMetrics {
    bytes: IntCounterVec,
    packets: IntCounterVec,
    congestion: IntCounter,
    round_trip: Histogram,
    mtu: IntGaugeVec,
}

/// Brings a counter up to a sum that is kept elsewhere and never shrinks.
fn advance(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

impl TransportMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let made = Self {
            bytes: IntCounterVec::new(
                Opts::new("weir_peer_transport_bytes_total", "UDP payload bytes of connections to nodes."),
                &["direction"],
            )?,
            packets: IntCounterVec::new(
                Opts::new(
                    "weir_peer_transport_packets_total",
                    "QUIC packets to nodes, and how many of them were lost.",
                ),
                &["outcome"],
            )?,
            congestion: IntCounter::new(
                "weir_peer_transport_congestion_events_total",
                "Times a connection to a node reduced its congestion window.",
            )?,
            round_trip: Histogram::with_opts(
                HistogramOpts::new(
                    "weir_peer_round_trip_seconds",
                    "Smoothed round trip of each open connection to a node, sampled with each update of the gauges.",
                )
                .buckets(vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]),
            )?,
            mtu: IntGaugeVec::new(
                Opts::new("weir_peer_mtu_bytes", "UDP payload that the paths to nodes take; 0 without a connection."),
                &["bound"],
            )?,
        };
        registry.register(Box::new(made.bytes.clone()))?;
        registry.register(Box::new(made.packets.clone()))?;
        registry.register(Box::new(made.congestion.clone()))?;
        registry.register(Box::new(made.round_trip.clone()))?;
        registry.register(Box::new(made.mtu.clone()))?;
        Ok(made)
    }

    pub(super) fn observe(&self, now: &TransportNow) {
        let totals = &now.totals;
        advance(&self.bytes.with_label_values(&["sent"]), totals.sent_bytes);
        advance(&self.bytes.with_label_values(&["received"]), totals.received_bytes);
        advance(&self.packets.with_label_values(&["sent"]), totals.sent_packets);
        advance(&self.packets.with_label_values(&["lost"]), totals.lost_packets);
        advance(&self.congestion, totals.congestion_events);
        for round_trip in &now.round_trips {
            self.round_trip.observe(round_trip.as_secs_f64());
        }
        let bounds = [("least", now.mtus.iter().min()), ("most", now.mtus.iter().max())];
        for (bound, mtu) in bounds {
            self.mtu.with_label_values(&[bound]).set(mtu.copied().unwrap_or(0).into());
        }
    }
}
