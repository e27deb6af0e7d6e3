//! The task that owns the swarm.
//!
//! Invariant: while an event waits for room in the reader's queue the swarm is not polled, so nothing can pile up
//! behind it; commands are served all the time.

mod commands;
mod discovery;
mod events;
mod gossip;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::kad::{QueryId, RecordKey};
use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, Swarm};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use weir_protocol::gossip::Topic;
use weir_protocol::time::UnixMillis;

use super::behaviour::Behaviour;
use super::config::{ControlConfig, bound};
use super::error::ControlError;
use super::event::ControlEvent;
use super::gossip::{Gossiped, Guard};
use super::handle::{Command, Reply};
use super::peers::Peers;
use super::punches::Punches;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(250);

pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<ControlEvent>,
    /// Events that found the queue full: what one event of the swarm led to.
    waiting: VecDeque<ControlEvent>,
    dials: HashMap<ConnectionId, Reply<Result<PeerId, ControlError>>>,
    max_dials: usize,
    listens: HashMap<ListenerId, Reply<Result<ListenerId, ControlError>>>,
    peers: Peers,
    /// Where connected peers are, circuits left out. Bounded by the swarm's limits.
    direct: HashMap<PeerId, Vec<(ConnectionId, SocketAddr)>>,
    punches: Punches,
    guard: Guard,
    /// When we spoke last: each thing we say is newer than the former, also within one millisecond.
    spoke: UnixMillis,
    subscribers: HashMap<Topic, mpsc::Sender<Gossiped>>,
    searches: HashMap<QueryId, Search>,
    provided: HashSet<RecordKey>,
}

/// A search for providers.
struct Search {
    reply: Reply<Result<Vec<PeerId>, ControlError>>,
    found: HashSet<PeerId>,
}

impl Driver {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<ControlEvent>,
        config: &ControlConfig,
    ) -> Self {
        Self {
            swarm,
            commands,
            events,
            waiting: VecDeque::new(),
            dials: HashMap::new(),
            max_dials: bound(config.max_dials),
            listens: HashMap::new(),
            peers: Peers::new(bound(config.max_peers)),
            direct: HashMap::new(),
            punches: Punches::default(),
            guard: Guard::default(),
            spoke: UnixMillis::default(),
            subscribers: HashMap::new(),
            searches: HashMap::new(),
            provided: HashSet::new(),
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut commanded = true;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // In this order: the end is never delayed, and answers to commands see the state before the next event.
                biased;
                () = cancel.cancelled() => break,
                room = self.events.clone().reserve_owned(), if !self.waiting.is_empty() => {
                    // No room means that the reader has gone, and events are no longer wanted.
                    if let (Ok(room), Some(event)) = (room, self.waiting.pop_front()) {
                        room.send(event);
                    }
                }
                command = self.commands.recv(), if commanded => match command {
                    Some(command) => self.execute(command),
                    None => commanded = false,
                },
                _ = ticks.tick() => self.tick(),
                event = self.swarm.select_next_some(), if self.waiting.is_empty() => self.react(event),
            }
        }
    }

    fn tick(&mut self) {
        for circuit in self.punches.expire(Instant::now()) {
            self.swarm.close_connection(circuit);
        }
        self.forgive();
    }

    /// Called only while reacting to an event of the swarm, hence while nothing waits but what the same event led to.
    fn emit(&mut self, event: ControlEvent) {
        if !self.waiting.is_empty() {
            self.waiting.push_back(event);
            return;
        }
        match self.events.try_send(event) {
            // The next ping brings a newer time; it is not worth stopping for.
            Ok(()) | Err(TrySendError::Closed(_) | TrySendError::Full(ControlEvent::PingRtt { .. })) => {}
            Err(TrySendError::Full(event)) => self.waiting.push_back(event),
        }
    }
}
