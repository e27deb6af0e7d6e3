//! The fields of responses: which travel on, and what is read from them.

use super::asked::connection_options;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::time::{Duration, UNIX_EPOCH};
use weir_protocol::time::UnixMillis;

pub(super) fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(super) fn strong_etag(headers: &HeaderMap) -> Option<&str> {
    header_text(headers, &header::ETAG).filter(|tag| tag.starts_with('"'))
}

/// RFC 9110 section 6.6.1: a response without `Date` gets the time it was received.
pub(super) fn stamp(headers: &mut HeaderMap, received: UnixMillis) {
    if headers.contains_key(header::DATE) {
        return;
    }
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(received.0));
    if let Ok(date) = HeaderValue::try_from(date) {
        headers.insert(header::DATE, date);
    }
}

/// Fields that do not travel end to end (RFC 9110 section 7.6.1), that describe one message's framing, or that each
/// hop computes anew.
const NOT_END_TO_END: [&str; 15] = [
    "age",
    "alt-svc",
    "cache-status",
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// The fields of a response that travel on.
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named = connection_options(headers);
    let keep = |name: &HeaderName| {
        !NOT_END_TO_END.contains(&name.as_str()) && !named.iter().any(|other| other == name.as_str())
    };
    headers.iter().filter(|(name, _)| keep(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
