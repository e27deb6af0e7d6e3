//! What QUIC says about the connections to other nodes, added up over all of them. Invariant: sums never shrink, also
//! when connections end, and nothing here names a node.

use std::time::Duration;

/// Counters of QUIC connections since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransportTotals {
    /// UDP payload bytes sent, headers and retransmissions included.
    pub sent_bytes: u64,
    /// UDP payload bytes received.
    pub received_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets that were declared lost (RFC 9002 section 6), path MTU probes excepted.
    pub lost_packets: u64,
    /// Times the congestion window was reduced (RFC 9002 section 7).
    pub congestion_events: u64,
}

/// The connections that are open now.
#[derive(Debug, Clone, Default)]
pub struct TransportNow {
    /// Sums of these and of all that have ended.
    pub totals: TransportTotals,
    /// Smoothed round trip of each open connection.
    pub round_trips: Vec<Duration>,
    /// Largest UDP payload that each open connection's path takes, in bytes.
    pub mtus: Vec<u16>,
}

impl TransportTotals {
    pub(super) fn of(connection: &quinn::Connection) -> Self {
        let stats = connection.stats();
        Self {
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            sent_packets: stats.path.sent_packets,
            lost_packets: stats.path.lost_packets,
            congestion_events: stats.path.congestion_events,
        }
    }

    /// Adds what has come since `before`. A connection that moved to another path begins to count anew.
    pub(super) fn add(&mut self, before: &Self, after: &Self) {
        let more = |sum: &mut u64, before: u64, after: u64| {
            *sum = sum.saturating_add(if after >= before { after - before } else { after });
        };
        more(&mut self.sent_bytes, before.sent_bytes, after.sent_bytes);
        more(&mut self.received_bytes, before.received_bytes, after.received_bytes);
        more(&mut self.sent_packets, before.sent_packets, after.sent_packets);
        more(&mut self.lost_packets, before.lost_packets, after.lost_packets);
        more(&mut self.congestion_events, before.congestion_events, after.congestion_events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(sent_bytes: u64, lost_packets: u64) -> TransportTotals {
        TransportTotals { sent_bytes, lost_packets, ..TransportTotals::default() }
    }

    #[test]
    fn sums_grow_by_what_is_new_and_never_shrink() {
        let mut sum = TransportTotals::default();
        sum.add(&totals(0, 0), &totals(100, 3));
        sum.add(&totals(100, 3), &totals(150, 3));
        assert_eq!(sum, totals(150, 3));
        // The path changed: its packets are counted from nothing.
        sum.add(&totals(150, 3), &totals(170, 1));
        assert_eq!(sum, totals(170, 4));
    }
}
