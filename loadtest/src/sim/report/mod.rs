//! What a run has shown, as JSON (`schema` names its version) and as a table. Invariant: nothing in it depends on the
//! machine or on its clock, so that the same scenario and seed give the same bytes.

mod figures;
mod loads;
mod text;

use super::{measure::SecondOf, scenario::Verdict};
use serde::Serialize;

/// Name and version of the JSON form.
const SCHEMA: &str = "weir-load-sim/1";
/// Percentiles of the curves that are drawn.
const CURVE: usize = 200;

/// What a run has shown.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `weir-load-sim/1`.
    pub schema: &'static str,
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Relays at the beginning, viewers in all, and simulated seconds.
    pub relays: u32,
    /// Viewers in all.
    pub viewers: u32,
    /// Simulated seconds.
    pub seconds: u32,
    /// Events that happened.
    pub events: u64,
    /// The origin and the adapter.
    pub origin: OriginFigures,
    /// By region, in the scenario's order.
    pub regions: Vec<RegionFigures>,
    /// Bytes between nodes.
    pub bytes: ByteFigures,
    /// Trees.
    pub propagation: PropagationFigures,
    /// Requests between nodes.
    pub requests: RequestFigures,
    /// What viewers had.
    pub viewing: ViewingFigures,
    /// How evenly relays work.
    pub load: LoadFigures,
    /// Relays that came and went, and announcements.
    pub network: NetworkFigures,
    /// The scenario's expectations.
    pub expectations: Vec<Verdict>,
    /// Curves for the plot.
    #[serde(skip)]
    pub(super) curves: Curves,
}

/// The origin and the adapter.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct OriginFigures {
    /// Objects that the origin was asked for.
    pub objects: u64,
    /// Requests to it.
    pub requests: u64,
    /// Requests for each object, on average, and the most for one.
    pub requests_per_object: Option<f64>,
    /// The most requests for one object.
    pub most_for_one: u32,
    /// Requests of relays to the adapter; what it pushes is not asked for.
    pub adapter_requests: u64,
    /// Bytes that left the adapter for each distinct byte that a region wanted, over all regions.
    pub egress_copies_per_region: Option<f64>,
    /// The same of the region for which it is worst.
    pub worst_region: Option<f64>,
}

/// One region.
#[derive(Debug, Clone, Serialize)]
pub struct RegionFigures {
    /// Its name.
    pub name: String,
    /// Distinct bytes that its relays wanted.
    pub distinct_bytes: f64,
    /// Bytes that the adapter sent there.
    pub adapter_bytes: f64,
    /// The second divided by the first.
    pub copies: Option<f64>,
}

/// Bytes between nodes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ByteFigures {
    /// Bodies between nodes.
    pub bodies: f64,
    /// Of them what was thrown away, because another source was faster.
    pub wasted: f64,
    /// Playlists that were pushed.
    pub playlists: u64,
    /// Everything else between nodes: requests, heads, signatures, trees, ticks, membership, gossip, keep-alives.
    pub control: u64,
    /// Of them ticks of trees.
    pub ticks: u64,
    /// Of them changes of the membership.
    pub membership: u64,
    /// Of them announcements and statuses that go from neighbour to neighbour.
    pub gossip: u64,
    /// Control for each byte between nodes.
    pub control_share: Option<f64>,
    /// Bodies and playlists to viewers.
    pub to_viewers: f64,
}

/// Milliseconds by percentile.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Percentiles {
    /// How many were counted.
    pub count: u64,
    /// Median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

/// Trees.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PropagationFigures {
    /// From the last byte at the adapter to the last byte at a relay that is fed, in milliseconds.
    pub after_ms: Percentiles,
    /// The slowest path of each segment's tree, in milliseconds of one-way delay.
    pub slowest_path_ms: Percentiles,
    /// The first in one-way delays of the slowest path of the same segment.
    pub in_slowest_paths: Percentiles,
    /// Segments that came while a cut lay between the adapter and the relay, in milliseconds from the cut's end; they
    /// are in none of the figures above.
    pub caught_up_ms: Percentiles,
    /// Places that the coordinator assigned.
    pub placed: u64,
    /// Times that a relay found itself another parent.
    pub repairs: u64,
}

/// Requests between nodes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RequestFigures {
    /// Requests.
    pub sent: u64,
    /// Second requests because the first one was slow.
    pub hedged: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Refused because the one asked has not got it.
    pub refused: u64,
    /// Refused because the one asked serves as many as it can.
    pub busy: u64,
    /// Answered by the adapter with relays that have it already.
    pub named: u64,
    /// Objects that nobody would give.
    pub objects_not_had: u64,
    /// Objects that owners fetched because they are hot.
    pub replicated: u64,
}

/// What viewers had.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ViewingFigures {
    /// Segments that viewers asked for.
    pub requests: u64,
    /// Of them answered from what the relay had.
    pub hit_ratio: Option<f64>,
    /// Viewings, and those in which the picture stood still at least once.
    pub viewings: u64,
    /// Viewings in which the picture stood still at least once.
    pub with_stalls: u64,
    /// Viewings without a first picture.
    pub not_started: u64,
    /// Times that the picture stood still.
    pub stalls: u64,
    /// Time that the picture stood still for each second that was watched.
    pub rebuffering: Option<f64>,
    /// From coming to the first picture, in milliseconds.
    pub startup_ms: Percentiles,
    /// Segments that viewers skipped because they had fallen out of the window.
    pub skipped: u64,
    /// Requests of viewers that failed.
    pub failures: u64,
    /// Times that a viewer was sent to another relay.
    pub moved: u64,
}

/// How evenly relays work.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LoadFigures {
    /// Gini coefficient of the bytes that relays sent: 0 is even, 1 is one for all.
    pub gini_bytes: Option<f64>,
    /// The same of the share of its upload that each relay used while it was up.
    pub gini_use: Option<f64>,
    /// Share of its upload that a relay used: median and 99th percentile.
    pub use_p50: Option<f64>,
    /// 99th percentile.
    pub use_p99: Option<f64>,
}

/// Relays that came and went, and announcements.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct NetworkFigures {
    /// Relays that died.
    pub deaths: u64,
    /// Relays that came.
    pub births: u64,
    /// The most connections at a time.
    pub connections: u64,
    /// Announcements that went through the gossip mesh, the share of relays they reached, and their time there.
    pub announcements: u64,
    /// Share of the relays that an announcement reached.
    pub announcement_reach: Option<f64>,
    /// From the announcement to a relay, in milliseconds.
    pub announcement_ms: Percentiles,
    /// Messages that gossip took, and those that the receiver had already.
    pub gossip_messages: u64,
    /// Those that the receiver had already.
    pub gossip_duplicates: u64,
}

/// What is drawn.
#[derive(Debug, Clone, Default)]
pub(super) struct Curves {
    pub(super) seconds: Vec<SecondOf>,
    /// Milliseconds at evenly spaced shares of the relays.
    pub(super) propagation: Vec<f64>,
    /// Share of the bytes that the least busy relays sent, at evenly spaced shares of the relays.
    pub(super) lorenz: Vec<f64>,
    /// Share of its upload that a relay used, at evenly spaced shares of the relays.
    pub(super) usage: Vec<f64>,
}
