//! How a run of `weir load run` goes, shown while it runs: on a terminal as a panel at its lower end, elsewhere as a line every few
//! seconds.
//!
//! Invariant: everything goes to standard error, and on a terminal nothing of it is left when the run ends: standard output
//! belongs to the result.

mod draw;
mod panel;

use std::io::IsTerminal;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use weir_load::run::Progress;

use panel::Panel;

/// How often a line is told where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows what is told until nothing more is.
pub(super) async fn show(mut told: watch::Receiver<Progress>, plain: bool) {
    if let Some(panel) = open(plain) {
        if let Err(error) = panel.show(&mut told).await {
            tracing::debug!(%error, "the terminal takes no panel any more");
        } else {
            return;
        }
    }
    lines(told).await;
}

/// A panel, where there is a terminal that can show one.
fn open(plain: bool) -> Option<Panel> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let is_dumb = variable("TERM").is_none_or(|term| term == "dumb");
    if plain || is_dumb || !std::io::stderr().is_terminal() {
        return None;
    }
    // https://no-color.org
    Panel::open(variable("NO_COLOR").is_none()).ok()
}

async fn lines(mut told: watch::Receiver<Progress>) {
    let mut last: Option<Instant> = None;
    while told.changed().await.is_ok() {
        let progress = told.borrow_and_update().clone();
        if last.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            last = Some(Instant::now());
            eprintln!("{progress}");
        }
    }
}
