//! The arithmetic of the status line: shares, percentiles and how many are watching. No I/O.
//!
//! Invariant: a share without anything to be a share of is absent, never 0 or 100 %.

use super::origin::Totals;
use serde::Deserialize;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Media in one segment of the embedded clip.
const SEGMENT_SECONDS: f64 = 2.0;
/// How many readings the number of viewers is taken from.
const REMEMBERED: usize = 24;

/// What a node counted since it started, as its status says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub(super) struct NodeCounts {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) bytes_from_peers: u64,
    /// From the adapter (of a relay), or from the origin (of the adapter).
    pub(super) bytes_from_origin: u64,
    pub(super) integrity_failures: u64,
}

/// What the adapter's ledger counted since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub(super) struct LedgerCounts {
    pub(super) kept: u64,
}

/// The last that is known of one relay.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RelayReading {
    pub(super) counts: NodeCounts,
    pub(super) connections: u64,
    pub(super) bytes_to_viewers: u64,
    pub(super) segments: u64,
    /// Cumulative buckets of the time to the first byte, in seconds.
    pub(super) first_byte: Vec<(f64, f64)>,
}

impl RelayReading {
    /// This and what was counted after it, with the connections of the latter, since those of a life that is over are
    /// gone.
    pub(super) fn plus(&self, later: &Self) -> Self {
        let (one, other) = (&self.counts, &later.counts);
        Self {
            counts: NodeCounts {
                hits: one.hits + other.hits,
                misses: one.misses + other.misses,
                bytes_from_peers: one.bytes_from_peers + other.bytes_from_peers,
                bytes_from_origin: one.bytes_from_origin + other.bytes_from_origin,
                integrity_failures: one.integrity_failures + other.integrity_failures,
            },
            connections: later.connections,
            bytes_to_viewers: self.bytes_to_viewers + later.bytes_to_viewers,
            segments: self.segments + later.segments,
            first_byte: added(&self.first_byte, &later.first_byte),
        }
    }
}

/// Everything together at one instant, counted since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) hits: u64,
    pub(super) misses: u64,
    /// Body bytes that left the relays towards viewers.
    pub(super) bytes_to_viewers: u64,
    /// Bytes that relays had from one another.
    pub(super) bytes_from_peers: u64,
    /// Bytes that relays had from the adapter.
    pub(super) bytes_from_adapter: u64,
    /// Bytes that left the origin.
    pub(super) bytes_from_origin: u64,
    /// What did not verify, at relays and at the adapter.
    pub(super) integrity_failures: u64,
    /// Receipts and claims that are in the ledger.
    pub(super) receipts: u64,
    connections: u64,
    segments: u64,
    first_byte: Vec<(f64, f64)>,
}

impl Figures {
    /// Adds up what is known.
    pub(super) fn of(relays: &[RelayReading], adapter: &NodeCounts, origin: Totals) -> Self {
        let mut all =
            Self { bytes_from_origin: origin.bytes, integrity_failures: adapter.integrity_failures, ..Self::default() };
        for relay in relays {
            all.hits += relay.counts.hits;
            all.misses += relay.counts.misses;
            all.bytes_to_viewers += relay.bytes_to_viewers;
            all.bytes_from_peers += relay.counts.bytes_from_peers;
            all.bytes_from_adapter += relay.counts.bytes_from_origin;
            all.integrity_failures += relay.counts.integrity_failures;
            all.connections += relay.connections;
            all.segments += relay.segments;
            all.first_byte = added(&all.first_byte, &relay.first_byte);
        }
        all
    }

    /// Of the requests to relays, the share that was answered from a store.
    pub(super) fn hit_ratio(&self) -> Option<f64> {
        share(self.hits, self.hits + self.misses)
    }

    /// Of the bytes that relays fetched, the share that came from other relays.
    pub(super) fn peer_ratio(&self) -> Option<f64> {
        share(self.bytes_from_peers, self.bytes_from_peers + self.bytes_from_adapter)
    }

    /// Of the bytes that viewers received, the share that the origin did not have to send. An origin that sent more than
    /// viewers received was spared nothing.
    pub(super) fn origin_saved(&self) -> Option<f64> {
        share(self.bytes_to_viewers.saturating_sub(self.bytes_from_origin), self.bytes_to_viewers)
    }

