//! The figures of a run, from its counts.

use super::{
    ByteFigures, CURVE, Curves, NetworkFigures, OriginFigures, Percentiles, PropagationFigures, RegionFigures, Report,
    RequestFigures, SCHEMA, ViewingFigures, loads::Loads,
};
use crate::sim::{
    measure::{Counts, THOUSANDTHS, Times},
    queue::Micros,
    scenario::{Expect, Scenario, Verdict},
    world::World,
};

impl Percentiles {
    fn of(times: &Times, unit: f64) -> Self {
        let at = |value: u64| tidy(value as f64 / unit);
        Self {
            count: times.count(),
            p50: times.percentile(50.0).map(at),
            p90: times.percentile(90.0).map(at),
            p99: times.percentile(99.0).map(at),
            max: (times.count() > 0).then(|| at(times.max())),
        }
    }
}

/// Six significant digits: more would be noise, and would have to be compared.
pub(super) fn tidy(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = (5 - value.abs().log10().floor() as i32).clamp(-300, 300);
    if digits >= 0 {
        let scale = 10f64.powi(digits);
        (value * scale).round() / scale
    } else {
        let scale = 10f64.powi(-digits);
        (value / scale).round() * scale
    }
}

fn ratio(a: f64, b: f64) -> Option<f64> {
    (b > 0.0).then(|| tidy(a / b))
}

impl Report {
    pub(in crate::sim) fn of(world: &World, until: Micros) -> Self {
        let counts = &world.counts;
        let scenario = &world.scenario;
        let relays = &world.nodes[..world.nodes.len() - 1];
        let (objects, requests, most_for_one) = counts.upstream_summary();
        let regions: Vec<RegionFigures> = regions(scenario, counts);
        let loads = Loads::of(relays, until);
        let bodies = counts.body_bytes;
        let between = bodies + counts.playlists as f64 + counts.control_bytes as f64;
        let mut report = Self {
            schema: SCHEMA,
            scenario: scenario.name.clone(),
            seed: scenario.seed,
            relays: scenario.relays,
            viewers: scenario.viewers,
            seconds: scenario.seconds,
            events: counts.events,
            origin: OriginFigures {
                objects,
                requests,
                requests_per_object: ratio(requests as f64, objects as f64),
                most_for_one,
                adapter_requests: counts.adapter_requests,
                egress_copies_per_region: ratio(counts.adapter_bytes.iter().sum(), counts.wanted_bytes.iter().sum()),
                worst_region: regions.iter().filter_map(|region| region.copies).reduce(f64::max),
            },
            regions,
            bytes: ByteFigures {
                bodies: tidy(bodies),
                wasted: tidy(counts.wasted),
                playlists: counts.playlists,
                control: counts.control_bytes,
                ticks: counts.tick_bytes,
                membership: counts.membership_bytes,
                gossip: counts.gossip_bytes,
                control_share: ratio(counts.control_bytes as f64, between),
                to_viewers: tidy(relays.iter().map(|node| node.sent_viewers).sum()),
            },
            propagation: PropagationFigures {
                after_ms: Percentiles::of(&counts.propagation, 1e3),
                slowest_path_ms: Percentiles::of(&counts.slowest_paths, 1e3),
                in_slowest_paths: Percentiles::of(&counts.propagation_delays, THOUSANDTHS),
                caught_up_ms: Percentiles::of(&counts.caught_up, 1e3),
                placed: counts.placed,
                repairs: counts.repairs,
            },
            requests: RequestFigures {
                sent: counts.asks,
                hedged: counts.hedges,
                failed: counts.failed,
                refused: counts.refused,
                busy: counts.busy,
                named: counts.named,
                objects_not_had: counts.failed_fills,
                replicated: counts.replicated,
            },
            viewing: ViewingFigures {
                requests: counts.views,
                hit_ratio: ratio(counts.hits as f64, counts.views as f64),
                viewings: counts.viewings,
                with_stalls: counts.viewings_stalled,
                not_started: counts.unstarted,
                stalls: counts.stalls,
                rebuffering: ratio(counts.stalled_time as f64, counts.wanted_time as f64),
                startup_ms: Percentiles::of(&counts.startup, 1e3),
                skipped: counts.skipped,
                failures: counts.viewer_failures,
                moved: counts.moved,
            },
            load: loads.figures(),
            network: NetworkFigures {
                deaths: counts.deaths,
                births: counts.births,
                connections: counts.connections,
                announcements: counts.announcements,
                announcement_reach: ratio(counts.announcement_reach, counts.announcements as f64),
                announcement_ms: Percentiles::of(&counts.announcement, 1e3),
                gossip_messages: counts.gossip_messages,
                gossip_duplicates: counts.gossip_duplicates,
            },
            expectations: Vec::new(),
            curves: Curves {
                seconds: counts.seconds.clone(),
                propagation: curve(&counts.propagation),
                lorenz: loads.lorenz(),
                usage: loads.usage(),
            },
        };
        report.expectations = report.judge(&scenario.expect);
        report
    }

    fn judge(&self, expect: &Expect) -> Vec<Verdict> {
        let most = [
            ("egress_copies_per_region", expect.egress_copies_per_region, self.origin.worst_region),
            ("upstream_per_object", expect.upstream_per_object, self.origin.requests_per_object),
            ("control_share", expect.control_share, self.bytes.control_share),
            ("propagation_p99_delays", expect.propagation_p99_delays, self.propagation.in_slowest_paths.p99),
            ("rebuffering", expect.rebuffering, self.viewing.rebuffering),
        ];
        let mut verdicts: Vec<Verdict> =
            most.into_iter().filter_map(|(what, bound, figure)| Some(Verdict::at_most(what, bound?, figure))).collect();
        verdicts.extend(expect.hit_ratio.map(|bound| Verdict::at_least("hit_ratio", bound, self.viewing.hit_ratio)));
        verdicts
    }

    /// True when the run has kept what its scenario promises.
    pub fn is_met(&self) -> bool {
        self.expectations.iter().all(|verdict| verdict.met)
    }
}

fn regions(scenario: &Scenario, counts: &Counts) -> Vec<RegionFigures> {
    let bytes = counts.wanted_bytes.iter().zip(&counts.adapter_bytes);
    let figures = scenario.regions.iter().zip(bytes).map(|(region, (wanted, sent))| RegionFigures {
        name: region.name.clone(),
        distinct_bytes: tidy(*wanted),
        adapter_bytes: tidy(*sent),
        copies: ratio(*sent, *wanted),
    });
    figures.collect()
}

fn curve(times: &Times) -> Vec<f64> {
    let at = |step: usize| times.percentile(step as f64 * 100.0 / CURVE as f64);
    (0..=CURVE).filter_map(at).map(|micros| micros as f64 / 1e3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_digits_are_kept() {
        assert_eq!(
            [tidy(1.234_567_8), tidy(123_456_789.0), tidy(0.0), tidy(-0.000_123_456_78)],
            [1.23457, 123_457_000.0, 0.0, -0.000_123_457]
        );
    }
}
