//! HTTP/1.1 and HTTP/2 over TCP, plain or TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use super::connection::{Opened, Sender};
use super::error::Error;
use super::protocol::Protocol;
use super::tls::Tls;

/// HTTP/2 flow-control windows, in bytes: about a browser's, so that a server is never limited by the measuring client.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Longest HTTP/1.1 response head accepted, in bytes, and of a body read at a time.
const MAX_HEAD: usize = 64 << 10;

/// Bytes read from a socket at a time: about a record of TLS. rustls alone reads 4 KiB, which makes the client four times as many
/// system calls as there are records, and a server answer to a slow reader.
const READ: usize = 16 << 10;

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
pub(super) async fn open(stream: TcpStream, tls: Option<(&Tls, &str)>, protocol: Protocol) -> Result<Opened, Error> {
    let Some((tls, name)) = tls else {
        return speak(stream, protocol).await;
    };
    let name = ServerName::try_from(name.to_owned()).map_err(|error| Error::handshake(&error))?;
    let stream = BufReader::with_capacity(READ, stream);
    let stream =
        TlsConnector::from(tls.config()).connect(name, stream).await.map_err(|error| Error::handshake(&error))?;
    // A server that ignores ALPN speaks HTTP/1.1 (RFC 7301 section 3.1), which an HTTP/2 client must not assume.
    if protocol == Protocol::H2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(Error::Handshake("the server did not choose h2".to_owned()));
    }
    speak(stream, protocol).await
}

async fn speak<S>(stream: S, protocol: Protocol) -> Result<Opened, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if protocol == Protocol::H1 {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Error::handshake(&error))?;
        let sender = Sender::H1(Arc::new(Mutex::new(sender)));
        return Ok(Opened { sender, driver: Box::pin(connection.map(ended)), quic: None });
    }
    let (sender, connection) = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(stream)
        .await
        .map_err(|error| Error::handshake(&error))?;
    Ok(Opened { sender: Sender::H2(sender), driver: Box::pin(connection.map(ended)), quic: None })
}

fn ended<E: std::fmt::Display>(end: Result<(), E>) {
    // The request that suffers from it reports the error.
    if let Err(error) = end {
        tracing::debug!(%error, "connection ended");
    }
}
