//! The result of `weir demo --seconds N`, and whether everything flowed.

use super::figures::{Figures, percent};
use super::ports::RELAYS;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use weir_load::viewer::{self, Outcome};

/// Least number of relays that must have served segments.
const RELAYS_NEEDED: usize = 2;

/// What happened. This is the JSON object that `--json` prints; its fields are added to, never renamed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Summary {
    /// Whether everything flowed: `problems` is empty.
    pub(super) ok: bool,
    /// Why not, for people.
    pub(super) problems: Vec<String>,
    /// Time from the start of the command until everything was ready, in seconds.
    pub(super) ready_seconds: f64,
    /// Time the viewers watched, in seconds.
    pub(super) seconds: f64,
    /// Media segments that viewers received.
    pub(super) segments: u64,
    /// The same by relay.
    pub(super) segments_by_relay: BTreeMap<&'static str, u64>,
    /// The same by version of HTTP: `h1`, `h2`, `h3`.
    pub(super) segments_by_protocol: BTreeMap<&'static str, u64>,
    /// Body bytes from relays to viewers, as the relays counted them.
    pub(super) bytes_to_viewers: u64,
    /// Bytes from relays to relays.
    pub(super) bytes_from_peers: u64,
    /// Bytes from the adapter to relays.
    pub(super) bytes_from_adapter: u64,
    /// Bytes from the origin to the adapter.
    pub(super) bytes_from_origin: u64,
    /// Share of `bytes_to_viewers` that the origin did not have to send, 0 to 1.
    pub(super) origin_saved: Option<f64>,
    /// Share of requests to relays that were answered from a store, 0 to 1.
    pub(super) hit_ratio: Option<f64>,
    /// Time within which 95 % of the relays' answers began, in seconds.
    pub(super) ttfb_p95_seconds: Option<f64>,
    /// What did not verify at relays or the adapter, and what viewers found wrong.
    pub(super) integrity_failures: u64,
    /// Receipts and claims that the ledger had taken when the viewers had gone.
    pub(super) receipts: u64,
    /// What each relay delivered to the viewers, as they counted it.
    pub(super) delivered: BTreeMap<&'static str, Delivered>,
    /// The longest time until a viewer's picture, in seconds.
    pub(super) startup_seconds: Option<f64>,
    /// How often a viewer's buffer ran empty, and for how many seconds together.
    pub(super) stalls: u64,
    pub(super) stall_seconds: f64,
    /// Segments that viewers had to leave out.
    pub(super) skipped_segments: u64,
    /// How often a viewer went on at another relay.
    pub(super) failovers: u64,
    /// Failed requests by class.
    pub(super) errors: BTreeMap<String, u64>,
}

/// What one relay delivered, as the viewers counted it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Delivered {
    /// Body bytes of responses that came to their end.
    pub(super) bytes: u64,
    /// Requests that failed or were under way when the viewer left, and the bytes that had come.
    pub(super) cut: u64,
    pub(super) cut_bytes: u64,
}

/// What the summary is made from.
#[derive(Debug)]
pub(super) struct Course<'a> {
    pub(super) viewers: &'a [viewer::Summary],
    pub(super) figures: &'a Figures,
    /// Addresses of each relay's doors, in the order of [`RELAYS`].
    pub(super) doors: [[SocketAddr; 2]; 3],
    pub(super) ready_seconds: f64,
    /// What went wrong with the processes.
    pub(super) incidents: &'a [String],
}

