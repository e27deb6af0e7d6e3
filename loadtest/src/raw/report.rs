//! The result of a run, as JSON (`schema` names its version) and as a table.
//!
//! A field is never renamed or removed within one schema version; new ones may be added. Durations are whole
//! microseconds, sizes bytes, and a latency counts only requests that were answered in full, with any status.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::config::Config;
use super::cpu::ServerCpu;
use crate::client::{self, Exchange, Protocol};

/// Name and version of the JSON form.
const SCHEMA: &str = "weir-load-raw/1";
/// Longest latency that a histogram tells apart: an hour, in microseconds. Longer ones count as this.
const LONGEST_US: u64 = 3_600_000_000;
/// Significant decimal digits of a histogram.
const DIGITS: u8 = 3;

/// What a run measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `weir-load-raw/1`.
    pub schema: &'static str,
    /// The URL asked.
    pub url: String,
    /// Version of HTTP.
    pub protocol: Protocol,
    /// Connections held open at a time.
    pub connections: u32,
    /// Requests in flight at a time on each connection.
    pub streams: u32,
    /// How requests ended.
    pub requests: Requests,
    /// Wall time from the first handshake to the last byte, in seconds.
    pub seconds: f64,
    /// Body bytes received, those of failed requests included.
    pub body_bytes: u64,
    /// Body bytes per second of wall time.
    pub bytes_per_second: f64,
    /// Requests answered in full per second of wall time.
    pub requests_per_second: f64,
    /// Connections opened, with the time each handshake took.
    pub handshakes: Times,
    /// From sending a request to its first body byte.
    pub first_byte: Times,
    /// From sending a request to the end of its response.
    pub total: Times,
    /// Responses by status.
    pub status: BTreeMap<u16, u64>,
    /// Failures without a whole response, by class.
    pub errors: BTreeMap<&'static str, u64>,
    /// CPU time of the server processes; absent when none was named or one ended before the run did.
    pub server_cpu: Option<ServerCpu>,
}

/// How requests ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Requests that the run was asked to make.
    pub asked: u64,
    /// Answered in full with a 2xx status.
    pub succeeded: u64,
    /// Broken off, or answered with another status.
    pub failed: u64,
}

/// Percentiles of a duration, in microseconds; all zero when nothing was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Times {
    /// Durations counted.
    pub count: u64,
    /// Median.
    pub p50_us: u64,
    /// 90th percentile.
    pub p90_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// 99.9th percentile.
    pub p999_us: u64,
    /// Longest.
    pub max_us: u64,
}

/// Counts of one task of the run; tasks count apart and are added up at the end.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) handshakes: Clock,
    pub(super) first_byte: Clock,
    pub(super) total: Clock,
    pub(super) status: BTreeMap<u16, u64>,
    pub(super) errors: BTreeMap<&'static str, u64>,
    pub(super) body_bytes: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            handshakes: Clock::new(),
            first_byte: Clock::new(),
            total: Clock::new(),
            status: BTreeMap::new(),
            errors: BTreeMap::new(),
            body_bytes: 0,
            succeeded: 0,
            failed: 0,
        }
    }

    /// How a request ended, and the bytes of body that came.
    pub(super) fn count(&mut self, outcome: Result<Exchange, client::Error>, received: u64) {
        self.body_bytes += received;
        match outcome {
            Ok(exchange) => {
                self.first_byte.record(exchange.first_byte);
                self.total.record(exchange.total);
                *self.status.entry(exchange.status.as_u16()).or_default() += 1;
                if exchange.status.is_success() {
                    self.succeeded += 1;
                } else {
                    self.failed += 1;
                }
            }
            Err(error) => {
                tracing::debug!(%error, class = error.class(), "request failed");
                *self.errors.entry(error.class()).or_default() += 1;
                self.failed += 1;
            }
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.handshakes.add(&other.handshakes);
        self.first_byte.add(&other.first_byte);
        self.total.add(&other.total);
        for (&status, count) in &other.status {
            *self.status.entry(status).or_default() += count;
        }
        for (&class, count) in &other.errors {
            *self.errors.entry(class).or_default() += count;
        }
        self.body_bytes += other.body_bytes;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
    }
}

/// A histogram of durations.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Histogram<u64>);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds are constants within range"))
    }

    pub(crate) fn record(&mut self, duration: Duration) {
        self.0.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(LONGEST_US).max(1));
    }

    /// Records a duration of something that was due every `interval`: what would have been due while this one lasted counts
    /// as well (coordinated omission, as HdrHistogram corrects it).
    pub(crate) fn record_due(&mut self, duration: Duration, interval: Duration) {
        let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(LONGEST_US).clamp(1, LONGEST_US);
        let (mut value, interval) = (us(duration), us(interval));
        self.0.saturating_record(value);
        while let Some(left) = value.checked_sub(interval).filter(|left| *left >= interval) {
            self.0.saturating_record(left);
            value = left;
        }
    }

    /// A quantile between 0 and 1, in microseconds; `None` when nothing was counted.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile).min(self.0.max()))
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    pub(crate) fn times(&self) -> Times {
        if self.0.is_empty() {
            return Times::default();
        }
        // A bucket's upper edge may pass the longest duration seen.
        let at = |quantile| self.0.value_at_quantile(quantile).min(self.0.max());
        Times {
            count: self.0.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.0.max(),
        }
    }
}

