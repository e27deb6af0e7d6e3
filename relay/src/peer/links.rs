//! Open connections to other nodes, one for each, whoever dialled. Invariant: at most one attempt to reach a node runs at
//! a time; nobody waits for it longer than [`PATIENCE`] after it began, while it may go on; no lock is held across a
//! wait; every attempt is joined by [`Links::close`].

use super::{
    transport::{TransportNow, TransportTotals},
    ways::Ways,
};
use crate::quic::{BulkConnection, BulkDialer};
use dashmap::DashMap;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use weir_protocol::ids::RelayId;

/// Limit for one dial, handshake included.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request waits for a connection that is being made: then another source serves.
const PATIENCE: Duration = Duration::from_secs(2);
/// The next address of a node is tried this long after the former one, beside it (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(150);
/// Addresses of one node that are tried.
const MAX_ADDRESSES: usize = 12;
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

/// How a connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Dialled here, at an address that was known.
    Dialled,
    /// Dialled here, through a hole in the other side's NAT: punched for it, or open from an earlier contact.
    Punched,
    /// Opened by the other side.
    Accepted,
}

impl How {
    /// For status pages: `dialled`, `punched`, `accepted`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Dialled => "dialled",
            Self::Punched => "punched",
            Self::Accepted => "accepted",
        }
    }
}

/// An open connection as status pages show it.
#[derive(Debug, Clone)]
pub struct LinkInfo {
    /// The node.
    pub relay: RelayId,
    /// Where it is now.
    pub address: SocketAddr,
    /// How the connection came about.
    pub how: How,
    /// Round trip time.
    pub round_trip: Duration,
    /// How long it took from the wish to the open connection; 0 for accepted ones.
    pub took: Duration,
}

/// A connection that was dialled here, with its control stream: opened before any request's, so that the other side
/// finds it first.
pub struct Dialled {
    pub(super) link: BulkConnection,
    pub(super) control: (quinn::SendStream, quinn::RecvStream),
}

#[derive(Debug, Clone)]
struct Open {
    connection: quinn::Connection,
    how: How,
    took: Duration,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// What of the open connection is in the totals already.
    counted: TransportTotals,
    /// Since when an attempt is running.
    since: Option<Instant>,
    /// Why the last attempt failed.
    failed: Option<LinkError>,
}

#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

/// The registry of connections.
pub struct Links(Arc<Inner>);

struct Inner {
    dialer: BulkDialer,
    slots: DashMap<RelayId, Arc<Slot>>,
    /// Connections that were dialled here go to the peer server, which answers on them as on any other.
    opened: mpsc::Sender<Dialled>,
    ways: Ways,
    attempts: TaskTracker,
    stop: CancellationToken,
    reached: AtomicU64,
    unreached: AtomicU64,
    /// Locked after a slot, never before one.
    totals: Mutex<TransportTotals>,
}

impl Links {
    /// A registry that dials with `dialer` and hands new connections to `opened`. Must be used within a tokio runtime.
    pub fn new(dialer: BulkDialer, opened: mpsc::Sender<Dialled>) -> Self {
        Self(Arc::new(Inner {
            dialer,
            slots: DashMap::new(),
            opened,
            ways: Ways::default(),
            attempts: TaskTracker::new(),
            stop: CancellationToken::new(),
            reached: AtomicU64::new(0),
            unreached: AtomicU64::new(0),
            totals: Mutex::default(),
        }))
    }

    /// How nodes are reached that cannot be dialled.
    pub fn ways(&self) -> &Ways {
        &self.0.ways
    }