impl Summary {
    pub(super) fn of(course: &Course<'_>) -> Self {
        let Course { viewers, figures, .. } = course;
        let mut segments_by_relay: BTreeMap<_, u64> = RELAYS.into_iter().map(|name| (name, 0)).collect();
        let mut delivered: BTreeMap<_, Delivered> =
            RELAYS.into_iter().map(|name| (name, Delivered::default())).collect();
        let mut segments_by_protocol: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut errors: BTreeMap<String, u64> = BTreeMap::new();
        for viewer in *viewers {
            for (door, tally) in &viewer.relays {
                let served = RELAYS.into_iter().zip(course.doors);
                let name = served.filter(|(_, doors)| doors.iter().any(|known| known.to_string() == *door));
                for (name, _) in name {
                    *segments_by_relay.entry(name).or_default() += tally.segments;
                    let delivered: &mut Delivered = delivered.entry(name).or_default();
                    delivered.bytes += tally.bytes;
                    delivered.cut += tally.cut + tally.failures;
                    delivered.cut_bytes += tally.cut_bytes;
                }
            }
            viewer.versions.iter().for_each(|(version, n)| *segments_by_protocol.entry(version).or_default() += n);
            viewer.errors.iter().for_each(|(class, n)| *errors.entry(class.clone()).or_default() += n);
        }
        let total = |count: fn(&viewer::Summary) -> u64| viewers.iter().map(count).sum::<u64>();
        let mut summary = Self {
            ok: false,
            problems: Vec::new(),
            ready_seconds: course.ready_seconds,
            seconds: viewers.iter().map(|viewer| viewer.seconds).fold(0.0, f64::max),
            segments: total(|viewer| viewer.segments),
            segments_by_relay,
            segments_by_protocol,
            bytes_to_viewers: figures.bytes_to_viewers,
            bytes_from_peers: figures.bytes_from_peers,
            bytes_from_adapter: figures.bytes_from_adapter,
            bytes_from_origin: figures.bytes_from_origin,
            origin_saved: figures.origin_saved(),
            hit_ratio: figures.hit_ratio(),
            ttfb_p95_seconds: figures.first_byte_p95().map(|time| time.as_secs_f64()),
            integrity_failures: figures.integrity_failures + total(|viewer| viewer.integrity_failures),
            receipts: figures.receipts,
            delivered,
            startup_seconds: viewers.iter().filter_map(|viewer| viewer.startup_seconds).reduce(f64::max),
            stalls: total(|viewer| viewer.stalls),
            stall_seconds: viewers.iter().map(|viewer| viewer.stall_seconds).sum(),
            skipped_segments: total(|viewer| viewer.skipped_segments),
            failovers: total(|viewer| viewer.failovers),
            errors,
        };
        summary.problems = summary.problems(course);
        summary.ok = summary.problems.is_empty();
        summary
    }

