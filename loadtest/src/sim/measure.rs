//! What is counted while a run goes on.

use super::{
    content::{Object, Rendition},
    place::seconds,
    queue::Micros,
};
use hdrhistogram::Histogram;
use rustc_hash::{FxHashMap, FxHashSet};

/// Longest duration that is told apart: an hour, in microseconds.
const LONGEST: u64 = 3_600_000_000;
/// Ratios are counted in thousandths.
pub(super) const THOUSANDTHS: f64 = 1_000.0;

/// Durations in microseconds, or ratios in thousandths.
pub(super) struct Times(Histogram<u64>);

impl Times {
    fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are fixed and valid"))
    }

    pub(super) fn record(&mut self, value: u64) {
        self.0.saturating_record(value.max(1));
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// `None` when nothing was counted.
    pub(super) fn percentile(&self, percent: f64) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(percent / 100.0))
    }

    pub(super) fn max(&self) -> u64 {
        self.0.max()
    }
}

/// How one live segment spreads, until it is old.
#[derive(Default)]
struct Spread {
    slowest_path: u32,
    delays: Vec<u32>,
}

/// One second of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SecondOf {
    /// Bytes that left the adapter.
    pub(super) adapter: f64,
    /// Viewers and relays at its end.
    pub(super) viewers: u32,
    pub(super) relays: u32,
}

/// All counts.
pub(super) struct Counts {
    pub(super) events: u64,
    // Objects
    upstream: FxHashMap<Object, u32>,
    wanted: FxHashSet<(u8, Object)>,
    /// Distinct bytes that each region has wanted, and bytes that the adapter has sent there.
    pub(super) wanted_bytes: Vec<f64>,
    pub(super) adapter_bytes: Vec<f64>,
    pub(super) adapter_requests: u64,
    // Bytes between nodes
    pub(super) body_bytes: f64,
    pub(super) control_bytes: u64,
    pub(super) tick_bytes: u64,
    pub(super) membership_bytes: u64,
    pub(super) gossip_bytes: u64,
    pub(super) playlists: u64,
    pub(super) wasted: f64,
    // Requests between nodes
    pub(super) asks: u64,
    pub(super) hedges: u64,
    pub(super) failed: u64,
    pub(super) refused: u64,
    pub(super) busy: u64,
    pub(super) named: u64,
    pub(super) failed_fills: u64,
    pub(super) replicated: u64,
    pub(super) handshakes: u64,
    pub(super) connections: u64,
    // Trees
    spreads: FxHashMap<Object, Spread>,
    slowest: FxHashMap<Object, u32>,
    pub(super) propagation: Times,
    pub(super) propagation_delays: Times,
    pub(super) slowest_paths: Times,
    pub(super) caught_up: Times,
    pub(super) placed: u64,
    pub(super) repairs: u64,
    // Viewers
    watching: Vec<i64>,
    pub(super) online: u32,
    pub(super) views: u64,
    pub(super) hits: u64,
    pub(super) startup: Times,
    pub(super) viewings: u64,
    pub(super) viewings_stalled: u64,
    pub(super) wanted_time: u64,
    pub(super) stalled_time: u64,
    pub(super) stalls: u64,
    pub(super) unstarted: u64,
    pub(super) skipped: u64,
    pub(super) viewer_failures: u64,
    pub(super) moved: u64,
    // Lives and gossip
    pub(super) deaths: u64,
    pub(super) births: u64,
    pub(super) announcement: Times,
    pub(super) announcements: u64,
    pub(super) announcement_reach: f64,
    pub(super) gossip_messages: u64,
    pub(super) gossip_duplicates: u64,
    pub(super) seconds: Vec<SecondOf>,
}

impl Counts {
    pub(super) fn new(regions: usize, renditions: Rendition) -> Self {
        Self {
            events: 0,
            upstream: FxHashMap::default(),
            wanted: FxHashSet::default(),
            wanted_bytes: vec![0.0; regions],
            adapter_bytes: vec![0.0; regions],
            adapter_requests: 0,
            body_bytes: 0.0,
            control_bytes: 0,
            tick_bytes: 0,
            membership_bytes: 0,
            gossip_bytes: 0,
            playlists: 0,
            wasted: 0.0,
            asks: 0,
            hedges: 0,
            failed: 0,
            refused: 0,
            busy: 0,
            named: 0,
            failed_fills: 0,
            replicated: 0,
            handshakes: 0,
            connections: 0,
            spreads: FxHashMap::default(),
            slowest: FxHashMap::default(),
            propagation: Times::new(),
            propagation_delays: Times::new(),
            slowest_paths: Times::new(),
            caught_up: Times::new(),
            placed: 0,
            repairs: 0,
            watching: vec![0; usize::from(renditions)],
            online: 0,
            views: 0,
            hits: 0,
            startup: Times::new(),
            viewings: 0,
            viewings_stalled: 0,
            wanted_time: 0,
            stalled_time: 0,
            stalls: 0,
            unstarted: 0,
            skipped: 0,
            viewer_failures: 0,
            moved: 0,
            deaths: 0,
            births: 0,
            announcement: Times::new(),
            announcements: 0,
            announcement_reach: 0.0,
            gossip_messages: 0,
            gossip_duplicates: 0,
            seconds: vec![SecondOf::default()],
        }
    }

