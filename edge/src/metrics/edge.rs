//! Counters, gauges and histograms of doors and routes. All label combinations are resolved once, so that counting
//! on the hot path is an atomic addition.

use http::StatusCode;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use weir_relay::http::Protocol;

const PROTOCOLS: [Protocol; 3] = [Protocol::H1, Protocol::H2, Protocol::H3];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Seconds. From a memory hit on a fast line to the longest wait a route allows.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// What kind of resource a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Multivariant or media playlist.
    Playlist,
    /// Media segment.
    Segment,
    /// Partial segment.
    Part,
    /// Initialization section.
    Init,
    /// Decryption key.
    Key,
    /// A path of our own (`/weir/`, `/.well-known/weir`).
    Own,
    /// Anything else.
    Other,
}

impl Kind {
    const ALL: [Self; 7] = [Self::Playlist, Self::Segment, Self::Part, Self::Init, Self::Key, Self::Own, Self::Other];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Playlist => "playlist",
            Self::Segment => "segment",
            Self::Part => "part",
            Self::Init => "init",
            Self::Key => "key",
            Self::Own => "own",
            Self::Other => "other",
        }
    }
}

/// Where response bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByteSource {
    /// Memory tier.
    Memory,
    /// Disk tier.
    Disk,
    /// Another relay.
    Peer,
    /// The adapter or a plain upstream.
    Origin,
    /// Made by this process: errors, status, steering.
    Own,
}

impl ByteSource {
    const ALL: [Self; 5] = [Self::Memory, Self::Disk, Self::Peer, Self::Origin, Self::Own];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Peer => "peer",
            Self::Origin => "origin",
            Self::Own => "own",
        }
    }
}

/// The edge's metrics. Doors count connections and requests in flight; routes count the rest.
pub struct EdgeMetrics {
    requests: Vec<IntCounter>,
    durations: Vec<Histogram>,
    bytes: Vec<IntCounter>,
    ttfb: Vec<Histogram>,
    connections: Vec<IntGauge>,
    in_flight: IntGauge,
    draining: IntGauge,
    certificate_expiry: IntGauge,
}

impl EdgeMetrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When the registry already holds metrics of these names.
    pub fn register(registry: &Registry, version: &str, commit: &str) -> Result<Arc<Self>, prometheus::Error> {
        let requests = add(
            registry,
            IntCounterVec::new(
                Opts::new("weir_http_requests_total", "HTTP requests answered."),
                &["proto", "code_class", "kind"],
            )?,
        )?;
        let durations = add(
            registry,
            HistogramVec::new(
                HistogramOpts::new(
                    "weir_http_request_duration_seconds",
                    "From a request's arrival to its response's last byte handed over.",
                )
                .buckets(BUCKETS.to_vec()),
                &["proto", "kind"],
            )?,
        )?;
        let bytes = add(
            registry,
            IntCounterVec::new(
                Opts::new("weir_http_response_bytes_total", "Body bytes handed to clients."),
                &["proto", "source"],
            )?,
        )?;
        let ttfb = add(
            registry,
            HistogramVec::new(
                HistogramOpts::new("weir_ttfb_seconds", "From a request's arrival to its first body byte.")
                    .buckets(BUCKETS.to_vec()),
                &["source"],
            )?,
        )?;
        let connections =
            add(registry, IntGaugeVec::new(Opts::new("weir_connections", "Open client connections."), &["proto"])?)?;
        let in_flight = add(registry, IntGauge::new("weir_requests_in_flight", "Requests being answered.")?)?;
        let draining = add(registry, IntGauge::new("weir_draining", "1 while this process drains.")?)?;
        let certificate_expiry = add(
            registry,
            IntGauge::new("weir_certificate_expiry_timestamp_seconds", "When the doors' certificate ends, Unix time.")?,
        )?;
        let build =
            add(registry, IntGaugeVec::new(Opts::new("weir_build_info", "Always 1."), &["version", "commit"])?)?;
        build.with_label_values(&[version, commit]).set(1);

        let mut me = Self {
            requests: Vec::new(),
            durations: Vec::new(),
            bytes: Vec::new(),
            ttfb: ByteSource::ALL.map(|source| ttfb.with_label_values(&[source.label()])).into(),
            connections: PROTOCOLS.map(|protocol| connections.with_label_values(&[protocol.label()])).into(),
            in_flight,
            draining,
            certificate_expiry,
        };
        for protocol in PROTOCOLS.map(Protocol::label) {
            for kind in Kind::ALL.map(Kind::label) {
                me.durations.push(durations.with_label_values(&[protocol, kind]));
                for class in CLASSES {
                    me.requests.push(requests.with_label_values(&[protocol, class, kind]));
                }
            }
            for source in ByteSource::ALL.map(ByteSource::label) {
                me.bytes.push(bytes.with_label_values(&[protocol, source]));
            }
        }
        Ok(Arc::new(me))
    }

    /// The certificate in use ends then.
    pub fn certificate_expires(&self, at: SystemTime) {
        let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.certificate_expiry.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// Counts a connection until the guard is dropped.
    pub fn connection_opened(&self, protocol: Protocol) -> ConnectionGuard {
        ConnectionGuard(Held::new(&self.connections[index(protocol)]))
    }

    /// Counts a request in flight until the guard is dropped.
    pub fn request_started(&self) -> InFlightGuard {
        InFlightGuard(Held::new(&self.in_flight))
    }

    /// A response is over; `duration` is since the request's arrival.
    pub fn request_finished(&self, protocol: Protocol, status: StatusCode, kind: Kind, duration: Duration) {
        let row = index(protocol) * Kind::ALL.len() + kind as usize;
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.requests[row * CLASSES.len() + class].inc();
        self.durations[row].observe(duration.as_secs_f64());
    }

    /// `bytes` of a response body were handed over.
    pub fn response_bytes(&self, protocol: Protocol, source: ByteSource, bytes: u64) {
        self.bytes[index(protocol) * ByteSource::ALL.len() + source as usize].inc_by(bytes);
    }

    /// The first body byte was there `after` the request arrived.
    pub fn first_byte(&self, source: ByteSource, after: Duration) {
        self.ttfb[source as usize].observe(after.as_secs_f64());
    }

    /// Shows whether the process drains.
    pub fn set_draining(&self, draining: bool) {
        self.draining.set(i64::from(draining));
    }

    /// Bytes of response bodies handed over so far.
    pub fn sent(&self) -> u64 {
        self.bytes.iter().map(IntCounter::get).sum()
    }

    /// Client connections open now.
    pub fn open_connections(&self) -> i64 {
        self.connections.iter().map(IntGauge::get).sum()
    }

    /// Requests being answered now.
    pub fn requests_in_flight(&self) -> i64 {
        self.in_flight.get()
    }
}