    fn problems(&self, course: &Course<'_>) -> Vec<String> {
        let mut problems = course.incidents.to_vec();
        let serving = self.segments_by_relay.values().filter(|segments| **segments > 0).count();
        if serving < RELAYS_NEEDED {
            problems.push(format!("segments came from {serving} of {RELAYS_NEEDED} relays"));
        }
        if self.bytes_from_peers == 0 {
            problems.push("no byte came from another relay".into());
        }
        if self.integrity_failures > 0 {
            problems.push(format!("{} times something did not verify", self.integrity_failures));
        }
        for viewer in course.viewers {
            match &viewer.outcome {
                Outcome::Failed { reason } => problems.push(format!("a viewer could not go on: {reason}")),
                _ if viewer.segments == 0 => problems.push("a viewer received no segment".into()),
                _ => {}
            }
        }
        problems
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: Vec<String>| {
            if counts.is_empty() { "none".into() } else { counts.join(" · ") }
        };
        let by_relay = self.segments_by_relay.iter().map(|(relay, n)| format!("{relay} {n}")).collect();
        let by_protocol = self.segments_by_protocol.iter().map(|(version, n)| format!("{version} {n}")).collect();
        let errors = self.errors.iter().map(|(class, n)| format!("{class} {n}")).collect();
        writeln!(
            f,
            "{} {:.0} s",
            if self.ok { "✔ everything flowed for" } else { "✘ not everything flowed in" },
            self.seconds
        )?;
        for problem in &self.problems {
            writeln!(f, "  ✘ {problem}")?;
        }
        writeln!(
            f,
            "  segments      {}   by relay: {}   by protocol: {}",
            self.segments,
            list(by_relay),
            list(by_protocol)
        )?;
        writeln!(
            f,
            "  bytes         to viewers {} · between relays {} · from the adapter {} · from the origin {}",
            megabytes(self.bytes_to_viewers),
            megabytes(self.bytes_from_peers),
            megabytes(self.bytes_from_adapter),
            megabytes(self.bytes_from_origin)
        )?;
        writeln!(f, "  receipts      {} in the ledger", self.receipts)?;
        writeln!(f, "  origin saved  {}   hit {}", percent(self.origin_saved), percent(self.hit_ratio))?;
        let startup = self.startup_seconds.map_or("–".into(), |seconds| format!("{seconds:.2} s"));
        writeln!(
            f,
            "  playback      first picture within {startup} · stalls {} ({:.1} s) · changes of relay {} · left out {}",
            self.stalls, self.stall_seconds, self.failovers, self.skipped_segments
        )?;
        write!(f, "  failures      integrity {} · requests: {}", self.integrity_failures, list(errors))
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::figures::{NodeCounts, RelayReading};
    use super::super::origin::Totals;
    use super::*;
    use weir_load::viewer::RelayTally;

    fn doors() -> [[SocketAddr; 2]; 3] {
        [1, 2, 3].map(|last| [7480, 7443].map(|port| SocketAddr::from(([127, 0, 0, last], port))))
    }

    fn viewer(door: &str, version: &'static str, segments: u64) -> viewer::Summary {
        let tally = RelayTally { segments, bytes: 1000 * segments, ..RelayTally::default() };
        viewer::Summary {
            outcome: Outcome::DurationReached,
            seconds: 12.0,
            played_seconds: 11.0,
            startup_seconds: Some(0.5),
            segments,
            bytes: tally.bytes,
            playlists: 1,
            stalls: 1,
            stall_seconds: 0.25,
            skipped_segments: 0,
            failovers: 0,
            integrity_failures: 0,
            integrity: BTreeMap::new(),
            errors: BTreeMap::from([("connect".into(), 1)]),
            relays: BTreeMap::from([(door.to_owned(), tally)]),
            versions: BTreeMap::from([(version, segments)]),
            events_lost: 0,
        }
    }

    fn figures(peers: u64, integrity_failures: u64) -> Figures {
        let counts =
            NodeCounts { hits: 1, misses: 3, bytes_from_peers: peers, bytes_from_origin: 500, integrity_failures };
        let relay = RelayReading { counts, bytes_to_viewers: 2000, ..RelayReading::default() };
        Figures::of(&[relay], &NodeCounts::default(), Totals { bytes: 500, ..Totals::default() })
    }

    fn summary(viewers: &[viewer::Summary], figures: &Figures, incidents: &[String]) -> Summary {
        Summary::of(&Course { viewers, figures, doors: doors(), ready_seconds: 0.2, incidents })
    }

    #[test]
    fn segments_are_counted_by_relay_whatever_the_door() {
        let viewers =
            [viewer("127.0.0.1:7480", "h1", 5), viewer("127.0.0.1:7443", "h3", 4), viewer("127.0.0.3:7443", "h3", 2)];
        let summary = summary(&viewers, &figures(7, 0), &[]);
        assert!(summary.ok, "{summary}");
        assert_eq!(summary.segments_by_relay, BTreeMap::from([("a", 9), ("b", 0), ("c", 2)]));
        assert_eq!(summary.segments_by_protocol, BTreeMap::from([("h1", 5), ("h3", 6)]));
        assert_eq!((summary.segments, summary.stalls, summary.stall_seconds), (11, 3, 0.75));
        assert_eq!((summary.origin_saved, summary.hit_ratio), (Some(0.75), Some(0.25)));
        assert_eq!(summary.errors["connect"], 3);
        let text = summary.to_string();
        assert!(text.starts_with("✔ everything flowed for 12 s\n"), "{text}");
        assert!(text.contains("by relay: a 9 · b 0 · c 2") && text.contains("connect 3"), "{text}");
    }

    #[test]
    fn whatever_did_not_flow_is_named() {
        let (a, b) = (viewer("127.0.0.1:7480", "h1", 5), viewer("127.0.0.2:7480", "h1", 5));
        let problem = |viewers: &[viewer::Summary], figures: &Figures, incidents: &[String]| {
            let summary = summary(viewers, figures, incidents);
            assert_eq!((summary.ok, summary.problems.len()), (false, 1), "{:?}", summary.problems);
            summary.problems[0].clone()
        };
        let good = figures(7, 0);
        assert!(problem(std::slice::from_ref(&a), &good, &[]).contains("1 of 2 relays"));
        assert!(problem(&[a.clone(), b.clone()], &figures(0, 0), &[]).contains("no byte"));
        assert!(problem(&[a.clone(), b.clone()], &figures(7, 2), &[]).contains("2 times"));
        let broken = viewer::Summary { integrity_failures: 1, ..b.clone() };
        assert!(problem(&[a.clone(), broken], &good, &[]).contains("1 times"));
        let failed = viewer::Summary { outcome: Outcome::Failed { reason: "gone".into() }, ..b.clone() };
        assert!(problem(&[a.clone(), failed], &good, &[]).contains("gone"));
        let empty = viewer("127.0.0.3:7480", "h1", 0);
        assert!(problem(&[a.clone(), b.clone(), empty], &good, &[]).contains("no segment"));
        assert_eq!(problem(&[a, b], &good, &["relay c ended".into()]), "relay c ended");
    }

    #[test]
    fn the_fields_are_those_that_are_documented() {
        let value = serde_json::to_value(summary(&[], &figures(0, 0), &[])).unwrap();
        for field in [
            "ok",
            "segments_by_relay",
            "bytes_from_peers",
            "bytes_from_origin",
            "integrity_failures",
            "stalls",
            "stall_seconds",
            "startup_seconds",
            "errors",
        ] {
            assert!(value.get(field).is_some(), "{field}");
        }
    }
}