impl Report {
    pub(super) fn new(config: &Config, tally: &Tally, wall: Duration, server_cpu: Option<ServerCpu>) -> Self {
        let seconds = wall.as_secs_f64();
        let answered = tally.status.values().sum::<u64>();
        let rate = |amount: u64| if seconds > 0.0 { amount as f64 / seconds } else { 0.0 };
        Self {
            schema: SCHEMA,
            url: config.url.to_string(),
            protocol: config.client.protocol,
            connections: config.connections,
            streams: config.streams,
            requests: Requests { asked: config.requests, succeeded: tally.succeeded, failed: tally.failed },
            seconds,
            body_bytes: tally.body_bytes,
            bytes_per_second: rate(tally.body_bytes),
            requests_per_second: rate(answered),
            handshakes: tally.handshakes.times(),
            first_byte: tally.first_byte.times(),
            total: tally.total.times(),
            status: tally.status.clone(),
            errors: tally.errors.clone(),
            server_cpu,
        }
    }

    /// Whether every request asked for was answered in full with a 2xx status.
    pub fn is_clean(&self) -> bool {
        self.requests.failed == 0 && self.requests.succeeded == self.requests.asked
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Requests { asked, succeeded, failed } = self.requests;
        writeln!(
            f,
            "{} over {}, {} connections x {} streams",
            self.url, self.protocol, self.connections, self.streams
        )?;
        writeln!(f, "requests    {succeeded} succeeded, {failed} failed, {asked} asked, in {:.3} s", self.seconds)?;
        writeln!(
            f,
            "throughput  {:.1} MB/s, {:.1} requests/s, {} body bytes",
            self.bytes_per_second / 1e6,
            self.requests_per_second,
            self.body_bytes
        )?;
        for (status, count) in &self.status {
            writeln!(f, "status      {status}: {count}")?;
        }
        for (class, count) in &self.errors {
            writeln!(f, "error       {class}: {count}")?;
        }
        writeln!(f, "{:<12}{:>9}{:>12}{:>12}{:>12}{:>12}{:>12}", "ms", "count", "p50", "p90", "p99", "p99.9", "max")?;
        for (name, times) in [("handshake", self.handshakes), ("first byte", self.first_byte), ("total", self.total)] {
            write!(f, "{name:<12}{:>9}", times.count)?;
            for us in [times.p50_us, times.p90_us, times.p99_us, times.p999_us, times.max_us] {
                write!(f, "{:>12.3}", us as f64 / 1e3)?;
            }
            writeln!(f)?;
        }
        if let Some(cpu) = &self.server_cpu {
            write!(
                f,
                "server CPU  {:.2} s ({:.2} user, {:.2} system)",
                cpu.seconds, cpu.user_seconds, cpu.system_seconds
            )?;
            if let Some(figure) = cpu.seconds_per_gigabyte {
                write!(f, ", {figure:.3} s per 10^9 body bytes")?;
            }
            if let Some(figure) = cpu.microseconds_per_request {
                write!(f, ", {figure:.1} us per request")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_recorded_durations() {
        let mut clock = Clock::new();
        assert_eq!(clock.times(), Times::default());
        for ms in 1..=1000 {
            clock.record(Duration::from_millis(ms));
        }
        clock.record(Duration::from_secs(100_000));
        let times = clock.times();
        assert_eq!(times.count, 1001);
        assert!((498_000..=503_000).contains(&times.p50_us), "{times:?}");
        assert!((988_000..=993_000).contains(&times.p99_us), "{times:?}");
        assert!(times.max_us >= LONGEST_US, "a duration past the bound counts as the bound");
    }

    #[test]
    fn what_was_due_meanwhile_counts_as_well() {
        let mut clock = Clock::new();
        clock.record_due(Duration::from_millis(100), Duration::from_secs(2));
        clock.record_due(Duration::from_secs(9), Duration::from_secs(2));
        // 9 s late, and the ones due after 2, 4 and 6 s were 7, 5 and 3 s late.
        let times = clock.times();
        assert_eq!(times.count, 5);
        assert!((4_990_000..=5_010_000).contains(&clock.quantile(0.6).unwrap_or(0)), "{times:?}");
    }

    #[test]
    fn tallies_add_up() {
        let (mut a, mut b) = (Tally::new(), Tally::new());
        a.status.insert(200, 2);
        b.status.insert(200, 3);
        b.errors.insert("broken", 1);
        b.total.record(Duration::from_millis(5));
        b.failed = 1;
        a.add(&b);
        assert_eq!((a.status[&200], a.errors["broken"], a.failed, a.total.times().count), (5, 1, 1, 1));
    }
}
