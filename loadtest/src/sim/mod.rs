//! A simulation of many relays and viewers: deterministic, by discrete events, with the decisions that relays and the
//! adapter really run (`weir_relay::mesh`). Everything around them is a model: lines that are shared as fluids, delays,
//! losses, NATs, relays that die or lie, and what the control plane costs.
//!
//! What is decided: whom to ask, when to ask a second one, how many owners an object has, who is served, what is kept,
//! where a relay hangs in a live tree and whom it turns to when its parent fails. What is modelled, and how, is stated in
//! `docs/mesh.md`.
//!
//! Modules stand on one another in this order: `queue`, `random`, `slab`, `uplink`, `place`, `content`, `cache`,
//! `roster`, `steering`, `decide` know nothing of the whole; `world` holds it; `transfer`, `named`, `pull`, `push`, `watch`,
//! `lives` and `gossip` change it, each using those before it; `run` hands out events; `report` and `svg` tell.

mod cache;
mod content;
mod decide;
mod gossip;
mod lives;
mod measure;
mod named;
mod place;
mod pull;
mod push;
mod queue;
mod random;
mod report;
mod roster;
mod run;
mod scenario;
mod slab;
mod steering;
mod svg;
mod transfer;
mod trees;
mod uplink;
mod watch;
mod world;

pub use report::{
    ByteFigures, LoadFigures, NetworkFigures, OriginFigures, Percentiles, PropagationFigures, RegionFigures, Report,
    RequestFigures, ViewingFigures,
};
pub use run::run;
pub use scenario::{
    Behaviours, Churn, Control, Cut, Expect, Live, Malice, Nat, Network, Origin, Region, RelayClass, Scenario,
    ScenarioError, Verdict, Viewers, Vod, Weights,
};
