//! Why a clip cannot be used.

use crate::demo::origin::boxes::BoxError;

/// The clip is not what the origin needs. With the embedded clip this is a fault of the build.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ClipError {
    /// A box is malformed.
    #[error(transparent)]
    Box(#[from] BoxError),
    /// Something required is not there.
    #[error("the clip has no {0}")]
    Missing(&'static str),
    /// The file is sound but not laid out for looping.
    #[error("the clip cannot loop: {0}")]
    Layout(&'static str),
}
