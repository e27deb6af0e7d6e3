//! How a response was come by, told to the client: `Cache-Status` (RFC 9211) and `Server-Timing`.

use http::HeaderValue;
use std::time::Duration;
use weir_relay::{
    fetch::{How, Served},
    http::Protocol,
};

use crate::metrics::ByteSource;

/// Where the bytes of this response come from, for metrics.
pub(super) fn byte_source(served: &Served) -> ByteSource {
    match served.how {
        How::Hit | How::StaleWhileRevalidate | How::StaleIfError | How::Revalidated => ByteSource::Memory,
        How::DiskHit => ByteSource::Disk,
        How::Miss | How::VariantMiss | How::Replaced | How::Passed | How::Collapsed => match served.entry.source {
            "peer" => ByteSource::Peer,
            _ => ByteSource::Origin,
        },
    }
}

/// `Cache-Status` for this cache; `ttl` is negative when the response is stale.
pub(super) fn cache_status(name: &str, served: &Served, ttl_seconds: i64) -> Option<HeaderValue> {
    let source = served.entry.source;
    let status = served.entry.head.status.as_u16();
    let stored = if served.entry.is_shareable() { "; stored" } else { "" };
    let text = match served.how {
        How::Hit => format!("{name}; hit; ttl={ttl_seconds}; detail=memory"),
        How::DiskHit => format!("{name}; hit; ttl={ttl_seconds}; detail=disk"),
        How::StaleWhileRevalidate => format!("{name}; hit; ttl={ttl_seconds}; detail=stale-while-revalidate"),
        How::StaleIfError => format!("{name}; hit; ttl={ttl_seconds}; detail=stale-if-error"),
        How::Revalidated => format!("{name}; fwd=stale; fwd-status=304; ttl={ttl_seconds}; detail={source}"),
        How::Miss => format!("{name}; fwd=uri-miss{stored}; ttl={ttl_seconds}; detail={source}"),
        How::VariantMiss => format!("{name}; fwd=vary-miss{stored}; ttl={ttl_seconds}; detail={source}"),
        How::Replaced => format!("{name}; fwd=stale; fwd-status={status}{stored}; ttl={ttl_seconds}; detail={source}"),
        How::Passed => format!("{name}; fwd=method; fwd-status={status}{stored}; detail={source}"),
        How::Collapsed => format!("{name}; fwd=uri-miss; collapsed; ttl={ttl_seconds}; detail={source}"),
    };
    HeaderValue::from_str(&text).ok()
}

/// `Cache-Status` of a response that was made here because nothing else could be had; `why` is a token.
pub(super) fn nothing_served(name: &str, why: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{name}; fwd=miss; detail={why}")).ok()
}

/// How long this relay took, and what it did.
pub(super) fn server_timing(served: &Served, took: Duration) -> Option<HeaderValue> {
    let what = match served.how {
        How::Hit | How::StaleWhileRevalidate | How::StaleIfError => "memory",
        How::DiskHit => "disk",
        How::Revalidated => "revalidated",
        How::Miss | How::VariantMiss | How::Replaced | How::Passed | How::Collapsed => served.entry.source,
    };
    HeaderValue::from_str(&format!("weir;desc=\"{what}\";dur={:.1}", took.as_secs_f64() * 1000.0)).ok()
}

/// `Via` (RFC 9110 section 7.6.3).
pub(super) fn via(protocol: Protocol, name: &str) -> Option<HeaderValue> {
    let version = match protocol {
        Protocol::H1 => "1.1",
        Protocol::H2 => "2",
        Protocol::H3 => "3",
    };
    HeaderValue::from_str(&format!("{version} {name}")).ok()
}
