//! What a proxy stands between, and what it does to packets.

use std::net::SocketAddr;
use std::time::Duration;

use super::link::LinkConfig;

/// What to put between whom.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients connect; port 0 lets the kernel choose, the same for both protocols. Use one concrete address:
    /// replies leave from it.
    pub listen: SocketAddr,
    /// The server.
    pub to: SocketAddr,
    /// Carry UDP.
    pub udp: bool,
    /// Carry TCP.
    pub tcp: bool,
    /// From clients to the server.
    pub up: LinkConfig,
    /// From the server to clients.
    pub down: LinkConfig,
    /// Seed of the random decisions: equal seeds and equal packet order give equal decisions.
    pub seed: u64,
    /// Most UDP flows, and most TCP connections, at a time; further ones are refused.
    pub max_flows: usize,
    /// A UDP flow ends after this long without a datagram in either direction.
    pub flow_idle: Duration,
}

impl Config {
    /// Both protocols, transparent, 1024 flows, 60 s idle, seed 1.
    pub fn new(listen: SocketAddr, to: SocketAddr) -> Self {
        Self {
            listen,
            to,
            udp: true,
            tcp: true,
            up: LinkConfig::default(),
            down: LinkConfig::default(),
            seed: 1,
            max_flows: 1024,
            flow_idle: Duration::from_secs(60),
        }
    }
}
