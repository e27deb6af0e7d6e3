//! How evenly relays work.

use super::{CURVE, LoadFigures, figures::tidy};
use crate::sim::{queue::Micros, world::Node};

/// What each relay sent, sorted, and which part of its line that was, sorted as well.
pub(super) struct Loads {
    bytes: Vec<f64>,
    used: Vec<f64>,
}

impl Loads {
    pub(super) fn of(relays: &[Node], until: Micros) -> Self {
        let sent = |node: &Node| node.sent_nodes + node.sent_viewers;
        let mut bytes: Vec<f64> = relays.iter().map(sent).collect();
        let up = |node: &Node| node.up_before + if node.up { until - node.since } else { 0 };
        let part = |node: &Node| sent(node) / (node.uplink.rate() * up(node).max(1) as f64);
        let mut used: Vec<f64> = relays.iter().map(part).collect();
        bytes.sort_unstable_by(f64::total_cmp);
        used.sort_unstable_by(f64::total_cmp);
        Self { bytes, used }
    }

    pub(super) fn figures(&self) -> LoadFigures {
        LoadFigures {
            gini_bytes: gini(&self.bytes).map(tidy),
            gini_use: gini(&self.used).map(tidy),
            use_p50: at(&self.used, 0.5).map(tidy),
            use_p99: at(&self.used, 0.99).map(tidy),
        }
    }

    pub(super) fn lorenz(&self) -> Vec<f64> {
        let all: f64 = self.bytes.iter().sum();
        let up_to = |step: usize| {
            let count = (step as f64 / CURVE as f64 * self.bytes.len() as f64) as usize;
            self.bytes[..count].iter().sum::<f64>() / all.max(1.0)
        };
        (0..=CURVE).map(up_to).collect()
    }

    pub(super) fn usage(&self) -> Vec<f64> {
        (0..=CURVE).filter_map(|step| at(&self.used, step as f64 / CURVE as f64)).collect()
    }
}

fn at(sorted: &[f64], share: f64) -> Option<f64> {
    let index = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(index).copied()
}

/// The Gini coefficient of sorted values.
fn gini(sorted: &[f64]) -> Option<f64> {
    let (count, sum) = (sorted.len() as f64, sorted.iter().sum::<f64>());
    if sum <= 0.0 {
        return None;
    }
    let ranked: f64 = sorted.iter().enumerate().map(|(index, value)| (index as f64 + 1.0) * value).sum();
    Some(2.0 * ranked / (count * sum) - (count + 1.0) / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gini_of_known_distributions() {
        assert_eq!(gini(&[]), None);
        assert_eq!(gini(&[0.0, 0.0]), None);
        assert!(gini(&[2.0; 10]).is_some_and(|value| value.abs() < 1e-12));
        assert!(gini(&[0.0, 0.0, 0.0, 8.0]).is_some_and(|value| (value - 0.75).abs() < 1e-12));
        assert!(gini(&[1.0, 2.0, 3.0]).is_some_and(|value| (value - 2.0 / 9.0).abs() < 1e-12));
    }
}
