//! The segment that is being made: asked for before it is listed, cut as it comes. Invariant: it is read to its end or
//! given up; what was shown of it is never taken back.

use super::{
    chunks::Chunker,
    cut::{Cut, Cutter},
    held::{Budget, Segment},
    tracks::{MediaError, Tracks},
};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::timeout;
use weir_relay::source::{RawBody, SourceError};

/// Longest segment that is cut, in bytes, and most parts of one.
const MAX_SEGMENT: u64 = 64 << 20;
const MAX_PARTS: usize = 256;

/// Why a segment was given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum AheadError {
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("it stood still for {0:?}")]
    Still(Duration),
    #[error("more parts or bytes than are held")]
    TooLarge,
}

/// A segment on its way.
pub(super) struct Ahead {
    body: RawBody,
    chunker: Chunker,
    cutter: Cutter,
    bytes: u64,
}

/// What came.
pub(super) enum Step {
    /// Parts, perhaps none.
    Parts(Vec<Cut>),
    /// The end. The last parts, and whether the parts are all of its bytes.
    End(Option<Cut>, bool),
}

impl Ahead {
    pub(super) fn new(body: RawBody, target: Duration) -> Self {
        Self { body, chunker: Chunker::default(), cutter: Cutter::new(target), bytes: 0 }
    }

    /// The next piece of it. Dropping the future loses nothing.
    pub(super) async fn step(&mut self, tracks: &Tracks, patience: Duration) -> Result<Step, AheadError> {
        let piece = timeout(patience, self.body.next()).await.map_err(|_| AheadError::Still(patience))?;
        let Some(piece) = piece.transpose()? else {
            let exact = self.chunker.is_empty();
            // Boxes behind the last chunk are no media.
            self.chunker.rest();
            return Ok(Step::End(self.cutter.finish(), exact));
        };
        self.bytes += piece.len() as u64;
        if self.bytes > MAX_SEGMENT {
            return Err(AheadError::TooLarge);
        }
        let chunks = self.chunker.push(&piece, tracks)?;
        Ok(Step::Parts(chunks.iter().flat_map(|chunk| self.cutter.push(chunk)).collect()))
    }
}

/// Adds parts to a segment, as far as they may be held.
pub(super) fn add(
    segment: &mut Segment,
    parts: impl IntoIterator<Item = Cut>,
    budget: &Budget,
) -> Result<bool, AheadError> {
    let mut added = false;
    for part in parts {
        if segment.parts.len() >= MAX_PARTS {
            return Err(AheadError::TooLarge);
        }
        segment.held.push(budget.take(part.bytes.len() as u64).ok_or(AheadError::TooLarge)?);
        segment.parts.push(part);
        added = true;
    }
    Ok(added)
}
