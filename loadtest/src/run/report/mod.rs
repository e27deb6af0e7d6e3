//! The result of a run, as JSON (`schema` names its version), as a table and as a page.
//!
//! A field is never renamed or removed within one schema version; new ones may be added.

pub mod compare;
pub mod figure;
mod html;
mod plot;
mod text;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::faults::Done;
use super::scenario::Scenario;
use super::tally::{Host, Integrity, Tally};
use super::turn::Turn;
use super::watch::aim::Aim;
use crate::raw::{ServerCpu, Times};

pub use compare::{Comparison, compare};

/// Name and version of the JSON form.
pub const SCHEMA: &str = "weir-load-run/1";
/// Points of a percentile curve: up to these shares.
const QUANTILES: [f64; 15] =
    [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999, 0.9995, 0.9999, 1.0];

/// What a run measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `weir-load-run/1`.
    pub schema: &'static str,
    /// Name of the scenario.
    pub scenario: String,
    /// What it shows.
    pub about: String,
    /// When the run began, in seconds since 1970.
    pub began: u64,
    /// Version of this program.
    pub version: &'static str,
    /// Processors of the machine that the viewers ran on.
    pub processors: usize,
    /// Viewers of each target at a time.
    pub viewers: u32,
    /// Time of each round, in seconds.
    pub seconds: f64,
    /// Rounds.
    pub rounds: u32,
    /// What each target came to.
    pub targets: Vec<TargetReport>,
    /// What was done on purpose.
    pub faults: Vec<Done>,
    /// What the scenario promises.
    pub expectations: Vec<Verdict>,
}

/// Whether an expectation was met.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Of which target.
    pub target: String,
    /// Which figure.
    pub figure: String,
    /// What it came to; absent: not measured.
    pub value: Option<f64>,
    /// What was expected.
    pub bound: String,
    /// Whether it was met. What was not measured was not.
    pub met: bool,
}

/// What one target came to, over all rounds.
#[derive(Debug, Clone, Serialize)]
pub struct TargetReport {
    /// Its name.
    pub name: String,
    /// Every figure that could be measured.
    pub figures: BTreeMap<&'static str, f64>,
    /// The same, round by round.
    pub by_round: Vec<BTreeMap<&'static str, f64>>,
    /// From a viewer's coming to its first picture.
    pub start_up: Times,
    /// Handshakes, connections included.
    pub connect: Times,
    /// From when a segment or part was due to its first byte.
    pub first_byte: Times,
    /// From when a segment or part was due to its end.
    pub segment: Times,
    /// The same, with what would have been due meanwhile.
    pub segment_corrected: Times,
    /// Playlists, without blocking reloads.
    pub playlist: Times,
    /// Distance from the live edge.
    pub latency: Times,
    /// Whether that was told by dates in the playlist; otherwise it is reckoned from the playlist's end.
    pub latency_is_dated: bool,
    /// What each host did, by name.
    pub hosts: BTreeMap<String, Host>,
    /// Segments and parts by version of HTTP.
    pub protocols: BTreeMap<String, u64>,
    /// Failed requests by class.
    pub errors: BTreeMap<String, u64>,
    /// The first failures, for people.
    pub examples: Vec<String>,
    /// What inspected viewers found.
    pub integrity: Integrity,
    /// CPU time of the servers, round by round; absent where it could not be measured.
    pub server_cpu: Vec<Option<ServerCpu>>,
    /// For plots.
    pub curves: Curves,
}

/// For plots.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Curves {
    /// Second by second of the last round.
    pub seconds: Vec<SecondOf>,
    /// Share of segments, and the time within which they came, in milliseconds.
    pub segment_ms: Vec<(f64, f64)>,
    /// The same, corrected for coordinated omission.
    pub corrected_ms: Vec<(f64, f64)>,
    /// Share of viewers, and the time within which they had a picture, in milliseconds.
    pub start_up_ms: Vec<(f64, f64)>,
}

/// A second of a round.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SecondOf {
    /// Viewers that were there.
    pub viewers: u32,
    /// Bits that came, by host.
    pub bits: BTreeMap<String, f64>,
    /// Mean bitrate of the media that came, in bit/s; absent when none did.
    pub bitrate: Option<f64>,
    /// Viewers that stood still, on average.
    pub stalled: f64,
    /// Failed requests.
    pub failures: u64,
    /// Mean and longest time of the segments that came, in milliseconds; absent when none did.
    pub segment_ms: Option<(f64, f64)>,
}

