//! The one place where failures become statuses.

use crate::{negotiate::cors_headers, tokens::NotAdmitted};
use http::{HeaderName, HeaderValue, StatusCode, header};
use std::time::Duration;
use weir_hls::ResourceKind;
use weir_protocol::resource::ResourceError;
use weir_relay::{access::Withheld, fetch::FetchError, http::Response, source::SourceError};

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
    if let FetchError::Withheld(why) = why {
        return withheld(*why);
    }
    if fails_fast(kind) {
        return error(StatusCode::NOT_FOUND, format!("not available from this relay: {why}"));
    }
    match why {
        FetchError::NoSource(SourceError::Timeout(_) | SourceError::UpstreamTimeout(_)) => {
            error(StatusCode::GATEWAY_TIMEOUT, why.to_string())
        }
        FetchError::Nobody | FetchError::Withheld(_) => error(StatusCode::NOT_FOUND, why.to_string()),
        FetchError::Overloaded => error(StatusCode::SERVICE_UNAVAILABLE, why.to_string())
            .with(header::RETRY_AFTER, HeaderValue::from_static("1")),
        FetchError::NoSource(_) | FetchError::Abandoned => error(StatusCode::BAD_GATEWAY, why.to_string()),
    }
}

/// 410 for what the publisher has withdrawn everywhere (RFC 9110 section 15.5.11); 451 for what only this relay may not
/// or will not serve (RFC 7725), since another one may have it; 404 for what it was never granted.
fn withheld(why: Withheld) -> Response {
    let status = match why {
        Withheld::TakenDown => StatusCode::GONE,
        Withheld::Blocked => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
        Withheld::NotGranted => StatusCode::NOT_FOUND,
    };
    error(status, format!("not available from this relay: {why}"))
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

/// Of our own paths.
pub(super) fn method_not_allowed() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD and OPTIONS are served here")
        .with(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"))
}

/// Of the path that takes reports.
pub(super) fn reports_only() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "POST reports here")
        .with(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"))
}

pub(super) fn not_found(text: &str) -> Response {
    error(StatusCode::NOT_FOUND, text)
}

pub(super) fn bad_request(text: &str) -> Response {
    error(StatusCode::BAD_REQUEST, text)
}

/// A live playlist that should have advanced has not (draft-pantos-hls-rfc8216bis section 6.2.5.2).
pub(super) fn not_advanced(retry_after: Duration) -> Response {
    let seconds = retry_after.as_secs().max(1);
    error(StatusCode::SERVICE_UNAVAILABLE, "the playlist has not come to what the request waits for")
        .with(header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// Something else than an error, to a script.
pub(super) fn said(status: StatusCode, text: &str) -> Response {
    error(status, text)
}

pub(super) fn forbidden(text: &str) -> Response {
    error(StatusCode::FORBIDDEN, text)
}

/// RFC 6750 section 3.1: 401 where another token would help, 403 where this one says no.
pub(super) fn not_admitted(why: NotAdmitted) -> Response {
    let unauthorized = |text: String, challenge: &'static str| {
        error(StatusCode::UNAUTHORIZED, text).with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    };
    match why {
        NotAdmitted::Missing => unauthorized(
            "this publisher wants a session token: the query parameter weir_token, or a Bearer token".into(),
            "Bearer",
        ),
        NotAdmitted::Invalid(why) => unauthorized(why.to_string(), "Bearer error=\"invalid_token\""),
        NotAdmitted::Foreign => {
            unauthorized("the token is another publisher's".into(), "Bearer error=\"invalid_token\"")
        }
        NotAdmitted::OutsidePrefix => forbidden("the token is not for this path"),
        NotAdmitted::NotAssigned => forbidden("the token assigns this session to other relays"),
        NotAdmitted::TooMany => error(StatusCode::SERVICE_UNAVAILABLE, "this relay has no room for another session")
            .with(header::RETRY_AFTER, HeaderValue::from_static("5")),
    }
}

/// The token's `max_bytes` are used up.
pub(super) fn exhausted() -> Response {
    forbidden("the token allows no more bytes")
}

pub(super) fn precondition_failed() -> Response {
    error(StatusCode::PRECONDITION_FAILED, "the resource is another one than the request expects")
}

/// RFC 9111 section 5.2.1.7.
pub(super) fn only_if_cached() -> Response {
    error(StatusCode::GATEWAY_TIMEOUT, "nothing is held that answers this request, and it wants nobody asked")
}

/// The token that says in `Cache-Status` why nothing was served.
pub(super) fn label(why: &FetchError) -> &'static str {
    match why {
        FetchError::NoSource(error) => error.label(),
        FetchError::Nobody => "nobody",
        FetchError::Overloaded => "overloaded",
        FetchError::Abandoned => "abandoned",
        FetchError::Withheld(_) => "withheld",
    }
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
