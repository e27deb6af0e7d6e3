//! One relay of the demo in the demo's care: it can be killed, started again, held still, and told to do wrong.
//!
//! Invariant: what is done to a relay is done one after the other, and what [`Ward::condition`] says was true at the end
//! of the last of it. A relay that is started again has the same identity, store and addresses, and no fault.

use super::child::{Child, NotReady};
use super::faults::Order;
use crate::exit::Failure;
use rustix::process::Signal;
use serde::Serialize;
use std::sync::{Mutex as Shown, PoisonError};
use tokio::sync::Mutex;

/// Whether a relay runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Life {
    /// It serves.
    Running,
    /// It stands still: connections to it stay open and nothing comes.
    Paused,
    /// It is being started.
    Starting,
    /// It was killed, as somebody asked.
    Killed,
    /// It ended by itself.
    Ended,
}

/// How a relay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Condition {
    pub(super) pid: Option<u32>,
    pub(super) state: Life,
    #[serde(flatten)]
    pub(super) faults: Order,
}

/// Why something could not be done to a relay.
#[derive(Debug, thiserror::Error)]
pub(super) enum WardError {
    /// It does not run, or runs already.
    #[error("relay {0} {1}")]
    Unfit(&'static str, &'static str),
    /// It was tried and failed.
    #[error("{0}")]
    Failed(String),
}

impl From<Failure> for WardError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.to_string())
    }
}

/// Starts the relay's process.
pub(super) type Start = Box<dyn Fn() -> Result<Child, Failure> + Send + Sync>;

/// A relay in care.
pub(super) struct Ward {
    name: &'static str,
    start: Start,
    child: Mutex<Child>,
    shown: Shown<Condition>,
}

impl Ward {
    /// Takes a relay that is ready; `start` makes another of the same.
    pub(super) fn new(name: &'static str, child: Child, start: Start) -> Self {
        let shown = Condition { pid: child.pid(), state: Life::Running, faults: Order::default() };
        Self { name, start, child: Mutex::new(child), shown: Shown::new(shown) }
    }

    pub(super) fn condition(&self) -> Condition {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, condition: Condition) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = condition;
    }

    /// Kills the process at once.
    pub(super) async fn kill(&self) -> Result<(), WardError> {
        let mut child = self.child.lock().await;
        self.running("does not run")?;
        child.kill().await?;
        self.show(Condition { pid: None, state: Life::Killed, faults: Order::default() });
        Ok(())
    }

    /// Starts it again after it was killed or ended, and waits until it is ready.
    pub(super) async fn restart(&self) -> Result<(), WardError> {
        let mut child = self.child.lock().await;
        if child.is_running() {
            return Err(WardError::Unfit(self.name, "runs already"));
        }
        let before = self.condition();
        self.show(Condition { state: Life::Starting, ..before });
        let started = async {
            let mut new = (self.start)()?;
            new.ready().await.map_err(|error| match error {
                NotReady::PortBusy(failure) | NotReady::Failed(failure) => failure,
            })?;
            Ok::<_, Failure>(new)
        };
        match started.await {
            Ok(new) => {
                self.show(Condition { pid: new.pid(), state: Life::Running, faults: Order::default() });
                *child = new;
                Ok(())
            }
            Err(failure) => {
                self.show(before);
                Err(failure.into())
            }
        }
    }

    /// Lets the process stand still, or go on.
    pub(super) async fn pause(&self, pause: bool) -> Result<(), WardError> {
        let child = self.child.lock().await;
        self.running("does not run")?;
        child.signal(if pause { Signal::STOP } else { Signal::CONT })?;
        let state = if pause { Life::Paused } else { Life::Running };
        self.show(Condition { state, ..self.condition() });
        Ok(())
    }

    /// Changes what it does wrong.
    pub(super) async fn change(&self, change: impl FnOnce(&mut Order)) -> Result<(), WardError> {
        let mut child = self.child.lock().await;
        self.running("does not run")?;
        let condition = self.condition();
        if condition.state == Life::Paused {
            return Err(WardError::Unfit(self.name, "is paused and hears nothing: resume it first"));
        }
        let mut faults = condition.faults;
        change(&mut faults);
        let order = serde_json::to_string(&faults).map_err(|error| WardError::Failed(error.to_string()))?;
        let answer = child.tell(&order).await?;
        if answer.get("obeyed").is_none() {
            return Err(WardError::Failed(format!("relay {} refused: {answer}", self.name)));
        }
        self.show(Condition { faults, ..condition });
        Ok(())
    }

    /// Lets it run, and rightly.
    pub(super) async fn heal(&self) -> Result<(), WardError> {
        match self.condition().state {
            Life::Killed | Life::Ended | Life::Starting => return self.restart().await,
            Life::Paused => self.pause(false).await?,
            Life::Running => {}
        }
        self.change(|faults| *faults = Order::default()).await
    }

    fn running(&self, otherwise: &'static str) -> Result<(), WardError> {
        match self.condition().state {
            Life::Running | Life::Paused => Ok(()),
            _ => Err(WardError::Unfit(self.name, otherwise)),
        }
    }

    /// Says how it ended, once, if it ended by itself. What is just being done to it is not waited for.
    pub(super) fn has_ended(&self) -> Option<String> {
        let text = self.child.try_lock().ok()?.has_ended()?;
        self.show(Condition { pid: None, state: Life::Ended, faults: Order::default() });
        Some(text)
    }

    /// Lets it drain and waits for its end.
    pub(super) async fn end(&self) {
        self.child.lock().await.end().await;
    }
}