fn index(protocol: Protocol) -> usize {
    match protocol {
        Protocol::H1 => 0,
        Protocol::H2 => 1,
        Protocol::H3 => 2,
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

struct Held(IntGauge);

impl Held {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One open connection.
pub struct ConnectionGuard(#[expect(dead_code, reason = "counts by living")] Held);

/// One request in flight.
pub struct InFlightGuard(#[expect(dead_code, reason = "counts by living")] Held);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use prometheus::TextEncoder;

    #[test]
    fn each_count_lands_in_its_own_series() {
        let registry = Registry::new();
        let metrics = EdgeMetrics::register(&registry, "1.2.3", "abc").unwrap();
        for protocol in PROTOCOLS {
            for (place, kind) in Kind::ALL.into_iter().enumerate() {
                assert_eq!(kind as usize, place);
                metrics.request_finished(protocol, StatusCode::NOT_FOUND, kind, Duration::from_millis(2));
            }
        }
        for (place, source) in ByteSource::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, place);
        }
        metrics.response_bytes(Protocol::H3, ByteSource::Peer, 7);
        metrics.first_byte(ByteSource::Disk, Duration::from_secs(1));
        let connection = metrics.connection_opened(Protocol::H2);
        let request = metrics.request_started();
        let text = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let seen = text();
        for line in [
            r#"weir_http_requests_total{code_class="4xx",kind="playlist",proto="h1"} 1"#,
            r#"weir_http_requests_total{code_class="4xx",kind="other",proto="h3"} 1"#,
            r#"weir_http_requests_total{code_class="2xx",kind="other",proto="h3"} 0"#,
            r#"weir_http_request_duration_seconds_count{kind="key",proto="h2"} 1"#,
            r#"weir_http_response_bytes_total{proto="h3",source="peer"} 7"#,
            r#"weir_ttfb_seconds_count{source="disk"} 1"#,
            r#"weir_connections{proto="h2"} 1"#,
            "weir_requests_in_flight 1",
            r#"weir_build_info{commit="abc",version="1.2.3"} 1"#,
        ] {
            assert!(seen.lines().any(|have| have == line), "{line} is missing in\n{seen}");
        }
        drop((connection, request));
        assert_eq!((metrics.open_connections(), metrics.requests_in_flight()), (0, 0));
        assert!(EdgeMetrics::register(&registry, "", "").is_err());
    }
}
