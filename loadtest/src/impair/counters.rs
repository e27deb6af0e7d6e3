//! What a proxy counts. Each number is exact; a reading is no snapshot of all at one moment.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Packets of one direction, TCP chunks included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Direction {
    /// Handed to the socket.
    pub forwarded: u64,
    /// Lost on purpose.
    pub lost: u64,
    /// Lost for want of room: a full queue of the link or of the proxy, or a full socket buffer.
    pub overflowed: u64,
}

/// What a proxy has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// From clients to the server.
    pub up: Direction,
    /// From the server to clients.
    pub down: Direction,
    /// UDP flows opened.
    pub flows: u64,
    /// TCP connections accepted.
    pub connections: u64,
    /// Datagrams and connections refused because `max_flows` were open or the server could not be reached.
    pub refused: u64,
}

/// [`Direction`] as it is counted.
#[derive(Debug, Default)]
pub(super) struct DirectionCounters {
    pub(super) forwarded: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) overflowed: AtomicU64,
}

/// [`Counts`] as they are counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) up: DirectionCounters,
    pub(super) down: DirectionCounters,
    pub(super) flows: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl DirectionCounters {
    fn read(&self) -> Direction {
        Direction {
            forwarded: self.forwarded.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            overflowed: self.overflowed.load(Ordering::Relaxed),
        }
    }
}

impl Counters {
    /// What was counted so far.
    pub(super) fn read(&self) -> Counts {
        Counts {
            up: self.up.read(),
            down: self.down.read(),
            flows: self.flows.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}
