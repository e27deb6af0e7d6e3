//! A report as a table for people.

use super::Report;
use std::fmt;

/// Three digits are enough for people.
struct Shown(Option<f64>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("–"),
            Some(value) if value == 0.0 || value.abs() >= 100.0 => write!(f, "{value:.0}"),
            Some(value) if value.abs() >= 1.0 => write!(f, "{value:.2}"),
            Some(value) => write!(f, "{value:.4}"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: Option<f64>| Shown(share.map(|share| share * 100.0));
        writeln!(
            f,
            "{}: {} relays, {} viewers, {} s, seed {}, {} events",
            self.scenario, self.relays, self.viewers, self.seconds, self.seed, self.events
        )?;
        let origin = &self.origin;
        writeln!(
            f,
            "origin        {} objects, {} requests for each, at most {} for one",
            origin.objects,
            Shown(origin.requests_per_object),
            origin.most_for_one
        )?;
        writeln!(
            f,
            "adapter       {} copies per region, {} in the worst; {} requests",
            Shown(origin.egress_copies_per_region),
            Shown(origin.worst_region),
            origin.adapter_requests
        )?;
        for region in &self.regions {
            writeln!(
                f,
                "  {:<12}{} GB distinct, {} GB from the adapter, {} copies",
                region.name,
                Shown(Some(region.distinct_bytes / 1e9)),
                Shown(Some(region.adapter_bytes / 1e9)),
                Shown(region.copies)
            )?;
        }
        let bytes = &self.bytes;
        writeln!(
            f,
            "between nodes {} GB of bodies ({} GB wasted), control {} % of all; to viewers {} GB",
            Shown(Some(bytes.bodies / 1e9)),
            Shown(Some(bytes.wasted / 1e9)),
            percent(bytes.control_share),
            Shown(Some(bytes.to_viewers / 1e9))
        )?;
        let spread = &self.propagation;
        writeln!(
            f,
            "propagation   p50 {} ms, p99 {} ms, max {} ms; slowest path {} ms (median); p99 {} one-way delays of it",
            Shown(spread.after_ms.p50),
            Shown(spread.after_ms.p99),
            Shown(spread.after_ms.max),
            Shown(spread.slowest_path_ms.p50),
            Shown(spread.in_slowest_paths.p99)
        )?;
        if spread.caught_up_ms.count > 0 {
            let late = &spread.caught_up_ms;
            let (p50, p99) = (Shown(late.p50), Shown(late.p99));
            writeln!(f, "after cuts    {} segments caught up with, p50 {p50} ms, p99 {p99} ms", late.count)?;
        }
        writeln!(f, "trees         {} places assigned, {} repairs", spread.placed, spread.repairs)?;
        let requests = &self.requests;
        writeln!(
            f,
            "requests      {} between nodes, {} hedged, {} failed, {} refused, {} busy, {} sent on by the adapter, {} in vain; {} replicated",
            requests.sent,
            requests.hedged,
            requests.failed,
            requests.refused,
            requests.busy,
            requests.named,
            requests.objects_not_had,
            requests.replicated
        )?;
        let viewing = &self.viewing;
        writeln!(
            f,
            "viewers       {} viewings, hits {} %, first picture p50 {} ms p99 {} ms; waiting {} % of the time, {} with stalls, {} without a picture",
            viewing.viewings,
            percent(viewing.hit_ratio),
            Shown(viewing.startup_ms.p50),
            Shown(viewing.startup_ms.p99),
            percent(viewing.rebuffering),
            viewing.with_stalls,
            viewing.not_started
        )?;
        writeln!(
            f,
            "              {} requests failed, {} times to another relay, {} segments skipped",
            viewing.failures, viewing.moved, viewing.skipped
        )?;
        let load = &self.load;
        writeln!(
            f,
            "load          Gini {} of bytes, {} of use; use p50 {} %, p99 {} %",
            Shown(load.gini_bytes),
            Shown(load.gini_use),
            percent(load.use_p50),
            percent(load.use_p99)
        )?;
        let network = &self.network;
        writeln!(
            f,
            "network       {} relays died, {} came; {} connections; {} announcements reached {} % in p99 {} ms",
            network.deaths,
            network.births,
            network.connections,
            network.announcements,
            percent(network.announcement_reach),
            Shown(network.announcement_ms.p99)
        )?;
        for verdict in &self.expectations {
            writeln!(
                f,
                "{} {:<26} {} (bound {})",
                if verdict.met { "✔" } else { "✘" },
                verdict.what,
                Shown(verdict.figure),
                Shown(Some(verdict.bound))
            )?;
        }
        Ok(())
    }
}
