//! Opens HTTP/3 connections over quinn. Each connection has its own UDP socket: a server that spreads by source address sees as many
//! clients as there are connections.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Endpoint, EndpointConfig, TokioRuntime, TransportConfig};
use tokio::time::timeout;

use super::config::Timeouts;
use super::connection::{Opened, Sender};
use super::error::{Error, Stage};
use super::http3::Transport;
use super::tls::Tls;
use crate::sockets;

/// Flow-control windows, in bytes: wide enough that the measuring client never holds a server back.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Silence after which a connection is given up.
const IDLE: Duration = Duration::from_secs(30);
/// Longest response head accepted, as RFC 9114 section 4.2.2 counts it.
const MAX_HEAD: u64 = 64 << 10;

/// Connects to the first address that answers, each with an equal share of the time for connecting.
pub(super) async fn open(addresses: &[SocketAddr], tls: &Tls, name: &str, timeouts: Timeouts) -> Result<Opened, Error> {
    let share = timeouts.connect / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = Error::Closed;
    for &address in addresses {
        match timeout(share, open_one(address, tls, name)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = error,
            Err(_) => last = Error::Timeout(Stage::Connect),
        }
    }
    Err(last)
}

async fn open_one(address: SocketAddr, tls: &Tls, name: &str) -> Result<Opened, Error> {
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
    let driver = Box::pin(async move {
        let end = poll_fn(|cx| h3.poll_close(cx)).await;
        tracing::debug!(%end, "connection ended");
    });
    Ok(Opened { sender: Sender::H3(sender), driver, quic: Some(Transport::new(connection, endpoint)) })
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
