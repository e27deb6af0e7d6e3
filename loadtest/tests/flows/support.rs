//! Small servers for the tests of this crate: one handler, answered over HTTP/1.1, HTTP/2 or HTTP/3 on loopback.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use url::Url;
use weir_load::client::{Protocol, Timeouts, Trust};

/// An answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// Announce the whole body and break off after so many bytes.
    pub(crate) cut: Option<usize>,
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Bytes>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn head(&self) -> http::response::Builder {
        let mut head = Response::builder().status(self.status).header("content-length", self.body.len());
        for (name, value) in &self.headers {
            head = head.header(*name, value);
        }
        head
    }
}

/// Takes path with query, and request fields.
pub(crate) type Handler = Arc<dyn Fn(String, HeaderMap) -> BoxFuture<'static, Reply> + Send + Sync>;

/// A handler that answers at once.
pub(crate) fn at_once(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Handler {
    Arc::new(move |path, _| {
        let reply = answer(&path);
        Box::pin(async move { reply })
    })
}

/// A certificate for localhost and 127.0.0.1.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    der: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "video.test".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Self { pem: made.cert.pem(), der: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }

    pub(crate) fn write(&self, directory: &Path) -> Trust {
        let file = directory.join("ca.pem");
        std::fs::write(&file, &self.pem).unwrap();
        Trust::SystemAnd(file)
    }

    fn config(&self, alpn: &[&[u8]]) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }
}

/// A server on loopback; it ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    connections: Arc<AtomicU64>,
    cancel: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// HTTP/1.1 and HTTP/2, plain or TLS.
    pub(crate) async fn tcp(certificate: Option<&Certificate>, handler: Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = certificate.map(|certificate| TlsAcceptor::from(Arc::new(certificate.config(&[b"h2", b"http/1.1"]))));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut server = Self::new(address, scheme);
        let (cancel, connections) = (server.cancel.clone(), Arc::clone(&server.connections));
        server.task = Some(tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            while let Some(accepted) = cancel.run_until_cancelled(listener.accept()).await {
                let (stream, _) = accepted.unwrap();
                connections.fetch_add(1, Ordering::Relaxed);
                let (tls, handler) = (tls.clone(), Arc::clone(&handler));
                tasks.spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                speak(stream, handler).await;
                            }
                        }
                        None => speak(stream, handler).await,
                    }
                });
            }
        }));
        server
    }

    /// HTTP/3.
    pub(crate) fn quic(certificate: &Certificate, handler: Handler) -> Self {
        let crypto = QuicServerConfig::try_from(certificate.config(&[b"h3"])).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let mut server = Self::new(endpoint.local_addr().unwrap(), "https");
        let (cancel, connections) = (server.cancel.clone(), Arc::clone(&server.connections));
        server.task = Some(tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            while let Some(Some(incoming)) = cancel.run_until_cancelled(endpoint.accept()).await {
                connections.fetch_add(1, Ordering::Relaxed);
                tasks.spawn(serve_h3(incoming, Arc::clone(&handler)));
            }
            endpoint.close(0u8.into(), b"");
        }));
        server
    }

    fn new(address: SocketAddr, scheme: &'static str) -> Self {
        let cancel = CancellationToken::new();
        Self { address, scheme, connections: Arc::default(), cancel, task: None }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("{}://{}{path}", self.scheme, self.address)).unwrap()
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Ends the server and everything it serves.
    pub(crate) async fn stop(mut self) {
        self.cancel.cancel();
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn speak<S>(stream: S, handler: Handler)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let handler = Arc::clone(&handler);
        async move {
            let path = request.uri().path_and_query().unwrap().to_string();
            let reply = handler(path, request.headers().clone()).await;
            reply.head().body(body(&reply)).map_err(io::Error::other)
        }
    });
    // A client that goes away is no concern of the server.
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn body(reply: &Reply) -> BoxBody<Bytes, io::Error> {
    match reply.cut {
        None => Full::new(reply.body.clone()).map_err(|never| match never {}).boxed(),
        Some(cut) => {
            let frames = [Ok(Frame::data(reply.body.slice(..cut))), Err(io::Error::other("cut"))];
            BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
        }
    }
}

async fn serve_h3(incoming: quinn::Incoming, handler: Handler) {
    let Ok(connection) = incoming.await else { return };
    let Ok(mut h3) = h3::server::Connection::<_, Bytes>::new(h3_quinn::Connection::new(connection)).await else {
        return;
    };
    let mut tasks = JoinSet::new();
    while let Ok(Some(resolver)) = h3.accept().await {
        let handler = Arc::clone(&handler);
        tasks.spawn(async move {
            let Ok((request, mut stream)) = resolver.resolve_request().await else {
                return;
            };
            let path = request.uri().path_and_query().unwrap().to_string();
            let reply = handler(path, request.headers().clone()).await;
            let sent = async {
                stream.send_response(reply.head().body(()).unwrap()).await?;
                match reply.cut {
                    None => {
                        stream.send_data(reply.body).await?;
                        stream.finish().await
                    }
                    Some(cut) => {
                        stream.send_data(reply.body.slice(..cut)).await?;
                        stream.stop_stream(h3::error::Code::H3_INTERNAL_ERROR);
                        Ok(())
                    }
                }
            };
            // A client that goes away is no concern of the server.
            let _ = sent.await;
        });
    }
}

/// A client's configuration with short waits.
pub(crate) fn client(protocol: Protocol, trust: Trust) -> weir_load::client::Config {
    let wait = Duration::from_secs(10);
    let timeouts = Timeouts { connect: wait, head: wait, body_idle: wait, total: wait };
    weir_load::client::Config { protocol, trust, connect: None, timeouts }
}