    fn slot(&self, relay: RelayId) -> Result<Arc<Slot>, LinkError> {
        if let Some(slot) = self.0.slots.get(&relay) {
            return Ok(slot.clone());
        }
        if self.0.slots.len() >= MAX_LINKS {
            self.0.slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.lock().connection().is_some());
        }
        if self.0.slots.len() >= MAX_LINKS {
            return Err(LinkError::Full);
        }
        Ok(self.0.slots.entry(relay).or_default().clone())
    }

    /// The open connection to a node, or a new one: to the first of `addresses` that answers, or through a hole punched
    /// in its NAT. Many requests to one node wait together, and none longer than two seconds after the attempt began;
    /// it goes on for those who come later.
    pub async fn get(&self, relay: RelayId, addresses: &[SocketAddr]) -> Result<quinn::Connection, LinkError> {
        let slot = self.slot(relay)?;
        let mut changed = slot.changed.subscribe();
        let since = {
            let mut state = slot.lock();
            if let Some(open) = state.connection() {
                return Ok(open.connection.clone());
            }
            match state.since {
                Some(since) => since,
                None => {
                    let attempt = Attempt {
                        links: self.0.clone(),
                        relay,
                        addresses: addresses.iter().copied().take(MAX_ADDRESSES).collect(),
                        slot: slot.clone(),
                        began: Instant::now(),
                    };
                    state.since = Some(attempt.began);
                    let began = attempt.began;
                    self.0.attempts.spawn(attempt.run());
                    began
                }
            }
        };
        loop {
            {
                let state = slot.lock();
                if let Some(open) = state.connection() {
                    return Ok(open.connection.clone());
                }
                if state.since != Some(since) {
                    return Err(state.failed.clone().unwrap_or(LinkError::NoAddress(relay)));
                }
            }
            if timeout_at(since + PATIENCE, changed.changed()).await.is_err() {
                return Err(LinkError::Unreachable(relay, format!("no connection in {PATIENCE:?}, still trying")));
            }
        }
    }

    /// A node has connected here: requests may go the same way back. An open connection is kept, unless the node has
    /// come from another address meanwhile.
    pub(super) async fn adopt(&self, relay: RelayId, connection: &quinn::Connection) {
        let Ok(slot) = self.slot(relay) else { return };
        let mut state = slot.lock();
        let moved = |open: &Open| open.connection.remote_address().ip() != connection.remote_address().ip();
        if state.connection().is_none_or(moved) {
            let open = Open { connection: connection.clone(), how: How::Accepted, took: Duration::ZERO };
            self.0.place(&mut state, Some(open));
            drop(state);
            slot.changed.send_replace(());
        }
    }

    /// A node is now at these addresses: a connection that was dialled to another one leads nowhere any more (of one that
    /// was punched only the machine counts: its port may be one that nobody lists), and the next request dials anew. What
    /// runs on it may end by itself.
    pub fn relocated(&self, relay: &RelayId, addresses: &[SocketAddr]) {
        let Some(slot) = self.0.slots.get(relay).map(|slot| slot.clone()) else { return };
        let mut state = slot.lock();
        let gone = |open: &Open| {
            let at = crate::quic::canonical(open.connection.remote_address());
            let any_port = open.how != How::Dialled;
            let is_here = |to: &SocketAddr| to.ip() == at.ip() && (any_port || to.port() == at.port());
            open.how != How::Accepted && !addresses.iter().any(is_here)
        };
        if !addresses.is_empty() && state.connection().is_some_and(gone) {
            tracing::debug!(relay = %relay.short(), "the relay has moved: its connection is not used any more");
            self.0.place(&mut state, None);
        }
    }

    /// This node's own address has changed: connections that others opened lead nowhere any more, since only the side that
    /// opened one can move it (RFC 9000 section 9). The next request to such a node dials; what runs may end by itself.
    pub fn moved(&self) {
        for slot in &self.0.slots {
            let mut state = slot.lock();
            if state.connection().is_some_and(|open| open.how == How::Accepted) {
                self.0.place(&mut state, None);
            }
        }
    }

    /// What QUIC says about the connections.
    pub fn transport(&self) -> TransportNow {
        let mut now = TransportNow::default();
        for slot in &self.0.slots {
            let mut state = slot.lock();
            state.count(&mut self.0.totals());
            if let Some(open) = state.connection() {
                let path = open.connection.stats().path;
                now.round_trips.push(path.rtt);
                now.mtus.push(path.current_mtu);
            }
        }
        now.totals = *self.0.totals();
        now
    }

    /// Dials that reached their node, and those that did not.
    pub fn attempts(&self) -> (u64, u64) {
        (self.0.reached.load(Ordering::Relaxed), self.0.unreached.load(Ordering::Relaxed))
    }

    /// Nodes with an open connection.
    pub fn open(&self) -> usize {
        self.0.slots.iter().filter(|slot| slot.lock().connection().is_some()).count()
    }

    /// Every open connection, in no order.
    pub fn table(&self) -> Vec<LinkInfo> {
        let info = |relay: RelayId, slot: &Slot| {
            let state = slot.lock();
            state.connection().map(|open| LinkInfo {
                relay,
                address: crate::quic::canonical(open.connection.remote_address()),
                how: open.how,
                round_trip: open.connection.rtt(),
                took: open.took,
            })
        };
        self.0.slots.iter().filter_map(|slot| info(*slot.key(), slot.value())).collect()
    }

    /// True when a connection to a node is open.
    pub fn is_open(&self, relay: &RelayId) -> bool {
        self.0.slots.get(relay).is_some_and(|slot| slot.lock().connection().is_some())
    }

    /// Round-trip time to a node with an open connection.
    pub fn round_trip(&self, relay: &RelayId) -> Option<Duration> {
        let slot = self.0.slots.get(relay)?.clone();
        let state = slot.lock();
        state.connection().map(|open| open.connection.rtt())
    }

    /// Ends all attempts and waits for them. Open connections stay.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.attempts.close();
        self.0.attempts.wait().await;
    }
}

