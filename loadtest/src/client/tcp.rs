//! HTTP/1.1 and HTTP/2 over TCP, plain or TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use super::config::Timeouts;
use super::connection::{Connection, Sender, Tasks};
use super::error::Error;
use super::protocol::Protocol;
use super::tls::Tls;

/// HTTP/2 flow-control windows, in bytes: about a browser's, so that a server is never limited by the measuring client.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Connects to the first address that answers.
pub(super) async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut last = Error::Closed;
    for &address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|source| Error::Connect { address, source })?;
                return Ok(stream);
            }
            Err(source) => last = Error::Connect { address, source },
        }
    }
    Err(last)
}

/// Performs the handshakes of TLS, where asked for, and of HTTP.
pub(super) async fn open(
    stream: TcpStream,
    tls: Option<(&Tls, &str)>,
    protocol: Protocol,
    timeouts: Timeouts,
) -> Result<Connection, Error> {
    let Some((tls, name)) = tls else {
        return speak(stream, protocol, timeouts).await;
    };
    let name = ServerName::try_from(name.to_owned()).map_err(|error| Error::handshake(&error))?;
    let stream =
        TlsConnector::from(tls.config()).connect(name, stream).await.map_err(|error| Error::handshake(&error))?;
    // A server that ignores ALPN speaks HTTP/1.1 (RFC 7301 section 3.1), which an HTTP/2 client must not assume.
    if protocol == Protocol::H2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(Error::Handshake("the server did not choose h2".to_owned()));
    }
    speak(stream, protocol, timeouts).await
}

async fn speak<S>(stream: S, protocol: Protocol, timeouts: Timeouts) -> Result<Connection, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let tasks = Tasks::default();
    let (sender, driver) = if protocol == Protocol::H1 {
        let (sender, connection) = http1::handshake(io).await.map_err(|error| Error::handshake(&error))?;
        (Sender::H1(Arc::new(Mutex::new(sender))), tokio::spawn(drive(connection)))
    } else {
        let (sender, connection) = http2::Builder::new(tasks.clone())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(io)
            .await
            .map_err(|error| Error::handshake(&error))?;
        (Sender::H2(sender), tokio::spawn(drive(connection)))
    };
    Ok(Connection::new(sender, timeouts, driver, tasks, None))
}

async fn drive(connection: impl Future<Output = hyper::Result<()>>) {
    // The request that suffers from it reports the error.
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection ended");
    }
}