    /// The origin was asked.
    pub(super) fn upstream(&mut self, object: Object) {
        *self.upstream.entry(object).or_default() += 1;
    }

    /// Objects that the origin was asked for, requests in all, and the most for one object.
    pub(super) fn upstream_summary(&self) -> (u64, u64, u32) {
        let requests = self.upstream.values().map(|count| u64::from(*count)).sum();
        (self.upstream.len() as u64, requests, self.upstream.values().copied().max().unwrap_or(0))
    }

    /// A relay of a region wants an object.
    pub(super) fn wanted(&mut self, region: u8, object: Object, bytes: u32) {
        if self.wanted.insert((region, object)) {
            self.wanted_bytes[usize::from(region)] += f64::from(bytes);
        }
    }

    /// The adapter was asked for an object.
    pub(super) fn adapter_asked(&mut self) {
        self.adapter_requests += 1;
    }

    /// Bytes of a body have gone from one node to another; from the adapter into a region.
    pub(super) fn between_nodes(&mut self, now: Micros, from_adapter: Option<u8>, bytes: f64) {
        self.body_bytes += bytes;
        if let Some(region) = from_adapter {
            self.adapter_bytes[usize::from(region)] += bytes;
            let second = seconds(now);
            if self.seconds.len() <= second {
                self.seconds.resize(second + 1, SecondOf::default());
            }
            self.seconds[second].adapter += bytes;
        }
    }

    /// Bytes that are no body.
    pub(super) fn control(&mut self, bytes: u64) {
        self.control_bytes += bytes;
    }

    /// A relay that is fed has a live segment: so long after the adapter had it, over a path of so many one-way delays.
    pub(super) fn arrived(&mut self, object: Object, after: Micros, path: Micros) {
        let (after, path) = (u32::try_from(after).unwrap_or(u32::MAX), u32::try_from(path).unwrap_or(u32::MAX));
        self.propagation.record(u64::from(after));
        if let Some(slowest) = self.slowest.get(&object) {
            // It is old: what is late now does not change what the slowest path was.
            let slowest = *slowest;
            return self.ratio(after, slowest);
        }
        let spread = self.spreads.entry(object).or_default();
        spread.slowest_path = spread.slowest_path.max(path);
        spread.delays.push(after);
    }

    fn ratio(&mut self, after: u32, slowest: u32) {
        let ratio = f64::from(after) / f64::from(slowest.max(1));
        self.propagation_delays.record((ratio * THOUSANDTHS).round() as u64);
    }

    /// A segment is old: its slowest path is known.
    pub(super) fn old(&mut self, object: Object) {
        let Some(spread) = self.spreads.remove(&object) else { return };
        self.slowest.insert(object, spread.slowest_path);
        self.slowest_paths.record(u64::from(spread.slowest_path));
        for after in spread.delays {
            self.ratio(after, spread.slowest_path);
        }
    }

    /// All segments are old.
    pub(super) fn all_old(&mut self) {
        let mut left: Vec<Object> = self.spreads.keys().copied().collect();
        left.sort_unstable();
        left.into_iter().for_each(|object| self.old(object));
    }

    /// A viewer comes to a rendition, or leaves it.
    pub(super) fn watch(&mut self, rendition: Rendition, change: i64) {
        self.watching[usize::from(rendition)] += change;
    }

    pub(super) fn watching(&self, rendition: Rendition) -> i64 {
        self.watching[usize::from(rendition)]
    }

    /// A viewer's request was answered from what was there.
    pub(super) fn viewed(&mut self, hit: bool) {
        self.views += 1;
        self.hits += u64::from(hit);
    }

    /// A viewer sees the first picture.
    pub(super) fn started(&mut self, after: Micros) {
        self.startup.record(after);
    }

    /// A viewer has waited in vain.
    pub(super) fn never_started(&mut self, waited: Micros) {
        self.unstarted += 1;
        self.viewings += 1;
        self.stalled_time += waited;
        self.wanted_time += waited;
    }

    /// A viewing is over, or the run is.
    pub(super) fn viewing(&mut self, wanted: Micros, stalled: Micros, stalls: u32) {
        self.viewings += 1;
        self.viewings_stalled += u64::from(stalls > 0);
        self.wanted_time += wanted;
        self.stalled_time += stalled;
        self.stalls += u64::from(stalls);
    }

    /// An announcement has reached so many of all.
    pub(super) fn announced(&mut self, reached: u32, of: u32) {
        self.announcements += 1;
        self.announcement_reach += f64::from(reached) / f64::from(of.max(1));
    }

    /// A second is over.
    pub(super) fn second(&mut self, relays: u32) {
        let viewers = self.online;
        if let Some(last) = self.seconds.last_mut() {
            last.viewers = viewers;
            last.relays = relays;
        }
        self.seconds.push(SecondOf { viewers, relays, adapter: 0.0 });
    }
}
