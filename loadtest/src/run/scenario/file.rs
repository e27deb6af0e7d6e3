//! The scenario file as a whole. An unknown key is an error.

use serde::Deserialize;

use super::{Expect, Fault, Line, Player, Target};

/// A scenario.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// A short name, for the report.
    pub name: String,
    /// What it shows, in a sentence or two.
    #[serde(default)]
    pub about: String,
    /// Viewers of each target at a time.
    pub viewers: u32,
    /// Wall time of each round of each target, in seconds.
    pub seconds: f64,
    /// The viewers come evenly spread over the first so many seconds.
    #[serde(default)]
    pub ramp_seconds: f64,
    /// How often every target has its turn; the turns are interleaved, so that what else the machine does falls on all.
    #[serde(default = "one")]
    pub rounds: u32,
    /// Rest between two turns, in seconds.
    #[serde(default = "rest")]
    pub rest_seconds: f64,
    /// Seed of everything random.
    #[serde(default = "seed")]
    pub seed: u64,
    /// How the viewers' players behave.
    #[serde(default)]
    pub player: Player,
    /// Who is measured.
    #[serde(rename = "target")]
    pub targets: Vec<Target>,
    /// Impaired lines between viewers and servers.
    #[serde(default, rename = "line")]
    pub lines: Vec<Line>,
    /// What goes wrong on purpose, in every round.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
    /// What must hold at the end.
    #[serde(default, rename = "expect")]
    pub expectations: Vec<Expect>,
}

fn one() -> u32 {
    1
}

fn rest() -> f64 {
    1.0
}

fn seed() -> u64 {
    1
}
