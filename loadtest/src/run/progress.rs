//! What is told while a run runs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::faults::Done;

/// Seconds of the past that are told.
pub(super) const PAST: usize = 120;

/// What is told about once a second.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Name of the scenario.
    pub scenario: String,
    /// Who is measured at the moment.
    pub target: String,
    /// Which round, of how many.
    pub round: (u32, u32),
    /// Time of this turn, of how much.
    pub elapsed: (Duration, Duration),
    /// Viewers that are there, of how many.
    pub viewers: (u32, u32),
    /// What those who are there show.
    pub states: States,
    /// Bits a second that came, second by second.
    pub throughput: Vec<f64>,
    /// Viewers that stood still, second by second.
    pub stalled: Vec<f64>,
    /// Bytes by host so far, by their names.
    pub hosts: BTreeMap<String, u64>,
    /// Failed requests by class so far.
    pub errors: BTreeMap<String, u64>,
    /// Segments and parts so far.
    pub segments: u64,
    /// By version of HTTP.
    pub versions: BTreeMap<String, u64>,
    /// Mean bitrate of the media so far, in bit/s.
    pub bitrate: f64,
    /// Stalls that ended so far, and the seconds that viewers stood still.
    pub stalls: (u64, f64),
    /// Share of the viewers' time that they stood still.
    pub rebuffer_ratio: f64,
    /// Faults of this turn so far, each beginning and each end.
    pub faults: Vec<Done>,
    /// Median start-up, 50th and 99th percentile of segment times, in milliseconds.
    pub start_up_ms: Option<f64>,
    /// See above.
    pub segment_ms: Option<(f64, f64)>,
    /// Median distance from the live edge, in seconds.
    pub latency_seconds: Option<f64>,
    /// Things that cannot be right so far, and how many were looked at.
    pub integrity: (u64, u64),
    /// How late this program is itself (99th percentile), in milliseconds.
    pub late_ms: Option<f64>,
}

/// How many viewers show what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct States {
    /// No picture yet.
    pub starting: u32,
    /// A moving one.
    pub playing: u32,
    /// One that stands still, as nothing is loaded.
    pub rebuffering: u32,
}

impl fmt::Display for Progress {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (elapsed, whole) = self.elapsed;
        write!(f, "{} {}/{}", self.target, self.round.0, self.round.1)?;
        write!(f, "  {:>4.0}/{:.0} s  {} viewers", elapsed.as_secs_f64(), whole.as_secs_f64(), self.viewers.0)?;
        let rate = self.throughput.last().copied().unwrap_or_default();
        write!(f, "  {:.1} Mbit/s  bitrate {:.2} Mbit/s", rate / 1e6, self.bitrate / 1e6)?;
        if let Some((p50, p99)) = self.segment_ms {
            write!(f, "  segment p50 {p50:.0} p99 {p99:.0} ms")?;
        }
        if let Some(latency) = self.latency_seconds {
            write!(f, "  latency {latency:.1} s")?;
        }
        write!(f, "  {} stalls  {} errors", self.stalls.0, self.errors.values().sum::<u64>())?;
        if let Some(fault) = self.faults.last() {
            write!(f, "  {} {}", fault.what, if fault.ends { "ended" } else { "began" })?;
        }
        Ok(())
    }
}