impl Inner {
    fn totals(&self) -> MutexGuard<'_, TransportTotals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another connection, or none, takes the place of one whose last figures are still to be had.
    fn place(&self, state: &mut State, open: Option<Open>) {
        state.count(&mut self.totals());
        (state.open, state.counted) = (open, TransportTotals::default());
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, totals: &mut TransportTotals) {
        if let Some(open) = &self.open {
            let seen = TransportTotals::of(&open.connection);
            totals.add(&self.counted, &seen);
            self.counted = seen;
        }
    }

    fn connection(&self) -> Option<&Open> {
        self.open.as_ref().filter(|open| open.connection.close_reason().is_none())
    }
}

/// One attempt to reach a node by all means.
struct Attempt {
    links: Arc<Inner>,
    relay: RelayId,
    addresses: Vec<SocketAddr>,
    slot: Arc<Slot>,
    began: Instant,
}

impl Attempt {
    async fn run(self) {
        let mut changed = self.slot.changed.subscribe();
        let adopted = async {
            while changed.changed().await.is_ok() {
                if self.slot.lock().connection().is_some() {
                    return;
                }
            }
        };
        let stopped = LinkError::Unreachable(self.relay, "the node is shutting down".into());
        let outcome = tokio::select! {
            biased;
            () = self.links.stop.cancelled() => Err(stopped),
            // The node came by itself: also a success.
            () = adopted => Ok(None),
            made = self.make() => match made {
                Ok((dialled, how)) => self.hand_over(dialled, how).await.map(Some),
                Err(error) => Err(error),
            },
        };
        let mut state = self.slot.lock();
        state.since = None;
        match outcome {
            Ok(open) => {
                self.links.reached.fetch_add(1, Ordering::Relaxed);
                state.failed = None;
                if let Some(open) = open.filter(|_| state.connection().is_none()) {
                    self.links.place(&mut state, Some(open));
                }
            }
            Err(error) => {
                self.links.unreached.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(relay = %self.relay.short(), %error, "node not reached");
                state.failed = Some(error);
            }
        }
        drop(state);
        self.slot.changed.send_replace(());
    }

    async fn hand_over(&self, dialled: Dialled, how: How) -> Result<Open, LinkError> {
        let connection = dialled.link.conn.clone();
        let open = Open { connection, how, took: self.began.elapsed() };
        tracing::debug!(
            relay = %self.relay.short(), address = %dialled.link.remote, how = how.label(), took = ?open.took, "node reached"
        );
        let handed = self.links.opened.send(dialled).await;
        handed.map_err(|_| LinkError::Unreachable(self.relay, "the node is shutting down".into()))?;
        Ok(open)
    }

    async fn make(&self) -> Result<(Dialled, How), LinkError> {
        let mut attempts: FuturesUnordered<BoxFuture<'_, Result<(Dialled, How), String>>> = FuturesUnordered::new();
        let way = self.links.ways.to(&self.relay);
        // Dialling has no head start where strangers cannot dial: if it succeeds, the hole is open already.
        let closed = way.as_ref().is_some_and(|(_, head_start)| head_start.is_zero());
        let how = if closed { How::Punched } else { How::Dialled };
        for (address, rank) in self.addresses.iter().zip(0u32..) {
            attempts.push(Box::pin(async move {
                sleep(STAGGER * rank).await;
                self.dial(*address).await.map(|dialled| (dialled, how))
            }));
        }
        if let Some((way, head_start)) = way {
            attempts.push(Box::pin(async move {
                sleep(head_start).await;
                let address = way.await?;
                self.dial(address).await.map(|dialled| (dialled, How::Punched))
            }));
        }
        let mut last = LinkError::NoAddress(self.relay);
        while let Some(outcome) = attempts.next().await {
            match outcome {
                Ok(made) => return Ok(made),
                Err(error) => last = LinkError::Unreachable(self.relay, error),
            }
        }
        Err(last)
    }

    async fn dial(&self, address: SocketAddr) -> Result<Dialled, String> {
        let dialling = async {
            let link = self.links.dialer.connect(address, *self.relay.peer_id()).await;
            let link = link.map_err(|error| format!("{address}: {error}"))?;
            let control = link.conn.open_bi().await.map_err(|error| format!("{address}: {error}"))?;
            Ok(Dialled { link, control })
        };
        timeout(DIAL_TIMEOUT, dialling).await.map_err(|_| format!("{address}: no handshake in {DIAL_TIMEOUT:?}"))?
    }
}
