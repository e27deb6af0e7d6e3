//! A platform's HTTP origin as a raw source: pooled connections, redirects followed, every wait bounded.

use super::{Interim, RawRequest, RawResponse, RawSource, SourceError, fields::end_to_end};
use crate::http::Body;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use url::Url;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// Redirects followed for one request.
const MAX_REDIRECTS: usize = 5;
/// Idle connections kept for each host, and for how long: Apache httpd and Node.js close theirs after 5 s, and a request
/// that meets the end of its connection fails.
const MAX_IDLE_PER_HOST: usize = 16;
const IDLE_FOR: Duration = Duration::from_secs(4);

/// Where the origin is and how long to wait for it.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    /// Base URL, `http` or `https`; request paths are appended to its path.
    pub url: Url,
    /// Extra PEM certificates to trust, beside the system's.
    pub ca: Option<PathBuf>,
    /// This node's name in the `Via` field of its requests: a token (RFC 9110 section 5.6.2). A name of its own lets a
    /// node recognise a request that comes back to it.
    pub name: String,
    /// Limit for connecting.
    pub connect_timeout: Duration,
    /// Limit from sending a request to the response's head.
    pub head_timeout: Duration,
    /// Limit between two pieces of a body.
    pub idle_timeout: Duration,
}

impl UpstreamConfig {
    /// The defaults: named `weir`, 5 s to connect, 10 s for a head, 10 s between two pieces.
    pub fn new(url: Url) -> Self {
        let ten = Duration::from_secs(10);
        Self {
            url,
            ca: None,
            name: "weir".into(),
            connect_timeout: Duration::from_secs(5),
            head_timeout: ten,
            idle_timeout: ten,
        }
    }
}

/// Why an upstream cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Not an `http` or `https` URL with a host.
    #[error("{0} is not an http or https URL")]
    Url(Url),
    /// The extra certificates cannot be read.
    #[error("cannot read certificates from {0}: {1}")]
    Ca(PathBuf, String),
    /// Neither the system nor `ca` offers a certificate to trust.
    #[error("no trusted certificates found for an https upstream: install the system's CA certificates or name a file")]
    NoRoots,
}

/// An HTTP origin.
#[derive(Clone)]
pub struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    config: UpstreamConfig,
}

impl Upstream {
    /// Prepares a client; nothing is sent yet.
    pub fn new(config: UpstreamConfig) -> Result<Self, UpstreamError> {
        if !matches!(config.url.scheme(), "http" | "https") || !config.url.has_host() {
            return Err(UpstreamError::Url(config.url));
        }
        let mut roots = rustls::RootCertStore::empty();
        for certificate in rustls_native_certs::load_native_certs().certs {
            // A system store may hold certificates that webpki cannot use; the others still count.
            let _ = roots.add(certificate);
        }
        if let Some(path) = &config.ca {
            let failed = |error: String| UpstreamError::Ca(path.clone(), error);
            let found = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| failed(error.to_string()))?;
                roots.add(certificate).map_err(|error| failed(error.to_string()))?;
            }
        }
        if roots.is_empty() && config.url.scheme() == "https" {
            return Err(UpstreamError::NoRoots);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(config.connect_timeout));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .build(connector);
        Ok(Self { client, config })
    }

    /// The same client for another base URL.
    ///
    /// # Errors
    /// [`UpstreamError::Url`].
    pub fn at(&self, url: Url) -> Result<Self, UpstreamError> {
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(UpstreamError::Url(url));
        }
        Ok(Self { client: self.client.clone(), config: UpstreamConfig { url, ..self.config.clone() } })
    }

    fn target(&self, path_and_query: &str) -> Result<Uri, SourceError> {
        let base = self.config.url.as_str().split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        format!("{base}{path_and_query}")
            .parse()
            .map_err(|error| SourceError::BadResponse(format!("not a URL the origin could have: {error}")))
    }

    async fn get(&self, request: &RawRequest) -> Result<RawResponse, SourceError> {
        let mut uri = self.target(&request.path_and_query)?;
        if request.asked.is_passed() {
            // Where a redirect of anything but a GET leads is the requester's decision.
            return Ok(self.body(self.send(&uri, request).await?));
        }
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&uri, request).await?;
            match redirect(&uri, &response)? {
                Some(next) => uri = next,
                None => return Ok(self.body(response)),
            }
        }
        Err(SourceError::BadResponse(format!("more than {MAX_REDIRECTS} redirects")))
    }

    async fn send(&self, uri: &Uri, request: &RawRequest) -> Result<http::Response<Incoming>, SourceError> {
        let held = request.asked.hold.map_or(Duration::ZERO, |hold| hold.patience);
        let patience = self.config.head_timeout.max(held);
        let deadline = Instant::now() + patience;
        let mut again = !request.asked.is_passed();
        loop {
            let built = self.request(uri, request)?;
            match timeout_at(deadline, self.client.request(built)).await {
                Ok(Ok(response)) => return Ok(response),
                // The origin has closed an idle connection while the request was on its way (RFC 9112 section 9.3.1).
                Ok(Err(error)) if !error.is_connect() && std::mem::take(&mut again) => {
                    tracing::debug!(error = chain(&error), "asking the origin again");
                }
                Ok(Err(error)) => return Err(SourceError::Unreachable(chain(&error))),
                Err(_) => return Err(SourceError::Timeout(format!("no answer in {patience:?}"))),
            }
        }
    }

    fn request(&self, uri: &Uri, request: &RawRequest) -> Result<Request<Body>, SourceError> {
        let body = request.asked.take_body().unwrap_or_else(Body::empty);
        let mut built = Request::builder()
            .method(request.asked.method.clone())
            .uri(uri)
            .body(body)
            .map_err(|error| SourceError::BadResponse(error.to_string()))?;
        *built.headers_mut() = self.fields(request);
        if let Some(listener) = request.asked.interim.clone() {
            hyper::ext::on_informational(&mut built, move |said| {
                // 100 and 101 are about this connection.
                if said.status().as_u16() > 101 {
                    listener(Interim { status: said.status(), headers: end_to_end(said.headers()), signed: None });
                }
            });
        }
        Ok(built)
    }

    /// The request's fields: the requester's that go on, and our own.
    fn fields(&self, request: &RawRequest) -> HeaderMap {
        let mut fields: HeaderMap = request.asked.onward().map(|(name, value)| (name.clone(), value.clone())).collect();
        // Playlists are read and everything is signed as it is, so nothing is asked for in a coding.
        fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        fields
            .entry(header::USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION"))));
        // RFC 8586: a request that comes back to a relay is recognised. RFC 9110 section 7.6.3: a gateway must name
        // itself in what it sends inwards.
        append(&mut fields, CDN_LOOP, &format!("weir; node={}", self.config.name));
        append(&mut fields, header::VIA, &format!("1.1 {}", self.config.name));
        let validators = request.validators.clone().unwrap_or_default();
        let (range, if_range) = request.range.clone().unzip();
        let own = [
            (header::IF_NONE_MATCH, validators.etag),
            (header::IF_MODIFIED_SINCE, validators.last_modified),
            (header::RANGE, range),
            (header::IF_RANGE, if_range.flatten()),
        ];
        for (name, value) in own {
            if let Some(value) = value.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
                fields.insert(name, value);
            }
        }
        fields
    }

    fn body(&self, response: http::Response<Incoming>) -> RawResponse {
        let idle = self.config.idle_timeout;
        let (parts, body) = response.into_parts();
        let length = http_body::Body::size_hint(&body).exact();
        let pieces = stream::try_unfold(body, move |mut body| async move {
            loop {
                let frame = tokio::time::timeout(idle, body.frame())
                    .await
                    .map_err(|_| SourceError::Timeout(format!("the body stood still for {idle:?}")))?;
                match frame {
                    None => return Ok(None),
                    Some(Err(error)) => return Err(SourceError::Unreachable(chain(&error))),
                    // Trailers are not part of a stored response.
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Ok(Some((data, body)));
                        }
                    }
                }
            }
        });
        RawResponse { status: parts.status, headers: parts.headers, length, body: pieces.boxed() }
    }
}

