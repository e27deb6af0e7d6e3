//! One client for all HTTP versions.

use crate::site::{Open, within};
use bytes::{Buf, Bytes};
use h3::client::SendRequest as H3Sender;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use weir_edge::tls::TlsMaterial;

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    H1Plain,
    H1,
    H2Plain,
    H2,
    H3,
}

pub(crate) const WAYS: [Way; 5] = [Way::H1Plain, Way::H1, Way::H2Plain, Way::H2, Way::H3];

enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
    H3(
        H3Sender<h3_quinn::OpenStreams, Bytes>,
        quinn::Connection,
        #[expect(dead_code, reason = "must live")] quinn::Endpoint,
    ),
}

/// One open connection.
pub(crate) struct Client {
    sender: Sender,
    authority: String,
    tasks: JoinSet<()>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Why the body was cut off, when it was.
    pub(crate) cut: Option<String>,
}

pub(crate) fn tls_config(material: &TlsMaterial, alpn: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(material.certificate_der().to_vec())).expect("a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

pub(crate) async fn tls(open: &Open, material: &TlsMaterial, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(open.tls).await?;
    let name = "localhost".try_into().expect("a name");
    TlsConnector::from(Arc::new(tls_config(material, alpn))).connect(name, stream).await
}

pub(crate) async fn quic(open: &Open) -> Result<(quinn::Endpoint, quinn::Connection), quinn::ConnectionError> {
    quic_with(open, quinn::TransportConfig::default()).await
}

pub(crate) async fn quic_with(
    open: &Open,
    transport: quinn::TransportConfig,
) -> Result<(quinn::Endpoint, quinn::Connection), quinn::ConnectionError> {
    let config = QuicClientConfig::try_from(tls_config(&open.material, b"h3")).expect("TLS 1.3");
    let mut endpoint = quinn::Endpoint::client(SocketAddr::new(open.tls.ip(), 0)).expect("a socket");
    let mut config = quinn::ClientConfig::new(Arc::new(config));
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    let connection = endpoint.connect(open.tls, "localhost").expect("a connection").await?;
    Ok((endpoint, connection))
}

impl Client {
    pub(crate) async fn open(open: &Open, way: Way) -> Self {
        within(Self::try_open(open, way)).await.expect("a connection")
    }

    pub(crate) async fn try_open(open: &Open, way: Way) -> Result<Self, String> {
        let mut tasks = JoinSet::new();
        let text = |error: std::io::Error| error.to_string();
        let sender = match way {
            Way::H1Plain => h1(TcpStream::connect(open.plain).await.map_err(text)?, &mut tasks).await?,
            Way::H1 => h1(tls(open, &open.material, b"http/1.1").await.map_err(text)?, &mut tasks).await?,
            Way::H2Plain => h2(TcpStream::connect(open.plain).await.map_err(text)?, &mut tasks).await?,
            Way::H2 => h2(tls(open, &open.material, b"h2").await.map_err(text)?, &mut tasks).await?,
            Way::H3 => {
                let (endpoint, connection) = quic(open).await.map_err(|error| error.to_string())?;
                let port = h3_quinn::Connection::new(connection.clone());
                let (mut driver, sender) =
                    h3::client::builder().send_grease(false).build(port).await.map_err(|error| error.to_string())?;
                tasks.spawn(async move {
                    std::future::poll_fn(|cx| driver.poll_close(cx)).await;
                });
                Sender::H3(sender, connection, endpoint)
            }
        };
        Ok(Self { sender, authority: "localhost".into(), tasks })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Bytes::new()).await.expect("an answer")
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply, String> {
        within(self.exchange(method, path, fields, body)).await
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply, String> {
        let origin_form = matches!(self.sender, Sender::H1(_));
        let uri = if origin_form { path.to_owned() } else { format!("https://{}{path}", self.authority) };
        let mut request = Request::builder().method(method).uri(uri);
        if origin_form {
            request = request.header("host", &self.authority);
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let response = match &mut self.sender {
            Sender::H1(sender) => {
                sender.send_request(request.body(Full::new(body)).expect("a request")).await.map_err(debug)?
            }
            Sender::H2(sender) => {
                sender.send_request(request.body(Full::new(body)).expect("a request")).await.map_err(debug)?
            }
            Sender::H3(sender, ..) => return h3(sender, request.body(()).expect("a request"), body).await,
        };
        let (parts, mut incoming) = response.into_parts();
        let mut reply = Reply { status: parts.status, headers: parts.headers, body: Vec::new(), cut: None };
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => reply.body.extend_from_slice(frame.data_ref().expect("no trailers")),
                Err(error) => {
                    reply.cut = Some(format!("{error:?}"));
                    break;
                }
            }
        }
        Ok(reply)
    }

    /// Begins a GET and gives it up once `begun` completes, in the way of each version: HTTP/1.1 hangs up, the others
    /// cancel the stream and keep the connection.
    pub(crate) async fn abandon(&mut self, path: &str, begun: impl Future<Output = ()>) {
        if let Sender::H3(sender, ..) = &mut self.sender {
            let uri = format!("https://{}{path}", self.authority);
            let mut stream = sender.send_request(Request::get(uri).body(()).expect("a request")).await.expect("sent");
            stream.finish().await.expect("sent");
            begun.await;
            stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
            return;
        }
        let exchange = self.exchange(Method::GET, path, &[], Bytes::new());
        tokio::select! {
            reply = exchange => panic!("answered {reply:?}"),
            () = begun => {}
        }
        if matches!(self.sender, Sender::H1(_)) {
            self.tasks.shutdown().await;
        }
    }

    /// The QUIC connection of an HTTP/3 client.
    pub(crate) fn quic(&self) -> &quinn::Connection {
        match &self.sender {
            Sender::H3(_, connection, _) => connection,
            _ => panic!("not HTTP/3"),
        }
    }
}

/// hyper's display form hides the code.
fn debug(error: hyper::Error) -> String {
    format!("{error:?}")
}

async fn h1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    tasks: &mut JoinSet<()>,
) -> Result<Sender, String> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tasks.spawn(async move {
        let _ = connection.await;
    });
    Ok(Sender::H1(sender))
}

async fn h2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    tasks: &mut JoinSet<()>,
) -> Result<Sender, String> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(1024 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tasks.spawn(async move {
        let _ = connection.await;
    });
    Ok(Sender::H2(sender))
}

async fn h3(
    sender: &mut H3Sender<h3_quinn::OpenStreams, Bytes>,
    request: Request<()>,
    body: Bytes,
) -> Result<Reply, String> {
    let text = |error: h3::error::StreamError| error.to_string();
    let mut stream = sender.send_request(request).await.map_err(text)?;
    if !body.is_empty() {
        // The server may answer before it has read everything.
        let _ = stream.send_data(body).await;
    }
    let _ = stream.finish().await;
    let (parts, ()) = stream.recv_response().await.map_err(text)?.into_parts();
    let mut reply = Reply { status: parts.status, headers: parts.headers, body: Vec::new(), cut: None };
    loop {
        match stream.recv_data().await {
            Ok(Some(mut piece)) => reply.body.extend_from_slice(&piece.copy_to_bytes(piece.remaining())),
            Ok(None) => return Ok(reply),
            Err(error) => {
                reply.cut = Some(format!("{error:?}"));
                return Ok(reply);
            }
        }
    }
}
