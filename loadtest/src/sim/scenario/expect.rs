//! What a scenario promises, and whether a run has kept it.

use serde::{Deserialize, Serialize};

/// Bounds on a run's figures. Absent: not looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Most bytes that leave the adapter towards a region, for each distinct byte that the region wanted; the worst
    /// region counts.
    pub egress_copies_per_region: Option<f64>,
    /// Most requests to the origin for one object, on average.
    pub upstream_per_object: Option<f64>,
    /// Most control bytes for each byte that goes between nodes.
    pub control_share: Option<f64>,
    /// Most one-way delays of the slowest path of the tree after which 99 % of the relays that are fed have a segment.
    pub propagation_p99_delays: Option<f64>,
    /// Most time that viewers wait for media, for each second they want to watch.
    pub rebuffering: Option<f64>,
    /// Fewest requests of viewers that a relay answers without asking anybody, or from what is arriving.
    pub hit_ratio: Option<f64>,
}

/// One bound, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The bound's name in the scenario's `[expect]`.
    pub what: &'static str,
    /// The bound.
    pub bound: f64,
    /// The figure; absent when the run had nothing to measure.
    pub figure: Option<f64>,
    /// Kept?
    pub met: bool,
}

impl Verdict {
    /// A figure that must not exceed its bound. What was not measured has not been kept.
    pub(crate) fn at_most(what: &'static str, bound: f64, figure: Option<f64>) -> Self {
        Self { what, bound, figure, met: figure.is_some_and(|figure| figure <= bound) }
    }

    /// A figure that must reach its bound.
    pub(crate) fn at_least(what: &'static str, bound: f64, figure: Option<f64>) -> Self {
        Self { what, bound, figure, met: figure.is_some_and(|figure| figure >= bound) }
    }
}
