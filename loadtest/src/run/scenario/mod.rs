//! What a run does: read from a TOML file, checked once, never changed afterwards. `loadtest/scenarios/evening.toml` explains
//! every key.

mod check;
mod expect;
mod fault;
mod file;
mod player;
mod target;

pub use check::ScenarioError;
pub use expect::Expect;
pub use fault::{Action, Fault, Line};
pub use file::Scenario;
pub use player::{Abr, Cmcd, CmcdWay, Player, Shares, TokenWay};
pub use target::Target;