    /// Time within which 95 % of the answers began, interpolated within its bucket.
    pub(super) fn first_byte_p95(&self) -> Option<Duration> {
        quantile(&self.first_byte, 0.95).map(Duration::from_secs_f64)
    }
}

/// Buckets of the same bounds added up; all nodes of one build have the same.
fn added(one: &[(f64, f64)], other: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if one.is_empty() {
        return other.to_vec();
    }
    let count = |bound: f64| other.iter().find(|(known, _)| *known == bound).map_or(0.0, |(_, count)| *count);
    one.iter().map(|(bound, sum)| (*bound, sum + count(*bound))).collect()
}

fn quantile(buckets: &[(f64, f64)], wanted: f64) -> Option<f64> {
    let rank = buckets.last().map(|(_, total)| total * wanted).filter(|rank| *rank > 0.0)?;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= rank {
            // Nothing is known of how far beyond the last bound it lies.
            return Some(if bound.is_finite() {
                lower + (bound - lower) * (rank - below) / (count - below)
            } else {
                lower
            });
        }
        (lower, below) = (*bound, *count);
    }
    None
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more than the 52 bits of an f64")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// How many are watching, told from the segments that are fetched: whoever watches fetches a second of media each second.
/// Relays hold no identity of viewers, and any player counts.
#[derive(Debug, Default)]
pub(super) struct Audience {
    last: Option<(Duration, u64)>,
    rates: VecDeque<f64>,
}

impl Audience {
    /// Takes a reading `at` so long after the start, and says how many viewers there are. A player that fills its buffer
    /// fetches faster for a moment; so the middle half of the latest rates counts, and never more viewers than connections.
    pub(super) fn count(&mut self, at: Duration, figures: &Figures) -> u64 {
        if let Some((before, segments)) = self.last {
            let passed = at.saturating_sub(before).as_secs_f64();
            if passed <= 0.0 {
                return self.estimate(figures.connections);
            }
            #[expect(clippy::cast_precision_loss, reason = "a handful of segments")]
            let media = figures.segments.saturating_sub(segments) as f64 * SEGMENT_SECONDS;
            if self.rates.len() == REMEMBERED {
                self.rates.pop_front();
            }
            self.rates.push_back(media / passed);
        }
        self.last = Some((at, figures.segments));
        self.estimate(figures.connections)
    }

    fn estimate(&self, connections: u64) -> u64 {
        let mut rates: Vec<f64> = self.rates.iter().copied().collect();
        rates.sort_by(f64::total_cmp);
        let cut = rates.len() / 4;
        let middle = &rates[cut..rates.len() - cut];
        #[expect(clippy::cast_precision_loss, reason = "at most as many as are remembered")]
        let mean = middle.iter().sum::<f64>() / middle.len().max(1) as f64;
        let watched = u64::from(rates.iter().any(|rate| *rate > 0.0));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and not negative")]
        let viewers = (mean.round() as u64).max(watched);
        viewers.min(connections)
    }
}

/// The status line.
pub(super) struct StatusLine<'a> {
    pub(super) elapsed: Duration,
    pub(super) viewers: u64,
    pub(super) figures: &'a Figures,
}

impl fmt::Display for StatusLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        if hours > 0 {
            write!(f, "{hours}:")?;
        }
        let figures = self.figures;
        let [hit, peers, saved] = [figures.hit_ratio(), figures.peer_ratio(), figures.origin_saved()].map(percent);
        let first_byte = figures.first_byte_p95().map_or("–".into(), |time| {
            let ms = time.as_secs_f64() * 1e3;
            if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
        });
        write!(
            f,
            "{minutes:02}:{seconds:02}  viewers {} | hit {hit} | from peers {peers} | origin saved {saved} | TTFB p95 {first_byte} | receipts {}",
            self.viewers, figures.receipts
        )
    }
}

