//! Why a source could not serve, one variant for each reaction of the fetcher.

use weir_protocol::wire::Found;

/// A source's failure. The texts are for operators; viewers get a status.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SourceError {
    /// Nobody there, or the connection broke: try the next source.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// No byte within the time allowed: try the next source.
    #[error("timed out: {0}")]
    Timeout(String),
    /// It answered, honestly, that its own source did not in time: try the next source.
    #[error("its own source timed out: {0}")]
    UpstreamTimeout(String),
    /// It answered but will not serve this: try the next source.
    #[error("refused: {0}")]
    Refused(String),
    /// It serves as many as it can: the object needs more owners, of which the next is asked.
    #[error("busy")]
    Busy,
    /// The adapter names others, who have it.
    #[error("others have it")]
    Elsewhere(Vec<Found>),
    /// Its bytes or signatures do not verify: mark it, never ask it again for a while, try the next source.
    #[error("does not verify: {0}")]
    Corrupt(String),
    /// It no longer has the body that a transfer was to be resumed from: start again.
    #[error("that body is gone")]
    GenerationGone,
    /// The body is larger than may be kept: nobody else will do better.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    /// It answered with something that is not a usable response: try the next source.
    #[error("bad response: {0}")]
    BadResponse(String),
}

impl SourceError {
    /// True when the source's own honesty is in doubt.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt(_))
    }

    /// The label used in metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::UpstreamTimeout(_) => "upstream_timeout",
            Self::Refused(_) => "refused",
            Self::Busy => "busy",
            Self::Elsewhere(_) => "elsewhere",
            Self::Corrupt(_) => "corrupt",
            Self::GenerationGone => "generation_gone",
            Self::TooLarge(_) => "too_large",
            Self::BadResponse(_) => "bad_response",
        }
    }
}
