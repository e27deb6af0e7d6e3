//! Reading and checking. Invariant: a scenario that passes can be run: every name is known, every share positive, every
//! size bounded.

use super::{Expect, Scenario};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Most relays and viewers, and the longest time in seconds.
const MAX_RELAYS: u32 = 100_000;
const MAX_VIEWERS: u32 = 2_000_000;
const MAX_SECONDS: u32 = 86_400;
/// Most regions.
const MAX_REGIONS: usize = 32;
/// Most live renditions over all channels, and segments of the catalogue.
const MAX_RENDITIONS: usize = 256;
const MAX_OBJECTS: f64 = 50_000_000.0;
/// Highest rates, in Mbit/s, and longest delays, in milliseconds.
const MAX_MBPS: f64 = 1_000_000.0;
const MAX_DELAY_MS: f64 = 60_000.0;

/// Why a scenario cannot be run. Each names the file or the field.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the scenario {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not TOML, or not of the expected shape; the text names line and key.
    #[error("{path}: {text}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        text: String,
    },
    /// A value that makes no sense.
    #[error("{field}: {problem}")]
    Value {
        /// The field, as written in TOML.
        field: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

fn wrong<T>(field: impl Into<String>, problem: impl Into<String>) -> Result<T, ScenarioError> {
    Err(ScenarioError::Value { field: field.into(), problem: problem.into() })
}

fn within(field: impl Into<String>, value: f64, least: f64, most: f64) -> Result<(), ScenarioError> {
    if value >= least && value <= most {
        Ok(())
    } else {
        wrong(field, format!("{value} is not between {least} and {most}"))
    }
}

/// Shares are relative: none negative, and a positive sum.
fn shares(field: &str, values: &[f64]) -> Result<(), ScenarioError> {
    let sum: f64 = values.iter().sum();
    if values.iter().all(|value| *value >= 0.0) && sum > 0.0 && sum.is_finite() {
        Ok(())
    } else {
        wrong(field, format!("{values:?}: shares are not negative, and one of them is positive"))
    }
}

impl Scenario {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ScenarioError`] names the file, line or field.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ScenarioError::Read { path: path.to_path_buf(), source })?;
        Self::parse(&text, path)
    }

    /// Parses and checks a text; `path` is for messages.
    ///
    /// # Errors
    /// [`ScenarioError`] names the line or field.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| ScenarioError::Toml {
            path: path.to_path_buf(),
            text: error.to_string().trim_end().to_owned(),
        })?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Checks all values, also after some were changed.
    ///
    /// # Errors
    /// [`ScenarioError::Value`] names the field.
    pub fn check(&self) -> Result<(), ScenarioError> {
        within("seconds", self.seconds.into(), 1.0, MAX_SECONDS.into())?;
        within("relays", self.relays.into(), 1.0, MAX_RELAYS.into())?;
        within("viewers", self.viewers.into(), 1.0, MAX_VIEWERS.into())?;
        self.check_places()?;
        self.check_lines()?;
        self.check_content()?;
        self.check_watch()?;
        self.check_trouble()?;
        self.check_control()?;
        self.expect.check()
    }

    fn check_places(&self) -> Result<(), ScenarioError> {
        if self.regions.is_empty() || self.regions.len() > MAX_REGIONS {
            return wrong("region", format!("write 1 to {MAX_REGIONS} [[region]] tables"));
        }
        shares("region.share", &self.regions.iter().map(|region| region.share).collect::<Vec<_>>())?;
        for (index, region) in self.regions.iter().enumerate() {
            let field = |name: &str| format!("region `{}`: {name}", region.name);
            within(field("at_ms"), region.at_ms[0], -MAX_DELAY_MS, MAX_DELAY_MS)?;
            within(field("at_ms"), region.at_ms[1], -MAX_DELAY_MS, MAX_DELAY_MS)?;
            within(field("radius_ms"), region.radius_ms, 0.0, MAX_DELAY_MS)?;
            if self.regions[..index].iter().any(|other| other.name == region.name) {
                return wrong(field("name"), "two regions have this name");
            }
        }
        within("network.jitter_ms", self.network.jitter_ms, 0.0, MAX_DELAY_MS)?;
        within("network.loss_percent", self.network.loss_percent, 0.0, 50.0)?;
        let weights = self.network.weights;
        for (field, weight) in [("push", weights.push), ("live", weights.live), ("rest", weights.rest)] {
            within(format!("network.weights.{field}"), weight, 0.01, 1000.0)?;
        }
        within("network.adapter_mbps", self.network.adapter_mbps, 0.1, MAX_MBPS)?;
        self.known("network.adapter_region", &self.network.adapter_region)?;
        within("origin.first_byte_ms", self.origin.first_byte_ms, 0.0, MAX_DELAY_MS)?;
        within("origin.mbps", self.origin.mbps, 0.1, MAX_MBPS)
    }

    fn known(&self, field: impl Into<String>, region: &str) -> Result<(), ScenarioError> {
        if self.regions.iter().any(|one| one.name == region) {
            return Ok(());
        }
        let names: Vec<_> = self.regions.iter().map(|one| one.name.as_str()).collect();
        wrong(field, format!("no region is called `{region}`; there are {}", names.join(", ")))
    }

    fn check_lines(&self) -> Result<(), ScenarioError> {
        if self.classes.is_empty() {
            return wrong("relay", "write at least one [[relay]] table");
        }
        shares("relay.share", &self.classes.iter().map(|class| class.share).collect::<Vec<_>>())?;
        for class in &self.classes {
            let field = |name: &str| format!("relay `{}`: {name}", class.name);
            within(field("up_mbps"), class.up_mbps, 0.1, MAX_MBPS)?;
            within(field("down_mbps"), class.down_mbps, 0.1, MAX_MBPS)?;
            within(field("access_ms"), class.access_ms, 0.0, MAX_DELAY_MS)?;
            within(field("cache_mib"), class.cache_mib as f64, 1.0, 1e9)?;
            shares(&field("nat"), &[class.nat.direct, class.nat.cone, class.nat.symmetric])?;
        }
        Ok(())
    }

    fn check_content(&self) -> Result<(), ScenarioError> {
        let watched =
            [self.live.as_ref().map_or(0.0, |live| live.share), self.vod.as_ref().map_or(0.0, |vod| vod.share)];
        shares("live.share and vod.share", &watched)?;
        if let Some(live) = &self.live {
            within("live.segment_s", live.segment_s, 0.2, 60.0)?;
            within("live.zipf", live.zipf, 0.0, 3.0)?;
            within("live.piece_ms", live.piece_ms, 0.0, live.segment_s * 1e3)?;
            within("live.feeding", live.feeding, 0.0, 1.0)?;
            within("live.most_children", live.most_children.into(), 0.0, 1000.0)?;
            within("live.window", live.window.into(), 3.0, 1000.0)?;
            within("live.hold_back", live.hold_back.into(), 1.0, f64::from(live.window) - 1.0)?;
            if live.kbps.is_empty() || live.kbps.len() * live.channels as usize > MAX_RENDITIONS || live.channels == 0 {
                return wrong("live.kbps", format!("1 to {MAX_RENDITIONS} renditions over all channels"));
            }
            if live.kbps_share.len() != live.kbps.len() {
                return wrong("live.kbps_share", format!("one share for each of the {} renditions", live.kbps.len()));
            }
            shares("live.kbps_share", &live.kbps_share)?;
            live.kbps.iter().try_for_each(|kbps| within("live.kbps", *kbps, 1.0, 1e6))?;
        }
        if let Some(vod) = &self.vod {
            within("vod.titles", vod.titles.into(), 1.0, 1e7)?;
            within("vod.minutes", vod.minutes, 0.1, 1440.0)?;
            within("vod.zipf", vod.zipf, 0.0, 3.0)?;
            within("vod.segment_s", vod.segment_s, 0.2, 60.0)?;
            within("vod.kbps", vod.kbps, 1.0, 1e6)?;
            within("vod.ahead_s", vod.ahead_s, vod.segment_s, 3600.0)?;
            let objects = f64::from(vod.titles) * (vod.minutes * 60.0 / vod.segment_s).ceil();
            within("vod.titles × segments", objects, 1.0, MAX_OBJECTS)?;
        }
        Ok(())
    }

    fn check_watch(&self) -> Result<(), ScenarioError> {
        let watch = &self.watch;
        if watch.arrive.is_empty() {
            return wrong("watch.arrive", "write corners [seconds, share], like [[0, 0], [60, 1]]");
        }
        let mut before = [0.0, 0.0];
        for corner in &watch.arrive {
            within("watch.arrive", corner[0], before[0], f64::from(MAX_SECONDS))?;
            within("watch.arrive", corner[1], before[1], 1.0)?;
            before = *corner;
        }
        within("watch.minutes", watch.minutes, 0.0, 1e6)?;
        within("watch.down_mbps", watch.down_mbps, 0.1, MAX_MBPS)?;
        within("watch.access_ms", watch.access_ms, 0.0, MAX_DELAY_MS)?;
        within("watch.give_up_s", watch.give_up_s, 0.1, 600.0)
    }

    fn check_trouble(&self) -> Result<(), ScenarioError> {
        if let Some(churn) = &self.churn {
            within("churn.median_minutes", churn.median_minutes, 0.01, 1e6)?;
            within("churn.silent_share", churn.silent_share, 0.0, 1.0)?;
            within("churn.replaced_after_s", churn.replaced_after_s, 0.0, 86_400.0)?;
        }
        if let Some(malice) = &self.malice {
            within("malice.share", malice.share, 0.0, 0.95)?;
            let kinds = malice.behaviour;
            shares("malice.behaviour", &[kinds.wrong_bytes, kinds.drip, kinds.liar, kinds.silence])?;
        }
        for cut in &self.cuts {
            self.known("cut.region", &cut.region)?;
            within("cut.from_s", cut.from_s, 0.0, self.seconds.into())?;
            within("cut.until_s", cut.until_s, cut.from_s, f64::from(MAX_SECONDS))?;
        }
        Ok(())
    }

    fn check_control(&self) -> Result<(), ScenarioError> {
        let control = &self.control;
        within("control.members_every_ms", control.members_every_ms, 10.0, MAX_DELAY_MS)?;
        within("control.members_idle_s", control.members_idle_s, 1.0, 600.0)?;
        within("control.member_bytes", control.member_bytes.into(), 1.0, 4096.0)?;
        within("control.gossip_degree", control.gossip_degree.into(), 2.0, 64.0)?;
        within("control.announce_every_s", control.announce_every_s, 0.0, 86_400.0)?;
        within("control.announce_bytes", control.announce_bytes.into(), 1.0, 4096.0)?;
        within("control.status_every_s", control.status_every_s, 0.0, 86_400.0)?;
        within("control.statuses_per_s", control.statuses_per_s, 0.0, 1e6)?;
        within("control.status_bytes", control.status_bytes.into(), 1.0, 4096.0)?;
        within("control.keep_alive_s", control.keep_alive_s, 1.0, 3600.0)
    }
}

impl Expect {
    fn check(&self) -> Result<(), ScenarioError> {
        let bounds = [
            ("expect.egress_copies_per_region", self.egress_copies_per_region),
            ("expect.upstream_per_object", self.upstream_per_object),
            ("expect.control_share", self.control_share),
            ("expect.propagation_p99_delays", self.propagation_p99_delays),
            ("expect.rebuffering", self.rebuffering),
            ("expect.hit_ratio", self.hit_ratio),
        ];
        bounds.into_iter().try_for_each(|(field, bound)| within(field, bound.unwrap_or(0.0), 0.0, 1e6))
    }
}
