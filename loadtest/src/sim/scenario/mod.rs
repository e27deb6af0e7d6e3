//! What a simulation is about: a TOML file, read once and checked as a whole before anything runs.

mod check;
mod expect;
mod file;

pub use check::ScenarioError;
pub use expect::{Expect, Verdict};
pub use file::{
    Behaviours, Churn, Control, Cut, Live, Malice, Nat, Network, Origin, Region, RelayClass, Scenario, Viewers, Vod,
    Weights,
};
