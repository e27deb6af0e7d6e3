//! `weir load run`: virtual viewers that behave like HLS players, against any HLS server, over real HTTP/1.1, HTTP/2 and
//! HTTP/3; faults on a schedule; a report with figures, curves and verdicts.
//!
//! * `scenario`: what a run does, from a TOML file;
//! * `player`: what a player decides, without I/O;
//! * `watch`: viewers that carry it out over shared connections;
//! * `faults`, `demo`: what goes wrong on purpose;
//! * `tally`, `report`: what it came to.
//!
//! Invariants: what failed is counted by class and never hidden by a retry; bodies are counted and dropped unless a viewer is
//! inspected; targets of one run take turns under the same conditions.

mod demo;
mod faults;
mod player;
mod progress;
pub mod report;
mod scenario;
mod tally;
mod turn;
mod watch;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::client;
use crate::raw::CpuError;

use self::faults::Lines;
use self::watch::aim::{Aim, tokens};

pub use faults::Done;
pub use progress::{Progress, States};
pub use report::{Report, compare};
pub use scenario::{
    Abr, Action, Cmcd, CmcdWay, Expect, Fault, Line, Player, Scenario, ScenarioError, Shares, Target, TokenWay,
};
pub use tally::{Host, Integrity};

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The scenario asks for something that does not go together.
    #[error("{0}")]
    Usage(String),
    /// The demo cannot be asked.
    #[error("no demo is at {page}: {reason}; start `weir demo`, or say where it is with --demo")]
    Demo {
        /// Its page.
        page: String,
        /// Why not.
        reason: String,
    },
    /// The publisher's keys cannot be had.
    #[error("no keys of the publisher from {from}: {reason}")]
    Keys {
        /// Where they were looked for.
        from: String,
        /// Why not.
        reason: String,
    },
    /// The client cannot be made.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// A server process cannot be measured.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// A viewer panicked.
    #[error("a task of the run ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Runs a scenario: each target in turn, as many rounds as it has. On cancellation reports what was done until then.
///
/// `progress` is told what happens about once a second.
///
/// # Errors
/// [`RunError`]. Viewers that fail are no error of the run: the report tells.
pub async fn run(
    scenario: &Scenario,
    cancel: CancellationToken,
    progress: tokio::sync::watch::Sender<Progress>,
) -> Result<Report, RunError> {
    let began = SystemTime::now();
    let tokens = tokens(&scenario.player)?;
    let mut aims = Vec::with_capacity(scenario.targets.len());
    for target in &scenario.targets {
        aims.push(Aim::take(target, &scenario.player).await?);
    }
    let lines = Lines::start(&scenario.lines, scenario.seed).await?;
    let mut turns: BTreeMap<usize, Vec<turn::Turn>> = BTreeMap::new();
    'rounds: for round in 1..=scenario.rounds {
        for (index, aim) in aims.iter_mut().enumerate() {
            let is_first = round == 1 && index == 0;
            let rest = Duration::from_secs_f64(scenario.rest_seconds);
            if !is_first && cancel.run_until_cancelled(tokio::time::sleep(rest)).await.is_none() {
                break 'rounds;
            }
            // A relay that was killed in the last round has another process now.
            aim.refresh().await?;
            let orders = turn::Orders { scenario, aim, tokens: &tokens, lines: &lines, round };
            turns.entry(index).or_default().push(turn::play(orders, &cancel, &progress).await?);
            if cancel.is_cancelled() {
                break 'rounds;
            }
        }
    }
    lines.stop().await;
    Ok(Report::new(scenario, &aims, &turns, began))
}
