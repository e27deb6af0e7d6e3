//! Opens the peer socket and owns its accept task.
//!
//! Invariant: one UDP descriptor, one endpoint, one accept task; [`Socket::shutdown`] joins the task, and dropping the
//! [`Socket`] ends it too.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::{Endpoint, Runtime, ServerConfig, TokioRuntime};
use socket2::{Domain, Protocol, Type};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::accept::Acceptor;
use super::address::is_dual_stack;
use super::announce::Announced;
use super::bulk::{BulkConnection, BulkDialer};
use super::config::{QuicConfig, Tuning};
use super::error::BindError;
use super::local::LocalAddresses;
use super::punches::Punches;
use super::shared::Shared;
use super::tls;
use super::transport::SwarmTransport;

/// Early packets kept for each connection that has not been admitted yet, bytes. The accept task admits at once and
/// there is no early data, so this covers a reordered second packet and no more.
const EARLY_BUFFER: u64 = 16 * 1024;

/// The peer socket with everything that hangs on it.
pub struct Parts {
    /// Owner of the accept task; shut down last.
    pub socket: Socket,
    /// For the swarm.
    pub transport: SwarmTransport,
    /// Opens bulk connections.
    pub dialer: BulkDialer,
    /// Bulk connections that others opened; [`Tuning::inbound_queue`] wait at most.
    pub inbound: mpsc::Receiver<BulkConnection>,
}

/// Owner of the UDP socket.
pub struct Socket {
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
    cancel: DropGuard,
}

impl Socket {
    /// Opens the socket and begins to accept. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError::PortBusy`], [`BindError::Io`] for another refusal of the system, [`BindError::Tuning`] for a
    /// parameter out of range, [`BindError::Tls`] for an unusable key.
    pub fn bind(config: QuicConfig) -> Result<Parts, BindError> {
        let QuicConfig { listen, identity, addresses, tuning, gate } = config;
        tuning.validate()?;
        let transport = tuning.transport();
        let mut server = ServerConfig::with_crypto(Arc::new(tls::server(&identity)?));
        server
            .transport_config(Arc::clone(&transport))
            .max_incoming(tuning.max_handshakes as usize)
            .incoming_buffer_size(EARLY_BUFFER)
            .incoming_buffer_size_total(EARLY_BUFFER * u64::from(tuning.max_handshakes));
        let endpoint_config = tls::endpoint(&identity);

        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::PortBusy(listen),
            _ => BindError::Io { address: listen, source },
        };
        let udp = open(listen, &tuning).map_err(refused)?;
        let bound = udp.local_addr().map_err(refused)?;
        let raw = udp.try_clone().map_err(refused)?;
        let udp = TokioRuntime.wrap_udp_socket(udp).map_err(refused)?;
        let udp = match gate {
            Some(gate) => gate.before(udp),
            None => udp,
        };
        let endpoint = Endpoint::new_with_abstract_socket(endpoint_config, Some(server), udp, Arc::new(TokioRuntime))
            .map_err(refused)?;

        let shared = Arc::new(Shared {
            endpoint,
            bound,
            identity,
            transport,
            handshake_timeout: tuning.handshake_timeout(),
            announced: Announced::new(bound, &addresses),
            punches: Punches::default(),
            raw,
        });
        let (control, control_inbound) = mpsc::channel(tuning.inbound_queue as usize);
        let (bulk, inbound) = mpsc::channel(tuning.inbound_queue as usize);
        let cancel = CancellationToken::new();
        let acceptor = Acceptor { shared: Arc::clone(&shared), tuning, control, bulk };
        let accepting = tokio::spawn(acceptor.run(cancel.clone()));
        tracing::info!(address = %bound, dual_stack = is_dual_stack(bound), "peer socket open");
        Ok(Parts {
            transport: SwarmTransport::new(Arc::clone(&shared), control_inbound),
            dialer: BulkDialer::new(Arc::clone(&shared)),
            socket: Self { shared, accepting, cancel: cancel.drop_guard() },
            inbound,
        })
    }

    /// The address the socket is bound to, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.bound
    }

    /// Tells the socket of changes on the machine.
    pub fn local_addresses(&self) -> LocalAddresses {
        LocalAddresses::new(Arc::clone(&self.shared))
    }

    /// Connections of both protocols that are open or being opened from either side.
    pub fn open_connections(&self) -> usize {
        self.shared.endpoint.open_connections()
    }

    /// Refuses new connections, closes the open ones with [`CLOSE_SHUTDOWN`](super::CLOSE_SHUTDOWN), waits up to two
    /// seconds until peers have been told, and joins the accept task.
    pub async fn shutdown(self) {
        drop(self.cancel);
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "accept task failed");
        }
    }
}

fn open(listen: SocketAddr, tuning: &Tuning) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    if listen.is_ipv6() {
        socket.set_only_v6(!is_dual_stack(listen))?;
    }
    // Best effort: the kernel caps both at net.core.{r,w}mem_max.
    let wanted = tuning.socket_buffer as usize;
    let granted = socket
        .set_recv_buffer_size(wanted)
        .and_then(|()| socket.set_send_buffer_size(wanted))
        .and_then(|()| Ok((socket.recv_buffer_size()?, socket.send_buffer_size()?)));
    match granted {
        Ok((receive, send)) if receive.min(send) < wanted => {
            tracing::debug!(wanted, receive, send, "system grants smaller UDP buffers");
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "UDP buffer sizes not set"),
    }
    socket.bind(&listen.into())?;
    Ok(socket.into())
}
