//! The figures that a run comes to, in one table: what they are called in expectations, reports and comparisons, how they are
//! computed, and which way is better.

use std::collections::BTreeMap;

use crate::raw::report::Clock;
use crate::run::tally::Tally;

/// What is known about a turn beside the tally.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Wall time, in seconds.
    pub(crate) wall: f64,
    /// Viewers at a time.
    pub(crate) viewers: u32,
    /// CPU time of the servers, in seconds; absent where it could not be measured.
    pub(crate) server_cpu: Option<f64>,
    /// CPU time of this program.
    pub(crate) own_cpu: f64,
}

impl Facts {
    /// Two turns together.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let first = self.wall == 0.0;
        Self {
            wall: self.wall + other.wall,
            viewers: self.viewers.max(other.viewers),
            server_cpu: if first {
                other.server_cpu
            } else {
                self.server_cpu.zip(other.server_cpu).map(|(own, other)| own + other)
            },
            own_cpu: self.own_cpu + other.own_cpu,
        }
    }
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
    /// Neither.
    Neither,
}

/// A figure.
#[derive(Debug)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// Its unit, for people.
    pub unit: &'static str,
    /// What it says.
    pub about: &'static str,
    /// Which way is better.
    pub better: Better,
    compute: fn(&Tally, &Facts) -> Option<f64>,
}

fn ms(clock: &Clock, quantile: f64) -> Option<f64> {
    clock.quantile(quantile).map(|us| us as f64 / 1e3)
}

fn seconds(clock: &Clock, quantile: f64) -> Option<f64> {
    clock.quantile(quantile).map(|us| us as f64 / 1e6)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

const fn figure(
    name: &'static str,
    unit: &'static str,
    better: Better,
    about: &'static str,
    compute: fn(&Tally, &Facts) -> Option<f64>,
) -> Figure {
    Figure { name, unit, about, better, compute }
}

/// All figures, in the order in which they are shown.
pub static FIGURES: &[Figure] = &[
    figure("viewers", "", Better::Neither, "viewers that came", |t, _| Some(t.viewers as f64)),
    figure("unstarted_viewers", "", Better::Lower, "viewers that never saw a picture", |t, _| Some(t.unstarted as f64)),
    figure("gave_up_viewers", "", Better::Lower, "viewers that could not go on", |t, _| Some(t.gave_up as f64)),
    figure("start_up_p50_ms", "ms", Better::Lower, "start-up time, median", |t, _| ms(&t.start_up, 0.5)),
    figure("start_up_p99_ms", "ms", Better::Lower, "start-up time, 99th percentile", |t, _| ms(&t.start_up, 0.99)),
    figure("rebuffer_count", "", Better::Lower, "times that a buffer ran empty", |t, _| Some(t.stalls as f64)),
    figure("rebuffer_ratio", "", Better::Lower, "share of the viewers' time that they stood still", |t, _| {
        ratio(t.stalled, t.played + t.stalled)
    }),
    figure("rebuffer_viewers", "", Better::Lower, "viewers that stood still at least once", |t, _| {
        Some(t.stalled_viewers as f64)
    }),
    figure("rebuffer_longest_seconds", "s", Better::Lower, "longest time that a viewer stood still", |t, _| {
        Some(t.longest_stall)
    }),
    figure("bitrate_mbps", "Mbit/s", Better::Higher, "mean bitrate of the media that was loaded", |t, _| {
        ratio(t.media_bits / 1e6, t.media_seconds)
    }),
    figure("received_mbps", "Mbit/s", Better::Higher, "what came in all", |t, f| {
        ratio(t.bytes as f64 * 8.0 / 1e6, f.wall)
    }),
    figure("received_mbps_per_viewer", "Mbit/s", Better::Higher, "what came for each viewer that was there", |t, _| {
        ratio(t.bytes as f64 * 8.0 / 1e6, t.watched)
    }),
    figure("latency_p50_seconds", "s", Better::Lower, "distance from the live edge, median", |t, _| {
        seconds(&t.latency, 0.5)
    }),
    figure("latency_p99_seconds", "s", Better::Lower, "distance from the live edge, 99th percentile", |t, _| {
        seconds(&t.latency, 0.99)
    }),
    figure("first_byte_p50_ms", "ms", Better::Lower, "first byte of a segment, median", |t, _| ms(&t.first_byte, 0.5)),
    figure("first_byte_p99_ms", "ms", Better::Lower, "first byte of a segment, 99th percentile", |t, _| {
        ms(&t.first_byte, 0.99)
    }),
    figure("segment_p50_ms", "ms", Better::Lower, "time of a segment, median", |t, _| ms(&t.segment, 0.5)),
    figure("segment_p90_ms", "ms", Better::Lower, "time of a segment, 90th percentile", |t, _| ms(&t.segment, 0.9)),
    figure("segment_p99_ms", "ms", Better::Lower, "time of a segment, 99th percentile", |t, _| ms(&t.segment, 0.99)),
    figure("segment_p999_ms", "ms", Better::Lower, "time of a segment, 99.9th percentile", |t, _| {
        ms(&t.segment, 0.999)
    }),
    figure("corrected_p99_ms", "ms", Better::Lower, "the same, 99th, corrected for coordinated omission", |t, _| {
        ms(&t.corrected, 0.99)
    }),
    figure("corrected_p999_ms", "ms", Better::Lower, "the same, 99.9th, corrected for coordinated omission", |t, _| {
        ms(&t.corrected, 0.999)
    }),
    figure("segments", "", Better::Neither, "segments and parts that came", |t, _| Some(t.segments as f64)),
    figure("skipped_segments", "", Better::Lower, "segments and parts left out", |t, _| Some(t.skipped as f64)),
    figure("errors", "", Better::Lower, "failed requests", |t, _| Some(t.errors.values().sum::<u64>() as f64)),
    figure("error_percent", "%", Better::Lower, "share of requests that failed", |t, _| {
        let failed = t.errors.values().sum::<u64>() as f64;
        ratio(failed * 100.0, failed + (t.segments + t.playlists) as f64)
    }),
    figure("failovers", "", Better::Neither, "changes of host after a failure", |t, _| Some(t.failovers as f64)),
    figure("switches", "", Better::Neither, "changes of rendition", |t, _| Some(t.switches as f64)),
    figure("steering_lists", "", Better::Neither, "steering lists that came", |t, _| Some(t.steered as f64)),
    figure("integrity_failures", "", Better::Lower, "things received that cannot be right", |t, _| {
        Some(t.integrity.failures() as f64)
    }),
    figure("inspected", "", Better::Neither, "segments, parts and initialisation sections that were parsed", |t, _| {
        Some(t.integrity.parsed as f64)
    }),
    figure("verified_signatures", "", Better::Neither, "records whose signature was verified", |t, _| {
        Some(t.integrity.signatures as f64)
    }),
    figure(
        "server_cpu_seconds_per_gb",
        "s/GB",
        Better::Lower,
        "CPU time of the servers for each 10^9 bytes",
        |t, f| ratio(f.server_cpu? * 1e9, t.bytes as f64),
    ),
    figure(
        "client_cpu_seconds_per_gb",
        "s/GB",
        Better::Neither,
        "CPU time of this program for each 10^9 bytes",
        |t, f| ratio(f.own_cpu * 1e9, t.bytes as f64),
    ),
    figure("late_p99_ms", "ms", Better::Neither, "how late this program woke up, 99th percentile", |t, _| {
        ms(&t.lateness, 0.99)
    }),
];

/// The figure of this name.
pub(crate) fn find(name: &str) -> Option<&'static Figure> {
    FIGURES.iter().find(|figure| figure.name == name)
}

