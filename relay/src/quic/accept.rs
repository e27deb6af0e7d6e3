//! The accept task: admits, finishes and routes inbound handshakes.
//!
//! Invariants: handshakes in flight and open connections stay below their bounds whatever arrives; a connection goes to
//! the side whose ALPN it chose or is closed with a code that says why; the task joins every handshake it started.

use std::sync::Arc;
use std::time::Duration;

use quinn::{Incoming, VarInt};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::address::canonical;
use super::bulk::BulkConnection;
use super::config::Tuning;
use super::handshake::{Established, establish};
use super::shared::Shared;
use super::tls::{ALPN_BULK, ALPN_CONTROL, protocol_of};

/// Application close code: this node is shutting down.
pub const CLOSE_SHUTDOWN: VarInt = VarInt::from_u32(1);
/// Application close code: too many connections wait already; come back later.
pub const CLOSE_BUSY: VarInt = VarInt::from_u32(2);
/// Application close code: nobody listens for this protocol.
pub const CLOSE_NOT_LISTENING: VarInt = VarInt::from_u32(3);

/// How long shutdown waits for peers to learn that we go.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Acceptor {
    pub(super) shared: Arc<Shared>,
    pub(super) tuning: Tuning,
    pub(super) control: mpsc::Sender<Established>,
    pub(super) bulk: mpsc::Sender<BulkConnection>,
}

impl Acceptor {
    pub(super) async fn run(self, cancel: CancellationToken) {
        let (routes, mut handshakes) = (Arc::new(self), JoinSet::new());
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(ended) = handshakes.join_next(), if !handshakes.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "handshake task failed");
                    }
                }
                incoming = routes.shared.endpoint.accept() => match incoming {
                    Some(incoming) => routes.admit(incoming, &mut handshakes),
                    None => break,
                },
            }
        }
        handshakes.shutdown().await;
        routes.shared.endpoint.close(CLOSE_SHUTDOWN, b"shutting down");
        if tokio::time::timeout(DRAIN_LIMIT, routes.shared.endpoint.wait_idle()).await.is_err() {
            tracing::debug!("some peers did not confirm the close in time");
        }
    }

    fn admit(self: &Arc<Self>, incoming: Incoming, handshakes: &mut JoinSet<()>) {
        let load = Load { handshakes: handshakes.len(), connections: self.shared.endpoint.open_connections() };
        match decide(load, incoming.remote_address_validated(), &self.tuning) {
            Admission::Accept => {
                let routes = Arc::clone(self);
                handshakes.spawn(async move { routes.greet(incoming).await });
            }
            Admission::Retry => {
                if let Err(error) = incoming.retry() {
                    error.into_incoming().refuse();
                }
            }
            Admission::Refuse => {
                tracing::debug!(remote = %incoming.remote_address(), ?load, "inbound connection refused");
                incoming.refuse();
            }
        }
    }

    async fn greet(&self, incoming: Incoming) {
        let remote = canonical(incoming.remote_address());
        let connecting = match incoming.accept() {
            Ok(connecting) => connecting,
            Err(error) => return tracing::debug!(%remote, %error, "inbound connection not accepted"),
        };
        match establish(connecting, self.shared.handshake_timeout, None).await {
            Ok(established) => self.route(established),
            Err(error) => {
                tracing::debug!(%remote, error = &error as &dyn std::error::Error, "inbound handshake failed")
            }
        }
    }

    fn route(&self, established: Established) {
        match protocol_of(&established.connection).as_deref() {
            Some(ALPN_BULK) => deliver(&self.bulk, established.into(), |bulk: &BulkConnection| &bulk.conn),
            Some(ALPN_CONTROL) => {
                let remote = canonical(established.connection.remote_address());
                if let Err(visitor) = self.shared.punches.offer(remote, established) {
                    deliver(&self.control, visitor, |established| &established.connection);
                }
            }
            // TLS lets nothing else through; should it ever, it is not ours.
            _ => established.connection.close(CLOSE_NOT_LISTENING, b"unknown protocol"),
        }
    }
}

/// Queues a connection or closes it. Waiting instead would let one slow side hold the handshakes of the other.
fn deliver<T>(queue: &mpsc::Sender<T>, item: T, connection: impl Fn(&T) -> &quinn::Connection) {
    match queue.try_send(item) {
        Ok(()) => {}
        Err(TrySendError::Full(item)) => {
            tracing::debug!(remote = %connection(&item).remote_address(), "inbound queue full, connection closed");
            connection(&item).close(CLOSE_BUSY, b"busy");
        }
        Err(TrySendError::Closed(item)) => connection(&item).close(CLOSE_NOT_LISTENING, b"not listening"),
    }
}

/// What is under way when somebody knocks.
#[derive(Debug, Clone, Copy)]
struct Load {
    handshakes: usize,
    connections: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Admission {
    Accept,
    Retry,
    Refuse,
}

fn decide(load: Load, address_validated: bool, tuning: &Tuning) -> Admission {
    let reached = |count: usize, bound: u32| u32::try_from(count).is_ok_and(|count| count < bound);
    if !reached(load.handshakes, tuning.max_handshakes) || !reached(load.connections, tuning.max_connections) {
        Admission::Refuse
    } else if !address_validated && !reached(load.handshakes, tuning.retry_above) {
        Admission::Retry
    } else {
        Admission::Accept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admission_by_load() {
        let tuning = Tuning { max_handshakes: 4, retry_above: 2, max_connections: 8, ..Tuning::default() };
        let decide = |handshakes, connections, validated| decide(Load { handshakes, connections }, validated, &tuning);
        assert_eq!(decide(0, 0, false), Admission::Accept);
        assert_eq!(decide(1, 7, false), Admission::Accept);
        assert_eq!(decide(2, 7, false), Admission::Retry);
        assert_eq!(decide(2, 7, true), Admission::Accept);
        assert_eq!(decide(3, 7, true), Admission::Accept);
        assert_eq!(decide(4, 7, true), Admission::Refuse);
        assert_eq!(decide(0, 8, true), Admission::Refuse);
    }
}
