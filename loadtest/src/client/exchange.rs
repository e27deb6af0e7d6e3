//! One GET: what is asked, what came, and when. Owns the measuring of a body on its way to the caller.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version};
use tokio::time::Instant;
use url::{Position, Url};

use super::error::Error;
use super::protocol::Protocol;

/// A GET to send.
#[derive(Debug, Clone, Copy)]
pub struct Get<'a> {
    /// What to get; the fragment is not sent.
    pub url: &'a Url,
    /// Further request fields, such as `Range`.
    pub headers: &'a HeaderMap,
    /// Longest body accepted, in bytes.
    pub max_body: u64,
}

/// A GET in the form that a protocol wants, to be sent again and again.
#[derive(Debug, Clone)]
pub struct Prepared {
    request: Request<()>,
    pub(super) max_body: u64,
}

impl Prepared {
    /// One request.
    pub(super) fn request(&self) -> Request<()> {
        self.request.clone()
    }
}

impl Get<'_> {
    /// Origin form and `Host` for HTTP/1.1, the whole URI otherwise.
    pub(super) fn prepare(&self, protocol: Protocol) -> Result<Prepared, Error> {
        Ok(Prepared { request: request(self, protocol)?, max_body: self.max_body })
    }
}

/// A GET that was answered to the end, with any status.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The response's status.
    pub status: StatusCode,
    /// The version the response came by.
    pub version: Version,
    /// The response's header fields.
    pub headers: HeaderMap,
    /// Bytes of body.
    pub body_bytes: u64,
    /// From sending the request to the end of the response head.
    pub head: Duration,
    /// From sending the request to the first byte of the body; with an empty body the same as `total`.
    pub first_byte: Duration,
    /// From sending the request to the end of the response, the end of its stream included.
    pub total: Duration,
}

/// Measures a body and passes it on.
pub(super) struct Intake<'a> {
    started: Instant,
    head: Option<Duration>,
    first: Option<Duration>,
    bytes: u64,
    max: u64,
    sink: &'a mut (dyn FnMut(Bytes) + Send),
}

impl<'a> Intake<'a> {
    pub(super) fn new(max: u64, sink: &'a mut (dyn FnMut(Bytes) + Send)) -> Self {
        Self { started: Instant::now(), head: None, first: None, bytes: 0, max, sink }
    }

    pub(super) fn head(&mut self) {
        self.head = Some(self.started.elapsed());
    }

    pub(super) fn chunk(&mut self, chunk: Bytes) -> Result<(), Error> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.first.get_or_insert_with(|| self.started.elapsed());
        self.bytes += chunk.len() as u64;
        if self.bytes > self.max {
            return Err(Error::TooLarge(self.max));
        }
        (self.sink)(chunk);
        Ok(())
    }

    pub(super) fn end(self, status: StatusCode, version: Version, headers: HeaderMap) -> Result<Exchange, Error> {
        let total = self.started.elapsed();
        let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        if let Some(expected) = announced
            && expected != self.bytes
            && status != StatusCode::NOT_MODIFIED
        {
            return Err(Error::Length { expected, got: self.bytes });
        }
        Ok(Exchange {
            status,
            version,
            headers,
            body_bytes: self.bytes,
            head: self.head.unwrap_or(total),
            first_byte: self.first.unwrap_or(total),
            total,
        })
    }
}

fn request(get: &Get<'_>, protocol: Protocol) -> Result<Request<()>, Error> {
    let bad = || Error::Url(get.url.to_string());
    let form = match protocol {
        Protocol::H1 => &get.url[Position::BeforePath..Position::AfterQuery],
        Protocol::H2 | Protocol::H3 => &get.url[..Position::AfterQuery],
    };
    let uri: Uri = form.parse().map_err(|_| bad())?;
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("weir-load/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    match protocol {
        Protocol::H1 => {
            let host = &get.url[Position::BeforeHost..Position::AfterPort];
            headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| bad())?);
        }
        Protocol::H2 => *request.version_mut() = Version::HTTP_2,
        Protocol::H3 => *request.version_mut() = Version::HTTP_3,
    }
    request.headers_mut().extend(get.headers.clone());
    Ok(request)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn forms_follow_the_protocol() {
        let url = Url::parse("http://[::1]:81/a/b.ts?x=1#f").unwrap();
        let headers = HeaderMap::new();
        let get = Get { url: &url, headers: &headers, max_body: 1 };
        let h1 = request(&get, Protocol::H1).unwrap();
        assert_eq!(h1.uri(), "/a/b.ts?x=1");
        assert_eq!(h1.headers()[HOST], "[::1]:81");
        let h3 = request(&get, Protocol::H3).unwrap();
        assert_eq!(h3.uri(), "http://[::1]:81/a/b.ts?x=1");
        assert!(!h3.headers().contains_key(HOST));
    }

    #[test]
    fn a_body_must_match_its_length_and_bound() {
        let mut kept = Vec::new();
        let mut sink = |chunk: Bytes| kept.extend_from_slice(&chunk);
        let mut intake = Intake::new(4, &mut sink);
        intake.chunk(Bytes::from_static(b"abc")).unwrap();
        assert_eq!(intake.chunk(Bytes::from_static(b"de")).unwrap_err().class(), "too-large");
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("9"))]);
        let short = Intake::new(4, &mut sink).end(StatusCode::OK, Version::HTTP_3, headers).unwrap_err();
        assert_eq!(short.class(), "length");
        assert_eq!(kept, b"abc");
    }
}
