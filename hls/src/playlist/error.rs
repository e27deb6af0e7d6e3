//! Why a playlist could not be read.
//!
//! Invariant: an error holds no text of the playlist except the name of a tag that this crate knows, so that tokens in
//! URIs do not reach a log.

use std::fmt;

/// The bound that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of the whole text.
    Bytes,
    /// Number of lines.
    Lines,
    /// Bytes of one line.
    LineBytes,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Lines => "lines",
            Self::LineBytes => "bytes in a line",
        })
    }
}

/// Why a playlist could not be read. A relay may still pass such a text on, but knows nothing about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A bound of [`crate::Bounds`] is passed.
    #[error("playlist has more than {allowed} {limit}")]
    TooLarge {
        /// Which bound.
        limit: Limit,
        /// Its value.
        allowed: usize,
    },
    /// The text does not begin with `#EXTM3U`.
    #[error("not a playlist: the first line is not #EXTM3U")]
    NotAPlaylist,
    /// A line cannot be read as the specification says.
    #[error("playlist line {line} ({}): {reason}", if tag.is_empty() { "URI" } else { tag })]
    Malformed {
        /// Counted from 1; 0 stands for the playlist as a whole.
        line: usize,
        /// The tag without `#`; empty for a URI line.
        tag: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// m3u8-rs read the checked text differently: a defect in this crate or in that one.
    #[error("playlist readers disagree about {0}")]
    Disagreement(&'static str),
}

impl ReadError {
    pub(crate) fn malformed(line: usize, tag: &str, reason: &'static str) -> Self {
        Self::Malformed { line, tag: tag.to_owned(), reason }
    }
}
