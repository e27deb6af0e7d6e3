//! The peer side of a node. Start: socket, swarm, links, then the server that answers; stop in the opposite order, so
//! that nobody is told to come to a node that no longer answers.

use crate::{
    control::{Control, ControlConfig, ControlEvent, ControlHandle},
    peer::{Dialled, Links, PeerServer},
    quic::{BindError, BulkConnection, LocalAddresses, Parts, QuicConfig, Socket, multiaddr_of},
    reach::machine_addresses,
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Connections dialled here that wait for the server.
const DIALLED_QUEUE: usize = 64;

/// Control events that wait for whoever asked for them.
const EVENT_QUEUE: usize = 64;

/// Neighbours that are remembered until somebody asks: multicast tells of each once.
const EARLY_NEIGHBOURS: usize = 32;

/// Where control events go.
#[derive(Default)]
struct Sink {
    reader: Option<mpsc::Sender<ControlEvent>>,
    early: Vec<ControlEvent>,
}

type EventSink = Arc<Mutex<Sink>>;

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
    sink: EventSink,
    links: Arc<Links>,
    cancel: CancellationToken,
    address: SocketAddr,
}

impl PeerSide {
    /// Opens the socket and starts the swarm.
    pub async fn start(config: QuicConfig) -> Result<PeerSideParts, PeerSideError> {
        Self::start_with(config, ControlConfig::default()).await
    }

    /// The same with settings for the swarm.
    pub async fn start_with(config: QuicConfig, control: ControlConfig) -> Result<PeerSideParts, PeerSideError> {
        let cancel = CancellationToken::new();
        let identity = config.identity.clone();
        let Parts { socket, transport, dialer, inbound } = Socket::bind(config)?;
        let address = socket.local_addr();
        if address.ip().is_unspecified() {
            let found = machine_addresses().await;
            if !found.is_empty() {
                socket.local_addresses().set(found);
            }
        }
        let transport = transport.into_boxed();
        let (control, handle, events) = Control::start(transport, &identity, &control, cancel.clone());
        let sink = EventSink::default();
        let events = tokio::spawn(pass_on(events, sink.clone()));
        handle.listen(multiaddr_of(address)).await.map_err(|error| PeerSideError::Listen(error.to_string()))?;
        let (opened, dialled) = mpsc::channel(DIALLED_QUEUE);
        let links = Arc::new(Links::new(dialer, opened));
        let side = Self { socket, control, events, sink, links: links.clone(), cancel, address };
        Ok(PeerSideParts { side, links, control: handle, tasks: PeerTasks { inbound, dialled } })
    }

    /// The UDP address peers come to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Events of the control swarm from now on. A reader that is slow slows the swarm; dropping the receiver ends it.
    pub fn events(&self) -> mpsc::Receiver<ControlEvent> {
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        for event in sink.early.drain(..) {
            // Fewer than the queue takes.
            let _ = sender.try_send(event);
        }
        sink.reader = Some(sender);
        drop(sink);
        receiver
    }

    /// Tells the socket of changes on the machine.
    pub fn local_addresses(&self) -> LocalAddresses {
        self.socket.local_addresses()
    }

    /// Starts answering peers; ends with `cancel`.
    pub fn serve(tasks: PeerTasks, server: PeerServer, cancel: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(Arc::new(server).run(tasks.inbound, tasks.dialled, cancel))
    }

    /// Stops the swarm, then the socket.
    pub async fn shutdown(self) {
        self.links.close().await;
        self.cancel.cancel();
        self.control.join().await;
        // The events' sender is gone with the swarm, so their reader ends by itself.
        if let Err(error) = self.events.await {
            tracing::error!(%error, "the reader of control events failed");
        }
        self.socket.shutdown().await;
    }
}

async fn pass_on(mut events: mpsc::Receiver<ControlEvent>, sink: EventSink) {
    while let Some(event) = events.recv().await {
        tracing::trace!(?event, "control");
        let reader = sink.lock().unwrap_or_else(PoisonError::into_inner).reader.clone();
        let Some(reader) = reader else {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(event, ControlEvent::Neighbour { .. }) && sink.early.len() < EARLY_NEIGHBOURS {
                sink.early.push(event);
            }
            continue;
        };
        if reader.send(event).await.is_err() {
            sink.lock().unwrap_or_else(PoisonError::into_inner).reader = None;
        }
    }
}
