//! The bounds behind which a playlist is read.
//!
//! Invariant: checking allocates nothing.

use crate::playlist::error::{Limit, ReadError};

/// Longest playlist, in bytes. A film of eight hours in two-second segments needs about 1 MiB.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;

/// Most lines of a playlist.
pub const MAX_LINES: usize = 60_000;

/// Longest line, in bytes without its ending. Signed URLs and `data:` keys need a few KiB.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// What a playlist may cost to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Longest text, in bytes.
    pub max_bytes: usize,
    /// Most lines.
    pub max_lines: usize,
    /// Longest line, in bytes without its line feed.
    pub max_line_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_bytes: MAX_BYTES, max_lines: MAX_LINES, max_line_bytes: MAX_LINE_BYTES }
    }
}

impl Bounds {
    /// Whether a text keeps within the bounds.
    ///
    /// # Errors
    /// [`ReadError::TooLarge`] with the first bound that is passed.
    pub fn check(&self, text: &[u8]) -> Result<(), ReadError> {
        if text.len() > self.max_bytes {
            return Err(ReadError::TooLarge { limit: Limit::Bytes, allowed: self.max_bytes });
        }
        for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if index >= self.max_lines {
                return Err(ReadError::TooLarge { limit: Limit::Lines, allowed: self.max_lines });
            }
            if line.strip_suffix(b"\n").unwrap_or(line).len() > self.max_line_bytes {
                return Err(ReadError::TooLarge { limit: Limit::LineBytes, allowed: self.max_line_bytes });
            }
        }
        Ok(())
    }
}
