//! One HTTP request as a door hands it in, and one response as a route hands it back.

use super::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use std::sync::Arc;

/// Sends the client an interim response (RFC 9110 section 15.2), status 102 to 199, before the final one.
pub type InterimSender = Arc<dyn Fn(StatusCode, HeaderMap) + Send + Sync>;

/// The HTTP version a door speaks with the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1 (RFC 9112).
    H1,
    /// HTTP/2 (RFC 9113).
    H2,
    /// HTTP/3 (RFC 9114).
    H3,
}

impl Protocol {
    /// The label used in metrics and logs: `h1`, `h2` or `h3`.
    pub fn label(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::H3 => "h3",
        }
    }
}

/// What a door has measured of the way to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// To the client and back.
    pub round_trip: std::time::Duration,
    /// What the congestion controller lets through, in kbit/s, once it has found out.
    pub kbit_per_second: Option<u64>,
}

/// One request. `uri` is in origin form (path and query); the authority stands apart because each HTTP version
/// carries it elsewhere (`Host` in HTTP/1.1, `:authority` later).
pub struct Request {
    /// Request method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// Host and optional port the client asked for, when it sent one.
    pub authority: Option<String>,
    /// Header fields; for HTTP/1.1 hop-by-hop fields are still present.
    pub headers: HeaderMap,
    /// What the door speaks.
    pub protocol: Protocol,
    /// True when the client's connection is encrypted.
    pub secure: bool,
    /// The body; empty for GET and HEAD.
    pub body: Body,
    /// Present when the door can carry interim responses to this client.
    pub interim: Option<InterimSender>,
    /// The way to the client, where the door can measure it.
    pub link: Option<Link>,
}

/// One response. Framing (Content-Length, Transfer-Encoding, Date) is the door's business: it takes the length from
/// [`Body::length`]; a route sets `content-length` itself only when it answers HEAD.
pub struct Response {
    /// Status code.
    pub status: StatusCode,
    /// Header fields, end-to-end only.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl Response {
    /// An empty response with this status.
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Body::empty() }
    }

    /// A short plain-text response that must not be stored, for errors.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        text.push('\n');
        Self::new(status)
            .with(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))
            .with(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
            .body(Body::full(text))
    }

    /// Sets a header field, replacing an earlier one.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}
