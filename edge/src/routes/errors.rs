//! The one place where failures become statuses.

use crate::negotiate::cors_headers;
use http::{HeaderName, HeaderValue, StatusCode, header};
use weir_hls::ResourceKind;
use weir_protocol::resource::ResourceError;
use weir_relay::{fetch::FetchError, http::Response, source::SourceError};

/// What a player needs at once. Measured with hls.js and Shaka: a 404 makes them take another pathway within
/// milliseconds, a 503 only after half a minute and a stall, so for these kinds every failure to serve is a 404.
pub(super) fn fails_fast(kind: ResourceKind) -> bool {
    matches!(kind, ResourceKind::Playlist | ResourceKind::Segment | ResourceKind::Subtitle)
}

fn error(status: StatusCode, text: impl Into<String>) -> Response {
    let mut response = Response::text(status, text);
    cors_headers(&mut response.headers);
    response
}

/// No response was found.
pub(super) fn not_fetched(kind: ResourceKind, why: &FetchError) -> Response {
    if fails_fast(kind) {
        return error(StatusCode::NOT_FOUND, format!("not available from this relay: {why}"));
    }
    match why {
        FetchError::NoSource(SourceError::Timeout(_) | SourceError::UpstreamTimeout(_)) => {
            error(StatusCode::GATEWAY_TIMEOUT, why.to_string())
        }
        FetchError::Nobody => error(StatusCode::NOT_FOUND, why.to_string()),
        FetchError::Overloaded => error(StatusCode::SERVICE_UNAVAILABLE, why.to_string())
            .with(header::RETRY_AFTER, HeaderValue::from_static("1")),
        FetchError::NoSource(_) | FetchError::Abandoned => error(StatusCode::BAD_GATEWAY, why.to_string()),
    }
}

/// No byte came in time.
pub(super) fn too_slow(kind: ResourceKind) -> Response {
    let status = if fails_fast(kind) { StatusCode::NOT_FOUND } else { StatusCode::GATEWAY_TIMEOUT };
    error(status, "no source sent a byte in time")
}

/// The only source broke off before its first byte.
pub(super) fn broke_off(kind: ResourceKind, why: &str) -> Response {
    let status = if fails_fast(kind) { StatusCode::NOT_FOUND } else { StatusCode::BAD_GATEWAY };
    error(status, format!("the source broke off: {why}"))
}

pub(super) fn bad_path(why: &ResourceError) -> Response {
    let status = match why {
        ResourceError::TooLong => StatusCode::URI_TOO_LONG,
        _ => StatusCode::BAD_REQUEST,
    };
    error(status, why.to_string())
}

/// What a door refuses; a player's script reads why.
pub(super) fn refused(status: StatusCode, why: &str) -> Response {
    error(status, why)
}

pub(super) fn misdirected() -> Response {
    error(
        StatusCode::MISDIRECTED_REQUEST,
        "this relay cannot tell whose content is meant: use the publisher's host name or its name as the first path component",
    )
}

pub(super) fn method_not_allowed() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD and OPTIONS are served here")
        .with(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"))
}

pub(super) fn not_found(text: &str) -> Response {
    error(StatusCode::NOT_FOUND, text)
}

pub(super) fn bad_request(text: &str) -> Response {
    error(StatusCode::BAD_REQUEST, text)
}

pub(super) fn precondition_failed() -> Response {
    error(StatusCode::PRECONDITION_FAILED, "the resource is another one than the request expects")
}

/// RFC 9110 section 15.5.17.
pub(super) fn range_not_satisfiable(content_range: HeaderValue) -> Response {
    error(StatusCode::RANGE_NOT_SATISFIABLE, "the range lies outside the resource")
        .with(header::CONTENT_RANGE, content_range)
        .with(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))
}

/// RFC 8586: the request has been here before.
pub(super) fn looped(name: &HeaderName) -> Response {
    error(StatusCode::LOOP_DETECTED, format!("this request has passed this relay already ({name})"))
}