/// All names.
pub(crate) fn names() -> Vec<&'static str> {
    FIGURES.iter().map(|figure| figure.name).collect()
}

/// Every figure that could be measured.
pub(crate) fn all(tally: &Tally, facts: &Facts) -> BTreeMap<&'static str, f64> {
    FIGURES.iter().filter_map(|figure| Some((figure.name, (figure.compute)(tally, facts)?))).collect()
}

/// A number for people: four significant digits, and no more than three behind the point.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        size if size >= 1000.0 || value == value.round() => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        size if size >= 0.01 => 3,
        _ => 6,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_figures_without_data_are_left_out() {
        let mut known = names();
        known.sort_unstable();
        assert!(known.windows(2).all(|pair| pair[0] != pair[1]));
        let empty = all(&Tally::new(), &Facts::default());
        assert_eq!(empty.get("errors"), Some(&0.0));
        assert_eq!((empty.get("segment_p50_ms"), empty.get("rebuffer_ratio")), (None, None));
    }

    #[test]
    fn figures_are_what_they_say() {
        let mut tally = Tally::new();
        (tally.played, tally.stalled, tally.watched) = (95.0, 5.0, 100.0);
        (tally.media_bits, tally.media_seconds, tally.bytes) = (30e6, 10.0, 5_000_000);
        let facts = Facts { wall: 10.0, viewers: 10, server_cpu: Some(0.01), own_cpu: 0.02 };
        let twice = facts.and(&Facts { server_cpu: None, ..facts.clone() });
        let all = all(&tally, &facts);
        for (name, value) in [
            ("rebuffer_ratio", 0.05),
            ("bitrate_mbps", 3.0),
            ("received_mbps", 4.0),
            ("received_mbps_per_viewer", 0.4),
            ("server_cpu_seconds_per_gb", 2.0),
            ("client_cpu_seconds_per_gb", 4.0),
        ] {
            assert!((all[name] - value).abs() < 1e-9, "{name}: {}", all[name]);
        }
        assert_eq!((twice.wall, twice.server_cpu), (20.0, None));
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (12.0, "12"),
            (12_345.6, "12346"),
            (123.456, "123.5"),
            (1.23456, "1.235"),
            (0.001_234, "0.001234"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
