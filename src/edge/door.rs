//! Tells each adapter where viewers come to this relay and how busy it is, again and again: a relay that falls silent is
//! out of the steering lists. Invariant: nothing is told without an address that the operator has named.

use std::{
    collections::HashMap,
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use weir_edge::metrics::EdgeMetrics;
use weir_protocol::{ids::PublisherId, wire::DoorReport};
use weir_relay::{
    clock::Clock,
    peer::{Networks, REPORT_EVERY},
};

/// A relay's door, as its adapters are told of it.
pub(super) struct PublicDoor {
    /// The address that viewers use, without a slash at the end.
    pub(super) url: String,
    /// Bytes a second that viewers can be sent, if the operator says.
    pub(super) capacity: Option<NonZeroU64>,
    /// What stands before each publisher's paths: nothing, or a slash and its name.
    pub(super) prefixes: HashMap<PublisherId, String>,
    /// Connections that the doors take.
    pub(super) max_connections: usize,
}

impl PublicDoor {
    /// Reports until `drain`, says then that it drains, and goes on until `stop`.
    pub(super) async fn report(
        self,
        networks: Arc<Networks>,
        metrics: Arc<EdgeMetrics>,
        drain: CancellationToken,
        stop: CancellationToken,
    ) {
        let since = Clock::System.now().0;
        let mut rate = Rate::default();
        let mut ticks = interval(REPORT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = drain.cancelled(), if !told => told = true,
                _ = ticks.tick() => {}
            }
            let sent = rate.per_second(metrics.sent(), Instant::now());
            let load = self.load(sent, metrics.open_connections());
            let requests = u32::try_from(metrics.requests_in_flight()).unwrap_or(0);
            let report = |(publisher, prefix): (&PublisherId, &String)| DoorReport {
                publisher: *publisher,
                url: format!("{}{prefix}", self.url),
                since,
                load,
                requests,
                draining: drain.is_cancelled(),
            };
            networks.doors().send_replace(self.prefixes.iter().map(report).collect());
        }
    }

    /// The share that is in use of what runs out first, per mille.
    fn load(&self, sent: u64, connections: i64) -> u16 {
        let share = |used: u64, of: u64| used.saturating_mul(1000).checked_div(of).unwrap_or(0).min(1000);
        let connections = share(u64::try_from(connections).unwrap_or(0), self.max_connections as u64);
        let bytes = self.capacity.map_or(0, |capacity| share(sent, capacity.get()));
        u16::try_from(connections.max(bytes)).unwrap_or(1000)
    }
}

/// A rate over the last report's time.
#[derive(Default)]
struct Rate {
    last: Option<(u64, Instant)>,
}

impl Rate {
    fn per_second(&mut self, total: u64, now: Instant) -> u64 {
        let before = self.last.replace((total, now));
        let Some((sent, at)) = before else { return 0 };
        let took = now.duration_since(at).max(Duration::from_millis(1));
        u64::try_from(u128::from(total.saturating_sub(sent)) * 1000 / took.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_out_first_is_the_load() {
        let door = |capacity| PublicDoor {
            url: "https://r".into(),
            capacity: NonZeroU64::new(capacity),
            prefixes: HashMap::new(),
            max_connections: 200,
        };
        assert_eq!(door(0).load(u64::MAX, 50), 250);
        assert_eq!(door(1000).load(900, 50), 900);
        assert_eq!(door(1000).load(u64::MAX, 500), 1000);
        let (mut rate, start) = (Rate::default(), Instant::now());
        assert_eq!(rate.per_second(5, start), 0);
        assert_eq!(rate.per_second(4005, start + Duration::from_secs(2)), 2000);
    }
}
