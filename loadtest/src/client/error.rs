//! What can go wrong between this client and a server, one variant for each class that a report counts.

use std::io;
use std::net::SocketAddr;

/// The wait that ended a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Resolution, connection and handshake.
    Connect,
    /// The response head.
    Head,
    /// The next chunk of the body.
    Body,
    /// The exchange as a whole.
    Total,
}

/// Why a connection or an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be requested by this client.
    #[error("cannot request {0}")]
    Url(String),
    /// The trust roots cannot be read.
    #[error("cannot read trusted certificates: {0}")]
    Trust(String),
    /// The host has no address.
    #[error("cannot resolve {host}: {source}")]
    Resolve {
        /// The host looked up.
        host: String,
        /// The resolver's answer.
        source: io::Error,
    },
    /// No connection at the transport.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// TLS, QUIC or HTTP settings failed, certificates and ALPN included.
    #[error("handshake failed: {0}")]
    Handshake(String),
    /// The connection had ended before the request was sent; a new connection may serve it.
    #[error("connection closed before the request was sent")]
    Closed,
    /// The exchange broke off or broke the protocol.
    #[error("exchange broken: {0}")]
    Broken(String),
    /// The body is not as long as its `Content-Length` (RFC 9110 section 8.6).
    #[error("body of {got} bytes, Content-Length {expected}")]
    Length {
        /// Bytes announced.
        expected: u64,
        /// Bytes received.
        got: u64,
    },
    /// The body passes the caller's bound.
    #[error("body longer than {0} bytes")]
    TooLarge(u64),
    /// A wait was too long.
    #[error("timed out waiting for {0:?}")]
    Timeout(Stage),
}

impl Error {
    /// The class under which reports count this error: stable, lower case, without data.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::Trust(_) => "trust",
            Self::Resolve { .. } => "resolve",
            Self::Connect { .. } => "connect",
            Self::Handshake(_) => "handshake",
            Self::Closed => "closed",
            Self::Broken(_) => "broken",
            Self::Length { .. } => "length",
            Self::TooLarge(_) => "too-large",
            Self::Timeout(Stage::Connect) => "timeout-connect",
            Self::Timeout(Stage::Head) => "timeout-head",
            Self::Timeout(Stage::Body) => "timeout-body",
            Self::Timeout(Stage::Total) => "timeout-total",
        }
    }

    /// The error with its causes on one line.
    pub(super) fn broken(error: &dyn std::error::Error) -> Self {
        Self::Broken(chain(error))
    }

    pub(super) fn handshake(error: &dyn std::error::Error) -> Self {
        Self::Handshake(chain(error))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
