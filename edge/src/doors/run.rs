//! Opening, running and draining all doors together.

use super::{
    bind,
    config::{DoorError, DoorsConfig, Transport},
    dates::Dates,
    exchange::Exchange,
    h3::H3Door,
    tcp::TcpDoor,
};
use crate::metrics::EdgeMetrics;
use http::HeaderValue;
use std::{net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use weir_relay::http::Handler;

/// Seconds a client may remember that HTTP/3 is offered.
const ALT_SVC_MAX_AGE: u32 = 86_400;

/// Where the doors of one [`Doors`] listen, in the order of their configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAddrs {
    /// Encrypted doors: each is a TCP and a UDP address.
    pub tls: Vec<SocketAddr>,
    /// Plain doors.
    pub plain: Vec<SocketAddr>,
}

/// Doors that are bound and not yet served.
pub struct Doors {
    config: DoorsConfig,
    tls: Vec<(TcpListener, std::net::UdpSocket)>,
    plain: Vec<TcpListener>,
    addresses: LocalAddrs,
}

impl Doors {
    /// Takes all addresses, or none: clients that connect before [`Doors::run`] wait. Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`DoorError`] names the first address that could not be taken.
    pub fn bind(config: DoorsConfig) -> Result<Self, DoorError> {
        if !config.tls.is_empty() && config.certificate.is_none() {
            return Err(DoorError::Certificate("none configured".into()));
        }
        let tls = config.tls.iter().copied().map(bind::pair).collect::<Result<Vec<_>, _>>()?;
        let plain = config.plain.iter().copied().map(bind::tcp).collect::<Result<Vec<_>, _>>()?;
        let local = |listener: &TcpListener, asked: &SocketAddr| {
            listener.local_addr().map_err(|error| DoorError::listen(*asked, Transport::Tcp, error))
        };
        let addresses = LocalAddrs {
            tls: tls.iter().zip(&config.tls).map(|(pair, asked)| local(&pair.0, asked)).collect::<Result<_, _>>()?,
            plain: plain.iter().zip(&config.plain).map(|(door, asked)| local(door, asked)).collect::<Result<_, _>>()?,
        };
        Ok(Self { config, tls, plain, addresses })
    }

    /// Where the doors listen; ports are real ones where 0 was asked for.
    pub fn local_addrs(&self) -> &LocalAddrs {
        &self.addresses
    }

    /// Serves until `cancel`, then drains: no new connections, `GOAWAY` or `Connection: close`, and requests in
    /// flight finish inside the grace period. Returns when every connection is closed.
    ///
    /// # Errors
    /// [`DoorError`] when a door cannot start or ends by itself; the other doors are drained first.
    pub async fn run(self, handler: Arc<dyn Handler>, cancel: CancellationToken) -> Result<(), DoorError> {
        let Self { config, tls, plain, addresses } = self;
        let DoorsConfig { certificate, limits, metrics, .. } = config;
        let places = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
        let dates = Arc::new(Dates::new());
        let stop = cancel.child_token();
        let shared = Shared { places, metrics };
        let exchange = |secure: bool, alt_svc: Option<HeaderValue>| {
            Arc::new(Exchange {
                handler: handler.clone(),
                limits: limits.clone(),
                secure,
                alt_svc,
                dates: dates.clone(),
            })
        };

        let mut tcp: Vec<_> =
            plain.into_iter().map(|listener| shared.tcp(listener, exchange(false, None), None)).collect();
        let mut h3 = Vec::new();
        for ((listener, socket), address) in tls.into_iter().zip(addresses.tls) {
            let Some(certificate) = certificate.clone() else {
                return Err(DoorError::Certificate("none configured".into()));
            };
            let alt_svc = format!("h3=\":{}\"; ma={ALT_SVC_MAX_AGE}", address.port());
            let alt_svc = HeaderValue::try_from(alt_svc).expect("digits and quotes are a header value");
            let exchange = exchange(true, Some(alt_svc));
            h3.push(H3Door::open(
                socket,
                address,
                certificate.clone(),
                exchange.clone(),
                shared.places.clone(),
                shared.metrics.clone(),
            )?);
            tcp.push(shared.tcp(listener, exchange, Some(certificate)));
        }

        let mut doors = JoinSet::new();
        for door in tcp {
            doors.spawn(door.run(stop.clone()));
        }
        for door in h3 {
            doors.spawn(door.run(stop.clone()));
        }

        let mut outcome = Ok(());
        while let Some(ended) = doors.join_next().await {
            if let Err(error) = ended {
                outcome = Err(DoorError::Stopped(error.to_string()));
            } else if !cancel.is_cancelled() && outcome.is_ok() {
                outcome = Err(DoorError::Stopped("it ended early".into()));
            }
            stop.cancel();
        }
        outcome
    }
}

struct Shared {
    places: Arc<Semaphore>,
    metrics: Option<Arc<EdgeMetrics>>,
}

impl Shared {
    fn tcp(&self, listener: TcpListener, exchange: Arc<Exchange>, tls: Option<Arc<crate::tls::TlsHolder>>) -> TcpDoor {
        TcpDoor { listener, tls, exchange, places: self.places.clone(), metrics: self.metrics.clone() }
    }
}