impl Report {
    pub(super) fn new(
        scenario: &Scenario,
        aims: &[Aim],
        turns: &BTreeMap<usize, Vec<Turn>>,
        began: SystemTime,
    ) -> Self {
        let targets: Vec<TargetReport> =
            turns.iter().map(|(index, turns)| TargetReport::new(&aims[*index], turns)).collect();
        let mut faults: Vec<Done> = turns.values().flatten().flat_map(|turn| turn.faults.clone()).collect();
        faults.sort_by(|a, b| (a.round, a.at).partial_cmp(&(b.round, b.at)).unwrap_or(std::cmp::Ordering::Equal));
        let mut expectations = Vec::new();
        for expect in &scenario.expectations {
            let of = targets.iter().filter(|target| expect.target.as_ref().is_none_or(|name| *name == target.name));
            expectations.extend(of.map(|target| {
                let value = target.figures.get(expect.figure.as_str()).copied();
                let bound = match (expect.at_least, expect.at_most) {
                    (Some(least), Some(most)) => format!("{least} to {most}"),
                    (Some(least), None) => format!("at least {least}"),
                    (None, most) => format!("at most {}", most.unwrap_or_default()),
                };
                let met = value.is_some_and(|value| {
                    expect.at_most.is_none_or(|most| value <= most)
                        && expect.at_least.is_none_or(|least| value >= least)
                });
                Verdict { target: target.name.clone(), figure: expect.figure.clone(), value, bound, met }
            }));
        }
        Self {
            schema: SCHEMA,
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            began: began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            version: env!("CARGO_PKG_VERSION"),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            viewers: scenario.viewers,
            seconds: scenario.seconds,
            rounds: turns.values().map(Vec::len).max().and_then(|most| most.try_into().ok()).unwrap_or_default(),
            targets,
            faults,
            expectations,
        }
    }

    /// Whether everything that the scenario promises was met, and every fault that it asks for was done.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.expectations.iter().all(|verdict| verdict.met) && self.faults.iter().all(|fault| fault.failed.is_none())
    }
}

impl TargetReport {
    fn new(aim: &Aim, turns: &[Turn]) -> Self {
        let mut tally = Tally::new();
        turns.iter().for_each(|turn| tally.add(&turn.tally));
        let facts = turns.iter().fold(figure::Facts::default(), |sum, turn| sum.and(&turn.facts));
        let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
        for (name, host) in &tally.hosts {
            // A relay has several addresses.
            let own = hosts.entry(aim.name_of(name).to_owned()).or_default();
            own.bytes += host.bytes;
            own.segments += host.segments;
            own.failures += host.failures;
            own.left += host.left;
        }
        let last = turns.last();
        let times = tally.latency.times();
        Self {
            name: aim.name.clone(),
            figures: figure::all(&tally, &facts),
            by_round: turns.iter().map(|turn| figure::all(&turn.tally, &turn.facts)).collect(),
            start_up: tally.start_up.times(),
            connect: tally.connect.times(),
            first_byte: tally.first_byte.times(),
            segment: tally.segment.times(),
            segment_corrected: tally.corrected.times(),
            playlist: tally.playlist.times(),
            latency: times,
            latency_is_dated: times.count > 0 && tally.dated == times.count,
            hosts,
            protocols: tally.versions.clone(),
            errors: tally.errors.clone(),
            examples: tally.examples.clone(),
            integrity: tally.integrity.clone(),
            server_cpu: turns.iter().map(|turn| turn.server_cpu.clone()).collect(),
            curves: Curves::new(&tally, last.map_or(&[], |turn| &turn.tally.seconds), aim),
        }
    }
}

impl Curves {
    fn new(tally: &Tally, seconds: &[super::tally::Second], aim: &Aim) -> Self {
        let curve = |clock: &crate::raw::report::Clock| {
            QUANTILES.iter().filter_map(|&share| Some((share, clock.quantile(share)? as f64 / 1e3))).collect()
        };
        let seconds = seconds.iter().map(|second| {
            let mut bits = BTreeMap::new();
            for (host, bytes) in &second.bytes {
                *bits.entry(aim.name_of(host).to_owned()).or_default() += *bytes as f64 * 8.0;
            }
            SecondOf {
                viewers: second.viewers,
                bits,
                bitrate: (second.media_seconds > 0.0).then(|| second.media_bits / second.media_seconds),
                stalled: second.stalled,
                failures: second.failures,
                segment_ms: (second.segments > 0)
                    .then(|| (second.segment_seconds * 1e3 / second.segments as f64, second.slowest * 1e3)),
            }
        });
        Self {
            seconds: seconds.collect(),
            segment_ms: curve(&tally.segment),
            corrected_ms: curve(&tally.corrected),
            start_up_ms: curve(&tally.start_up),
        }
    }
}