/// A share for people.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or("–".into(), |share| format!("{:.0} %", share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(hits: u64, misses: u64, peers: u64, adapter: u64, viewers: u64) -> RelayReading {
        let counts =
            NodeCounts { hits, misses, bytes_from_peers: peers, bytes_from_origin: adapter, integrity_failures: 0 };
        RelayReading { counts, bytes_to_viewers: viewers, connections: 1, ..RelayReading::default() }
    }

    fn origin(bytes: u64) -> Totals {
        Totals { bytes, ..Totals::default() }
    }

    #[test]
    fn shares_are_of_all_relays_together() {
        let relays = [relay(8, 2, 300, 100, 1000), relay(0, 2, 300, 300, 1000), RelayReading::default()];
        let figures = Figures::of(&relays, &NodeCounts::default(), origin(500));
        assert_eq!(figures.hit_ratio(), Some(8.0 / 12.0));
        assert_eq!(figures.peer_ratio(), Some(0.6));
        assert_eq!(figures.origin_saved(), Some(0.75));
    }

    #[test]
    fn nothing_has_no_share_and_an_origin_that_sent_more_saved_nothing() {
        let nothing = Figures::of(&[], &NodeCounts::default(), origin(0));
        assert_eq!((nothing.hit_ratio(), nothing.peer_ratio(), nothing.origin_saved()), (None, None, None));
        assert_eq!(nothing.first_byte_p95(), None);
        let more = Figures::of(&[relay(0, 1, 0, 9, 10)], &NodeCounts::default(), origin(30));
        assert_eq!(more.origin_saved(), Some(0.0));
    }

    #[test]
    fn integrity_failures_of_relays_and_adapter_count() {
        let failing = NodeCounts { integrity_failures: 2, ..NodeCounts::default() };
        let relay = RelayReading { counts: failing, ..RelayReading::default() };
        assert_eq!(Figures::of(&[relay.clone(), relay], &failing, origin(0)).integrity_failures, 6);
    }

    #[test]
    fn the_percentile_lies_within_its_bucket() {
        let of = |first_byte: &[(f64, f64)]| {
            let relay = RelayReading { first_byte: first_byte.to_vec(), ..RelayReading::default() };
            Figures::of(&[relay.clone(), relay], &NodeCounts::default(), origin(0)).first_byte_p95()
        };
        assert_eq!(of(&[(0.001, 90.0), (0.002, 100.0), (f64::INFINITY, 100.0)]), Some(Duration::from_micros(1500)));
        assert_eq!(of(&[(0.001, 1.0), (0.002, 2.0), (f64::INFINITY, 100.0)]), Some(Duration::from_millis(2)));
        assert_eq!(of(&[(0.001, 0.0), (f64::INFINITY, 0.0)]), None);
    }

    #[test]
    fn viewers_are_told_from_the_rate_of_segments() {
        let seconds = |n: u64| Duration::from_secs(n);
        let at = |segments, connections| Figures { segments, connections, ..Figures::default() };
        let mut audience = Audience::default();
        assert_eq!(audience.count(seconds(0), &at(0, 0)), 0);
        // Six segments at once to fill the buffer, then one every two seconds, over two connections.
        assert_eq!(audience.count(seconds(1), &at(6, 2)), 2, "at first no more is known than the connections");
        let mut viewers = 0;
        for second in 2..20 {
            viewers = audience.count(seconds(second), &at(6 + second / 2, 2));
        }
        assert_eq!(viewers, 1);
        assert_eq!(audience.count(seconds(20), &at(15, 0)), 0, "without a connection nobody watches");
        for second in 21..60 {
            viewers = audience.count(seconds(second), &at(15, 1));
        }
        assert_eq!(viewers, 0, "a connection that is only open is no viewer");
    }

    #[test]
    fn the_line_reads_as_people_expect() {
        let relays = [relay(83, 17, 61, 39, 1000)];
        let mut figures = Figures::of(&relays, &NodeCounts::default(), origin(290));
        let line = |figures: &Figures, seconds| {
            StatusLine { elapsed: Duration::from_secs(seconds), viewers: 1, figures }.to_string()
        };
        figures.first_byte = vec![(0.009, 95.0), (f64::INFINITY, 100.0)];
        assert_eq!(
            line(&figures, 12),
            "00:12  viewers 1 | hit 83 % | from peers 61 % | origin saved 71 % | TTFB p95 9.0 ms | receipts 0"
        );
        let nothing = Figures::default();
        assert!(line(&nothing, 3723).starts_with("1:02:03  viewers 1 | hit – | from peers –"));
    }
}
