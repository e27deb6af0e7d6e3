//! A report for terminals: one column for each target.

use std::fmt;

use super::figure::{self, FIGURES};
use super::{Report, TargetReport};
use crate::raw::Times;

/// Width of a target's column.
const COLUMN: usize = 14;
/// Width of a row's name.
const NAME: usize = 26;
/// Failures that are shown.
const EXAMPLES: usize = 5;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} viewers, {} s, {} round(s)", self.scenario, self.viewers, self.seconds, self.rounds)?;
        write!(f, "\n{:<NAME$}", "")?;
        for target in &self.targets {
            write!(f, "{:>COLUMN$}", short(&target.name))?;
        }
        writeln!(f)?;
        for figure in FIGURES {
            // What is zero for all says nothing, unless zero is the news.
            let values: Vec<_> = self.targets.iter().map(|target| target.figures.get(figure.name).copied()).collect();
            let is_news =
                figure.better != figure::Better::Neither || values.iter().flatten().any(|value| *value != 0.0);
            if !is_news || values.iter().all(Option::is_none) {
                continue;
            }
            write!(f, "{:<NAME$}", figure.name)?;
            for value in values {
                write!(f, "{:>COLUMN$}", value.map_or_else(|| "-".to_owned(), figure::number))?;
            }
            writeln!(f, "  {}", figure.unit)?;
        }
        for target in &self.targets {
            writeln!(f)?;
            target.write(f)?;
        }
        self.write_faults(f)?;
        for verdict in &self.expectations {
            let mark = if verdict.met { "met    " } else { "MISSED " };
            let value = verdict.value.map_or_else(|| "not measured".to_owned(), figure::number);
            writeln!(f, "{mark} {}: {} is {value}, expected {}", verdict.target, verdict.figure, verdict.bound)?;
        }
        Ok(())
    }
}

impl Report {
    fn write_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.faults.is_empty() {
            writeln!(f, "\nfaults")?;
        }
        for fault in &self.faults {
            let ends = if fault.ends { " ends" } else { "" };
            write!(f, "  {} round {} {:>7.1} s  {}{ends}", fault.target, fault.round, fault.at, fault.what)?;
            match &fault.failed {
                Some(reason) => writeln!(f, "  NOT DONE: {reason}")?,
                None => writeln!(f)?,
            }
        }
        if !self.expectations.is_empty() {
            writeln!(f)?;
        }
        Ok(())
    }
}

impl TargetReport {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        let names = ["count", "p50", "p90", "p99", "p99.9", "max"];
        write!(f, "  {:<20}", "ms")?;
        names.iter().try_for_each(|name| write!(f, "{name:>11}"))?;
        writeln!(f)?;
        for (name, times) in self.times() {
            if times.count == 0 {
                continue;
            }
            write!(f, "  {name:<20}{:>11}", times.count)?;
            for us in [times.p50_us, times.p90_us, times.p99_us, times.p999_us, times.max_us] {
                write!(f, "{:>11.1}", us as f64 / 1e3)?;
            }
            writeln!(f)?;
        }
        let total: u64 = self.hosts.values().map(|host| host.bytes).sum();
        for (name, host) in &self.hosts {
            let share = if total > 0 { host.bytes as f64 * 100.0 / total as f64 } else { 0.0 };
            write!(
                f,
                "  host {name:<20}{:>9.1} MB {share:>5.1} %  {} segments",
                host.bytes as f64 / 1e6,
                host.segments
            )?;
            if host.failures > 0 || host.left > 0 {
                write!(f, ", {} failures, left {} times", host.failures, host.left)?;
            }
            writeln!(f)?;
        }
        let segments: u64 = self.protocols.values().sum();
        for (name, count) in &self.protocols {
            writeln!(
                f,
                "  over {name:<20}{count:>9} segments {:>5.1} %",
                *count as f64 * 100.0 / segments.max(1) as f64
            )?;
        }
        for (class, count) in &self.errors {
            writeln!(f, "  error {class:<19}{count:>9}")?;
        }
        for (class, count) in &self.integrity.classes {
            writeln!(f, "  cannot be right: {class:<8}{count:>9}")?;
        }
        for example in self.integrity.examples.iter().chain(&self.examples).take(EXAMPLES) {
            writeln!(f, "    {example}")?;
        }
        if self.by_round.len() > 1 {
            for name in ["segment_p50_ms", "segment_p99_ms", "server_cpu_seconds_per_gb"] {
                let values: Vec<String> = self
                    .by_round
                    .iter()
                    .filter_map(|round| round.get(name))
                    .map(|value| figure::number(*value))
                    .collect();
                if !values.is_empty() {
                    writeln!(f, "  {name} by round: {}", values.join(" "))?;
                }
            }
        }
        Ok(())
    }

    /// What was timed, by name.
    pub(super) fn times(&self) -> [(&'static str, Times); 7] {
        [
            ("start-up", self.start_up),
            ("connect", self.connect),
            ("playlist", self.playlist),
            ("first byte", self.first_byte),
            ("segment", self.segment),
            ("segment, corrected", self.segment_corrected),
            ("from live edge", self.latency),
        ]
    }
}

fn short(name: &str) -> String {
    name.chars().take(COLUMN - 1).collect()
}
