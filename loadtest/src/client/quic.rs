//! HTTP/3 over quinn. Each connection has its own UDP socket: a server that spreads by source address sees as many
//! clients as there are connections.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use http::Version;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Endpoint, EndpointConfig, TokioRuntime, TransportConfig, VarInt};
use tokio::time::timeout;

use super::connection::{Connection, Sender, Tasks};
use super::exchange::{Exchange, Get, Intake, request};
use super::tls::Tls;
use super::{Error, Protocol, Stage, Timeouts};
use crate::sockets;

/// Flow-control windows, in bytes: wide enough that the measuring client never holds a server back.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Silence after which a connection is given up.
const IDLE: Duration = Duration::from_secs(30);
/// Longest response head accepted, as RFC 9114 section 4.2.2 counts it.
const MAX_HEAD: u64 = 64 << 10;

pub(super) type SendRequest = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

/// The QUIC connection below an HTTP/3 connection, and its socket.
#[derive(Debug)]
pub(super) struct Transport {
    connection: quinn::Connection,
    endpoint: Endpoint,
}

impl Transport {
    /// Says good-bye and waits, at most so long, until it is sent.
    pub(super) async fn close(self, wait: Duration) {
        let code = VarInt::from_u64(Code::H3_NO_ERROR.value()).unwrap_or_default();
        self.connection.close(code, b"");
        if timeout(wait, self.endpoint.wait_idle()).await.is_err() {
            tracing::debug!("a QUIC endpoint outlived its close");
        }
    }
}

/// Connects to the first address that answers, each with an equal share of the time for connecting.
pub(super) async fn open(
    addresses: &[SocketAddr],
    tls: &Tls,
    name: &str,
    timeouts: Timeouts,
) -> Result<Connection, Error> {
    let share = timeouts.connect / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = Error::Closed;
    for &address in addresses {
        match timeout(share, open_one(address, tls, name, timeouts)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = error,
            Err(_) => last = Error::Timeout(Stage::Connect),
        }
    }
    Err(last)
}

async fn open_one(address: SocketAddr, tls: &Tls, name: &str, timeouts: Timeouts) -> Result<Connection, Error> {
    let connect = |source| Error::Connect { address, source };
    let socket = sockets::udp(sockets::any_for(address)).map_err(connect)?;
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime)).map_err(connect)?;
    let crypto = QuicClientConfig::try_from(tls.config()).map_err(|error| Error::handshake(&error))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    let connection = endpoint
        .connect_with(config, address, name)
        .map_err(|error| Error::handshake(&error))?
        .await
        .map_err(|error| Error::handshake(&error))?;
    let (mut h3, sender) = h3::client::builder()
        .max_field_section_size(MAX_HEAD)
        // A measuring client sends what a browser's server would be asked for, and nothing else.
        .send_grease(false)
        .build(h3_quinn::Connection::new(connection.clone()))
        .await
        .map_err(|error| Error::handshake(&error))?;
    let driver = tokio::spawn(async move {
        let end = poll_fn(|cx| h3.poll_close(cx)).await;
        tracing::debug!(%end, "connection ended");
    });
    let transport = Transport { connection, endpoint };
    Ok(Connection::new(
        Sender::H3(sender),
        timeouts,
        driver,
        Tasks::default(),
        Some(transport),
    ))
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .max_idle_timeout(IDLE.try_into().ok())
        .initial_mtu(1452);
    transport
}

/// One GET on its own stream, read to the stream's FIN: a stream dropped before it tells the server that the client
/// went away.
pub(super) async fn get(
    mut sender: SendRequest,
    get: &Get<'_>,
    sink: &mut (dyn FnMut(Bytes) + Send),
    timeouts: Timeouts,
) -> Result<Exchange, Error> {
    let request = request(get, Protocol::H3)?;
    let mut intake = Intake::new(get.max_body, sink);
    let head = async {
        let mut stream = sender.send_request(request).await.map_err(|error| not_sent(&error))?;
        stream.finish().await.map_err(|error| Error::broken(&error))?;
        let response = stream.recv_response().await.map_err(|error| Error::broken(&error))?;
        Ok((stream, response))
    };
    let (mut stream, response) = timeout(timeouts.head, head)
        .await
        .map_err(|_| Error::Timeout(Stage::Head))??;
    intake.head();
    loop {
        let chunk = timeout(timeouts.body_idle, stream.recv_data())
            .await
            .map_err(|_| Error::Timeout(Stage::Body))?;
        match chunk.map_err(|error| Error::broken(&error))? {
            Some(mut chunk) => intake.chunk(chunk.copy_to_bytes(chunk.remaining()))?,
            None => break,
        }
    }
    timeout(timeouts.body_idle, stream.recv_trailers())
        .await
        .map_err(|_| Error::Timeout(Stage::Body))?
        .map_err(|error| Error::broken(&error))?;
    let (parts, ()) = response.into_parts();
    intake.end(parts.status, Version::HTTP_3, parts.headers)
}

fn not_sent(error: &StreamError) -> Error {
    match error {
        StreamError::ConnectionError { .. } | StreamError::RemoteClosing { .. } => Error::Closed,
        other => Error::broken(other),
    }
}
