//! One QUIC endpoint: takes connections in, and refuses them when the door is full or draining.

use super::{
    super::{
        activity::Activity,
        config::{DoorError, Limits, Transport},
        exchange::Exchange,
    },
    code::code,
    connection,
};
use crate::{metrics::EdgeMetrics, tls::TlsHolder};
use h3::error::Code;
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, Incoming, MtuDiscoveryConfig, ServerConfig, TokioRuntime, TransportConfig,
    VarInt, congestion::CubicConfig, crypto::rustls::QuicServerConfig,
};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Covers 80 Mbit/s at 100 ms; more only costs memory and retransmissions.
const SEND_WINDOW: u64 = 1024 * 1024;
/// Requests are small; uploads are bounded far below this.
const STREAM_RECEIVE_WINDOW: u32 = 256 * 1024;
const RECEIVE_WINDOW: u32 = 1024 * 1024;
/// Control, QPACK encoder, QPACK decoder, and room for reserved types (RFC 9114 section 6.2).
const MAX_UNI_STREAMS: u32 = 8;
/// UDP payload of a full packet on a 1500-byte path with IPv6.
const MTU_CEILING: u16 = 1452;
/// Connections that wait for the door's attention, and what they may have sent by then.
const MAX_INCOMING: usize = 1024;
const INCOMING_BUFFER: u64 = 16 * 1024;
const INCOMING_BUFFER_TOTAL: u64 = 4 * 1024 * 1024;
/// How long closing frames may take to leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// One UDP socket with its connections.
pub(in super::super) struct H3Door {
    endpoint: Endpoint,
    settings: Settings,
    exchange: Arc<Exchange>,
    places: Arc<Semaphore>,
    metrics: Option<Arc<EdgeMetrics>>,
}

impl H3Door {
    /// Starts QUIC on a bound socket.
    pub(in super::super) fn open(
        socket: UdpSocket,
        address: SocketAddr,
        certificate: Arc<TlsHolder>,
        exchange: Arc<Exchange>,
        places: Arc<Semaphore>,
        metrics: Option<Arc<EdgeMetrics>>,
    ) -> Result<Self, DoorError> {
        let settings = Settings::new(certificate, &exchange.limits)?;
        let endpoint = Endpoint::new(
            EndpointConfig::default(),
            Some(settings.current.1.as_ref().clone()),
            socket,
            Arc::new(TokioRuntime),
        )
        .map_err(|error| DoorError::listen(address, Transport::Udp, error))?;
        Ok(Self { endpoint, settings, exchange, places, metrics })
    }

    /// Serves until cancelled, then lets requests in flight finish inside the grace period while it refuses
    /// newcomers.
    pub(in super::super) async fn run(mut self, cancel: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            let incoming = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                incoming = self.endpoint.accept() => incoming,
            };
            let Some(incoming) = incoming else { break };
            self.admit(incoming, &mut connections, &cancel);
        }
        let drain = async {
            while !connections.is_empty() {
                tokio::select! {
                    _ = connections.join_next() => {}
                    Some(incoming) = self.endpoint.accept() => incoming.refuse(),
                }
            }
        };
        if timeout(self.exchange.limits.grace, drain).await.is_err() {
            tracing::warn!(connections = connections.len(), "grace period over, closing connections");
            connections.shutdown().await;
        }
        self.endpoint.close(code(Code::H3_NO_ERROR), b"");
        if timeout(FAREWELL, self.endpoint.wait_idle()).await.is_err() {
            tracing::debug!("some closing frames were not acknowledged");
        }
    }

    fn admit(&mut self, incoming: Incoming, connections: &mut JoinSet<()>, cancel: &CancellationToken) {
        // A flood from invented addresses must prove them before it can fill the door.
        let busy = self.places.available_permits() < self.exchange.limits.max_connections / 2;
        if busy && !incoming.remote_address_validated() && incoming.may_retry() {
            if incoming.retry().is_err() {
                tracing::debug!("retry not possible");
            }
            return;
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            tracing::debug!("connection refused: all places taken");
            return incoming.refuse();
        };
        let connecting = match incoming.accept_with(self.settings.load()) {
            Ok(connecting) => connecting,
            Err(error) => return tracing::debug!(%error, "quic connection not accepted"),
        };
        let activity = Activity::new(self.metrics.clone());
        connections.spawn(serve(connecting, place, activity, self.exchange.clone(), cancel.clone()));
    }
}

async fn serve(
    connecting: quinn::Connecting,
    place: OwnedSemaphorePermit,
    activity: Arc<Activity>,
    exchange: Arc<Exchange>,
    cancel: CancellationToken,
) {
    let _place = place;
    let connection = tokio::select! {
        () = cancel.cancelled() => return,
        outcome = timeout(exchange.limits.handshake_timeout, connecting) => match outcome {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return tracing::debug!(%error, "quic handshake failed"),
            Err(_) => return tracing::debug!("quic handshake too slow"),
        },
    };
    connection::serve(connection, activity, exchange, cancel).await;
}

/// The QUIC settings for new connections, rebuilt when the certificate is swapped.
struct Settings {
    certificate: Arc<TlsHolder>,
    transport: Arc<TransportConfig>,
    current: (Arc<rustls::ServerConfig>, Arc<ServerConfig>),
}

impl Settings {
    fn new(certificate: Arc<TlsHolder>, limits: &Limits) -> Result<Self, DoorError> {
        let transport = Arc::new(transport(limits)?);
        let tls = certificate.quic();
        let built = build(tls.clone(), transport.clone()).map_err(|error| DoorError::Certificate(error.to_string()))?;
        Ok(Self { certificate, transport, current: (tls, Arc::new(built)) })
    }

    fn load(&mut self) -> Arc<ServerConfig> {
        let tls = self.certificate.quic();
        if !Arc::ptr_eq(&tls, &self.current.0) {
            match build(tls.clone(), self.transport.clone()) {
                Ok(built) => self.current = (tls, Arc::new(built)),
                Err(error) => tracing::error!(%error, "new certificate unusable for http/3, keeping the old one"),
            }
        }
        self.current.1.clone()
    }
}

fn build(
    tls: Arc<rustls::ServerConfig>,
    transport: Arc<TransportConfig>,
) -> Result<ServerConfig, quinn::crypto::rustls::NoInitialCipherSuite> {
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config
        .transport_config(transport)
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
    Ok(config)
}

fn transport(limits: &Limits) -> Result<TransportConfig, DoorError> {
    let idle = IdleTimeout::try_from(limits.idle_timeout.max(limits.stall_timeout))
        .map_err(|_| DoorError::Stopped("idle time-out too long for QUIC".into()))?;
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(MTU_CEILING);
    let mut transport = TransportConfig::default();
    transport
        .congestion_controller_factory(Arc::new(CubicConfig::default()))
        .send_window(SEND_WINDOW)
        .stream_receive_window(VarInt::from_u32(STREAM_RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.max_concurrent_streams))
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_UNI_STREAMS))
        .datagram_receive_buffer_size(None)
        .initial_mtu(limits.initial_mtu)
        .mtu_discovery_config(Some(discovery))
        .max_idle_timeout(Some(idle));
    Ok(transport)
}
