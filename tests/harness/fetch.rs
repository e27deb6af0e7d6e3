//! Requests over HTTP/1.1, HTTP/2 and HTTP/3, each on a connection of its own. Invariant: no certificate is checked here,
//! no answer is cached or retried.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::{Position, Url};
use weir_load::client::{Client, Config, Error, Get, Timeouts, Trust};

pub(crate) use weir_load::client::Protocol;

use super::wait::{PATIENCE, within};

/// Longest body accepted.
const MAX_BODY: u64 = 256 << 20;
/// All versions that an encrypted door speaks.
pub(crate) const PROTOCOLS: [Protocol; 3] = [Protocol::H1, Protocol::H2, Protocol::H3];

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// A header's value, empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A GET with its answer's bytes as they come.
pub(crate) struct Fetch<'a> {
    url: &'a Url,
    protocol: Protocol,
    headers: HeaderMap,
}

impl<'a> Fetch<'a> {
    pub(crate) fn new(url: &'a Url) -> Self {
        Self { url, protocol: Protocol::H1, headers: HeaderMap::new() }
    }

    pub(crate) fn over(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        self
    }

    /// Sends it; a broken exchange is the test's to judge.
    pub(crate) async fn attempt(self) -> Result<Reply, Error> {
        let mut body = Vec::new();
        let mut reply = self.stream(|chunk| body.extend_from_slice(&chunk)).await?;
        reply.body = body.into();
        Ok(reply)
    }

    /// Sends it; a broken exchange is a failure.
    pub(crate) async fn send(self) -> Reply {
        let what = format!("GET {} over {}", self.url, self.protocol);
        self.attempt().await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends it and passes each piece of the body on as it arrives; the reply's body stays empty.
    pub(crate) async fn stream(self, mut sink: impl FnMut(Bytes) + Send) -> Result<Reply, Error> {
        let config =
            Config { protocol: self.protocol, trust: Trust::Insecure, connect: None, timeouts: Timeouts::default() };
        let connection = Client::new(config)?.connect(self.url).await?;
        let get = Get { url: self.url, headers: &self.headers, max_body: MAX_BODY };
        let done = connection.requester().get(&get, &mut sink).await;
        connection.close().await;
        let done = done?;
        Ok(Reply { status: done.status.as_u16(), version: done.version, headers: done.headers, body: Bytes::new() })
    }
}

/// GET over HTTP/1.1.
pub(crate) async fn get(url: &Url) -> Reply {
    Fetch::new(url).send().await
}

/// Any bodiless request over plain HTTP/1.1.
pub(crate) async fn request(method: Method, url: &Url, headers: &[(&str, &str)]) -> Reply {
    let what = format!("{method} {url}");
    let exchange = async {
        let stream = TcpStream::connect(&url[Position::BeforeHost..Position::AfterPort]).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut request = http::Request::builder().method(method).uri(&url[Position::BeforePath..Position::AfterQuery]);
        request = request.header("host", &url[Position::BeforeHost..Position::AfterPort]);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sending = async {
            let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            drop(sender);
            Reply { status: head.status.as_u16(), version: head.version, headers: head.headers, body }
        };
        let (reply, ended) = tokio::join!(sending, connection);
        ended.unwrap();
        reply
    };
    within(PATIENCE, &what, exchange).await
}
