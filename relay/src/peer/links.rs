//! Open connections to other nodes, one for each, whoever dialled. Invariant: at most one dial to a node at a time, and
//! the registry is never held across a wait.

use crate::quic::{BulkConnection, BulkDialer};
use dashmap::DashMap;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, mpsc},
    time::Instant,
};
use weir_protocol::ids::RelayId;

/// Limit for one dial, handshake included.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Nodes remembered; a network of more relays than this talks to the owners it has room for.
const MAX_LINKS: usize = 4096;

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum LinkError {
    /// No address is known.
    #[error("no address of {0} is known")]
    NoAddress(RelayId),
    /// Every address failed; the last reason.
    #[error("cannot reach {0}: {1}")]
    Unreachable(RelayId, String),
    /// The registry is full.
    #[error("too many links")]
    Full,
}

/// A connection that was dialled here, with its control stream: opened before any request's, so that the other side
/// finds it first.
pub struct Dialled {
    pub(super) link: BulkConnection,
    pub(super) control: (quinn::SendStream, quinn::RecvStream),
}

#[derive(Default)]
struct Slot {
    open: Option<quinn::Connection>,
    /// When the last dial failed, and why.
    failed: Option<(Instant, LinkError)>,
}

type Shared = Arc<Mutex<Slot>>;

/// The registry of connections.
pub struct Links {
    dialer: BulkDialer,
    slots: DashMap<RelayId, Shared>,
    /// Connections that were dialled here go to the peer server, which answers on them as on any other.
    opened: mpsc::Sender<Dialled>,
    reached: AtomicU64,
    unreached: AtomicU64,
}

impl Links {
    /// A registry that dials with `dialer` and hands new connections to `opened`.
    pub fn new(dialer: BulkDialer, opened: mpsc::Sender<Dialled>) -> Self {
        Self { dialer, slots: DashMap::new(), opened, reached: AtomicU64::new(0), unreached: AtomicU64::new(0) }
    }

    fn slot(&self, relay: RelayId) -> Result<Shared, LinkError> {
        if let Some(slot) = self.slots.get(&relay) {
            return Ok(slot.clone());
        }
        if self.slots.len() >= MAX_LINKS {
            self.slots.retain(|_, slot| {
                Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|slot| slot.connection().is_some())
            });
        }
        if self.slots.len() >= MAX_LINKS {
            return Err(LinkError::Full);
        }
        Ok(self.slots.entry(relay).or_default().clone())
    }

    /// The open connection to a node, or a new one to the first of `addresses` that answers.
    pub async fn get(&self, relay: RelayId, addresses: &[SocketAddr]) -> Result<quinn::Connection, LinkError> {
        let slot = self.slot(relay)?;
        let asked = Instant::now();
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.connection() {
            return Ok(connection.clone());
        }
        // Whoever waited for a dial that failed meanwhile does not wait for another one: many requests to a dead node
        // would queue up behind one another for a time-out each. Whoever comes later dials anew: the node may be back.
        if let Some((at, error)) = &slot.failed
            && asked <= *at
        {
            return Err(error.clone());
        }
        let mut last = LinkError::NoAddress(relay);
        for address in addresses {
            match tokio::time::timeout(DIAL_TIMEOUT, self.dial(relay, *address)).await {
                Ok(Ok(dialled)) => {
                    self.reached.fetch_add(1, Ordering::Relaxed);
                    let connection = dialled.link.conn.clone();
                    self.opened
                        .send(dialled)
                        .await
                        .map_err(|_| LinkError::Unreachable(relay, "the node is shutting down".into()))?;
                    *slot = Slot { open: Some(connection.clone()), failed: None };
                    return Ok(connection);
                }
                Ok(Err(error)) => last = LinkError::Unreachable(relay, error),
                Err(_) => last = LinkError::Unreachable(relay, format!("no handshake in {DIAL_TIMEOUT:?}")),
            }
        }
        self.unreached.fetch_add(1, Ordering::Relaxed);
        slot.failed = Some((Instant::now(), last.clone()));
        Err(last)
    }

    async fn dial(&self, relay: RelayId, address: SocketAddr) -> Result<Dialled, String> {
        let link = self.dialer.connect(address, *relay.peer_id()).await.map_err(|error| error.to_string())?;
        let control = link.conn.open_bi().await.map_err(|error| error.to_string())?;
        Ok(Dialled { link, control })
    }

    /// A node has connected here: requests may go the same way back. An open connection is kept. Waits while the same
    /// node is being dialled: a node that cannot be reached may have come by itself meanwhile.
    pub(super) async fn adopt(&self, relay: RelayId, connection: &quinn::Connection) {
        let Ok(slot) = self.slot(relay) else { return };
        let mut slot = slot.lock().await;
        if slot.connection().is_none() {
            *slot = Slot { open: Some(connection.clone()), failed: None };
        }
    }

    /// Dials that reached their node, and those that did not.
    pub fn attempts(&self) -> (u64, u64) {
        (self.reached.load(Ordering::Relaxed), self.unreached.load(Ordering::Relaxed))
    }

    /// Nodes with an open connection.
    pub fn open(&self) -> usize {
        self.slots.iter().filter(|slot| slot.try_lock().is_ok_and(|slot| slot.connection().is_some())).count()
    }

    /// Round-trip time to a node with an open connection.
    pub fn round_trip(&self, relay: &RelayId) -> Option<Duration> {
        let slot = self.slots.get(relay)?.clone();
        let slot = slot.try_lock().ok()?;
        slot.connection().map(quinn::Connection::rtt)
    }
}

impl Slot {
    fn connection(&self) -> Option<&quinn::Connection> {
        self.open.as_ref().filter(|connection| connection.close_reason().is_none())
    }
}
