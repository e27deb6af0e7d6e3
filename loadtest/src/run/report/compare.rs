//! Two reports beside each other: which figures moved, and by more than is noise.

use std::fmt;

use serde_json::Value;

use super::SCHEMA;
use super::figure::{self, Better, FIGURES};

/// Differences below this share are not resolved on a shared machine.
const NOISE: f64 = 0.15;
/// Small counts and times that differ by less than this are the same, whatever their ratio.
const LEAST: f64 = 0.005;

/// Why two files cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// Not JSON.
    #[error("the {0} report is not JSON: {1}")]
    Form(&'static str, serde_json::Error),
    /// Another kind of report.
    #[error("the {0} report is of the form {1}, expected weir-load-run/1")]
    Schema(&'static str, String),
    /// No target is in both.
    #[error("the reports have no target in common, and not one each")]
    Targets,
}

/// What became of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trend {
    /// It became better.
    Better,
    /// It became worse.
    Worse,
    /// It moved, and neither way is better.
    Moved,
    /// It did not move by more than noise.
    Same,
}

/// One figure of one target in both reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The target.
    pub target: String,
    /// The figure.
    pub figure: &'static str,
    /// In the first report and in the second.
    pub values: (f64, f64),
    /// What became of it.
    pub trend: Trend,
}

/// Two reports beside each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Row by row.
    pub rows: Vec<Row>,
}

/// Compares two reports, given as JSON: targets by their names, or the only one of each.
///
/// # Errors
/// [`CompareError`].
pub fn compare(first: &[u8], second: &[u8]) -> Result<Comparison, CompareError> {
    let (first, second) = (read("first", first)?, read("second", second)?);
    let (before, after) = (targets(&first), targets(&second));
    let only = before.len() == 1 && after.len() == 1;
    let mut rows = Vec::new();
    for (name, figures) in &before {
        let other = after.iter().find(|(other, _)| other == name).or_else(|| after.first().filter(|_| only));
        let Some((other_name, others)) = other else { continue };
        let target = if name == other_name { name.clone() } else { format!("{name} / {other_name}") };
        for figure in FIGURES {
            let value = |of: &Value| of[figure.name].as_f64();
            if let (Some(a), Some(b)) = (value(figures), value(others)) {
                rows.push(Row {
                    target: target.clone(),
                    figure: figure.name,
                    values: (a, b),
                    trend: trend(figure.better, a, b),
                });
            }
        }
    }
    if rows.is_empty() { Err(CompareError::Targets) } else { Ok(Comparison { rows }) }
}

fn read(which: &'static str, bytes: &[u8]) -> Result<Value, CompareError> {
    let report: Value = serde_json::from_slice(bytes).map_err(|error| CompareError::Form(which, error))?;
    match report["schema"].as_str() {
        Some(SCHEMA) => Ok(report),
        other => Err(CompareError::Schema(which, other.unwrap_or("unknown").to_owned())),
    }
}

fn targets(report: &Value) -> Vec<(String, &Value)> {
    let list = report["targets"].as_array().map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(|one| Some((one["name"].as_str()?.to_owned(), &one["figures"]))).collect()
}

fn trend(better: Better, a: f64, b: f64) -> Trend {
    let size = a.abs().max(b.abs());
    if (b - a).abs() <= LEAST || (b - a).abs() < NOISE * size {
        return Trend::Same;
    }
    match better {
        Better::Neither => Trend::Moved,
        Better::Lower if b < a => Trend::Better,
        Better::Higher if b > a => Trend::Better,
        Better::Lower | Better::Higher => Trend::Worse,
    }
}

impl Comparison {
    /// Whether any figure became worse.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.rows.iter().any(|row| row.trend == Trend::Worse)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut target = None;
        for row in &self.rows {
            if target != Some(&row.target) {
                target = Some(&row.target);
                writeln!(f, "{:<30}{:>14}{:>14}{:>10}", row.target, "first", "second", "change")?;
            }
            let (a, b) = row.values;
            let change = if a == 0.0 { "-".to_owned() } else { format!("{:+.1} %", (b - a) / a.abs() * 100.0) };
            let mark = match row.trend {
                Trend::Better => "better",
                Trend::Worse => "WORSE",
                Trend::Moved => "other",
                Trend::Same => "",
            };
            let (a, b) = (figure::number(a), figure::number(b));
            writeln!(f, "  {:<28}{a:>14}{b:>14}{change:>10}  {mark}", row.figure)?;
        }
        writeln!(f, "Differences below {:.0} % are taken for noise.", NOISE * 100.0)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn report(target: &str, p99: f64, bitrate: f64) -> Vec<u8> {
        serde_json::json!({ "schema": SCHEMA, "targets": [
            { "name": target, "figures": { "segment_p99_ms": p99, "bitrate_mbps": bitrate, "segments": 10 } } ] })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn what_moved_by_more_than_noise_is_told_by_its_direction() {
        let compared = compare(&report("a", 100.0, 2.0), &report("a", 130.0, 2.4)).unwrap();
        let trend = |name| compared.rows.iter().find(|row| row.figure == name).unwrap().trend;
        assert_eq!(
            (trend("segment_p99_ms"), trend("bitrate_mbps"), trend("segments")),
            (Trend::Worse, Trend::Better, Trend::Same)
        );
        assert!(compared.is_worse());
        assert!(compared.to_string().contains("+30.0 %  WORSE"), "{compared}");
        assert!(!compare(&report("a", 100.0, 2.0), &report("a", 110.0, 1.9)).unwrap().is_worse());
    }

    #[test]
    fn targets_meet_by_name_or_alone() {
        assert_eq!(compare(&report("a", 1.0, 1.0), &report("b", 1.0, 1.0)).unwrap().rows[0].target, "a / b");
        assert!(matches!(compare(b"{}", b"{}"), Err(CompareError::Schema("first", _))));
        assert!(matches!(compare(&report("a", 1.0, 1.0), b"x"), Err(CompareError::Form("second", _))));
    }
}
