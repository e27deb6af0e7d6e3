//! What the control swarm can be told.

use std::time::Duration;

use serde::Deserialize;

/// Bounds and periods of the control swarm. A zero in a bound is read as one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlConfig {
    /// Established control connections, both directions. Default 512.
    pub max_connections: u32,
    /// Of these, inbound: room is kept for peers that we choose ourselves, so that strangers cannot surround a node
    /// (eclipse attack). Default 384.
    pub max_inbound: u32,
    /// Of these, with one peer: two circuits, two crossing direct connections, a punched one and a reachability test.
    /// Default 6.
    pub max_per_peer: u32,
    /// Dials at the same time. Default 64.
    pub max_dials: u32,
    /// Peers that are remembered, connected ones included. Default 1024.
    pub max_peers: u32,
    /// Commands that wait for the driver. Default 64.
    pub command_queue: u32,
    /// Events that wait for the reader; when it is full, the swarm waits too and ping times are dropped. Default 256.
    pub event_queue: u32,
    /// Time after which a connection that no protocol needs is closed, seconds. Default 600: identify and ping alone do
    /// not hold a connection, and a closed one costs a handshake and the NAT mapping.
    pub idle_timeout_secs: u32,
    /// Time between pings on one connection, seconds. Default 15.
    pub ping_interval_secs: u32,
    /// Whether to look for nodes on the local network by multicast DNS. Default false.
    pub mdns: bool,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            max_connections: 512,
            max_inbound: 384,
            max_per_peer: 6,
            max_dials: 64,
            max_peers: 1024,
            command_queue: 64,
            event_queue: 256,
            idle_timeout_secs: 600,
            ping_interval_secs: 15,
            mdns: false,
        }
    }
}

impl ControlConfig {
    pub(super) fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_secs.into())
    }

    pub(super) fn ping_interval(&self) -> Duration {
        Duration::from_secs(self.ping_interval_secs.max(1).into())
    }
}

/// A bound as a queue or collection takes it.
pub(super) fn bound(value: u32) -> usize {
    value.max(1) as usize
}
