//! What stores say about leaves, and the order of time that they keep.

use weir_protocol::time::{CLOCK_SKEW_MS, UnixMillis};

use crate::leaf::Opening;
use crate::merkle::{RootHash, TreeSize};
use crate::store::error::StoreError;

/// Most leaves that one append takes.
pub const MAX_APPEND: usize = 4096;

/// The time of receipt of a leaf that follows one received at `latest`.
pub(super) fn following(latest: UnixMillis, received: UnixMillis) -> Result<UnixMillis, StoreError> {
    if received.plus_ms(CLOCK_SKEW_MS) < latest {
        return Err(StoreError::Clock { behind_ms: latest.since(received) });
    }
    Ok(received.max(latest))
}

/// Size and root of the log as it is kept, signed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of leaves.
    pub size: TreeSize,
    /// Root over them.
    pub root: RootHash,
}

/// Where a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The leaf's number.
    pub index: u64,
    /// The opening as it is kept: of a message that was there before, with the salt and the time it had then.
    pub opening: Opening,
    /// Whether this append added the leaf.
    pub fresh: bool,
}
