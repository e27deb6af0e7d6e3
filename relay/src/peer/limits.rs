//! What one node may take of another.

use std::time::Duration;

/// Bounds of the peer server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Connections from one IP address: a quarter of what the socket takes, so that one host cannot shut out all
    /// others. Default 256.
    pub per_address: usize,
    /// How long a node may stay connected that is let into no network here: it may have just joined. It is closed after
    /// one to two of these. Default 60 s.
    pub stranger: Duration,
    /// Bytes a second at which a peer must take a body that is kept. Default 32 KiB.
    pub least_rate: u64,
    /// How long writing to it may take before that counts. Default 10 s.
    pub slow_grace: Duration,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            per_address: 256,
            stranger: Duration::from_secs(60),
            least_rate: super::frames::LEAST_RATE,
            slow_grace: Duration::from_secs(10),
        }
    }
}
