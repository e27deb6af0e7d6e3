//! How the client connects and how long it waits.

use std::net::SocketAddr;
use std::time::Duration;

use super::protocol::Protocol;
use super::tls::Trust;

/// The longest waits of one connection and one request.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Name resolution, TCP and TLS, or the QUIC handshake.
    pub connect: Duration,
    /// From sending the request to the end of the response head.
    pub head: Duration,
    /// Between two chunks of a body.
    pub body_idle: Duration,
    /// A whole exchange, head and body.
    pub total: Duration,
}

impl Default for Timeouts {
    /// 10 s to connect, 30 s for a head, 10 s between chunks, 120 s in all.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            head: Duration::from_secs(30),
            body_idle: Duration::from_secs(10),
            total: Duration::from_secs(120),
        }
    }
}

/// How a [`Client`](super::Client) connects.
#[derive(Debug, Clone)]
pub struct Config {
    /// Version of HTTP.
    pub protocol: Protocol,
    /// Whose certificates are accepted.
    pub trust: Trust,
    /// Connect here whatever the URL's host resolves to; the host is still named in SNI and `Host`.
    pub connect: Option<SocketAddr>,
    /// Longest waits.
    pub timeouts: Timeouts,
}
