//! The peer side of a node. Start: socket, swarm, links, then the server that answers; stop in the opposite order, so
//! that nobody is told to come to a node that no longer answers.

use crate::{
    control::{Control, ControlConfig, ControlEvent, ControlHandle},
    peer::{Dialled, Links, PeerServer},
    quic::{BindError, BulkConnection, Parts, QuicConfig, Socket, multiaddr_of},
};
use std::{net::SocketAddr, sync::Arc};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Connections dialled here that wait for the server.
const DIALLED_QUEUE: usize = 64;

/// Why the peer side does not start.
#[derive(Debug, thiserror::Error)]
pub enum PeerSideError {
    /// The UDP socket cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The swarm does not listen.
    #[error("cannot listen for peers: {0}")]
    Listen(String),
}

/// What the peer side is made of before it serves.
pub struct PeerSideParts {
    /// Keeps socket and swarm.
    pub side: PeerSide,
    /// Open connections, and new ones on demand.
    pub links: Arc<Links>,
    /// Gives commands to the control swarm.
    pub control: ControlHandle,
    /// For [`PeerSide::serve`].
    pub tasks: PeerTasks,
}

/// Connections that wait to be served.
pub struct PeerTasks {
    inbound: mpsc::Receiver<BulkConnection>,
    dialled: mpsc::Receiver<Dialled>,
}

/// The running peer side.
pub struct PeerSide {
    socket: Socket,
    control: Control,
    events: JoinHandle<()>,
    cancel: CancellationToken,
    address: SocketAddr,
}

impl PeerSide {
    /// Opens the socket and starts the swarm.
    pub async fn start(config: QuicConfig) -> Result<PeerSideParts, PeerSideError> {
        let cancel = CancellationToken::new();
        let identity = config.identity.clone();
        let Parts { socket, transport, dialer, inbound } = Socket::bind(config)?;
        let address = socket.local_addr();
        let transport = transport.into_boxed();
        let (control, handle, events) = Control::start(transport, &identity, &ControlConfig::default(), cancel.clone());
        let events = tokio::spawn(log_events(events));
        handle.listen(multiaddr_of(address)).await.map_err(|error| PeerSideError::Listen(error.to_string()))?;
        let (opened, dialled) = mpsc::channel(DIALLED_QUEUE);
        let links = Arc::new(Links::new(dialer, opened));
        let side = Self { socket, control, events, cancel, address };
        Ok(PeerSideParts { side, links, control: handle, tasks: PeerTasks { inbound, dialled } })
    }

    /// The UDP address peers come to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts answering peers; ends with `cancel`.
    pub fn serve(tasks: PeerTasks, server: PeerServer, cancel: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(Arc::new(server).run(tasks.inbound, tasks.dialled, cancel))
    }

    /// Stops the swarm, then the socket.
    pub async fn shutdown(self) {
        self.cancel.cancel();
        self.control.join().await;
        // The events' sender is gone with the swarm, so their reader ends by itself.
        if let Err(error) = self.events.await {
            tracing::error!(%error, "the reader of control events failed");
        }
        self.socket.shutdown().await;
    }
}

async fn log_events(mut events: mpsc::Receiver<ControlEvent>) {
    while let Some(event) = events.recv().await {
        tracing::debug!(?event, "control");
    }
}
