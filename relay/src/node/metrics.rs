//! The node's metrics, with the names operators know. Invariant: no label names a resource, a viewer or an address.

use super::transport::TransportMetrics;
use crate::{
    fetch::{Hedge, How, Observer},
    meter::{Account, Outcome},
    object::Entry,
    peer::{Links, PeerObserver},
    push::{PushEvent, PushObserver, Stage},
    source::SourceError,
    store::{DiskOp, EvictReason, IntegrityStage, SkipReason, Store, StoreEvents, Tier},
};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use std::{sync::Arc, time::Duration};
use weir_protocol::{
    ids::{PublisherId, RelayId},
    reach::ReachClass,
};

/// Counters of one node.
pub struct NodeMetrics {
    requests: IntCounterVec,
    evictions: IntCounterVec,
    origin_requests: IntCounterVec,
    origin_bytes: IntCounter,
    origin_fetch: Histogram,
    connect_attempts: IntCounterVec,
    peer_bytes: IntCounterVec,
    peer_sent: Arc<PeerAccount>,
    coalesced: IntCounter,
    integrity: IntCounterVec,
    failovers: IntCounterVec,
    hedged: IntCounterVec,
    sent_on: IntCounter,
    disk_io: HistogramVec,
    skipped: IntCounterVec,
    cache_bytes: IntGaugeVec,
    cache_capacity: IntGaugeVec,
    peers: IntGaugeVec,
    reachability: IntGaugeVec,
    transport: TransportMetrics,
    upload_limit: IntGauge,
    push_delay: HistogramVec,
    push_events: IntCounterVec,
    push: IntGaugeVec,
}

/// A summary for status pages.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct NodeTotals {
    /// Requests answered from memory or disk without asking anybody.
    pub hits: u64,
    /// Requests that needed a source, or joined one that did.
    pub misses: u64,
    /// Bytes that came from other relays.
    pub bytes_from_peers: u64,
    /// Bytes that came from the adapter or the origin.
    pub bytes_from_origin: u64,
    /// Bytes sent to peers.
    pub bytes_to_peers: u64,
    /// Pieces, records or files that did not verify.
    pub integrity_failures: u64,
}

struct PeerAccount {
    bytes: IntCounter,
}

impl Account for PeerAccount {
    fn settle(&self, outcome: Outcome) {
        self.bytes.inc_by(outcome.handed);
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("weir_{name}"), help)
}

