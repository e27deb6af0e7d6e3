//! Serves connections, whoever opened them: one control stream, and a bounded number of requests beside it.

use super::{
    Directory, Links, Networks, PeerObserver,
    answer::{Answering, Gate},
    links::Dialled,
    session::Role,
};
use crate::{clock::Clock, fetch::Fetch, quic::BulkConnection};
use quinn::{RecvStream, SendStream};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use weir_protocol::ids::RelayId;

/// The first stream of an inbound connection must come this soon.
const FIRST_STREAM: Duration = Duration::from_secs(10);
/// Application close code: the control stream ended or was not understood.
const CLOSE_SESSION: quinn::VarInt = quinn::VarInt::from_u32(4);

/// Answers peers.
pub struct PeerServer {
    gate: Gate,
    role: Role,
    links: Arc<Links>,
    fetch: Fetch,
    observer: Arc<dyn PeerObserver>,
}

impl PeerServer {
    /// A relay: answers members of its networks.
    pub fn relay(networks: Arc<Networks>, fetch: Fetch, clock: Clock, observer: Arc<dyn PeerObserver>) -> Self {
        Self {
            gate: Gate::Relay(networks.clone()),
            links: networks.links().clone(),
            role: Role::Relay { networks, clock },
            fetch,
            observer,
        }
    }

    /// An adapter: tells relays of one another and answers those in its directory.
    pub fn adapter(
        directory: Arc<Directory>,
        links: Arc<Links>,
        fetch: Fetch,
        observer: Arc<dyn PeerObserver>,
    ) -> Self {
        Self { gate: Gate::Adapter(directory.clone()), links, role: Role::Adapter(directory), fetch, observer }
    }

    /// Serves connections from both receivers until `cancel`: `inbound` were opened by others, `dialled` by
    /// [`Links`]. Both queues are bounded, and so are connections, by the socket below.
    pub async fn run(
        self: Arc<Self>,
        mut inbound: mpsc::Receiver<BulkConnection>,
        mut dialled: mpsc::Receiver<Dialled>,
        cancel: CancellationToken,
    ) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(link) = inbound.recv() => {
                    self.links.adopt(link.peer.into(), &link.conn);
                    connections.spawn(self.clone().connection(link, None, cancel.clone()));
                }
                Some(Dialled { link, control }) = dialled.recv() => {
                    connections.spawn(self.clone().connection(link, Some(control), cancel.clone()));
                }
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
        while connections.join_next().await.is_some() {}
    }

    async fn connection(
        self: Arc<Self>,
        link: BulkConnection,
        control: Option<(SendStream, RecvStream)>,
        cancel: CancellationToken,
    ) {
        let (peer, connection) = (RelayId::from(link.peer), link.conn);
        let control = match control {
            Some(streams) => streams,
            // Whoever dialled opens the control stream before any other, and streams arrive in order.
            None => match timeout(FIRST_STREAM, connection.accept_bi()).await {
                Ok(Ok(streams)) => streams,
                Ok(Err(_)) | Err(_) => return connection.close(CLOSE_SESSION, b"no control stream"),
            },
        };
        let mut requests = JoinSet::new();
        let entered = Notify::new();
        let session = self.role.run(peer, link.remote, control, &entered, &cancel);
        tokio::pin!(session);
        let mut accepting = false;
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                ended = &mut session => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %peer.short(), %error, "control stream ended");
                    }
                    // Without its control stream a connection has no membership; it is opened anew when needed.
                    connection.close(CLOSE_SESSION, b"control stream ended");
                    break;
                }
                // Requests wait for the Hello, so that a relay that has just come is known when it asks.
                () = entered.notified(), if !accepting => accepting = true,
                stream = connection.accept_bi(), if accepting => match stream {
                    Ok(streams) => {
                        requests.spawn(self.clone().request(peer, streams));
                    }
                    Err(_) => break,
                },
                Some(_) = requests.join_next(), if !requests.is_empty() => {}
            }
        }
        requests.shutdown().await;
    }

    async fn request(self: Arc<Self>, peer: RelayId, (send, receive): (SendStream, RecvStream)) {
        let answering = Answering { gate: &self.gate, fetch: &self.fetch, observer: &*self.observer, peer };
        if let Err(error) = answering.run(send, receive).await {
            tracing::debug!(peer = %peer.short(), %error, "reply ended early");
        }
    }
}
