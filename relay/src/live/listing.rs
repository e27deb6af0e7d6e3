//! What live playlists say of media: which resources are parts, and which are announced and not made yet.

use std::time::Duration;

/// Target durations that a request for what is not made yet is held.
const HELD: u32 = 3;

/// A resource as the newest playlist lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// Target duration of the playlist.
    pub target: Duration,
    /// Announced by `EXT-X-PRELOAD-HINT` and not listed yet.
    pub hinted: bool,
    /// Its bytes are a part as a whole; of others only ranges are.
    pub whole: bool,
}

impl Listing {
    /// How long a request for it may be held, when it is not made yet.
    pub fn patience(&self) -> Option<Duration> {
        self.hinted.then(|| hold(self.target))
    }
}

/// How long a request may be held that waits for what a playlist with this target duration lists next.
pub(crate) fn hold(target: Duration) -> Duration {
    target.max(Duration::from_secs(1)) * HELD
}
