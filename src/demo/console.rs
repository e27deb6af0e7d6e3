//! What the demo says to people. Invariant: on a terminal the status is one line that renews itself and other lines come
//! above it; elsewhere every line is whole and the status comes every few seconds. A reader that went away is no error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the status is written where it cannot renew itself: with every fifth reading, of which there is one a second.
const STATUS_EVERY: Duration = Duration::from_millis(4500);

/// Standard output, or standard error when standard output is for programs.
#[derive(Debug)]
pub(super) struct Console {
    to_stderr: bool,
    bar: Option<ProgressBar>,
    last: Option<Instant>,
}

impl Console {
    pub(super) fn new(to_stderr: bool) -> Self {
        let is_terminal = if to_stderr { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        let target = if to_stderr { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::stdout() };
        let bar = is_terminal.then(|| {
            let style = ProgressStyle::with_template("{wide_msg}").expect("the template is valid");
            ProgressBar::with_draw_target(None, target).with_style(style)
        });
        Self { to_stderr, bar, last: None }
    }

    /// Says one line.
    pub(super) fn line(&self, text: impl AsRef<str>) {
        let write = || {
            let line = format!("{}\n", text.as_ref());
            // Whoever read this may be gone; the relays go on.
            let _ = if self.to_stderr {
                std::io::stderr().write_all(line.as_bytes())
            } else {
                std::io::stdout().write_all(line.as_bytes())
            };
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Shows the status.
    pub(super) fn status(&mut self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            bar.tick();
        } else if self.last.is_none_or(|last| last.elapsed() >= STATUS_EVERY) {
            self.last = Some(Instant::now());
            self.line(text);
        }
    }

    /// Takes the status away.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