/// Adds a member to a list field, behind those that are there.
fn append(fields: &mut HeaderMap, name: HeaderName, member: &str) {
    let mut members: Vec<&str> = fields.get_all(&name).iter().filter_map(|line| line.to_str().ok()).collect();
    members.push(member);
    if let Ok(value) = HeaderValue::from_str(&members.join(", ")) {
        fields.insert(name, value);
    }
}

/// Where a redirect leads; `None` when it is none. An https origin may not send us to plain http.
fn redirect(from: &Uri, response: &http::Response<Incoming>) -> Result<Option<Uri>, SourceError> {
    let follows = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = response.headers().get(header::LOCATION).filter(|_| follows) else { return Ok(None) };
    let bad = |text: String| SourceError::BadResponse(format!("bad redirect: {text}"));
    let base = Url::parse(&from.to_string()).map_err(|error| bad(error.to_string()))?;
    let text = location.to_str().map_err(|error| bad(error.to_string()))?;
    let next = base.join(text).map_err(|error| bad(error.to_string()))?;
    if next.scheme() != "https" && !(next.scheme() == "http" && base.scheme() == "http") {
        return Err(bad(format!("from {} to {}", base.scheme(), next.scheme())));
    }
    next.as_str().parse().map(Some).map_err(|error: http::uri::InvalidUri| bad(error.to_string()))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

impl RawSource for Upstream {
    fn fetch<'a>(&'a self, request: &'a RawRequest) -> BoxFuture<'a, Result<RawResponse, SourceError>> {
        self.get(request).boxed()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::source::Asked;
    use http::Method;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    async fn request(stream: &mut TcpStream) {
        let mut read = Vec::new();
        while !read.windows(4).any(|end| end == b"\r\n\r\n") {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "a whole request");
        }
    }

    /// Answers one request on each connection, and reads the next one before it closes: too late to be told apart from
    /// one that was done.
    async fn hasty(listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            tokio::spawn(async move { request(&mut stream).await });
        }
    }

    #[tokio::test]
    async fn a_request_that_meets_the_end_of_its_connection_is_sent_again_unless_it_changes_something() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let serving = tokio::spawn(hasty(listener));
        let upstream = Upstream::new(UpstreamConfig::new(url)).unwrap();
        let get = async || {
            let response = upstream.fetch(&RawRequest { path_and_query: "/a".into(), ..RawRequest::default() }).await?;
            let pieces: Vec<_> = response.body.collect().await;
            assert_eq!(pieces.into_iter().flatten().collect::<Vec<_>>(), ["ok"]);
            Ok::<_, SourceError>(())
        };
        for _ in 0..4 {
            get().await.unwrap();
        }
        let asked = Arc::new(Asked::pass(Method::POST, HeaderMap::new(), Body::full("x")));
        let passed = RawRequest { path_and_query: "/a".into(), asked, ..RawRequest::default() };
        assert!(
            matches!(upstream.fetch(&passed).await, Err(SourceError::Unreachable(_))),
            "nobody knows whether it was done"
        );
        serving.abort();
    }
}
