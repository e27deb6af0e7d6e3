//! Cross-origin headers (Fetch standard, Resource Timing). Content is public or carries its own token, and no
//! credentials are used, so every origin is let in.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    },
};
use weir_relay::http::Response;

/// What scripts may read of a response. Every name stands alone: browsers take no wildcard inside a list.
pub const EXPOSED_HEADERS: &str = "Age, Cache-Status, CMSD-Static, CMSD-Dynamic, Content-Length, Content-Range, \
     Repr-Digest, Retry-After, Server-Timing, Signature, Signature-Input, Weir-Record";
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");
const METHODS: &str = "GET, HEAD, OPTIONS, POST";
const REQUEST_HEADERS: &str = "Range, If-Range, If-None-Match, If-Modified-Since, If-Match, If-Unmodified-Since, \
     Accept, Content-Type, Authorization, Priority, CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status";
/// Seconds a browser may remember a preflight; Chromium caps it lower by itself.
const PREFLIGHT_MAX_AGE: &str = "86400";

/// Adds what every response needs so that a player on another origin can read it and see its timing.
pub fn cors_headers(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    headers.insert(TIMING_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

/// Answers an OPTIONS request: 204 with what is allowed.
pub fn preflight() -> Response {
    let mut response = Response::new(StatusCode::NO_CONTENT)
        .with(http::header::ALLOW, HeaderValue::from_static(METHODS))
        .with(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS))
        .with(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS))
        .with(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE));
    cors_headers(&mut response.headers);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_each_header_and_allows_what_players_send() {
        let response = preflight();
        assert_eq!(response.status, StatusCode::NO_CONTENT);
        assert_eq!(response.headers[ACCESS_CONTROL_ALLOW_METHODS], "GET, HEAD, OPTIONS, POST");
        assert_eq!(response.headers[ACCESS_CONTROL_MAX_AGE], "86400");
        let allowed = response.headers[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap_or_default();
        for name in ["Range", "CMCD-Object", "CMCD-Request", "CMCD-Session", "CMCD-Status"] {
            assert!(allowed.split(", ").any(|have| have == name), "{name}");
        }
        let exposed: Vec<&str> = EXPOSED_HEADERS.split(", ").collect();
        assert_eq!((exposed.len(), exposed[0], exposed[11]), (12, "Age", "Weir-Record"));
        assert!(exposed.iter().all(|name| HeaderName::try_from(*name).is_ok()));
        assert_eq!(response.headers[TIMING_ALLOW_ORIGIN], "*");
    }
}
