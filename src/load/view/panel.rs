//! The panel's life on a terminal: it takes the lowest lines, and gives them back.
//!
//! Nothing is asked of the terminal but its size. An inline viewport of ratatui asks where the cursor is, through standard output,
//! which belongs to the result, and reads the answer in raw mode, in which Ctrl-C is no signal. Here what stands on the terminal is
//! scrolled up by the panel's height instead, so that it is known where the panel is; keys, signals and the scroll-back stay as
//! they are, and there is no mode to restore but the cursor's.

use std::io::{self, Stderr, Write, stderr};
use std::sync::Once;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, MoveTo, Show};
use ratatui::crossterm::terminal::{Clear, ClearType, size};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use tokio::sync::watch;
use weir_load::run::Progress;

use super::draw::{HEIGHT, draw};

/// A panel that is there.
pub(super) struct Panel {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    area: Rect,
    /// Width and height of the terminal.
    size: (u16, u16),
    colour: bool,
}

impl Panel {
    /// Makes room for it.
    ///
    /// # Errors
    /// When the terminal takes no commands or says no size.
    pub(super) fn open(colour: bool) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                // The message begins on a line of its own, and the cursor is there again.
                let _ = execute!(stderr(), Show);
                let _ = writeln!(stderr());
                before(info);
            }));
        });
        let size = size()?;
        let area = room(size)?;
        Ok(Self { terminal: terminal(area)?, area, size, colour })
    }

    /// Shows what is told until nothing more is.
    pub(super) async fn show(mut self, told: &mut watch::Receiver<Progress>) -> io::Result<()> {
        while told.changed().await.is_ok() {
            let progress = told.borrow_and_update().clone();
            self.fit()?;
            let colour = self.colour;
            self.terminal.draw(|frame| draw(&progress, colour, frame.area(), frame.buffer_mut()))?;
        }
        Ok(())
    }

    /// Follows the terminal's size.
    fn fit(&mut self) -> io::Result<()> {
        let now = size()?;
        if now != self.size {
            // What the terminal made of the old lines is its own affair: the panel begins anew, below them.
            let top = self.area.y.min(now.1.saturating_sub(1));
            execute!(stderr(), MoveTo(0, top), Clear(ClearType::FromCursorDown))?;
            (self.size, self.area) = (now, room(now)?);
            self.terminal = terminal(self.area)?;
        }
        Ok(())
    }
}

impl Drop for Panel {
    fn drop(&mut self) {
        let _ = execute!(stderr(), MoveTo(0, self.area.y), Clear(ClearType::FromCursorDown), Show);
    }
}

fn terminal(area: Rect) -> io::Result<Terminal<CrosstermBackend<Stderr>>> {
    Terminal::with_options(CrosstermBackend::new(stderr()), TerminalOptions { viewport: Viewport::Fixed(area) })
}

/// Scrolls as many lines up as the panel needs, and says where they are. One line of what was there stays in sight.
fn room((width, height): (u16, u16)) -> io::Result<Rect> {
    let lines = HEIGHT.min(height.saturating_sub(1));
    if width == 0 || lines == 0 {
        return Err(io::Error::other("the terminal has no room"));
    }
    let mut out = stderr().lock();
    queue!(out, Hide, MoveTo(0, height - 1))?;
    out.write_all("\n".repeat(lines.into()).as_bytes())?;
    out.flush()?;
    Ok(Rect::new(0, height - lines, width, lines))
}
