//! What doors are told before they open, and why they may fail to. Every bound on what a client can make a door hold
//! is a field here with a named default.

use crate::{metrics::EdgeMetrics, tls::TlsHolder};
use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

const DEFAULT_MAX_CONNECTIONS: usize = 4096;
const DEFAULT_MAX_CONCURRENT_STREAMS: u32 = 128;
const DEFAULT_MAX_HEADER_BYTES: u32 = 32 * 1024;
const DEFAULT_MAX_URI_BYTES: usize = 8 * 1024;
const DEFAULT_MAX_REQUEST_BODY: u64 = 1024 * 1024;
const DEFAULT_HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(120);
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// 1350 passes IPv6, PPPoE and common tunnels; path MTU discovery raises it within a few round trips.
const DEFAULT_INITIAL_MTU: u16 = 1350;

/// Bounds and time limits of all doors of one [`super::Doors`].
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once over all doors and protocols; further ones are closed or refused at once, because a
    /// refused player fails over in milliseconds while a waiting one stalls.
    pub max_connections: usize,
    /// Requests at once on one HTTP/2 or HTTP/3 connection.
    pub max_concurrent_streams: u32,
    /// Bytes of all header fields of a request together (name + value + 32 each, RFC 9113 section 6.5.2); more is 431.
    pub max_header_bytes: u32,
    /// Bytes of path and query; more is 414.
    pub max_uri_bytes: usize,
    /// Bytes of a request body; more is 413, or a failed body when the length was not declared.
    pub max_request_body: u64,
    /// From a request's first byte (or the connection's start) to the end of its head.
    pub header_read_timeout: Duration,
    /// From accept to a finished TLS or QUIC handshake.
    pub handshake_timeout: Duration,
    /// A connection without a request in flight is closed after this.
    pub idle_timeout: Duration,
    /// A connection with requests in flight is closed when none of them advanced for this long. Must exceed the
    /// longest wait a handler may take before it answers.
    pub stall_timeout: Duration,
    /// How long requests in flight may take to finish once the doors drain.
    pub grace: Duration,
    /// First UDP payload size of an HTTP/3 connection, before path MTU discovery.
    pub initial_mtu: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: DEFAULT_MAX_CONNECTIONS,
            max_concurrent_streams: DEFAULT_MAX_CONCURRENT_STREAMS,
            max_header_bytes: DEFAULT_MAX_HEADER_BYTES,
            max_uri_bytes: DEFAULT_MAX_URI_BYTES,
            max_request_body: DEFAULT_MAX_REQUEST_BODY,
            header_read_timeout: DEFAULT_HEADER_READ_TIMEOUT,
            handshake_timeout: DEFAULT_HANDSHAKE_TIMEOUT,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            stall_timeout: DEFAULT_STALL_TIMEOUT,
            grace: DEFAULT_GRACE,
            initial_mtu: DEFAULT_INITIAL_MTU,
        }
    }
}

/// Which doors to open.
pub struct DoorsConfig {
    /// Encrypted doors: TCP for HTTP/1.1 and HTTP/2, and UDP for HTTP/3 at the same port number. Port 0 takes a free
    /// number, the same for both. An IPv6 address is IPv6 only: name the IPv4 address beside it.
    pub tls: Vec<SocketAddr>,
    /// Plain doors: HTTP/1.1, and HTTP/2 with prior knowledge.
    pub plain: Vec<SocketAddr>,
    /// Certificate for `tls`; may be swapped while the doors run.
    pub certificate: Option<Arc<TlsHolder>>,
    /// Bounds.
    pub limits: Limits,
    /// Where connections and requests in flight are counted, when anywhere.
    pub metrics: Option<Arc<EdgeMetrics>>,
}

impl DoorsConfig {
    /// Plain doors only, default bounds, nothing counted.
    pub fn plain(addresses: Vec<SocketAddr>) -> Self {
        Self { tls: Vec::new(), plain: addresses, certificate: None, limits: Limits::default(), metrics: None }
    }
}

/// What a door listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/1.1 and HTTP/2.
    Tcp,
    /// HTTP/3.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// Why doors did not open, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Another program listens there (exit code 69).
    #[error("{transport} {address} is in use by another program; stop it or choose another port")]
    Busy {
        /// Where.
        address: SocketAddr,
        /// On what.
        transport: Transport,
    },
    /// The system does not let this user listen there (exit code 77).
    #[error("no permission to listen on {transport} {address}; choose a port above 1023 or grant the capability")]
    Denied {
        /// Where.
        address: SocketAddr,
        /// On what.
        transport: Transport,
    },
    /// Anything else, such as an address this machine does not have.
    #[error("cannot listen on {transport} {address}: {source}")]
    Unavailable {
        /// Where.
        address: SocketAddr,
        /// On what.
        transport: Transport,
        /// What the system said.
        source: io::Error,
    },
    /// An encrypted door without a certificate, or with one that QUIC cannot use.
    #[error("no usable certificate for the encrypted door: {0}")]
    Certificate(String),
    /// A door ended although nobody cancelled it.
    #[error("a door stopped by itself: {0}")]
    Stopped(String),
}

impl DoorError {
    pub(super) fn listen(address: SocketAddr, transport: Transport, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Busy { address, transport },
            io::ErrorKind::PermissionDenied => Self::Denied { address, transport },
            _ => Self::Unavailable { address, transport, source },
        }
    }
}