impl NodeMetrics {
    /// Registers the node's metrics.
    pub fn register(registry: &Registry) -> Result<Arc<Self>, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(opts(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let counter = |name: &str, help: &str| {
            let made = IntCounter::with_opts(opts(name, help))?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let made = IntGaugeVec::new(opts(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let disk_io = HistogramVec::new(
            HistogramOpts::new("weir_disk_io_seconds", "Time of disk operations.")
                .buckets(vec![0.0005, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0]),
            &["op"],
        )?;
        registry.register(Box::new(disk_io.clone()))?;
        let origin_fetch = Histogram::with_opts(
            HistogramOpts::new(
                "weir_origin_fetch_duration_seconds",
                "From a request to the adapter or origin to its answer's head.",
            )
            .buckets(vec![0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]),
        )?;
        registry.register(Box::new(origin_fetch.clone()))?;
        let upload_limit = IntGauge::with_opts(opts("upload_limit_bytes_per_second", "Limit of uploads; 0 is none."))?;
        registry.register(Box::new(upload_limit.clone()))?;
        let push_delay = HistogramVec::new(
            HistogramOpts::new("weir_push_delay_seconds", "Since the adapter had the head of what is pushed here.")
                .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 10.0]),
            &["stage"],
        )?;
        registry.register(Box::new(push_delay.clone()))?;
        let peer_bytes = counters("peer_bytes_total", "Body bytes exchanged with nodes.", &["direction", "path"])?;
        Ok(Arc::new(Self {
            requests: counters("cache_requests_total", "Look-ups by the tier that answered.", &["tier", "result"])?,
            evictions: counters("cache_evictions_total", "Entries that left a tier.", &["tier", "reason"])?,
            origin_requests: counters("origin_requests_total", "Requests to the adapter or origin.", &["result"])?,
            origin_fetch,
            connect_attempts: counters("peer_connect_attempts_total", "Dials to other nodes.", &["result"])?,
            origin_bytes: counter("origin_bytes_total", "Body bytes from the adapter or origin.")?,
            peer_sent: Arc::new(PeerAccount { bytes: peer_bytes.with_label_values(&["sent", "direct"]) }),
            peer_bytes,
            coalesced: counter("coalesced_requests_total", "Requests that joined a fill under way.")?,
            integrity: counters("integrity_failures_total", "What did not verify.", &["stage"])?,
            failovers: counters("failovers_total", "Transfers that went on from another source.", &["reason"])?,
            hedged: counters("hedged_requests_total", "Second requests beside a relay that was late.", &["result"])?,
            sent_on: counter("sent_on_requests_total", "Requests answered with relays that have it, by an adapter.")?,
            disk_io,
            skipped: counters("cache_skipped_total", "Entries that got no copy on disk.", &["reason"])?,
            cache_bytes: gauges("cache_bytes", "Bytes held.", &["tier"])?,
            cache_capacity: gauges("cache_capacity_bytes", "Bytes a tier may hold.", &["tier"])?,
            peers: gauges("peers", "Nodes by state.", &["state"])?,
            reachability: gauges("reachability", "1 for the way in which others come to this node.", &["method"])?,
            transport: TransportMetrics::register(registry)?,
            upload_limit,
            push_delay,
            push_events: counters("push_events_total", "What happened in trees of live renditions.", &["event"])?,
            push: gauges("push", "Renditions that are pushed, and subscriptions of other relays.", &["what"])?,
        }))
    }

    /// Updates the gauges; called before they are read.
    pub fn observe(&self, store: &Store, links: Option<&Links>, members: usize) {
        let usage = store.usage();
        let set = |gauges: &IntGaugeVec, label: &str, value: u64| {
            gauges.with_label_values(&[label]).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.cache_bytes, "memory", usage.memory_bytes);
        set(&self.cache_bytes, "disk", usage.disk_bytes);
        set(&self.cache_capacity, "memory", usage.memory_capacity);
        set(&self.cache_capacity, "disk", usage.disk_capacity);
        set(&self.peers, "connected", links.map_or(0, |links| links.open() as u64));
        set(&self.peers, "known", members as u64);
        if let Some(links) = links {
            self.transport.observe(&links.transport());
            let (reached, failed) = links.attempts();
            for (result, total) in [("ok", reached), ("failed", failed)] {
                let counter = self.connect_attempts.with_label_values(&[result]);
                // Only this method counts here, and the totals never shrink.
                counter.inc_by(total.saturating_sub(counter.get()));
            }
        }
    }

    /// How others come to this node.
    pub fn reachable(&self, class: ReachClass) {
        use ReachClass::{Direct, Mapped, PeerOnly, Punched, Unknown};
        for each in [Unknown, Direct, Mapped, Punched, PeerOnly] {
            self.reachability.with_label_values(&[each.label()]).set(i64::from(each == class));
        }
    }

    /// The node's upload limit in bytes a second, 0 for none.
    pub fn limits_upload(&self, bytes_per_second: u64) {
        self.upload_limit.set(i64::try_from(bytes_per_second).unwrap_or(i64::MAX));
    }

    /// Renditions that are followed or led, and children that are fed.
    pub fn observe_push(&self, (renditions, children): (usize, usize)) {
        for (what, count) in [("renditions", renditions), ("children", children)] {
            self.push.with_label_values(&[what]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Sums for status pages.
    pub fn totals(&self) -> NodeTotals {
        let requests = |tier: &str, result: &str| self.requests.with_label_values(&[tier, result]).get();
        let stages = ["source", "disk_body", "disk_index", "disk_record"];
        NodeTotals {
            hits: requests("memory", "hit") + requests("disk", "hit") + requests("memory", "stale"),
            misses: requests("none", "miss") + requests("none", "collapsed") + requests("memory", "revalidated"),
            bytes_from_peers: self.peer_bytes.with_label_values(&["received", "direct"]).get(),
            bytes_from_origin: self.origin_bytes.get(),
            bytes_to_peers: self.peer_sent.bytes.get(),
            integrity_failures: stages.iter().map(|stage| self.integrity.with_label_values(&[stage]).get()).sum(),
        }
    }
}

impl Observer for NodeMetrics {
    fn served(&self, _: &Arc<Entry>, how: How) {
        let (tier, result) = match how {
            How::Hit => ("memory", "hit"),
            How::DiskHit => ("disk", "hit"),
            How::StaleWhileRevalidate | How::StaleIfError => ("memory", "stale"),
            How::Miss | How::VariantMiss | How::Replaced => ("none", "miss"),
            How::Passed => ("none", "passed"),
            How::Revalidated => ("memory", "revalidated"),
            How::Collapsed => {
                self.coalesced.inc();
                ("none", "collapsed")
            }
        };
        self.requests.with_label_values(&[tier, result]).inc();
    }

    fn asked(&self, label: &'static str, result: Result<(), &SourceError>, took: Duration) {
        if label != "peer" {
            self.origin_fetch.observe(took.as_secs_f64());
            self.origin_requests.with_label_values(&[result.map_or_else(SourceError::label, |()| "ok")]).inc();
        }
        if result.is_err_and(SourceError::is_corrupt) {
            self.integrity.with_label_values(&["source"]).inc();
        }
    }

    fn filled(&self, label: &'static str, bytes: u64) {
        if label == "peer" {
            self.peer_bytes.with_label_values(&["received", "direct"]).inc_by(bytes);
        } else {
            self.origin_bytes.inc_by(bytes);
        }
    }

    fn hedged(&self, how: Hedge) {
        self.hedged.with_label_values(&[how.label()]).inc();
    }

    fn failed_over(&self, why: &SourceError) {
        self.failovers.with_label_values(&[why.label()]).inc();
        if why.is_corrupt() {
            self.integrity.with_label_values(&["source"]).inc();
        }
    }
}

impl PushObserver for NodeMetrics {
    fn arrived(&self, stage: Stage, after: Duration) {
        self.push_delay.with_label_values(&[stage.label()]).observe(after.as_secs_f64());
    }

    fn happened(&self, event: PushEvent) {
        self.push_events.with_label_values(&[event.label()]).inc();
    }
}

impl PeerObserver for NodeMetrics {
    fn delivery(&self, _: RelayId, _: PublisherId) -> Arc<dyn Account> {
        self.peer_sent.clone()
    }

    fn sent_on(&self, _: RelayId, _: PublisherId) {
        self.sent_on.inc();
    }
}

impl StoreEvents for NodeMetrics {
    fn evicted(&self, tier: Tier, reason: EvictReason) {
        self.evictions.with_label_values(&[tier.label(), reason.label()]).inc();
    }

    fn integrity_failure(&self, stage: IntegrityStage) {
        self.integrity.with_label_values(&[stage.label()]).inc();
    }

    fn disk_io(&self, op: DiskOp, seconds: f64) {
        self.disk_io.with_label_values(&[op.label()]).observe(seconds);
    }

    fn skipped(&self, reason: SkipReason) {
        self.skipped.with_label_values(&[reason.label()]).inc();
    }
}
